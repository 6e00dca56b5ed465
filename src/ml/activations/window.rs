//! Documents that are run through the models together.

use std::ops::Range;

use rayon::prelude::*;

use super::source::Pair;
use crate::ml::data::TokenSequence;
use crate::ml::lm::alone;
use crate::ml::{Error, Result, RowInfo, Watch};

/// Tokens of a window: long enough that documents of about equal length meet and that every thread has batches of its own,
/// short enough to hold in memory (2 models x 16,384 x d x 4 bytes: 300 MB for d = 2304).
pub const TOKENS: usize = 16_384;

/// Rows of consecutive documents, in the order of the text.
#[derive(Debug, Default)]
pub struct Window {
    pub infos: Vec<RowInfo>,
    /// Residuals of each model, `[rows, d]`.
    pub values: [Vec<f32>; 2],
    /// Documents in it.
    pub documents: u64,
    /// Tokens of padding that each model ran beside its rows.
    pub padding: u64,
}

/// Some documents of about equal length, for one model.
struct Task<'a> {
    model: usize,
    documents: &'a [usize],
    longest: usize,
    /// Where the residuals of each document go, `[length, d]`.
    targets: Vec<&'a mut [f32]>,
}

impl Window {
    /// Runs both models over `documents`, which begin at document `first` of their corpus.
    ///
    /// Documents are batched by length, so that little is padded; batches depend on the documents alone, and the rows stand in
    /// the order of the text whatever the batches were. Both models read the same batches, side by side.
    pub fn compute(
        pair: &Pair,
        documents: &[TokenSequence],
        corpus: u16,
        first: u64,
        watch: &dyn Watch,
    ) -> Result<Self> {
        let mut window = Window::dry(documents, corpus, first)?;
        let size = window.infos.len() * pair.width();
        window.values = [vec![0.0; size], vec![0.0; size]];
        let lengths: Vec<usize> = documents.iter().map(|document| document.ids.len()).collect();
        let pace = pair.pace();
        let (order, batches) = batches(&lengths, pace.tokens);
        let mut tasks = Vec::with_capacity(2 * batches.len());
        for (model, values) in window.values.iter_mut().enumerate() {
            let mut targets = split(values, &lengths, pair.width());
            for batch in &batches {
                let documents = &order[batch.clone()];
                let longest = documents.iter().map(|&document| lengths[document]).max().unwrap_or(0);
                let targets = documents.iter().map(|&document| std::mem::take(&mut targets[document])).collect();
                tasks.push(Task { model, documents, longest, targets });
            }
        }
        let padded: usize = tasks.iter().map(|task| task.documents.len() * task.longest).sum();
        window.padding = (padded / 2 - window.infos.len()) as u64;
        let run = |task: Task| if watch.stop() { Err(Error::Interrupted) } else { task.run(pair, documents) };
        // A thread that has batches of its own runs them alone; where batches are few, threads share each.
        let is_many = tasks.len() >= 2 * rayon::current_num_threads();
        match (pace.side_by_side, is_many) {
            (false, _) => tasks.into_iter().try_for_each(run)?,
            (_, true) => tasks.into_par_iter().with_max_len(1).try_for_each(|task| alone(|| run(task)))?,
            (_, false) => tasks.into_par_iter().with_max_len(1).try_for_each(run)?,
        }
        Ok(window)
    }

    /// Where the tokens stand, without values.
    pub fn dry(documents: &[TokenSequence], corpus: u16, first: u64) -> Result<Self> {
        let mut window = Window { documents: documents.len() as u64, ..Window::default() };
        for (number, document) in documents.iter().enumerate() {
            window.infos.extend(infos(document, corpus, first + number as u64)?);
        }
        Ok(window)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let values: usize = self.values.iter().map(|values| 4 * values.capacity()).sum();
        values + self.infos.capacity() * size_of::<RowInfo>()
    }

    /// The row `[base, tuned]`.
    pub fn row(&self, row: usize) -> [&[f32]; 2] {
        let width = self.values[0].len() / self.infos.len().max(1);
        [0, 1].map(|model: usize| &self.values[model][row * width..(row + 1) * width])
    }
}

impl Task<'_> {
    fn run(self, pair: &Pair, documents: &[TokenSequence]) -> Result<()> {
        let mut ids = Vec::with_capacity(self.documents.len() * self.longest);
        for &document in self.documents {
            ids.extend_from_slice(&documents[document].ids);
            ids.resize(ids.len().next_multiple_of(self.longest), 0);
        }
        let values = pair.residuals(self.model, &ids, self.documents.len())?;
        for (target, values) in self.targets.into_iter().zip(values.chunks_exact(self.longest * pair.width())) {
            target.copy_from_slice(&values[..target.len()]);
        }
        Ok(())
    }
}

/// The stretch of each document in `values` `[rows, d]`.
fn split<'a>(mut values: &'a mut [f32], lengths: &[usize], width: usize) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (part, rest) = values.split_at_mut(length * width);
        parts.push(part);
        values = rest;
    }
    parts
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

/// Documents from long to short, and stretches of them whose padded size is at most `most` tokens (or one document).
/// Empty documents are in none.
fn batches(lengths: &[usize], most: usize) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut order: Vec<usize> = (0..lengths.len()).filter(|&document| lengths[document] > 0).collect();
    order.sort_by_key(|&document| (std::cmp::Reverse(lengths[document]), document));
    let mut batches = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        let full = end < order.len() && (end - start + 1) * lengths[order[start]] > most;
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

    const BATCH: usize = 512;

    proptest! {
        #[test]
        fn every_document_is_in_one_batch(lengths in prop::collection::vec(0usize..3000, 0..60)) {
            let (order, batches) = batches(&lengths, BATCH);
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
