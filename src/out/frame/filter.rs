use super::{Condition, Frame};
use crate::out::error::Result;

impl Frame {
    /// The rows that satisfy every condition, in their order.
    pub fn filter(&self, conditions: &[Condition]) -> Result<Self> {
        let mut keep = vec![true; self.rows()];
        for condition in conditions {
            for (keep, holds) in keep.iter_mut().zip(condition.test(self)?) {
                *keep &= holds;
            }
        }
        let rows: Vec<usize> = (0..self.rows()).filter(|&row| keep[row]).collect();
        Ok(self.take(&rows))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Condition, Constant, Frame, Operator};

    fn frame() -> Frame {
        Frame::new()
            .with("class", Column::text(["shared", "tuned_only", "tuned_only", "other"]))
            .and_then(|f| f.with("nu", Column::Real(vec![Some(-0.5), Some(0.1), None, Some(0.3)])))
            .and_then(|f| f.with("dead", Column::truth([false, true, false, false])))
            .and_then(|f| f.with("seed", Column::text(["0", "1", "2", "10"])))
            .unwrap()
    }

    fn seeds(conditions: &[Condition]) -> String {
        let found = frame().filter(conditions).unwrap();
        found.column("seed").unwrap().cells().map(|c| c.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_condition_must_hold_and_empty_cells_never_do() {
        let nu = |operator, value| Condition::new("nu", operator, Constant::Number(value));
        assert_eq!(seeds(&[nu(Operator::Less, 0.2)]), "0 1");
        assert_eq!(seeds(&[nu(Operator::Less, 0.2).of_absolute()]), "1");
        assert_eq!(seeds(&[nu(Operator::NotEqual, 7.0)]), "0 1 10");
        let tuned = Condition::new("class", Operator::Equal, Constant::Word("tuned_only".into()));
        assert_eq!(seeds(std::slice::from_ref(&tuned)), "1 2");
        assert_eq!(seeds(&[tuned, nu(Operator::GreaterEqual, 0.0)]), "1");
        assert_eq!(seeds(&[Condition::new("dead", Operator::NotEqual, Constant::Truth(true))]), "0 2 10");
    }

    #[test]
    fn a_number_reads_axis_words_as_numbers() {
        assert_eq!(seeds(&[Condition::new("seed", Operator::Greater, Constant::Number(1.0))]), "2 10");
    }

    #[test]
    fn comparisons_without_a_meaning_are_refused() {
        let ordered = Condition::new("class", Operator::Less, Constant::Word("a".into()));
        let message = frame().filter(&[ordered]).unwrap_err().to_string();
        assert_eq!(message, "a comparison needs numbers in column `class`, which holds words");
        let missing = Condition::new("beta", Operator::Less, Constant::Number(1.0));
        let message = frame().filter(&[missing]).unwrap_err().to_string();
        assert_eq!(message, "there is no column `beta` (there are: class, nu, dead, seed)");
    }
}
