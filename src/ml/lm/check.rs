//! Proof that the taps sit where they say.

use candle_core::Tensor;

use super::{Decoder, Site};
use crate::ml::{Error, Result};

/// Checks on a few tokens that replacing the stream at `site` of `layer` changes the logits, that putting back what was read
/// there does not, and that the stream after the last block gives the model's logits. An error says which one failed.
pub fn check_taps(decoder: &Decoder, layer: usize, site: Site) -> Result<()> {
    let top = decoder.vocabulary() as u32;
    let sequence: Vec<u32> = (0..6).map(|i| (7 * i + 3) % top).collect();
    let ids = decoder.batch(&[&sequence])?;
    let logits = decoder.logits(&ids)?;
    let read = decoder.residual(&ids, layer, site)?;
    let put = |stream: &Tensor| decoder.run(&ids, &mut |l, s, _| Ok((l == layer && s == site).then(|| stream.clone())));
    let tolerance = 1e-4 * spread(&logits)?;
    let fail = |problem: &str| Err(Error::invalid("check taps", format!("{problem} (layer {layer}, {site:?})")));
    if distance(&put(&read)?, &logits)? > tolerance {
        return fail("putting back what was read changes the logits");
    }
    let other = (read.affine(-1.0, 0.5))?;
    if distance(&put(&other)?, &logits)? <= tolerance {
        return fail("replacing the stream does not change the logits");
    }
    let last = decoder.residual(&ids, decoder.layers() - 1, Site::ResidualPost)?;
    if distance(&decoder.unembed(&last)?, &logits)? > tolerance {
        return fail("the last tap is not the final residual");
    }
    Ok(())
}

fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    Ok((a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?)
}

fn spread(x: &Tensor) -> Result<f32> {
    let mean = x.mean_all()?;
    Ok(x.broadcast_sub(&mean)?.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?)
}
