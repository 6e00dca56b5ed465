//! `paper(steps..)` is read whole with any axes: with both, one of them, or none.

use crate::memory::{Memory, short};

#[test]
fn the_paper_stands_with_any_axes() {
    let losses = "loss in [l1(weight = 3e-2), batch_topk(k = 8)]";
    let seeds = "train.seed in 0..3";
    for axes in [format!("for {losses}, {seeds}"), format!("for {losses}"), format!("for {seeds}"), String::new()] {
        let loss = if axes.contains("loss in") { "" } else { "  loss = batch_topk(k = 8)\n" };
        let file = format!(
            "xd 1
model base = folder(\"organism/base\")
model chat = folder(\"organism/chat\")
pair organism {{
  base  = base
  tuned = chat
}}
corpus talk = jsonl(\"organism/texts/chat.jsonl\", column = \"messages\", template = tokenizer)
activations acts {{
  of       = organism
  layer    = 2
  context  = 64 tokens
  train    = [10K tokens of talk]
  validate = [1K tokens of talk]
}}
crosscoder cc {axes} {{
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
table tables = paper(classes, nu, fit, where_it_fires, doubles, causal)
plot figures = paper(classes, nu, where_it_fires, doubles, causal)
"
        );
        let (analysis, sources) = Memory::organism().analyse(&file);
        assert_eq!(short(&analysis, &sources), "", "{axes}");
        let plan = analysis.plan.expect("a plan");
        let count = |kind: &str| plan.steps.iter().filter(|step| step.kind == kind).count();
        assert_eq!((count("table"), count("plot")), (7, 27), "{axes}");
    }
}
