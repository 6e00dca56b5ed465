//! The conversations that a patch measures.

use std::ops::Range;

use super::predicting;
use crate::ml::activations::Documents;
use crate::ml::data::TokenSequence;
use crate::ml::{Error, Result, Watch};

/// The first conversations of a corpus in which something is measured, those that nothing was trained on before the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// Cut to the context.
    pub chosen: Vec<TokenSequence>,
    /// How many of the chosen were cut.
    pub cut: u64,
    /// Before and between them: conversations without a token of the assistant that is predicted within the context.
    pub silent: u64,
    /// How many of the chosen, the last ones, the crosscoder was trained on.
    pub trained: u64,
}

impl Conversations {
    /// The first `count` of `documents`, cut to `context` tokens. Those numbered `trained` are taken only where the others are not enough.
    /// Errors: there is none.
    pub fn choose(
        documents: &dyn Documents,
        count: u64,
        context: usize,
        trained: &Range<u64>,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let mut found = Conversations::default();
        found.take(documents, 0..if trained.is_empty() { u64::MAX } else { trained.start }, count, context, watch)?;
        if !trained.is_empty() {
            found.take(documents, trained.end..u64::MAX, count, context, watch)?;
            let others = found.chosen.len() as u64;
            found.take(documents, trained.clone(), count, context, watch)?;
            found.trained = found.chosen.len() as u64 - others;
        }
        if found.chosen.is_empty() {
            let problem = format!(
                "no conversation of `{}` has a token of the assistant within {context} tokens ({} were read)",
                documents.name(),
                found.silent
            );
            return Err(Error::invalid("choose conversations", problem));
        }
        Ok(found)
    }

    /// Goes on with documents of these numbers until there are `count`.
    fn take(
        &mut self,
        documents: &dyn Documents,
        numbers: Range<u64>,
        count: u64,
        context: usize,
        watch: &dyn Watch,
    ) -> Result<()> {
        if numbers.is_empty() || self.chosen.len() as u64 >= count {
            return Ok(());
        }
        for (_, document) in numbers.clone().zip(documents.read(numbers.start)?) {
            let mut document = document?;
            let is_long = document.len() > context;
            document.truncate(context);
            match predicting(&document.groups).is_empty() {
                true => self.silent += 1,
                false => {
                    self.cut += u64::from(is_long);
                    self.chosen.push(document);
                }
            }
            if watch.stop() {
                return Err(Error::Interrupted);
            }
            if self.chosen.len() as u64 >= count {
                break;
            }
        }
        Ok(())
    }

    /// What to tell the user, if the corpus has fewer than asked for or something was left out.
    pub fn remark(&self, corpus: &str, asked: u64, context: usize) -> Option<String> {
        let found = self.chosen.len() as u64;
        let mut parts = Vec::new();
        if found < asked {
            parts.push(format!("`{corpus}` has {found} conversations to measure, {asked} were asked for"));
        }
        if self.trained > 0 {
            let others = found - self.trained;
            parts.push(format!(
                "{} of {found} conversations were trained on (`{corpus}` has {others} beside them)",
                self.trained
            ));
        }
        if self.silent > 0 {
            parts.push(format!("{} without an answer within {context} tokens are left out", self.silent));
        }
        if self.cut > 0 {
            parts.push(format!("{} are cut to {context} tokens", self.cut));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::TokenGroup::{self, Assistant as A, Control as C, User as U};
    use crate::ml::watch::Unwatched;

    struct Memory(Vec<Vec<TokenGroup>>);

    impl Documents for Memory {
        fn name(&self) -> &str {
            "talk"
        }

        fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
            let documents = self.0.iter().skip(start as usize);
            Ok(Box::new(
                documents.map(|groups| Ok(TokenSequence { ids: vec![7; groups.len()], groups: groups.clone() })),
            ))
        }
    }

    fn talk() -> Memory {
        Memory(vec![vec![C, U, C, A, A], vec![C, U, U], vec![], vec![C, U, U, U, C, A], vec![C, A, A, A, A, A, A]])
    }

    #[test]
    fn the_first_ones_that_have_an_answer_within_the_context() {
        let found = Conversations::choose(&talk(), 2, 5, &(0..0), &Unwatched).unwrap();
        assert_eq!(found.chosen.iter().map(TokenSequence::len).collect::<Vec<_>>(), [5, 5]);
        assert_eq!((found.silent, found.cut), (3, 1));
        let remark = found.remark("talk", 2, 5).unwrap();
        assert_eq!(remark, "3 without an answer within 5 tokens are left out; 1 are cut to 5 tokens");
    }

    #[test]
    fn fewer_than_asked_for_is_said_and_none_is_an_error() {
        let found = Conversations::choose(&talk(), 512, 100, &(0..0), &Unwatched).unwrap();
        assert_eq!(found.chosen.len(), 3);
        let remark = found.remark("talk", 512, 100).unwrap();
        assert!(remark.starts_with("`talk` has 3 conversations to measure, 512 were asked for; 2 without"), "{remark}");
        let error = Conversations::choose(&talk(), 4, 1, &(0..0), &Unwatched).unwrap_err().to_string();
        assert!(error.contains("no conversation of `talk`"), "{error}");
        assert_eq!(Conversations::choose(&talk(), 1, 100, &(0..0), &Unwatched).unwrap().remark("talk", 1, 100), None);
    }

    /// The corpus also feeds training, and conversations were taken from its beginning whatever had been trained on.
    #[test]
    fn conversations_of_the_training_come_last_and_are_counted() {
        let lengths = |count, trained| {
            let found = Conversations::choose(&talk(), count, 100, &trained, &Unwatched).unwrap();
            (found.chosen.iter().map(TokenSequence::len).collect::<Vec<_>>(), found.trained)
        };
        // Documents 0, 3 and 4 have answers, of 5, 6 and 7 tokens.
        assert_eq!(lengths(2, 0..4), (vec![7, 5], 1));
        assert_eq!(lengths(2, 1..4), (vec![5, 7], 0));
        assert_eq!(lengths(3, 1..4), (vec![5, 7, 6], 1));
        assert_eq!(lengths(3, 0..5), (vec![5, 6, 7], 3));
        assert_eq!(lengths(2, 4..9), (vec![5, 6], 0));
        let found = Conversations::choose(&talk(), 2, 100, &(0..4), &Unwatched).unwrap();
        let remark = found.remark("talk", 2, 100).unwrap();
        assert!(remark.starts_with("1 of 2 conversations were trained on (`talk` has 1 beside them)"), "{remark}");
    }
}
