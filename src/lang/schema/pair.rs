use super::{Built, CLASSES, Column, Field, Kind, Type, Variant};

const COUNT: Type = Type::Whole { low: 0, high: 1_000_000 };
const POSITIVE: Type = Type::Number { low: 0.0, high: f64::INFINITY };
const RANGE: Type = Type::Bounds { low: 0.0, high: f64::INFINITY };

const SYNTHETIC: &[Field] = &[
    Field::new("width", Type::Whole { low: 2, high: 65536 }, "Width d of the activations."),
    Field::new("shared", COUNT, "Features that both models have at similar strength.").default("176", "xd"),
    Field::new("weak", COUNT, "Shared features that are weaker in the base, at a ratio drawn from `weak_ratio`: where Complete Shrinkage arises.")
        .default("48", "xd"),
    Field::new("weak_ratio", Type::Bounds { low: 0.0, high: 1.0 }, "Norm ratio base / tuned of the weak features; under 0.2 they would be tuned-only by definition.")
        .default("0.3..0.5", "xd"),
    Field::new("ratio", RANGE, "Norm ratio base / tuned of the other shared features.").default("0.7..1.3", "xd"),
    Field::new("base_only", COUNT, "Features that only the base has.").default("16", "xd"),
    Field::new("tuned_only", COUNT, "Features that only the tuned model has.").default("16", "xd"),
    Field::new("active", POSITIVE, "Expected number of active features a token.").default("8", "xd"),
    Field::new("tail", POSITIVE, "Firing probabilities go like uniform^tail before they are scaled to `active`.").default("1.5", "xd"),
    Field::new("frequency", Type::Bounds { low: 0.0, high: 1.0 }, "Firing probabilities stay within this range.").default("0.004..0.5", "xd"),
    Field::new("scale", POSITIVE, "Magnitude of a firing feature, times a draw from `magnitude`.").default("4", "xd"),
    Field::new("magnitude", RANGE, "Range of the uniform draw.").default("0.5..2", "xd"),
    Field::new("turn", POSITIVE, "How far the direction of a shared feature is turned between the models: norm of the added noise.").default("0.2", "xd"),
    Field::new("correlated", COUNT, "Pairs of features that fire together.").default("16", "xd"),
    Field::new("correlation", Type::Share, "How often the second of such a pair fires when the first does.").default("0.5", "xd"),
    Field::new("noise", POSITIVE, "Standard deviation of the noise in each coordinate.").default("0.08", "xd"),
    Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the dictionary and of the draws.").default("0", "xd"),
];

const REPLACE: &[Field] = &[Field::new(
    "pairs",
    Type::List(&Type::List(&Type::Token)),
    "Pairs `[from, to]`: where the text has the first token, the base model reads the second. A token is an id, or its text in \
     quotes: a special token by its name, any other text that is exactly one token.",
)
.rest()];

pub const KIND: Kind = Kind {
    word: "pair",
    doc: "Two models to be compared, `base` and `tuned`; or a synthetic pair whose truth is known.",
    details: "Both models must have the same width, depth and tokenizer. A synthetic pair emits activations of a known dictionary of features: \
              sparse, heavy-tailed firing, norms that differ between the models, shared features that are weaker in the base, correlated pairs \
              and noise, so that both artefacts of the L1 loss arise and can be told from the truth. Its rows are that truth, one a feature; a \
              pair of real models has no rows.",
    section: "paper",
    value: Some(Type::Variant(&[Variant::new(
        "synthetic",
        SYNTHETIC,
        "Activations of a known dictionary, with the truth written as rows.",
    )])),
    fields: &[
        Field::new("base", Type::StepOr(&["model"], super::model::FORMS), "The model before tuning."),
        Field::new("tuned", Type::StepOr(&["model"], super::model::FORMS), "The model after tuning."),
        Field::new("label", Type::Text, "The word for the tuned model in figures and reports.")
            .default("\"tuned\"", "xd")
            .harmless(),
        Field::new(
            "read_as",
            Type::Variant(&[Variant::new(
                "replace",
                REPLACE,
                "Other tokens for the base model, in the places of those that it does not know. The rows stay aligned, and keep the \
                 tokens that the tuned model reads. The paper's recipe for Llama 3 is `replace([128006, 1432], [128009, 827], \
                 [128007, 827])`, with `skip = 25 tokens` on the activations.",
            )]),
            "How a base model that does not know the chat template reads it.",
        )
        .absent("both read the same tokens"),
    ],
    columns: &[
        Column::whole("feature", "Index of the planted feature."),
        Column::words("class", CLASSES, "What the feature was planted as."),
        Column::real("norm_base", "Norm of its direction in the base."),
        Column::real("norm_tuned", "Norm of its direction in the tuned model."),
        Column::real("delta_norm", "Delta_norm = 1/2 (1 + (norm_tuned - norm_base) / max(norm_tuned, norm_base)).")
            .section("paper"),
        Column::real("cosine", "Cosine of its two directions."),
        Column::real("frequency", "Share of tokens on which it fires."),
    ],
    parts: &[],
    example: "pair organism { base = base\n  tuned = chat\n  label = \"chat\" }\npair toy = synthetic(width = 64)",
    version: 1,
    built: Built::Yes,
};
