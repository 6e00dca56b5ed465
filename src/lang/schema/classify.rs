use super::{Built, CLASSES, Column, Field, Kind, Type};

const BOUNDS: Type = Type::Bounds { low: 0.0, high: 1.0 };

pub const KIND: Kind = Kind {
    word: "classify",
    doc: "Divides the latents by the relative norm of their two decoder vectors.",
    details: "Delta_norm(j) = 1/2 (1 + (||d_j^tuned|| - ||d_j^base||) / max(||d_j^tuned||, ||d_j^base||)): 1 is tuned-only, 0.5 equal, 0 base-only. \
              The published CSVs hold 1 - Delta_norm. What falls in no range is `other`.",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("base_only", BOUNDS, "Range of Delta_norm that is called base-only.").default("0.0..0.1", "paper"),
        Field::new("shared", BOUNDS, "Range that is called shared.").default("0.4..0.6", "paper"),
        Field::new("tuned_only", BOUNDS, "Range that is called tuned-only.").default("0.9..1.0", "paper"),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent, from 0."),
        Column::words("class", CLASSES, "Its class by Delta_norm.").section("paper"),
        Column::real("delta_norm", "Delta_norm: 1 tuned-only, 0.5 equal, 0 base-only.").section("paper"),
        Column::real("norm_base", "||d_j^base||."),
        Column::real("norm_tuned", "||d_j^tuned||."),
        Column::real("cosine", "Cosine of its two decoder vectors."),
        Column::real("encoder_norm_base", "||e_j^base||."),
        Column::real("encoder_norm_tuned", "||e_j^tuned||."),
        Column::real("encoder_cosine", "Cosine of its two encoder vectors."),
        Column::real("frequency", "Share of the held-out tokens on which it is active.").unit("share of tokens"),
        Column::real("max_activation", "Largest f_j * codenorm_j on the held-out tokens."),
        Column::real(
            "mean_activation",
            "Mean f_j * codenorm_j over the held-out tokens on which it is active; empty when dead.",
        ),
        Column::truth("dead", "Never active on the held-out tokens."),
        Column::real(
            "control_share",
            "Share of its active held-out tokens of chats, BOS not counted, that are control tokens of the chat template.",
        )
        .section("paper"),
    ],
    parts: &[],
    example: "classify classes { of = cc }",
    version: 3,
    built: Built::Yes,
};
