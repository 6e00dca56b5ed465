use super::{Built, Column, Field, Kind, Type};

const SOURCE: &str = "published code";

pub const KIND: Kind = Kind {
    word: "autointerp",
    doc: "What delphi found of the latents: one row a latent that it explained or scored.",
    details: "delphi's scorer is shown texts and says on which the latent fires. Texts on which it does fire come by quantiles of its activation, numbered from 1 \
              (delphi's numbers, one more where they begin with 0); those on which it does not are random ones or similar ones. Each of these groups has its accuracy; \
              texts whose answer could not be read count nowhere. `total` weighs the groups alike. The step reads no activations, and no other step is made again when \
              scores change.",
    section: "published code",
    value: None,
    fields: &[
        Field::new("of", Type::Step(&["crosscoder"]), "The crosscoder."),
        Field::new(
            "scores",
            Type::OrNone(&Type::Path),
            "Folder of a run of delphi with `explanations`, `scores/detection` or `scores/fuzz`, or the published project's JSON of counts by \
             latent and quantile. `none` until there are some: the step then has no rows, and `paper(..)` leaves out what is made of them. \
             `xd export FILE EXAMPLES --as delphi` writes what delphi reads.",
        ),
    ],
    columns: &[
        Column::whole("latent", "Index of the latent."),
        Column::words("explanation", &[], "What delphi's explainer says the latent means."),
        Column::whole("texts", "Texts of the detection score with an answer."),
        Column::real("detection", "Accuracy of the detection score over all texts, (TP + TN) / texts.")
            .section(SOURCE),
        Column::real(
            "detection_balanced",
            "The same with both kinds of text weighing alike, as delphi tells it: the mean of TP / (TP + FN) and TN / (TN + FP).",
        )
        .section(SOURCE),
        Column::real(
            "detection_total",
            "Mean of the accuracies of the quantiles and of the random texts; each quantile counts, also where the published code leaves one out.",
        )
        .section(SOURCE),
        Column::real("detection_total_similar", "The same with similar texts in place of random ones.")
            .section(SOURCE),
        Column::real("detection_no_zero", "Mean of the accuracies of the quantiles: texts on which it fires.")
            .section(SOURCE),
        Column::real("detection_random", "Accuracy on random texts on which it does not fire.").section(SOURCE),
        Column::real("detection_similar", "Accuracy on similar texts on which it does not fire.").section(SOURCE),
        Column::real("detection_1", "Accuracy on texts of quantile 1.").section(SOURCE),
        Column::real("detection_2", "Accuracy on texts of quantile 2.").section(SOURCE),
        Column::real("detection_3", "Accuracy on texts of quantile 3.").section(SOURCE),
        Column::real("fuzz", "Accuracy of the fuzzing score, as `detection`.").section(SOURCE),
        Column::real("fuzz_balanced", "The same with both kinds of text weighing alike.").section(SOURCE),
    ],
    parts: &[],
    example: "autointerp meanings { of = cc\n  scores = \"results/NAME\" }",
    version: 1,
    built: Built::Yes,
};
