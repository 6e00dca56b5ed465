use super::{Built, Field, Kind, Type, Unit, Variant, Word};

pub const SITES: &[Word] = &[
    Word::new(
        "residual_post",
        "The residual stream after the block (hidden_states[layer + 1] in HF, TransformerLens blocks.L.hook_resid_post).",
    ),
    Word::new("residual_pre", "The residual stream before the block."),
    Word::new(
        "mlp_out",
        "What the block's MLP adds to the stream (in Gemma, after the norm that follows it). Pythia's MLP reads the stream before the block.",
    ),
    Word::new("attn_out", "What the block's attention adds to the stream (in Gemma, after the norm that follows it)."),
];

const EXCLUDE: &[Variant] = &[
    Variant::new("bos", &[], "The first special token of each sequence; its norm is many times that of the rest."),
    Variant::new("special", &[], "Every special token of the tokenizer, template marks among them."),
    Variant::new(
        "norm_above",
        &[Field::new(
            "times",
            Type::Amount { units: &[Unit::Times], low: 0.0 },
            "Multiple of the model's median norm.",
        )
        .positional()],
        "Rows whose norm in either model is over this multiple of that model's median norm (sink tokens).",
    ),
];

const NORMALIZE: &[Variant] = &[
    Variant::new(
        "rms",
        &[Field::new("target", Type::Number { low: 0.0, high: f64::INFINITY }, "Root mean square after scaling.")
            .positional()],
        "Centre, and scale both models by one number.",
    )
    .formula("x -> (x - mean) * target / sqrt(sum of variances)", "published code"),
    Variant::new("per_model_scale", &[], "Scale each model so that its mean norm is sqrt(d).")
        .formula("x_m -> x_m * sqrt(d) / mean norm of model m", "Kissane et al."),
];

const STORE: &[Word] = &[
    Word::new("bf16", "Two bytes a number."),
    Word::new("f32", "Four bytes a number."),
    Word::new(
        "none",
        "Keep nothing: rows are harvested when they are read, and again for every pass over them. They are those of `f32`, to the bit \
         and as they are stored. A mixing buffer of at most 1 GiB and 262,144 rows is shuffled as a whole, the same way in every epoch, and \
         `train.shuffle = local` moves rows within 64 MiB of it; stored rows it moves within 1,000,000. `refills.csv` tells of each refill.",
    ),
];

const FROM: &[Variant] = &[
    Variant::new(
        "tensors",
        &[
            Field::new("path", Type::Path, "safetensors file.").positional(),
            Field::new("key", Type::Text, "Tensor of shape [rows, 2, d], base first; rows in order.")
                .default("\"activations\"", "xd"),
        ],
        "Rows harvested elsewhere, in one tensor.",
    ),
    Variant::new(
        "cache",
        &[
            Field::new("base", Type::Path, "Folder of the base model's shards.").positional(),
            Field::new("tuned", Type::Path, "Folder of the tuned model's shards.").positional(),
        ],
        "Rows harvested by the published project: `shard_0.memmap`, .. with `config.json`, in order. Tokens are read from `tokens.pt` \
         beside the shards or one folder up, and must be the same in both.",
    )
    .formula("", "docs/formats.md"),
];

const TOKENS: Type = Type::Amount { units: &[Unit::Tokens], low: 1.0 };

pub const KIND: Kind = Kind {
    word: "activations",
    doc: "What both models compute at one place on the same tokens: rows [base, tuned] of width d.",
    details: "Layers count from 0: `layer = 13` at site `residual_post` is the residual stream after block 13. Portions of several corpora are \
              interleaved. Both models read the same token ids. Rows are stored shuffled once, so that training reads in sequence. The paper \
              keeps bos and template tokens and does not normalise.",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["pair"]), "The pair whose models are read.").absent("only with `from`"),
        Field::new("from", Type::Variant(FROM), "Rows harvested elsewhere, instead of `of`.")
            .absent("harvest them here"),
        Field::new("layer", Type::Whole { low: 0, high: 10_000 }, "Block whose output is read, from 0.")
            .absent("must be written for a pair of models"),
        Field::new("site", Type::Word(SITES), "Place within the block.").default("residual_post", "published code"),
        Field::new("context", TOKENS, "Longest sequence; documents are cut there, not packed.")
            .default("1024 tokens", "published code"),
        Field::new(
            "train",
            Type::List(&Type::Portion),
            "Rows for training; a list of portions, or one amount where no text is read.",
        ),
        Field::new(
            "validate",
            Type::List(&Type::Portion),
            "Held-out rows, from other documents than the rows for training.",
        ),
        Field::new("limit", TOKENS, "At most so many tokens of training data in all.").absent("no limit"),
        Field::new("skip", TOKENS_OR_ZERO, "The first n tokens of each sequence are not stored.")
            .default("0 tokens", "published code"),
        Field::new("exclude", Type::List(&Type::Variant(EXCLUDE)), "Tokens that are not stored.")
            .default("[]", "published code"),
        Field::new("store", Type::Word(STORE), "Number format on disk.").default("bf16", "xd"),
        Field::new("normalize", Type::OrNone(&Type::Variant(NORMALIZE)), "Scaling before the crosscoder sees a row.")
            .default("none", "published code"),
    ],
    columns: &[],
    parts: &[],
    example: "activations acts {\n  of       = organism\n  layer    = 2\n  train    = [200K tokens of prose, 200K tokens of talk]\n  validate = [20K tokens of prose, 20K tokens of talk]\n  exclude  = [bos]\n}",
    version: 2,
    built: Built::Yes,
};

const TOKENS_OR_ZERO: Type = Type::Amount { units: &[Unit::Tokens], low: 0.0 };
