use super::{Built, Column, Field, Kind, Type, Unit};

const HALF: &str =
    "Half of its 95% interval, documents taken as independent (docs/method.md 5.3); empty with fewer than two.";

pub const KIND: Kind = Kind {
    word: "quality",
    doc: "How well a crosscoder reconstructs held-out activations: one row a model, and one for both; of an autoencoder one row.",
    details: "Spliced: the reconstruction hhat takes the place of h at the crosscoder's layer, at every position whose row is kept, and the same model goes on; zeros and \
              the mean of h over the held-out rows are the ablations it is measured against. FVE = 1 - sum_i ||h_i - hhat_i||^2 / sum_i ||h_i - mean h||^2, over all held-out tokens at once (not a mean of batch ratios).",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("tokens", Type::Amount { units: &[Unit::Tokens], low: 1.0 }, "Held-out tokens, the first ones.")
            .absent("all"),
        Field::new(
            "spliced",
            Type::Amount { units: &[Unit::Tokens], low: 0.0 },
            "Held-out tokens on which the models are run on with the reconstruction in place: whole documents of `validate`, the first of each corpus, in \
             proportion to its rows; every next token of them counts. 0 is none. Activations that come without models have none.",
        )
        .default("4K tokens", "xd"),
    ],
    columns: &[
        Column::words(
            "model",
            &["base", "tuned", "joint", "difference"],
            "Which model the row is about; of an autoencoder what it reads, in its only row.",
        ),
        Column::real("fve", "Fraction of variance explained, global over the set."),
        Column::real("mse", "Mean squared norm of the error."),
        Column::real("l0", "Active latents a token, with the inference threshold.").unit("latents / token"),
        Column::real("l0_training", "Active latents a token, selected as in training.").unit("latents / token"),
        Column::real("dead", "Share of latents that never fire on the set."),
        Column::real("ce_clean", "Cross entropy of the model on the next token; empty for `joint`.").unit("nats / token"),
        Column::real("ce_spliced", "Cross entropy with the reconstruction in place.").unit("nats / token"),
        Column::real("ce_zero", "Cross entropy with zeros in place.").unit("nats / token"),
        Column::real("ce_mean", "Cross entropy with the mean activation in place.").unit("nats / token"),
        Column::real("ce_recovered", "(ce_zero - ce_spliced) / (ce_zero - ce_clean)."),
        Column::real("ce_recovered_mean", "(ce_mean - ce_spliced) / (ce_mean - ce_clean)."),
        Column::real("kl_spliced", "KL(clean || spliced).").unit("nats / token"),
        Column::real("kl_zero", "KL(clean || zeros in place).").unit("nats / token"),
        Column::real("kl_mean", "KL(clean || mean activation in place).").unit("nats / token"),
        Column::real("kl_recovered", "(kl_zero - kl_spliced) / kl_zero."),
        Column::real("kl_recovered_mean", "(kl_mean - kl_spliced) / kl_mean."),
        Column::real("ce_clean_ci95", HALF).unit("nats / token"),
        Column::real("ce_spliced_ci95", HALF).unit("nats / token"),
        Column::real("ce_zero_ci95", HALF).unit("nats / token"),
        Column::real("ce_mean_ci95", HALF).unit("nats / token"),
        Column::real("ce_recovered_ci95", HALF),
        Column::real("ce_recovered_mean_ci95", HALF),
        Column::real("kl_spliced_ci95", HALF).unit("nats / token"),
        Column::real("kl_zero_ci95", HALF).unit("nats / token"),
        Column::real("kl_mean_ci95", HALF).unit("nats / token"),
        Column::real("kl_recovered_ci95", HALF),
        Column::real("kl_recovered_mean_ci95", HALF),
    ],
    parts: &[],
    example: "quality fit { of = cc }",
    version: 3,
    built: Built::Yes,
};
