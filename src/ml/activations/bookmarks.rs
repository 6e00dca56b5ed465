//! Readings of a corpus that were left, to be taken up where they stand.
//!
//! Most files can only be read from their beginning (a compressed one must be unpacked up to the place), so a stream that opened
//! its texts anew for each block would read them as often as it has blocks.

use std::collections::VecDeque;
use std::sync::Mutex;

use rayon::prelude::*;

use super::texts::Texts;
use crate::ml::Result;
use crate::ml::data::{self, Document, TokenSequence};

/// Documents that are tokenised at a time.
const AHEAD: usize = 64;
/// Readings that are kept: one each of the sets `train` and `validate`, and some that were left for good.
const KEPT: usize = 4;

/// Documents in order; some are tokenised ahead, on all threads.
pub(super) struct Reading {
    documents: data::Documents,
    /// Number of the next document that is tokenised.
    ahead: u64,
    ready: VecDeque<Result<TokenSequence>>,
    /// After an error there is no going on.
    is_broken: bool,
}

impl Reading {
    /// From document `start` on.
    pub(super) fn open(texts: &Texts, start: u64) -> Result<Self> {
        let documents = texts.corpus.documents_from(start)?;
        Ok(Reading { documents, ahead: start, ready: VecDeque::new(), is_broken: false })
    }

    /// The next document of `texts`, which are those it was opened with.
    pub(super) fn next(&mut self, texts: &Texts) -> Option<Result<TokenSequence>> {
        if self.ready.is_empty() {
            let documents: Vec<Result<Document>> = self.documents.by_ref().take(AHEAD).collect();
            let first = self.ahead;
            self.ahead += documents.len() as u64;
            let encode = |(place, document): (usize, Result<Document>)| texts.encode(&document?, first + place as u64);
            self.ready = documents.into_par_iter().enumerate().map(encode).collect::<Vec<_>>().into();
        }
        let next = self.ready.pop_front();
        self.is_broken |= matches!(next, Some(Err(_)));
        next
    }

    /// Number of the document that comes next.
    fn place(&self) -> u64 {
        self.ahead - self.ready.len() as u64
    }
}

/// Where readings of one corpus were left.
#[derive(Default)]
pub struct Bookmarks(Mutex<VecDeque<Reading>>);

impl Bookmarks {
    /// The reading that was left before document `start`.
    pub(super) fn take(&self, start: u64) -> Option<Reading> {
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = kept.iter().rposition(|reading| reading.place() == start)?;
        kept.remove(found)
    }

    /// Keeps a reading, and forgets the oldest one beyond [`KEPT`].
    pub(super) fn keep(&self, reading: Reading) {
        if reading.is_broken {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.push_back(reading);
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
}
