//! The decoder against transformers' outputs on tiny random models, and its taps.

use std::path::PathBuf;

use candle_core::{DType, Device, IndexOp, Tensor};
use xd::ml::data::{Document, Message, Template, Tokenizer};
use xd::ml::lm::{Decoder, DecoderConfig, Dtype, Residual, Site, Weights, check_taps};
use xd::ml::{Result, TokenGroup};

/// Every family, and the variants of some.
pub const FAMILIES: [&str; 11] = [
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
/// Those that came with a tokenizer, the same for all.
const TOKENIZED: [&str; 7] = ["gemma2", "gemma3", "gpt2", "gpt_neox", "llama", "qwen2", "qwen3"];

pub fn fixture(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm").join(family)
}

pub fn expected(family: &str) -> std::collections::HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(family).join("expected.safetensors"), &Device::Cpu).unwrap()
}

/// Largest difference in units of the wanted tensor's standard deviation.
pub fn distance(got: &Tensor, want: &Tensor) -> f32 {
    let mean = want.mean_all().unwrap();
    let deviation = want.broadcast_sub(&mean).unwrap().sqr().unwrap().mean_all().unwrap().sqrt().unwrap();
    let worst = (got - want).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    worst.to_scalar::<f32>().unwrap() / deviation.to_scalar::<f32>().unwrap()
}

pub fn assert_close(got: &Tensor, want: &Tensor, what: &str) {
    let distance = distance(got, want);
    assert!(distance < 1e-4, "{what}: {distance}");
}

#[test]
fn residuals_and_logits_equal_those_of_transformers() {
    for family in FAMILIES {
        let (decoder, expected) = (Decoder::load(fixture(family)).unwrap(), expected(family));
        let ids = &expected["ids"];
        for layer in 0..decoder.layers() {
            let got = decoder.residual(ids, layer, Site::ResidualPost).unwrap();
            assert_close(&got, &expected[&format!("residual_post_{layer}")], &format!("{family} layer {layer}"));
        }
        assert_close(&decoder.logits(ids).unwrap(), &expected["logits"], family);
        let patch = &expected["patch_after_block_1"];
        assert_close(&decoder.resume(2, patch).unwrap(), &expected["logits_patched"], &format!("{family} resumed"));
        let replace = |layer: usize, site: Site, _: &Tensor| -> Result<Option<Tensor>> {
            Ok((layer == 1 && site == Site::ResidualPost).then(|| patch.clone()))
        };
        let got = decoder.run(ids, &mut { replace }).unwrap();
        assert_close(&got, &expected["logits_patched"], &format!("{family} hooked"));
    }
}

/// What joins the stream in f32, and a forward in bf16, both of the first sequence.
pub fn sites(family: &str) -> std::collections::HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(family).join("sites.safetensors"), &Device::Cpu).unwrap()
}

#[test]
fn what_joins_the_stream_equals_the_outputs_of_the_modules() {
    for family in FAMILIES {
        let (decoder, expected, sites) = (Decoder::load(fixture(family)).unwrap(), expected(family), sites(family));
        for layer in 0..decoder.layers() {
            for (site, name) in [(Site::AttnOut, "attn_out"), (Site::MlpOut, "mlp_out")] {
                let got = decoder.residual(&expected["ids"], layer, site).unwrap().i(0).unwrap();
                assert_close(&got, &sites[&format!("{name}_{layer}")], &format!("{family} {name} {layer}"));
            }
        }
    }
}

#[test]
fn beside_one_another_the_mlp_does_not_see_what_attention_adds() {
    for (family, residual) in [("gpt_neox", Residual::Parallel), ("gpt_neox_sequential", Residual::Sequential)] {
        let (decoder, expected) = (Decoder::load(fixture(family)).unwrap(), expected(family));
        assert_eq!(decoder.config().residual, residual);
        let mut mlp = None;
        let hook = |layer: usize, site: Site, h: &Tensor| -> Result<Option<Tensor>> {
            if layer == 1 && site == Site::MlpOut {
                mlp = Some(h.clone());
            }
            Ok((layer == 1 && site == Site::AttnOut).then(|| h.affine(-1.0, 0.5)).transpose()?)
        };
        decoder.run(&expected["ids"], &mut { hook }).unwrap();
        let untouched = decoder.residual(&expected["ids"], 1, Site::MlpOut).unwrap();
        let moved = distance(&mlp.unwrap(), &untouched);
        assert_eq!(moved < 1e-5, residual == Residual::Parallel, "{family}: {moved}");
    }
}

#[test]
fn learned_positions_end() {
    let decoder = Decoder::load(fixture("gpt2")).unwrap();
    let long = vec![1u32; 257];
    assert!(decoder.logits(&decoder.batch(&[&long[..256]]).unwrap()).is_ok());
    let error = decoder.logits(&decoder.batch(&[&long]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("a sequence of 257 tokens, but the model has learned 256 positions"), "{error}");
}

#[test]
fn sites_add_up_and_early_stops_run_no_block_too_many() {
    for family in FAMILIES {
        let (decoder, expected) = (Decoder::load(fixture(family)).unwrap(), expected(family));
        let ids = &expected["ids"];
        let at = |layer, site| decoder.residual(ids, layer, site).unwrap();
        let sum = ((at(2, Site::ResidualPre) + at(2, Site::AttnOut)).unwrap() + at(2, Site::MlpOut)).unwrap();
        assert_close(&sum, &at(2, Site::ResidualPost), family);
        assert_close(&at(2, Site::ResidualPre), &at(1, Site::ResidualPost), family);
        for (site, blocks) in [(Site::ResidualPre, 1), (Site::AttnOut, 2), (Site::MlpOut, 2), (Site::ResidualPost, 2)] {
            let before = decoder.blocks_run();
            at(1, site);
            assert_eq!(decoder.blocks_run() - before, blocks, "{family} {site:?}");
        }
        let mut seen = Vec::new();
        decoder
            .run(ids, &mut |layer, site, h| {
                assert_close(h, &at(layer, site), family);
                seen.push((layer, site));
                Ok(None)
            })
            .unwrap();
        assert_eq!(seen.len(), 4 * decoder.layers());
        assert!(decoder.residual(ids, decoder.layers(), Site::ResidualPre).is_err());
    }
}

#[test]
fn taps_pass_their_check_and_a_broken_one_would_not() {
    for family in FAMILIES {
        let decoder = Decoder::load(fixture(family)).unwrap();
        for site in [Site::ResidualPre, Site::AttnOut, Site::MlpOut, Site::ResidualPost] {
            check_taps(&decoder, 1, site).unwrap();
        }
    }
    // With a final norm of zeros nothing reaches the logits.
    let folder = fixture("llama");
    let config = DecoderConfig::load(&folder).unwrap();
    let mut parts = Weights::load(&folder, &config, Dtype::F32).unwrap().parts().clone();
    let zero = parts["norm.weight"].zeros_like().unwrap();
    parts.insert("norm.weight".into(), zero);
    let dead = Decoder::new(config, &Weights::new(parts, Dtype::F32).unwrap()).unwrap();
    let error = check_taps(&dead, 1, Site::ResidualPost).unwrap_err().to_string();
    assert!(error.contains("does not change the logits"), "{error}");
}

#[test]
fn what_stands_to_the_right_changes_nothing() {
    for family in FAMILIES {
        let (decoder, expected) = (Decoder::load(fixture(family)).unwrap(), expected(family));
        let ids = expected["ids"].to_dtype(DType::U32).unwrap();
        let whole = decoder.residual(&ids, 3, Site::ResidualPost).unwrap();
        let mut padded = ids.i(0).unwrap().to_vec1::<u32>().unwrap();
        padded[15..].fill(0);
        let part = decoder.residual(&decoder.batch(&[&padded]).unwrap(), 3, Site::ResidualPost).unwrap();
        let alone = decoder.residual(&decoder.batch(&[&padded[..15]]).unwrap(), 3, Site::ResidualPost).unwrap();
        assert_close(&part.i((0, ..15)).unwrap(), &whole.i((0, ..15)).unwrap(), family);
        assert_close(&alone.i(0).unwrap(), &whole.i((0, ..15)).unwrap(), family);
    }
}

#[test]
fn an_id_without_an_embedding_is_an_error() {
    let decoder = Decoder::load(fixture("llama")).unwrap();
    let error = decoder.logits(&decoder.batch(&[&[0, 384]]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("token id 384"), "{error}");
}

fn chat() -> Vec<Message> {
    let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    vec![message("user", " Hello fox "), message("assistant", "The lazy dog.")]
}

#[test]
fn chat_ids_equal_those_of_transformers_and_every_token_has_its_group() {
    for family in TOKENIZED {
        let tokenizer = Tokenizer::load(fixture(family)).unwrap();
        let want: Vec<u32> =
            expected(family)["chat_ids"].to_vec1::<i64>().unwrap().into_iter().map(|i| i as u32).collect();
        let sequence = tokenizer.encode(&Document::Chat(chat()), Some(&Template::Tokenizer), 1024).unwrap();
        assert_eq!(sequence.ids, want, "{family}");
        assert_eq!(tokenizer.bos(), Some(0), "{family}");
        assert_eq!(sequence.groups[0], TokenGroup::Bos);
        assert!(sequence.groups.contains(&TokenGroup::AssistantEnd));
        let text = |group: TokenGroup| {
            let of = |(id, _): (&u32, _)| *id;
            let ids: Vec<u32> =
                sequence.ids.iter().zip(&sequence.groups).filter(|(_, g)| **g == group).map(of).collect();
            tokenizer.decode(&ids).unwrap()
        };
        assert_eq!(text(TokenGroup::User), "Hello fox");
        assert_eq!(text(TokenGroup::Assistant), "The lazy dog.");
        // The end of the assistant's turn is a group of its own: control, and in the assistant mask.
        let control = "<start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n\n";
        assert_eq!(text(TokenGroup::Control), control);
    }
}

#[test]
fn plain_text_starts_with_bos_and_is_cut() {
    let tokenizer = Tokenizer::load(fixture("gemma2")).unwrap();
    let sequence = tokenizer.encode(&Document::Text("Hello fox".into()), None, 4).unwrap();
    assert_eq!(sequence.ids[0], 0);
    assert_eq!(sequence.groups, [TokenGroup::Bos, TokenGroup::Text, TokenGroup::Text, TokenGroup::Text]);
    assert!(tokenizer.special().contains(&0));
    assert_eq!(tokenizer.fingerprint(), Tokenizer::load(fixture("llama")).unwrap().fingerprint());
    assert!(tokenizer.encode(&Document::Text("x".into()), Some(&Template::Tokenizer), 4).is_err());
    assert!(tokenizer.encode(&Document::Chat(chat()), None, 4).is_err());
}

#[test]
fn a_template_of_ones_own_is_checked_for_its_control_tokens() {
    let tokenizer = Tokenizer::load(fixture("gemma2")).unwrap();
    let source = "{% for m in messages %}<start_of_turn>{{ m.role }}: {{ m.content }}{% endfor %}".to_string();
    let jinja = |control: &[&str]| Template::Jinja {
        source: source.clone(),
        control: control.iter().map(|c| c.to_string()).collect(),
    };
    let sequence = tokenizer.encode_chat(&chat(), &jinja(&["<start_of_turn>"])).unwrap();
    assert_eq!(sequence.groups[0], TokenGroup::Control);
    let never = tokenizer.encode_chat(&chat(), &jinja(&["<end_of_turn>"])).unwrap_err().to_string();
    assert!(never.contains("never writes"), "{never}");
    let two = tokenizer.encode_chat(&chat(), &jinja(&["<start_of"])).unwrap_err().to_string();
    assert!(two.contains("not one token"), "{two}");
}
