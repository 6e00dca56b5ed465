use super::{Column, Frame};
use crate::out::error::{Error, Result};

impl Frame {
    /// The rows of all frames one after another. Columns are matched by name, in order of first appearance; a column that a
    /// frame lacks is empty there; whole and real numbers together are real.
    pub fn concat(frames: &[Self]) -> Result<Self> {
        let mut joined = Self::new();
        let mut rows = 0;
        for frame in frames {
            for (name, column) in &frame.columns {
                if joined.get(name).is_none() {
                    joined.columns.push((name.clone(), column.empty_like(rows)));
                }
            }
            for (name, column) in &mut joined.columns {
                match frame.get(name) {
                    Some(more) => extend(name, column, more)?,
                    None => {
                        let empty = column.empty_like(frame.rows());
                        extend(name, column, &empty)?;
                    }
                }
            }
            rows += frame.rows();
        }
        Ok(joined)
    }
}

fn extend(name: &str, column: &mut Column, more: &Column) -> Result<()> {
    let as_real = |cells: &[Option<i64>]| cells.iter().map(|c| c.map(|n| n as f64)).collect::<Vec<_>>();
    match (&mut *column, more) {
        (Column::Text(cells), Column::Text(more)) => cells.extend_from_slice(more),
        (Column::Whole(cells), Column::Whole(more)) => cells.extend_from_slice(more),
        (Column::Real(cells), Column::Real(more)) => cells.extend_from_slice(more),
        (Column::Truth(cells), Column::Truth(more)) => cells.extend_from_slice(more),
        (Column::Real(cells), Column::Whole(more)) => cells.extend(as_real(more)),
        (Column::Whole(cells), Column::Real(more)) => {
            let mut real = as_real(cells);
            real.extend_from_slice(more);
            *column = Column::Real(real);
        }
        (left, right) => {
            return Err(Error::Mismatch { column: name.to_owned(), left: left.type_name(), right: right.type_name() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Frame};

    #[test]
    fn missing_columns_are_empty_and_whole_meets_real() {
        let first = Frame::new()
            .with("latent", Column::whole([1, 2]))
            .and_then(|f| f.with("x", Column::whole([7, 8])))
            .unwrap();
        let second = Frame::new()
            .with("x", Column::real([0.5]))
            .and_then(|f| f.with("class", Column::text(["shared"])))
            .unwrap();
        let all = Frame::concat(&[first, second]).unwrap();
        assert_eq!(all.names().collect::<Vec<_>>(), ["latent", "x", "class"]);
        assert_eq!(all.column("latent").unwrap(), &Column::Whole(vec![Some(1), Some(2), None]));
        assert_eq!(all.column("x").unwrap(), &Column::real([7.0, 8.0, 0.5]));
        assert_eq!(all.column("class").unwrap(), &Column::Text(vec![None, None, Some("shared".into())]));
    }

    #[test]
    fn words_and_numbers_do_not_mix() {
        let first = Frame::new().with("x", Column::whole([7])).unwrap();
        let second = Frame::new().with("x", Column::text(["a"])).unwrap();
        assert!(Frame::concat(&[first, second]).is_err());
    }
}
