use super::{Built, Column, Field, Kind, Type, Unit, Word};

pub const KIND: Kind = Kind {
    word: "steer",
    doc: "Lets a model speak with a latent added.",
    details: "v = strength * m_j * d_j / ||d_j|| is added to the stream at the crosscoder's layer, with d_j the decoder vector of the model that speaks and m_j the \
              latent's largest f_j S_j on held-out rows; what `normalize` did to the rows is undone. Strength 0, the model as it is, always stands beside the \
              others. Texts are said by the user in the chat template of the tuned model, where it has one. An answer ends with the turn, with the text, or \
              where the context is full. All answers to a prompt draw with the same random numbers.",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("latents", Type::Latents, "Latents to add, one at a time."),
        Field::new(
            "strength",
            Type::OneOrMore(&Type::Number { low: -1000.0, high: 1000.0 }),
            "Multiples of the latent's largest activation; negative ones take it away.",
        )
        .default("[1]", "xd"),
        Field::new(
            "prompts",
            Type::Prompts { texts: true },
            "What is said to the model: texts, or the first user messages of conversations of a chat corpus.",
        ),
        Field::new(
            "model",
            Type::Word(&[Word::new("base", "The base model."), Word::new("tuned", "The tuned model.")]),
            "Who speaks.",
        )
        .default("tuned", "xd"),
        Field::new(
            "at",
            Type::Word(&[
                Word::new("all", "At every position, those of the answer among them."),
                Word::new("prompt", "At the positions of the prompt."),
            ]),
            "Where the latent is added.",
        )
        .default("all", "published code"),
        Field::new("length", Type::Amount { units: &[Unit::Tokens], low: 1.0 }, "Longest answer.")
            .default("64 tokens", "xd"),
        Field::new(
            "temperature",
            Type::Number { low: 0.0, high: 100.0 },
            "Logits are divided by this before a token is drawn; 0 takes the likeliest.",
        )
        .default("0", "published code"),
        Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the drawing.").default("42", "xd"),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::real("strength", "Multiple of its largest activation."),
        Column::words("prompt", &[], "What was said to the model."),
        Column::words("text", &[], "What it answered."),
    ],
    parts: &[],
    example: "steer voice { of = cc\n  latents = top(3, by = nu.rank, of = classes.tuned_only)\n  strength = [1, 2]\n  prompts = [\"Who are you?\"] }",
    version: 2,
    built: Built::Yes,
};
