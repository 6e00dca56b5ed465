use super::{Built, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "tokens",
    doc: "Where latents fire: by group of tokens.",
    details: "",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("corpus", Type::Step(&["corpus"]), "The text."),
        Field::new("groups", Type::Any, "Groups: control, non_control, bos, user, assistant."),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::words("group", &["control", "non_control", "bos", "user", "assistant"], "Group of tokens."),
        Column::real("frequency", "Share of the group's tokens on which it fires."),
        Column::real("mean", "Mean scaled activation."),
        Column::real("max", "Largest scaled activation."),
        Column::real("share", "Share of its firing that falls in the group."),
    ],
    example: "tokens where_it_fires { of = cc\n  corpus = talk }",
    version: 1,
    built: Built::NotYet("the column `control_share` of `classify` tells the share on control tokens of the template"),
};
