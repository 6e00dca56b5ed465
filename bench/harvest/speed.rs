//! Harvests documents that are token ids already, and says how long it took: the xd side of `compare.py`.
//!
//! `speed BASE TUNED IDS.json LAYER THREADS OUT [--device cuda]`: IDS is a list of lists of ids; the shards are written to OUT (f32, rows with
//! their document and position in the sidecar), and one JSON line is printed.

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
    let [_, base, tuned, ids, layer, threads, out] = &arguments[..] else {
        return Err("usage: speed BASE TUNED IDS.json LAYER THREADS OUT".into());
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let layer = layer.parse()?;
    let ids = Ids(serde_json::from_str(&std::fs::read_to_string(ids)?)?);
    let folders = [Path::new(base), Path::new(tuned)];
    match card {
        Some(number) => {
            let gpu = open(number)?;
            let open = |folder| GpuDecoder::open(&gpu, folder, Dtype::F32);
            measure([open(folders[0])?, open(folders[1])?], GpuDecoder::blocks_run, folders, &ids, layer, out)
        }
        None => {
            let decoders = [Decoder::load(folders[0])?, Decoder::load(folders[1])?];
            measure(decoders, Decoder::blocks_run, folders, &ids, layer, out)
        }
    }
}

fn measure<M: LanguageModel>(
    decoders: [M; 2],
    blocks: impl Fn(&M) -> u64,
    folders: [&Path; 2],
    ids: &Ids,
    layer: usize,
    out: &str,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let tokens: u64 = ids.0.iter().map(|document| document.len() as u64).sum();
    let tokenizers = [Tokenizer::load(folders[0])?, Tokenizer::load(folders[1])?];
    let tap = |model: usize| Tap::new(&decoders[model], &tokenizers[model], layer, Site::ResidualPost);
    let (base, tuned) = (tap(0)?, tap(1)?);
    let pair = Pair::new(&base, &tuned)?;
    let harvest = Harvest {
        context: usize::MAX,
        train: vec![Portion { corpus: 0, tokens }],
        store: Store::F32,
        ..Harvest::default()
    };
    let start = Instant::now();
    let done = harvest.run(&pair, &[ids], Path::new(out), &Unwatched)?;
    let seconds = start.elapsed().as_secs_f64();
    let padding = done.train.index().ran.padding;
    println!(
        "{}",
        serde_json::json!({
            "seconds": seconds, "rows": done.train.count(), "padding": padding, "blocks": decoders.each_ref().map(blocks),
        })
    );
    Ok(())
}
