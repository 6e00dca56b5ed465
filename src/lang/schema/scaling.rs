use super::{Built, Column, Field, Kind, Query, Type, Unit, Word};

const LOW: &str = "Lower end of the 95% bootstrap interval over sequences.";
const HIGH: &str = "Upper end of the 95% bootstrap interval over sequences.";
const TARGETS: &[Word] = &[
    Word::new("activation", "h."),
    Word::new("activation_no_bias", "h minus the decoder bias."),
    Word::new("reconstruction", "hhat."),
    Word::new("error", "h minus the reconstruction without latent j."),
];

pub const KIND: Kind = Kind {
    word: "scaling",
    doc: "Latent Scaling: tells whether a tuned-only latent is really absent from the base, or hidden by an artefact of the loss.",
    details: "beta_j(y) = argmin over beta of sum_i ||beta f_ij d_j - y_i||^2 = sum_i f_ij <d_j, y_i> / (||d_j||^2 sum_i f_ij^2), for y the activations, \
              reconstruction and leave-one-out error of each model, with d_j = d_j^tuned. nu = beta_base / beta_tuned. nu_error near 1: the base has it but the \
              loss shrank it away (Complete Shrinkage). nu_reconstruction near 1: other latents write it in the base (Latent Decoupling). Measured on the \
              first training tokens, as in the paper; every target for every latent in one pass. Of an autoencoder d_j is its one vector, and only the activations are \
              measured: the other columns are empty.",
    section: "paper 2.3",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("latents", Type::Class { all: true }, "Latents to measure.").default("all", "xd"),
        Field::new(
            "control",
            Type::Class { all: false },
            "Class whose latents (a seeded sample of the same size) are measured beside them.",
        )
        .absent("no control; `latents = all` measures every class anyway"),
        Field::new(
            "fit",
            Type::Word(&[
                Word::new("tuned", "d_j is the tuned decoder vector."),
                Word::new("base", "d_j is the base decoder vector, for base-only latents."),
                Word::new("both", "Tuned, and base for latents with Delta_norm < 0.1."),
            ]),
            "Direction that is fitted.",
        )
        .default("tuned", "paper 2.3"),
        Field::new("targets", Type::List(&Type::Word(TARGETS)), "Targets.")
            .absent("all four")
            .later("all four are always measured, in one pass; name the columns you want in a table"),
        Field::new(
            "tokens",
            Type::Amount { units: &[Unit::Tokens], low: 1.0 },
            "Tokens of training data, the first ones; at most all.",
        )
        .default("50M tokens", "published code"),
        Field::new(
            "specific",
            Type::Query(Query::Limits),
            "When a latent is called specific: both ratios below these limits.",
        )
        .default("[nu_reconstruction < 0.5, nu_error < 0.2]", "paper 3.1"),
        Field::new(
            "intervals",
            Type::Whole { low: 0, high: 1_000_000 },
            "Bootstrap resamples over sequences; 0 is none.",
        )
        .default("0", "xd"),
        Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of the control sample and of the bootstrap.")
            .default("42", "published code"),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent, from 0."),
        Column::real("beta_activation_base", "beta of h^base.").section("paper 2.3"),
        Column::real("beta_activation_tuned", "beta of h^tuned.").section("paper 2.3"),
        Column::real("beta_activation_no_bias_base", "beta of h^base - b^base.").section("paper 2.3"),
        Column::real("beta_activation_no_bias_tuned", "beta of h^tuned - b^tuned.").section("paper 2.3"),
        Column::real("beta_reconstruction_base", "beta of hhat^base.").section("paper 2.3"),
        Column::real("beta_reconstruction_tuned", "beta of hhat^tuned.").section("paper 2.3"),
        Column::real("beta_error_base", "beta of eps^base + f_j d_j^base.").section("paper 2.3"),
        Column::real("beta_error_tuned", "beta of eps^tuned + f_j d_j^tuned.").section("paper 2.3"),
        Column::real("nu_activation", "beta_activation_base / beta_activation_tuned.").section("paper 2.3"),
        Column::real(
            "nu_reconstruction",
            "beta_reconstruction_base / beta_reconstruction_tuned; near 1: Latent Decoupling.",
        )
        .section("paper 2.3"),
        Column::real("nu_error", "beta_error_base / beta_error_tuned; near 1: Complete Shrinkage.")
            .section("paper 2.3"),
        Column::real("nu_activation_low", LOW),
        Column::real("nu_activation_high", HIGH),
        Column::real("nu_reconstruction_low", LOW),
        Column::real("nu_reconstruction_high", HIGH),
        Column::real("nu_error_low", LOW),
        Column::real("nu_error_high", HIGH),
        Column::real("rank", "Rank of nu_reconstruction plus rank of nu_error; small is most specific.")
            .section("paper"),
        Column::words(
            "verdict",
            &["specific", "shrinkage", "decoupling", "both", "inactive"],
            "Specific, or which artefact explains it.",
        )
        .section("paper 3.1"),
        Column::truth(
            "within_shared",
            "nu_reconstruction lies between the 2.5% and the 97.5% quantile of those of the measured latents with Delta_norm in 0.4..0.6; empty without such.",
        )
        .section("paper"),
        Column::whole("active_tokens", "Tokens on which the latent was active.").unit("tokens"),
    ],
    parts: &[],
    example: "scaling nu { of = cc\n  tokens = 400K tokens }",
    version: 3,
    built: Built::Yes,
};
