//! Documents that are run through the models together.

use std::ops::Range;

use super::source::Pair;
use crate::ml::data::TokenSequence;
use crate::ml::{Error, Result, RowInfo, Watch};

/// Tokens of a window: long enough that documents of about equal length meet, short enough to hold in memory.
pub const TOKENS: usize = 8192;
/// Tokens of a batch, padding included.
const BATCH: usize = 2048;

/// Rows of consecutive documents, in the order of the text.
#[derive(Debug, Default)]
pub struct Window {
    pub infos: Vec<RowInfo>,
    /// Residuals of each model, `[rows, d]`.
    pub values: [Vec<f32>; 2],
    /// Documents in it.
    pub documents: u64,
}

impl Window {
    /// Runs both models over `documents`, which begin at document `first` of their corpus.
    ///
    /// Documents are batched by length, so that little is padded; batches depend on the documents alone.
    pub fn compute(
        pair: &Pair,
        documents: &[TokenSequence],
        corpus: u16,
        first: u64,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let mut window = Window { documents: documents.len() as u64, ..Window::default() };
        let mut starts = Vec::with_capacity(documents.len());
        for (number, document) in documents.iter().enumerate() {
            starts.push(window.infos.len());
            window.infos.extend(infos(document, corpus, first + number as u64)?);
        }
        let width = pair.width();
        window.values = [vec![0.0; window.infos.len() * width], vec![0.0; window.infos.len() * width]];
        let lengths: Vec<usize> = documents.iter().map(|document| document.ids.len()).collect();
        let (order, batches) = batches(&lengths);
        for batch in batches {
            if watch.stop() {
                return Err(Error::Interrupted);
            }
            let members = &order[batch];
            let longest = members.iter().map(|&document| lengths[document]).max().unwrap_or(0);
            let mut ids = Vec::with_capacity(members.len() * longest);
            for &document in members {
                ids.extend_from_slice(&documents[document].ids);
                ids.resize(ids.len().next_multiple_of(longest), 0);
            }
            let both = pair.residuals(&ids, members.len())?;
            for (values, from) in window.values.iter_mut().zip(&both) {
                for (row, &document) in members.iter().enumerate() {
                    let count = lengths[document] * width;
                    let to = starts[document] * width;
                    let at = row * longest * width;
                    values[to..to + count].copy_from_slice(&from[at..at + count]);
                }
            }
        }
        Ok(window)
    }

    /// The row `[base, tuned]`.
    pub fn row(&self, row: usize) -> [&[f32]; 2] {
        let width = self.values[0].len() / self.infos.len().max(1);
        [0, 1].map(|model: usize| &self.values[model][row * width..(row + 1) * width])
    }
}

/// Where the tokens of a document stand. Errors: a group is missing, too many documents.
pub fn infos(document: &TokenSequence, corpus: u16, number: u64) -> Result<impl Iterator<Item = RowInfo> + '_> {
    if document.ids.len() != document.groups.len() {
        let problem = format!("document {number} has {} ids and {} groups", document.ids.len(), document.groups.len());
        return Err(Error::invalid("harvest", problem));
    }
    let sequence = u32::try_from(number).map_err(|_| {
        Error::invalid("harvest", format!("document {number} is over the 4,294,967,295 that a corpus can have"))
    })?;
    let tokens = document.ids.iter().zip(&document.groups).enumerate();
    Ok(tokens.map(move |(position, (&token, &group))| RowInfo {
        corpus,
        sequence,
        position: position as u32,
        token,
        group,
    }))
}

/// Documents from long to short, and stretches of them whose padded size is at most [`BATCH`] tokens (or one document).
/// Empty documents are in none.
fn batches(lengths: &[usize]) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut order: Vec<usize> = (0..lengths.len()).filter(|&document| lengths[document] > 0).collect();
    order.sort_by_key(|&document| (std::cmp::Reverse(lengths[document]), document));
    let mut batches = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        let full = end < order.len() && (end - start + 1) * lengths[order[start]] > BATCH;
        if full || end == order.len() {
            batches.push(start..end);
            start = end;
        }
    }
    (order, batches)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_document_is_in_one_batch(lengths in prop::collection::vec(0usize..3000, 0..60)) {
            let (order, batches) = batches(&lengths);
            let mut seen: Vec<usize> = batches.iter().flat_map(|batch| order[batch.clone()].to_vec()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).filter(|&i| lengths[i] > 0).collect::<Vec<_>>());
            for batch in batches {
                let longest = lengths[order[batch.start]];
                prop_assert!(batch.len() == 1 || batch.len() * longest <= BATCH);
            }
        }
    }
}
