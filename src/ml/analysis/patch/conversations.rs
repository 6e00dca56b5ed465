//! The conversations that a patch measures.

use super::predicting;
use crate::ml::activations::Documents;
use crate::ml::data::TokenSequence;
use crate::ml::{Error, Result, Watch};

/// The first conversations of a corpus in which something is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversations {
    /// Cut to the context.
    pub chosen: Vec<TokenSequence>,
    /// How many of the chosen were cut.
    pub cut: u64,
    /// Before and between them: conversations without a token of the assistant that is predicted within the context.
    pub silent: u64,
}

impl Conversations {
    /// The first `count` of `documents`, cut to `context` tokens. Errors: there is none.
    pub fn choose(documents: &dyn Documents, count: u64, context: usize, watch: &dyn Watch) -> Result<Self> {
        let mut found = Conversations::default();
        for document in documents.read(0)? {
            if found.chosen.len() as u64 >= count {
                break;
            }
            let mut document = document?;
            let is_long = document.len() > context;
            document.truncate(context);
            match predicting(&document.groups).is_empty() {
                true => found.silent += 1,
                false => {
                    found.cut += u64::from(is_long);
                    found.chosen.push(document);
                }
            }
            if watch.stop() {
                return Err(Error::Interrupted);
            }
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

    /// What to tell the user, if the corpus has fewer than asked for or something was left out.
    pub fn remark(&self, corpus: &str, asked: u64, context: usize) -> Option<String> {
        let found = self.chosen.len() as u64;
        let mut parts = Vec::new();
        if found < asked {
            parts.push(format!("`{corpus}` has {found} conversations to measure, {asked} were asked for"));
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
        let found = Conversations::choose(&talk(), 2, 5, &Unwatched).unwrap();
        assert_eq!(found.chosen.iter().map(TokenSequence::len).collect::<Vec<_>>(), [5, 5]);
        assert_eq!((found.silent, found.cut), (3, 1));
        let remark = found.remark("talk", 2, 5).unwrap();
        assert_eq!(remark, "3 without an answer within 5 tokens are left out; 1 are cut to 5 tokens");
    }

    #[test]
    fn fewer_than_asked_for_is_said_and_none_is_an_error() {
        let found = Conversations::choose(&talk(), 512, 100, &Unwatched).unwrap();
        assert_eq!(found.chosen.len(), 3);
        let remark = found.remark("talk", 512, 100).unwrap();
        assert!(remark.starts_with("`talk` has 3 conversations to measure, 512 were asked for; 2 without"), "{remark}");
        let error = Conversations::choose(&talk(), 4, 1, &Unwatched).unwrap_err().to_string();
        assert!(error.contains("no conversation of `talk`"), "{error}");
        assert_eq!(Conversations::choose(&talk(), 1, 100, &Unwatched).unwrap().remark("talk", 1, 100), None);
    }
}
