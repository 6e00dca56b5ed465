//! `xd import PATH --out PLACE`: a crosscoder or table of another project in xd's own layout, both sides run on a probe.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::session::ended;
use super::{Format, Status};
use crate::exec::latent_counts::latent_counts;
use crate::exec::latent_df;
use crate::ml::crosscoder::{Activation, CodeNorm, Crosscoder, Target};
use crate::ml::formats::{
    Choices, Comparison, DelphiCache, Layout, WeightsFacts, WeightsFile, delphi_reader, verify_import,
};
use crate::out::table;

/// Arguments of `xd import`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Reads, by looking: the published layout (a folder with model.safetensors, or a .pt checkpoint, of any age), Kissane et al. (cc_weights.pt), \
crosscode (model.pt with model_cfg.yaml), SAELens (cfg.json with sae_weights.safetensors: `joint`, or the slices `base` and `tuned`), latent_df.csv or feature_df.csv, and latent caches of delphi (tables go to a .csv). docs/formats.md tells what of each is \
read. Activation caches need no import: `from = cache(\"base folder\", \"tuned folder\")` in a file.

Both sides encode and decode 32 rows, the source by its own project's convention; what does not agree is not kept.")]
pub struct ImportArgs {
    /// A folder, a .safetensors or .pt file, or a .csv.
    pub path: PathBuf,
    /// Folder (for a .csv: file) to write.
    #[arg(long, value_name = "PLACE")]
    pub out: PathBuf,
    /// What stands before the tensor names, such as `init.`.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// The threshold on f_j S_j of a BatchTopK crosscoder whose files lack it.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// An autoencoder of SAELens that reads both models' activations side by side, base first, and does not say so.
    #[arg(long)]
    pub side_by_side: bool,
    /// What an autoencoder of one vector reads (a published SAE or diff-SAE, or one of SAELens), where its files do not say it.
    #[arg(long, value_enum, conflicts_with = "side_by_side")]
    pub reads: Option<Reads>,
    /// The code norm, where the files do not name it.
    #[arg(long, value_enum)]
    pub norm: Option<Norm>,
    /// How to report: for people, one line, or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What an autoencoder reads, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reads {
    Base,
    Tuned,
    /// Tuned minus base.
    Difference,
}

/// A code norm on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Norm {
    Sum,
    Concat,
    None,
}

/// Runs the verb.
pub fn run(args: &ImportArgs) -> ExitCode {
    if !args.path.exists() {
        return ended(Status::Usage, &format!("{}: there is no such file or folder", args.path.display()));
    }
    let done = if args.path.extension().is_some_and(|ending| ending == "csv") {
        table_of(args)
    } else if args.path.is_dir() && delphi_reader::is_cache(&args.path) {
        latents_of(args)
    } else {
        crosscoder(args)
    };
    done.unwrap_or_else(|(status, message)| ended(status, &message))
}

type Done = Result<ExitCode, (Status, String)>;

fn failed(error: impl std::fmt::Display) -> (Status, String) {
    (Status::Failed, error.to_string())
}

fn crosscoder(args: &ImportArgs) -> Done {
    let file = WeightsFile::open(&args.path, args.prefix.as_deref()).map_err(failed)?;
    let file = match args.side_by_side {
        true => file.side_by_side().map_err(|error| (Status::Usage, error.to_string()))?,
        false => file,
    };
    let file = match args.reads {
        Some(Reads::Base) => file.reading(Target::Base),
        Some(Reads::Tuned) => file.reading(Target::Tuned),
        Some(Reads::Difference) => file.reading(Target::Difference),
        None => Ok(file),
    };
    let file = file.map_err(|error| (Status::Usage, error.to_string()))?;
    let facts = file.facts().map_err(failed)?;
    let choices = choices(args, &facts)?;
    // A folder beside the target takes the files until they have been read back.
    let new = beside(&args.out);
    let made = write(&file.load(&choices).map_err(failed)?, &new).and_then(|()| {
        let back = Crosscoder::load(&new).map_err(failed)?;
        let probe = verify_import(&file, &choices, &back).map_err(failed)?;
        match probe.agrees() {
            true => Ok((back, probe)),
            false if probe.active == 0.0 => Err(failed(format!(
                "{}: no latent fires on a probe of its own directions, however strong, so nothing can be compared; nothing was written",
                args.path.display()
            ))),
            false => Err(failed(format!(
                "{}: on a probe xd does not give what the convention of its project gives ({}); nothing was written",
                args.path.display(),
                words(&probe)
            ))),
        }
    });
    let (crosscoder, probe) = match made {
        Ok(made) => made,
        Err(problem) => {
            let _ = std::fs::remove_dir_all(&new);
            return Err(problem);
        }
    };
    place(&new, &args.out)?;
    report(args, &facts, &crosscoder, &probe);
    Ok(ExitCode::SUCCESS)
}

/// Options that contradict the files are refused: nothing is overridden in silence.
fn choices(args: &ImportArgs, facts: &WeightsFacts) -> Result<Choices, (Status, String)> {
    if let (Some(given), Ok(own)) = (args.threshold, &facts.activation) {
        let own = match own {
            Activation::Threshold { threshold, .. } => format!("has a threshold of its own, {threshold}"),
            Activation::Relu => "is a plain ReLU and has no threshold".to_string(),
            Activation::TopK { .. } => "keeps the k largest of each row and has no threshold".to_string(),
            Activation::JumpRelu { .. } => "has a threshold of its own for each latent".to_string(),
        };
        return Err((Status::Usage, format!("--threshold {given}: this crosscoder {own}; leave the option out")));
    }
    let norm = args.norm.map(|norm| match norm {
        Norm::Sum => CodeNorm::Sum,
        Norm::Concat => CodeNorm::Concat,
        Norm::None => CodeNorm::None,
    });
    if let Some(given) = norm.filter(|norm| !facts.norm_assumed && *norm != facts.norm) {
        return Err((
            Status::Usage,
            format!("--norm {}: the files say `{}`; leave the option out", given.word(), facts.norm.word()),
        ));
    }
    Ok(Choices { threshold: args.threshold, norm })
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    out.with_file_name(name)
}

fn write(crosscoder: &Crosscoder, folder: &Path) -> Result<(), (Status, String)> {
    std::fs::create_dir_all(folder).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
    crosscoder.save(folder).map_err(failed)
}

/// Moves the files of a folder that was checked to where they are wanted.
fn place(new: &Path, out: &Path) -> Result<(), (Status, String)> {
    let wrong = |error: std::io::Error| failed(format!("{}: {error}", out.display()));
    std::fs::create_dir_all(out).map_err(wrong)?;
    for entry in std::fs::read_dir(new).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        std::fs::rename(entry.path(), out.join(entry.file_name())).map_err(wrong)?;
    }
    std::fs::remove_dir(new).map_err(wrong)
}

fn notes(args: &ImportArgs, facts: &WeightsFacts, crosscoder: &Crosscoder) -> Vec<String> {
    let mut notes = Vec::new();
    // The sentence about the norm is the first.
    let decided = usize::from(facts.norm_assumed && args.norm.is_some());
    notes.extend(facts.assumed.iter().skip(decided).cloned());
    if let Some(target) = crosscoder.variant.target() {
        notes.push(format!("it is a sparse autoencoder: `variant = sae(on = {})`", target.word()));
    }
    if facts.normalizes {
        notes.push(
            "it normalises its rows by its own mean and scale; they are kept, so use it with `normalize = none`".into(),
        );
    }
    if let Some(expects) = facts.expects {
        notes.push(format!("crosscoders in this layout read rows scaled by `normalize = {expects}`, and their files do not keep the scale"));
    }
    if let Activation::Threshold { threshold, .. } = &crosscoder.activation
        && *threshold < 0.0
    {
        notes.push(format!("its threshold is {threshold}: it was never set, and a negative one is a plain ReLU"));
    }
    if facts.layout == Layout::Crosscode && matches!(crosscoder.activation, Activation::TopK { .. }) {
        notes.push("crosscode also keeps negative preactivations when fewer than k are positive; xd does not".into());
    }
    if facts.layout == Layout::Saelens && matches!(crosscoder.activation, Activation::TopK { .. }) && !facts.autoencoder
    {
        notes.push(match crosscoder.code_norm {
            CodeNorm::None => "features are those of SAELens: where a code norm was put into the weights, they are f_j times it",
            _ => "it ranks by the norms of whole decoder rows; features of SAELens are f_j times that norm, those of xd f_j",
        }.into());
    }
    notes
}

/// `relu`, `threshold 1.7 (k = 100)`, `k = 32 a row`.
fn activation(crosscoder: &Crosscoder) -> String {
    match &crosscoder.activation {
        Activation::Relu => "relu".into(),
        Activation::JumpRelu { .. } => "a threshold a latent".into(),
        Activation::Threshold { k, threshold } => format!("threshold {threshold} (k = {k})"),
        Activation::TopK { k } => format!("k = {k} a row"),
    }
}

/// `32 rows, 8.1 active a row, features differ by 1.2e-7, reconstructions by 3.1e-7 of the largest`.
pub fn words(probe: &Comparison) -> String {
    format!(
        "{} rows, {:.1} active a row; features differ by {:.1e}, reconstructions by {:.1e} of the largest",
        probe.rows, probe.active, probe.features, probe.reconstruction
    )
}

fn report(args: &ImportArgs, facts: &WeightsFacts, crosscoder: &Crosscoder, probe: &Comparison) {
    let notes = notes(args, facts, crosscoder);
    let (norm, out) = (crosscoder.code_norm.word(), args.out.display().to_string());
    match args.format {
        Format::Json => {
            let report = json!({
                "path": args.path.display().to_string(), "layout": facts.layout.word(), "width": crosscoder.width,
                "latents": crosscoder.latents, "norm": norm, "activation": activation(crosscoder), "notes": notes, "probe": probe, "out": out,
            });
            say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        }
        Format::Short => {
            say!("{out}\t{}\t{} latents\t{}", facts.layout.word(), crosscoder.latents, activation(crosscoder))
        }
        Format::Human => {
            say!(
                "{}: {} layout, width {}, {} latents, code norm {norm}, {}",
                args.path.display(),
                facts.layout.word(),
                crosscoder.width,
                crosscoder.latents,
                activation(crosscoder)
            );
            notes.iter().for_each(|note| say!("note    {note}"));
            say!("probe   {}", words(probe));
            say!("wrote   {out}");
        }
    }
}

/// Options of crosscoders.
fn no_options(args: &ImportArgs, what: &str) -> Result<(), (Status, String)> {
    if args.threshold.is_some()
        || args.norm.is_some()
        || args.prefix.is_some()
        || args.side_by_side
        || args.reads.is_some()
    {
        return Err((
            Status::Usage,
            format!("{what} has no threshold, norm, prefix, sides or target; leave the option out"),
        ));
    }
    Ok(())
}

/// A cache of delphi, as a table of its latents.
fn latents_of(args: &ImportArgs) -> Done {
    no_options(args, "a latent cache")?;
    if args.out.extension().is_none_or(|ending| ending != "csv") {
        return Err((
            Status::Usage,
            format!("{}: a latent cache becomes a table; name a .csv file", args.out.display()),
        ));
    }
    let counts = DelphiCache::open(&args.path).and_then(|cache| cache.count()).map_err(failed)?;
    table::write(&latent_counts(&counts).map_err(failed)?, &args.out).map_err(failed)?;
    let mut notes = Vec::new();
    if counts.asked {
        notes.push(
            "the files hold no tokens: frequencies are shares of the tokens that config.json asks for".to_string(),
        );
    }
    if counts.negative > 0 {
        notes.push(format!("{} activations below 0 are not counted", counts.negative));
    }
    let active = counts.latents.iter().filter(|latent| latent.active > 0).count();
    let (latents, tokens, out) = (counts.latents.len(), counts.tokens, args.out.display().to_string());
    match args.format {
        Format::Json => {
            let report = json!({
                "path": args.path.display().to_string(), "layout": "delphi", "latents": latents, "active": active, "tokens": tokens, "notes": notes,
                "out": out,
            });
            say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        }
        Format::Short => say!("{out}\tdelphi\t{latents} latents\t{tokens} tokens"),
        Format::Human => {
            say!(
                "{}: latent cache of delphi, {latents} latents, {active} of them active on {tokens} tokens",
                args.path.display()
            );
            notes.iter().for_each(|note| say!("note    {note}"));
            say!("wrote   {out}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table_of(args: &ImportArgs) -> Done {
    no_options(args, "a table")?;
    let frame = latent_df::read(&args.path).map_err(failed)?;
    table::write(&frame, &args.out).map_err(failed)?;
    let columns: Vec<&str> = frame.names().collect();
    let out = args.out.display().to_string();
    match args.format {
        Format::Json => {
            let report = json!({ "path": args.path.display().to_string(), "rows": frame.rows(), "columns": columns, "out": out });
            say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        }
        Format::Short => say!("{out}\t{} rows\t{} columns", frame.rows(), columns.len()),
        Format::Human => {
            say!("{}: {} latents; delta_norm is 1 - dec_norm_diff", args.path.display(), frame.rows());
            say!("columns {}", columns.join(" "));
            say!("wrote   {out}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
