//! The sparse code of a batch: for each row the active latents and their values.

/// f of B rows in compressed rows: row i holds `latents[offsets[i]..offsets[i + 1]]`, ascending, with the UNSCALED `values` f_ij > 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseCode {
    /// B + 1.
    pub offsets: Vec<usize>,
    pub latents: Vec<u32>,
    pub values: Vec<f32>,
}

impl SparseCode {
    /// B.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Latents and values of row i.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.latents[range.clone()], &self.values[range])
    }
}
