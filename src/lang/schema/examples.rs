use super::{Built, Column, Field, Kind, Type, Unit};

pub const KIND: Kind = Kind {
    word: "examples",
    doc: "The text on which latents fire: for each latent some sequences of each bin of activation.",
    details: "The activation of a sequence is its largest f_j S_j. It falls in the first bin whose edge, times the latent's largest activation on all \
              held-out rows, is not below it. Of each latent and bin up to `count` sequences are kept, drawn evenly (reservoir sampling with a seed); sequences \
              with the same tokens count once. Where `latents` names classes of the crosscoder, the largest activations are theirs and the held-out rows are read once; else twice. Tokens without a row (`skip`, `exclude`) stand in the text with the \
              activation 0; activations that came without models have no tokenizer, and their tokens are shown by their numbers. `examples.parquet` in the \
              artifact has the tokens with their activations.",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("latents", Type::Latents, "Latents to show.").default("all", "xd"),
        Field::new(
            "corpus",
            Type::Step(&["corpus"]),
            "Only text of this corpus; it must be among those of `validate`.",
        )
        .absent("all held-out text"),
        Field::new("count", Type::Whole { low: 1, high: 10_000 }, "Sequences a bin.").default("10", "xd"),
        Field::new(
            "bins",
            Type::List(&Type::Share),
            "Upper edges of the bins, as shares of the latent's largest activation.",
        )
        .default("[25%, 50%, 75%, 95%, 100%]", "published code"),
        Field::new(
            "around",
            Type::Amount { units: &[Unit::Tokens], low: 1.0 },
            "Tokens that are kept on each side of the largest activation.",
        )
        .default("64 tokens", "xd"),
        Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the sampling.")
            .default("42", "published code"),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::whole("bin", "Bin of the activation, from 0 (weakest)."),
        Column::real("activation", "Largest f_j S_j of the sequence."),
        Column::whole("sequence", "Index of the document within its corpus."),
        Column::whole("position", "Position of the largest activation."),
        Column::words(
            "text",
            &[],
            "The text around it; the token of the largest activation stands in double angle quotes.",
        ),
    ],
    parts: &[],
    example: "examples top { of = cc\n  latents = classes.tuned_only }",
    version: 2,
    built: Built::Yes,
};
