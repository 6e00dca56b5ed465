//! The decoder against transformers' outputs on tiny random models, and its taps.

use std::path::PathBuf;

use candle_core::{DType, Device, IndexOp, Tensor};
use xd::ml::data::{Document, Message, Template, Tokenizer};
use xd::ml::lm::{Decoder, DecoderConfig, Dtype, Rope, RopeScaling, Site, Weights, check_taps};
use xd::ml::{Result, TokenGroup};

const FAMILIES: [&str; 7] = ["gemma2", "gemma3", "gpt2", "gpt_neox", "llama", "qwen2", "qwen3"];

pub fn fixture(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lm").join(family)
}

fn expected(family: &str) -> std::collections::HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(family).join("expected.safetensors"), &Device::Cpu).unwrap()
}

/// Largest difference in units of the wanted tensor's standard deviation.
fn distance(got: &Tensor, want: &Tensor) -> f32 {
    let mean = want.mean_all().unwrap();
    let deviation = want.broadcast_sub(&mean).unwrap().sqr().unwrap().mean_all().unwrap().sqrt().unwrap();
    let worst = (got - want).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    worst.to_scalar::<f32>().unwrap() / deviation.to_scalar::<f32>().unwrap()
}

fn assert_close(got: &Tensor, want: &Tensor, what: &str) {
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
fn shards_half_precision_and_untied_heads_are_read() {
    let (folder, expected) = (fixture("llama"), expected("llama"));
    let all = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let all: std::collections::BTreeMap<String, Tensor> = all.into_iter().collect();
    let new = tempfile::tempdir().unwrap();
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
    config["tie_word_embeddings"] = false.into();
    std::fs::write(new.path().join("config.json"), config.to_string()).unwrap();
    let mut shards = [std::collections::HashMap::new(), std::collections::HashMap::new()];
    let mut map = serde_json::Map::new();
    for (index, (name, tensor)) in all.iter().enumerate() {
        let dtype = if name.contains("norm") { DType::F32 } else { [DType::BF16, DType::F16][index % 2] };
        map.insert(name.clone(), format!("model-{}.safetensors", index % 2).into());
        shards[index % 2].insert(name.clone(), tensor.to_dtype(dtype).unwrap());
    }
    map.insert("lm_head.weight".into(), "model-0.safetensors".into());
    let head = &all["model.embed_tokens.weight"];
    shards[0].insert("lm_head.weight".into(), head.affine(2.0, 0.0).unwrap());
    for (index, shard) in shards.iter().enumerate() {
        candle_core::safetensors::save(shard, new.path().join(format!("model-{index}.safetensors"))).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map });
    std::fs::write(new.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    let decoder = Decoder::load(new.path()).unwrap();
    let got = decoder.logits(&expected["ids"]).unwrap();
    let want = expected["logits"].affine(2.0, 0.0).unwrap();
    let distance = distance(&got, &want);
    assert!(distance < 0.2, "bf16 and f16 weights: {distance}");
    assert!(distance > 1e-5, "the weights were not rounded");
}

#[test]
fn old_and_new_configurations_say_the_same() {
    let read = |family: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(fixture(family).join("config.json")).unwrap()).unwrap()
    };
    let drop_new = |value: &mut serde_json::Value| {
        let map = value.as_object_mut().unwrap();
        for key in ["rope_parameters", "layer_types"] {
            map.remove(key);
        }
    };
    let mut gemma2 = read("gemma2");
    let new = DecoderConfig::parse(&gemma2).unwrap();
    drop_new(&mut gemma2);
    gemma2["rope_theta"] = 10000.0.into();
    assert_eq!(DecoderConfig::parse(&gemma2).unwrap(), new);

    let mut gemma3 = read("gemma3");
    let new = DecoderConfig::parse(&gemma3).unwrap();
    assert_eq!(new.layers.iter().filter(|l| l.window.is_none()).count(), 1);
    drop_new(&mut gemma3);
    gemma3["rope_theta"] = 1e6.into();
    gemma3["rope_local_base_freq"] = 1e4.into();
    assert_eq!(DecoderConfig::parse(&gemma3).unwrap(), new);
    gemma3["rope_scaling"] = serde_json::json!({ "rope_type": "linear", "factor": 8.0 });
    let scaled = DecoderConfig::parse(&gemma3).unwrap();
    assert_eq!(
        scaled.layers[5].rope,
        Some(Rope { theta: 1e6, turned: 16, scaling: RopeScaling::Linear { factor: 8.0 } })
    );
    assert_eq!(scaled.layers[0].rope, Some(Rope::plain(16, 1e4)));

    let mut llama = read("llama");
    let new = DecoderConfig::parse(&llama).unwrap();
    let mut scaling = llama["rope_parameters"].clone();
    drop_new(&mut llama);
    llama["rope_theta"] = scaling.as_object_mut().unwrap().remove("rope_theta").unwrap();
    llama["rope_scaling"] = scaling;
    assert_eq!(DecoderConfig::parse(&llama).unwrap(), new);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let read = || -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(fixture("llama").join("config.json")).unwrap()).unwrap()
    };
    let refused = |key: &str, value: serde_json::Value| {
        let mut config = read();
        config[key] = value;
        DecoderConfig::parse(&config).unwrap_err()
    };
    let unknown = refused("model_type", "mamba".into());
    assert!(unknown.contains("`mamba` are not known; there is gemma2, gemma3, gemma3_text, gpt2,"), "{unknown}");
    assert!(refused("hidden_act", "relu".into()).contains("`relu`"));
    assert!(refused("rope_parameters", serde_json::json!({ "rope_type": "yarn" })).contains("`yarn`"));
    assert!(refused("head_dim", 7.into()).contains("7 coordinates of a head of 7 cannot be turned"));
    assert!(refused("num_key_value_heads", 3.into()).contains("cannot share"));
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
    for family in FAMILIES {
        let tokenizer = Tokenizer::load(fixture(family)).unwrap();
        let want: Vec<u32> =
            expected(family)["chat_ids"].to_vec1::<i64>().unwrap().into_iter().map(|i| i as u32).collect();
        let sequence = tokenizer.encode(&Document::Chat(chat()), Some(&Template::Tokenizer), 1024).unwrap();
        assert_eq!(sequence.ids, want, "{family}");
        assert_eq!(tokenizer.bos(), Some(0), "{family}");
        assert_eq!(sequence.groups[0], TokenGroup::Bos);
        let text = |group: TokenGroup| {
            let of = |(id, _): (&u32, _)| *id;
            let ids: Vec<u32> =
                sequence.ids.iter().zip(&sequence.groups).filter(|(_, g)| **g == group).map(of).collect();
            tokenizer.decode(&ids).unwrap()
        };
        assert_eq!(text(TokenGroup::User), "Hello fox");
        assert_eq!(text(TokenGroup::Assistant), "The lazy dog.");
        let control = "<start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n<end_of_turn>\n";
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
