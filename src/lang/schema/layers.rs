use super::activations::SITES;
use super::patch::POSITIONS;
use super::{Built, Column, Field, Kind, Type, Unit};

/// What is measured, in the order of the rows.
pub const MEASURES: &[&str] = &["kl", "difference", "relative", "cosine", "norm_base", "norm_tuned"];

pub const KIND: Kind = Kind {
    word: "layers",
    doc: "How far the two models of a pair are apart at each layer, before any crosscoder: one row a layer, measure and group of tokens.",
    details: "Both models read the same conversations, those of the corpus in its order that have a token of the assistant, cut to `context`. `kl`: the tuned \
              model goes on from the base's values at the layer, and is compared with itself, KL(tuned || tuned from the base's layer), at positions that predict \
              tokens of the assistant. The other measures are of the values h themselves, by group of tokens: `difference` ||h^tuned - h^base||, `relative` \
              the same by ||h^base||, `cosine` of the two, `norm_base` and `norm_tuned`. For several templates, sweep `prompts` over corpora that differ in \
              their `template`.",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["pair"]), "The pair, of models."),
        Field::new("prompts", Type::Prompts { texts: false }, "How many conversations, of which chat corpus."),
        Field::new("layers", Type::OneOrMore(&Type::Whole { low: 0, high: 10_000 }), "Blocks, from 0: `[0, 6, 12]`.")
            .absent("all"),
        Field::new("site", Type::Word(SITES), "Place within the block.").default("residual_post", "published code"),
        Field::new(
            "context",
            Type::Amount { units: &[Unit::Tokens], low: 2.0 },
            "Longest conversation; the rest is cut off.",
        )
        .absent("1024 tokens, or what the models read"),
        Field::new("positions", Type::OneOrMore(&Type::Variant(POSITIONS)), "Where `kl` is measured, one row each.")
            .default("[all, first(10)]", "published code"),
    ],
    columns: &[
        Column::whole("layer", "The block."),
        Column::words("measure", MEASURES, "What is measured."),
        Column::words(
            "group",
            &[],
            "Of `kl` the positions; of the others `control`, `non_control`, `bos`, `user` or `assistant`, as in `tokens`.",
        ),
        Column::real("mean", "Mean over the tokens; `kl` in nats, lengths in units of the models."),
        Column::real(
            "ci95",
            "Half of the 95% interval of the mean, tokens taken as independent: 1.96 sqrt(variance / count).",
        )
        .section("published code"),
        Column::real(
            "ci95_prompts",
            "The same with tokens of a prompt taken together (a ratio of sums over prompts), by Student's t of as many prompts.",
        ),
        Column::whole("count", "Tokens.").unit("tokens"),
        Column::whole("prompts", "Conversations that have such tokens."),
    ],
    parts: &[],
    example: "layers depth {\n  of      = organism\n  prompts = 64 prompts of talk\n}",
    version: 1,
    built: Built::Yes,
};
