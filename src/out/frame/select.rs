use super::Frame;
use crate::out::error::{Error, Result};

impl Frame {
    /// The columns `(from, to)`, in this order and under the names `to`.
    pub fn select(&self, columns: &[(&str, &str)]) -> Result<Self> {
        let mut selected = Self::new();
        for (from, to) in columns {
            selected.push(*to, self.column(from)?.clone())?;
        }
        Ok(selected)
    }

    /// The frame with one column renamed.
    pub fn rename(mut self, from: &str, to: &str) -> Result<Self> {
        self.column(from)?;
        if from != to && self.get(to).is_some() {
            return Err(Error::RepeatedColumn { column: to.to_owned() });
        }
        for (name, _) in self.columns.iter_mut().filter(|(name, _)| name == from) {
            *name = to.to_owned();
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Frame};

    #[test]
    fn select_orders_renames_and_refuses_doubles() {
        let frame = Frame::new().with("a", Column::whole([1])).and_then(|f| f.with("b", Column::whole([2]))).unwrap();
        let selected = frame.select(&[("b", "beta"), ("a", "a")]).unwrap();
        assert_eq!(selected.names().collect::<Vec<_>>(), ["beta", "a"]);
        assert!(frame.select(&[("a", "x"), ("b", "x")]).is_err());
        assert!(frame.clone().rename("a", "b").is_err());
        assert_eq!(frame.rename("a", "c").unwrap().names().collect::<Vec<_>>(), ["c", "b"]);
    }
}
