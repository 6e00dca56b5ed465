//! Published configurations, in the styles of their years.

use serde_json::{Value, json};
use xd::ml::lm::{Activation, Decoder, DecoderConfig, Family, NormShape, Residual, Rope, RopeScaling};

use crate::lm::fixture;

fn json_of(path: std::path::PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn published(name: &str) -> DecoderConfig {
    DecoderConfig::parse(&json_of(fixture("published").join(format!("{name}.json")))).unwrap()
}

#[test]
fn published_models_have_their_published_number_of_parameters() {
    let models = [
        ("gemma-2-2b", Family::Gemma2, 2_614_341_888u64, 26, 2304),
        ("gemma-3-270m", Family::Gemma3, 268_098_176, 18, 640),
        ("gemma-3-1b-pt", Family::Gemma3, 999_885_952, 26, 1152),
        // The language model of 4,300,079,472 parameters in all; the image tower and its projection have the rest.
        ("gemma-3-4b-it", Family::Gemma3, 3_880_263_168, 34, 2560),
        ("Llama-3.2-1B", Family::Llama, 1_235_814_400, 16, 2048),
        ("Llama-3.1-8B", Family::Llama, 8_030_261_248, 32, 4096),
        ("SmolLM2-135M", Family::Llama, 134_515_008, 30, 576),
        ("Qwen2.5-1.5B", Family::Qwen2, 1_543_714_304, 28, 1536),
        ("Qwen3-0.6B", Family::Qwen3, 596_049_920, 28, 1024),
        ("pythia-70m", Family::GptNeox, 70_426_624, 6, 512),
        ("gpt2", Family::Gpt2, 124_439_808, 12, 768),
        ("Mistral-7B-v0.1", Family::Mistral, 7_241_732_096, 32, 4096),
        ("Mistral-7B-v0.3", Family::Mistral, 7_248_023_552, 32, 4096),
    ];
    for (name, family, parameters, layers, width) in models {
        let config = published(name);
        assert_eq!((config.family, config.layers.len(), config.width), (family, layers, width), "{name}");
        let counted: u64 = Decoder::shapes(&config).iter().map(|(_, s)| s.iter().product::<usize>() as u64).sum();
        assert_eq!(counted, parameters, "{name}");
    }
}

#[test]
fn what_no_weight_shows_is_read_too() {
    let gemma2 = published("gemma-2-2b");
    assert_eq!((gemma2.attention.cap, gemma2.logit_cap), (Some(50.0), Some(30.0)));
    assert_eq!((gemma2.attention.scale, gemma2.embedding_scale), (0.0625, 48.0));
    assert_eq!((gemma2.layers[0].window, gemma2.layers[1].window), (Some(4096), None));
    assert_eq!(gemma2.norm, NormShape::Rms { epsilon: 1e-6, offset: 1.0 });
    assert!(gemma2.tied && gemma2.post_norms);

    for (name, layers) in [("gemma-3-270m", 18), ("gemma-3-1b-pt", 26)] {
        let gemma3 = published(name);
        let full: Vec<usize> = (0..layers).filter(|l| gemma3.layers[*l].window.is_none()).collect();
        assert_eq!(full, (5..layers).step_by(6).collect::<Vec<_>>(), "{name}");
        assert_eq!(gemma3.layers[0].window, Some(512));
        assert_eq!(gemma3.layers[0].rope, Some(Rope::plain(256, 1e4)));
        assert_eq!(gemma3.layers[5].rope, Some(Rope::plain(256, 1e6)));
        assert_eq!((gemma3.attention.cap, gemma3.logit_cap, gemma3.attention.head_norms), (None, None, true));
    }
    let seeing = published("gemma-3-4b-it");
    assert_eq!((seeing.attention.heads, seeing.attention.kv_heads, seeing.vocabulary), (8, 4, 262_208));
    let stretched = Rope { scaling: RopeScaling::Linear { factor: 8.0 }, ..Rope::plain(256, 1e6) };
    assert_eq!((seeing.layers[5].rope, seeing.layers[0].rope), (Some(stretched), Some(Rope::plain(256, 1e4))));
    assert_eq!((seeing.layers[0].window, seeing.context), (Some(1024), 131_072));

    let llama3 = |factor| RopeScaling::Llama3 { factor, low: 1.0, high: 4.0, context: 8192.0 };
    let small = published("Llama-3.2-1B");
    assert_eq!(small.layers[0].rope, Some(Rope { theta: 5e5, turned: 64, scaling: llama3(32.0) }));
    assert!(small.tied && small.attention.kv_heads == 8);
    let large = published("Llama-3.1-8B");
    assert_eq!(large.layers[0].rope, Some(Rope { theta: 5e5, turned: 128, scaling: llama3(8.0) }));
    assert!(!large.tied && large.norm == NormShape::Rms { epsilon: 1e-5, offset: 0.0 });
    let smol = published("SmolLM2-135M");
    assert_eq!((smol.layers[0].rope, smol.tied), (Some(Rope::plain(64, 1e5)), true));

    let qwen2 = published("Qwen2.5-1.5B");
    assert!(qwen2.attention.qkv_bias && !qwen2.attention.out_bias && qwen2.layers.iter().all(|l| l.window.is_none()));
    let qwen3 = published("Qwen3-0.6B");
    assert_eq!((qwen3.attention.head, qwen3.attention.head_norms, qwen3.attention.qkv_bias), (128, true, false));

    let pythia = published("pythia-70m");
    assert_eq!(pythia.layers[0].rope, Some(Rope { turned: 16, ..Rope::plain(64, 1e4) }));
    assert_eq!((pythia.residual, pythia.mlp.activation), (Residual::Parallel, Activation::Gelu));
    assert!(!pythia.tied && pythia.norm == NormShape::Layer { epsilon: 1e-5 });

    let gpt2 = published("gpt2");
    assert_eq!((gpt2.positions, gpt2.context, gpt2.mlp.inner), (Some(1024), 1024, 3072));
    assert!(gpt2.tied && gpt2.mlp.activation == Activation::GeluTanh && gpt2.layers[0].rope.is_none());

    assert!(published("Mistral-7B-v0.1").layers.iter().all(|l| l.window == Some(4096)));
    let later = published("Mistral-7B-v0.3");
    assert!(later.layers.iter().all(|l| l.window.is_none() && l.rope == Some(Rope::plain(128, 1e6))));
}

/// The fixture's configuration, and its twin in the style before `rope_parameters`, `layer_types` and `dtype`.
fn styles(family: &str, old: &[(&str, Value)]) -> (DecoderConfig, Value) {
    let mut value = json_of(fixture(family).join("config.json"));
    let new = DecoderConfig::parse(&value).unwrap();
    let map = value.as_object_mut().unwrap();
    for key in ["rope_parameters", "layer_types", "dtype"] {
        map.remove(key);
    }
    map.insert("torch_dtype".into(), "float32".into());
    for (key, old) in old {
        map.insert(key.to_string(), old.clone());
    }
    (new, value)
}

#[test]
fn old_and_new_configurations_say_the_same() {
    let llama3 = json!({
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        "rope_type": "llama3",
    });
    let window = [("use_sliding_window", json!(true)), ("sliding_window", json!(6)), ("max_window_layers", json!(2))];
    let old: [(&str, &[(&str, Value)]); 8] = [
        ("gemma2", &[("rope_theta", json!(1e4)), ("hidden_act", json!("gelu_pytorch_tanh"))]),
        ("gemma3", &[("rope_theta", json!(1e6)), ("rope_local_base_freq", json!(1e4))]),
        ("llama", &[("rope_theta", json!(5e5)), ("rope_scaling", llama3)]),
        ("mistral", &[("rope_theta", json!(1e4))]),
        ("qwen2", &[("rope_theta", json!(1e4)), ("sliding_window", json!(4096))]),
        ("qwen2_window", &window),
        ("qwen3", &[("rope_theta", json!(1e4))]),
        ("gpt_neox", &[("rotary_pct", json!(0.25)), ("rotary_emb_base", json!(10000))]),
    ];
    for (family, fields) in old {
        let (new, value) = styles(family, fields);
        assert_eq!(DecoderConfig::parse(&value).unwrap(), new, "{family}");
    }
    let (new, mut gemma3) = styles("gemma3", &[("rope_local_base_freq", json!(1e4))]);
    gemma3["_sliding_window_pattern"] = Value::Null;
    gemma3["sliding_window_pattern"] = 6.into();
    assert_eq!(DecoderConfig::parse(&gemma3).unwrap(), new);
    gemma3["sliding_window_pattern"] = 2.into();
    let windows: Vec<bool> = DecoderConfig::parse(&gemma3).unwrap().layers.iter().map(|l| l.window.is_some()).collect();
    assert_eq!(windows, [true, false, true, false, true, false, true]);
    gemma3["rope_scaling"] = json!({ "rope_type": "linear", "factor": 8.0 });
    let scaled = DecoderConfig::parse(&gemma3).unwrap();
    let linear = Rope { scaling: RopeScaling::Linear { factor: 8.0 }, ..Rope::plain(16, 1e6) };
    assert_eq!((scaled.layers[1].rope, scaled.layers[0].rope), (Some(linear), Some(Rope::plain(16, 1e4))));
    // Written halfway between the styles: the scaling by layer type, the base beside it.
    let mut half = json_of(fixture("gemma3").join("config.json"));
    half["rope_theta"] = 5e5.into();
    half["rope_parameters"] = json!({ "full_attention": { "rope_type": "linear", "factor": 8.0 }, "sliding_attention": { "rope_type": "default" } });
    assert_eq!(DecoderConfig::parse(&half).unwrap().layers[5].rope, Some(Rope { theta: 5e5, ..linear }));
    // A head of its own width is where the width over the heads would not do.
    let mut qwen3 = json_of(fixture("qwen3").join("config.json"));
    assert_eq!(DecoderConfig::parse(&qwen3).unwrap().attention.head, 24);
    qwen3["head_dim"] = Value::Null;
    assert_eq!(DecoderConfig::parse(&qwen3).unwrap().attention.head, 12);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let refused = |family: &str, key: &str, value: Value| {
        let mut config = json_of(fixture(family).join("config.json"));
        config[key] = value;
        DecoderConfig::parse(&config).unwrap_err()
    };
    let unknown = refused("llama", "model_type", "mamba".into());
    assert_eq!(
        unknown,
        "models of type `mamba` are not known; there is gemma2, gemma3, gemma3_text, gpt2, gpt_neox, llama, mistral, qwen2, qwen3"
    );
    assert_eq!(refused("llama", "model_type", Value::Null), "no text `model_type`");
    assert_eq!(refused("llama", "hidden_size", Value::Null), "no whole number `hidden_size`");
    assert!(refused("llama", "hidden_act", "relu".into()).contains("`relu`"));
    assert!(refused("llama", "rope_parameters", json!({ "rope_type": "yarn" })).contains("`yarn`"));
    assert!(refused("llama", "rope_parameters", json!({ "rope_type": "linear" })).contains("`factor`"));
    assert!(refused("llama", "head_dim", 7.into()).contains("7 coordinates of a head of 7 cannot be turned"));
    assert!(refused("llama", "num_key_value_heads", 3.into()).contains("cannot share"));
    assert!(refused("gemma2", "layer_types", json!(["full_attention"])).contains("1 layer_types for 4 layers"));
    assert!(refused("gemma3", "use_bidirectional_attention", true.into()).contains("use_bidirectional_attention"));
    assert!(refused("gpt2", "scale_attn_by_inverse_layer_idx", true.into()).contains("scale_attn_by_inverse"));
    assert!(refused("mistral", "sliding_window", 0.into()).contains("sees nothing"));
}
