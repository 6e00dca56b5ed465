//! `xd explain WORD`: what a diagnostic, kind, field, form, unit or column means.

use std::process::ExitCode;

use super::Status;
use crate::lang::diagnostic::{Code, explain, suggest};
use crate::lang::schema;

/// Explain a diagnostic code, or a kind, field, form, unit or column of the language
#[derive(clap::Args)]
pub struct Args {
    /// The word, such as `misplaced_field`, `crosscoder`, `batch_topk` or `nu_error`; without it, the list of codes
    word: Option<String>,
}

/// Prints the page of the word.
pub fn run(args: Args) -> ExitCode {
    let Some(word) = args.word else {
        for code in Code::ALL {
            say!("{}", code.slug());
        }
        return Status::Fine.into();
    };
    let word = word.trim().trim_matches('`');
    let slug = word.strip_prefix("xd::").unwrap_or(word);
    if let Some(code) = Code::ALL.iter().find(|code| code.slug() == slug) {
        say!("{}", explain(*code).trim_end());
        return Status::Fine.into();
    }
    if let Some(page) = schema::explain(word) {
        say!("{}", page.trim_end());
        return Status::Fine.into();
    }
    tell!("xd: there is no page about `{word}`");
    let codes = Code::ALL.iter().map(|code| code.slug());
    if let Some(near) = suggest(word, codes).or_else(|| schema::nearest_word(word)) {
        tell!("did you mean `{near}`?");
    }
    Status::Usage.into()
}
