use super::{Built, Column, Field, Kind, Type, Unit};

const SPLICED: &str = "spliced cross entropy comes with `patch`; `fve` and `mse` tell the reconstruction meanwhile";

pub const KIND: Kind = Kind {
    word: "quality",
    doc: "How well a crosscoder reconstructs held-out activations: one row a model, and one for both.",
    details: "FVE = 1 - sum_i ||h_i - hhat_i||^2 / sum_i ||h_i - mean h||^2, over all held-out tokens at once (not a mean of batch ratios).",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("tokens", Type::Amount { units: &[Unit::Tokens], low: 1.0 }, "Held-out tokens, the first ones.")
            .absent("all"),
    ],
    columns: &[
        Column::words("model", &["base", "tuned", "joint"], "Which model the row is about."),
        Column::real("fve", "Fraction of variance explained, global over the set."),
        Column::real("mse", "Mean squared norm of the error."),
        Column::real("l0", "Active latents a token, with the inference threshold.").unit("latents / token"),
        Column::real("l0_training", "Active latents a token, selected as in training.").unit("latents / token"),
        Column::real("dead", "Share of latents that never fire on the set."),
        Column::real("ce_clean", "Cross entropy of the model.").unit("nats").later(SPLICED),
        Column::real("ce_spliced", "Cross entropy with the reconstruction spliced in.").unit("nats").later(SPLICED),
        Column::real("ce_zero", "Cross entropy with zeros spliced in.").unit("nats").later(SPLICED),
        Column::real("ce_recovered", "(ce_zero - ce_spliced) / (ce_zero - ce_clean).").later(SPLICED),
        Column::real("kl_spliced", "KL of the spliced model to the clean one.").unit("nats").later(SPLICED),
    ],
    example: "quality fit { of = cc }",
    version: 1,
    built: Built::Yes,
};
