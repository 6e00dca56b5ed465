use super::{Built, Kind, Type};

pub const KIND: Kind = Kind {
    word: "param",
    doc: "A value that the command line may change: `--set k=50`.",
    details: "Its type is the type of its default: a param that holds `50M tokens` takes tokens, one that holds a number takes a number; one that holds `none` \
              takes anything that fits where it is used. One that holds the name of an import opens it: with `param recipe = mine`, `recipe.cc` is `mine.cc`, and \
              `--set recipe=yours` takes another file's. \
              Params are the only thing that the command line may change; everything else can be read off the file.",
    section: "",
    value: Some(Type::Any),
    fields: &[],
    columns: &[],
    parts: &[],
    example: "## Active latents a token.\nparam k = 100",
    version: 1,
    built: Built::Yes,
};
