use super::{Built, Column, Field, Kind, Type};

pub const KIND: Kind = Kind {
    word: "twins",
    doc: "Tuned-only and base-only latents with the same direction: evidence of Latent Decoupling.",
    details: "Pairs (j, k), j tuned-only and k base-only, with cos(d_j^tuned, d_k^base) over `cosine`; each latent stands in one pair at most, the closest \
              pairs first. divergence = (n[A high, B low] + n[A low, B high]) / (n[A high] + n[B high] - n[both high]), where an activation is high over 0.4 and low up to \
              0.1 of the larger of both latents' maxima, over held-out rows. As many different random pairs of a tuned-only and a base-only latent under that cosine are the baseline. The divergence is empty where \
              one of the two never fires. Beside the rows, `buckets.csv` of the artifact counts the rows of every pair by both activations: buckets 0 to 4, \
              up to 1e-6, 0.1, 0.4, 0.7 and over 0.7 of the `larger` maximum of both or of each latent's `own`.",
    section: "paper",
    value: None,
    fields: &[
        Field::new(
            "of",
            Type::Step(&["classify", "crosscoder"]),
            "The classes of the latents; a crosscoder is classed by the paper's ranges.",
        ),
        Field::new("cosine", Type::Number { low: 0.0, high: 1.0 }, "Least cosine.").default("0.9", "paper"),
        Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the random pairs.").default("42", "xd"),
    ],
    columns: &[
        Column::words("pair", &["twin", "random"], "A pair by its direction, or one of the baseline."),
        Column::whole("tuned_latent", "The tuned-only latent."),
        Column::whole("base_latent", "The base-only latent."),
        Column::real("cosine", "cos(d_j^tuned, d_k^base).").section("paper"),
        Column::real(
            "divergence",
            "Share of high activations where the other latent is low, by the larger maximum of both.",
        )
        .section("published code"),
        Column::real("divergence_relative", "The same, each latent by its own maximum.").section("published code"),
    ],
    parts: &[],
    example: "twins doubles { of = classes }",
    version: 2,
    built: Built::Yes,
};
