use super::{Built, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "twins",
    doc: "Tuned-only and base-only latents with the same direction: evidence of Latent Decoupling.",
    details: "Pairs (j, k) with cos(d_j^tuned, d_k^base) over `cosine`.",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("cosine", Type::Number { low: 0.0, high: 1.0 }, "Least cosine.").default("0.9", "paper"),
    ],
    columns: &[
        Column::whole("tuned_latent", "The tuned-only latent."),
        Column::whole("base_latent", "The base-only latent."),
        Column::real("cosine", "Cosine of their decoders."),
        Column::real("divergence", "Share of high activations where the other is low."),
    ],
    example: "twins doubles { of = cc }",
    version: 1,
    built: Built::NotYet("`nu_reconstruction` of `scaling` tells decoupled latents"),
};
