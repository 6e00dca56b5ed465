use super::{Built, Column, Field, Kind, Type, Unit, Word};

const MEANWHILE: &str = "`scaling` and `classify` say which latents are specific; the causal test is on its way";

pub const KIND: Kind = Kind {
    word: "patch",
    doc: "Puts latents into the base's activations and lets the tuned model go on, to see how much of its behaviour comes back.",
    details: "h_S = h_base + sum over j in S of f_j (d_j^tuned - d_j^base); the metric is KL(tuned || patched) a token.",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("into", Type::Any, "Which model's activations are patched."),
        Field::new("finish", Type::Any, "Which model goes on."),
        Field::new("prompts", Type::Amount { units: &[Unit::Prompts], low: 1.0 }, "How many prompts."),
        Field::new(
            "insert",
            Type::Any,
            "What is put in: nothing, everything, error, template, best, worst, threshold(..), random(..).",
        ),
        Field::new("mode", Type::Word(&[Word::new("replace", ""), Word::new("add", "")]), "Replace or add."),
        Field::new("positions", Type::Any, "Where: all, first(10), rest, template."),
        Field::new(
            "metric",
            Type::Word(&[Word::new("kl", ""), Word::new("loss", ""), Word::new("agreement", "")]),
            "What is measured.",
        ),
    ],
    columns: &[
        Column::words("insert", &[], "What was put in."),
        Column::words("positions", &[], "Where."),
        Column::real("mean", "Mean of the metric."),
        Column::real("ci95", "1.96 sqrt(variance / count)."),
        Column::whole("count", "Tokens."),
    ],
    example: "patch causal { of = cc\n  insert = [nothing, everything] }",
    version: 1,
    built: Built::NotYet(MEANWHILE),
};
