use std::collections::BTreeMap;

use super::cell::Key;
use super::{Column, Frame};
use crate::out::error::{Error, Result};

impl Frame {
    /// Inner join on the columns `keys` that both have: every pair of rows with equal keys, in the order of `self` and then of
    /// `other`. Empty keys never match. A column of `other` whose name is taken becomes `owner.column`.
    pub fn join(&self, other: &Self, keys: &[&str], owner: &str) -> Result<Self> {
        for key in keys {
            same_type(key, self.column(key)?, other.column(key)?)?;
        }
        let mut index: BTreeMap<Vec<Key>, Vec<usize>> = BTreeMap::new();
        for row in 0..other.rows() {
            if let Some(key) = other.key(row, keys) {
                index.entry(key).or_default().push(row);
            }
        }
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for row in 0..self.rows() {
            for &matching in self.key(row, keys).and_then(|key| index.get(&key)).into_iter().flatten() {
                left.push(row);
                right.push(matching);
            }
        }
        let mut joined = self.take(&left);
        for (name, column) in other.columns.iter().filter(|(name, _)| !keys.contains(&name.as_str())) {
            let name = if self.get(name).is_some() { format!("{owner}.{name}") } else { name.clone() };
            joined.push(name, column.take(&right))?;
        }
        Ok(joined)
    }

    fn key(&self, row: usize, keys: &[&str]) -> Option<Vec<Key>> {
        let key: Vec<Key> = keys.iter().map(|name| self.cell(row, name).key()).collect();
        (!key.contains(&Key::Empty)).then_some(key)
    }
}

fn same_type(name: &str, left: &Column, right: &Column) -> Result<()> {
    if std::mem::discriminant(left) == std::mem::discriminant(right) {
        return Ok(());
    }
    Err(Error::Mismatch { column: name.to_owned(), left: left.type_name(), right: right.type_name() })
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Frame};

    #[test]
    fn joins_on_axis_and_latent_and_qualifies_what_clashes() {
        let left = Frame::new()
            .with("loss", Column::text(["l1", "l1", "batch_topk"]))
            .and_then(|f| f.with("latent", Column::whole([3, 1, 3])))
            .and_then(|f| f.with("delta_norm", Column::real([0.9, 0.5, 0.95])))
            .unwrap();
        let right = Frame::new()
            .with("loss", Column::text(["batch_topk", "l1", "l1"]))
            .and_then(|f| f.with("latent", Column::whole([3, 3, 2])))
            .and_then(|f| f.with("nu_error", Column::real([0.01, 0.4, 0.2])))
            .and_then(|f| f.with("delta_norm", Column::real([1.0, 2.0, 3.0])))
            .unwrap();
        let joined = left.join(&right, &["loss", "latent"], "nu").unwrap();
        assert_eq!(joined.names().collect::<Vec<_>>(), ["loss", "latent", "delta_norm", "nu_error", "nu.delta_norm"]);
        assert_eq!(joined.column("nu_error").unwrap(), &Column::real([0.4, 0.01]));
        assert_eq!(joined.column("nu.delta_norm").unwrap(), &Column::real([2.0, 1.0]));
        let crossed = left.join(&right, &["latent"], "nu").unwrap();
        assert_eq!(crossed.rows(), 4);
    }

    #[test]
    fn keys_of_different_types_are_refused() {
        let left = Frame::new().with("latent", Column::whole([1])).unwrap();
        let right = Frame::new().with("latent", Column::text(["1"])).unwrap();
        let message = left.join(&right, &["latent"], "r").unwrap_err().to_string();
        assert_eq!(message, "column `latent` holds whole numbers in one frame and words in another");
    }
}
