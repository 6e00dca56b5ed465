//! Forms that choose latents of a crosscoder: the same in `patch`, `examples` and `steer`.

use super::{Field, Type, Variant};

const BY: Field = Field::new(
    "by",
    Type::LatentColumn,
    "Column of a `classify` or `scaling` step of this crosscoder. `rank` and the ratios nu (their intervals too) go from the smallest (most specific) on, every \
     other column from the largest on. `rank` is made anew among the latents that are chosen from.",
);
const OF: Field = Field::new("of", Type::Latents, "The latents to choose from.").default("all", "xd");
const HOW_MANY: Type = Type::HowMany;

const FIRST: &[Field] = &[Field::new("amount", HOW_MANY, "How many, or which share of them.").positional(), BY, OF];
const HALF: &[Field] =
    &[BY, Field::new("amount", HOW_MANY, "How many, or which share of them.").default("50%", "paper"), OF];
const TESTS: &[Field] = &[
    Field::new(
        "tests",
        Type::List(&Type::LatentTest),
        "Comparisons that all must hold, such as `classes.delta_norm > 0.7` or `abs(nu.nu_error) < 0.2`.",
    )
    .rest(),
    OF,
];
const RANDOM_ARGUMENTS: &[Field] = &[
    Field::new("amount", HOW_MANY, "How many, or which share of them.").positional(),
    Field::new("seeds", Type::Whole { low: 1, high: 1000 }, "How many draws, each measured on its own.")
        .default("1", "xd"),
    OF,
];

const VALID: &str = "Latents that never fired where the column was measured are left out, and for `rank` and the ratios those outside of -0.1..2 \
                     (docs/method.md 4.2). Equal values go in the order of the latents.";

/// The first latents by a column.
pub const TOP: Variant = Variant::new("top", FIRST, VALID);
/// The last ones.
pub const BOTTOM: Variant = Variant::new("bottom", FIRST, VALID);
/// The first half.
pub const BEST: Variant = Variant::new("best", HALF, VALID);
/// The last half.
pub const WORST: Variant = Variant::new("worst", HALF, VALID);
/// Latents whose columns satisfy comparisons.
pub const THRESHOLD: Variant = Variant::new(
    "threshold",
    TESTS,
    "The latents whose columns satisfy every comparison; an empty cell satisfies none.",
);
/// Controls.
pub const RANDOM: Variant = Variant::new("random", RANDOM_ARGUMENTS, "Latents drawn at random, as a control.");

/// Every form.
pub const FORMS: &[Variant] = &[TOP, BOTTOM, BEST, WORST, THRESHOLD, RANDOM];
