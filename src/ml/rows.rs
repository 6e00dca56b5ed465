//! Rows of activations: what training and analyses read.

use rayon::prelude::*;

use super::{Error, Result};

/// What a token is for (docs/method.md 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TokenGroup {
    /// Plain text outside of any chat, and rows that have no text.
    #[default]
    Text,
    /// The sequence's first special token.
    Bos,
    /// Put there by the chat template: turn marks, role words, the newlines around them.
    Control,
    User,
    Assistant,
    /// Content of any other role, such as system.
    Other,
    /// A control token within the assistant mask: the end of an assistant's turn (docs/method.md 5.3 counts it to the assistant,
    /// 6.1 to the template).
    AssistantEnd,
}

impl TokenGroup {
    /// Put there by the chat template, the ends of turns among them; BOS is not (docs/method.md 6.1).
    pub fn is_control(self) -> bool {
        matches!(self, TokenGroup::Control | TokenGroup::AssistantEnd)
    }

    /// In the assistant mask: contents of the assistant and the ends of its turns (docs/method.md 5.3).
    pub fn is_assistant(self) -> bool {
        matches!(self, TokenGroup::Assistant | TokenGroup::AssistantEnd)
    }
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowInfo {
    /// Index of the portion in the list of the experiment.
    pub corpus: u16,
    /// Index of the document within its corpus.
    pub sequence: u32,
    /// Position of the token within its sequence.
    pub position: u32,
    /// Token id.
    pub token: u32,
    pub group: TokenGroup,
}

/// N rows `[N, 2, d]` in a fixed (already shuffled) order. Cheap to share between threads.
pub trait Rows: Sync {
    /// d.
    fn width(&self) -> usize;
    /// N.
    fn count(&self) -> u64;
    /// Reads rows `start..start + out.len() / (2 d)` into `out`, `[rows, 2, d]`.
    fn read(&self, start: u64, out: &mut [f32]) -> Result<()>;
    /// Origins of rows `start..start + out.len()`. Rows without text have `sequence` = row and `position` = 0.
    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()>;
    /// Shows the origins of all rows in their order, some at a time. Rows that are made when they are read need not be made for it.
    fn origins(&self, see: &mut dyn FnMut(&[RowInfo])) -> Result<()> {
        origins_by_info(self, see)
    }
    /// True where rows that lie anywhere are read about as fast as rows that follow one another: those that are stored.
    fn is_stored(&self) -> bool {
        false
    }
    /// A hint that these rows will be gathered next.
    fn expect(&self, _rows: &[u64]) {}
}

/// [`Rows::origins`] of rows whose origins are at hand.
pub(crate) fn origins_by_info<R: Rows + ?Sized>(rows: &R, see: &mut dyn FnMut(&[RowInfo])) -> Result<()> {
    let mut infos = Vec::new();
    for start in (0..rows.count()).step_by(ORIGINS) {
        infos.resize((rows.count() - start).min(ORIGINS as u64) as usize, RowInfo::default());
        rows.info(start, &mut infos)?;
        see(&infos);
    }
    Ok(())
}

/// Origins that are read at a time.
const ORIGINS: usize = 4096;

/// Reads row `places[i]` into `out[i]`, `[rows, 2, d]`; in the order in which the rows are stored, on all threads.
pub(crate) fn gather(rows: &dyn Rows, places: &[u64], out: &mut [f32]) -> Result<()> {
    let mut slots: Vec<(u64, &mut [f32])> = places.iter().copied().zip(out.chunks_mut(2 * rows.width())).collect();
    slots.sort_unstable_by_key(|(place, _)| *place);
    slots.into_par_iter().with_min_len(ROWS_A_TASK).try_for_each(|(place, slot)| rows.read(place, slot))
}

/// Rows that one task gathers, at least.
const ROWS_A_TASK: usize = 64;

/// How many rows `[2, d]` so many numbers are. Errors: they are no whole rows.
pub(crate) fn whole_rows(numbers: usize, width: usize) -> Result<usize> {
    if !numbers.is_multiple_of(2 * width) {
        let problem = format!("{numbers} numbers are no whole rows [2, {width}]");
        return Err(Error::invalid("read activations", problem));
    }
    Ok(numbers / (2 * width))
}

impl<R: Rows + ?Sized> Rows for &R {
    fn is_stored(&self) -> bool {
        (**self).is_stored()
    }

    fn expect(&self, rows: &[u64]) {
        (**self).expect(rows)
    }

    fn width(&self) -> usize {
        (**self).width()
    }

    fn count(&self) -> u64 {
        (**self).count()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        (**self).read(start, out)
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        (**self).info(start, out)
    }

    fn origins(&self, see: &mut dyn FnMut(&[RowInfo])) -> Result<()> {
        (**self).origins(see)
    }
}

impl<R: Rows + ?Sized> Rows for Box<R> {
    fn is_stored(&self) -> bool {
        (**self).is_stored()
    }

    fn expect(&self, rows: &[u64]) {
        (**self).expect(rows)
    }

    fn width(&self) -> usize {
        (**self).width()
    }

    fn count(&self) -> u64 {
        (**self).count()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        (**self).read(start, out)
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        (**self).info(start, out)
    }

    fn origins(&self, see: &mut dyn FnMut(&[RowInfo])) -> Result<()> {
        (**self).origins(see)
    }
}

/// Rows in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryRows {
    pub width: usize,
    /// `[N, 2, d]`.
    pub values: Vec<f32>,
    /// One a row, or empty.
    pub infos: Vec<RowInfo>,
}

impl Rows for MemoryRows {
    fn width(&self) -> usize {
        self.width
    }

    fn count(&self) -> u64 {
        (self.values.len() / (2 * self.width)) as u64
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let from = start as usize * 2 * self.width;
        out.copy_from_slice(&self.values[from..from + out.len()]);
        Ok(())
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        for (i, slot) in out.iter_mut().enumerate() {
            let row = start as usize + i;
            *slot = self.infos.get(row).copied().unwrap_or(RowInfo { sequence: row as u32, ..RowInfo::default() });
        }
        Ok(())
    }
}
