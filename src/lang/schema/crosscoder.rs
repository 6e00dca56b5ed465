use super::{Built, Column, Field, Kind, Part, Type, Unit, Variant, Word};

const STEPS: Type = Type::Amount { units: &[Unit::Steps], low: 0.0 };
const SOME_STEPS: Type = Type::Amount { units: &[Unit::Steps], low: 1.0 };

const HF: &[Field] = &[
    Field::new("id", Type::Text, "Name on the Hugging Face hub.").positional(),
    Field::new("revision", Type::Text, "Branch, tag or commit; the lock file pins the commit.")
        .absent("the default branch"),
    Field::new("folder", Type::Text, "Folder within the repository.").absent("its root"),
];

const WEIGHTS: &[Variant] = &[
    Variant::new(
        "folder",
        &[Field::new(
            "path",
            Type::Path,
            "Folder or file: the published layout (model.safetensors or a .pt), Kissane's or crosscode's.",
        )
        .positional()],
        "A crosscoder trained elsewhere, in a local folder or file of any layout of docs/formats.md.",
    ),
    Variant::new(
        "tensors",
        &[
            Field::new("path", Type::Path, "safetensors or .pt file.").positional(),
            Field::new("prefix", Type::Text, "What stands before the published tensor names, such as \"init.\".")
                .default("\"\"", "xd"),
        ],
        "A crosscoder in one file with the published tensor names behind a prefix.",
    ),
    Variant::new("hf", HF, "A crosscoder published on the Hugging Face hub; the lock file pins its commit and files."),
];

const VARIANTS: &[Variant] = &[
    Variant::new("shared_code", &[], "One code for both models: the paper's crosscoder."),
    Variant::new("decoupled", &[], "A code for each model.").later("use `shared_code`"),
    Variant::new(
        "dedicated",
        &[Field::new("shared", Type::Share, "Share of tied latents.")],
        "A share of the latents has tied decoders.",
    )
    .later("use `shared_code`"),
    Variant::new(
        "sae",
        &[Field::new(
            "on",
            Type::Word(&[
                Word::new("base", "The base's activations."),
                Word::new("tuned", "The tuned model's activations."),
                Word::new(
                    "difference",
                    "Tuned minus base, of activations as `normalize` scales them: a diff-SAE. Base minus tuned is the same training with other signs.",
                ),
            ]),
            "What it reads and reconstructs.",
        )],
        "A sparse autoencoder on one model or on the difference, trained as published: x - b_dec is read, decoder vectors keep norm 1, and the \
         gradient along them is left out. Losses: `batch_topk` and `topk`, on f itself, with `reconstruction = mse`.",
    )
    .formula(
        "f = ReLU(W_e (x - b_dec) + b_e), the loss's selection; xhat = sum_j f_j d_j + b_dec, ||d_j|| = 1; L = mean ||x - xhat||^2 + aux * AuxK",
        "published code",
    ),
];

const ADAM: &[Field] = &[
    Field::new("lr", Type::Number { low: 0.0, high: 10.0 }, "Learning rate.").default("1e-4", "published code"),
    Field::new("warmup", STEPS, "Linear warm-up: the factor at step s is min(s / warmup, 1).")
        .default("1000 steps", "published code"),
    Field::new("decay", Type::Share, "Share of the steps at the end over which the rate goes linearly to 0.")
        .default("0%", "published code"),
    Field::new("beta1", Type::Number { low: 0.0, high: 1.0 }, "Decay of the first moment.")
        .default("0.9", "published code"),
    Field::new("beta2", Type::Number { low: 0.0, high: 1.0 }, "Decay of the second moment.")
        .default("0.999", "published code"),
    Field::new("epsilon", Type::Number { low: 0.0, high: 1.0 }, "Added to the root of the second moment.")
        .default("1e-8", "PyTorch"),
];

const PARTS: &[Part] = &[
    Part {
        word: "log",
        doc: "Its training, a row each `train.log` steps; numbers of the batch of that step.",
        file: "log.csv",
        plain: true,
        columns: &[
            Column::whole("step", "Steps that were done before."),
            Column::whole("tokens", "Tokens that it was trained on.").unit("tokens"),
            Column::real("loss", "The loss; write `name.log.loss` beside an axis called loss."),
            Column::real("reconstruction", "Its term of the reconstruction."),
            Column::real("sparsity", "Its term of sparsity, without the weight; empty for the losses of top k."),
            Column::real("auxk", "Its term of dead latents, without the weight; empty without one."),
            Column::real("l0", "Active latents a token.").unit("latents / token"),
            Column::whole("dead", "Latents that have not fired for so long that they count as dead."),
            Column::real("threshold", "Inference threshold so far, -1 before there is one; empty for l1."),
            Column::whole("k", "The k in force; empty for l1."),
            Column::real("lr", "Learning rate in force."),
            Column::real("fve_base", "Fraction of variance explained in the base."),
            Column::real("fve_tuned", "The same in the tuned model."),
        ],
    },
    Part {
        word: "validation",
        doc: "Its validations, a row a model each `train.validate` steps; numbers of the held-out tokens.",
        file: "validation.csv",
        plain: true,
        columns: &[
            Column::whole("step", "Steps that were done before."),
            Column::whole("tokens", "Tokens that it was trained on.").unit("tokens"),
            Column::words("model", &["base", "tuned", "joint"], "Which model the row is about."),
            Column::real("fve", "Fraction of variance explained."),
            Column::real("mse", "Mean squared norm of the error."),
            Column::real("l0", "Active latents a token.").unit("latents / token"),
            Column::real("dead", "Share of latents that never fire on the held-out tokens."),
        ],
    },
];

pub const KIND: Kind = Kind {
    word: "crosscoder",
    doc: "A sparse dictionary for both models at once: one code, two decoders.",
    details: "f_j = ReLU(sum over models m of <h_m, e_j^m> + b_j), with the loss's selection; reconstruction of model m: sum_j f_j d_j^m + b^m. \
              The loss in force is printed in every log and report. Its row is measured on the held-out tokens.",
    section: "paper 2.2",
    value: None,
    fields: &[
        Field::new("on", Type::Step(&["activations"]), "The activations it reads."),
        Field::new(
            "latents",
            Type::Amount { units: &[Unit::Times, Unit::Bare], low: 1.0 },
            "Number of latents D: a count, or a multiple of the width.",
        )
        .default("32x", "paper"),
        Field::new("loss", Type::StepOr(&["loss"], super::loss::FORMS), "The loss, with its own arguments.")
            .absent("must be written unless `from` is"),
        Field::new(
            "init.norm",
            Type::OrNone(&Type::Number { low: 0.0, high: f64::INFINITY }),
            "Norm of every encoder column at the start; `none` keeps the Kaiming draw.",
        )
        .by_loss("0.005", "1.0", "published code"),
        Field::new(
            "init.encoder",
            Type::Word(&[
                Word::new("transpose", "The decoder starts as the transpose of the encoder."),
                Word::new("independent", "Encoder and decoder are drawn on their own."),
            ]),
            "How encoder and decoder start.",
        )
        .default("transpose", "published code"),
        Field::new("init.same", Type::Truth, "Both models start from one draw.").default("true", "published code"),
        Field::new("init.from", Type::Variant(WEIGHTS), "A crosscoder to start from.").absent("start from a draw"),
        Field::new(
            "from",
            Type::Variant(WEIGHTS),
            "A crosscoder trained elsewhere, analysed as it is; then there is no `loss`, `init` or `train`.",
        )
        .absent("train it here"),
        Field::new(
            "variant",
            Type::Variant(VARIANTS),
            "Shape of the code. Beside `from` it says what an autoencoder reads, where its files do not.",
        ).default("shared_code", "paper"),
        Field::new("train.batch", Type::Amount { units: &[Unit::Tokens], low: 1.0 }, "Tokens a step.")
            .default("2048 tokens", "published code"),
        Field::new(
            "train.length",
            Type::Amount { units: &[Unit::Epochs, Unit::Tokens, Unit::Steps], low: 0.0 },
            "How long: passes over the training rows, tokens, or steps.",
        )
        .default("2 epochs", "published code"),
        Field::new(
            "train.optimizer",
            Type::Variant(&[Variant::new("adam", ADAM, "Adam without weight decay.")]),
            "The optimiser.",
        )
        .default("adam()", "paper 2.2"),
        Field::new(
            "train.clip",
            Type::OrNone(&Type::Variant(&[Variant::new(
                "norm",
                &[Field::new("max", Type::Number { low: 0.0, high: f64::INFINITY }, "Largest global norm.")
                    .positional()],
                "Scale the gradient down to this global norm.",
            )])),
            "Gradient clipping.",
        )
        .by_loss("none", "norm(1.0)", "paper 2.2"),
        Field::new(
            "train.shuffle",
            Type::Word(&[
                Word::new(
                    "local",
                    "Anew each epoch: stored rows within stretches of 1,000,000, those of `store = none` and of planted pairs within \
                     64 MiB (3,640 rows at d = 2304).",
                ),
                Word::new("global", "Over all rows."),
                Word::new("none", "As stored."),
            ]),
            "Order of the rows.",
        )
        .default("local", "published code"),
        Field::new("train.validate", STEPS, "Steps between validations; 0 for none but the last.")
            .default("20K steps", "published code")
            .harmless(),
        Field::new("train.log", SOME_STEPS, "Steps between rows of the log.")
            .default("50 steps", "published code")
            .harmless(),
        Field::new(
            "train.seed",
            Type::Whole { low: 0, high: u64::MAX },
            "Seed of the start and of the order of the rows.",
        )
        .default("42", "published code"),
        Field::new(
            "train.precision",
            Type::Word(&[
                Word::new("f32", "As they are."),
                Word::new("tf32", "Rounded to 10 bits of mantissa, halves away from 0, as TF32 units of NVIDIA cards read them."),
                Word::new("bf16", "Rounded to 7 bits of mantissa, halves to the even one."),
            ]),
            "What dense products read, on every device: the encoder's, and all products of an l1 step while many latents are active. Sums, weights, \
             the sparse parts, losses and Adam are in f32.",
        )
        .default("f32", "published code"),
        Field::new(
            "train.resample",
            Type::OrNone(&SOME_STEPS),
            "Steps between resamplings of dead latents; off in the paper.",
        )
        .default("none", "published code"),
    ],
    columns: &[
        Column::real("l0", "Active latents a token as in training (batch_topk: the batch's n*k largest).")
            .unit("latents / token"),
        Column::real("l0_inference", "Active latents a token with the inference threshold.").unit("latents / token"),
        Column::real(
            "fve_base",
            "Fraction of variance explained in the base: 1 - sum ||h - hhat||^2 / sum ||h - mean h||^2 over all held-out tokens; empty for an \
             autoencoder that does not write there.",
        ),
        Column::real("fve_tuned", "The same in the tuned model; for `sae(on = difference)` of the difference."),
        Column::real("fve", "The same over both models together; of an autoencoder, of what it reads."),
        Column::real("loss", "Loss on the held-out tokens; write `name.loss` beside an axis called loss."),
        Column::real("dead", "Share of latents that never fire on the held-out tokens."),
        Column::real("threshold", "Inference threshold on f_j * codenorm_j; empty for l1."),
        Column::whole("tokens", "Tokens it was trained on.").unit("tokens"),
    ],
    parts: PARTS,
    example: "crosscoder cc for loss in [l1(weight = 3e-2), batch_topk(k = 32)] {\n  on      = acts\n  latents = 16x\n  train { batch = 1024 tokens\n    length = 2 epochs }\n}",
    version: 2,
    built: Built::Yes,
};
