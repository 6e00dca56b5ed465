//! What `plan` and `run` share: the file, checked and planned, and the store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::hub::Change;
use super::progress::Show;
use super::report_diagnostics::report;
use super::world::FileWorld;
use super::{Format, Status, read};
use crate::exec::hub::Hub;
use crate::exec::manifest::InputFile;
use crate::exec::{Store, inputs};
use crate::lang::diagnostic::{Code, render};
use crate::lang::hub::Lock;
use crate::lang::plan::Plan;
use crate::lang::world::World;
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

/// What a run does about the hub that a plan does not.
pub struct Pinning<'a> {
    pub hub: &'a Hub,
    /// Pin everything anew, whatever the lock file says.
    pub update: bool,
    pub show: &'a Show,
}

/// How often a file is planned: before anything is pinned, with what is pinned, and with the facts of it.
const ROUNDS: usize = 3;

impl Session {
    /// Reads, checks and plans the file; prints its mistakes. Never touches the network.
    ///
    /// # Errors
    /// The exit status to end with: 2 for a file with mistakes, 3 when the store cannot be opened.
    pub fn load(args: &SessionArgs, format: Format) -> Result<Loaded, ExitCode> {
        Session::load_with(args, format, None)
    }

    /// The same for a run, which first pins what the file names of the hub and learns the facts of it.
    ///
    /// # Errors
    /// Also what the hub refuses.
    pub fn load_pinned(args: &SessionArgs, format: Format, pinning: &Pinning) -> Result<Loaded, ExitCode> {
        Session::load_with(args, format, Some(pinning))
    }

    fn load_with(args: &SessionArgs, format: Format, pinning: Option<&Pinning>) -> Result<Loaded, ExitCode> {
        set_threads(args.threads);
        let file = args.file.display().to_string();
        let text = read(&args.file)?;
        let analysed = |world: &FileWorld| {
            let mut sources = Sources::default();
            let id = sources.add(file.clone(), text.clone());
            let analysis = analyse(world, &mut sources, id, &args.sets, false);
            (analysis, sources)
        };
        let update = pinning.is_some_and(|pinning| pinning.update);
        let mut world = FileWorld::of(&args.file);
        let mut lock = world.lock();
        if update {
            world = FileWorld::with_lock(&args.file, Lock::default());
        }
        let (mut analysis, mut sources) = analysed(&world);
        if let (true, Some(plan)) = (update, &analysis.plan) {
            let mut left = lock.unwrap_or_default();
            left.forget(plan.steps.iter().flat_map(|step| step.spec.hub_refs()).map(|(_, hub)| &hub.wanted));
            lock = Ok(left);
        }
        for _ in 0..ROUNDS {
            let (Some(pinning), Some(plan), Ok(lock)) = (pinning, &analysis.plan, &mut lock) else { break };
            match super::hub::prepare(plan, lock, &args.file, pinning.hub, pinning.show) {
                Ok(Change::None) => break,
                Ok(Change::Known) => {
                    world = FileWorld::with_lock(&args.file, lock.clone());
                    (analysis, sources) = analysed(&world);
                }
                Err(None) => return Err(ended(Status::Failed, "stopped; the same command goes on from here")),
                Err(Some(refused)) => {
                    let status = if refused.code == Code::HubUnreachable { Status::Failed } else { Status::Invalid };
                    report(&[*refused], &sources, &file, format);
                    return Err(status.into());
                }
            }
        }
        let errors = analysis.has_errors();
        let Some(plan) = analysis.plan.filter(|_| !errors) else {
            report(&analysis.diagnostics, &sources, &file, format);
            if !errors {
                let message = format!(
                    "{file} has no mistake that xd knows, and yet it made no plan of it: please report this file"
                );
                return Err(ended(Status::Failed, &message));
            }
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
