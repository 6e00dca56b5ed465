use super::latents::{BEST, BOTTOM, RANDOM, THRESHOLD, TOP, WORST};
use super::{Built, Column, Field, Kind, Type, Unit, Variant, Word};

const ROLES: &[Word] = &[Word::new("base", "The base model."), Word::new("tuned", "The tuned model.")];

const INSERT: &[Variant] = &[
    Variant::new("nothing", &[], "The stream as it is: the whole distance between the models.")
        .formula("h_S = h^into", "paper"),
    Variant::new("everything", &[], "All latents, without what the crosscoder misses: the errors stay.")
        .formula("h_S = h^into + sum over all j of f_j (d_j^other - d_j^into)", "paper"),
    Variant::new("error", &[], "What the crosscoder misses, without its latents: the error of the other model.")
        .formula("h_S = h^other + sum over all j of f_j (d_j^into - d_j^other)", "paper"),
    Variant::new("template", &[], "The other model's stream at the control tokens of the chat template.")
        .formula("h_S = h^other at control tokens, h^into elsewhere", "paper"),
    Variant::new("add", BY, "These latents as with `mode = add`, whatever the others are.")
        .formula("h_S = h^into + sum over j in S of f_j d_j^other", "published code"),
    Variant::new("add_with_bias", BY, "These latents of an autoencoder as with `add`, and its decoder bias.")
        .formula("h_S = h^into + sum over j in S of f_j d_j + b_dec", "published code"),
    Variant::new("replace", BY, "These latents as with `mode = replace`, whatever the others are.")
        .formula("h_S = h^into + sum over j in S of f_j (d_j^other - d_j^into)", "paper"),
    Variant::new(
        "paper",
        PAPER,
        "Alone in place of the list: the paper's setups. `nothing`, `everything`, `error`, `template`; the better and the worse half of `of` by Latent \
         Scaling (`scaling_best`, `scaling_worst`) and by decoder norm (`norm_best`, `norm_worst`). All four are halves of the same latents: those of `of` \
         whose two ratios are there and within -0.1..2, and which fire on the held-out rows (docs/method.md 5.2).",
    ),
    TOP,
    BOTTOM,
    BEST,
    WORST,
    THRESHOLD,
    RANDOM,
];

const BY: &[Field] = &[Field::new("latents", Type::Latents, "The latents that are put in.").positional()];

const PAPER: &[Field] = &[
    Field::new("classes", Type::Step(&["classify"]), "Classes of the crosscoder's latents.").positional(),
    Field::new("scaling", Type::Step(&["scaling"]), "Latent Scaling of them.").positional(),
    Field::new("of", Type::Latents, "The latents whose halves are put in.").absent("the tuned-only ones of `classes`"),
];

const FIRST: Field = Field::new("tokens", Type::Whole { low: 1, high: 1_000_000 }, "Tokens of each answer.")
    .positional()
    .default("10", "published code");
pub const POSITIONS: &[Variant] = &[
    Variant::new("all", &[], "Every position that predicts a token of the assistant, the end of its turn among them."),
    Variant::new(
        "first",
        &[FIRST],
        "The first of these in each answer, without those on tokens of the template (so `first(10)` is 9 of Gemma).",
    ),
    Variant::new("rest", &[FIRST], "All but those of `first`."),
    Variant::new("template", &[], "Those on tokens of the template: the first of each answer."),
];

const METRICS: &[Word] = &[
    Word::new("kl", "KL(finish || patched), in nats a token."),
    Word::new("kl_base", "KL(base || patched), in nats a token, over the ids that both models have."),
    Word::new(
        "kl_tuned",
        "KL(tuned || patched), likewise. With `into = base`, `finish = base` its `clean` is KL(tuned || base): the whole distance, where no layer of the tuned \
         model is run.",
    ),
    Word::new("loss", "Cross entropy of the text as the finishing model reads it, in nats a token."),
    Word::new("loss_argmax", "Cross entropy of what the finishing model finds likeliest, in nats a token."),
    Word::new("agreement", "Share of tokens where the likeliest token is that of the finishing model."),
];

pub const KIND: Kind = Kind {
    word: "patch",
    doc: "Puts latents into the base's activations and lets the tuned model go on, to see how much of its behaviour comes back.",
    details: "h_S = h^base + sum over j in S of f_j (d_j^tuned - d_j^base) at every position of the sequence (`mode = add`: f_j d_j^tuned), with f of both models' \
              activations on the same tokens; the finishing model's blocks above the layer run on h_S. With `into = tuned` and `finish = base` the other way \
              round. Positions that the activations leave out (`skip`, `exclude`) are patched too. At the sites `mlp_out` and `attn_out` h_S takes their place in \
              the finishing model's own run. Decoder biases are not exchanged. Of an autoencoder this adds f_j d_j to the base. Conversations are those of the corpus in its order that have a token of the \
              assistant, cut to `context`, first those that the crosscoder was not trained on; measured are the positions that predict tokens of the assistant.",
    section: "paper",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new("into", Type::Word(ROLES), "Whose activations are patched.").default("base", "paper"),
        Field::new("finish", Type::Word(ROLES), "Who goes on.").default("tuned", "paper"),
        Field::new(
            "prompts",
            Type::Prompts { texts: false },
            "How many conversations, and of which chat corpus; without one, of the chat corpus that `validate` of the activations reads. Those that the crosscoder \
             was not trained on come first.",
        )
        .default("512 prompts", "paper"),
        Field::new("context", Type::Amount { units: &[Unit::Tokens], low: 2.0 }, "Longest conversation; the rest is cut off.")
            .absent("the context of the activations, at most that of the models"),
        Field::new(
            "insert",
            Type::Entries(&Type::LatentsOr(INSERT)),
            "What is put in, one row each; a label names the row.",
        )
        .default("[nothing, everything, error, template]", "paper"),
        Field::new(
            "mode",
            Type::Word(&[
                Word::new("replace", "Adds f_j (d_j^tuned - d_j^base), of `everything` and of chosen latents."),
                Word::new("add", "Adds f_j d_j^tuned, and keeps the base's vector."),
            ]),
            "How latents are put in, where an entry does not say it itself: `add(..)`, `replace(..)`.",
        )
        .default("replace", "paper"),
        Field::new("positions", Type::OneOrMore(&Type::Variant(POSITIONS)), "Where it is measured, one row each.")
            .default("[all, first(10), rest(10)]", "published code"),
        Field::new("metric", Type::OneOrMore(&Type::Word(METRICS)), "What is measured, one row each.").default("kl", "paper"),
        Field::new("seed", Type::Whole { low: 0, high: u64::MAX }, "Seed of random latents.").default("42", "xd"),
    ],
    columns: &[
        Column::words("insert", &[], "What was put in: the label, or the word."),
        Column::whole("draw", "Which draw of `random`, from 0; empty elsewhere."),
        Column::whole("latents", "How many latents were put in."),
        Column::words("positions", &[], "Where."),
        Column::words("metric", &["kl", "kl_base", "kl_tuned", "loss", "loss_argmax", "agreement"], "What is measured."),
        Column::real("mean", "Mean over the tokens.").unit("nats / token").section("paper"),
        Column::real("ci95", "Half of the 95% interval of the mean, tokens taken as independent: 1.96 sqrt(variance / count).")
            .section("published code"),
        Column::real("ci95_prompts", "The same with tokens of a prompt taken together (a ratio of sums over prompts), by Student's t of as many prompts."),
        Column::real("clean", "The same mean of the finishing model untouched: 0 for `kl`, 1 for `agreement`.").unit("nats / token"),
        Column::real(
            "closed",
            "(mean of `nothing` - mean) / (mean of `nothing` - clean): the share of the distance that is closed. Empty without `nothing`.",
        ),
        Column::whole("count", "Tokens.").unit("tokens"),
        Column::whole("prompts", "Conversations that have such tokens."),
    ],
    parts: &[],
    example: "patch causal {\n  of = cc\n  prompts = 64 prompts of talk\n  insert = [nothing, everything, best(by = nu.rank, of = classes.tuned_only)]\n}",
    version: 2,
    built: Built::Yes,
};
