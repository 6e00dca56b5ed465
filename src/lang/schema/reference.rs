//! docs/reference.md, written out of the table.

use super::explain::{default_words, signature};
use super::{Built, Column, ColumnType, Field, KINDS, Kind, Type, Unit, Variant};

/// The whole reference as Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Reference of the .xd language, edition 1\n\nWritten out of the schema table by `INSTA_UPDATE=always cargo test --no-default-features --test lang reference`; do not edit.\n\
         Everything here is also `xd explain WORD`.\n",
    );
    let units: Vec<String> = Unit::WORDS.iter().map(|u| format!("`{}`", u.word())).collect();
    page += &format!(
        "\nUnits: {}; `32x` is a multiple, `50%` a share. Multipliers: K M B T, upper case.\n",
        units.join(" ")
    );
    page += "\n| kind | what it is |\n| --- | --- |\n";
    for kind in KINDS {
        page += &format!("| [{}](#{}) | {}{} |\n", kind.word, kind.word, kind.doc, mark(&kind.built));
    }
    for kind in KINDS {
        page += &section(kind);
    }
    page
}

fn section(kind: &Kind) -> String {
    let mut page = format!("\n## {}\n\n{}", kind.word, kind.doc);
    if !kind.details.is_empty() {
        page += &format!("\n\n{}", kind.details);
    }
    if !kind.section.is_empty() {
        page += &format!("\n\nSource: {}.", kind.section);
    }
    if let Built::NotYet(meanwhile) = kind.built {
        page += &format!("\n\n**Not built yet**: {meanwhile}.");
    }
    page += &format!("\n\n```\n{}\n```\n", kind.example);
    if !kind.fields.is_empty() {
        page += "\n| field | takes | default | |\n| --- | --- | --- | --- |\n";
        for field in kind.fields {
            page += &row(field);
        }
    }
    let own = kind.value.iter().flat_map(|ty| ty.variants());
    let nested = kind.fields.iter().flat_map(|f| f.ty.variants());
    let mut seen: Vec<&str> = Vec::new();
    for variant in own.chain(nested) {
        if !variant.arguments.is_empty() && !seen.contains(&variant.word) {
            seen.push(variant.word);
            page += &form(variant);
        }
    }
    page += &columns(kind.columns);
    for part in kind.parts {
        page += &format!("\nRows of `NAME.{}`: {}\n", part.word, part.doc);
        page += &columns(part.columns);
    }
    page
}

/// A table of columns; nothing where there are none.
fn columns(columns: &[Column]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let mut page = String::from("\n| column | type | unit | |\n| --- | --- | --- | --- |\n");
    for column in columns {
        let ty = match column.ty {
            ColumnType::Real => "number".to_string(),
            ColumnType::Whole => "whole number".to_string(),
            ColumnType::Truth => "truth".to_string(),
            ColumnType::Words([]) => "text".to_string(),
            ColumnType::Words(words) => words.join(", "),
        };
        page +=
            &format!("| `{}` | {ty} | {} | {}{} |\n", column.name, column.unit, cell(column.doc), mark(&column.built));
    }
    page
}

fn form(variant: &Variant) -> String {
    let mut page = format!("\n**`{}`**{}: {}", signature(variant), mark(&variant.built), variant.doc);
    if !variant.formula.is_empty() {
        page += &format!(" `{}`", variant.formula);
    }
    page += "\n\n| argument | takes | default | |\n| --- | --- | --- | --- |\n";
    for argument in variant.arguments {
        page += &row(argument);
    }
    page
}

fn row(field: &Field) -> String {
    let default = default_words(field);
    let default = default.strip_prefix("Default: ").unwrap_or(&default).trim_end_matches('.');
    let harmless = if field.harmless { " Changes no result." } else { "" };
    format!(
        "| `{}` | {} | {} | {}{harmless}{} |\n",
        field.path,
        cell(&takes(&field.ty)),
        cell(default),
        cell(field.doc),
        mark(&field.built)
    )
}

/// The type, without the forms that have their own table below.
fn takes(ty: &Type) -> String {
    ty.describe()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn mark(built: &Built) -> &'static str {
    if *built == Built::Yes { "" } else { " *(not built yet)*" }
}
