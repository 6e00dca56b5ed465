//! Harvests documents that are token ids already, and says how long it took: the xd side of `compare.py`.
//!
//! `speed BASE TUNED IDS.json LAYER THREADS OUT f32|bf16 [--device cuda]`: IDS is a list of lists of ids; models run and shards are written in the
//! format named, to OUT (rows with their document and position in the sidecar), and one JSON line is printed. On a card `peak_bytes` is what the
//! whole process took of it.

use std::path::Path;
use std::time::Instant;

use xd::ml::activations::{Documents, Harvest, Pair, Portion, Store, Tap};
use xd::ml::cuda::{GpuDecoder, open};
use xd::ml::data::{TokenSequence, Tokenizer};
use xd::ml::lm::{Decoder, Dtype, LanguageModel, Site, tune_allocator};
use xd::ml::watch::Unwatched;
use xd::ml::{Result, Rows, TokenGroup};

include!("../device.rs");

struct Ids(Vec<Vec<u32>>);

impl Documents for Ids {
    fn name(&self) -> &str {
        "ids"
    }

    fn read(&self, start: u64) -> Result<Box<dyn Iterator<Item = Result<TokenSequence>> + '_>> {
        let document = |ids: &Vec<u32>| TokenSequence { ids: ids.clone(), groups: vec![TokenGroup::User; ids.len()] };
        Ok(Box::new(self.0[start as usize..].iter().map(move |ids| Ok(document(ids)))))
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    tune_allocator();
    let (arguments, card) = arguments()?;
    let [_, base, tuned, ids, layer, threads, out, dtype] = &arguments[..] else {
        return Err("usage: speed BASE TUNED IDS.json LAYER THREADS OUT f32|bf16".into());
    };
    let (dtype, store) = match dtype.as_str() {
        "f32" => (Dtype::F32, Store::F32),
        "bf16" => (Dtype::Bf16, Store::Bf16),
        other => return Err(format!("`{other}` is not f32 or bf16").into()),
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let (layer, out) = (layer.parse()?, Path::new(out));
    let ids = Ids(serde_json::from_str(&std::fs::read_to_string(ids)?)?);
    let folders = [Path::new(base), Path::new(tuned)];
    match card {
        Some(number) => {
            let before = free(number)?;
            let gpu = open(number)?;
            let open = |folder| GpuDecoder::open(&gpu, folder, dtype);
            let decoders = [open(folders[0])?, open(folders[1])?];
            let mut told = measure(&decoders, folders, &ids, layer, store, out)?;
            told["blocks"] = decoders.each_ref().map(GpuDecoder::blocks_run).to_vec().into();
            told["peak_bytes"] = before.saturating_sub(free(number)?).into();
            println!("{told}");
        }
        None => {
            let decoders = [Decoder::open(folders[0], dtype)?, Decoder::open(folders[1], dtype)?];
            let mut told = measure(&decoders, folders, &ids, layer, store, out)?;
            told["blocks"] = decoders.each_ref().map(Decoder::blocks_run).to_vec().into();
            println!("{told}");
        }
    }
    Ok(())
}

/// Seconds, rows and padding of one harvest.
fn measure<M: LanguageModel>(
    decoders: &[M; 2],
    folders: [&Path; 2],
    ids: &Ids,
    layer: usize,
    store: Store,
    out: &Path,
) -> std::result::Result<serde_json::Value, Box<dyn std::error::Error>> {
    let tokens: u64 = ids.0.iter().map(|document| document.len() as u64).sum();
    let tokenizers = [Tokenizer::load(folders[0])?, Tokenizer::load(folders[1])?];
    let tap = |model: usize| Tap::new(&decoders[model], &tokenizers[model], layer, Site::ResidualPost);
    let (base, tuned) = (tap(0)?, tap(1)?);
    let pair = Pair::new(&base, &tuned)?;
    let harvest =
        Harvest { context: usize::MAX, train: vec![Portion { corpus: 0, tokens }], store, ..Harvest::default() };
    let start = Instant::now();
    let done = harvest.run(&pair, &[ids], out, &Unwatched)?;
    let seconds = start.elapsed().as_secs_f64();
    let padding = done.train.index().ran.padding;
    Ok(serde_json::json!({ "seconds": seconds, "rows": done.train.count(), "padding": padding }))
}
