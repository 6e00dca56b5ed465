//! Files without mistakes: what is planned.

use xd::lang::plan::spec::{Loss, Operand, Spec, TableColumn};
use xd::lang::plan::{Cost, Origin, Plan};

use crate::memory::Memory;

const REAL: &str = include_str!("real.xd");
const PLANTED: &str = include_str!("planted.xd");

fn addresses(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| s.address.to_string()).collect()
}

fn inputs(plan: &Plan, address: &str) -> Vec<String> {
    let step = plan.steps.iter().find(|s| s.address.to_string() == address).expect(address);
    step.inputs.iter().map(|i| format!("{}: {}", i.role, plan.steps[i.step.0].address)).collect()
}

#[test]
fn the_real_pair_is_planned() {
    let plan = Memory::organism().plan(REAL);
    assert_eq!(plan.docs.as_deref(), Some("A real base model and its chat-tuned version, diffed by two crosscoders."));
    assert_eq!(
        addresses(&plan),
        [
            "base",
            "chat",
            "organism",
            "prose",
            "talk",
            "acts",
            "cc[loss = l1]",
            "cc[loss = batch_topk]",
            "classes[loss = l1]",
            "classes[loss = batch_topk]",
            "nu[loss = l1]",
            "nu[loss = batch_topk]",
            "fit[loss = batch_topk]",
            "counts",
            "strongest",
            "delta",
            "good_fit",
            "honest"
        ],
        "the l1 point of `fit` is needed by nothing"
    );
    assert_eq!(
        inputs(&plan, "acts"),
        ["of: organism", "train: prose", "train: talk", "validate: prose", "validate: talk"]
    );
    assert_eq!(inputs(&plan, "nu[loss = l1]"), ["of: cc[loss = l1]"]);
    assert_eq!(
        inputs(&plan, "honest"),
        [
            "left: nu[loss = batch_topk]",
            "left: classes[loss = batch_topk]",
            "right: nu[loss = l1]",
            "right: classes[loss = l1]"
        ]
    );
}

#[test]
fn values_in_force_are_numbers() {
    let plan = Memory::organism().plan(REAL);
    let Spec::Crosscoder(l1) = &plan.steps[6].spec else { panic!("a crosscoder") };
    let Spec::Crosscoder(top) = &plan.steps[7].spec else { panic!("a crosscoder") };
    assert_eq!(l1.latents, 16 * 128);
    assert_eq!(l1.train.steps, 2 * 400_000 / 1024);
    assert_eq!(l1.train.optimizer.decay, (0.2 * l1.train.steps as f64).round() as u64);
    assert_eq!((l1.init.norm, top.init.norm), (Some(0.005), Some(1.0)), "paper 2.2: the norm depends on the loss");
    assert_eq!((l1.train.clip, top.train.clip), (None, Some(1.0)));
    assert!(matches!(&top.loss, Loss::BatchTopK(t) if t.k == 32 && t.dead_after == 10_000_000 && t.aux == 0.03125));
    let Spec::Table(counts) = &plan.steps[13].spec else { panic!("a table") };
    assert_eq!(counts.rows, ["classes"]);
    assert_eq!(counts.save, "counts.csv");
    assert!(matches!(&counts.columns[3], TableColumn::Aggregate { name, .. } if name == "mean(frequency)"));
}

#[test]
fn every_step_stands_after_its_inputs() {
    for text in [REAL, PLANTED] {
        let plan = Memory::organism().plan(text);
        for (index, step) in plan.steps.iter().enumerate() {
            assert!(step.inputs.iter().all(|i| i.step.0 < index), "{}", step.address);
            assert_eq!(step.id.len(), 64);
        }
    }
}

#[test]
fn axes_are_inherited_and_aligned() {
    let plan = Memory::organism().plan(PLANTED);
    let point = |name: &str| format!("{name}[loss = l1, train.seed = 2]");
    assert_eq!(inputs(&plan, &point("truth")), [format!("of: {}", point("classes")), "against: toy".to_string()]);
    let scaling = inputs(&plan, &point("nu"));
    assert_eq!(
        scaling,
        [
            format!("of: {}", point("cc")),
            format!("latents: {}", point("classes")),
            format!("control: {}", point("classes"))
        ]
    );
    let plots: Vec<_> = plan.steps.iter().filter(|s| s.kind == "plot").collect();
    assert_eq!(plots.len(), 3, "an inserted axis makes one file a point");
    assert!(matches!(&plots[1].spec, Spec::Plot(p) if p.save == "ratios-1.svg"));
    assert_eq!(plots[1].inputs.len(), 4, "classes and nu, at two losses of one seed");
}

#[test]
fn expectations_say_what_stays_open() {
    let plan = Memory::organism().plan(PLANTED);
    let found = plan.steps.iter().find(|s| s.address.name == "found_all").unwrap();
    let Spec::Expect(spec) = &found.spec else { panic!("an expectation") };
    let Operand::Column { steps, point, filter, over, .. } = &spec.left else { panic!("a column") };
    assert_eq!(steps, &["truth"]);
    assert_eq!(point, &[("loss".to_string(), "batch_topk".to_string())]);
    assert_eq!(filter.len(), 1, "`class` is a column, not an axis");
    assert_eq!(over, &["train.seed"]);
    assert_eq!(found.inputs.len(), 3);
}

#[test]
fn params_are_set_from_outside() {
    let memory = Memory::organism();
    let k = |plan: &Plan| {
        plan.steps.iter().find_map(|s| match &s.spec {
            Spec::Crosscoder(c) => match &c.loss {
                Loss::BatchTopK(top) => Some(top.k),
                _ => None,
            },
            _ => None,
        })
    };
    let (as_written, set) = (memory.plan(PLANTED), memory.plan_with(PLANTED, &["k=12"]));
    assert_eq!((k(&as_written), k(&set)), (Some(9), Some(12)));
    assert!(set.params[0].set && set.params[0].value == "12" && set.params[0].default == "9");
    let changed: Vec<&str> = as_written
        .steps
        .iter()
        .zip(&set.steps)
        .filter(|(a, b)| a.id != b.id)
        .map(|(a, _)| a.address.name.as_str())
        .collect();
    assert!(changed.contains(&"cc") && !changed.contains(&"acts"), "only what depends on k is made anew: {changed:?}");
}

#[test]
fn imported_names_can_be_read() {
    let library = "xd 1\nmodel base = folder(\"organism/base\")\nmodel chat = folder(\"organism/chat\")\npair organism {\n  base = base\n  tuned = chat\n}\ncorpus unused_there = text(\"other.txt\")\n";
    let file = "xd 1\nuse \"lib.xd\" as lib\ncorpus prose = text(\"organism/texts/prose/*.txt\")\nactivations acts {\n  of = lib.organism\n  layer = 1\n  context = 128 tokens\n  train = [100K tokens of prose]\n  validate = [1K tokens of prose]\n}\n";
    let plan = Memory::organism().with("lib.xd", library).plan(file);
    assert_eq!(addresses(&plan), ["prose", "lib.base", "lib.chat", "lib.organism", "acts"]);
}

#[test]
fn a_model_may_be_written_in_place() {
    let file = "xd 1\npair p {\n  base = folder(\"organism/base\")\n  tuned = folder(\"organism/chat\")\n}\ncorpus prose = text(\"other.txt\")\nactivations acts {\n  of = p\n  layer = 1\n  context = 128 tokens\n  train = [100K tokens of prose]\n  validate = [1K tokens of prose]\n}\n";
    assert_eq!(addresses(&Memory::organism().plan(file)), ["p.base", "p.tuned", "p", "prose", "acts"]);
}

/// It was checked and then, without a word, not planned.
#[test]
fn a_model_may_come_from_a_param() {
    let file = "xd 1\nparam base = folder(\"organism/base\")\nparam chat = folder(\"nowhere\")\nparam words = text(\"other.txt\")\npair p {\n  base = base\n  tuned = chat\n}\ncorpus prose = words\nactivations acts {\n  of = p\n  layer = 1\n  context = 128 tokens\n  train = [100K tokens of prose]\n  validate = [1K tokens of prose]\n}\n";
    let plan = Memory::organism().plan_with(file, &["chat=folder(\"organism/chat\")"]);
    assert_eq!(addresses(&plan), ["p.base", "p.tuned", "p", "prose", "acts"]);
}

#[test]
fn zipped_axes_have_only_their_tuples() {
    let file = "xd 1\npair toy = synthetic(width = 16)\nactivations acts {\n  of = toy\n  train = 1M tokens\n  validate = 10K tokens\n}\ncrosscoder cc for (loss, init.norm) in [(l1(weight = 0.1), 0.3), (topk(k = 4), 1.0)] {\n  on = acts\n  train.optimizer = adam(warmup = 10 steps)\n}\nexpect one = cc[loss = topk].l0 > 3\n";
    let plan = Memory::organism().plan(file);
    assert_eq!(addresses(&plan), ["toy", "acts", "cc[loss = topk, init.norm = 1.0]", "one"]);
    let plan = Memory::organism().plan(&file.replace("cc[loss = topk].l0", "cc.l0"));
    assert_eq!(plan.steps[2].address.to_string(), "cc[loss = l1, init.norm = 0.3]");
}

#[test]
fn two_calls_of_one_name_are_told_apart() {
    let file = "xd 1\npair toy for seed in 0..2 = synthetic(width = 16)\nactivations acts {\n  of = toy\n  train = 1M tokens\n  validate = 10K tokens\n}\ncrosscoder cc for loss in [topk(k = 4), topk(k = 8), small = topk(k = 2)] {\n  on = acts\n  train.optimizer = adam(warmup = 10 steps)\n}\nexpect one = cc[loss = topk(k=8), seed = 1].l0 > 3\n";
    let plan = Memory::organism().plan(file);
    assert_eq!(addresses(&plan), ["toy[seed = 1]", "acts[seed = 1]", "cc[seed = 1, loss = topk(k = 8)]", "one"]);
    let plan = Memory::organism().plan(&file.replace("loss = topk(k=8)", "loss = small"));
    assert_eq!(plan.steps[2].address.to_string(), "cc[seed = 1, loss = small]");
}

/// Before a model of the hub is pinned its sizes are not known, and no number is shown in their place.
#[test]
fn costs_of_models_that_are_not_pinned_are_unknown() {
    let file = "xd 1\npair p {\n  base = hf(\"lab/base\")\n  tuned = hf(\"lab/chat\")\n}\ncorpus prose = text(\"other.txt\")\nactivations acts {\n  of = p\n  layer = 1\n  context = 128 tokens\n  train = [100K tokens of prose]\n  validate = [1K tokens of prose]\n}\ncrosscoder cc {\n  on = acts\n  latents = 8x\n  loss = topk(k = 4)\n  train.optimizer = adam(warmup = 1 steps)\n}\n";
    let plan = Memory::organism().plan(file);
    for step in plan.steps.iter().filter(|step| ["acts", "cc"].contains(&step.address.name.as_str())) {
        let cost = step.cost;
        assert!(cost.unknown && cost.tokens > 0, "{cost:?}");
        assert_eq!((cost.flops, cost.disk_bytes, cost.memory_bytes), (0.0, 0, 0));
    }
    assert!(Memory::organism().plan(REAL).steps.iter().all(|step| !step.cost.unknown));
}

#[test]
fn costs_are_counted() {
    let plan = Memory::organism().plan(REAL);
    let cost = |name: &str| plan.steps.iter().find(|s| s.address.name == name).unwrap().cost;
    let acts = cost("acts");
    assert_eq!(acts.tokens, 440_000);
    assert_eq!(acts.disk_bytes, 440_000 * 2 * 128 * 2);
    let cc = cost("cc");
    assert_eq!(cc.tokens, 781 * 1024);
    assert_eq!(cc.disk_bytes, 4 * (4 * 128 * 2048 + 2048 + 2 * 128));
    assert!(cc.flops > acts.flops && cost("counts").flops == 0.0);
}

/// Each part of a training's cost grows with what it stands for, and with nothing else.
#[test]
fn costs_of_training_follow_steps_latents_and_k() {
    let cost = |steps: u64, latents: u64, k: u64| {
        let file = format!(
            "xd 1\npair toy = synthetic(width = 16)\nactivations acts {{\n  of = toy\n  train = 1M tokens\n  validate = 10K tokens\n}}\n\
             crosscoder cc {{\n  on = acts\n  latents = {latents}\n  loss = topk(k = {k})\n  train {{\n    batch = 100 tokens\n    \
             length = {steps} steps\n    optimizer = adam(warmup = 1 steps)\n  }}\n}}\nexpect a = cc.fve > 0\n",
        );
        let plan = Memory::organism().plan(&file);
        plan.steps.iter().find(|step| step.address.name == "cc").unwrap().cost
    };
    let (one, two, three) = (cost(1000, 64, 8), cost(2000, 64, 8), cost(3000, 64, 8));
    assert!(two.flops > one.flops && (three.flops - two.flops - (two.flops - one.flops)).abs() < 1e-6 * three.flops);
    assert!(two.bytes > one.bytes && (three.bytes - two.bytes - (two.bytes - one.bytes)).abs() < 1e-6 * three.bytes);
    let entries = |cost: Cost| cost.bytes - one.bytes;
    assert_eq!(cost(1000, 64, 16).flops, one.flops);
    assert!(entries(cost(1000, 64, 16)) > 0.0);
    assert!((entries(cost(1000, 64, 24)) / entries(cost(1000, 64, 16)) - 2.0).abs() < 1e-9);
    assert!(cost(1000, 128, 8).flops > one.flops && cost(1000, 128, 8).bytes > one.bytes);
}

/// A default that follows from what a table reads stands among its values, with where it comes from.
#[test]
fn a_table_that_takes_means_over_seeds_says_so() {
    let seeds = REAL.replace("batch_topk(k = 32)] {", "batch_topk(k = 32)], train.seed in 0..3 {");
    let over = |text: &str| {
        let plan = Memory::organism().plan(text);
        let counts = plan.steps.iter().find(|step| step.address.name == "counts").expect("the table");
        counts
            .resolved
            .iter()
            .find(|f| f.path == "over")
            .map(|f| (f.value.clone(), matches!(f.origin, Origin::Default(_))))
    };
    assert_eq!(over(REAL), None);
    assert_eq!(over(&seeds), Some(("train.seed".to_string(), true)));
    let pooled = seeds.replace("group = [loss, class]", "group = [loss, class]\n  over = none");
    assert_eq!(over(&pooled), Some(("none".to_string(), false)));
}

/// One seed against each of the others, losses apart; the seed against itself is left out, and can be asked for.
#[test]
fn a_comparison_has_a_point_for_each_value_that_one_side_leaves_open() {
    let seeds = REAL.replace("batch_topk(k = 32)] {", "batch_topk(k = 32)], train.seed in 0..3 {");
    let compared = |a: &str, b: &str| {
        let plan = Memory::organism()
            .plan(&format!("{seeds}\ncompare one {{ a = {a}\n  b = {b} }}\ntable t {{ rows = one }}"));
        let steps = plan.steps.iter().filter(|step| step.kind == "compare");
        steps.map(|step| inputs(&plan, &step.address.to_string()).join(", ")).collect::<Vec<_>>()
    };
    let both = |loss: &str, a: u32, b: u32| {
        format!("a: cc[loss = {loss}, train.seed = {a}], b: cc[loss = {loss}, train.seed = {b}]")
    };
    let others = [both("l1", 0, 1), both("l1", 0, 2), both("batch_topk", 0, 1), both("batch_topk", 0, 2)];
    assert_eq!(compared("cc[train.seed = 0]", "cc"), others);
    assert_eq!(compared("cc[loss = l1, train.seed = 0]", "cc[loss = l1, train.seed = 0]"), [both("l1", 0, 0)]);
    let across = compared("cc[loss = l1]", "cc[loss = batch_topk]");
    assert_eq!(across.len(), 3, "{across:?}");
    assert!(across[1].ends_with("l1, train.seed = 1], b: cc[loss = batch_topk, train.seed = 1]"), "{across:?}");
}
