//! The two layouts of a decoder.

/// `[2, D, d]` to `[D, 2d]`.
pub fn by_latent(values: &[f32], width: usize, latents: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for j in 0..latents {
        for model in 0..2 {
            out.extend_from_slice(&values[(model * latents + j) * width..][..width]);
        }
    }
    out
}

/// `[D, 2d]` to `[2, D, d]`.
pub fn by_model(values: &[f32], width: usize, latents: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for model in 0..2 {
        for j in 0..latents {
            out.extend_from_slice(&values[(2 * j + model) * width..][..width]);
        }
    }
    out
}
