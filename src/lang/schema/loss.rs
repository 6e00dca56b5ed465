use super::{Built, Field, Kind, Type, Unit, Variant, Word};

const WEIGHT: Type = Type::Number { low: 0.0, high: f64::INFINITY };
const STEPS: Type = Type::Amount { units: &[Unit::Steps], low: 0.0 };
const TOKENS: Type = Type::Amount { units: &[Unit::Tokens], low: 1.0 };

const RECONSTRUCTION_WORDS: &[Word] = &[
    Word::new("l2", "Mean unsquared norm of the error, as in the published code; the paper's weights belong to it."),
    Word::new("mse", "Mean squared norm of the error, as the paper writes it."),
];

const NORM_WORDS: &[Word] = &[
    Word::new("sum", "||d_base|| + ||d_tuned|| (the crosscoder norm)."),
    Word::new("concat", "sqrt(||d_base||^2 + ||d_tuned||^2) (the \"SAE loss\")."),
    Word::new("none", "1."),
];

const RECONSTRUCTION: Field =
    Field::new("reconstruction", Type::Word(RECONSTRUCTION_WORDS), "How the error is measured.")
        .default("l2", "published code");
const NORM: Field = Field::new("norm", Type::Word(NORM_WORDS), "Code norm that scales a latent's activation.")
    .default("sum", "paper 2.2");

const TOPK: &[Field] = &[
    Field::new(
        "k",
        Type::Whole { low: 1, high: 1_000_000 },
        "Active latents a token (batch_topk: on average over the batch).",
    ),
    Field::new("aux", WEIGHT, "Weight of AuxK, which lets dead latents explain the error; 0 is off.")
        .default("0.03125", "published code"),
    Field::new("dead_after", TOKENS, "A latent is dead after so many tokens without firing.")
        .default("10M tokens", "published code"),
    Field::new("threshold_from", STEPS, "The running inference threshold starts after this step.")
        .default("1000 steps", "published code"),
    Field::new(
        "anneal",
        Type::OrNone(&Type::Tuple(&[Type::Whole { low: 1, high: 1_000_000 }, STEPS])),
        "`(from, steps)`: k goes linearly from `from` to `k` in so many steps.",
    )
    .default("none", "published code"),
    RECONSTRUCTION.of_sae("mse"),
    NORM.of_sae("none"),
];

const JUMPRELU: &[Field] = &[
    Field::new("weight", WEIGHT, "Weight of the sparsity penalty."),
    Field::new("bandwidth", WEIGHT, "Width of the kernel of the straight-through gradient."),
];

/// The losses a crosscoder can be trained with.
pub const FORMS: &[Variant] = &[
    Variant::new(
        "l1",
        &[
            Field::new("weight", WEIGHT, "Weight mu of the sparsity penalty; the paper has 4.1e-2 for Gemma."),
            RECONSTRUCTION,
            NORM,
            Field::new("warmup", STEPS, "The weight rises linearly from 0 in so many steps (Kissane et al.: 5% of the training).")
                .default("0 steps", "published code"),
        ],
        "Reconstruction plus an L1 penalty on activations times decoder norms.",
    )
    .formula("L = mean over tokens and models of ||eps_m|| + weight * mean over tokens of sum_j f_j (||d_j^base|| + ||d_j^tuned||)", "paper 2.2"),
    Variant::new("batch_topk", TOPK, "The n*k largest scores of a batch of n tokens stay, the rest is zero; no penalty on norms.").formula(
        "v_ij = ReLU(preact_ij) * codenorm_j; keep the n*k largest v_ij of the batch; L = mean ||eps_m|| + aux * AuxK",
        "paper 2.2",
    ),
    Variant::new("topk", TOPK, "The k largest scores of each token stay.").formula("as batch_topk, but the k largest v_ij of each token", ""),
    Variant::new("jumprelu", JUMPRELU, "A learnt threshold a latent, with a straight-through gradient.")
        .later("use `batch_topk(k = ..)` or `l1(weight = ..)`"),
];

const TERMS: &[Variant] = &[
    Variant::new(
        "sparsity",
        &[
            Field::new("weight", WEIGHT, "Weight."),
            NORM,
            Field::new("warmup", STEPS, "Linear warm-up.").default("0 steps", "xd"),
        ],
        "L1 on activations times norms.",
    ),
    Variant::new(
        "tanh_sparsity",
        &[Field::new("weight", WEIGHT, "Weight."), Field::new("c", WEIGHT, "Slope.").default("4", "xd")],
        "tanh(c f_j S_j).",
    ),
    Variant::new(
        "preactivation",
        &[Field::new("weight", WEIGHT, "Weight.")],
        "Pulls latents that never fire towards firing.",
    ),
    Variant::new(
        "auxk",
        &[
            Field::new("weight", WEIGHT, "Weight."),
            Field::new("dead_after", TOKENS, "Tokens until a latent is dead.").default("10M tokens", "published code"),
        ],
        "Dead latents explain the error.",
    ),
    Variant::new(
        "difference",
        &[Field::new("weight", Type::Number { low: -1.0, high: 0.0 }, "In [-1, 0].")],
        "weight * 2 * eps_base . eps_tuned: the difference of the models is reconstructed too.",
    ),
    Variant::new(
        "shared_sparsity",
        &[Field::new("weight", WEIGHT, "Weight.")],
        "The sparsity penalty of the shared latents of `dedicated`.",
    ),
];

const ACTIVATIONS: &[Variant] = &[
    Variant::new("relu", &[], "No selection."),
    Variant::new("topk", TOPK, "The k largest of each token."),
    Variant::new("batch_topk", TOPK, "The n*k largest of the batch."),
    Variant::new("jumprelu", JUMPRELU, "A learnt threshold a latent."),
];

pub const KIND: Kind = Kind {
    word: "loss",
    doc: "A loss built of terms, each with its own gradient.",
    details: "",
    section: "paper 2.2",
    value: None,
    fields: &[
        Field::new("activation", Type::Variant(ACTIVATIONS), "What makes the code sparse."),
        Field::new("reconstruction", Type::Word(RECONSTRUCTION_WORDS), "How the error is measured.")
            .default("l2", "published code"),
        Field::new("terms", Type::List(&Type::Variant(TERMS)), "What is added to the reconstruction."),
    ],
    columns: &[],
    parts: &[],
    example: "loss diff_aware {\n  activation     = batch_topk(k = 100)\n  reconstruction = l2\n  terms          = [auxk(weight = 0.03125), difference(weight = -0.5)]\n}",
    version: 1,
    built: Built::NotYet(
        "name one of the built losses in the crosscoder: `loss = batch_topk(k = 100)`, `topk(k = 100)` or `l1(weight = 4e-2)`",
    ),
};
