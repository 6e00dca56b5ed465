//! What `plan` and `run` share: the file, checked and planned, and the store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::report_diagnostics::report;
use super::world::FileWorld;
use super::{Format, Status, read};
use crate::exec::manifest::InputFile;
use crate::exec::{Store, inputs};
use crate::lang::diagnostic::render;
use crate::lang::plan::Plan;
use crate::lang::{Sources, analyse};

/// Arguments that name a file and its surroundings.
#[derive(clap::Args, Debug)]
pub struct SessionArgs {
    /// The experiment.
    pub file: PathBuf,
    /// Gives a param another value: `--set k=50`.
    #[arg(long = "set", value_name = "PARAM=VALUE")]
    pub sets: Vec<String>,
    /// Where artifacts are kept [default: $XD_STORE or .xd/store].
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Threads to compute with [default: all]. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// An experiment ready to be planned or run.
pub struct Session {
    /// As the user named it.
    pub file: String,
    /// The stem of the file.
    pub experiment: String,
    pub store: Store,
    pub sources: Sources,
    /// The warnings of the check, one line each.
    pub warnings: Vec<String>,
    /// The resolved file with origins.
    pub resolved: String,
    pub inputs: Vec<InputFile>,
}

/// A plan and its session.
pub struct Loaded {
    pub plan: Plan,
    pub session: Session,
}

impl Session {
    /// Reads, checks and plans the file; prints its mistakes.
    ///
    /// # Errors
    /// The exit status to end with: 2 for a file with mistakes, 3 when the store cannot be opened.
    pub fn load(args: &SessionArgs, format: Format) -> Result<Loaded, ExitCode> {
        set_threads(args.threads);
        let file = args.file.display().to_string();
        let text = read(&args.file)?;
        let world = FileWorld::new();
        let mut sources = Sources::default();
        let id = sources.add(file.clone(), text);
        let analysis = analyse(&world, &mut sources, id, &args.sets, false);
        let errors = analysis.has_errors();
        let Some(plan) = analysis.plan.filter(|_| !errors) else {
            report(&analysis.diagnostics, &sources, &file, format);
            return Err(Status::Invalid.into());
        };
        if !matches!(format, Format::Json) && !analysis.diagnostics.is_empty() {
            report(&analysis.diagnostics, &sources, &file, format);
        }
        let warnings = analysis.diagnostics.iter().map(|found| render::short(found, &sources)).collect();
        let store = Store::open(store_folder(args.store.as_ref()))
            .map_err(|e| ended(Status::Failed, &format!("the store cannot be opened: {e}")))?;
        let session = Session {
            experiment: stem(&args.file),
            inputs: inputs::of(&plan, &world),
            resolved: super::show::as_text(&plan, None, &sources),
            warnings,
            file,
            store,
            sources,
        };
        Ok(Loaded { plan, session })
    }
}

/// `experiments/quickstart.xd` -> `quickstart`.
fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_else(|| "experiment".to_string())
}

/// Says why the program ends, and gives the status to end with.
pub fn ended(status: Status, message: &str) -> ExitCode {
    tell!("xd: {message}");
    status.into()
}

/// The thread pool of every computation. A second call in one process changes nothing.
fn set_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global();
        // SAFETY: called before any other thread is started; candle reads the variable when it asks for its thread count.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.max(1).to_string()) };
    }
}

/// Where the store is: `--store`, `$XD_STORE`, `.xd/store`.
pub fn store_folder(option: Option<&PathBuf>) -> PathBuf {
    option
        .cloned()
        .or_else(|| std::env::var_os("XD_STORE").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(".xd/store"))
}
