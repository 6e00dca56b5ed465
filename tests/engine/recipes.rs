//! The paper's recipes, run whole on tiny models of the same families and the texts that are shipped.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use crate::gguf::convert;
use crate::support::{Lab, said};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A fixture and, in `folder`, its "tuned" version: the same files with every block's weights moved a little.
fn stand_ins(family: &str, folder: &Path) -> (PathBuf, PathBuf) {
    let base = root().join("tests/fixtures/lm").join(family);
    let tuned = folder.join("tuned");
    std::fs::create_dir_all(&tuned).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(base.join(name), tuned.join(name)).unwrap();
    }
    let bytes = std::fs::read(base.join("model.safetensors")).unwrap();
    let mut moved = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let mut data = view.data().to_vec();
        if name.contains("layers.") && view.dtype() == safetensors::Dtype::F32 {
            for (i, number) in data.chunks_exact_mut(4).enumerate() {
                let value = f32::from_le_bytes(number.try_into().unwrap());
                let noise = 0.05 * ((i * 7919 % 1009) as f32 / 504.5 - 1.0);
                number.copy_from_slice(&(value + noise).to_le_bytes());
            }
        }
        moved.push((name, view.dtype(), view.shape().to_vec(), data));
    }
    let views = moved.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    std::fs::write(tuned.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    (base, tuned)
}

/// Runs a recipe small, with the names of its own params for the models and the two corpora.
fn runs(recipe: &str, family: &str, corpora: [&str; 2], more: &[&str]) -> Lab {
    let lab = Lab::new("xd 1\n");
    let mut sets = small(&lab, recipe, family, corpora);
    sets.push("measured=4K tokens".into());
    sets.extend(more.iter().map(|set| set.to_string()));
    run_with(&lab, recipe, &sets, &[0]);
    lab
}

/// `--set` lines that make a recipe small: stand-ins for its models, the shipped texts, few tokens.
fn small(lab: &Lab, recipe: &str, family: &str, corpora: [&str; 2]) -> Vec<String> {
    let (base, tuned) = stand_ins(family, lab.path());
    let texts = root().join("experiments/organism/texts");
    let jsonl = |name: &str, rest: &str| format!("jsonl(\"{}\", {rest})", texts.join(name).display());
    let prose = |name: &str| jsonl(name, "column = \"text\"");
    let chat = |name: &str| jsonl(name, "column = \"messages\", template = tokenizer");
    let mut sets = vec![
        format!("base=folder(\"{}\")", base.display()),
        format!("tuned=folder(\"{}\")", tuned.display()),
        format!("{}={}", corpora[0], prose("prose.jsonl")),
        format!("{}={}", corpora[1], chat("chat.jsonl")),
        "layer=2".into(),
        "context=64 tokens".into(),
        "tokens=6K tokens".into(),
        "validation=1K tokens".into(),
        "batch=256 tokens".into(),
    ];
    let file = root().join("experiments").join(format!("{recipe}.xd"));
    if std::fs::read_to_string(&file).unwrap().contains(&format!("param {}_validation", corpora[0])) {
        sets.push(format!("{}_validation={}", corpora[0], prose("prose_heldout.jsonl")));
        sets.push(format!("{}_validation={}", corpora[1], chat("chat_heldout.jsonl")));
    }
    sets
}

/// Runs a shipped file into `out`, to one of these exit statuses, with every step done.
fn run_with(lab: &Lab, recipe: &str, sets: &[String], statuses: &[i32]) {
    let file = root().join("experiments").join(format!("{recipe}.xd"));
    let mut arguments = vec!["run".to_string(), file.display().to_string(), "--out".into(), "out".into()];
    arguments.extend(["--store".to_string(), lab.path().join("store").display().to_string()]);
    sets.iter().for_each(|set| arguments.extend(["--set".to_string(), set.clone()]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = lab.xd(&arguments);
    assert!(output.status.code().is_some_and(|code| statuses.contains(&code)), "{recipe}: {}", said(&output));
    let steps = lab.steps("out");
    assert!(steps.iter().all(|(_, _, state)| state == "done"), "{recipe}: {steps:?}");
}

const TRAINED: [&str; 7] = [
    "latents=4x",
    "length=2 epochs",
    "warmup=5 steps",
    "k=6",
    "dead_after=4K tokens",
    "threshold_from=10 steps",
    "store=f32",
];

/// A table as rows of (column, cell).
fn table(lab: &Lab, name: &str) -> Vec<Vec<(String, String)>> {
    let text = std::fs::read_to_string(lab.path().join("out/tables").join(name)).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_string).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    lines.map(|row| header.iter().cloned().zip(row).collect()).collect()
}

/// Every latent of both crosscoders is in a class.
fn classes_are_whole(lab: &Lab, name: &str, expected: u64) {
    let rows = table(lab, name);
    let counts = rows.iter().flatten().filter(|(column, _)| column == "latents");
    let sum: u64 = counts.map(|(_, cell)| cell.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, expected, "{rows:?}");
}

#[test]
fn gemma2_2b_runs_on_a_small_gemma2() {
    let lab = runs("gemma2_2b", "gemma2", ["fineweb", "lmsys"], &TRAINED);
    classes_are_whole(&lab, "classes_by_loss.csv", 2 * 4 * 48);
}

#[test]
fn llama32_1b_runs_on_a_small_llama_whose_base_reads_other_tokens() {
    let mut more = TRAINED.to_vec();
    more.push("read_as=replace([5, 6])");
    let lab = runs("llama32_1b", "llama", ["fineweb", "lmsys"], &more);
    classes_are_whole(&lab, "classes_by_loss.csv", 2 * 4 * 48);
}

#[test]
fn llama31_8b_runs_on_a_small_llama_with_annealed_k() {
    let mut more = TRAINED.to_vec();
    more.extend(["read_as=replace([5, 6])", "anneal=(40, 20 steps)"]);
    let lab = runs("llama31_8b", "llama", ["fineweb", "lmsys"], &more);
    classes_are_whole(&lab, "classes_by_loss.csv", 2 * 4 * 48);
}

#[test]
fn gemma3_270m_runs_on_a_small_gemma3() {
    let lab = runs("gemma3_270m", "gemma3", ["fineweb", "ultrachat"], &TRAINED);
    classes_are_whole(&lab, "classes_by_loss.csv", 2 * 4 * 48);
}

/// From a GGUF file through the fine-tune to the tables: the file is written by the tests, of the small Gemma 3.
#[test]
fn gemma3_270m_chitchat_runs_on_a_small_gguf_file() {
    let lab = Lab::new("xd 1\n");
    let gguf = lab.path().join("small.gguf");
    convert(&root().join("tests/fixtures/lm/gemma3"), &gguf);
    let file = root().join("experiments/gemma3_270m_chitchat.xd").display().to_string();
    let store = lab.path().join("store").display().to_string();
    let base = format!("weights=gguf(\"{}\")", gguf.display());
    let mut arguments = vec!["run", &file, "--out", "out", "--store", &store];
    for set in [&base, "layer=3", "tuning=8_192 tokens"] {
        arguments.extend(["--set", set]);
    }
    let output = lab.xd(&arguments);
    // 4: what the file expects is expected of the real model.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", said(&output));
    let steps = lab.steps("out");
    assert!(steps.iter().all(|(_, _, state)| state == "done"), "{steps:?}");
    assert!(steps.iter().any(|(address, _, _)| address == "chat"), "{steps:?}");
    let rows = table(&lab, "reconstruction.csv");
    let fve = |row: &[(String, String)]| -> f64 {
        row.iter().find(|(column, _)| column == "fve").unwrap().1.parse().unwrap()
    };
    assert!(rows.len() >= 4 && rows.iter().all(|row| fve(row) > 0.1 && fve(row) <= 1.0), "{rows:?}");
}

/// The published weights are stood in for by those of a first run.
#[test]
fn kissane_measures_weights_from_elsewhere_beside_its_own() {
    let first = runs("gemma2_2b", "gemma2", ["fineweb", "lmsys"], &TRAINED);
    let artifacts = std::fs::read_dir(first.path().join("out/artifacts")).unwrap();
    let l1 = artifacts
        .map(|entry| entry.unwrap())
        .find(|entry| entry.file_name().to_string_lossy().starts_with("cc[loss=l1"));
    let weights = l1.expect("the L1 crosscoder").path().canonicalize().unwrap();
    let weights = format!("weights=folder(\"{}\")", weights.display());
    let more = ["latents=128", "sparsity_warmup=5 steps", "store=f32", &weights];
    let lab = runs("kissane", "gemma2", ["pile", "lmsys"], &more);
    classes_are_whole(&lab, "published_by_class.csv", 4 * 48);
    classes_are_whole(&lab, "trained_by_class.csv", 128);
}

/// `--set` lines that make the analyses of the paper small.
const MEASURED: [&str; 2] = ["prompts=8 prompts", "top=20"];
/// What paper.xd expects is expected of a real pair: a small one may fail it.
const ANY_VERDICT: [i32; 2] = [0, 4];

/// The number of tables and figures, SVG and PNG, of a run.
fn written(lab: &Lab) -> [usize; 3] {
    let files = |folder: &str, ending: &str| {
        let files = std::fs::read_dir(lab.path().join("out").join(folder)).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == ending)).count()
    };
    [files("tables", "csv"), files("plots", "svg"), files("plots", "png")]
}

/// Every table and figure, and rows of (class_a, class_b) that hold every latent once.
fn paper_is_whole(lab: &Lab, latents: f64) {
    assert_eq!(written(lab), [8, 42, 42]);
    let rows = table(lab, "tables.class_overlap.csv");
    let sum: f64 = rows.iter().map(|row| cell(row, "latents").parse::<f64>().unwrap()).sum();
    assert!((sum - latents).abs() < 1e-3, "{sum} of {latents} latents: {rows:?}");
}

fn cell(row: &[(String, String)], column: &str) -> String {
    row.iter().find(|(name, _)| name == column).map(|(_, cell)| cell.clone()).unwrap()
}

/// The paper on stand-ins of the pairs of the hub, whose recipes it imports.
#[test]
fn the_paper_runs_on_small_pairs_of_other_recipes() {
    for (recipe, family, more) in [
        ("gemma2_2b", "gemma2", &[][..]),
        ("llama32_1b", "llama", &["read_as=replace([5, 6])"][..]),
        ("llama31_8b", "llama", &["read_as=replace([5, 6])", "anneal=(40, 20 steps)"][..]),
    ] {
        let lab = Lab::new("xd 1\n");
        let own = small(&lab, recipe, family, ["fineweb", "lmsys"]);
        let trained = TRAINED.iter().chain(more).map(|set| set.to_string());
        let mut sets: Vec<String> = own.into_iter().chain(trained).map(|set| format!("{recipe}.{set}")).collect();
        sets.extend([format!("recipe={recipe}"), format!("{recipe}.measured=4K tokens")]);
        sets.extend(MEASURED.iter().map(|set| set.to_string()));
        run_with(&lab, "paper", &sets, &ANY_VERDICT);
        paper_is_whole(&lab, 4.0 * 48.0);
    }
}

/// The paper on one pair, whole and small: every step is made, and every table and figure is there.
#[test]
fn the_paper_runs_on_the_embedded_pair() {
    let lab = Lab::new("xd 1\n");
    let own = ["embedded.tokens=4K tokens", "embedded.measured=4K tokens", "embedded.latents=2x"];
    let sets: Vec<String> = own.iter().chain(&MEASURED).map(|set| set.to_string()).collect();
    run_with(&lab, "paper", &sets, &ANY_VERDICT);
    paper_is_whole(&lab, 2.0 * 128.0);
    // Live latents, insertions and matches are there in every run, so these panels have rows; figure 4 has its intervals.
    let figure = |name: &str| std::fs::read_to_string(lab.path().join(format!("out/plots/{name}.svg"))).unwrap();
    for name in [
        "decoder_norm_diff",
        "decoder_cos_sim",
        "encoder_norms",
        "latent_frequency",
        "freq_vs_beta_ratio_error_all",
        "kl_both_models",
        "class_overlap",
        "max_cosine",
    ] {
        let svg = figure(name);
        assert!(!svg.contains(">no latents</text>") && !svg.contains(">no rows</text>"), "{name} has an empty panel");
    }
    assert!(figure("kl_both_models").contains("bars: mean and 95% t-interval over 3 seeds"));
    assert!(figure("decoder_norm_diff").contains("heights and n: mean over 3 seeds"));
    assert!(figure("class_overlap").contains("each cell: mean over 3 seeds"));
    // Nothing put in: the whole distance. Everything: what the errors of the base leave of it.
    let rows = table(&lab, "tables.causality.csv");
    let kl = |insert: &str| -> f64 {
        let row = rows.iter().find(|row| {
            cell(row, "insert") == insert && cell(row, "positions") == "all" && cell(row, "loss") == "batch_topk"
        });
        cell(row.unwrap(), "mean").parse().unwrap()
    };
    assert!(kl("everything") < kl("nothing") && kl("error") < kl("nothing"), "{rows:?}");

    // Once somebody has scored the latents that were shown, the two figures of it are drawn; all else is in the store.
    for loss in ["l1", "batch_topk"] {
        for seed in 0..3 {
            let score = |latent: usize| {
                let counts = |right: usize| format!("{{\"TP\": {right}, \"TN\": 0, \"FP\": 0, \"FN\": {}}}", 5 - right);
                format!("\"{latent}\": {{\"0\": {}, \"3\": {}}}", counts(latent % 4), counts(1 + (latent + seed) % 4))
            };
            let scores: Vec<String> = (0..256).map(score).collect();
            std::fs::write(lab.path().join(format!("{loss}-{seed}.json")), format!("{{{}}}", scores.join(", ")))
                .unwrap();
        }
    }
    let mut sets = sets;
    sets.push(format!("scores=\"{}/{{loss}}-{{train.seed}}.json\"", lab.path().display()));
    run_with(&lab, "paper", &sets, &ANY_VERDICT);
    assert_eq!(written(&lab), [8, 44, 44]);
    for name in ["detection", "rank_sum_vs_detection"] {
        let svg = std::fs::read_to_string(lab.path().join(format!("out/plots/{name}.svg"))).unwrap();
        assert!(svg.contains("3 seeds") && !svg.contains(">no rows</text>"), "{name}");
    }
}

#[test]
fn diff_sae_trains_patches_and_measures_autoencoders() {
    let lab = Lab::new("xd 1\n");
    run_with(&lab, "diff_sae", &small_diff_sae(), &[0, 4]);
    let fit = table(&lab, "explained.csv");
    let cell = |row: &[(String, String)], name: &str| row.iter().find(|(column, _)| column == name).unwrap().1.clone();
    let models: Vec<String> = fit.iter().map(|row| cell(row, "model")).collect();
    assert_eq!(models, ["tuned", "difference"]);
    for row in &fit {
        let number = |name: &str| cell(row, name).parse::<f64>().unwrap();
        assert!(number("fve") > 0.1 && number("fve") < 1.0, "{row:?}");
        assert!(number("kl_spliced") > 0.0 && number("ce_spliced") > 0.0, "{row:?}");
    }
    let effects = table(&lab, "effects.csv");
    let mean = |variant: &str, insert: &str| {
        let is = |row: &&Vec<(String, String)>| {
            cell(row, "variant") == variant && cell(row, "insert") == insert && cell(row, "positions") == "all"
        };
        cell(effects.iter().find(is).unwrap(), "mean").parse::<f64>().unwrap()
    };
    assert_eq!(mean("tuned", "nothing"), mean("difference", "nothing"));
    assert!(mean("difference", "everything") < mean("difference", "nothing"));
    // What the difference's autoencoder leaves, put in alone, is further from the tuned model than its latents are.
    assert!(mean("difference", "error") > 0.0);
    let specific = table(&lab, "specific.csv");
    assert!(specific.iter().all(|row| cell(row, "nu_activation").parse::<f64>().unwrap().abs() < 0.3));

    // The artifact is the published class; every layout that has a place for it gives the same on a probe.
    let file = root().join("experiments/diff_sae.xd").display().to_string();
    let store = lab.path().join("store").display().to_string();
    let sets = small_diff_sae();
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    for (layout, status) in [("published", 0), ("torch", 0), ("saelens", 0), ("tensors", 0), ("kissane", 3)] {
        let mut arguments = vec!["export", &file, "dictionary[variant = difference]", "--as", layout, "--out", layout];
        arguments.extend(["--store", &store]);
        arguments.extend(&sets);
        let output = lab.xd(&arguments);
        assert_eq!(output.status.code(), Some(status), "{layout}: {}", said(&output));
    }
    for (path, reads, status) in [
        ("published", None, 0),
        ("saelens", None, 0),
        ("torch", Some("difference"), 0),
        ("torch", None, 3),
        ("published", Some("tuned"), 1),
    ] {
        let mut arguments = vec!["import", path, "--out", "again"];
        arguments.extend(reads.iter().flat_map(|reads| ["--reads", reads]));
        let output = lab.xd(&arguments);
        assert_eq!(output.status.code(), Some(status), "{path} {reads:?}: {}", said(&output));
        let told = said(&output).contains("`variant = sae(on = difference)`");
        assert!(status != 0 || told, "{}", said(&output));
    }
}

/// Their latents are shown in text and spoken with like a crosscoder's; the norms of two decoders they do not have.
#[test]
fn latents_of_autoencoders_are_shown_and_steered() {
    let path = root().join("experiments/diff_sae.xd").display().to_string();
    let lab = Lab::new(&format!(
        "xd 1
use \"{path}\" as sae
examples shown {{
  of      = sae.dictionary
  latents = [1, 2, 3, 7]
  count   = 2
}}
steer voice {{
  of      = sae.dictionary
  latents = [1, 2]
  prompts = [\"How are you today?\"]
  length  = 6 tokens
}}
table texts {{ rows = shown }}
table voices {{ rows = voice }}
"
    ));
    let sets: Vec<String> = small_diff_sae().iter().map(|set| format!("sae.{set}")).collect();
    let mut arguments = vec!["run", "experiment.xd", "--out", "out", "--store", "store"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    let output = lab.xd(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    let texts = table(&lab, "texts.csv");
    for variant in ["tuned", "difference"] {
        let own: Vec<_> = texts.iter().filter(|row| row.iter().any(|(_, cell)| cell == variant)).collect();
        assert!(own.len() >= 8, "{variant}: {}", own.len());
    }
    // One answer without a latent and one with each, of both autoencoders.
    let voices = table(&lab, "voices.csv");
    let strengths = voices.iter().filter(|row| row.len() > 2 && cell(row, "strength") == "1").count();
    assert_eq!(strengths, 4, "{voices:?}");
}

fn small_diff_sae() -> Vec<String> {
    ["train_length=7 epochs", "prompts=3 prompts", "rows=6K tokens", "held_out=1K tokens", "latents=1x"]
        .map(String::from)
        .to_vec()
}
