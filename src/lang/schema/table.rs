use super::paper::PAPER;
use super::{Built, Field, Kind, Query, Type};

pub const KIND: Kind = Kind {
    word: "table",
    doc: "Rows of one or several steps, as CSV and in the report.",
    details: "All points of a name become rows, with a column for each axis. Several steps are joined on the axes they share and on `latent`; a column that \
              several have is written with its step, `classes.delta_norm`. With `group`, aggregates (mean median min max share count) reduce the rows of \
              each group. With `over`, an aggregate X is made at each value of these axes on its own: the table has the mean of these numbers, after it \
              `X_ci95` = t_{0.975, n-1} s / sqrt(n) (the mean lies within X - X_ci95 and X + X_ci95 with 95% confidence; empty for one value), and at its end \
              `n`, the least number of values behind a mean of the row.",
    section: "",
    value: Some(Type::Variant(PAPER)),
    fields: &[
        Field::new("rows", Type::Query(Query::Rows), "The steps whose rows are shown."),
        Field::new("where", Type::Query(Query::Where), "Rows to keep.").absent("all"),
        Field::new("group", Type::Query(Query::Group), "One row for each combination of these.").absent("no grouping"),
        Field::new(
            "over",
            Type::Query(Query::Group),
            "Axes such as `train.seed`: aggregates become means over their values, with intervals.",
        )
        .absent("the seeds, where the rows have several of one (`over = none` pools them); else aggregates over all rows of a group"),
        Field::new("columns", Type::Query(Query::Columns), "Columns and aggregates, in order; a label is the header.")
            .absent("all"),
        Field::new("sort", Type::Query(Query::Sort), "Order of the rows.").absent("points in file order, then latents"),
        Field::new("limit", Type::Whole { low: 1, high: 1_000_000_000 }, "At most so many rows.").absent("all"),
        Field::new("save", Type::Text, "File name within tables/.")
            .absent("the declaration's name and .csv")
            .harmless(),
    ],
    columns: &[],
    parts: &[],
    example: "table counts { rows = classes\n  group = [loss, class]\n  columns = [loss, class, count(), mean(frequency)] }",
    version: 1,
    built: Built::Yes,
};
