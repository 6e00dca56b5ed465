//! Mistakes in a few words: what is written beside a sound file, and what is said of it.

use xd::lang::plan::Spec;
use xd::lang::plan::spec::{CodeNorm, Loss, Reconstruction, Target, Variant};

use crate::memory::{Memory, short};

const SOUND: &str = "xd 1
model base = folder(\"organism/base\")
model chat = folder(\"organism/chat\")
pair organism {
  base  = base
  tuned = chat
}
pair toy = synthetic(width = 64)
corpus prose = text(\"other.txt\")
activations acts {
  of       = organism
  layer    = 2
  context  = 256 tokens
  train    = [200K tokens of prose]
  validate = [2K tokens of prose]
}
activations planted {
  of       = toy
  train    = 1M tokens
  validate = 10K tokens
}
crosscoder cc for loss in [l1(weight = 3e-2), batch_topk(k = 32)], train.seed in 0..2 {
  on    = planted
  train.optimizer = adam(warmup = 50 steps)
}
crosscoder real {
  on   = acts
  loss = topk(k = 8)
  train.optimizer = adam(warmup = 50 steps)
}
classify classes { of = cc }
scaling nu { of = cc }
quality fit { of = cc }
recover truth {
  of      = classes
  against = toy
}
";

/// Code, and the text under the caret, of everything that is said of the sound file and `text`.
fn said(text: &str) -> Vec<(String, String)> {
    let file = format!("{SOUND}{text}\n");
    let (analysis, sources) = Memory::organism().analyse(&file);
    assert_eq!(analysis.plan.is_none(), analysis.has_errors(), "{}", short(&analysis, &sources));
    analysis
        .diagnostics
        .iter()
        .map(|d| (d.code.slug().to_string(), sources.get(d.span.file).text[d.span.start..d.span.end].to_string()))
        .collect()
}

#[track_caller]
fn one(text: &str, code: &str, place: &str) {
    assert_eq!(said(text), [(code.to_string(), place.to_string())], "{text}");
}

#[test]
fn the_sound_file_is_sound() {
    assert_eq!(said(""), []);
}

#[test]
fn columns_and_conditions() {
    one("table t { rows = nu\n  columns = [nu_eror] }", "unknown_column", "nu_eror");
    one("table t { rows = nu\n  columns = [delta_norm] }", "unknown_column", "delta_norm");
    one("table t { rows = nu\n  columns = [classes.delta_norm] }", "unknown_column", "classes.delta_norm");
    one("table t { rows = nu\n  where = verdict < 3 }", "wrong_type", "<");
    one("table t { rows = nu\n  where = verdict == specfic }", "unknown_variant", "specfic");
    one("table t { rows = nu\n  where = loss == l3 }", "unknown_point", "l3");
    one("table t { rows = nu\n  where = nu_error < small }", "wrong_type", "small");
    one("table t { rows = nu\n  where = log(nu_error) < 1 }", "unknown_variant", "log(nu_error)");
    one("table t { rows = nu\n  where = nu_error }", "wrong_type", "nu_error");
    one("table t { rows = nu\n  columns = [mean(verdict)]\n  group = loss }", "wrong_type", "verdict");
    one("table t { rows = nu\n  columns = [rank, mean(nu_error)]\n  group = loss }", "wrong_type", "rank");
    one("table t { rows = nu\n  columns = [loss, sum(nu_error)]\n  group = loss }", "unknown_variant", "sum");
    one("table t { rows = nu\n  columns = [loss, share(nu_error)]\n  group = loss }", "wrong_type", "nu_error");
    one("table t { rows = nu\n  group = loss }", "missing_field", "loss");
    one("table t { rows = nu\n  columns = [rank, rank] }", "defined_twice", "rank");
    one(
        "table t { rows = nu\n  columns = [loss, mean(rank)]\n  group = loss\n  sort = nu_error }",
        "unknown_column",
        "nu_error",
    );
    one("table t { rows = acts }", "wrong_kind", "acts");
    one("table t { rows = organism }", "wrong_kind", "organism");
    one("table t { rows = nu\n  save = \"t.txt\" }", "out_of_range", "\"t.txt\"");
    one("table t { rows = nu\n  save = \"t-{los}.csv\" }", "unknown_name", "los");
    assert_eq!(
        said(
            "table t { rows = [classes, nu]\n  columns = [a = mean(nu_error), loss]\n  group = [loss]\n  sort = descending(a) }"
        ),
        []
    );
    assert_eq!(said("table t { rows = toy\n  where = class == tuned_only }"), []);
    assert_eq!(
        said(
            "table t { rows = cc\n  columns = [loss, cc.loss, train.seed, fve]\n  where = [loss == l1, train.seed == 1] }"
        ),
        []
    );
}

#[test]
fn tables_over_axes() {
    let table = |fields: &str| format!("table t {{ rows = fit\n  {fields} }}");
    one(&table("columns = [mean(fve)]\n  over = model"), "unknown_column", "model");
    one(&table("columns = [mean(fve)]\n  over = train.sed"), "unknown_column", "train.sed");
    one(
        &table("group = train.seed\n  columns = [train.seed, mean(fve)]\n  over = train.seed"),
        "set_twice",
        "train.seed",
    );
    one(&table("columns = [fve]\n  over = train.seed"), "missing_field", "train.seed");
    one(&table("columns = [n = mean(fve)]\n  over = train.seed"), "defined_twice", "[n = mean(fve)]");
    let taken = "[a = mean(fve), a_ci95 = mean(mse)]";
    one(&table(&format!("columns = {taken}\n  over = train.seed")), "defined_twice", taken);
    one(
        &table("group = loss\n  columns = [loss, train.seed, mean(fve)]\n  over = train.seed"),
        "wrong_type",
        "train.seed",
    );
    let sound =
        "group = [loss, model]\n  columns = [loss, model, fve = mean(fve)]\n  over = [train.seed]\n  sort = fve";
    assert_eq!(said(&table(sound)), []);
}

#[test]
fn expectations_over_axes() {
    let over = |left: &str, sign: &str, right: &str| format!("expect e = {left} {sign} {right}");
    let (l1, topk) =
        ("mean(fit[loss = l1].fve, over = train.seed)", "mean(fit[loss = batch_topk].fve, over = train.seed)");
    assert_eq!(said(&over(l1, ">", topk)), []);
    assert_eq!(said(&over(l1, ">=", "0.5")), []);
    assert_eq!(said(&over("0.1", "<", l1)), []);
    assert_eq!(
        said(&over(
            "share(nu[loss = l1].verdict == specific, where = classes.class == tuned_only, over = train.seed)",
            "<",
            "share(nu[loss = batch_topk].verdict == specific, where = classes.class == tuned_only, over = [train.seed])"
        )),
        []
    );
    one(&over(l1, "==", topk), "wrong_type", "==");
    one(&over(l1, ">", "mean(fit[loss = batch_topk].fve)"), "compares_different_points", l1);
    one(&over("fit[loss = batch_topk, model = base].fve", ">", l1), "compares_different_points", l1);
    one(&over("mean(fit[loss = l1].fve, over = loss)", ">", "0.5"), "unknown_column", "loss");
    one(&over("mean(fit[train.seed = 0].fve, over = train.seed)", ">", "0.5"), "unknown_column", "train.seed");
    one(&over("mean(fit.fve, over = fve)", ">", "0.5"), "unknown_column", "fve");
    one(&over("mean(fit.fve, over = 3)", ">", "0.5"), "unknown_column", "3");
}

#[test]
fn plots() {
    one("plot p { data = nu\n  mark = histogram\n  x = verdict }", "wrong_type", "verdict");
    one("plot p { data = nu\n  mark = histogram\n  x = rank\n  y = rank }", "misplaced_field", "rank");
    one("plot p { data = nu\n  mark = scatter\n  x = rank }", "missing_field", "p");
    one("plot p { data = nu\n  mark = pie\n  x = rank }", "unknown_variant", "pie");
    one("plot p { data = nu\n  mark = ecdf\n  x = rank\n  scale = [z = log] }", "unknown_argument", "z");
    one("plot p { data = nu\n  mark = ecdf\n  x = rank\n  scale = [x = ln] }", "unknown_variant", "ln");
    one("plot p { data = nu\n  mark = ecdf\n  x = rank\n  lines = [half] }", "unknown_name", "half");
    one("plot p { data = nu\n  mark = line\n  x = rank\n  y = verdict }", "wrong_type", "verdict");
    one("plot p { data = nu\n  mark = histogram }", "missing_field", "p");
    one("plot p { mark = ecdf\n  x = rank }", "missing_field", "p");
    assert_eq!(
        said("plot p { data = fit\n  mark = line\n  x = train.seed\n  y = fve\n  save = \"p-{loss}.png\" }"),
        [],
        "an axis of numbers"
    );
}

/// `mark` and `x` of a plot, and more fields.
fn plot(mark: &str, x: &str, more: &str) -> String {
    format!("plot p {{ data = [nu, classes]\n  mark = {mark}\n  x = {x}\n  {more} }}")
}

#[test]
fn plots_refuse_fields_that_their_mark_does_not_read() {
    let refused = |mark: &str, more: &str, place: &str| one(&plot(mark, "rank", more), "misplaced_field", place);
    refused("bar", "inset = 0.9..1.0", "0.9..1.0");
    refused("scatter", "y = rank\n  inset = 0.9..1.0", "0.9..1.0");
    refused("ecdf", "bins = 10", "10");
    refused("scatter", "y = rank\n  bins = 10", "10");
    refused("line", "y = nu_error\n  count = share", "share");
    refused("bar", "y = nu_error\n  count = share", "share");
    refused("histogram", "marginal = histogram", "histogram");
    refused("scatter", "y = nu_error\n  highlight = rank < 9", "rank < 9");
    refused("histogram", "error = rank", "rank");
    refused("bar", "error = interval", "interval");
    refused("heatmap", "y = nu_error\n  correlation = pearson", "pearson");
    refused("bar", "lines = [x = 3]", "3");
    refused("bar", "scale = [x = log]", "log");
    refused("bar", "range = [x = 0..1]", "[x = 0..1]");
    refused("line", "y = nu_error\n  lines = [y = mean]", "mean");
    one(&plot("scatter", "class", "y = rank\n  marginal = histogram"), "misplaced_field", "histogram");
    one(&plot("scatter", "rank", "y = class\n  lines = [y = 0.5]"), "misplaced_field", "0.5");
    one("plot p { mark = gradient\n  x = rank }", "misplaced_field", "rank");
    one("plot p { mark = gradient\n  data = nu }", "misplaced_field", "nu");
    one("plot p { mark = gradient\n  lines = [0.1] }", "misplaced_field", "[0.1]");
}

#[test]
fn plots_refuse_values_without_a_meaning() {
    let scatter = |more: &str| plot("scatter", "nu_error", &format!("y = rank\n  {more}"));
    one(&plot("bar", "class", "count = density"), "unknown_variant", "density");
    one(&plot("ecdf", "rank", "count = density"), "unknown_variant", "density");
    one(&scatter("range = [x = 1..1]"), "out_of_range", "1..1");
    one(&scatter("range = [z = 0..1]"), "unknown_argument", "z");
    one(&scatter("range = [0..1]"), "unknown_argument", "0..1");
    one(&scatter("range = 0..1"), "wrong_type", "0..1");
    one(&scatter("range = [x = 0..1, x = 0..2]"), "set_twice", "x");
    one(&scatter("range = [x = 0..1]\n  scale = [x = log]"), "out_of_range", "[x = 0..1]");
    one(&scatter("correlation = kendall"), "unknown_variant", "kendall");
    one(&scatter("keep = top(100, by = rank)"), "unknown_variant", "top");
    one(&scatter("keep = lowest(100)"), "missing_field", "lowest(100)");
    one(&scatter("keep = lowest(100, by = verdict)"), "wrong_type", "verdict");
    one(&scatter("keep = lowest(0, by = rank)"), "out_of_range", "0");
    one(&scatter("keep = lowest(9, by = rank, of = nu)"), "unknown_argument", "of");
    one(&scatter("keep = rank"), "wrong_type", "rank");
    one(&plot("histogram", "rank", "inset = 1..1"), "out_of_range", "1..1");
    one(&plot("histogram", "rank", "inset = 0..9\n  scale = [x = log]"), "out_of_range", "0..9");
    one(&plot("histogram", "rank", "bins = 0"), "out_of_range", "0");
    one(&plot("histogram", "rank", "highlight = rank"), "wrong_type", "rank");
    one(&plot("heatmap", "class", "y = verdict\n  color = verdict"), "wrong_type", "verdict");
    one(&plot("bar", "class", "y = rank\n  error = verdict"), "wrong_type", "verdict");
    one(&plot("bar", "class", "y = rank\n  error = 3"), "wrong_type", "3");
    one(&plot("line", "latent", "y = rank\n  width = half"), "unknown_variant", "half");
}

#[test]
fn quantities_of_plots() {
    one(&plot("histogram", "log(rank)", ""), "unknown_variant", "log");
    one(&plot("histogram", "abs(verdict)", ""), "wrong_type", "verdict");
    one(&plot("histogram", "abs(rank, rank)", ""), "wrong_type", "abs(rank, rank)");
    one(&plot("histogram", "largest(rank)", ""), "wrong_type", "largest(rank)");
    one(&plot("histogram", "largest(rank, rank(rank))", ""), "wrong_type", "rank(rank)");
    one(&plot("histogram", "rank(lowest(rank))", ""), "wrong_type", "lowest(rank)");
    one(&plot("histogram", "abs(of = rank)", ""), "unknown_argument", "of");
    one(&plot("histogram", "[rank]", ""), "wrong_type", "[rank]");
    one(&plot("histogram", "[rank, verdict]", ""), "wrong_type", "verdict");
    one(&plot("histogram", "[rank, rank]", ""), "defined_twice", "rank");
    one(&plot("histogram", "[nu_error, nu_reconstruction]", "color = verdict"), "misplaced_field", "verdict");
    one(&plot("scatter", "[nu_error, rank]", "y = rank"), "wrong_type", "[nu_error, rank]");
    one(&plot("histogram", "abs(nu_eror)", ""), "unknown_column", "nu_eror");
}

#[test]
fn sound_plots() {
    let sound = |text: &str| assert_eq!(said(text), [], "{text}");
    sound("plot p { mark = gradient\n  save = \"p.png\"\n  width = column }");
    sound(&plot(
        "histogram",
        "delta_norm",
        "color = class\n  bins = 100\n  inset = 0.9..1.0\n  highlight = [nu_error < 0.2]",
    ));
    sound(&plot(
        "scatter",
        "nu_error",
        "y = nu_reconstruction\n  marginal = histogram\n  bins = 50\n  range = [x = 0..1.1, y = 0..1.1]",
    ));
    sound(&plot(
        "scatter",
        "rank(descending(delta_norm))",
        "y = rank\n  correlation = spearman\n  lines = [x = mean, y = median]",
    ));
    sound(&plot(
        "ecdf",
        "largest(abs(nu_error), abs(nu_reconstruction))",
        "count = rows\n  scale = [y = log]\n  color = loss",
    ));
    sound(&plot(
        "histogram",
        "[base = beta_error_base, tuned = beta_error_tuned]",
        "count = density\n  range = [x = -100..100]",
    ));
    sound(&plot("heatmap", "class", "y = verdict\n  color = dead"));
    sound(&plot("bar", "class", "y = nu_error\n  color = loss\n  error = interval\n  range = [y = 0..1]"));
    sound(&plot("line", "train.seed", "y = nu_error\n  error = (nu_error_low, nu_error_high)"));
    sound("param mean = 0.3\nplot p { data = nu\n  mark = ecdf\n  x = rank\n  lines = [mean] }");
}

#[test]
fn expectations() {
    one("expect e = fit.fve > truth.recal", "unknown_column", "recal");
    one("expect e = fit > 1", "unknown_column", "fit");
    one("expect e = 2 > 1", "wrong_type", "2 > 1");
    one("expect e = fit.model > 1", "wrong_type", "fit.model");
    one("expect e = fit[loss = l1].fve > fit.fve", "compares_different_points", "fit[loss = l1].fve > fit.fve");
    one("expect e = fit[lss = l1].fve > 0.5", "unknown_point", "lss");
    one("expect e = fit[loss = l2].fve > 0.5", "unknown_point", "l2");
    one("expect e = fit[model = jiont].fve > 0.5", "unknown_variant", "jiont");
    one("expect e = mean(fit.fve, were = fit.model == base) > 0.5", "unknown_argument", "were");
    one("expect e = fit.fve", "wrong_type", "fit.fve");
    one("expect e = organism.class > 1", "wrong_kind", "organism.class");
    one("expect e = mean(fit.fve) > 5 epochs", "wrong_unit", "5 epochs");
    assert_eq!(
        said(
            "expect e = count(classes[loss = l1].class == tuned_only) > count(classes[loss = batch_topk].class == tuned_only)"
        ),
        []
    );
    assert_eq!(
        said("expect e = fit[loss = l1, model = joint].fve < fit[loss = batch_topk, model = joint].fve"),
        [],
        "both leave train.seed open"
    );
    assert_eq!(
        said(
            "expect e = share(nu[loss = l1].verdict == specific, where = [classes.class == tuned_only, nu_error < 1]) < 90%"
        ),
        []
    );
}

#[test]
fn names_and_points() {
    one("classify c { of = rael }", "unknown_name", "rael");
    one("classify c { of = acts }", "wrong_kind", "acts");
    one("classify c { of = cc[loss = l1, sed = 1] }", "unknown_point", "sed");
    one("classify c { of = real[loss = l1] }", "unknown_point", "loss");
    one("param l1 = 0.5\nclassify c { of = cc[loss = l1] }", "unknown_point", "l1");
    one("classify c { of = c }", "step_cycle", "c");
    one("scaling s { of = cc\n  latents = classes }", "wrong_type", "classes");
    one("scaling s { of = cc\n  latents = classes.tuned }", "unknown_variant", "tuned");
    one("scaling s { of = cc\n  latents = nu.rank }", "wrong_kind", "nu.rank");
    one("recover r { of = classes\n  against = organism }", "wrong_kind", "organism");
    one("model again = finetune(from = again, on = [1K tokens of prose], length = 1K tokens)", "step_cycle", "again");
    one(
        "model m for seed in 0..2 = folder(\"organism/base\")\npair q { base = m\n  tuned = m }\nactivations z { of = q\n  layer = 0\n  train = [1K tokens of prose]\n  validate = [1K tokens of prose] }",
        "unknown_field",
        "seed",
    );
}

#[test]
fn texts_of_models() {
    let model = |on: &str| format!("model m = finetune(from = base, on = [{on}], length = 1K tokens)");
    one(&model("2M tokens of prose"), "not_enough_text", "2M tokens of prose");
    one(&model("2K tokens"), "wrong_type", "2K tokens");
    let file = "model m = pretrain(on = [1K tokens of prose], layers = 2, width = 64, heads = 5, length = 1K tokens)";
    one(file, "out_of_range", "5");
}

#[test]
fn axes() {
    one("crosscoder x for loss in [] { on = planted }", "wrong_type", "[]");
    one(
        "crosscoder x for loss in [topk(k = 4), topk(k = 4)] { on = planted\n  train.optimizer = adam(warmup = 5 steps) }",
        "defined_twice",
        "topk(k = 4)",
    );
    one(
        "crosscoder x for loss in [topk(k = 4)] { on = planted\n  loss = topk(k = 2)\n  train.optimizer = adam(warmup = 5 steps) }",
        "set_twice",
        "loss",
    );
    one(
        "crosscoder x for seed in 0..2 { on = planted\n  loss = topk(k = 2)\n  train.optimizer = adam(warmup = 5 steps) }",
        "unknown_field",
        "seed",
    );
    one(
        "crosscoder x for train.seed in 2..2 { on = planted\n  loss = topk(k = 2)\n  train.optimizer = adam(warmup = 5 steps) }",
        "out_of_range",
        "2..2",
    );
    one(
        "crosscoder x for (loss, init.norm) in [topk(k = 2)] { on = planted\n  train.optimizer = adam(warmup = 5 steps) }",
        "wrong_type",
        "topk(k = 2)",
    );
    one(
        "crosscoder x for train.seed in 0..100 { on = planted\n  loss = topk(k = 2)\n  train.optimizer = adam(warmup = 5 steps) }",
        "sweep_too_large",
        "train.seed in 0..100",
    );
}

#[test]
fn values() {
    let cc = |field: &str| {
        format!(
            "crosscoder x {{ on = planted\n  loss = topk(k = 4)\n  train.optimizer = adam(warmup = 5 steps)\n  {field} }}"
        )
    };
    one(&cc("train.batch = 1024"), "missing_unit", "1024");
    one(&cc("train.batch = 10 steps"), "wrong_unit", "10 steps");
    one(&cc("train.batch = 10 toks"), "unknown_unit", "toks");
    one(&cc("train.batch = 1.5 tokens"), "wrong_type", "1.5 tokens");
    one(&cc("train.batch = 2M tokens"), "out_of_range", "2M tokens");
    one(&cc("latents = 50%"), "wrong_unit", "50%");
    one(&cc("train.seed = -1"), "out_of_range", "-1");
    one(&cc("train.seed = \"1\""), "wrong_type", "\"1\"");
    one(&cc("init.same = yes"), "wrong_type", "yes");
    one(&cc("train.shuffle = \"local\""), "wrong_type", "\"local\"");
    one(&cc("train.clip = norm"), "missing_field", "norm");
    one(&cc("train.clip = norm(1, 2)"), "unknown_argument", "2");
    one(&cc("train = local"), "wrong_type", "train");
    one(&cc("batch = 10 tokens"), "misplaced_field", "batch");
    one(&cc("variant = decoupled"), "not_built_yet", "decoupled");
    one(&cc("layer = 3"), "misplaced_field", "layer");
    one(&cc("latents = 3"), "k_too_large", "4");
    one(
        "crosscoder x { on = planted\n  loss = topk(k = 4)\n  k = 3\n  train.optimizer = adam(warmup = 5 steps) }",
        "misplaced_field",
        "k",
    );
    one(
        "crosscoder x { on = planted\n  loss = topk(k = 4, anneal = (5000, 10 steps))\n  train.optimizer = adam(warmup = 5 steps) }",
        "k_too_large",
        "5000",
    );
    one(
        "crosscoder x { on = planted\n  from = folder(\"trained\")\n  loss = topk(k = 3) }",
        "misplaced_field",
        "topk(k = 3)",
    );
    one("crosscoder x { on = planted\n  from = folder(\"nowhere\") }", "file_missing", "\"nowhere\"");
    one("crosscoder x { on = planted }", "missing_field", "x");
    one("crosscoder x { on = planted\n  from = folder(\"no_threshold\") }", "unusable", "\"no_threshold\"");
    one("crosscoder x { on = planted\n  from = folder(\"organism/base\") }", "unusable", "\"organism/base\"");
    let elsewhere = |folder: &str, variant: &str| {
        format!("crosscoder x {{ on = planted\n  from = folder(\"{folder}\")\n  {variant} }}")
    };
    one(&elsewhere("sae", ""), "unusable", "\"sae\"");
    one(&elsewhere("sae_of_tuned", "variant = sae(on = base)"), "unusable", "sae(on = base)");
    one(&elsewhere("trained", "variant = sae(on = base)"), "unusable", "sae(on = base)");
    one(
        "crosscoder x { on = planted\n  latents = 512\n  loss = topk(k = 4)\n  train.optimizer = adam(warmup = 5 steps)\n  init.from = folder(\"sae\") }",
        "unusable",
        "\"sae\"",
    );
    one("crosscoder x { on = planted\n  from = folder(\"old\") }", "assumed", "\"old\"");
    one("crosscoder x { on = planted\n  from = folder(\"kissane\") }", "assumed", "\"kissane\"");
    let scaled =
        "activations scaled { of = toy\n  train = 1M tokens\n  validate = 10K tokens\n  normalize = rms(1.0) }\n";
    one(
        &format!("{scaled}crosscoder x {{ on = scaled\n  from = folder(\"normalizing\") }}"),
        "normalized_twice",
        "\"normalizing\"",
    );
    let wide = "pair broad = synthetic(width = 32)\nactivations other { of = broad\n  train = 1M tokens\n  validate = 10K tokens }\n";
    one(&format!("{wide}crosscoder x {{ on = other\n  from = folder(\"trained\") }}"), "pair_mismatch", "\"trained\"");
    one(
        "crosscoder x { on = planted\n  latents = 256\n  loss = topk(k = 4)\n  train.optimizer = adam(warmup = 5 steps)\n  init.from = folder(\"trained\") }",
        "out_of_range",
        "256",
    );
    one("classify c { of = cc\n  shared = 0.6..0.4 }", "out_of_range", "0.6..0.4");
    one("classify c { of = cc\n  shared = 0.05..0.6 }", "overlapping_classes", "0.05..0.6");
    one("scaling s { of = cc\n  specific = [nu_error < 0.5] }", "wrong_type", "[nu_error < 0.5]");
    one(
        "pair p = synthetic(width = 8, weak_ratio = 0.1..0.5)\nactivations a { of = p\n  train = 1K tokens\n  validate = 1K tokens }",
        "out_of_range",
        "0.1..0.5",
    );
}

#[test]
fn activations() {
    let acts = |fields: &str| format!("activations a {{ {fields} }}");
    one(
        &acts("of = organism\n  train = [1K tokens of prose]\n  validate = [1K tokens of prose]"),
        "missing_field",
        "a",
    );
    one(
        &acts("of = organism\n  layer = 4\n  train = [1K tokens of prose]\n  validate = [1K tokens of prose]"),
        "layer_out_of_range",
        "4",
    );
    one(
        &acts("of = organism\n  layer = 1\n  train = 1K tokens\n  validate = [1K tokens of prose]"),
        "wrong_type",
        "1K tokens",
    );
    one(
        &acts("of = organism\n  layer = 1\n  train = [2M tokens of prose]\n  validate = [1K tokens of prose]"),
        "not_enough_text",
        "2M tokens of prose",
    );
    one(
        &acts(
            "of = organism\n  layer = 1\n  context = 1024 tokens\n  train = [1K tokens of prose]\n  validate = [1K tokens of prose]",
        ),
        "out_of_range",
        "1024 tokens",
    );
    one(&acts("of = toy\n  layer = 1\n  train = 1K tokens\n  validate = 1K tokens"), "misplaced_field", "1");
    one(&acts("of = toy\n  train = [1K tokens of prose]\n  validate = 1K tokens"), "wrong_type", "1K tokens of prose");
    one(
        &acts("of = toy\n  from = tensors(\"rows.safetensors\")\n  train = 1K tokens\n  validate = 1K tokens"),
        "misplaced_field",
        "tensors(\"rows.safetensors\")",
    );
    one(&acts("train = 1K tokens\n  validate = 1K tokens"), "missing_field", "a");
    one(
        &acts("from = tensors(\"rows.safetensors\", key = \"nothing\")\n  train = 1K tokens\n  validate = 1K tokens"),
        "file_missing",
        "\"rows.safetensors\"",
    );
    one(
        &acts("from = cache(\"cache/base\", \"cache/nothing\")\n  train = 1K tokens\n  validate = 1K tokens"),
        "file_missing",
        "\"cache/base\"",
    );
    one(
        &acts("from = cache(\"cache/base\", \"cache/base\")\n  train = 1K tokens\n  validate = 1K tokens"),
        "unusable",
        "\"cache/base\"",
    );
    one(
        &acts("from = cache(\"cache/base\", \"cache/tuned\")\n  train = 49500 tokens\n  validate = 1K tokens"),
        "out_of_range",
        "49500 tokens",
    );
    let leak = "corpus same = text(\"other.txt\")\nactivations a { of = organism\n  layer = 1\n  train = [1K tokens of prose]\n  validate = [1K tokens of same] }";
    one(leak, "leak", "same");
}

#[test]
fn every_mistake_in_one_run() {
    let text = "table t { rows = nu\n  columns = [nu_eror, verdct]\n  where = loss == l9\n  limit = 0 }\nclassify c { of = rael }\nquality q { of = cc\n  tokens = 50 }";
    let codes: Vec<String> = said(text).into_iter().map(|(code, place)| format!("{code} {place}")).collect();
    assert_eq!(
        codes,
        [
            "unknown_column nu_eror",
            "unknown_column verdct",
            "unknown_point l9",
            "out_of_range 0",
            "unknown_name rael",
            "missing_unit 50"
        ]
    );
}

#[test]
fn params_from_the_command_line() {
    let file = format!(
        "{SOUND}param k = 4\nparam much = 2K tokens\nparam limit = none\ncrosscoder x {{ on = planted\n  train.clip = limit\n  loss = topk(k = k)\n  train.batch = much\n  train.optimizer = adam(warmup = 5 steps) }}\n"
    );
    let said = |set: &str| {
        let (analysis, sources) = Memory::organism().analyse_with(&file, &[set], false);
        let found: Vec<String> = analysis
            .diagnostics
            .iter()
            .map(|d| {
                format!(
                    "{} {} {}",
                    sources.get(d.span.file).path,
                    d.code.slug(),
                    &sources.get(d.span.file).text[d.span.start..d.span.end]
                )
            })
            .collect();
        found.join("; ")
    };
    assert_eq!(said("k=5"), "");
    assert_eq!(said("limit=norm(1.0)"), "", "what is none by default may be anything");
    assert_eq!(said("limit=5"), "test.xd wrong_type limit", "where it is used");
    assert_eq!(said("much = 4K tokens"), "");
    assert_eq!(said("kk=5"), "--set unknown_name kk");
    assert_eq!(said("cc=5"), "--set wrong_kind cc");
    assert_eq!(said("k=big"), "--set wrong_type big");
    assert_eq!(said("k=5 tokens"), "--set wrong_unit 5 tokens");
    assert_eq!(said("much=500"), "--set missing_unit 500");
    assert_eq!(said("k"), "--set unreadable k");
    assert_eq!(said("k=0"), "test.xd out_of_range k", "the place where it is used, with the param beside it");
}

/// A param may stand for an import, and is set to another one.
#[test]
fn an_import_behind_a_param_is_chosen_from_the_command_line() {
    let pair = |width: u64| format!("xd 1\nparam latents = 8x\npair toy = synthetic(width = {width})\n");
    let memory = Memory::organism().with("one.xd", &pair(32)).with("two.xd", &pair(16));
    let file = "xd 1
use \"one.xd\" as one
use \"two.xd\" as two
param recipe = one
param chosen = recipe
activations acts {
  of       = chosen.toy
  train    = 40M tokens
  validate = 100K tokens
}
crosscoder cc {
  on      = acts
  latents = recipe.latents
  loss    = batch_topk(k = 8)
}
";
    let ids = |file: &str, sets: &[&str]| -> Vec<(String, String)> {
        let steps = memory.plan_with(file, sets).steps;
        steps.into_iter().map(|step| (step.address.to_string(), step.id)).collect()
    };
    let written_out = |name: &str| {
        file.replace("param recipe = one\nparam chosen = recipe\n", "")
            .replace("recipe.", &format!("{name}."))
            .replace("chosen.", &format!("{name}."))
    };
    assert_eq!(ids(file, &[]), ids(&written_out("one"), &[]));
    assert_eq!(ids(file, &["recipe=two"]), ids(&written_out("two"), &[]));
    let (analysis, sources) = memory.analyse_with(file, &["recipe=tow"], false);
    let said = short(&analysis, &sources);
    assert!(said.contains("unknown_name: `recipe` stands for an import, and none is called `tow`"), "{said}");
    assert!(said.contains("help: did you mean `two`?"), "{said}");
}

#[test]
fn lints_only_when_asked() {
    let file = format!(
        "{SOUND}classify loud {{ of = real }}\nscaling some {{ of = cc\n  latents = classes.tuned_only }}\nexpect e = mean(some.nu_error) < 1\ncrosscoder old {{ on = acts\n  loss = l1(weight = 1)\n  train.optimizer = adam(warmup = 5 steps) }}\nclassify groups {{ of = old }}\nexpect f = min(groups.delta_norm) < 0.5\n"
    );
    let codes = |pedantic: bool| {
        let (analysis, _) = Memory::organism().analyse_with(&file, &[], pedantic);
        assert!(analysis.plan.is_some());
        analysis.diagnostics.iter().map(|d| d.code.slug()).collect::<Vec<_>>()
    };
    assert_eq!(codes(false), Vec::<&str>::new());
    let mut found = codes(true);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, ["base_only_corpus", "l1_for_classes", "no_control", "single_seed", "test_on_train"]);
}

/// Whatever is left out of a file: an answer, and a plan exactly when there are no errors.
#[test]
fn mutilated_files_are_answered() {
    let memory = Memory::organism();
    for text in [include_str!("real.xd"), include_str!("planted.xd")] {
        let words: Vec<(usize, &str)> = text
            .split_inclusive(|c: char| !c.is_alphanumeric())
            .scan(0, |at, w| {
                let start = *at;
                *at += w.len();
                Some((start, w))
            })
            .collect();
        for (index, (start, word)) in words.iter().enumerate() {
            if index % 6 != 0 {
                continue;
            }
            let cut = format!("{}{}", &text[..*start], &text[start + word.len()..]);
            let (analysis, sources) = memory.analyse(&cut);
            assert_eq!(analysis.plan.is_none(), analysis.has_errors(), "{cut}\n{}", short(&analysis, &sources));
        }
    }
}

/// An autoencoder as it is written, as its files say, and its defaults in what `show` prints.
#[test]
fn autoencoders_have_losses_of_their_own_and_are_told_from_crosscoders() {
    let memory = Memory::organism();
    let prelude = "xd 1\npair toy = synthetic(width = 64)\nactivations planted { of = toy\n  train = 1M tokens\n  validate = 10K tokens }\n";
    let trained = |rest: &str| {
        format!(
            "{prelude}crosscoder x {{ on = planted\n  loss = batch_topk(k = 4{rest})\n  variant = sae(on = difference)\n  train.optimizer = adam(warmup = 5 steps) }}\n"
        )
    };
    let spec = |file: &str| {
        let plan = memory.plan(file);
        let step = plan.steps.into_iter().find(|s| s.address.name == "x").unwrap();
        let Spec::Crosscoder(spec) = step.spec else { panic!() };
        spec
    };
    let of = spec(&trained(""));
    assert_eq!(of.variant, Variant::Sae(Target::Difference));
    let Loss::BatchTopK(top) = of.loss else { panic!() };
    assert_eq!((top.reconstruction, top.norm), (Reconstruction::Mse, CodeNorm::None));
    let Loss::BatchTopK(top) = spec(&trained(", reconstruction = l2")).loss else { panic!() };
    assert_eq!((top.reconstruction, top.norm), (Reconstruction::L2, CodeNorm::None));
    assert_eq!(spec(&trained(", norm = none")), spec(&trained("")));
    // What its latents are added to, and what of a crosscoder is never added.
    let patched = |of: &str, into: &str, insert: &str| {
        format!(
            "crosscoder x {{ on = acts\n  loss = topk(k = 4)\n  variant = {of}\n  train.optimizer = adam(warmup = 5 steps) }}\ncorpus talk = jsonl(\"organism/texts/chat.jsonl\", column = \"messages\", template = tokenizer)\npatch p {{ of = x\n  into = {into}\n  prompts = 4 prompts of talk\n  insert = [{insert}] }}\n"
        )
    };
    one(&patched("shared_code", "base", "add_with_bias([1])"), "wrong_kind", "add_with_bias([1])");
    one(&patched("sae(on = tuned)", "tuned", "add_with_bias([1])"), "not_for_sae", "add_with_bias([1])");
    one(&patched("sae(on = difference)", "tuned", "add([1])"), "not_for_sae", "add([1])");
    one(&patched("sae(on = base)", "base", "add([1])"), "not_for_sae", "add([1])");
    for (folder, variant, expected) in [
        ("sae", "variant = sae(on = base)", Variant::Sae(Target::Base)),
        ("sae_of_tuned", "", Variant::Sae(Target::Tuned)),
        ("sae_of_tuned", "variant = sae(on = tuned)", Variant::Sae(Target::Tuned)),
        ("trained", "", Variant::SharedCode),
    ] {
        let file = format!("{prelude}crosscoder x {{ on = planted\n  from = folder(\"{folder}\")\n  {variant} }}\n");
        assert_eq!(spec(&file).variant, expected, "{folder} {variant}");
    }
}
