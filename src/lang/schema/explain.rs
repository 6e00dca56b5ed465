//! `xd explain WORD`: the pages of kinds, fields, forms, words, units and columns.

use crate::lang::diagnostic::suggest;

use super::{Built, Column, ColumnType, Default, Field, KINDS, Kind, Type, Unit, Variant};

/// The page of a word of the language: every place where it stands. `None` when the table does not know it.
pub fn explain(word: &str) -> Option<String> {
    let word = word.trim().trim_matches('`');
    let mut pages: Vec<String> = Vec::new();
    for kind in KINDS {
        if kind.word == word {
            pages.push(kind_page(kind));
        }
        if let Some(ty) = &kind.value {
            type_pages(word, &format!("{} = ..", kind.word), ty, &mut pages);
        }
        for field in kind.fields {
            if field.path == word || field.word() == word {
                pages.push(format!("`{}`, a field of {}\n\n{}", field.path, kind.word, field_page(field)));
            }
            type_pages(word, &format!("{}.{}", kind.word, field.path), &field.ty, &mut pages);
        }
        if let Some(column) = kind.column(word) {
            pages.push(format!("`{}`, a column of {}\n\n{}", column.name, kind.word, column_page(column)));
        }
    }
    if let Some(unit) = Unit::of_word(word) {
        pages.push(unit_page(unit));
    }
    if pages.is_empty() { None } else { Some(merged(&pages).join("\n\n") + "\n") }
}

/// Pages that say the same of several places are one page with all the places above it.
fn merged(pages: &[String]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for page in pages {
        let (title, body) = page.split_once("\n\n").unwrap_or((page, ""));
        match groups.iter_mut().find(|(known, _)| *known == body && !body.is_empty()) {
            Some((_, titles)) if titles.contains(&title) => {}
            Some((_, titles)) => titles.push(title),
            None => groups.push((body, vec![title])),
        }
    }
    groups
        .into_iter()
        .map(
            |(body, titles)| {
                if body.is_empty() { titles.join("\n") } else { format!("{}\n\n{body}", titles.join("\n")) }
            },
        )
        .collect()
}

/// The word of the table nearest to one that it does not know.
pub fn nearest_word(word: &str) -> Option<String> {
    suggest(word, super::words())
}

fn type_pages(word: &str, place: &str, ty: &Type, pages: &mut Vec<String>) {
    for choice in ty.words() {
        if choice.word == word {
            pages.push(format!("`{word}`, a choice of {place}\n\n{}{}", choice.doc, not_yet(&choice.built)));
        }
    }
    for variant in ty.variants() {
        if variant.word == word {
            pages.push(variant_page(variant, place));
        }
        for argument in variant.arguments {
            if argument.path == word {
                pages.push(format!(
                    "`{word}`, an argument of `{}` ({place})\n\n{}",
                    variant.word,
                    field_page(argument)
                ));
            }
            if let Type::Word(words) = argument.ty {
                for choice in words {
                    if choice.word == word && !choice.doc.is_empty() {
                        pages.push(format!(
                            "`{word}`, a choice of {}\n\n{}{}",
                            argument.path,
                            choice.doc,
                            not_yet(&choice.built)
                        ));
                    }
                }
            }
        }
    }
}

fn kind_page(kind: &Kind) -> String {
    let mut page = format!("{}: {}", kind.word, kind.doc);
    if !kind.details.is_empty() {
        page += &format!("\n\n{}", kind.details);
    }
    if !kind.section.is_empty() {
        page += &format!("\n\nSource: {}.", kind.section);
    }
    page += &not_yet(&kind.built);
    if let Some(Type::Variant(forms)) = &kind.value {
        page += "\n\nForms:";
        for form in *forms {
            page += &format!("\n  {}: {}{}", signature(form), form.doc, short_not_yet(&form.built));
        }
    }
    if !kind.fields.is_empty() {
        page += "\n\nFields:";
        for field in kind.fields {
            page +=
                &format!("\n  {}: {} {}{}", field.path, field.doc, default_words(field), short_not_yet(&field.built));
        }
    }
    if !kind.columns.is_empty() {
        page += "\n\nColumns:";
        for column in kind.columns {
            page += &format!("\n  {}: {}{}", column.name, column.doc, short_not_yet(&column.built));
        }
    }
    for part in kind.parts {
        page += &format!("\n\nColumns of NAME.{}. {}", part.word, part.doc);
        for column in part.columns {
            page += &format!("\n  {}: {}{}", column.name, column.doc, short_not_yet(&column.built));
        }
    }
    page + &format!("\n\nExample:\n\n{}", indent(kind.example))
}

fn field_page(field: &Field) -> String {
    let mut page = format!("{}\nTakes {}. {}", field.doc, field.ty.describe(), default_words(field));
    if field.harmless {
        page += " It changes no result.";
    }
    page + &not_yet(&field.built)
}

fn variant_page(variant: &Variant, place: &str) -> String {
    let mut page = format!("`{}`, a form of {place}\n\n{}", signature(variant), variant.doc);
    if !variant.formula.is_empty() {
        page += &format!("\n\n  {}", variant.formula);
    }
    if !variant.section.is_empty() {
        page += &format!("\n\nSource: {}.", variant.section);
    }
    if !variant.arguments.is_empty() {
        page += "\n\nArguments:";
        for argument in variant.arguments {
            page += &format!("\n  {}: {} {}", argument.path, argument.doc, default_words(argument));
        }
    }
    page + &not_yet(&variant.built)
}

fn column_page(column: &Column) -> String {
    let mut page = column.doc.to_string();
    match column.ty {
        ColumnType::Real => {}
        ColumnType::Whole => page += " A whole number.",
        ColumnType::Truth => page += " `true` or `false`.",
        ColumnType::Words([]) => {}
        ColumnType::Words(words) => page += &format!(" One of {}.", words.join(", ")),
    }
    if !column.unit.is_empty() {
        page += &format!(" Unit: {}.", column.unit);
    }
    if !column.section.is_empty() {
        page += &format!(" Source: {}.", column.section);
    }
    page + &not_yet(&column.built)
}

fn unit_page(unit: Unit) -> String {
    let doc = match unit {
        Unit::Epochs => "passes over the training rows",
        Unit::Prompts => "prompts of a chat corpus",
        Unit::Steps => "optimiser steps",
        _ => "rows of activations, one a token",
    };
    format!("`{}`, a unit: {doc}; written after a space, as in `{}`.", unit.word(), unit.example("20K"))
}

/// `l1(weight, reconstruction = l2, norm = sum)`.
pub(super) fn signature(variant: &Variant) -> String {
    if variant.arguments.is_empty() {
        return variant.word.to_string();
    }
    let arguments: Vec<String> = variant
        .arguments
        .iter()
        .map(|a| match a.default {
            Default::Text { text, .. } => format!("{} = {text}", a.path),
            _ => a.path.to_string(),
        })
        .collect();
    format!("{}({})", variant.word, arguments.join(", "))
}

/// The default in words.
pub(super) fn default_words(field: &Field) -> String {
    let of_sae = match field.default_of_sae {
        Some(text) => format!(", {text} with `variant = sae(..)`"),
        None => String::new(),
    };
    match &field.default {
        Default::Required => "Must be written.".to_string(),
        Default::Absent(meaning) => format!("Default: none ({meaning})."),
        Default::Text { text, source } => format!("Default: {text}{of_sae} ({source})."),
        Default::ByLoss { l1, topk, source } => {
            format!("Default: {l1} for l1, {topk} for batch_topk and topk ({source}).")
        }
    }
}

fn not_yet(built: &Built) -> String {
    match built {
        Built::Yes => String::new(),
        Built::NotYet(meanwhile) => format!("\n\nNot built yet: {meanwhile}."),
    }
}

fn short_not_yet(built: &Built) -> &'static str {
    if *built == Built::Yes { "" } else { " (not built yet)" }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
