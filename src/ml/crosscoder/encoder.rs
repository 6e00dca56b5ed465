//! The encoder of a crosscoder, laid out for many rows.

use super::{Activation, Crosscoder, SparseCode};
use crate::ml::kernels::{Candidates, Latents, Preactivations, Rounded, Side, Unit, dots, transposed};

/// What turns rows into codes: made once, used for as many rows as there are. Its codes do not depend on how rows are cut into portions.
pub struct Encoder<'a> {
    crosscoder: &'a Crosscoder,
    /// By latent, `[D, 2d]`; of an autoencoder `[D, d]`.
    weight: Vec<f32>,
    /// S `[D]`.
    norms: Vec<f32>,
    /// For a threshold: the weights in bf16, where the machine multiplies them fast.
    rounded: Option<(Unit, Rounded)>,
    candidates: Candidates,
    products: Vec<f32>,
}

impl<'a> Encoder<'a> {
    /// Of a crosscoder as it is.
    pub fn new(crosscoder: &'a Crosscoder) -> Self {
        let both = crosscoder.variant.row(crosscoder.width);
        let columns = match crosscoder.variant.target() {
            // Its own encoder stands where its target has the sign 1.
            Some(target) => &crosscoder.encoder_weight[target.model() * both * crosscoder.latents..],
            None => &crosscoder.encoder_weight[..],
        };
        let weight = transposed(&columns[..both * crosscoder.latents], both, crosscoder.latents);
        let is_threshold = matches!(crosscoder.activation, Activation::Threshold { threshold, .. } if threshold >= 0.0);
        let unit = Unit::here().filter(|_| is_threshold && Candidates::fit(both));
        let rounded = unit.map(|unit| {
            let mut rounded = Rounded::empty(Side::Left);
            rounded.fill(&weight, both);
            (unit, rounded)
        });
        let (norms, candidates) = (crosscoder.code_norms(), Candidates::default());
        Encoder { crosscoder, weight, norms, rounded, candidates, products: Vec::new() }
    }

    /// The same without bf16: the same codes, slower.
    pub fn in_f32(mut self) -> Self {
        self.rounded = None;
        self
    }

    /// x W_enc `[B, D]` of rows x `[B, 2, d]`, without the bias. An autoencoder of the difference subtracts first, which keeps the digits
    /// that the two products would lose.
    pub fn products(&mut self, x: &[f32]) -> &[f32] {
        let (variant, width) = (self.crosscoder.variant, self.crosscoder.width);
        self.multiply(&variant.seen(x, width));
        &self.products
    }

    fn multiply(&mut self, seen: &[f32]) {
        let both = self.crosscoder.variant.row(self.crosscoder.width);
        self.products.resize(seen.len() / both * self.crosscoder.latents, 0.0);
        dots(&mut self.products, seen, &self.weight, both, None);
    }

    /// Code of rows x `[B, 2, d]` by the activation for use.
    pub fn encode(&mut self, x: &[f32]) -> SparseCode {
        let mut code = SparseCode { offsets: vec![0], ..SparseCode::default() };
        for rows in x.chunks(self.crosscoder.rows_at_a_time() * 2 * self.crosscoder.width) {
            code.append(self.portion(rows));
        }
        code
    }

    fn portion(&mut self, rows: &[f32]) -> SparseCode {
        let (variant, width) = (self.crosscoder.variant, self.crosscoder.width);
        let rows = &variant.seen(rows, width);
        let bias = &self.crosscoder.encoder_bias;
        if let (Some((unit, rounded)), Activation::Threshold { threshold, .. }) =
            (&self.rounded, &self.crosscoder.activation)
        {
            let of = Latents { encoder: &self.weight, rounded, bias, norms: &self.norms };
            if let Some(code) = self.candidates.over_threshold(*unit, rows, of, *threshold) {
                return code;
            }
        }
        self.multiply(rows);
        self.crosscoder.activation.code(Preactivations { products: &self.products, bias, norms: &self.norms })
    }
}
