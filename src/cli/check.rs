//! `xd check FILE..`: every mistake of every file, without running anything.

use std::path::PathBuf;
use std::process::ExitCode;

use super::report_diagnostics::report;
use super::world::FileWorld;
use super::{Format, Status, read};
use crate::lang::source::Sources;
use crate::lang::{analyse, diagnostic::render};

/// Find every mistake in files without running them
#[derive(clap::Args)]
pub struct Args {
    /// The files to check
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change a param, as for run: --set k=50
    #[arg(long, value_name = "PARAM=VALUE")]
    set: Vec<String>,
    /// Also say what a careful reviewer would ask
    #[arg(long)]
    pedantic: bool,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Checks each file; the worst status wins.
pub fn run(args: Args) -> ExitCode {
    let mut worst = Status::Fine;
    let mut all = Vec::new();
    for path in &args.files {
        let shown = path.display().to_string();
        let text = match read(path) {
            Ok(text) => text,
            Err(status) => {
                worst = if worst == Status::Fine { status } else { worst };
                continue;
            }
        };
        let mut sources = Sources::default();
        let file = sources.add(&shown, text);
        let world = FileWorld::of(path);
        let analysis = analyse(&world, &mut sources, file, &args.set, args.pedantic);
        if analysis.has_errors() {
            worst = Status::Invalid;
        }
        match args.format {
            Format::Json => all.push((analysis.diagnostics, sources)),
            format => {
                report(&analysis.diagnostics, &sources, &shown, format);
                if analysis.diagnostics.is_empty() && format == Format::Human {
                    say!("{}", render::summary(&[], &shown));
                }
            }
        }
    }
    if args.format == Format::Json {
        say!("{}", render::json(all.iter().map(|(found, sources)| (found.as_slice(), sources))));
    }
    worst.into()
}
