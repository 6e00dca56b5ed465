//! Documents of held-out rows, and which of their positions have a row.

use std::collections::BTreeMap;

use crate::ml::activations::Documents;
use crate::ml::data::TokenSequence;
use crate::ml::{Error, Result, RowInfo, Rows};

/// Origins that are read at a time.
const READ: u64 = 65_536;

/// A document that has rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// Cut after its last position that has a row.
    pub text: TokenSequence,
    /// By position: whether it has a row.
    pub kept: Vec<bool>,
}

/// Which documents of held-out rows are read, by portion and number in its corpus: their positions that have a row, with the tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<(u16, u32), Vec<(u32, u32)>>);

impl Places {
    /// Whole documents, the first of each corpus, until they have `tokens` rows in all; corpora in proportion to their rows.
    pub fn choose(rows: &dyn Rows, tokens: u64) -> Result<Self> {
        let mut counts: BTreeMap<(u16, u32), u64> = BTreeMap::new();
        for_each(rows, |info| *counts.entry((info.corpus, info.sequence)).or_default() += 1)?;
        let chosen = choose(&counts, tokens);
        let mut places: BTreeMap<(u16, u32), Vec<(u32, u32)>> = chosen.into_iter().map(|c| (c, Vec::new())).collect();
        for_each(rows, |info| {
            if let Some(places) = places.get_mut(&(info.corpus, info.sequence)) {
                places.push((info.position, info.token));
            }
        })?;
        Ok(Places(places))
    }

    /// The documents. `corpora` are those of the portions. Errors: texts that are not those of the rows.
    pub fn read(&self, corpora: &[&dyn Documents]) -> Result<Vec<HeldOut>> {
        let mut found = Vec::with_capacity(self.0.len());
        let mut rest = self.0.iter().peekable();
        while let Some((first, _)) = rest.peek().copied() {
            let (portion, first) = *first;
            let Some(corpus) = corpora.get(usize::from(portion)) else {
                let problem = format!("rows of portion {portion}, which has no text");
                return Err(Error::invalid("read held-out text", problem));
            };
            let mut documents = corpus.read(u64::from(first))?.zip(first..);
            while let Some((&(_, sequence), places)) = rest.next_if(|((p, _), _)| *p == portion) {
                let document = documents.by_ref().find(|(_, number)| *number == sequence);
                let Some((text, _)) = document else { return Err(changed(*corpus, sequence)) };
                found.push(HeldOut::new(text?, places).ok_or_else(|| changed(*corpus, sequence))?);
            }
        }
        Ok(found)
    }
}

impl HeldOut {
    /// Of positions and their tokens; `None` where the text has others.
    fn new(mut text: TokenSequence, places: &[(u32, u32)]) -> Option<Self> {
        let last = places.iter().map(|(position, _)| *position as usize).max()?;
        text.truncate(last + 1);
        let mut kept = vec![false; text.len()];
        for (position, token) in places {
            let position = *position as usize;
            (text.ids.get(position) == Some(token)).then_some(())?;
            kept[position] = true;
        }
        Some(HeldOut { text, kept })
    }
}

/// The number of the last document that gave rows of a portion; `None` without any.
pub fn last_document(rows: &dyn Rows, portion: u16) -> Result<Option<u64>> {
    let mut last = None;
    for_each(rows, |info| {
        if info.corpus == portion {
            last = last.max(Some(u64::from(info.sequence)));
        }
    })?;
    Ok(last)
}

/// The first documents of each portion until they have its share of `tokens`.
fn choose(counts: &BTreeMap<(u16, u32), u64>, tokens: u64) -> Vec<(u16, u32)> {
    let total: u64 = counts.values().sum();
    let mut portions: BTreeMap<u16, u64> = BTreeMap::new();
    for ((portion, _), count) in counts {
        *portions.entry(*portion).or_default() += count;
    }
    let share = |portion: u16| (u128::from(tokens) * u128::from(portions[&portion])).div_ceil(u128::from(total.max(1)));
    let mut taken: BTreeMap<u16, u128> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (&(portion, sequence), &count) in counts {
        let taken = taken.entry(portion).or_default();
        if *taken < share(portion) {
            *taken += u128::from(count);
            chosen.push((portion, sequence));
        }
    }
    chosen
}

fn for_each(rows: &dyn Rows, mut see: impl FnMut(&RowInfo)) -> Result<()> {
    let mut infos = Vec::new();
    for start in (0..rows.count()).step_by(READ as usize) {
        infos.resize((rows.count() - start).min(READ) as usize, RowInfo::default());
        rows.info(start, &mut infos)?;
        infos.iter().for_each(&mut see);
    }
    Ok(())
}

fn changed(corpus: &dyn Documents, sequence: u32) -> Error {
    let problem = format!("document {sequence} of `{}` is not the one whose rows are stored", corpus.name());
    Error::invalid("read held-out text", problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::{MemoryRows, TokenGroup};

    struct Memory(&'static str, Vec<Vec<u32>>);

    impl Documents for Memory {
        fn name(&self) -> &str {
            self.0
        }

        fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
            let documents = self.1.iter().skip(start as usize);
            let text = |ids: &Vec<u32>| TokenSequence { ids: ids.clone(), groups: vec![TokenGroup::Text; ids.len()] };
            Ok(Box::new(documents.map(move |ids| Ok(text(ids)))))
        }
    }

    fn rows(places: &[(u16, u32, u32, u32)]) -> MemoryRows {
        let info = |&(corpus, sequence, position, token): &(u16, u32, u32, u32)| RowInfo {
            corpus,
            sequence,
            position,
            token,
            group: TokenGroup::Text,
        };
        MemoryRows { width: 1, values: vec![0.0; 2 * places.len()], infos: places.iter().map(info).collect() }
    }

    #[test]
    fn whole_documents_in_proportion_with_their_kept_positions() {
        let prose = Memory("prose", vec![vec![1, 2, 3, 4], vec![9], vec![5, 6, 7]]);
        let talk = Memory("talk", vec![vec![0], vec![8, 9]]);
        // Shuffled; bos is left out, the second document of prose has no row, the third was cut.
        let rows = rows(&[(0, 2, 1, 6), (1, 1, 1, 9), (0, 0, 3, 4), (0, 0, 1, 2), (0, 2, 0, 5), (1, 1, 0, 8)]);
        let corpora: [&dyn Documents; 2] = [&prose, &talk];
        let ids = |found: &[HeldOut]| found.iter().map(|h| h.text.ids.clone()).collect::<Vec<_>>();
        let all = Places::choose(&rows, 100).unwrap().read(&corpora).unwrap();
        assert_eq!(ids(&all), [vec![1, 2, 3, 4], vec![5, 6], vec![8, 9]]);
        assert_eq!(all[0].kept, [false, true, false, true]);
        // Two thirds of the rows are prose: two of three.
        assert_eq!(ids(&Places::choose(&rows, 3).unwrap().read(&corpora).unwrap()), [vec![1, 2, 3, 4], vec![8, 9]]);
        assert_eq!(Places::choose(&rows, 0).unwrap(), Places::default());
    }

    #[test]
    fn a_text_that_changed_is_an_error() {
        let prose = Memory("prose", vec![vec![1, 2]]);
        let corpora: [&dyn Documents; 1] = [&prose];
        for places in [[(0, 0, 1, 3)], [(0, 0, 2, 1)], [(0, 1, 0, 1)]] {
            let error = Places::choose(&rows(&places), 10).unwrap().read(&corpora).unwrap_err().to_string();
            assert!(error.contains("of `prose` is not the one"), "{error}");
        }
        assert!(Places::choose(&rows(&[(1, 0, 0, 1)]), 10).unwrap().read(&corpora).is_err());
    }
}
