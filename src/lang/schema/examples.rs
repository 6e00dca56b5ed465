use super::{Built, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "examples",
    doc: "The text on which latents fire most.",
    details: "",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("latents", Type::Class { all: true }, "Latents to show."),
        Field::new("corpus", Type::Step(&["corpus"]), "The text."),
        Field::new("count", Type::Whole { low: 1, high: 10_000 }, "Examples a bin.").default("10", "xd"),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::whole("bin", "Quantile bin of the activation."),
        Column::real("activation", "Scaled activation."),
        Column::words("text", &[], "The text around it."),
    ],
    example: "examples top { of = cc\n  latents = classes.tuned_only\n  corpus = talk }",
    version: 1,
    built: Built::NotYet("sort a table of `classify` by `max_activation` or `control_share`"),
};
