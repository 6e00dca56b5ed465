//! From places to text.

use std::collections::{BTreeMap, BTreeSet};

use super::Example;
use super::sample::Kept;
use super::sequences::SequenceId;
use crate::ml::activations::Documents;
use crate::ml::{Error, Result, Rows};

/// Stands for a token that is not known: no row of it is stored, and there is no text to look it up in.
pub const UNKNOWN: &str = "…";
/// Tokens before and after a stretch that are spelled with it, so that characters which go over its ends are right.
const BESIDE: usize = 8;

/// Token ids of sequences by position; `None` where one is not known.
pub type Tokens = BTreeMap<SequenceId, Vec<Option<u32>>>;

/// The text of each token; joined they are the text of all.
pub type Spell<'a> = dyn Fn(&[u32]) -> Result<Vec<String>> + Sync + 'a;

/// The sequences that examples show.
pub fn sequences_of(kept: &[Kept]) -> BTreeSet<SequenceId> {
    kept.iter().map(|kept| kept.sequence).collect()
}

/// The sequences that have rows.
///
/// # Errors
/// Rows cannot be read.
pub fn sequences_of_rows(rows: &dyn Rows) -> Result<BTreeSet<SequenceId>> {
    let mut sequences = BTreeSet::new();
    rows.origins(&mut |infos| sequences.extend(infos.iter().map(|info| (info.corpus, info.sequence))))?;
    Ok(sequences)
}

/// The tokens of these sequences as far as rows have them: 8 bytes a token.
///
/// # Errors
/// Rows cannot be read.
pub fn tokens_of_rows(rows: &dyn Rows, wanted: &BTreeSet<SequenceId>) -> Result<Tokens> {
    let mut tokens = Tokens::new();
    rows.origins(&mut |infos| {
        for info in infos.iter().filter(|info| wanted.contains(&(info.corpus, info.sequence))) {
            let ids = tokens.entry((info.corpus, info.sequence)).or_default();
            let position = info.position as usize;
            ids.resize(ids.len().max(position + 1), None);
            ids[position] = Some(info.token);
        }
    })?;
    Ok(tokens)
}

/// The tokens of the sequences of one portion: its documents again, cut to `context` as they were when rows were made of them.
///
/// # Errors
/// A document cannot be read.
pub fn tokens_of_documents(
    documents: &dyn Documents,
    portion: u16,
    context: usize,
    wanted: &BTreeSet<SequenceId>,
) -> Result<Tokens> {
    let mut left = wanted.range((portion, 0)..=(portion, u32::MAX)).map(|id| id.1).peekable();
    let mut tokens = Tokens::new();
    let Some(first) = left.peek().copied() else { return Ok(tokens) };
    for (document, sequence) in documents.read(u64::from(first))?.zip(first..) {
        let mut document = document?;
        if left.next_if_eq(&sequence).is_some() {
            document.truncate(context);
            tokens.insert((portion, sequence), document.ids.into_iter().map(Some).collect());
        }
        if left.peek().is_none() {
            break;
        }
    }
    Ok(tokens)
}

/// An example with its text.
///
/// # Errors
/// The tokens are not those of the rows, or cannot be spelled.
pub fn with_text(kept: &Kept, tokens: &Tokens, around: u32, spell: &Spell<'_>) -> Result<Example> {
    let ids = tokens.get(&kept.sequence).map(Vec::as_slice).unwrap_or_default();
    let peak = kept.position as usize;
    if ids.get(peak) != Some(&Some(kept.token)) {
        let (corpus, document) = kept.sequence;
        let problem = format!(
            "document {document} of portion {corpus} of `validate` has another token at position {peak} than when it was harvested: the text \
             or its tokenizer has changed; harvest it again"
        );
        return Err(Error::invalid("collect examples", problem));
    }
    let low = peak.saturating_sub(around as usize);
    let high = ids.len().min(peak.saturating_add(around as usize + 1));
    let known = |place: &usize| ids[*place].is_some();
    let start = (low..=peak).find(known).unwrap_or(peak);
    let end = (peak..high).rev().find(known).map_or(peak + 1, |last| last + 1);
    let mut pieces = Vec::new();
    while start + pieces.len() < end {
        let from = start + pieces.len();
        if !known(&from) {
            pieces.push(UNKNOWN.to_string());
            continue;
        }
        let until = (from..end).find(|place| !known(place)).unwrap_or(end);
        let lead = (from.saturating_sub(BESIDE)..from).rev().take_while(known).last().unwrap_or(from);
        let tail = (until..ids.len().min(until + BESIDE)).take_while(known).last().map_or(until, |last| last + 1);
        let run: Vec<u32> = ids[lead..tail].iter().copied().flatten().collect();
        pieces.extend(spell(&run)?.drain(from - lead..until - lead));
    }
    let mut activations = vec![0f32; end - start];
    for &(position, value) in &kept.fires {
        if let Some(slot) = (position as usize).checked_sub(start).and_then(|place| activations.get_mut(place)) {
            *slot = value;
        }
    }
    Ok(Example {
        latent: kept.latent,
        bin: kept.bin,
        activation: kept.activation,
        corpus: kept.sequence.0,
        sequence: kept.sequence.1,
        peak: (peak - start) as u32,
        start: start as u32,
        tokens: pieces,
        activations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(position: u32, token: u32) -> Kept {
        let fires = [(position, 2.0), (position + 2, 1.0)].into();
        Kept { latent: 3, bin: 1, activation: 2.0, sequence: (0, 5), position, token, fires }
    }

    fn spell(ids: &[u32]) -> Result<Vec<String>> {
        Ok(ids.iter().enumerate().map(|(at, id)| format!("{}{id}", if at == 0 { "^" } else { " " })).collect())
    }

    #[test]
    fn a_window_is_cut_at_the_ends_and_says_what_it_does_not_know() {
        let ids = [None, Some(11), Some(12), None, Some(14), Some(15), Some(16), None];
        let tokens = Tokens::from([((0, 5), ids.to_vec())]);
        let example = with_text(&kept(4, 14), &tokens, 3, &spell).unwrap();
        // Position 0 is not known and at the end; 3 is within. 11 is the first token of a run, so is 14.
        assert_eq!(example.tokens, ["^11", " 12", "…", "^14", " 15", " 16"]);
        assert_eq!((example.start, example.peak), (1, 3));
        assert_eq!(example.activations, [0.0, 0.0, 0.0, 2.0, 0.0, 1.0]);
        let near = with_text(&kept(4, 14), &tokens, 0, &spell).unwrap();
        assert_eq!((near.tokens, near.activations, near.start, near.peak), (vec!["^14".to_string()], vec![2.0], 4, 0));
        // What stands beside is spelled with it and cut off.
        let near = with_text(&kept(5, 15), &tokens, 0, &spell).unwrap();
        assert_eq!(near.tokens, [" 15"]);
        let error = with_text(&kept(5, 14), &tokens, 3, &spell).unwrap_err().to_string();
        assert!(error.contains("document 5") && error.contains("has changed"), "{error}");
        assert!(with_text(&kept(3, 0), &tokens, 3, &spell).is_err());
        assert!(with_text(&kept(9, 0), &tokens, 3, &spell).is_err());
    }
}
