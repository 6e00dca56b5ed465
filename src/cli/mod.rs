//! The verbs, one file each. The only place that prints.

/// Prints a line to standard output. A reader who has gone away (`xd run .. | head`) is no reason to stop.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Prints to standard output without ending the line.
macro_rules! say_part {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = write!(std::io::stdout(), $($text)*);
    }};
}

/// Prints a line to standard error.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod check;
#[cfg(feature = "engine")]
mod device;
#[cfg(feature = "engine")]
mod doctor;
mod explain;
#[cfg(feature = "engine")]
mod export;
mod fmt;
#[cfg(feature = "engine")]
mod format_facts;
#[cfg(feature = "engine")]
mod hub;
mod hub_cache;
#[cfg(feature = "engine")]
mod import;
mod model_facts;
mod new;
#[cfg(feature = "engine")]
mod plan;
#[cfg(feature = "engine")]
mod progress;
mod report_diagnostics;
#[cfg(feature = "engine")]
mod run;
#[cfg(feature = "engine")]
mod session;
mod show;
pub mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Fine = 0,
    /// The command line says something that cannot be done: no such file, no such option.
    Usage = 1,
    /// The `.xd` file has mistakes.
    Invalid = 2,
    /// A step failed while running.
    Failed = 3,
    /// Everything ran, and an expectation did not hold.
    Expectation = 4,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

/// How mistakes are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// With the place in the text drawn.
    #[default]
    Human,
    /// One line each: `file:line:column: severity[code]: message`.
    Short,
    /// One JSON object on standard output.
    Json,
}

/// Model diffing with crosscoders: small declarative files, checked before they run.
#[derive(Parser)]
#[command(name = "xd", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(
    after_help = "Exit status: 0 fine, 1 usage, 2 the file has mistakes, 3 a step failed, 4 an expectation did not hold."
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

/// One variant a verb, in the order of a working day. The verbs that run things stand behind the feature `engine`.
#[derive(Subcommand)]
enum Verb {
    New(new::Args),
    Check(check::Args),
    Fmt(fmt::Args),
    Show(show::Args),
    Explain(explain::Args),
    /// Say what a run would do, what is in the store, and why the rest is to do
    #[cfg(feature = "engine")]
    Plan(plan::PlanArgs),
    /// Do every step that the store lacks, then write tables, plots and the report
    #[cfg(feature = "engine")]
    Run(run::RunArgs),
    /// Bring a crosscoder or table of another project into xd's own layout, compared on a probe
    #[cfg(feature = "engine")]
    Import(import::ImportArgs),
    /// Write a step's result in the format of another project, compared on a probe
    #[cfg(feature = "engine")]
    Export(export::ExportArgs),
    /// Say what this machine offers and where things are kept
    #[cfg(feature = "engine")]
    Doctor(doctor::DoctorArgs),
}

/// Runs the verb named on the command line and maps its result to an exit status.
pub fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let asked = !error.use_stderr();
            // Nothing can be said when even this cannot be printed.
            let _ = error.print();
            return if asked { Status::Fine } else { Status::Usage }.into();
        }
    };
    match command.verb {
        Verb::New(args) => new::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Fmt(args) => fmt::run(args),
        Verb::Show(args) => show::run(args),
        Verb::Explain(args) => explain::run(args),
        #[cfg(feature = "engine")]
        Verb::Plan(args) => plan::run(&args),
        #[cfg(feature = "engine")]
        Verb::Run(args) => run::run(&args),
        #[cfg(feature = "engine")]
        Verb::Import(args) => import::run(&args),
        #[cfg(feature = "engine")]
        Verb::Export(args) => export::run(&args),
        #[cfg(feature = "engine")]
        Verb::Doctor(args) => doctor::run(&args),
    }
}

/// Reads a file of xd; a sentence about what is wrong goes to standard error.
fn read(path: &std::path::Path) -> Result<String, Status> {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            tell!("xd: {} is not a text in UTF-8 (byte {at})", path.display());
            Status::Usage
        }),
        Err(error) => {
            tell!("xd: {}: {}", path.display(), world::reason(&error));
            Err(Status::Usage)
        }
    }
}
