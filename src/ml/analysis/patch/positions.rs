//! Where a patch is measured: positions that predict what the assistant says (docs/method.md 5.3).

use crate::ml::TokenGroup;

/// A set of measured positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Every position whose next token is in the assistant mask: the mask moved one to the left.
    All,
    /// Of each contiguous run of these the first so many, without those on control tokens.
    First(u64),
    /// All but those of `First`.
    Rest(u64),
    /// Those on control tokens: what stands before the first token of an answer.
    Template,
}

/// Positions whose next token is the assistant's or ends its turn, ascending.
pub fn predicting(groups: &[TokenGroup]) -> Vec<usize> {
    (1..groups.len()).filter(|&next| groups[next].is_assistant()).map(|next| next - 1).collect()
}

impl Positions {
    /// Which of the `predicting` positions belong to the set.
    pub fn members(self, groups: &[TokenGroup], predicting: &[usize]) -> Vec<bool> {
        let mut members = Vec::with_capacity(predicting.len());
        let (mut before, mut place) = (None, 0);
        for &position in predicting {
            place = if before.is_some_and(|before| before + 1 == position) { place + 1 } else { 0 };
            before = Some(position);
            let control = groups[position].is_control();
            members.push(match self {
                Positions::All => true,
                Positions::First(count) => place < count && !control,
                Positions::Rest(count) => place >= count || control,
                Positions::Template => control,
            });
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenGroup::{Assistant as A, AssistantEnd as E, Bos as B, Control as C, User as U};

    /// <bos> <sot> user \n u <eot> \n <sot> model \n a a a a <eot> \n, twice without the first.
    fn gemma() -> Vec<TokenGroup> {
        let turn = [C, C, C, U, C, C, C, C, C, A, A, A, A, E, C];
        [vec![B], turn.to_vec(), turn.to_vec()].concat()
    }

    fn chosen(positions: Positions) -> Vec<usize> {
        let groups = gemma();
        let predicting = predicting(&groups);
        let members = positions.members(&groups, &predicting);
        predicting.into_iter().zip(members).filter(|(_, is)| *is).map(|(position, _)| position).collect()
    }

    #[test]
    fn the_newline_before_the_answer_predicts_and_the_end_of_the_turn_does_not() {
        assert_eq!(predicting(&gemma()), [9, 10, 11, 12, 13, 24, 25, 26, 27, 28]);
        assert_eq!(gemma()[9], C, "the newline of the template");
        assert_eq!(gemma()[14], E, "predicted by the last token of the answer");
    }

    #[test]
    fn the_first_ten_are_nine_because_the_first_stands_on_the_template() {
        assert_eq!(chosen(Positions::All).len(), 10);
        assert_eq!(chosen(Positions::Template), [9, 24]);
        assert_eq!(chosen(Positions::First(3)), [10, 11, 25, 26]);
        assert_eq!(chosen(Positions::Rest(3)), [9, 12, 13, 24, 27, 28]);
        assert_eq!(chosen(Positions::First(10)).len(), 8);
        assert_eq!(chosen(Positions::Rest(10)), [9, 24]);
    }

    #[test]
    fn a_cut_answer_is_measured_up_to_the_cut() {
        assert_eq!(predicting(&gemma()[..12]), [9, 10]);
        assert!(predicting(&gemma()[..10]).is_empty());
        assert!(predicting(&[]).is_empty());
        assert!(predicting(&[A]).is_empty(), "nothing stands before it");
    }
}
