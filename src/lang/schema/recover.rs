use super::{Built, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "recover",
    doc: "Which planted features a crosscoder found, and how it classed them: one row a class.",
    details: "A feature is found when a latent's decoder has at least this cosine with its direction. Precision: share of the latents of the class that match a \
              planted feature of it. Recall: share of the planted features of the class that a latent of the class matches.",
    section: "",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["classify"]), "The classes of the crosscoder's latents."),
        Field::new("against", Type::Step(&["pair"]), "The synthetic pair with the truth."),
        Field::new("cosine", Type::Number { low: 0.0, high: 1.0 }, "A latent matches a feature from this cosine on.")
            .default("0.9", "xd"),
        Field::new(
            "verdict",
            Type::Step(&["scaling"]),
            "Latents that this scaling measured and did not find specific are called by no class: what is left of the false ones went unflagged.",
        )
        .absent("classes as they are"),
    ],
    columns: &[
        Column::words("class", &["base_only", "shared", "tuned_only"], "The class of the row."),
        Column::whole("planted", "Features planted in this class."),
        Column::whole("found", "Of these, how many a latent of the class matches."),
        Column::real("precision", "Share of the class's latents that match a planted feature of it."),
        Column::real("recall", "found / planted."),
        Column::real("f1", "Harmonic mean of precision and recall."),
        Column::real("mcc", "Matthews correlation of planted and assigned class."),
        Column::whole("false_tuned_only", "Latents that were classed tuned-only but match no tuned-only feature."),
    ],
    parts: &[],
    example: "recover truth { of = classes\n  against = toy }",
    version: 1,
    built: Built::Yes,
};
