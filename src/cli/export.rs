//! `xd export FILE ADDRESS --as FORMAT --out PLACE`: a step's result for another project.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::import::words;
use super::session::{Loaded, Session, SessionArgs, ended};
use super::{Format, Status};
use crate::exec::export::{ExportAs, ExportOptions, export, find};
use crate::ml::formats::ExportLayout;
use crate::ml::watch::Unwatched;

/// Arguments of `xd export`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
crosscoder           published torch kissane crosscode saelens delphi tensors
activations          tensors cache
classify, scaling    latent_df

What is written is read back by the convention of its project and compared on a probe. Where a format has no place for something (a \
threshold, a code norm, a normaliser) it is refused, and `--lossy` writes it all the same. docs/formats.md tells what each holds.")]
pub struct ExportArgs {
    #[command(flatten)]
    pub session: SessionArgs,
    /// The step: `cc`, or a point of it, `cc[loss = batch_topk]`.
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// The format.
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub kind: Kind,
    /// File or folder to write.
    #[arg(long, value_name = "PLACE")]
    pub out: PathBuf,
    /// Write even what the format has no place for.
    #[arg(long)]
    pub lossy: bool,
    /// Which rows, of activations and for delphi.
    #[arg(long, value_enum, default_value_t)]
    pub part: Part,
    /// Write the shards of a cache in bf16.
    #[arg(long)]
    pub bf16: bool,
    /// How to report: for people, one line, or JSON.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Folder of the published project: model.safetensors, config.json, trainer_config.json.
    Published,
    /// One .pt file, the state dict of the published classes.
    Torch,
    /// Folder: cc_weights.pt, cfg.json.
    Kissane,
    /// Folder: model.pt, model_cfg.yaml.
    Crosscode,
    /// Folders joint, base and tuned, each an autoencoder of SAELens.
    Saelens,
    /// Folder: a cache of latent activations for delphi.
    Delphi,
    /// One .csv in the published columns.
    #[value(name = "latent_df")]
    LatentDf,
    /// One .safetensors file.
    Tensors,
    /// Folders base and tuned of the published activation cache.
    Cache,
}

/// Which rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Rows for training.
    #[default]
    Train,
    /// Held-out rows.
    Validate,
}

impl Kind {
    fn format(self) -> ExportAs {
        match self {
            Kind::Published => ExportAs::Layout(ExportLayout::Published),
            Kind::Torch => ExportAs::Layout(ExportLayout::Torch),
            Kind::Kissane => ExportAs::Layout(ExportLayout::Kissane),
            Kind::Crosscode => ExportAs::Layout(ExportLayout::Crosscode),
            Kind::Saelens => ExportAs::Layout(ExportLayout::Saelens),
            Kind::Delphi => ExportAs::Delphi,
            Kind::LatentDf => ExportAs::LatentDf,
            Kind::Tensors => ExportAs::Tensors,
            Kind::Cache => ExportAs::Cache,
        }
    }
}

/// Runs the verb.
pub fn run(args: &ExportArgs) -> ExitCode {
    let Loaded { plan, session } = match Session::load(&args.session, args.format) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let index = match find(&plan, &args.address) {
        Ok(index) => index,
        Err(message) => return ended(Status::Usage, &message),
    };
    let hub = super::hub::of_machine();
    let options = ExportOptions {
        format: args.kind.format(),
        out: &args.out,
        lossy: args.lossy,
        validate: args.part == Part::Validate,
        bf16: args.bf16,
        hub: &hub,
        watch: &Unwatched,
    };
    let address = plan.steps[index.0].address.to_string();
    let exported = match export(&plan, &session.store, index, &options) {
        Ok(exported) => exported,
        Err(error) => return ended(Status::Failed, &error.to_string().replace("FILE", &session.file)),
    };
    let out = args.out.display().to_string();
    match args.format {
        Format::Json => {
            let report = json!({ "address": address, "out": out, "exported": exported });
            say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        }
        Format::Short => say!("{out}\t{address}\t{}", exported.what),
        Format::Human => {
            say!("{address}: {}", exported.what);
            exported.lost.iter().for_each(|lost| say!("lost    {lost}"));
            exported.notes.iter().for_each(|note| say!("note    {note}"));
            if let Some(probe) = &exported.probe {
                say!("probe   {}", words(probe));
            }
            say!("wrote   {out}");
        }
    }
    ExitCode::SUCCESS
}
