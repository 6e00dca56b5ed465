use super::{Built, Column, Field, Kind, Part, Type, Word};

const GROUPS: &[Word] = &[
    Word::new("control", "Tokens of the chat template: turn marks, role words, the line ends around them."),
    Word::new("non_control", "All others of chats but BOS."),
    Word::new("bos", "The first special token of a sequence."),
    Word::new("user", "Contents of the user."),
    Word::new("assistant", "Contents of the assistant."),
    Word::new("text", "Plain text outside of chats."),
];

/// Names of the buckets.
pub const BUCKET_WORDS: &[&str] = &["bucket_0", "bucket_1", "bucket_2", "bucket_3"];

const PARTS: &[Part] = &[Part {
    word: "buckets",
    doc: "The same by how strongly a latent fires: one row a latent, group and bucket of f_j S_j by its largest value, up to 0.1, 0.4, 0.7 and over it.",
    file: "buckets.csv",
    plain: false,
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::words("group", &["control", "non_control", "bos", "user", "assistant", "text"], "Group of tokens."),
        Column::words("bucket", BUCKET_WORDS, "Bucket of the activation, from the weakest.").section("published code"),
        Column::whole("count", "Tokens of the group in the bucket.").unit("tokens"),
        Column::real("frequency", "Share of the group's tokens that are in the bucket.").unit("share of tokens"),
        Column::real("share", "Share of the bucket's tokens that fall in the group, as above."),
        Column::real("mean", "Mean f_j S_j over those tokens; empty without any."),
        Column::real("max", "Largest f_j S_j of those, 0 where there is none."),
    ],
}];

pub const KIND: Kind = Kind {
    word: "tokens",
    doc: "Where latents fire: one row a latent and group of tokens.",
    details: "Counted on held-out rows, with scaled activations f_j S_j. A token is in several groups: `control` and `non_control` divide those of chats but BOS, `user`, \
              `assistant` and `text` divide the contents, but for those of other roles such as system. The end of an assistant's turn is `control`. share = n_g / (n_control + n_non_control + n_bos): the share of a latent's active tokens that fall \
              in the group (of `control`, over n_control + n_non_control, as in the published `lmsys_ctrl_%`; of `text`, over all of them). Plain text is in no other share: \
              the published ones are of chats alone.",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new(
            "corpus",
            Type::Step(&["corpus"]),
            "Only rows of this corpus; it must be among those of `validate`.",
        )
        .absent("all held-out rows"),
        Field::new("groups", Type::OneOrMore(&Type::Word(GROUPS)), "Groups, one row a latent each.")
            .default("[control, non_control, bos, user, assistant]", "published code"),
        Field::new(
            "above",
            Type::Number { low: 0.0, high: f64::INFINITY },
            "A latent counts as active where f_j S_j is over this; with 0 wherever it fires, as in `classify`.",
        )
        .default("1e-3", "published code"),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::words("group", &["control", "non_control", "bos", "user", "assistant", "text"], "Group of tokens."),
        Column::whole("count", "Tokens of the group on which it is active.").unit("tokens"),
        Column::real("frequency", "Share of the group's tokens on which it is active.")
            .unit("share of tokens")
            .section("published code"),
        Column::real("share", "Share of its active tokens that fall in the group.").section("published code"),
        Column::real("mean", "Mean f_j S_j over its active tokens of the group; empty without any."),
        Column::real("max", "Largest f_j S_j in the group, 0 where it is never active."),
    ],
    parts: PARTS,
    example: "tokens where_it_fires { of = cc\n  groups = [control, user, assistant] }",
    version: 3,
    built: Built::Yes,
};
