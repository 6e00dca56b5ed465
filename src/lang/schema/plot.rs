use super::paper::PAPER;
use super::{Built, Field, Kind, Query, Type, Word};

const MARKS: &[Word] = &[
    Word::new("histogram", "Rows of x by bins."),
    Word::new("scatter", "A dot a row."),
    Word::new("line", "Rows joined in the order of x."),
    Word::new("bar", "A bar for each x: the mean of y, or without y how many rows there are."),
    Word::new("ecdf", "Share of rows at or below x."),
    Word::new("heatmap", "Cells of x and y: the mean of the colour, or without one how many rows there are."),
    Word::new(
        "gradient",
        "No data: where the two penalties on decoder norms push them. It explains why L1 shrinks a base norm to exactly 0.",
    ),
];

const COUNTS: &[Word] = &[
    Word::new("rows", "How many."),
    Word::new("share", "As a share of the rows of the same colour (or panel, where there is no colour)."),
    Word::new("density", "The share divided by the width of the bin: areas of one."),
];

const WIDTHS: &[Word] = &[
    Word::new("page", "Both columns of a paper, or a page of a report."),
    Word::new("column", "One column of a paper, 85 mm, with letters that can be read there."),
];

pub const KIND: Kind = Kind {
    word: "plot",
    doc: "A figure of rows, captioned by the doc comment.",
    details: "Rows are joined as in a table. `facet` draws one panel a value, `color` one series a value. x and y are columns, or one of three forms: \
              `abs(column)`; `largest(a, abs(b))`, the largest of several in the row; `rank(column)` or `rank(descending(column))`, the place of the row \
              among those of its point that `where` keeps, from 1. `x = [base = beta_error_base, tuned = beta_error_tuned]` lays several columns over \
              one another, each in a colour. A field that the mark does not read is a mistake.",
    section: "",
    value: Some(Type::Variant(PAPER)),
    fields: &[
        Field::new("data", Type::Query(Query::Rows), "The steps whose rows are drawn; all marks but gradient need it.")
            .absent("no rows, for `mark = gradient`"),
        Field::new("where", Type::Query(Query::Where), "Rows to keep.").absent("all"),
        Field::new(
            "keep",
            Type::Query(Query::Keep),
            "Of the rows of each point, only those with the lowest or highest values; ranks are taken before.",
        )
        .absent("all"),
        Field::new("mark", Type::Word(MARKS), "What is drawn."),
        Field::new("x", Type::Query(Query::Quantities), "The horizontal axis; all marks but gradient need it.")
            .absent("no axis of data, for `mark = gradient`"),
        Field::new("y", Type::Query(Query::Quantity), "The vertical axis; not for histogram and ecdf.")
            .absent("counts or shares"),
        Field::new("color", Type::Query(Query::Column), "One colour a value; in a heatmap the number of a cell.")
            .absent("one colour"),
        Field::new("facet", Type::Query(Query::Column), "One panel a value.").absent("one panel"),
        Field::new(
            "over",
            Type::Query(Query::Group),
            "Axes such as `train.seed`: what is drawn is made at each of their values and averaged, with the 95% interval of the mean \
             (bar, line, correlation) or the range (histogram, ecdf).",
        )
        .absent("all rows together; a note says of how many seeds"),
        Field::new("bins", Type::Whole { low: 1, high: 1000 }, "How many bins: of a histogram, or of the margins of a scatter.")
            .absent("by the number of rows, with round edges"),
        Field::new("count", Type::Word(COUNTS), "What a histogram, an ecdf or a bar without y counts.")
            .absent("rows; for ecdf share"),
        Field::new(
            "range",
            Type::Query(Query::Ranges),
            "Ends of the axes; rows outside are counted in a note under the figure.",
        )
        .absent("all rows, without far outliers"),
        Field::new(
            "inset",
            Type::Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY },
            "This range of x once more, enlarged in a corner; for histogram (in 20 bins) and ecdf.",
        )
        .absent("none"),
        Field::new(
            "marginal",
            Type::Word(&[Word::new("histogram", "Densities of x above and of y beside each panel.")]),
            "What stands in the margins of a scatter.",
        )
        .absent("none"),
        Field::new(
            "highlight",
            Type::Query(Query::Where),
            "Rows of a histogram that are filled darker, in front of the others.",
        )
        .absent("none"),
        Field::new(
            "error",
            Type::Query(Query::Error),
            "Error bars of a bar or line: a column of half widths, two columns with the ends, or the 95% interval of the mean of the rows.",
        )
        .absent("the range of the rows, where several share a place"),
        Field::new(
            "correlation",
            Type::Word(&[
                Word::new("pearson", "Pearson's r with its two-sided p."),
                Word::new("spearman", "Spearman's rank correlation with its two-sided p."),
            ]),
            "Printed in a corner of each panel of a scatter: of all its rows, also those outside of `range`, and of each colour.",
        )
        .absent("none"),
        Field::new(
            "lines",
            Type::Query(Query::Lines),
            "Reference lines at these values of x, or labelled `y =`; `mean` and `median` are those of the rows, one for each colour.",
        )
        .absent("none"),
        Field::new("scale", Type::Query(Query::Scale), "Logarithmic axes.").absent("linear"),
        Field::new("width", Type::Word(WIDTHS), "Where the figure will stand.").default("page", "xd"),
        Field::new("save", Type::Text, "File name within plots/, ending in .svg or .png; without an ending both are written, PNG at 3 pixels a unit of the SVG (of a column 4).")
            .absent("the declaration's name, both")
            .harmless(),
    ],
    columns: &[],
    parts: &[],
    example: "plot delta { data = classes\n  mark = histogram\n  x = delta_norm\n  color = class\n  bins = 100\n  inset = 0.9..1.0\n  save = \"delta_norm\" }",
    version: 3,
    built: Built::Yes,
};
