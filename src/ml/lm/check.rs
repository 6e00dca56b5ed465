//! Proof that the taps sit where they say.

use candle_core::{Device, Tensor};

use super::{Decoder, LanguageModel, Site};
use crate::ml::{Error, Result};

/// What taps are checked on.
trait Tappable {
    /// Ids that there are, and blocks.
    fn sizes(&self) -> (usize, usize);
    /// Logits `[B, T, V]` of ids `[B, T]`, with `stream` in place of what stands at a site of a layer.
    fn logits(&self, ids: &Tensor, put: Option<(usize, Site, &Tensor)>) -> Result<Tensor>;
    /// The stream `[B, T, d]` at a site of a layer.
    fn read(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor>;
    /// Logits of the stream after the last block.
    fn unembed(&self, stream: &Tensor) -> Result<Tensor>;
}

impl Tappable for Decoder {
    fn sizes(&self) -> (usize, usize) {
        (self.vocabulary(), self.layers())
    }

    fn logits(&self, ids: &Tensor, put: Option<(usize, Site, &Tensor)>) -> Result<Tensor> {
        let Some((layer, site, stream)) = put else { return Decoder::logits(self, ids) };
        self.run(ids, &mut |l, s, _| Ok((l == layer && s == site).then(|| stream.clone())))
    }

    fn read(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor> {
        self.residual(ids, layer, site)
    }

    fn unembed(&self, stream: &Tensor) -> Result<Tensor> {
        Decoder::unembed(self, stream)
    }
}

/// A model wherever it runs, by the verbs that patching has.
struct Anywhere<'a>(&'a dyn LanguageModel);

impl Anywhere<'_> {
    fn logits_after(&self, held: &super::Held, stream: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = stream.dims3()?;
        let positions: Vec<usize> = (0..tokens).collect();
        let rows = self.0.read_on(held, stream, &positions)?;
        Ok(self.0.logits_of(&rows)?.tensor()?.reshape((batch, tokens, self.0.vocabulary()))?)
    }
}

impl Tappable for Anywhere<'_> {
    fn sizes(&self) -> (usize, usize) {
        (self.0.vocabulary(), self.0.layers())
    }

    fn logits(&self, ids: &Tensor, put: Option<(usize, Site, &Tensor)>) -> Result<Tensor> {
        match put {
            Some((layer, site, stream)) => self.logits_after(&self.0.hold(ids, layer, site)?, stream),
            None => {
                let held = self.0.hold(ids, 0, Site::ResidualPre)?;
                self.logits_after(&held, held.value())
            }
        }
    }

    fn read(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor> {
        self.0.residual(ids, layer, site)
    }

    fn unembed(&self, stream: &Tensor) -> Result<Tensor> {
        let last = super::Held::new(self.0.layers() - 1, Site::ResidualPost, stream.clone(), Vec::new());
        self.logits_after(&last, stream)
    }
}

/// [`check_taps`] of a model wherever it runs: what is put in goes on from there, as in patching.
pub fn check_taps_of(model: &dyn LanguageModel, layer: usize, site: Site) -> Result<()> {
    check(&Anywhere(model), layer, site)
}

/// Checks on a few tokens that replacing the stream at `site` of `layer` changes the logits, that putting back what was read
/// there does not, and that the stream after the last block gives the model's logits. An error says which one failed.
pub fn check_taps(decoder: &Decoder, layer: usize, site: Site) -> Result<()> {
    check(decoder, layer, site)
}

fn check(model: &dyn Tappable, layer: usize, site: Site) -> Result<()> {
    let (vocabulary, layers) = model.sizes();
    let sequence: Vec<u32> = (0..6).map(|i| (7 * i + 3) % vocabulary as u32).collect();
    let ids = Tensor::from_vec(sequence, (1, 6), &Device::Cpu)?;
    let logits = model.logits(&ids, None)?;
    let read = model.read(&ids, layer, site)?;
    let put = |stream: &Tensor| model.logits(&ids, Some((layer, site, stream)));
    let tolerance = 1e-4 * spread(&logits)?;
    let fail = |problem: &str| Err(Error::invalid("check taps", format!("{problem} (layer {layer}, {site:?})")));
    if distance(&put(&read)?, &logits)? > tolerance {
        return fail("putting back what was read changes the logits");
    }
    let other = (read.affine(-1.0, 0.5))?;
    if distance(&put(&other)?, &logits)? <= tolerance {
        return fail("replacing the stream does not change the logits");
    }
    let last = model.read(&ids, layers - 1, Site::ResidualPost)?;
    if distance(&model.unembed(&last)?, &logits)? > tolerance {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A decoder with one thing wrong.
    struct Broken {
        decoder: Decoder,
        fault: Fault,
    }

    enum Fault {
        None,
        /// What is read is the stream one block before.
        OffByOne,
        /// What is put in is not looked at.
        Deaf,
        /// What is called the last tap is the stream before the last block.
        EarlyEnd,
    }

    impl Tappable for Broken {
        fn sizes(&self) -> (usize, usize) {
            self.decoder.sizes()
        }

        fn logits(&self, ids: &Tensor, put: Option<(usize, Site, &Tensor)>) -> Result<Tensor> {
            let put = put.filter(|_| !matches!(self.fault, Fault::Deaf));
            Tappable::logits(&self.decoder, ids, put)
        }

        fn read(&self, ids: &Tensor, layer: usize, site: Site) -> Result<Tensor> {
            let is_last = layer + 1 == self.decoder.layers();
            let layer = match self.fault {
                Fault::OffByOne if !is_last => layer - 1,
                Fault::EarlyEnd if is_last => layer - 1,
                _ => layer,
            };
            self.decoder.read(ids, layer, site)
        }

        fn unembed(&self, stream: &Tensor) -> Result<Tensor> {
            Tappable::unembed(&self.decoder, stream)
        }
    }

    #[test]
    fn each_failure_is_found_and_named() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm/llama");
        let verdict = |fault: Fault| {
            let broken = Broken { decoder: Decoder::load(&folder).unwrap(), fault };
            check(&broken, 1, Site::ResidualPost).map_err(|error| error.to_string())
        };
        assert_eq!(verdict(Fault::None), Ok(()));
        for (fault, problem) in [
            (Fault::OffByOne, "putting back what was read changes the logits"),
            (Fault::Deaf, "replacing the stream does not change the logits"),
            (Fault::EarlyEnd, "the last tap is not the final residual"),
        ] {
            assert_eq!(verdict(fault), Err(format!("check taps: {problem} (layer 1, ResidualPost)")));
        }
    }
}
