//! Whole models on the emulated GPU against the CPU's: every family, site and format.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use xd::ml::cuda::{Gpu, GpuDecoder};
use xd::ml::lm::{
    Decoder, DecoderConfig, Dtype, LanguageModel, Prediction, Reading, Site, Weights, check_taps_of, predictions,
};
use xd::ml::watch::Unwatched;

use crate::decoder::uniform;
use crate::emulator::{emulator, without_narrow};

const FAMILIES: [&str; 11] = [
    "gemma2",
    "gemma3",
    "gpt2",
    "gpt_neox",
    "gpt_neox_sequential",
    "llama",
    "llama_untied",
    "mistral",
    "qwen2",
    "qwen2_window",
    "qwen3",
];
const SITES: [Site; 4] = [Site::ResidualPre, Site::AttnOut, Site::MlpOut, Site::ResidualPost];

pub fn fixture(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm").join(family)
}

fn ids(family: &str) -> Tensor {
    let path = fixture(family).join("expected.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap().remove("ids").unwrap().to_dtype(DType::U32).unwrap()
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference in units of the root mean square of what is wanted.
fn distance(found: &Tensor, wanted: &Tensor) -> f32 {
    assert_eq!(found.dims(), wanted.dims());
    let (found, wanted) = (list(found), list(wanted));
    let size = (wanted.iter().map(|x| x * x).sum::<f32>() / wanted.len() as f32).sqrt();
    let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, |most, x| if x <= most { most } else { x }) / size
}

/// Logits of the whole run, by the verbs of patching.
fn logits(model: &dyn LanguageModel, ids: &Tensor, put: Option<(usize, Site, &Tensor)>) -> Tensor {
    let (batch, tokens) = ids.dims2().unwrap();
    let (layer, site, _) = put.unwrap_or((0, Site::ResidualPre, ids));
    let held = model.hold(ids, layer, site).unwrap();
    let values = put.map_or_else(|| held.value().clone(), |(_, _, values)| values.clone());
    let positions: Vec<usize> = (0..tokens).collect();
    let rows = model.read_on(&held, &values, &positions).unwrap();
    let runs = values.dim(0).unwrap() / batch;
    let logits = model.logits_of(&rows).unwrap().tensor().unwrap();
    logits.reshape((runs * batch, tokens, model.vocabulary())).unwrap()
}

fn pair(gpu: &Arc<dyn Gpu>, family: &str, dtype: Dtype) -> (Decoder, GpuDecoder) {
    (Decoder::open(fixture(family), dtype).unwrap(), GpuDecoder::open(gpu, fixture(family), dtype).unwrap())
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    list(tensor).iter().map(|x| x.to_bits()).collect()
}

fn every_family_gives_the_residuals_and_logits_of_the_cpu(gpus: &[Arc<dyn Gpu>]) {
    let [gpu, again] = gpus else { return };
    for family in FAMILIES {
        let (cpu, on_gpu) = pair(gpu, family, Dtype::F32);
        let ids = ids(family);
        for layer in 0..cpu.layers() {
            // Within a block, of one with a whole block below it.
            for site in SITES.into_iter().filter(|site| layer == 1 || *site == Site::ResidualPost) {
                let found = on_gpu.residual(&ids, layer, site).unwrap();
                let distance = distance(&found, &cpu.residual(&ids, layer, site).unwrap());
                assert!(distance < 1e-5, "{family} layer {layer} {site:?}: {distance}");
            }
        }
        let wanted = cpu.logits(&ids).unwrap();
        let found = logits(&on_gpu, &ids, None);
        assert!(distance(&found, &wanted) < 2e-5, "{family} logits: {}", distance(&found, &wanted));
        let again = GpuDecoder::open(again, fixture(family), Dtype::F32).unwrap();
        let one = ids.narrow(0, 0, 1).unwrap();
        let [found, again] = [&on_gpu, &again].map(|model| bits(&logits(model, &one, None)));
        assert_eq!(found, again, "{family}: threads in another order");
    }
}

#[test]
fn a_run_goes_on_from_every_site_with_several_values_at_once() {
    let Some(gpu) = emulator(false) else { return };
    for family in FAMILIES {
        let (cpu, on_gpu) = pair(&gpu, family, Dtype::F32);
        let ids = ids(family).narrow(0, 1, 1).unwrap();
        for (number, site) in SITES.into_iter().enumerate() {
            let layer = number % cpu.layers();
            let own = cpu.residual(&ids, layer, site).unwrap();
            let noise = Tensor::from_vec(uniform(own.elem_count(), 9), own.dims(), &Device::Cpu).unwrap();
            let values = Tensor::cat(&[own.clone(), (own * 0.5).unwrap(), noise], 0).unwrap();
            let put = Some((layer, site, &values));
            let (found, wanted) = (logits(&on_gpu, &ids, put), logits(&cpu, &ids, put));
            assert!(distance(&found, &wanted) < 2e-5, "{family} {site:?}: {}", distance(&found, &wanted));
        }
        check_taps_of(&on_gpu, 1, Site::MlpOut).unwrap();
        let held = on_gpu.hold(&ids, 1, Site::AttnOut).unwrap();
        assert!(on_gpu.read_on(&held, &Tensor::zeros((3, 1, 2), DType::F32, &Device::Cpu).unwrap(), &[0]).is_err());
        assert!(on_gpu.residual(&ids, cpu.layers(), Site::ResidualPost).unwrap_err().to_string().contains("layer"));
        let unknown = Tensor::new(&[[cpu.vocabulary() as u32]], &Device::Cpu).unwrap();
        assert!(on_gpu.residual(&unknown, 0, Site::ResidualPost).unwrap_err().to_string().contains("embeddings"));
    }
}

crate::checks!(
    every_family_gives_the_residuals_and_logits_of_the_cpu,
    models_in_bf16_keep_their_weights_in_bf16_and_round_where_the_cpu_does,
);

/// Largest distances between bf16 models that sum in another order: of a residual, and of logits.
const BETWEEN: (f32, f32) = (0.05, 0.08);

fn models_in_bf16_keep_their_weights_in_bf16_and_round_where_the_cpu_does(gpus: &[Arc<dyn Gpu>]) {
    let [gpu, again] = gpus else { return };
    for family in FAMILIES {
        let (cpu, on_gpu) = pair(gpu, family, Dtype::Bf16);
        let ids = ids(family).narrow(0, 0, 1).unwrap();
        is_near_the_cpu(&cpu, &on_gpu, &ids, family);
        let again = GpuDecoder::open(again, fixture(family), Dtype::Bf16).unwrap();
        let [found, again] = [&on_gpu, &again].map(|model| bits(&logits(model, &ids, None)));
        assert_eq!(found, again, "{family}: threads in another order");
    }
}

fn is_near_the_cpu(cpu: &Decoder, on_gpu: &GpuDecoder, ids: &Tensor, family: &str) {
    let (last, site) = (cpu.layers() - 1, Site::ResidualPost);
    let (found, wanted) = (on_gpu.residual(ids, 0, site).unwrap(), cpu.residual(ids, 0, site).unwrap());
    let equal = list(&found).iter().zip(list(&wanted)).filter(|(a, b)| **a == *b).count();
    assert!(equal * 100 >= 95 * found.elem_count(), "{family}: {equal} of {}", found.elem_count());
    // A number between two of bf16 falls to either side, and what comes after sees it.
    let found = on_gpu.residual(ids, last, site).unwrap();
    assert!(list(&found).iter().all(|x| half::bf16::from_f32(*x).to_f32() == *x), "{family}");
    let (f32s, wanted) = (Decoder::load(fixture(family)).unwrap(), cpu.residual(ids, last, site).unwrap());
    let (from_bf16, from_f32) =
        (distance(&found, &wanted), distance(&wanted, &f32s.residual(ids, last, site).unwrap()));
    assert!(from_bf16 < BETWEEN.0 && from_bf16 < 2.0 * from_f32, "{family}: {from_bf16} {from_f32}");
    let apart = distance(&logits(on_gpu, ids, None), &cpu.logits(ids).unwrap());
    assert!(apart < BETWEEN.1, "{family}: {apart}");
}

#[test]
fn models_in_bf16_on_a_card_without_narrow_units_are_those_on_one_with_them_within_rounding() {
    let (Some(gpu), Some(old)) = (emulator(false), without_narrow()) else { return };
    for family in FAMILIES {
        let (cpu, on_gpu) = pair(&gpu, family, Dtype::Bf16);
        let on_old = GpuDecoder::open(&old, fixture(family), Dtype::Bf16).unwrap();
        let ids = ids(family).narrow(0, 0, 1).unwrap();
        is_near_the_cpu(&cpu, &on_old, &ids, family);
        let apart = distance(&logits(&on_gpu, &ids, None), &logits(&on_old, &ids, None));
        assert!(apart < BETWEEN.1, "{family}: {apart}");
    }
}

#[test]
fn a_run_in_bf16_goes_on_from_every_site_with_values_that_are_rounded_first() {
    let (Some(gpu), Some(old)) = (emulator(false), without_narrow()) else { return };
    for (gpu, family) in ["gemma2", "gpt_neox", "gpt2"].into_iter().flat_map(|family| [(&gpu, family), (&old, family)])
    {
        let (cpu, on_gpu) = pair(gpu, family, Dtype::Bf16);
        let ids = ids(family).narrow(0, 1, 1).unwrap();
        for (number, site) in SITES.into_iter().enumerate() {
            let layer = number % cpu.layers();
            let own = cpu.residual(&ids, layer, site).unwrap();
            let values = Tensor::cat(&[own.clone(), (own * 0.7).unwrap()], 0).unwrap();
            let put = Some((layer, site, &values));
            let apart = distance(&logits(&on_gpu, &ids, put), &logits(&cpu, &ids, put));
            assert!(apart < BETWEEN.1, "{family} {site:?}: {apart}");
        }
    }
}

#[test]
fn only_blocks_up_to_the_tapped_one_are_run() {
    let Some(gpu) = emulator(false) else { return };
    let (_, model) = pair(&gpu, "gpt_neox", Dtype::F32);
    for (site, run) in [(Site::ResidualPre, 1), (Site::AttnOut, 2), (Site::MlpOut, 2), (Site::ResidualPost, 2)] {
        let before = model.blocks_run();
        model.residual(&ids("gpt_neox"), 1, site).unwrap();
        assert_eq!(model.blocks_run() - before, run, "{site:?}");
    }
}

#[test]
fn heads_wider_than_the_kernels_are_refused() {
    let Some(gpu) = emulator(false) else { return };
    let mut config = DecoderConfig::load(fixture("llama")).unwrap();
    config.attention.head = 257;
    let problem = GpuDecoder::new(&gpu, config, &Weights::default()).err().unwrap().to_string();
    assert!(problem.contains("heads of 257") && problem.contains("up to 256"), "{problem}");
}

#[test]
fn predictions_are_compared_as_on_the_cpu_with_another_model_of_other_ids_too() {
    let Some(gpu) = emulator(false) else { return };
    let positions = 3;
    // gemma2 has 384 ids, qwen2_window 128.
    for (family, other) in [("gemma2", "qwen2_window"), ("qwen2_window", "gemma2"), ("llama", "llama")] {
        let (cpu, on_gpu) = pair(&gpu, family, Dtype::F32);
        let (other_cpu, other_gpu) = pair(&gpu, other, Dtype::F32);
        let rows = |width: usize, seed: u64| {
            Tensor::from_vec(uniform(positions * width, seed), (positions, width), &Device::Cpu).unwrap()
        };
        let clean = rows(cpu.width(), 1);
        let runs: Vec<Tensor> = (2..6).map(|seed| rows(cpu.width(), seed)).chain([clean.clone()]).collect();
        let beside = rows(other_cpu.width(), 9);
        let next = [1, 5, 77];
        let compare = |model: &dyn LanguageModel, other: Option<&dyn LanguageModel>| {
            let other = other.map(|decoder| Reading { decoder, rows: &beside });
            predictions(model, &clean, &runs, other, &next, &Unwatched).unwrap()
        };
        for with in [false, true] {
            let wanted = compare(&cpu, with.then_some(&other_cpu as _));
            let found = compare(&on_gpu, with.then_some(&other_gpu as _));
            assert_eq!(found.len(), runs.len() + 1);
            for (a, b) in found.iter().flatten().zip(wanted.iter().flatten()) {
                let all = |p: &Prediction| [p.kl, p.kl_other, p.loss, p.loss_likeliest];
                let near = all(a).iter().zip(all(b)).all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + b.abs()));
                assert!(near && a.agrees == b.agrees, "{family}: {a:?} {b:?}");
            }
            assert!(found[0].iter().all(|p| p.kl.abs() < 1e-12 && p.agrees), "the untouched run is at no distance");
            assert!(found[5].iter().all(|p| p.kl.abs() < 1e-6));
        }
        assert!(
            predictions(
                &on_gpu,
                &clean,
                &runs[..1],
                Some(Reading { decoder: &other_cpu, rows: &beside }),
                &next,
                &Unwatched
            )
            .is_err()
        );
    }
}
