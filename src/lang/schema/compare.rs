use super::{Built, CLASSES, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "compare",
    doc: "Matches the latents of two crosscoders by their decoders.",
    details: "",
    section: "",
    value: None,
    fields: &[
        Field::new("a", Type::Step(&["crosscoder"]), "One crosscoder."),
        Field::new("b", Type::Step(&["crosscoder"]), "The other."),
    ],
    columns: &[
        Column::whole("latent_a", "Latent of one."),
        Column::whole("latent_b", "Its best match in the other."),
        Column::real("cosine", "Cosine of their decoders."),
        Column::words("class_a", CLASSES, "Class in one."),
        Column::words("class_b", CLASSES, "Class in the other."),
    ],
    example: "compare both { a = cc[loss = l1]\n  b = cc[loss = batch_topk] }",
    version: 1,
    built: Built::NotYet("a table grouped by `loss` and `class` compares the counts"),
};
