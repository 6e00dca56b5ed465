//! `xd run FILE`: does every step that the store lacks, then writes tables, plots and the report.

use std::path::PathBuf;
use std::process::ExitCode;

use super::device::{DeviceArgs, Refusal, with_card};
use super::plan::{CardRoom, Totals, refusals};
use super::progress::{Show, duration, stop_on_interrupt, thousands};
use super::session::{Loaded, Pinning, Session, SessionArgs, ended};
use super::{Format, Status};
use crate::exec::device::Device;
use crate::exec::executor::{self, Outcome};
use crate::exec::manifest::ExpectationEntry;
use crate::exec::status::status;
use crate::exec::{self, Options};
use crate::lang::plan::Plan;

/// Arguments of `xd run`.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub struct RunArgs {
    #[command(flatten)]
    pub session: SessionArgs,
    /// Only this name, and what it needs.
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Where tables, plots and the report go [default: runs/<file stem>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Ask the hub again what the file names of it, and pin that in the lock file.
    #[arg(long)]
    pub update_lock: bool,
    /// How to report: for people, one line each, or JSON (the manifest).
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Shows these options and the params of the file.
    #[arg(long, short = 'h')]
    pub help: bool,
}

/// Runs the verb.
pub fn run(args: &RunArgs) -> ExitCode {
    if args.help {
        return match Session::load(&args.session, args.format) {
            Ok(loaded) => {
                print_params(&loaded.plan);
                ExitCode::SUCCESS
            }
            Err(code) => code,
        };
    }
    stop_on_interrupt();
    let quiet = !matches!(args.format, Format::Human);
    let show = Show::new(quiet);
    let hub = super::hub::of_machine();
    let pinning = Pinning { hub: &hub, update: args.update_lock, show: &show };
    let Loaded { plan, session } = match Session::load_pinned(&args.session, args.format, &pinning) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    crate::ml::lm::tune_allocator();
    let gpu = match args.device.open() {
        Ok(gpu) => gpu,
        Err(refusal) => return refused(refusal),
    };
    let device = with_card(Device::measure(), gpu.as_ref().map(|gpu| gpu.name()));
    match status(&plan, &session.store, &session.experiment) {
        Ok(statuses) => {
            let totals = Totals::of(&plan, &statuses, &device);
            // With the kernels and cuBLAS there already, so some of what is set aside for them is counted twice.
            let card = args.device.look().ok().flatten().and_then(|card| CardRoom::here(&card));
            let of_card = card.and_then(|room| room.refusal(&plan, &room.needs(&plan, &session.store, &statuses)));
            let refusal = refusals(&totals, session.store.root()).into_iter().chain(of_card).next();
            if let Some(refusal) = refusal {
                return refused(refusal);
            }
            if !quiet {
                tell!(
                    "{}: {} to do, {} in the store, about {} on {}",
                    session.file,
                    totals.to_do,
                    totals.cached,
                    duration(totals.seconds),
                    device.name
                );
            }
        }
        Err(error) => return ended(Status::Failed, &error.to_string()),
    }
    let options = Options {
        file: session.file.clone(),
        experiment: session.experiment.clone(),
        out: args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&session.experiment)),
        only: args.only.clone(),
        resolved: session.resolved.clone(),
        sources: session.sources.iter().map(|(_, s)| (s.path.clone(), s.text.clone())).collect(),
        warnings: session.warnings.clone(),
        inputs: session.inputs.clone(),
        hub,
        gpu,
    };
    match executor::run(&plan, &session.store, &options, &device, &show) {
        Ok(outcome) => report(&plan, &session, &outcome, args.format),
        Err(exec::Error::Interrupted) => {
            tell!("stopped; what is done is kept, and the same command goes on from here");
            Status::Failed.into()
        }
        Err(error) => ended(Status::Failed, &error.to_string()),
    }
}

fn refused((code, message, help): Refusal) -> ExitCode {
    ended(Status::Invalid, &format!("xd::{code}\n\n  × {message}\n  help: {help}"))
}

fn report(plan: &Plan, session: &Session, outcome: &Outcome, format: Format) -> ExitCode {
    match format {
        Format::Human => print_human(plan, session, outcome),
        Format::Short => print_short(outcome),
        Format::Json => say!("{}", serde_json::to_string_pretty(&outcome.manifest).unwrap_or_default()),
    }
    if !outcome.failures.is_empty() {
        Status::Failed.into()
    } else if outcome.manifest.expectations.iter().any(|e| !e.passed) {
        Status::Expectation.into()
    } else {
        ExitCode::SUCCESS
    }
}

fn print_human(plan: &Plan, session: &Session, outcome: &Outcome) {
    for table in &outcome.tables {
        say!();
        if let Some(docs) = &table.docs {
            say!("{docs}");
        }
        say!("{}", table.text.trim_end());
    }
    if !outcome.manifest.expectations.is_empty() {
        say!("\nexpectations");
        for expectation in &outcome.manifest.expectations {
            say!("  {}", describe(expectation));
        }
    }
    for failure in &outcome.failures {
        let step = &plan.steps[failure.step.0];
        let (line, column) = session.sources.position(step.span.file, step.span.start);
        let path = &session.sources.get(step.span.file).path;
        tell!("\n{path}:{line}:{column}: {} failed\n  × {}", step.address, failure.message);
    }
    say!();
    for path in &outcome.figures {
        say!("plot    {}", path.display());
    }
    for table in &outcome.tables {
        say!("table   {}", table.path.display());
    }
    if let Some(report) = &outcome.report {
        say!("report  {}", report.display());
    }
}

fn print_short(outcome: &Outcome) {
    for entry in &outcome.manifest.steps {
        let state = if entry.cached { "cached" } else { entry.state.as_str() };
        say!("{}\t{state}\t{:.1} s\t{} tokens", entry.address, entry.seconds, thousands(entry.tokens));
    }
    for expectation in &outcome.manifest.expectations {
        say!("{}", describe(expectation));
    }
}

/// `pass  better  mean(..) > mean(..)   0.97 > 0.41`.
fn describe(expectation: &ExpectationEntry) -> String {
    let word = if expectation.passed { "pass" } else { "FAIL" };
    let mut line = format!("{word}  {}: {}", expectation.name, expectation.text);
    if !expectation.detail.is_empty() {
        line.push_str(&format!("  ({})", expectation.detail));
    }
    line
}

fn print_params(plan: &Plan) {
    use clap::CommandFactory;
    let mut command = super::CommandLine::command();
    if let Some(run) = command.find_subcommand_mut("run") {
        say!("{}", run.render_help());
    }
    if plan.params.is_empty() {
        say!("The file has no params.");
        return;
    }
    say!("Params of the file (change one with --set NAME=VALUE):");
    for param in &plan.params {
        say!("  {} = {}", param.name, param.value);
        if let Some(docs) = &param.docs {
            for line in docs.lines() {
                say!("      {line}");
            }
        }
    }
}
