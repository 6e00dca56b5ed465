//! What is made of models on the emulated GPU, against the same of the CPU: rows, streamed rows, patches, splices, layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use xd::ml::activations::{
    Documents, Exclude, Harvest, Harvested, Normalize, Normalizer, Pair, Portion, Statistics, Store, StreamedRows,
    Supply, Tap,
};
use xd::ml::analysis::layers::{LayersConfig, TwoModels, layers};
use xd::ml::analysis::patch::{Entry, Metric, Mode, PatchConfig, Patched, Positions, patch};
use xd::ml::analysis::{HeldOut, Spliced, TappedPair, splice};
use xd::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Variant};
use xd::ml::cuda::{Gpu, GpuDecoder};
use xd::ml::data::{TokenSequence, Tokenizer};
use xd::ml::lm::{Decoder, Dtype, LanguageModel, Site, Weights};
use xd::ml::watch::Unwatched;
use xd::ml::{BASE, MemoryRows, Result, RowInfo, Rows, TUNED, TokenGroup};

use crate::decoder::uniform;
use crate::emulator::emulator;
use crate::models::fixture;

/// A base and another one with every weight moved a little, on the CPU or on a GPU.
fn models(family: &str, gpu: Option<&Arc<dyn Gpu>>) -> [Box<dyn LanguageModel>; 2] {
    let base = Decoder::load(fixture(family)).unwrap();
    let weights = Weights::load(&fixture(family), base.config(), Dtype::F32).unwrap();
    let mut seed = 20;
    let mut moved = |tensor: &Tensor| {
        seed += 1;
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let values = values.iter().zip(uniform(values.len(), seed)).map(|(x, u)| x * (1.0 + 0.3 * u)).collect();
        Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap()
    };
    let parts: BTreeMap<String, Tensor> = weights.parts().iter().map(|(n, t)| (n.clone(), moved(t))).collect();
    [weights, Weights::new(parts, Dtype::F32).unwrap()].map(|weights| -> Box<dyn LanguageModel> {
        match gpu {
            Some(gpu) => Box::new(GpuDecoder::new(gpu, base.config().clone(), &weights).unwrap()),
            None => Box::new(Decoder::new(base.config().clone(), &weights).unwrap()),
        }
    })
}

/// Documents of many lengths.
struct Texts(Vec<TokenSequence>);

impl Texts {
    fn new(vocabulary: usize) -> Self {
        let text = |n: usize| {
            let ids: Vec<u32> = (0..3 + 17 * n % 41).map(|i| ((i * i * 7 + n * 31) % vocabulary) as u32).collect();
            TokenSequence { groups: vec![TokenGroup::Text; ids.len()], ids }
        };
        Texts((0..40).map(text).collect())
    }
}

impl Documents for Texts {
    fn name(&self) -> &str {
        "texts"
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        Ok(Box::new(self.0.iter().skip(start as usize).cloned().map(Ok)))
    }
}

/// Two models, and texts for them.
struct Source {
    models: [Box<dyn LanguageModel>; 2],
    tokenizer: Tokenizer,
    texts: Texts,
}

impl Source {
    fn new(gpu: Option<&Arc<dyn Gpu>>) -> Self {
        let models = models("gemma2", gpu);
        let texts = Texts::new(models[0].vocabulary());
        Source { models, tokenizer: Tokenizer::load(fixture("gemma2")).unwrap(), texts }
    }

    fn harvest(&self, harvest: &Harvest, folder: &std::path::Path) -> Harvested {
        let mut done = None;
        self.with(&mut |pair, corpora| {
            done = Some(harvest.run(pair, corpora, folder, &Unwatched)?);
            Ok(())
        })
        .unwrap();
        done.unwrap()
    }
}

impl Supply for Source {
    fn with(&self, work: &mut dyn FnMut(&Pair, &[&dyn Documents]) -> Result<()>) -> Result<()> {
        let tap = |model: usize| Tap::new(self.models[model].as_ref(), &self.tokenizer, 2, Site::ResidualPost);
        let (base, tuned) = (tap(BASE)?, tap(TUNED)?);
        work(&Pair::new(&base, &tuned)?, &[&self.texts])
    }
}

fn rows(of: &dyn Rows) -> (Vec<f32>, Vec<RowInfo>) {
    let count = of.count() as usize;
    let (mut values, mut infos) = (vec![0.0; 2 * count * of.width()], vec![RowInfo::default(); count]);
    of.read(0, &mut values).unwrap();
    of.info(0, &mut infos).unwrap();
    (values, infos)
}

#[test]
fn a_harvest_has_the_rows_of_the_cpu_in_the_same_order_and_so_has_a_stream() {
    let Some(gpu) = emulator(false) else { return };
    let harvest = Harvest {
        context: 20,
        exclude: vec![Exclude::Bos],
        train: vec![Portion { corpus: 0, tokens: 210 }],
        validate: vec![Portion { corpus: 0, tokens: 40 }],
        store: Store::F32,
        block: Some(90),
        ..Harvest::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let (cpu, on_gpu) = (Source::new(None), Source::new(Some(&gpu)));
    let wanted = cpu.harvest(&harvest, &folder.path().join("cpu"));
    let found = on_gpu.harvest(&harvest, &folder.path().join("gpu"));
    for (found, wanted) in [(&found.train, &wanted.train), (&found.validate, &wanted.validate)] {
        let ((values, infos), (other, other_infos)) = (rows(found), rows(wanted));
        assert_eq!(infos, other_infos);
        let size = (other.iter().map(|x| x * x).sum::<f32>() / other.len() as f32).sqrt();
        let worst = values.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(size > 0.01 && worst < 1e-5 * size, "{worst} beside {size}");
    }
    let (a, b) = (found.train.index(), wanted.train.index());
    assert_eq!((a.rows, &a.portions, &a.documents, &a.key), (b.rows, &b.portions, &b.documents, &b.key));
    // The same rows when they are not kept, to the bit.
    let streams = folder.path().join("stream");
    on_gpu.with(&mut |pair, corpora| harvest.survey_stream(pair, corpora, &streams, true, &Unwatched)).unwrap();
    let stream = StreamedRows::open(harvest, &streams, "train", Arc::new(on_gpu), None, &Unwatched).unwrap();
    let ((values, infos), (kept, kept_infos)) = (rows(&stream), rows(&found.train));
    assert_eq!(infos, kept_infos);
    assert!(values.iter().zip(&kept).all(|(a, b)| a.to_bits() == b.to_bits()));
}

fn crosscoder(width: usize, latents: usize) -> Crosscoder {
    let scale = (3.0 / width as f32).sqrt();
    let draws = |count: usize, scale: f32, seed: u64| uniform(count, seed).iter().map(|x| scale * x).collect();
    Crosscoder {
        width,
        latents,
        encoder_weight: draws(2 * width * latents, scale, 1),
        encoder_bias: draws(latents, 0.3, 2),
        decoder_weight: draws(2 * width * latents, 0.5 * scale, 3),
        decoder_bias: draws(2 * width, 0.5, 4),
        code_norm: CodeNorm::Sum,
        activation: Activation::Relu,
        normalizer: None,
        variant: Variant::SharedCode,
    }
}

fn conversations(vocabulary: usize) -> Vec<TokenSequence> {
    use TokenGroup::{Assistant as A, AssistantEnd as E, Bos as B, Control as C, User as U};
    let shapes = [vec![B, C, U, U, C, C, A, A, A, A, A, E, C], vec![B, C, U, C, A, A, A]];
    let ids = |groups: &[TokenGroup]| (0..groups.len()).map(|i| ((i * 73 + 11) % vocabulary) as u32).collect();
    shapes.into_iter().map(|groups| TokenSequence { ids: ids(&groups), groups }).collect()
}

/// All means of a patch.
fn means(patched: &Patched, config: &PatchConfig) -> Vec<f64> {
    let mut found = Vec::new();
    for set in 0..config.positions.len() {
        for metric in 0..config.metrics.len() {
            found.push(patched.clean(set, metric));
            found.extend((0..config.entries.len()).map(|entry| patched.entry(entry, set, metric)));
        }
    }
    found.into_iter().map(|mean| mean.map_or(-1.0, |mean| mean.mean)).collect()
}

fn near(found: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len());
    for (at, (a, b)) in found.iter().zip(wanted).enumerate() {
        assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{what}, {at}: {a} {b}");
    }
}

#[test]
fn patches_splices_and_layers_are_those_of_the_cpu() {
    let Some(gpu) = emulator(false) else { return };
    let sites = [("gemma2", Site::ResidualPost), ("gpt_neox", Site::MlpOut), ("qwen3", Site::AttnOut)];
    for (number, (family, site)) in sites.into_iter().enumerate() {
        let (cpu, on_gpu) = (models(family, None), models(family, Some(&gpu)));
        let (width, vocabulary) = (cpu[0].width(), cpu[0].vocabulary());
        let crosscoder = crosscoder(width, 64);
        let own = MemoryRows { width, values: uniform(40 * width, 7), infos: Vec::new() };
        let by = Normalizer::fit(Normalize::PerModelScale, &Statistics::over(&own).unwrap()).unwrap();
        let texts = conversations(vocabulary);
        let read_as = BTreeMap::from([(texts[0].ids[1], 2)]);
        let patching = PatchConfig {
            into: number % 2,
            finish: (number + 1) % 2,
            entries: vec![Entry::Nothing, Entry::Everything, Entry::Error, Entry::Latents(vec![1, 5, 9])],
            mode: Mode::Replace,
            positions: vec![Positions::All, Positions::First(2)],
            metrics: vec![
                Metric::Kl,
                Metric::KlBase,
                Metric::KlTuned,
                Metric::Loss,
                Metric::LossArgmax,
                Metric::Agreement,
            ],
        };
        let documents: Vec<HeldOut> = texts
            .iter()
            .map(|text| HeldOut { text: text.clone(), kept: (0..text.len()).map(|i| i > 0).collect() })
            .collect();
        let depth = LayersConfig { layers: vec![0, 2], site, positions: vec![Positions::All] };
        let measured = |models: &[Box<dyn LanguageModel>; 2]| {
            let decoders = [models[0].as_ref(), models[1].as_ref()];
            let pair =
                TappedPair { decoders, read_as: &read_as, layer: 1, site, crosscoder: &crosscoder, normalizer: &by };
            let patched = patch(&pair, &texts, &patching, Vec::new(), &mut |_| Ok(()), &Unwatched).unwrap();
            let spliced = splice(&pair, &documents, &vec![0.1; 2 * width], &Unwatched).unwrap();
            let of = |s: &Spliced| [s.clean, s.spliced, s.zero, s.mean, s.kl, s.kl_zero, s.kl_mean].map(|r| r.value);
            let both = TwoModels { decoders, read_as: &read_as };
            let apart = layers(&both, &texts, &depth, Vec::new(), &mut |_| Ok(()), &Unwatched).unwrap();
            let kl: Vec<f64> = apart.iter().map(|sums| sums.kl(0).unwrap().mean).collect();
            [means(&patched, &patching), spliced.iter().flat_map(of).collect(), kl]
        };
        for (what, (a, b)) in ["patch", "splice", "layers"].iter().zip(measured(&on_gpu).iter().zip(&measured(&cpu))) {
            assert!(b.iter().any(|x| *x > 1e-3), "{family} {what}: nothing happens");
            near(a, b, &format!("{family} {what}"));
        }
    }
}
