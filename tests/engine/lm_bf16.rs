//! Computing in bf16, against torch computing in bf16.

use candle_core::{DType, IndexOp, Tensor};
use xd::ml::lm::{Decoder, DecoderConfig, Dtype, Site, Weights, check_taps};

use crate::lm::{FAMILIES, expected, fixture, sites};

/// Root mean square difference in units of the wanted tensor's deviation.
fn distance(got: &Tensor, want: &Tensor) -> f32 {
    let power = |x: &Tensor| x.sqr().unwrap().mean_all().unwrap().sqrt().unwrap().to_scalar::<f32>().unwrap();
    let centred = want.broadcast_sub(&want.mean_all().unwrap()).unwrap();
    power(&(got - want).unwrap()) / power(&centred)
}

/// Let e be torch's own error in bf16: its distance to the same forward in f32. Roundings at places of one's own, as good as
/// torch's, would give an error of e too, and a distance of sqrt(2) e to torch. With torch's rounding places the errors are
/// partly the same, and the distance must be below e. It cannot vanish: a product summed in another order falls to the other
/// side of a rounding now and then (torch's attention, which keeps its scores in bf16 or in blocks, has places of its own).
#[test]
fn bf16_is_closer_to_torch_in_bf16_than_to_f32() {
    for family in FAMILIES {
        let decoder = Decoder::open(fixture(family), Dtype::Bf16).unwrap();
        let (expected, sites) = (expected(family), sites(family));
        let ids = &expected["ids"].i(..1).unwrap();
        let check = |name: &str, got: Tensor| {
            let got = got.i(0).unwrap();
            let torch = sites[&format!("bf16.{name}")].to_dtype(DType::F32).unwrap();
            let exact = expected[name].i(0).unwrap();
            let (error, own, apart) = (distance(&torch, &exact), distance(&got, &exact), distance(&got, &torch));
            assert!((0.001..0.05).contains(&error), "{family} {name}: torch's own error is {error}");
            assert!((0.8..1.25).contains(&(own / error)), "{family} {name}: error {own}, torch's {error}");
            assert!(apart < error, "{family} {name}: {apart} from torch, whose error is {error}");
            let rounded = got.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(distance(&got, &rounded), 0.0, "{family} {name} is not in bf16");
        };
        for layer in 0..decoder.layers() {
            let got = decoder.residual(ids, layer, Site::ResidualPost).unwrap();
            check(&format!("residual_post_{layer}"), got);
        }
        check("logits", decoder.logits(ids).unwrap());
        for site in [Site::ResidualPre, Site::AttnOut, Site::MlpOut, Site::ResidualPost] {
            check_taps(&decoder, 1, site).unwrap();
        }
    }
}

#[test]
fn weights_take_half_the_memory() {
    let bytes = |family: &str, dtype: Dtype| -> usize {
        let config = DecoderConfig::load(fixture(family)).unwrap();
        let weights = Weights::load(&fixture(family), &config, dtype).unwrap();
        weights.parts().values().map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum()
    };
    for family in FAMILIES {
        assert_eq!(bytes(family, Dtype::F32), 2 * bytes(family, Dtype::Bf16), "{family}");
    }
}
