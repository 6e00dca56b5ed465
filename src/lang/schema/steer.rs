use super::{Built, Column, Field, Kind, Type, Unit};

pub const KIND: Kind = Kind {
    word: "steer",
    doc: "Lets a model speak with a latent added.",
    details: "v = d_j / ||d_j|| * max activation * strength, added at every position.",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("latents", Type::Class { all: true }, "Latents to add."),
        Field::new("strength", Type::Any, "Multiples of the largest activation."),
        Field::new("prompts", Type::Amount { units: &[Unit::Prompts], low: 1.0 }, "How many prompts."),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::real("strength", "Multiple of its largest activation."),
        Column::words("prompt", &[], "The prompt."),
        Column::words("text", &[], "What was said."),
    ],
    example: "steer voice { of = cc\n  latents = classes.tuned_only\n  strength = 1.5 }",
    version: 1,
    built: Built::NotYet("the crosscoder's weights lie in `artifacts/` in the published layout, for the Python tools"),
};
