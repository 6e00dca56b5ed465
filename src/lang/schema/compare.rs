use super::{Built, CLASSES, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "compare",
    doc: "Matches the latents of two crosscoders of the same width by their decoders: one row a latent of `a`.",
    details: "The match of a latent is the latent of `b` with the largest cosine of the two decoders laid side by side, [d^base, d^tuned]; of \
              equal ones the first. A latent whose decoder is zero has none.\n\nAn axis that one side leaves open makes a point for each of its \
              values: `a = cc[train.seed = 0]` and `b = cc` compare every other seed with the first, loss by loss. An axis that both leave open is the same on both. \
              A crosscoder is compared with itself only where nothing else is asked.",
    section: "",
    value: None,
    fields: &[
        Field::new(
            "a",
            Type::Step(&["classify", "crosscoder"]),
            "One crosscoder, or its classes; a crosscoder is classed by the paper's ranges.",
        ),
        Field::new("b", Type::Step(&["classify", "crosscoder"]), "The other."),
    ],
    columns: &[
        Column::whole("latent_a", "Latent of `a`."),
        Column::whole("latent_b", "Its best match in `b`."),
        Column::real("cosine", "Cosine of their decoders."),
        Column::truth("mutual", "It is also the best match of its match."),
        Column::words("class_a", CLASSES, "Class in `a`."),
        Column::words("class_b", CLASSES, "Class in `b`."),
    ],
    parts: &[],
    example: "compare both { a = cc[loss = l1]\n  b = cc[loss = batch_topk] }",
    version: 1,
    built: Built::Yes,
};
