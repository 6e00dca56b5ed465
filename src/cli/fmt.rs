//! `xd fmt FILE..`: the canonical layout.

use std::path::PathBuf;
use std::process::ExitCode;

use super::report_diagnostics::report;
use super::{Format, Status, read};
use crate::lang::source::Sources;
use crate::lang::syntax;

/// Lay files out in the canonical form; comments stay
#[derive(clap::Args)]
pub struct Args {
    /// The files to lay out
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; exit with 2 when a file is not in canonical form
    #[arg(long)]
    check: bool,
    /// How to report mistakes that keep a file from being read
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Lays out each file in place; the worst status wins.
pub fn run(args: Args) -> ExitCode {
    let mut worst = Status::Fine;
    for path in &args.files {
        let status = one(path, &args);
        worst = if status == Status::Fine { worst } else { status };
    }
    worst.into()
}

fn one(path: &PathBuf, args: &Args) -> Status {
    let shown = path.display().to_string();
    let text = match read(path) {
        Ok(text) => text,
        Err(status) => return status,
    };
    let laid_out = match syntax::fmt(&text) {
        Ok(laid_out) => laid_out,
        Err(diagnostics) => {
            let mut sources = Sources::default();
            sources.add(&shown, text);
            report(&diagnostics, &sources, &shown, args.format);
            return Status::Invalid;
        }
    };
    if laid_out == text {
        return Status::Fine;
    }
    if args.check {
        say!("{shown} is not in canonical form; `xd fmt {shown}` lays it out");
        return Status::Invalid;
    }
    match std::fs::write(path, laid_out) {
        Ok(()) => Status::Fine,
        Err(error) => {
            tell!("xd: {shown}: {}", super::world::reason(&error));
            Status::Usage
        }
    }
}
