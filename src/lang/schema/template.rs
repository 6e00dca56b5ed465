use super::{Built, Field, Kind, Type, Variant};

/// The forms of a template, also where one is written in place of a name.
pub const FORMS: &[Variant] = &[
    Variant::new("tokenizer", &[], "The chat template that the model's tokenizer ships."),
    Variant::new(
        "jinja",
        &[
            Field::new("file", Type::Path, "The Jinja file.").positional(),
            Field::new("control", Type::List(&Type::Text), "The strings that are control tokens of the template.")
                .default("[]", "xd"),
        ],
        "A chat template of your own.",
    ),
];

pub const KIND: Kind = Kind {
    word: "template",
    doc: "How a chat becomes text: turn marks, role words, newlines.",
    details: "What the template puts around the messages are its control tokens; the first special token of a sequence (bos) is not one of them.",
    section: "paper",
    value: Some(Type::Variant(FORMS)),
    fields: &[],
    columns: &[],
    parts: &[],
    example: "template gemma = jinja(\"gemma.jinja\", control = [\"<start_of_turn>\", \"<end_of_turn>\"])",
    version: 1,
    built: Built::Yes,
};
