//! The paper's figures, tables and claims, as one declaration.

use super::{Field, Type, Variant};

/// What the figures and tables read.
pub const STEPS: &[&str] = &[
    "crosscoder",
    "classify",
    "scaling",
    "quality",
    "tokens",
    "twins",
    "patch",
    "compare",
    "layers",
    "examples",
    "autointerp",
    "steer",
];

const ARGUMENTS: &[Field] = &[
    Field::new(
        "steps",
        Type::List(&Type::Step(STEPS)),
        "Steps of the same crosscoders, one of a kind. What needs a kind that is not named is left out.",
    )
    .rest(),
    Field::new(
        "effective",
        Type::Whole { low: 1, high: 1_000_000_000 },
        "Figures of tuned-only latents show so many latents of the highest delta_norm instead, whatever their class: the published \
         figures take as many of BatchTopK as L1 has.",
    )
    .absent("the tuned-only latents"),
];

/// Stands for every declaration of `paper.xd` whose steps are named.
pub const PAPER: &[Variant] = &[Variant::new(
    "paper",
    ARGUMENTS,
    "Every figure (of `plot`) or table (of `table`) of the paper that these steps give rows for, each a file under its own name, or (of `expect`) \
     what it claims of them; `xd show` writes them out.",
)
.formula("", "paper")];

/// The declarations, in the language itself.
pub const TEXT: &str = include_str!("paper.xd");

/// How `paper.xd` calls a step of a kind.
pub const NAMES: &[(&str, &str)] = &[
    ("crosscoder", "cc"),
    ("classify", "classes"),
    ("scaling", "nu"),
    ("quality", "fit"),
    ("tokens", "where_it_fires"),
    ("twins", "doubles"),
    ("patch", "causal"),
    ("compare", "matches"),
    ("layers", "depth"),
    ("examples", "shown"),
    ("autointerp", "explained"),
    ("steer", "voice"),
];

/// How it calls axes that may be absent: what names one is then left out.
pub const AXES: &[(&str, &str)] = &[("loss", "by_loss"), ("train.seed", "by_seed")];

#[cfg(test)]
mod tests {
    use super::TEXT;

    /// docs/plots.md once had a second copy of the figures that differed from these.
    #[test]
    fn the_docs_show_the_figures_as_they_are_declared() {
        let docs = include_str!("../../../docs/plots.md");
        let figures: Vec<&str> =
            TEXT.split("\n\n").filter(|part| part.lines().any(|line| line.starts_with("plot "))).collect();
        for figure in &figures {
            let lines: Vec<&str> = figure.lines().filter(|line| !line.starts_with('#')).collect();
            let written = lines.join("\n").replace("by_loss", "loss").replace("by_seed", "train.seed");
            assert!(docs.contains(&format!("```xd\n{}\n```", written.trim_end())), "docs/plots.md lacks\n{written}");
        }
        assert!(figures.len() > 30 && docs.contains("paper(cc, classes, nu"));
    }
}
