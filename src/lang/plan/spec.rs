//! What each kind of step does, as data: values in force, units turned into numbers, names turned into roles.
//!
//! Paths are as written plus `from`, the file that wrote them (see [`FileRef`]). Anything that another step makes is not
//! here but among the step's inputs.

use serde::{Deserialize, Serialize};

use crate::lang::hub::HubRef;
use crate::lang::syntax::tree::Operator;

/// One variant a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Spec {
    Model(ModelSpec),
    /// inputs: `base`, `tuned` (model steps); none when synthetic.
    Pair(PairSpec),
    Corpus(CorpusSpec),
    Template(TemplateSpec),
    /// inputs: `of` (pair); `train`, `validate` (corpora, in the order of the portions).
    Activations(ActivationsSpec),
    /// inputs: `on` (activations).
    Crosscoder(CrosscoderSpec),
    /// inputs: `of` (crosscoder).
    Classify(ClassifySpec),
    /// inputs: `of` (crosscoder); `latents`, `control` (classify) when they select by class.
    Scaling(ScalingSpec),
    /// inputs: `of` (crosscoder).
    Quality(QualitySpec),
    /// inputs: `of` (classify, or crosscoder), `against` (pair), `verdict` (scaling) when it is written.
    Recover(RecoverSpec),
    /// inputs: `of` (pair), `prompts` (corpus).
    Layers(LayersSpec),
    /// inputs: `of` (crosscoder), `prompts` (corpus), `latents` (steps that chosen latents name).
    Patch(PatchSpec),
    /// inputs: `of` (crosscoder).
    Tokens(TokensSpec),
    /// inputs: `of` (classify or crosscoder).
    Twins(TwinsSpec),
    /// inputs: `of` (crosscoder), `latents`.
    Examples(ExamplesSpec),
    /// inputs: `of` (crosscoder), `prompts` (corpus) when they are taken from one, `latents`.
    Steer(SteerSpec),
    /// inputs: `a`, `b` (classify or crosscoder).
    Compare(CompareSpec),
    Autointerp(AutointerpSpec),
    /// inputs: `rows` (every step whose rows it shows).
    Table(TableSpec),
    /// inputs: `data`.
    Plot(PlotSpec),
    /// inputs: `left`, `right` (every step whose columns are compared), in the order in which they are written.
    Expect(ExpectSpec),
}

impl Spec {
    /// Everything that the step reads of the hub, with the field that names it (empty for the step's own value).
    pub fn hub_refs(&self) -> Vec<(&'static str, &HubRef)> {
        fn weights<'s>(field: &'static str, weights: &'s Option<WeightsRef>) -> Option<(&'static str, &'s HubRef)> {
            match weights {
                Some(WeightsRef::Hub { repository }) => Some((field, repository)),
                _ => None,
            }
        }
        match self {
            Spec::Model(ModelSpec::Hub { repository, .. }) => vec![("", repository)],
            Spec::Corpus(CorpusSpec { source: CorpusSource::Hub { files, .. }, .. }) => vec![("", files)],
            Spec::Crosscoder(spec) => {
                [weights("from", &spec.from), weights("init.from", &spec.init.from)].into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A file, folder or glob as written, and the `.xd` file whose folder it is relative to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRef {
    pub from: String,
    pub path: String,
}

/// `50M tokens of fineweb`; the corpus is the input of the same index and role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortionSpec {
    pub tokens: u64,
}

/// What a model computes with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    F32,
    Bf16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum ModelSpec {
    Folder {
        path: FileRef,
        dtype: Dtype,
    },
    /// One GGUF file: weights, tokenizer and chat template.
    Gguf {
        path: FileRef,
        dtype: Dtype,
    },
    /// A repository of the hub; `exec` brings its files to `repository.folder`, which then is a model folder.
    Hub {
        repository: HubRef,
        dtype: Dtype,
    },
    /// inputs: `on` corpora. `batch` in tokens. The Gemma-2 shape; the tokenizer (byte-level BPE) is trained on the text.
    Pretrain {
        on: Vec<PortionSpec>,
        layers: u64,
        width: u64,
        heads: u64,
        vocabulary: u64,
        /// Context in tokens.
        context: u64,
        /// Training length in tokens.
        length: u64,
        batch: u64,
        learning_rate: f64,
        seed: u64,
    },
    /// inputs: `from` (model), `on` corpora.
    Finetune {
        on: Vec<PortionSpec>,
        weights: Trainable,
        loss_on: LossOn,
        context: u64,
        length: u64,
        batch: u64,
        learning_rate: f64,
        /// `None`: a twentieth of the steps, 200 at most.
        warmup: Option<u64>,
        clip: f64,
        seed: u64,
        store: Dtype,
    },
}

/// Which weights a fine-tuning moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trainable {
    All,
    /// Blocks and last norm.
    Body,
}

/// Tokens whose prediction a fine-tuning trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOn {
    All,
    Assistant,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum PairSpec {
    Models {
        label: String,
        /// The base reads the second token in place of the first.
        read_as: Vec<(TokenRef, TokenRef)>,
    },
    Synthetic(SyntheticSpec),
}

/// A token of the models' vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenRef {
    Id(u32),
    /// Its text: a special token by its name, any other by what it stands for.
    Text(String),
}

/// Activations from a known dictionary (grammar/README.md; the recipe is in experiments/planted.xd).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyntheticSpec {
    pub width: u64,
    /// Features that both models have, the weak ones not counted.
    pub shared: u64,
    /// Shared features that are weaker in the base, at a ratio drawn from `weak_ratio`.
    pub weak: u64,
    pub weak_ratio: (f64, f64),
    /// Norm ratio base / tuned of the other shared features.
    pub ratio: (f64, f64),
    pub base_only: u64,
    pub tuned_only: u64,
    /// Expected number of active features a token.
    pub active: f64,
    /// Firing probabilities go like uniform^tail before they are scaled to `active`.
    pub tail: f64,
    /// Firing probabilities stay within this range.
    pub frequency: (f64, f64),
    /// Magnitude of a firing feature: scale times a uniform draw from this range.
    pub scale: f64,
    pub magnitude: (f64, f64),
    /// How far the directions of a shared feature are turned between the models: norm of the added unit-free noise.
    pub turn: f64,
    /// Pairs of features that fire together, and how often the second fires when the first does.
    pub correlated: u64,
    pub correlation: f64,
    /// Standard deviation of the noise in each coordinate.
    pub noise: f64,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorpusSpec {
    pub source: CorpusSource,
    /// Chat: the column holds messages and this template renders them. The input `template` is there when it is a declared one.
    pub template: Option<TemplateSpec>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum CorpusSource {
    /// One document a line.
    Jsonl { path: FileRef, column: String },
    /// One document an entry of a list; `list` is the key of it where the file is an object.
    Json { path: FileRef, column: String, list: Option<String> },
    /// One document a row.
    Csv { path: FileRef, column: String },
    /// One document a row.
    Parquet { path: FileRef, column: String },
    /// One document a file.
    Text { path: FileRef },
    /// The files of a split of a data set; the ending of each file tells its format.
    Hub { files: HubRef, column: String },
    /// Text that xd ships.
    Builtin { name: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum TemplateSpec {
    /// The chat template that the model's tokenizer ships.
    Tokenizer,
    /// A Jinja file; `control` lists the strings of its control tokens.
    Jinja { path: FileRef, control: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationsSpec {
    pub source: ActivationsSource,
    /// Tokens for validation and for training, one a corpus; one nameless portion for a synthetic pair.
    pub train: Vec<PortionSpec>,
    pub validate: Vec<PortionSpec>,
    /// At most so many tokens of training data in all.
    pub limit: Option<u64>,
    pub normalize: Normalize,
    pub store: StoreAs,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum ActivationsSource {
    Models {
        layer: u64,
        site: Site,
        /// Tokens; longer documents are cut.
        context: u64,
        /// The first n tokens of each sequence are not stored.
        skip: u64,
        exclude: Vec<Exclude>,
    },
    Synthetic,
    Tensors {
        path: FileRef,
        key: String,
    },
    /// Shards of both models in the published format; `beside` are files outside of the folders that belong to them.
    Cache {
        base: FileRef,
        tuned: FileRef,
        beside: Vec<FileRef>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    ResidualPre,
    ResidualPost,
    MlpOut,
    AttnOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclude {
    Bos,
    Special,
    /// Rows whose norm in either model is over this multiple of that model's median norm.
    NormAbove(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    None,
    /// docs/method.md 1.6: (x - mean) * target / sqrt(sum of variances), one scale for both models.
    Rms(f64),
    /// Each model times sqrt(d) / its mean norm (docs/method.md 1.6).
    PerModelScale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreAs {
    Bf16,
    F32,
    /// Harvested again whenever rows are read.
    None,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrosscoderSpec {
    /// D, the number of latents (a multiple of the width has been turned into a number); 0 while it is not known, which is
    /// only before the files of a hub reference are here.
    pub latents: u64,
    #[serde(default, skip_serializing_if = "Variant::is_shared_code")]
    pub variant: Variant,
    pub loss: Loss,
    pub init: Init,
    /// Trained elsewhere, analysed as it is: then `train` is unused and absent from the key.
    pub from: Option<WeightsRef>,
    pub train: Train,
}

/// The shape of the code (docs/method.md 1.1, 1.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// One code for both models.
    #[default]
    SharedCode,
    /// A sparse autoencoder of one vector.
    Sae(Target),
}

impl Variant {
    /// True of the paper's crosscoder; keys of before there were others hold nothing about it.
    pub fn is_shared_code(&self) -> bool {
        *self == Variant::SharedCode
    }
}

/// What an autoencoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Base,
    Tuned,
    /// Tuned minus base.
    Difference,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum WeightsRef {
    /// A folder, or a file; `beside` are the files that say how a file is read.
    Folder {
        path: FileRef,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        beside: Vec<FileRef>,
    },
    Tensors {
        path: FileRef,
        prefix: String,
    },
    /// A repository of the hub, or a folder of it; `exec` brings its files to `repository.folder`.
    Hub {
        repository: HubRef,
    },
}

/// Method.md 1.3 and 1.4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Loss {
    L1 {
        weight: f64,
        /// Steps in which the weight rises from 0.
        warmup: u64,
        reconstruction: Reconstruction,
        norm: CodeNorm,
    },
    BatchTopK(TopKLoss),
    #[serde(rename = "topk")]
    TopK(TopKLoss),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopKLoss {
    pub k: u64,
    /// Weight of AuxK; 0 is off.
    pub aux: f64,
    /// A latent is dead after so many tokens without firing.
    pub dead_after: u64,
    /// The running threshold starts after this step.
    pub threshold_from: u64,
    /// `(from, steps)`: k goes linearly from `from` to `k` in so many steps.
    pub anneal: Option<(u64, u64)>,
    pub reconstruction: Reconstruction,
    pub norm: CodeNorm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconstruction {
    /// Mean unsquared norm (the published code).
    L2,
    /// Mean squared norm (the paper's formula).
    Mse,
}

/// Method.md 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeNorm {
    Sum,
    Concat,
    None,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// Norm of every encoder column; `None` keeps the Kaiming draw.
    pub norm: Option<f64>,
    pub encoder: InitEncoder,
    /// One draw for both models.
    pub same: bool,
    pub from: Option<WeightsRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitEncoder {
    /// The decoder is the transpose of the encoder.
    Transpose,
    /// Both drawn on their own.
    Independent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// Tokens a step, B.
    pub batch: u64,
    /// Steps in all (epochs and tokens have been turned into steps).
    pub steps: u64,
    pub optimizer: Adam,
    /// Clip the gradient's global norm.
    pub clip: Option<f64>,
    pub shuffle: Shuffle,
    /// Steps between validations, 0 for none but the last. Harmless: does not change results.
    pub validate: u64,
    /// Steps between log rows. Harmless.
    pub log: u64,
    pub seed: u64,
    pub precision: Precision,
    /// Steps between resamplings of dead latents (docs/method.md 1.6); `None` is off.
    pub resample: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Linear warm-up steps: the factor at step s is min(s / warmup, 1).
    pub warmup: u64,
    /// Linear decay to 0 over the last so many steps; 0 is constant.
    pub decay: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shuffle {
    /// Within blocks, once a pass, as stored.
    Local,
    Global,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    F32,
    Tf32,
    Bf16,
}

/// Ranges are `low..high` of Delta_norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifySpec {
    pub base_only: (f64, f64),
    pub shared: (f64, f64),
    pub tuned_only: (f64, f64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSpec {
    /// `None` = all; else the class of the classify step in role `latents`.
    pub latents: Option<String>,
    /// Class of the classify step in role `control` whose latents (a seeded sample of the same size) are also measured.
    pub control: Option<String>,
    pub fit: Fit,
    /// Tokens of training data, the first ones.
    pub tokens: u64,
    pub nu_reconstruction: f64,
    pub nu_error: f64,
    /// Bootstrap resamples over sequences; 0 is none.
    pub intervals: u64,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    Tuned,
    Base,
    /// The tuned direction, and the base direction for base-only latents (delta_norm < 0.1).
    Both,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualitySpec {
    /// Validation tokens; 0 = all.
    pub tokens: u64,
    /// Validation tokens on which the models run on with the reconstruction in place; 0 = none.
    pub spliced: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoverSpec {
    pub cosine: f64,
}

/// Latents of a crosscoder. A step is named by its place among the inputs of role `latents`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Latents {
    All,
    /// Of a classify step.
    Class {
        input: usize,
        class: String,
    },
    These {
        latents: Vec<u32>,
    },
    /// The first ones by a column, or the last: `rank` and the ratios nu ascend, other columns descend.
    Ordered {
        last: bool,
        amount: HowMany,
        by: LatentColumn,
        of: Box<Latents>,
    },
    Threshold {
        tests: Vec<LatentTest>,
        of: Box<Latents>,
    },
    Random {
        amount: HowMany,
        draws: u64,
        of: Box<Latents>,
    },
}

/// Ratios outside of this range are not believed (docs/method.md 4.2).
pub const BELIEVABLE: std::ops::RangeInclusive<f64> = -0.1..=2.0;

impl Latents {
    /// Those of them whose halves the paper compares (docs/method.md 4.2): both nu are there and believable, and the latent is not dead, by
    /// the steps in these places. Numbers that are not there satisfy no test.
    pub fn measured(self, classes: usize, scaling: usize) -> Latents {
        let test = |input: usize, column: &str, operator: Operator, value: f64| LatentTest {
            column: LatentColumn { input, column: column.to_string() },
            absolute: false,
            operator,
            value,
        };
        let between = |nu| {
            let (low, high) = (*BELIEVABLE.start(), *BELIEVABLE.end());
            [test(scaling, nu, Operator::GreaterEqual, low), test(scaling, nu, Operator::LessEqual, high)]
        };
        let mut tests = [between("nu_reconstruction"), between("nu_error")].concat();
        tests.push(test(classes, "frequency", Operator::Greater, 0.0));
        Latents::Threshold { tests, of: Box::new(self) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowMany {
    Count(u64),
    /// In 0..=1; the count is rounded down.
    Share(f64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentColumn {
    pub input: usize,
    pub column: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentTest {
    pub column: LatentColumn,
    pub absolute: bool,
    pub operator: Operator,
    pub value: f64,
}

/// One of the two models of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Base,
    Tuned,
}

/// How far two models are apart (docs/method.md 7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayersSpec {
    /// Conversations, the first ones of the corpus.
    pub prompts: u64,
    /// Tokens.
    pub context: u64,
    /// Empty for all.
    pub layers: Vec<u64>,
    pub site: Site,
    /// Of KL.
    pub positions: Vec<PositionSpec>,
}

/// docs/method.md 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchSpec {
    pub into: Role,
    pub finish: Role,
    /// Conversations, the first ones of the corpus.
    pub prompts: u64,
    /// Tokens.
    pub context: u64,
    pub insert: Vec<InsertSpec>,
    pub mode: PatchMode,
    pub positions: Vec<PositionSpec>,
    pub metrics: Vec<Metric>,
    pub seed: u64,
}

/// One row (or one a draw) of a patch; `label` is what it is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertSpec {
    pub label: String,
    pub what: Insert,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Insert {
    Nothing,
    Everything,
    Error,
    Template,
    Latents(Latents),
    /// In a mode of their own.
    By {
        mode: PatchMode,
        latents: Latents,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchMode {
    Replace,
    Add,
    /// With the decoder bias of an autoencoder.
    AddWithBias,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionSpec {
    All,
    /// The first so many of each answer.
    First(u64),
    /// All others.
    Rest(u64),
    Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Kl,
    KlBase,
    KlTuned,
    Loss,
    LossArgmax,
    Agreement,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensSpec {
    /// Indices of the validation portions that are read; `None` = all.
    pub portions: Option<Vec<u16>>,
    pub groups: Vec<TokenGroupSpec>,
    /// Active is what is over this.
    pub above: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenGroupSpec {
    Control,
    NonControl,
    Bos,
    User,
    Assistant,
    Text,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwinsSpec {
    pub cosine: f64,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExamplesSpec {
    pub latents: Latents,
    /// Indices of the validation portions that are read; `None` = all.
    pub portions: Option<Vec<u16>>,
    /// Sequences a latent and bin.
    pub count: u64,
    /// Upper edges, ascending, as shares of the latent's largest activation.
    pub bins: Vec<f64>,
    /// Tokens on each side of the largest activation.
    pub around: u64,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutointerpSpec {
    /// A folder of delphi's, or the published counts; `None` until there are some.
    pub scores: Option<FileRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SteerSpec {
    pub latents: Latents,
    /// Multiples of the largest activation, without the 0 that is always there.
    pub strength: Vec<f64>,
    pub prompts: SteerPrompts,
    pub model: Role,
    /// Added at the prompt's positions only.
    pub prompt_only: bool,
    /// Tokens.
    pub length: u64,
    pub temperature: f64,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SteerPrompts {
    Texts(Vec<String>),
    /// The first user messages of so many conversations of the corpus in role `prompts`.
    Corpus(u64),
}

/// Both sides are inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareSpec {}

/// A column of a table, plot or expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnRef {
    /// The declaration it belongs to; `None` for an axis.
    pub step: Option<String>,
    pub column: String,
}

/// One comparison of a column with a constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub column: ColumnRef,
    pub operator: Operator,
    pub value: Constant,
    /// `abs(column) < 0.2`.
    pub absolute: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    Number(f64),
    Word(String),
    Truth(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    Mean,
    Median,
    Min,
    Max,
    Share,
    Count,
}

/// A column of a table: plain, or an aggregate over the rows of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum TableColumn {
    Plain {
        /// Header: the label, or the column as written.
        name: String,
        column: ColumnRef,
    },
    /// `mean(nu_error)`, `count()`, `share(verdict == specific)`.
    Aggregate { name: String, aggregate: Aggregate, column: Option<ColumnRef>, condition: Option<Condition> },
}

/// Several `rows` are joined on the axes they share and on `latent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Names of the steps in `inputs`, in the order written, without repetition.
    pub rows: Vec<String>,
    pub filter: Vec<Condition>,
    pub group: Vec<ColumnRef>,
    /// Axes at each of whose values the aggregates are made on their own; the table shows their means and intervals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<String>,
    /// Empty = all.
    pub columns: Vec<TableColumn>,
    /// Column and `true` for descending.
    pub sort: Vec<(ColumnRef, bool)>,
    pub limit: Option<u64>,
    /// File name within `tables/`.
    pub save: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Histogram,
    Scatter,
    Line,
    Bar,
    Ecdf,
    Heatmap,
    /// The fields of the two penalties; reads no rows.
    Gradient,
}

/// What stands on an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Quantity {
    Column {
        column: ColumnRef,
    },
    /// `abs(nu_error)`.
    Absolute {
        column: ColumnRef,
    },
    /// The largest of these in the row; empty when one of them is.
    Largest {
        of: Vec<Quantity>,
    },
    /// Place among the rows of the same point, from 1.
    Rank {
        column: ColumnRef,
        descending: bool,
    },
}

/// One of several columns that are laid over one another on x, and what it is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub label: String,
    pub quantity: Quantity,
}

/// What stands on x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Horizontal {
    One(Quantity),
    Several(Vec<Series>),
}

/// `lowest(100, by = nu_error)`: rows of each point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    pub count: u64,
    pub by: ColumnRef,
    pub highest: bool,
}

/// What bars and lines count where there is no y.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    Rows,
    Share,
    Density,
}

/// How far the ends of an error bar are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum ErrorBar {
    /// y - column .. y + column.
    Half { column: ColumnRef },
    /// From one column to the other.
    Ends { low: ColumnRef, high: ColumnRef },
    /// 1.96 s / sqrt(n) of the rows that share a place (published code).
    Interval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correlation {
    Pearson,
    Spearman,
}

/// Where a reference line stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineAt {
    Value(f64),
    /// Of the rows of a colour.
    Mean,
    Median,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlotWidth {
    Page,
    Column,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlotSpec {
    /// Empty for the gradient fields.
    pub data: Vec<String>,
    pub filter: Vec<Condition>,
    pub keep: Option<Keep>,
    pub mark: Mark,
    /// `None` for the gradient fields only.
    pub x: Option<Horizontal>,
    pub y: Option<Quantity>,
    pub color: Option<ColumnRef>,
    pub facet: Option<ColumnRef>,
    /// Axes whose values are averaged over.
    pub over: Vec<String>,
    pub bins: Option<u64>,
    pub count: Option<Count>,
    pub range_x: Option<(f64, f64)>,
    pub range_y: Option<(f64, f64)>,
    pub inset: Option<(f64, f64)>,
    /// Histograms in the margins of a scatter.
    pub marginal: bool,
    pub highlight: Vec<Condition>,
    pub error: Option<ErrorBar>,
    pub correlation: Option<Correlation>,
    /// Reference lines: `lines = [0.1, 0.9]`, `lines = [x = mean, y = 0.5]`.
    pub lines: Vec<(LineAxis, LineAt)>,
    /// Logarithmic axes.
    pub log_x: bool,
    pub log_y: bool,
    pub width: PlotWidth,
    /// File name within `plots/`, ending in .svg or .png; without an ending both are written.
    pub save: String,
}

/// Endings of the files of a figure.
pub const FIGURE_ENDINGS: &[&str] = &["svg", "png"];

impl PlotSpec {
    /// Names of its files within `plots/`.
    pub fn files(&self) -> Vec<String> {
        match self.save.rsplit_once('.') {
            Some((_, ending)) if FIGURE_ENDINGS.contains(&ending) => vec![self.save.clone()],
            _ => FIGURE_ENDINGS.iter().map(|ending| format!("{}.{ending}", self.save)).collect(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineAxis {
    X,
    Y,
}

/// One side of an expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Operand {
    Number {
        value: f64,
    },
    /// Rows of `steps` (joined on shared axes and `latent` when several), restricted to `point` and `filter`, reduced by
    /// `aggregate`, or compared row by row without one.
    Column {
        /// Names of the declarations read; the first one owns `column`.
        steps: Vec<String>,
        /// Axis = value restrictions of the address.
        point: Vec<(String, String)>,
        column: Option<ColumnRef>,
        /// `share(verdict == specific)`, `count(class == tuned_only)`.
        condition: Option<Condition>,
        filter: Vec<Condition>,
        aggregate: Option<Aggregate>,
        /// Axes that stay open: the comparison is made for each of their values.
        over: Vec<String>,
        /// Axes at each of whose values the aggregate is made on its own: the side is the mean of these numbers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mean_over: Vec<String>,
    },
}

/// It passes when the comparison holds at every open point (and row, without an aggregate); `by_interval`, when the 95% interval of the mean
/// difference along `pairs` lies on that side of 0 (docs/method.md 8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectSpec {
    pub left: Operand,
    pub operator: Operator,
    pub right: Operand,
    /// Axes that both sides run along, at whose values one is held against the other; empty where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_interval: bool,
    /// The comparison as written.
    pub text: String,
}
