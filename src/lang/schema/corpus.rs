use super::{Built, Field, Kind, Type, Variant};

const TEMPLATE: Field = Field::new(
    "template",
    Type::StepOr(&["template"], super::template::FORMS),
    "Makes it a chat corpus: the column holds a list of {role, content} messages, and this template renders them.",
)
.absent("plain text");

const HF: &[Field] = &[
    Field::new("id", Type::Text, "Name on the Hugging Face hub.").positional(),
    Field::new("split", Type::Text, "Split of the data set.").default("\"train\"", "xd"),
    Field::new("column", Type::Text, "Column that holds the text or the messages.").default("\"text\"", "xd"),
    Field::new("revision", Type::Text, "Branch, tag or commit; the lock file pins the commit.")
        .absent("the default branch"),
    Field::new("config", Type::Text, "Named part of the data set, such as \"sample-10BT\".").absent("its default one"),
    Field::new("files", Type::Whole { low: 1, high: 100_000 }, "Only so many files of the split, the first ones.")
        .absent("all; each is downloaded when it is first read"),
    TEMPLATE,
];

const FILES: &str = "File, folder or glob, read in the order of the paths; each may be compressed (.gz, .zst).";

const COLUMN: Field =
    Field::new("column", Type::Text, "Column that holds the text, or the list of messages of a chat.")
        .default("\"text\"", "xd");

const FORMS: &[Variant] = &[
    Variant::new(
        "text",
        &[
            Field::new(
                "path",
                Type::Path,
                "File, folder or glob, in the order of the paths; each may be compressed (.gz, .zst).",
            )
            .positional(),
            TEMPLATE,
        ],
        "Plain text, one document a file.",
    ),
    Variant::new(
        "jsonl",
        &[Field::new("path", Type::Path, FILES).positional(), COLUMN, TEMPLATE],
        "JSON lines, one object and document a line.",
    ),
    Variant::new(
        "json",
        &[
            Field::new("path", Type::Path, FILES).positional(),
            COLUMN,
            Field::new("list", Type::Text, "Key of the list, where the file is an object that holds several.")
                .absent("the file is a list, or an object with one list of objects"),
            TEMPLATE,
        ],
        "A JSON list of objects, one document an object; it is streamed.",
    ),
    Variant::new(
        "csv",
        &[Field::new("path", Type::Path, FILES).positional(), COLUMN, TEMPLATE],
        "Comma-separated values with a header row (.tsv: tabs), one document a row.",
    ),
    Variant::new(
        "parquet",
        &[
            Field::new("path", Type::Path, "File, folder or glob, read in the order of the paths.").positional(),
            COLUMN,
            TEMPLATE,
        ],
        "Parquet, one document a row; messages are a list of structs with `role` and `content`.",
    ),
    Variant::new(
        "builtin",
        &[Field::new("name", Type::Text, "Its name.").positional(), TEMPLATE],
        "Text that xd ships, for examples and tests.",
    ),
    Variant::new("hf", HF, "A split of a data set of the Hugging Face hub; the lock file pins its commit and files."),
];

pub const KIND: Kind = Kind {
    word: "corpus",
    doc: "Documents: what both models read.",
    details: "A `template` argument makes it a chat corpus, whose column holds a list of {role, content} messages. Train and validate portions of \
              one corpus are drawn from different documents.",
    section: "paper",
    value: Some(Type::Variant(FORMS)),
    fields: &[],
    columns: &[],
    parts: &[],
    example: "corpus prose = text(\"texts/prose/*.txt\")\ncorpus talk = jsonl(\"texts/chat.jsonl\", column = \"messages\", template = tokenizer)",
    version: 1,
    built: Built::Yes,
};
