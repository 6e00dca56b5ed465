//! Mistakes as data. Wording and rendering live beside this file.

mod explain;
pub mod render;
pub mod suggest;

use serde::{Deserialize, Serialize};

use super::source::Span;
pub use explain::explain;
pub use suggest::suggest;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    /// Only with `--pedantic`.
    Lint,
}

/// One mistake, complete: whoever finds it writes these words, renderers only lay them out.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// The slug, such as `misplaced_field`; see [`Code`].
    pub code: Code,
    pub severity: Severity,
    /// One sentence in words of the field, no full stop.
    pub message: String,
    /// Where, and the words under the caret (may be empty).
    pub span: Span,
    pub label: String,
    /// The other places that matter, with their words.
    pub related: Vec<(Span, String)>,
    /// A help that teaches: what to write instead.
    pub help: Option<String>,
}

macro_rules! codes {
    ($($variant:ident $slug:literal $severity:ident),* $(,)?) => {
        /// The stable codes of the language reference, and the few that xd adds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code { $(#[serde(rename = $slug)] $variant),* }
        impl Code {
            /// Every code, in the order of the reference.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];
            /// The slug users see.
            pub fn slug(self) -> &'static str { match self { $(Code::$variant => $slug),* } }
            /// The severity it always has.
            pub fn severity(self) -> Severity { match self { $(Code::$variant => Severity::$severity),* } }
        }
    };
}

codes! {
    NewerEdition "newer_edition" Error,
    Unreadable "unreadable" Error,
    Unclosed "unclosed" Error,
    UnknownKind "unknown_kind" Error,
    UnknownField "unknown_field" Error,
    MisplacedField "misplaced_field" Error,
    MissingField "missing_field" Error,
    SetTwice "set_twice" Error,
    DefinedTwice "defined_twice" Error,
    UnknownName "unknown_name" Error,
    WrongKind "wrong_kind" Error,
    UnknownColumn "unknown_column" Error,
    UnknownPoint "unknown_point" Error,
    UnknownVariant "unknown_variant" Error,
    UnknownArgument "unknown_argument" Error,
    BadMultiplier "bad_multiplier" Error,
    UnknownUnit "unknown_unit" Error,
    MissingUnit "missing_unit" Error,
    WrongUnit "wrong_unit" Error,
    WrongType "wrong_type" Error,
    OutOfRange "out_of_range" Error,
    LayerOutOfRange "layer_out_of_range" Error,
    PairMismatch "pair_mismatch" Error,
    KTooLarge "k_too_large" Error,
    OverlappingClasses "overlapping_classes" Error,
    NotEnoughText "not_enough_text" Error,
    NoGradient "no_gradient" Error,
    ImportMissing "import_missing" Error,
    ImportCycle "import_cycle" Error,
    StepCycle "step_cycle" Error,
    ComparesDifferentPoints "compares_different_points" Error,
    FileMissing "file_missing" Error,
    NotBuiltYet "not_built_yet" Error,
    NotForSae "not_for_sae" Error,
    NormalizedTwice "normalized_twice" Error,
    Unusable "unusable" Error,
    Assumed "assumed" Warning,
    LockDiffers "lock_differs" Error,
    GatedModel "gated_model" Error,
    HubMissing "hub_missing" Error,
    HubUnreachable "hub_unreachable" Error,
    MissingEdition "missing_edition" Warning,
    Leak "leak" Warning,
    WarmupTooLong "warmup_too_long" Warning,
    SweepTooLarge "sweep_too_large" Warning,
    Unused "unused" Warning,
    NothingToDo "nothing_to_do" Warning,
    SingleSeed "single_seed" Lint,
    BaseOnlyCorpus "base_only_corpus" Lint,
    L1ForClasses "l1_for_classes" Lint,
    TestOnTrain "test_on_train" Lint,
    NoControl "no_control" Lint,
}

impl Diagnostic {
    /// A diagnostic with the severity of its code and nothing but a message and a place.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: code.severity(),
            message: message.into(),
            span,
            label: String::new(),
            related: Vec::new(),
            help: None,
        }
    }

    /// Adds the words under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a help line.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place.
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }
}
