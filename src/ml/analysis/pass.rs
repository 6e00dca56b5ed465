//! One pass over held-out rows and their codes.

use crate::ml::crosscoder::{Crosscoder, SparseCode};
use crate::ml::{Error, Progress, Result, RowInfo, Rows, Watch};

/// Rows of one chunk: 64 MB of activations at most.
pub(crate) fn chunk_rows(width: usize) -> usize {
    (8_388_608 / width.max(1)).clamp(64, 4096)
}

/// What is read: the rows of some portions (`None`: of all), for an analysis called `name`.
pub(crate) struct Pass<'a> {
    pub name: &'static str,
    pub crosscoder: &'a Crosscoder,
    pub rows: &'a dyn Rows,
    pub portions: Option<&'a [u16]>,
    pub watch: &'a dyn Watch,
}

impl Pass<'_> {
    /// Encodes the rows in their order, a chunk at a time, and shows `each` chunk its origins and its code. Returns how many there were.
    pub fn run(&self, mut each: impl FnMut(&[RowInfo], &SparseCode)) -> Result<u64> {
        let (width, total) = (self.rows.width(), self.rows.count());
        if width != self.crosscoder.width {
            let problem = format!("rows of width {width}, crosscoder of width {}", self.crosscoder.width);
            return Err(Error::invalid(self.name, problem));
        }
        let (chunk, both) = (chunk_rows(width), 2 * width);
        let mut values = vec![0.0f32; chunk * both];
        let mut infos = vec![RowInfo::default(); chunk];
        let mut encoder = self.crosscoder.encoder();
        let (mut start, mut seen) = (0, 0);
        while start < total {
            if self.watch.stop() {
                return Err(Error::Interrupted);
            }
            let count = chunk.min((total - start) as usize);
            self.rows.read(start, &mut values[..count * both])?;
            self.rows.info(start, &mut infos[..count])?;
            let kept = self.keep(&mut infos[..count], &mut values, both);
            if kept > 0 {
                each(&infos[..kept], &encoder.encode(&values[..kept * both]));
            }
            start += count as u64;
            seen += kept as u64;
            self.watch.progress(&Progress { done: start, total, loss: None });
        }
        Ok(seen)
    }

    /// Moves the rows that are asked for to the front; their number.
    fn keep(&self, infos: &mut [RowInfo], values: &mut [f32], both: usize) -> usize {
        let Some(portions) = self.portions else { return infos.len() };
        let mut kept = 0;
        for row in 0..infos.len() {
            if portions.contains(&infos[row].corpus) {
                infos.swap(kept, row);
                values.copy_within(row * both..(row + 1) * both, kept * both);
                kept += 1;
            }
        }
        kept
    }
}
