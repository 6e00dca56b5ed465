//! `xd new NAME`: a commented file to start from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Status;

/// Write a commented file to start from
#[derive(clap::Args)]
pub struct Args {
    /// The file to write; `.xd` is added where it lacks
    name: PathBuf,
    /// The experiment to start from
    #[arg(long, value_enum, default_value_t)]
    from: Start,
}

/// The files that a new one can begin as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Start {
    /// A pair whose truth is known, two losses, tables, a plot and an expectation; runs in seconds
    #[default]
    Template,
    /// The shipped experiment on a small chat model
    Quickstart,
}

/// The folder of the models that the quickstart reads.
const ORGANISM: &str = "organism";

/// Writes the file; an existing one is left alone.
pub fn run(args: Args) -> ExitCode {
    let mut path = args.name;
    if path.extension().is_none_or(|e| e != "xd") {
        path.as_mut_os_string().push(".xd");
    }
    let text = match args.from {
        Start::Template => include_str!("new/template.xd").to_string(),
        Start::Quickstart => quickstart(&path),
    };
    let shown = path.display();
    // Only a file that was not there is opened, so that nobody's experiment is overwritten.
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    match written.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            say!("wrote {shown}; `xd check {shown}` reads it, `xd run {shown}` does it");
            Status::Fine.into()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            tell!("xd: {shown} exists already and is left as it is");
            Status::Usage.into()
        }
        Err(error) => {
            tell!("xd: {shown}: {}", super::world::reason(&error));
            Status::Usage.into()
        }
    }
}

/// The quickstart with paths that hold at `path`.
fn quickstart(path: &Path) -> String {
    let text = include_str!("../../experiments/quickstart.xd");
    let beside = path.parent().unwrap_or(Path::new(""));
    if beside.join(ORGANISM).is_dir() {
        return text.to_string();
    }
    match organism(beside) {
        Some(found) => {
            let found = found.display().to_string().replace('\\', "/");
            text.replace(&format!("\"{ORGANISM}/"), &format!("\"{found}/"))
        }
        None => {
            let note = "# The models and texts under organism/ are those of experiments/organism in the repository of xd; put that folder\n# beside this file.\n";
            text.replacen("xd 1\n", &format!("xd 1\n\n{note}"), 1)
        }
    }
}

/// Where the small models are: in the folder the command is typed in, or where this program was built.
fn organism(beside: &Path) -> Option<PathBuf> {
    let here = Path::new("experiments").join(ORGANISM);
    if here.is_dir() {
        return if beside == Path::new("") { Some(here) } else { here.canonicalize().ok() };
    }
    let program = std::env::current_exe().ok()?;
    program.ancestors().map(|folder| folder.join("experiments").join(ORGANISM)).find(|folder| folder.is_dir())
}
