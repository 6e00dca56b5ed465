//! Content keys: every field that the schema knows either changes the key of its step or is declared harmless.

use std::collections::{BTreeMap, BTreeSet};

use xd::lang::schema::{Built, Field, KINDS, Type};

use crate::memory::Memory;

const PRELUDE: &str = "xd 1
model base = folder(\"organism/base\")
model chat = folder(\"organism/chat\")
pair organism {
  base  = base
  tuned = chat
}
pair reversed {
  base  = chat
  tuned = base
}
pair toy = synthetic(width = 64)
pair other = synthetic(width = 64, seed = 9)
corpus prose = text(\"other.txt\")
corpus talk = jsonl(\"organism/texts/chat.jsonl\", column = \"messages\", template = tokenizer)
template gemma = jinja(\"gemma.jinja\")
activations rows {
  of       = toy
  train    = 200K tokens
  validate = 10K tokens
}
activations other_rows {
  of       = other
  train    = 200K tokens
  validate = 10K tokens
}
crosscoder cc for loss in [l1(weight = 0.1), topk(k = 8)] {
  on = rows
  train.optimizer = adam(warmup = 10 steps)
}
crosscoder second {
  on   = other_rows
  loss = topk(k = 8)
  train.optimizer = adam(warmup = 10 steps)
}
classify classes { of = cc[loss = l1] }
classify others { of = second }
scaling nu { of = cc[loss = l1] }
activations real {
  of       = organism
  layer    = 2
  context  = 64 tokens
  train    = [1K tokens of prose]
  validate = [1K tokens of prose, 1K tokens of talk]
}
crosscoder first for train.seed in [0, 1] {
  on    = real
  loss  = topk(k = 8)
  train { batch = 64 tokens
    optimizer = adam(warmup = 1 steps) }
}
crosscoder auto {
  on      = real
  variant = sae(on = tuned)
  loss    = topk(k = 8)
  train { batch = 64 tokens
    optimizer = adam(warmup = 1 steps) }
}
classify kinds { of = first[train.seed = 0] }
scaling ratios {
  of     = first[train.seed = 0]
  tokens = 1K tokens
}
scaling more_ratios {
  of     = first[train.seed = 0]
  tokens = 2K tokens
}
classify wide_kinds {
  of     = first[train.seed = 0]
  shared = 0.3..0.7
}
";

/// The prelude and one declaration of these fields, called `x`; a later pair of the same field replaces an earlier one.
fn block(kind: &str, fields: &[(&str, &str)]) -> String {
    let mut values: Vec<(&str, &str)> = Vec::new();
    for (field, value) in fields {
        values.retain(|(known, _)| known != field);
        if !value.is_empty() {
            values.push((field, value));
        }
    }
    let lines: Vec<String> = values.iter().map(|(field, value)| format!("  {field} = {value}\n")).collect();
    format!("{PRELUDE}{kind} x {{\n{}}}\n", lines.concat())
}

fn line(kind: &str, value: &str) -> String {
    let reader = match kind {
        "model" => {
            "pair y {\n  base = x\n  tuned = x\n}\nactivations z {\n  of = y\n  layer = 0\n  context = 64 tokens\n  train = [1K tokens of prose]\n  validate = [1K tokens of prose]\n}\n"
        }
        "pair" => "activations z {\n  of = x\n  train = 200K tokens\n  validate = 10K tokens\n}\n",
        "corpus" => {
            "activations z {\n  of = organism\n  layer = 0\n  context = 64 tokens\n  train = [1K tokens of x]\n  validate = [1K tokens of x]\n}\n"
        }
        "template" => {
            "corpus y = text(\"other.txt\", template = x)\nactivations z {\n  of = organism\n  layer = 0\n  context = 64 tokens\n  train = [1K tokens of y]\n  validate = [1K tokens of y]\n}\n"
        }
        _ => "",
    };
    format!("{PRELUDE}{kind} x = {value}\n{reader}")
}

/// For every field: the file with one value and with another.
fn changes() -> BTreeMap<String, (String, String)> {
    let mut changes: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut add = |label: &str, before: String, after: String| {
        assert!(changes.insert(label.to_string(), (before, after)).is_none(), "{label} twice");
    };

    // -- short forms -------------------------------------------------------------------------------------------------
    let pretrain = |argument: &str, value: &str| {
        let mut values = vec![
            ("on", "[1K tokens of prose]"),
            ("layers", "2"),
            ("width", "64"),
            ("heads", "4"),
            ("length", "2K tokens"),
        ];
        values.retain(|(known, _)| *known != argument);
        values.push((argument, value));
        let written: Vec<String> = values.iter().map(|(a, v)| format!("{a} = {v}")).collect();
        line("model", &format!("pretrain({})", written.join(", ")))
    };
    let pretrained = [
        ("on", "[1K tokens of prose]", "[2K tokens of prose]"),
        ("layers", "2", "3"),
        ("width", "64", "32"),
        ("heads", "4", "8"),
        ("vocabulary", "2048", "1024"),
        ("context", "256 tokens", "128 tokens"),
        ("length", "2K tokens", "3K tokens"),
        ("batch", "4096 tokens", "2048 tokens"),
        ("lr", "2e-3", "1e-3"),
        ("seed", "42", "1"),
    ];
    for (argument, before, after) in pretrained {
        add(&format!("model:pretrain.{argument}"), pretrain(argument, before), pretrain(argument, after));
    }
    let finetune = |argument: &str, value: &str| {
        let mut values = vec![("from", "base"), ("on", "[1K tokens of prose]"), ("length", "2K tokens")];
        values.retain(|(known, _)| *known != argument);
        values.push((argument, value));
        let written: Vec<String> = values.iter().map(|(a, v)| format!("{a} = {v}")).collect();
        line("model", &format!("finetune({})", written.join(", ")))
    };
    let finetuned = [
        ("from", "base", "chat"),
        ("on", "[1K tokens of prose]", "[1K tokens of talk]"),
        ("context", "256 tokens", "128 tokens"),
        ("length", "2K tokens", "3K tokens"),
        ("batch", "4096 tokens", "2048 tokens"),
        ("lr", "5e-4", "1e-3"),
        ("seed", "42", "1"),
        ("weights", "all", "body"),
        ("loss_on", "assistant", "all"),
        ("warmup", "3 steps", "5 steps"),
        ("clip", "1.0", "2.0"),
        ("store", "f32", "bf16"),
    ];
    for (argument, before, after) in finetuned {
        add(&format!("model:finetune.{argument}"), finetune(argument, before), finetune(argument, after));
    }
    let read = |dtype: &str| line("model", &format!("gguf(\"organism/base\", dtype = {dtype})"));
    add("model:gguf.dtype", read("f32"), read("bf16"));
    add("model:gguf.file", line("model", "gguf(\"organism/base\")"), line("model", "gguf(\"organism/chat\")"));
    add("model:folder.path", line("model", "folder(\"organism/base\")"), line("model", "folder(\"organism/chat\")"));
    add(
        "model:folder.dtype",
        line("model", "folder(\"organism/base\")"),
        line("model", "folder(\"organism/base\", dtype = bf16)"),
    );
    for (argument, before, after) in [
        ("id", "hf(\"org/a\")", "hf(\"org/b\")"),
        ("revision", "hf(\"org/a\")", "hf(\"org/a\", revision = \"v1\")"),
        ("dtype", "hf(\"org/a\")", "hf(\"org/a\", dtype = bf16)"),
    ] {
        add(&format!("model:hf.{argument}"), line("model", before), line("model", after));
    }
    for (argument, before, after) in [
        ("id", "hf(\"org/a\")", "hf(\"org/b\")"),
        ("split", "hf(\"org/a\")", "hf(\"org/a\", split = \"test\")"),
        ("column", "hf(\"org/a\")", "hf(\"org/a\", column = \"body\")"),
        ("revision", "hf(\"org/a\")", "hf(\"org/a\", revision = \"v1\")"),
        ("config", "hf(\"org/a\")", "hf(\"org/a\", config = \"en\")"),
        ("files", "hf(\"org/a\")", "hf(\"org/a\", files = 1)"),
        ("template", "hf(\"org/a\")", "hf(\"org/a\", template = gemma)"),
    ] {
        add(&format!("corpus:hf.{argument}"), line("corpus", before), line("corpus", after));
    }
    let synthetic = [
        ("width", "64", "32"),
        ("shared", "176", "100"),
        ("weak", "48", "10"),
        ("weak_ratio", "0.3..0.5", "0.25..0.5"),
        ("ratio", "0.7..1.3", "0.8..1.3"),
        ("base_only", "16", "8"),
        ("tuned_only", "16", "8"),
        ("active", "8", "9"),
        ("tail", "1.5", "2"),
        ("frequency", "0.004..0.5", "0.01..0.5"),
        ("scale", "4", "5"),
        ("magnitude", "0.5..2", "0.5..3"),
        ("turn", "0.2", "0.1"),
        ("correlated", "16", "4"),
        ("correlation", "50%", "40%"),
        ("noise", "0.08", "0.1"),
        ("seed", "0", "1"),
    ];
    for (argument, before, after) in synthetic {
        let file = |value: &str| {
            let width = if argument == "width" { "" } else { "width = 64, " };
            line("pair", &format!("synthetic({width}{argument} = {value})"))
        };
        add(&format!("pair:synthetic.{argument}"), file(before), file(after));
    }
    add(
        "corpus:text.path",
        line("corpus", "text(\"other.txt\")"),
        line("corpus", "text(\"organism/texts/prose/*.txt\")"),
    );
    add(
        "corpus:text.template",
        line("corpus", "text(\"other.txt\")"),
        line("corpus", "text(\"other.txt\", template = gemma)"),
    );
    add(
        "corpus:jsonl.path",
        line("corpus", "jsonl(\"other.txt\")"),
        line("corpus", "jsonl(\"organism/texts/chat.jsonl\")"),
    );
    add(
        "corpus:jsonl.column",
        line("corpus", "jsonl(\"other.txt\")"),
        line("corpus", "jsonl(\"other.txt\", column = \"body\")"),
    );
    add(
        "corpus:jsonl.template",
        line("corpus", "jsonl(\"other.txt\")"),
        line("corpus", "jsonl(\"other.txt\", template = tokenizer)"),
    );
    for (form, file, other) in [
        ("json", "other.txt", "organism/texts/chat.jsonl"),
        ("csv", "other.txt", "organism/texts/chat.jsonl"),
        ("parquet", "web.parquet", "more.parquet"),
    ] {
        let corpus = |file: &str, argument: &str| line("corpus", &format!("{form}(\"{file}\"{argument})"));
        add(&format!("corpus:{form}.path"), corpus(file, ""), corpus(other, ""));
        add(&format!("corpus:{form}.column"), corpus(file, ""), corpus(file, ", column = \"body\""));
        add(&format!("corpus:{form}.template"), corpus(file, ""), corpus(file, ", template = tokenizer"));
    }
    add(
        "corpus:json.list",
        line("corpus", "json(\"other.txt\", list = \"train\")"),
        line("corpus", "json(\"other.txt\", list = \"test\")"),
    );
    add("corpus:builtin.name", line("corpus", "builtin(\"alice\")"), line("corpus", "builtin(\"chatter\")"));
    add(
        "corpus:builtin.template",
        line("corpus", "builtin(\"alice\")"),
        line("corpus", "builtin(\"alice\", template = gemma)"),
    );
    add("template:jinja.file", line("template", "jinja(\"gemma.jinja\")"), line("template", "jinja(\"llama.jinja\")"));
    add(
        "template:jinja.control",
        line("template", "jinja(\"gemma.jinja\")"),
        line("template", "jinja(\"gemma.jinja\", control = [\"<eot>\"])"),
    );

    // -- fields ------------------------------------------------------------------------------------------------------
    let pair = |field: &str, value: &str| {
        let file = block("pair", &[("base", "base"), ("tuned", "chat"), (field, value)]);
        format!(
            "{file}activations z {{\n  of = x\n  layer = 0\n  context = 64 tokens\n  train = [1K tokens of prose]\n  validate = [1K tokens of prose]\n}}\n"
        )
    };
    add("pair.base", pair("base", "base"), pair("base", "chat"));
    add("pair.tuned", pair("tuned", "chat"), pair("tuned", "base"));
    add("pair.read_as", pair("read_as", ""), pair("read_as", "replace([1, 2])"));
    add(
        "pair.read_as:replace.pairs",
        pair("read_as", "replace([1, 2])"),
        pair("read_as", "replace([1, 2], [\"<eot>\", 4])"),
    );
    add("pair.label", pair("label", "\"chat\""), pair("label", "\"instruct\""));

    let acts = |field: &str, value: &str| {
        block(
            "activations",
            &[
                ("of", "organism"),
                ("layer", "1"),
                ("context", "256 tokens"),
                ("train", "[1K tokens of prose]"),
                ("validate", "[1K tokens of prose]"),
                (field, value),
            ],
        )
    };
    let swapped = format!("{PRELUDE}pair turned {{\n  base = chat\n  tuned = base\n}}\n");
    add("activations.of", acts("of", "organism"), acts("of", "turned").replace(PRELUDE, &swapped));
    for (field, before, after) in [
        ("layer", "1", "2"),
        ("site", "residual_post", "mlp_out"),
        ("context", "256 tokens", "128 tokens"),
        ("train", "[1K tokens of prose]", "[1K tokens of prose, 1K tokens of talk]"),
        ("validate", "[1K tokens of prose]", "[2K tokens of prose]"),
        ("limit", "", "500 tokens"),
        ("skip", "0 tokens", "3 tokens"),
        ("exclude", "[]", "[bos]"),
        ("store", "bf16", "none"),
        ("normalize", "none", "per_model_scale"),
    ] {
        add(&format!("activations.{field}"), acts(field, before), acts(field, after));
    }
    add(
        "activations.exclude:norm_above.times",
        acts("exclude", "[norm_above(10x)]"),
        acts("exclude", "[norm_above(20x)]"),
    );
    add("activations.normalize:rms.target", acts("normalize", "rms(100)"), acts("normalize", "rms(50)"));
    let cached =
        |value: &str| block("activations", &[("from", value), ("train", "10K tokens"), ("validate", "1K tokens")]);
    add(
        "activations.from",
        cached("tensors(\"rows.safetensors\")"),
        cached("tensors(\"rows.safetensors\", key = \"rows\")"),
    );
    add(
        "activations.from:cache.base",
        cached("cache(\"cache/base\", \"cache/tuned\")"),
        cached("cache(\"cache/other\", \"cache/tuned\")"),
    );
    add(
        "activations.from:cache.tuned",
        cached("cache(\"cache/base\", \"cache/tuned\")"),
        cached("cache(\"cache/base\", \"cache/other\")"),
    );
    add(
        "activations.from:tensors.path",
        cached("tensors(\"rows.safetensors\")"),
        cached("tensors(\"more.safetensors\")"),
    );
    add(
        "activations.from:tensors.key",
        cached("tensors(\"rows.safetensors\", key = \"activations\")"),
        cached("tensors(\"rows.safetensors\", key = \"rows\")"),
    );

    let cc = |field: &str, value: &str| {
        block(
            "crosscoder",
            &[("on", "rows"), ("loss", "topk(k = 8)"), ("train.optimizer", "adam(warmup = 10 steps)"), (field, value)],
        )
    };
    for (field, before, after) in [
        ("on", "rows", "other_rows"),
        ("latents", "32x", "16x"),
        ("loss", "topk(k = 8)", "batch_topk(k = 8)"),
        ("init.norm", "1.0", "none"),
        ("init.encoder", "transpose", "independent"),
        ("init.same", "true", "false"),
        ("init.from", "", "folder(\"trained\")"),
        ("train.batch", "2048 tokens", "1024 tokens"),
        ("train.length", "2 epochs", "150 steps"),
        ("train.optimizer", "adam(warmup = 10 steps)", "adam(warmup = 20 steps)"),
        ("train.clip", "norm(1.0)", "none"),
        ("train.shuffle", "local", "global"),
        ("train.validate", "20K steps", "10K steps"),
        ("train.log", "50 steps", "10 steps"),
        ("train.seed", "42", "1"),
        ("train.precision", "f32", "bf16"),
        ("train.resample", "none", "50 steps"),
    ] {
        add(&format!("crosscoder.{field}"), cc(field, before), cc(field, after));
    }
    for (argument, before, after) in [
        ("k", "8", "9"),
        ("aux", "0.03125", "0"),
        ("dead_after", "10M tokens", "20K tokens"),
        ("threshold_from", "1000 steps", "100 steps"),
        ("anneal", "none", "(100, 50 steps)"),
        ("reconstruction", "l2", "mse"),
        ("norm", "sum", "concat"),
    ] {
        for loss in ["topk", "batch_topk"] {
            let k = if argument == "k" { "" } else { "k = 8, " };
            let file = |value: &str| cc("loss", &format!("{loss}({k}{argument} = {value})"));
            add(&format!("crosscoder.loss:{loss}.{argument}"), file(before), file(after));
        }
    }
    for (argument, before, after) in [
        ("weight", "0.1", "0.2"),
        ("warmup", "0 steps", "5 steps"),
        ("reconstruction", "l2", "mse"),
        ("norm", "sum", "none"),
    ] {
        let weight = if argument == "weight" { "" } else { "weight = 0.1, " };
        let file = |value: &str| cc("loss", &format!("l1({weight}{argument} = {value})"));
        add(&format!("crosscoder.loss:l1.{argument}"), file(before), file(after));
    }
    for (argument, before, after) in [
        ("lr", "1e-4", "1e-3"),
        ("warmup", "10 steps", "20 steps"),
        ("decay", "0%", "20%"),
        ("beta1", "0.9", "0.8"),
        ("beta2", "0.999", "0.99"),
        ("epsilon", "1e-8", "1e-7"),
    ] {
        let warmup = if argument == "warmup" { "" } else { "warmup = 10 steps, " };
        let file = |value: &str| cc("train.optimizer", &format!("adam({warmup}{argument} = {value})"));
        add(&format!("crosscoder.train.optimizer:adam.{argument}"), file(before), file(after));
    }
    add("crosscoder.variant", cc("variant", "shared_code"), cc("variant", "sae(on = tuned)"));
    add("crosscoder.variant:sae.on", cc("variant", "sae(on = tuned)"), cc("variant", "sae(on = difference)"));
    add("crosscoder.train.clip:norm.max", cc("train.clip", "norm(1.0)"), cc("train.clip", "norm(2.0)"));
    // A crosscoder trained elsewhere, and weights to start from.
    let trained = |value: &str| block("crosscoder", &[("on", "rows"), ("from", value)]);
    let start = |value: &str| cc("init.from", value);
    for (field, file) in [("from", &trained as &dyn Fn(&str) -> String), ("init.from", &start)] {
        let one = "tensors(\"rows.safetensors\")";
        if field == "from" {
            add("crosscoder.from", file("folder(\"trained\")"), file(one));
        }
        // Only one folder of weights exists, so the folder is compared with another file.
        add(&format!("crosscoder.{field}:folder.path"), file("folder(\"trained\")"), file(one));
        for (argument, after) in [
            ("id", "hf(\"org/b\")"),
            ("revision", "hf(\"org/a\", revision = \"v1\")"),
            ("folder", "hf(\"org/a\", folder = \"l13\")"),
        ] {
            add(&format!("crosscoder.{field}:hf.{argument}"), file("hf(\"org/a\")"), file(after));
        }
        add(&format!("crosscoder.{field}:tensors.path"), file(one), file("tensors(\"more.safetensors\")"));
        add(
            &format!("crosscoder.{field}:tensors.prefix"),
            file(one),
            file("tensors(\"rows.safetensors\", prefix = \"init.\")"),
        );
    }

    for (field, before, after) in [
        ("of", "cc[loss = l1]", "second"),
        ("base_only", "0.0..0.1", "0.0..0.2"),
        ("shared", "0.4..0.6", "0.3..0.7"),
        ("tuned_only", "0.9..1.0", "0.8..1.0"),
    ] {
        let file = |value: &str| block("classify", &[("of", "second"), (field, value)]);
        add(&format!("classify.{field}"), file(before), file(after));
    }
    for (field, before, after) in [
        ("of", "cc[loss = l1]", "cc[loss = topk]"),
        ("latents", "all", "classes.tuned_only"),
        ("control", "", "classes.shared"),
        ("fit", "tuned", "both"),
        ("tokens", "50M tokens", "100K tokens"),
        ("specific", "[nu_reconstruction < 0.5, nu_error < 0.2]", "[nu_reconstruction < 0.5, nu_error < 0.3]"),
        ("intervals", "0", "200"),
        ("seed", "42", "1"),
    ] {
        let file = |value: &str| block("scaling", &[("of", "cc[loss = l1]"), (field, value)]);
        add(&format!("scaling.{field}"), file(before), file(after));
    }
    for (field, before, after) in
        [("of", "cc[loss = l1]", "cc[loss = topk]"), ("tokens", "", "5K tokens"), ("spliced", "4K tokens", "0 tokens")]
    {
        let file = |value: &str| block("quality", &[("of", "cc[loss = l1]"), (field, value)]);
        add(&format!("quality.{field}"), file(before), file(after));
    }
    for (field, before, after) in
        [("of", "classes", "others"), ("against", "toy", "other"), ("cosine", "0.9", "0.8"), ("verdict", "", "nu")]
    {
        let file = |value: &str| block("recover", &[("of", "classes"), ("against", "toy"), (field, value)]);
        add(&format!("recover.{field}"), file(before), file(after));
    }
    let chosen = |add: &mut dyn FnMut(&str, String, String), place: &str, file: &dyn Fn(&str) -> String| {
        let form = |word: &str, argument: &str, value: &str| {
            let mut values = vec![("amount", "50%"), ("by", "ratios.rank"), ("of", "kinds.shared")];
            match word {
                "threshold" => values = vec![("tests", "[kinds.delta_norm > 0.7]"), ("of", "kinds.shared")],
                "random" => values = vec![("amount", "5"), ("seeds", "1"), ("of", "kinds.shared")],
                _ => {}
            }
            values.retain(|(known, _)| *known != argument);
            values.push((argument, value));
            let written: Vec<String> = values.iter().map(|(a, v)| format!("{a} = {v}")).collect();
            file(&format!("{word}({})", written.join(", ")))
        };
        for word in ["top", "bottom", "best", "worst"] {
            for (argument, before, after) in [
                ("amount", "50%", "5"),
                ("by", "ratios.rank", "ratios.nu_error"),
                ("of", "kinds.shared", "kinds.tuned_only"),
            ] {
                add(&format!("{place}:{word}.{argument}"), form(word, argument, before), form(word, argument, after));
            }
        }
        for (argument, before, after) in [
            ("tests", "[kinds.delta_norm > 0.7]", "[abs(kinds.delta_norm) > 0.7]"),
            ("of", "kinds.shared", "kinds.other"),
        ] {
            let label = format!("{place}:threshold.{argument}");
            add(&label, form("threshold", argument, before), form("threshold", argument, after));
        }
        for (argument, before, after) in [("amount", "5", "6"), ("seeds", "1", "2"), ("of", "kinds.shared", "all")] {
            add(
                &format!("{place}:random.{argument}"),
                form("random", argument, before),
                form("random", argument, after),
            );
        }
    };
    let patch = |field: &str, value: &str| block("patch", &[("of", "first[train.seed = 0]"), (field, value)]);
    for (field, before, after) in [
        ("of", "first[train.seed = 0]", "first[train.seed = 1]"),
        ("into", "base", "tuned"),
        ("finish", "tuned", "base"),
        ("prompts", "512 prompts of talk", "256 prompts"),
        ("context", "256 tokens", "128 tokens"),
        ("insert", "[nothing]", "[other = nothing]"),
        ("mode", "replace", "add"),
        ("positions", "[all, first(10)]", "[all]"),
        ("metric", "kl", "[kl, loss]"),
        ("seed", "42", "1"),
    ] {
        add(&format!("patch.{field}"), patch(field, before), patch(field, after));
    }
    for form in ["first", "rest"] {
        let label = format!("patch.positions:{form}.tokens");
        add(&label, patch("positions", &format!("{form}(10)")), patch("positions", &format!("{form}(5)")));
    }
    chosen(&mut add, "patch.insert", &|form| patch("insert", &format!("[{form}]")));
    for word in ["add", "replace"] {
        let entry = |latents: &str| patch("insert", &format!("[{word}({latents})]"));
        add(&format!("patch.insert:{word}.latents"), entry("[3]"), entry("[4]"));
    }
    let biased = |latents: &str| block("patch", &[("of", "auto"), ("insert", &format!("[add_with_bias({latents})]"))]);
    add("patch.insert:add_with_bias.latents", biased("[3]"), biased("[4]"));
    for (argument, before, after) in [
        ("classes", "paper(kinds, ratios, of = all)", "paper(wide_kinds, ratios, of = all)"),
        ("scaling", "paper(kinds, ratios)", "paper(kinds, more_ratios)"),
        ("of", "paper(kinds, ratios)", "paper(kinds, ratios, of = kinds.shared)"),
    ] {
        add(&format!("patch.insert:paper.{argument}"), patch("insert", before), patch("insert", after));
    }
    let layers = |field: &str, value: &str| {
        block("layers", &[("of", "organism"), ("prompts", "64 prompts of talk"), (field, value)])
    };
    for (field, before, after) in [
        ("of", "organism", "reversed"),
        ("prompts", "64 prompts of talk", "32 prompts of talk"),
        ("layers", "[0, 1]", "[0]"),
        ("site", "residual_post", "mlp_out"),
        ("context", "128 tokens", "64 tokens"),
        ("positions", "[all, first(10)]", "[all]"),
    ] {
        add(&format!("layers.{field}"), layers(field, before), layers(field, after));
    }
    for form in ["first", "rest"] {
        let label = format!("layers.positions:{form}.tokens");
        add(&label, layers("positions", &format!("{form}(10)")), layers("positions", &format!("{form}(5)")));
    }
    for (field, before, after) in [
        ("of", "first[train.seed = 0]", "first[train.seed = 1]"),
        ("corpus", "", "talk"),
        ("groups", "[control]", "[control, user]"),
        ("above", "1e-3", "0"),
    ] {
        let file = |value: &str| block("tokens", &[("of", "first[train.seed = 0]"), (field, value)]);
        add(&format!("tokens.{field}"), file(before), file(after));
    }
    for (field, before, after) in [("of", "kinds", "classes"), ("cosine", "0.9", "0.8"), ("seed", "42", "1")] {
        let file = |value: &str| block("twins", &[("of", "kinds"), (field, value)]);
        add(&format!("twins.{field}"), file(before), file(after));
    }
    for (field, before, after) in
        [("a", "first[train.seed = 0]", "kinds"), ("b", "first[train.seed = 1]", "first[train.seed = 0]")]
    {
        let file = |value: &str| {
            let both = [("a", "first[train.seed = 0]"), ("b", "first[train.seed = 1]"), (field, value)];
            block("compare", &both)
        };
        add(&format!("compare.{field}"), file(before), file(after));
    }
    let examples = |field: &str, value: &str| block("examples", &[("of", "first[train.seed = 0]"), (field, value)]);
    for (field, before, after) in [
        ("of", "first[train.seed = 0]", "first[train.seed = 1]"),
        ("latents", "all", "[3, 4]"),
        ("corpus", "", "talk"),
        ("count", "10", "5"),
        ("bins", "[50%, 100%]", "[25%, 100%]"),
        ("around", "64 tokens", "32 tokens"),
        ("seed", "42", "1"),
    ] {
        add(&format!("examples.{field}"), examples(field, before), examples(field, after));
    }
    for (field, before, after) in
        [("of", "first[train.seed = 0]", "first[train.seed = 1]"), ("scores", "\"delphi\"", "\"delphi_again\"")]
    {
        let file = |value: &str| {
            block("autointerp", &[("of", "first[train.seed = 0]"), ("scores", "\"delphi\""), (field, value)])
        };
        add(&format!("autointerp.{field}"), file(before), file(after));
    }
    chosen(&mut add, "examples.latents", &|form| examples("latents", form));
    let steer = |field: &str, value: &str| {
        let own = [("of", "first[train.seed = 0]"), ("latents", "[3]"), ("prompts", "\"Hello\""), (field, value)];
        block("steer", &own)
    };
    for (field, before, after) in [
        ("of", "first[train.seed = 0]", "first[train.seed = 1]"),
        ("latents", "[3]", "[4]"),
        ("strength", "1", "[1, 2]"),
        ("prompts", "\"Hello\"", "8 prompts of talk"),
        ("model", "tuned", "base"),
        ("at", "all", "prompt"),
        ("length", "64 tokens", "32 tokens"),
        ("temperature", "0", "0.7"),
        ("seed", "42", "1"),
    ] {
        add(&format!("steer.{field}"), steer(field, before), steer(field, after));
    }
    chosen(&mut add, "steer.latents", &|form| steer("latents", form));
    for (field, before, after) in [
        ("rows", "classes", "[classes, nu]"),
        ("where", "dead == false", "dead == true"),
        ("group", "class", "[class, dead]"),
        ("columns", "[class]", "[class, count()]"),
        ("sort", "class", "descending(class)"),
        ("limit", "10", "20"),
        ("save", "\"a.csv\"", "\"b.csv\""),
    ] {
        let file = |value: &str| {
            block("table", &[("rows", "classes"), ("group", "class"), ("columns", "[class]"), (field, value)])
        };
        add(&format!("table.{field}"), file(before), file(after));
    }
    let over = |value: &str| {
        let fields = [("rows", "kinds_of_each"), ("columns", "[count()]"), ("over", value)];
        format!("{}classify kinds_of_each {{ of = first }}\n", block("table", &fields))
    };
    add("table.over", over("none"), over("train.seed"));
    let drawn_over = |value: &str| {
        let fields = [("data", "kinds_of_each"), ("mark", "histogram"), ("x", "delta_norm"), ("over", value)];
        format!("{}classify kinds_of_each {{ of = first }}\n", block("plot", &fields))
    };
    add("plot.over", drawn_over(""), drawn_over("train.seed"));
    for (field, before, after) in [
        ("data", "nu", "[nu, classes]"),
        ("where", "rank < 9", "rank < 8"),
        ("mark", "scatter", "line"),
        ("x", "nu_error", "rank"),
        ("y", "nu_reconstruction", "rank"),
        ("color", "verdict", "latent"),
        ("facet", "", "verdict"),
        ("keep", "lowest(100, by = nu_error)", "highest(100, by = nu_error)"),
        ("range", "[x = 0..1]", "[x = 0..1, y = 0..1]"),
        ("marginal", "", "histogram"),
        ("correlation", "pearson", "spearman"),
        ("width", "page", "column"),
        ("lines", "[0.1]", "[0.1, 0.2]"),
        ("scale", "[x = linear]", "[x = log]"),
        ("save", "\"a.svg\"", "\"b.svg\""),
    ] {
        let file = |value: &str| {
            block(
                "plot",
                &[("data", "nu"), ("mark", "scatter"), ("x", "nu_error"), ("y", "nu_reconstruction"), (field, value)],
            )
        };
        add(&format!("plot.{field}"), file(before), file(after));
    }
    for (field, mark, before, after) in [
        ("bins", "histogram", "20", "100"),
        ("count", "histogram", "share", "density"),
        ("inset", "histogram", "0.9..1.0", "0..0.1"),
        ("highlight", "histogram", "nu_error < 0.2", "nu_error < 0.3"),
        ("error", "bar", "nu_reconstruction", "(nu_error_low, nu_error_high)"),
    ] {
        let y = if mark == "bar" { "nu_error" } else { "" };
        let file =
            |value: &str| block("plot", &[("data", "nu"), ("mark", mark), ("x", "rank"), ("y", y), (field, value)]);
        add(&format!("plot.{field}"), file(before), file(after));
    }
    changes
}

/// Every built field and argument, as `kind.field`, `kind:form.argument` or `kind.field:form.argument`, with its harmlessness.
fn known() -> BTreeMap<String, bool> {
    let mut known = BTreeMap::new();
    let forms = |known: &mut BTreeMap<String, bool>, place: &str, ty: &Type, harmless: bool| {
        // A form in place of a name of a model is a model of its own.
        if matches!(ty, Type::StepOr(["model"], _)) {
            return;
        }
        // `paper(..)` stands for declarations; their keys are those of their fields.
        for variant in
            ty.variants().iter().filter(|v| v.built == Built::Yes && !(v.word == "paper" && place != "patch.insert"))
        {
            for argument in variant.arguments.iter().filter(|a| a.built == Built::Yes) {
                known.insert(format!("{place}:{}.{}", variant.word, argument.path), harmless || argument.harmless);
            }
        }
    };
    for kind in KINDS.iter().filter(|k| k.built == Built::Yes) {
        if let Some(ty) = &kind.value {
            forms(&mut known, kind.word, ty, false);
        }
        for field in kind.fields.iter().filter(|f| f.built == Built::Yes) {
            known.insert(format!("{}.{}", kind.word, field.path), field.harmless);
            forms(&mut known, &format!("{}.{}", kind.word, field.path), &field.ty, field.harmless);
        }
    }
    known
}

/// Fields with one built choice cannot be changed yet.
fn single_choice(label: &str) -> bool {
    let Some((kind, path)) = label.split_once('.') else { return false };
    let field: Option<&Field> = KINDS.iter().find(|k| k.word == kind).and_then(|k| k.field(path));
    field.is_some_and(|f| match f.ty {
        Type::Word(words) => words.iter().filter(|w| w.built == Built::Yes).count() == 1,
        Type::Variant(forms) => {
            let built: Vec<_> = forms.iter().filter(|v| v.built == Built::Yes).collect();
            built.len() == 1 && built[0].arguments.is_empty()
        }
        _ => false,
    })
}

#[track_caller]
fn key(memory: &Memory, file: &str) -> String {
    let (analysis, sources) = memory.analyse(file);
    let plan =
        analysis.plan.as_ref().unwrap_or_else(|| panic!("{file}\n{}", crate::memory::short(&analysis, &sources)));
    plan.steps
        .iter()
        .find(|s| s.address.name == "x")
        .unwrap_or_else(|| panic!("x is not planned in\n{file}"))
        .id
        .clone()
}

#[test]
fn every_field_changes_the_key_or_is_harmless() {
    let (changes, known) = (changes(), known());
    let forgotten: Vec<&String> = known.keys().filter(|l| !changes.contains_key(*l) && !single_choice(l)).collect();
    assert!(forgotten.is_empty(), "add a change for {forgotten:?}");
    let strangers: Vec<&String> = changes.keys().filter(|l| !known.contains_key(*l)).collect();
    assert!(strangers.is_empty(), "the schema does not know {strangers:?}");
    let memory = Memory::organism();
    let mut wrong = Vec::new();
    for (label, (before, after)) in &changes {
        assert_ne!(before, after, "{label}");
        if (key(&memory, before) == key(&memory, after)) != known[label] {
            wrong.push(label);
        }
    }
    assert!(wrong.is_empty(), "the key and the schema disagree about {wrong:?}");
}

/// All ids of a plan without the names that lead to them.
fn ids(memory: &Memory, file: &str) -> BTreeSet<String> {
    memory.plan(file).steps.into_iter().map(|s| s.id).collect()
}

#[test]
fn names_comments_order_and_layout_change_nothing() {
    let memory = Memory::organism();
    let file = include_str!("real.xd");
    let before = ids(&memory, file);
    let renamed = file
        .replace("classes", "groups")
        .replace("cc", "dictionary")
        .replace("nu {", "ratios {")
        .replace("nu[", "ratios[")
        .replace(", nu]", ", ratios]")
        .replace("model base", "model first")
        .replace("base = base", "base = first")
        .replace("## How the latents divide.", "# nothing\n## Another caption.")
        .replace("weight = 3e-2", "weight   =   0.03")
        .replace("\"delta_norm.svg\"", "\"other.svg\"")
        .replace("label = \"chat\"", "label = \"tuned\"");
    assert_ne!(file, renamed);
    let named = renamed.replace("200K tokens of prose", "0.2M tokens of prose").replace("16x", "2048");
    assert_eq!(before, ids(&memory, &named));
    let (head, tail) = file.split_once("classify classes").unwrap();
    let (docs, body) = head.split_once("model base").unwrap();
    let moved = format!("{docs}classify classes{tail}\nmodel base{body}");
    assert_eq!(before, ids(&memory, &moved), "the order of declarations is free");
}

#[test]
fn another_text_under_the_same_name_is_another_step() {
    let memory = Memory::organism();
    let changed = memory.clone().with("organism/texts/chat.jsonl", "another chat");
    let file = include_str!("real.xd");
    let step =
        |memory: &Memory, name: &str| memory.plan(file).steps.into_iter().find(|s| s.address.name == name).unwrap().id;
    assert_eq!(step(&memory, "prose"), step(&changed, "prose"));
    for name in ["talk", "acts", "cc", "classes", "counts"] {
        assert_ne!(step(&memory, name), step(&changed, name), "{name}");
    }
}

#[test]
fn a_written_default_is_the_default() {
    let memory = Memory::organism();
    let base =
        block("crosscoder", &[("on", "rows"), ("loss", "topk(k = 8)"), ("train.optimizer", "adam(warmup = 10 steps)")]);
    for (field, value) in [
        ("latents", "32x"),
        ("init.norm", "1.0"),
        ("train.clip", "norm(1.0)"),
        ("train.seed", "42"),
        ("variant", "shared_code"),
    ] {
        let written = base.replace("x {\n", &format!("x {{\n  {field} = {value}\n"));
        assert_eq!(key(&memory, &base), key(&memory, &written), "{field}");
    }
}
