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

    /// Forgets all rows, not their memory.
    pub fn clear(&mut self) {
        self.offsets.clear();
        self.latents.clear();
        self.values.clear();
    }

    /// Adds the rows of another code below.
    pub fn append(&mut self, other: SparseCode) {
        let start = self.latents.len();
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.offsets.extend(other.offsets.iter().skip(1).map(|offset| start + offset));
        self.latents.extend(other.latents);
        self.values.extend(other.values);
    }

    /// Latents and values of row i.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.latents[range.clone()], &self.values[range])
    }
}
