//! `paper(steps..)` is read whole with any axes: with both, one of them, or none.

use xd::lang::plan::Spec;
use xd::lang::plan::spec::{Insert, Latents};

use crate::memory::{Memory, short};

/// Two models and their activations.
const PAIR: &str = r#"xd 1
model base = folder("organism/base")
model chat = folder("organism/chat")
pair organism {
  base  = base
  tuned = chat
}
corpus talk = jsonl("organism/texts/chat.jsonl", column = "messages", template = tokenizer)
activations acts {
  of       = organism
  layer    = 2
  context  = 64 tokens
  train    = [10K tokens of talk]
  validate = [1K tokens of talk]
}
"#;

/// What a half is a half of.
fn half(insert: &Insert) -> Option<&Latents> {
    match insert {
        Insert::Latents(Latents::Ordered { of, .. }) => Some(of),
        _ => None,
    }
}

#[test]
fn the_paper_stands_with_any_axes() {
    let losses = "loss in [l1(weight = 3e-2), batch_topk(k = 8)]";
    let seeds = "train.seed in 0..3";
    for axes in [format!("for {losses}, {seeds}"), format!("for {losses}"), format!("for {seeds}"), String::new()] {
        let loss = if axes.contains("loss in") { "" } else { "  loss = batch_topk(k = 8)\n" };
        let file = format!(
            "{PAIR}crosscoder cc {axes} {{
  on = acts
{loss}  train {{ batch = 64 tokens
    optimizer = adam(warmup = 10 steps) }}
}}
classify classes {{ of = cc }}
scaling nu {{
  of     = cc
  tokens = 10K tokens
}}
quality fit {{ of = cc }}
tokens where_it_fires {{ of = cc }}
twins doubles {{ of = classes }}
patch causal {{
  of     = cc
  insert = paper(classes, nu)
}}
layers depth {{
  of      = organism
  prompts = 8 prompts of talk
}}
table tables = paper(classes, nu, fit, where_it_fires, doubles, causal)
plot figures = paper(cc, classes, nu, where_it_fires, doubles, causal, depth)
"
        );
        let (analysis, sources) = Memory::organism().analyse(&file);
        assert_eq!(short(&analysis, &sources), "", "{axes}");
        let plan = analysis.plan.expect("a plan");
        let count = |kind: &str| plan.steps.iter().filter(|step| step.kind == kind).count();
        assert_eq!((count("table"), count("plot")), (7, 39), "{axes}");
        for step in plan.steps.iter() {
            if let Spec::Patch(patch) = &step.spec {
                let halves: Vec<&Latents> = patch.insert.iter().filter_map(|insert| half(&insert.what)).collect();
                assert_eq!(halves.len(), 4);
                assert!(halves.iter().all(|of| *of == halves[0] && matches!(of, Latents::Threshold { .. })), "{axes}");
            }
        }
    }
}

/// The crosscoders behind a param, of a pair or another, are those whose axes count; `effective` takes the place of the class.
#[test]
fn a_recipe_may_stand_behind_a_param() {
    let file = "xd 1
param recipe = cc
pair toy = synthetic(width = 32)
activations acts {
  of       = toy
  train    = 40M tokens
  validate = 100K tokens
}
crosscoder cc for (loss, init.norm) in [(l1(weight = 3e-2), 0.3), (batch_topk(k = 8), 1.0)], train.seed in 0..2 { on = acts }
classify classes { of = recipe }
scaling nu { of = recipe }
compare matches {
  a = classes[loss = l1]
  b = classes[loss = batch_topk]
}
table tables = paper(classes, nu, matches)
plot figures = paper(classes, nu, effective = 50)
";
    let (analysis, sources) = Memory::organism().analyse(file);
    assert_eq!(short(&analysis, &sources), "");
    let plan = analysis.plan.expect("a plan");
    let table = |name: &str| {
        let step = plan.steps.iter().find(|step| step.address.name == name).expect(name);
        match &step.spec {
            Spec::Table(table) => table.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(table("tables.class_counts").over, ["train.seed"]);
    assert_eq!(table("tables.class_overlap").over, ["train.seed"], "its axes are those of the comparison");
    let kept: Vec<(&str, u64)> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.spec {
            Spec::Plot(plot) => plot.keep.as_ref().map(|keep| (&*step.address.name, keep.count)),
            _ => None,
        })
        .collect();
    assert!(kept.contains(&("figures.latents_vs_threshold", 50)), "{kept:?}");
    assert!(kept.contains(&("figures.low_nu_error_rank_distribution", 100)), "{kept:?}");
}

/// A pair of crosscoders over these axes with the claims of the paper.
fn claimed(axes: &str, loss: &str, insert: &str) -> Vec<String> {
    let file = format!(
        "{PAIR}crosscoder cc {axes} {{
  on = acts
  {loss}
  train.batch = 64 tokens
  train.optimizer = adam(warmup = 10 steps)
}}
classify classes {{ of = cc }}
scaling nu {{
  of     = cc
  tokens = 10K tokens
}}
patch causal {{
  of     = cc
  insert = {insert}
}}
autointerp told {{
  of     = cc
  scores = none
}}
expect claims = paper(classes, nu, causal)
plot figures = paper(classes, told)
"
    );
    let (analysis, sources) = Memory::organism().analyse(&file);
    assert_eq!(short(&analysis, &sources), "", "{axes}");
    let plan = analysis.plan.expect("a plan");
    assert!(plan.steps.iter().all(|step| step.address.name != "figures.detection"), "nobody has scored");
    let claims = plan.steps.iter().filter(|step| step.kind == "expect");
    claims.map(|step| step.address.name.trim_start_matches("claims.").to_string()).collect()
}

/// What a claim is about must be there: both losses, once each, and what is put in.
#[test]
fn claims_are_made_of_what_is_there() {
    let all =
        ["l1_calls_more", "l1_is_mostly_wrong", "batch_topk_errs_less", "latents_close_distance", "halves_by_scaling"];
    let losses = "for loss in [l1(weight = 3e-2), batch_topk(k = 8)]";
    assert_eq!(claimed(losses, "", "paper(classes, nu)"), all);
    assert_eq!(claimed(&format!("{losses}, train.seed in 0..3"), "", "[nothing, everything]"), &all[..4]);
    let zipped = "for (loss, init.norm) in [(l1(weight = 3e-2), 0.3), (batch_topk(k = 8), 1.0)]";
    assert_eq!(claimed(zipped, "", "[error]"), &all[..3]);
    let twice = "for loss in [l1(weight = 3e-2), l1(weight = 1e-2), batch_topk(k = 8)]";
    assert_eq!(claimed(twice, "", "paper(classes, nu)"), &all[3..]);
    assert_eq!(claimed("", "loss = batch_topk(k = 8)", "paper(classes, nu)"), &all[3..]);
}

/// Aggregates are made at each seed on its own unless the file says that seeds are to be pooled.
#[test]
fn tables_take_seeds_apart() {
    let over = |fields: &str| {
        let file = format!(
            "xd 1
pair toy = synthetic(width = 32)
activations acts {{
  of       = toy
  train    = 40M tokens
  validate = 100K tokens
}}
crosscoder cc for train.seed in 0..3 {{
  on   = acts
  loss = batch_topk(k = 8)
}}
classify classes {{ of = cc }}
table counts {{
  rows    = classes
  columns = [latents = count()]
{fields}}}
"
        );
        let (analysis, sources) = Memory::organism().analyse(&file);
        assert_eq!(short(&analysis, &sources), "", "{fields}");
        let plan = analysis.plan.expect("a plan");
        let table = plan.steps.iter().find_map(|step| match &step.spec {
            Spec::Table(table) => Some(table.over.clone()),
            _ => None,
        });
        table.expect("a table")
    };
    assert_eq!(over(""), ["train.seed"]);
    assert_eq!(over("  over    = train.seed\n"), ["train.seed"]);
    assert_eq!(over("  over    = none\n"), [""; 0]);
    assert_eq!(over("  group   = train.seed\n"), [""; 0]);
    assert_eq!(over("  where   = train.seed == 1\n"), [""; 0]);
}
