//! A sparse code turned round: for each latent, the rows in which it is active.

use crate::ml::crosscoder::SparseCode;

/// Compressed columns, made by counting: latent j is active in `rows[offsets[j]..offsets[j + 1]]`, ascending.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// D + 1.
    pub offsets: Vec<usize>,
    pub rows: Vec<u32>,
    /// f, and the gradient of the loss by the preactivation.
    pub values: Vec<f32>,
    pub gradients: Vec<f32>,
    /// Where the next entry of each latent goes, while filling.
    next: Vec<usize>,
}

impl Columns {
    /// Replaces the content by the columns of codes that share no latent, each with its gradients (aligned with its
    /// values).
    pub fn fill(&mut self, latents: usize, codes: &[(&SparseCode, &[f32])]) {
        self.offsets.clear();
        self.offsets.resize(latents + 1, 0);
        for (code, _) in codes {
            for &latent in &code.latents {
                self.offsets[latent as usize + 1] += 1;
            }
        }
        for latent in 0..latents {
            self.offsets[latent + 1] += self.offsets[latent];
        }
        let total = self.offsets[latents];
        self.rows.resize(total, 0);
        self.values.resize(total, 0.0);
        self.gradients.resize(total, 0.0);
        self.next.clone_from(&self.offsets);
        for (code, gradients) in codes {
            for row in 0..code.rows() {
                for t in code.offsets[row]..code.offsets[row + 1] {
                    let slot = &mut self.next[code.latents[t] as usize];
                    self.rows[*slot] = row as u32;
                    self.values[*slot] = code.values[t];
                    self.gradients[*slot] = gradients[t];
                    *slot += 1;
                }
            }
        }
    }

    /// Rows, values and gradients of a latent.
    pub fn column(&self, latent: usize) -> (&[u32], &[f32], &[f32]) {
        let range = self.offsets[latent]..self.offsets[latent + 1];
        (&self.rows[range.clone()], &self.values[range.clone()], &self.gradients[range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_two_disjoint_codes() {
        let main = SparseCode { offsets: vec![0, 2, 3], latents: vec![0, 3, 0], values: vec![1.0, 2.0, 3.0] };
        let aux = SparseCode { offsets: vec![0, 0, 1], latents: vec![1], values: vec![4.0] };
        let mut columns = Columns::default();
        columns.fill(4, &[(&main, &[0.1, 0.2, 0.3]), (&aux, &[0.4])]);
        assert_eq!(columns.column(0), (&[0u32, 1][..], &[1.0f32, 3.0][..], &[0.1f32, 0.3][..]));
        assert_eq!(columns.column(1), (&[1u32][..], &[4.0f32][..], &[0.4f32][..]));
        assert_eq!(columns.column(2).0.len(), 0);
        assert_eq!(columns.column(3), (&[0u32][..], &[2.0f32][..], &[0.2f32][..]));
    }
}
