//! Sequences that grow token by token, against the same sequences run whole.

use candle_core::{IndexOp, Tensor};
use xd::ml::lm::{Added, Continuation, Decoder, Dtype, Sampling, Site, generate, generate_with};
use xd::ml::watch::Unwatched;

use crate::lm::{FAMILIES, assert_close, expected, fixture};

const GREEDY: Sampling = Sampling { temperature: 0.0, seed: 0, stream: 0 };

fn ids(family: &str) -> Vec<Vec<u32>> {
    let ids = &expected(family)["ids"];
    let rows = ids.to_dtype(candle_core::DType::U32).unwrap().to_vec2::<u32>().unwrap();
    assert!(rows.len() > 1 && rows[0].len() > 12, "{family}: {rows:?}");
    rows
}

#[test]
fn continued_logits_equal_those_of_the_whole_sequence() {
    for family in FAMILIES {
        let decoder = Decoder::load(fixture(family)).unwrap();
        // Long enough for every window to slide, and to be cut.
        let longest = decoder.config().layers.iter().filter_map(|layer| layer.window).max().unwrap_or(0);
        let rows: Vec<Vec<u32>> =
            ids(family).iter().map(|row| row.iter().copied().cycle().take(3 * longest + 20).collect()).collect();
        let whole =
            decoder.logits(&decoder.batch(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()).unwrap();
        // The fixtures' first token alone gives zeros.
        for prompt in [2, 7] {
            let mut continuation = Continuation::new(&decoder, rows.len());
            let first: Vec<u32> = rows.iter().flat_map(|row| row[..prompt].to_vec()).collect();
            let mut got = continuation.extend(&first, &mut |_, _, _| Ok(None)).unwrap();
            for at in prompt..rows[0].len() {
                assert_close(&got, &whole.i((.., at - 1)).unwrap(), &format!("{family} after {at} tokens"));
                let next: Vec<u32> = rows.iter().map(|row| row[at]).collect();
                got = continuation.extend(&next, &mut |_, _, _| Ok(None)).unwrap();
            }
            assert_eq!(continuation.tokens(), rows[0].len());
        }
    }
}

#[test]
fn fixtures_have_windows_that_slide() {
    let windowed =
        |family: &&str| Decoder::load(fixture(family)).unwrap().config().layers.iter().any(|l| l.window.is_some());
    let families: Vec<&str> = FAMILIES.iter().copied().filter(windowed).collect();
    assert_eq!(families, ["gemma2", "gemma3", "mistral", "qwen2_window"]);
}

#[test]
fn sequences_that_are_kept_go_on_as_they_were() {
    let decoder = Decoder::load(fixture("gemma3")).unwrap();
    let rows = ids("gemma3");
    let mut both = Continuation::new(&decoder, 2);
    let first: Vec<u32> = rows[..2].iter().flat_map(|row| row[..5].to_vec()).collect();
    both.extend(&first, &mut |_, _, _| Ok(None)).unwrap();
    both.keep(&[1]);
    let mut last = None;
    for &id in &rows[1][5..12] {
        last = Some(both.extend(&[id], &mut |_, _, _| Ok(None)).unwrap());
    }
    let whole = decoder.logits(&decoder.batch(&[&rows[1][..12]]).unwrap()).unwrap();
    assert_close(&last.unwrap(), &whole.i((.., 11)).unwrap(), "kept");
    let error = both.extend(&[1, 2], &mut |_, _, _| Ok(None)).unwrap_err().to_string();
    assert!(error.contains("2 tokens for 1 sequences of 12"), "{error}");
}

#[test]
fn a_continuation_in_bf16_rounds_as_the_whole_does() {
    let decoder = Decoder::open(fixture("llama"), Dtype::Bf16).unwrap();
    let row = &ids("llama")[0];
    let whole = decoder.logits(&decoder.batch(&[row]).unwrap()).unwrap();
    let mut continuation = Continuation::new(&decoder, 1);
    let mut got = continuation.extend(&row[..4], &mut |_, _, _| Ok(None)).unwrap();
    for id in &row[4..] {
        got = continuation.extend(&[*id], &mut |_, _, _| Ok(None)).unwrap();
    }
    let distance = crate::lm::distance(&got, &whole.i((.., row.len() - 1)).unwrap());
    assert!(distance < 0.05, "{distance}");
}

#[test]
fn positions_end_and_so_does_the_answer() {
    let decoder = Decoder::load(fixture("gpt2")).unwrap();
    let prompt = vec![1u32; 250];
    assert_eq!(generate(&decoder, &prompt, 100, &[], GREEDY).unwrap().len(), 7);
    let error = generate(&decoder, &vec![1; 256], 1, &[], GREEDY).unwrap_err().to_string();
    assert!(error.contains("a prompt of 256 tokens, for a model whose context has 256"), "{error}");
    let mut continuation = Continuation::new(&decoder, 1);
    continuation.extend(&vec![1; 256], &mut |_, _, _| Ok(None)).unwrap();
    let error = continuation.extend(&[1], &mut |_, _, _| Ok(None)).unwrap_err().to_string();
    assert!(error.contains("a sequence of 257 tokens, but the model has learned 256 positions"), "{error}");
}

/// Greedy, the whole sequence again for each token; `v` is added at `layer` and `site`, at all places or those of the prompt.
fn slowly(decoder: &Decoder, prompt: &[u32], count: usize, stop: &[u32], added: &Added) -> Vec<u32> {
    let mut all = prompt.to_vec();
    for _ in 0..count {
        let v = Tensor::new(added.vectors[0].as_slice(), &candle_core::Device::Cpu).unwrap();
        let places: Vec<f32> =
            (0..all.len()).map(|at| if added.prompt_only && at >= prompt.len() { 0.0 } else { 1.0 }).collect();
        let places = Tensor::from_vec(places, (all.len(), 1), &candle_core::Device::Cpu).unwrap();
        let shift = places.broadcast_mul(&v.unsqueeze(0).unwrap()).unwrap();
        let mut hook = |layer: usize, site: Site, h: &Tensor| {
            let here = layer == added.layer && site == added.site;
            Ok(here.then(|| h.broadcast_add(&shift)).transpose()?)
        };
        let logits = decoder.run(&decoder.batch(&[&all]).unwrap(), &mut hook).unwrap();
        let next = logits.i((0, all.len() - 1)).unwrap().argmax(0).unwrap().to_scalar::<u32>().unwrap();
        if stop.contains(&next) {
            break;
        }
        all.push(next);
    }
    all.split_off(prompt.len())
}

#[test]
fn steered_answers_equal_those_of_whole_runs() {
    for family in ["gemma2", "gpt2", "gpt_neox", "qwen2_window"] {
        let decoder = Decoder::load(fixture(family)).unwrap();
        let prompt = &ids(family)[0][..6];
        let vector =
            |size: f32| (0..decoder.width()).map(|i| size * ((i * 37 % 11) as f32 - 5.0)).collect::<Vec<f32>>();
        let vectors = [vector(0.0), vector(0.3), vector(3.0), vector(-3.0)];
        for (site, prompt_only) in [(Site::ResidualPost, false), (Site::MlpOut, true), (Site::AttnOut, false)] {
            let added = Added { layer: 1, site, vectors: &vectors, prompt_only };
            let got = generate_with(&decoder, prompt, &added, 12, &[], GREEDY, &Unwatched).unwrap();
            for (vector, got) in vectors.iter().zip(&got) {
                let one = Added { vectors: std::slice::from_ref(vector), ..added };
                assert_eq!(*got, slowly(&decoder, prompt, 12, &[], &one), "{family} {site:?}");
            }
            assert_eq!(got[0], generate(&decoder, prompt, 12, &[], GREEDY).unwrap(), "{family}: nothing added");
            assert!(got.iter().any(|answer| *answer != got[0]), "{family} {site:?}: a large vector changes the answer");
            // One that stops leaves the others alone.
            let stop = [got[1][4]];
            let ended = generate_with(&decoder, prompt, &added, 12, &stop, GREEDY, &Unwatched).unwrap();
            for (whole, ended) in got.iter().zip(&ended) {
                let until = whole.iter().position(|id| stop.contains(id)).unwrap_or(whole.len());
                assert_eq!(ended, &whole[..until], "{family}");
            }
        }
    }
}

#[test]
fn sampled_answers_are_those_of_their_seed_and_stream() {
    let decoder = Decoder::load(fixture("llama")).unwrap();
    let prompt = &ids("llama")[0][..6];
    let hot = |seed, stream| generate(&decoder, prompt, 30, &[], Sampling { temperature: 2.0, seed, stream }).unwrap();
    assert_eq!(hot(1, 0), hot(1, 0));
    assert_ne!(hot(1, 0), hot(2, 0));
    assert_ne!(hot(1, 0), hot(1, 1));
    let nearly_cold = generate(&decoder, prompt, 30, &[], Sampling { temperature: 1e-6, seed: 5, stream: 0 }).unwrap();
    assert_eq!(nearly_cold, generate(&decoder, prompt, 30, &[], GREEDY).unwrap());
}
