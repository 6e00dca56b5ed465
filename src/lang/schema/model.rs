use super::{Built, Field, Kind, Type, Unit, Variant, Word};

const TOKENS: Type = Type::Amount { units: &[Unit::Tokens], low: 1.0 };
const STEPS: Type = Type::Amount { units: &[Unit::Steps], low: 1.0 };
const CORPORA: Type = Type::List(&Type::Portion);

const PRETRAIN: &[Field] = &[
    Field::new("on", CORPORA, "The texts it is trained on, interleaved in these proportions."),
    Field::new("layers", Type::Whole { low: 1, high: 1000 }, "Number of blocks."),
    Field::new("width", Type::Whole { low: 8, high: 65536 }, "Residual width d."),
    Field::new("heads", Type::Whole { low: 1, high: 1024 }, "Attention heads; the width must divide by them."),
    Field::new(
        "vocabulary",
        Type::Whole { low: 300, high: 1_000_000 },
        "Token ids of the byte-level BPE trained on the text.",
    )
    .default("2048", "xd"),
    Field::new("context", TOKENS, "Context in tokens.").default("256 tokens", "xd"),
    Field::new("length", TOKENS, "Training length in tokens; texts are read again when they end."),
    Field::new("batch", TOKENS, "Tokens a step.").default("4096 tokens", "xd"),
    Field::new("lr", Type::Number { low: 0.0, high: 10.0 }, "Learning rate of Adam.").default("2e-3", "xd"),
    Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the weights and of the order of the text.")
        .default("42", "published code"),
];

const FINETUNE: &[Field] = &[
    Field::new("from", Type::Step(&["model"]), "The model to start from; its tokenizer is kept."),
    Field::new("on", CORPORA, "The texts it is trained on, interleaved in these proportions."),
    Field::new("weights", Type::Word(WEIGHTS), "Which weights are trained.").default("all", "xd"),
    Field::new("loss_on", Type::Word(LOSS_ON), "Tokens whose prediction counts.").default("assistant", "practice"),
    Field::new("context", TOKENS, "Context in tokens.").default("256 tokens", "xd"),
    Field::new("length", TOKENS, "Training length in tokens; texts are read again when they end."),
    Field::new("batch", TOKENS, "Tokens a step.").default("4096 tokens", "xd"),
    Field::new("lr", Type::Number { low: 0.0, high: 10.0 }, "Learning rate of AdamW, at its peak.")
        .default("5e-4", "xd"),
    Field::new("warmup", STEPS, "Steps over which the learning rate grows; then it falls to a tenth along a cosine.")
        .absent("a twentieth of the steps, 200 at most"),
    Field::new("clip", Type::Number { low: 0.0, high: 1e9 }, "Gradients are scaled down to this global norm; 0 never.")
        .default("1.0", "practice"),
    Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the order of the text.")
        .default("42", "published code"),
    Field::new("store", Type::Word(STORES), "Number format of the trained model's file; training is in f32.")
        .default("f32", "xd"),
];

const WEIGHTS: &[Word] = &[
    Word::new("all", "All of them."),
    Word::new(
        "body",
        "The blocks and the last norm; embeddings and head stay. Saves much memory and time where the vocabulary is large.",
    ),
];

const LOSS_ON: &[Word] = &[
    Word::new("assistant", "Of chats, what the assistant says and the token that ends its turn; of texts every token."),
    Word::new("all", "Every token, the user's and the template's too."),
];

const STORES: &[Word] = &[
    Word::new("f32", "As trained. After a short fine-tune the change is about the size of bf16's rounding."),
    Word::new("bf16", "Half the size."),
];

const DTYPES: &[Word] = &[
    Word::new("f32", "Single precision throughout."),
    Word::new(
        "bf16",
        "Weights are kept in bf16 (half the memory); products are summed in f32, every operation's result is rounded to bf16.",
    ),
];

/// What a model that was made elsewhere computes with.
pub const DTYPE: Field =
    Field::new("dtype", Type::Word(DTYPES), "What the model computes with, whatever its file holds.")
        .default("f32", "xd");

const HF: &[Field] = &[
    Field::new("id", Type::Text, "Name on the Hugging Face hub.").positional(),
    Field::new("revision", Type::Text, "Branch, tag or commit; the lock file pins the commit.")
        .absent("the default branch"),
    DTYPE,
];

/// The forms of a model, also where one is written in place of a name.
pub const FORMS: &[Variant] = &[
    Variant::new(
        "folder",
        &[
            Field::new("path", Type::Path, "Folder with config.json, tokenizer.json and safetensors.").positional(),
            DTYPE,
        ],
        "A model in a local folder, in the Hugging Face layout.",
    ),
    Variant::new(
        "pretrain",
        PRETRAIN,
        "A small language model (Gemma-2 shape) trained from scratch, so that its history is known.",
    ),
    Variant::new("finetune", FINETUNE, "A model of any family, or a GGUF file's, trained further on other text."),
    Variant::new(
        "hf",
        HF,
        "A model of the Hugging Face hub; the lock file beside the experiment pins its commit and files.",
    ),
    Variant::new(
        "gguf",
        &[Field::new("file", Type::Path, "The file, in one piece.").positional(), DTYPE],
        "A model in one GGUF file of llama.cpp: weights (dequantised to f32), tokenizer and chat template out of the file.",
    ),
];

pub const KIND: Kind = Kind {
    word: "model",
    doc: "A language model: a folder, a GGUF file, or one that is trained here.",
    details: "Layers count from 0. The `model_type`s of config.json that are understood: gemma2, gemma3 (of models that also see, the language \
              model), gemma3_text, gpt2, gpt_neox (Pythia), llama (SmolLM too), mistral, qwen2 and qwen3, with safetensors in bf16, f16 or f32, in one \
              file or in shards. A model that is fine-tuned computes with the `dtype` of the one it started from. A model made by `pretrain` or `finetune` is a step like \
              any other: it is trained once and kept in the store.",
    section: "paper",
    value: Some(Type::Variant(FORMS)),
    fields: &[],
    columns: &[],
    parts: &[],
    example: "model base = folder(\"organism/base\")\nmodel chat = finetune(from = base, on = [1M tokens of talk], length = 2M tokens)",
    version: 2,
    built: Built::Yes,
};
