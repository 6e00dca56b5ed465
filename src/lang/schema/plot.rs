use super::paper::PAPER;
use super::{Built, Field, Kind, Query, Type, Word};

const MARKS: &[Word] = &[
    Word::new("histogram", "Counts of x."),
    Word::new("scatter", "A dot a row."),
    Word::new("line", "Rows joined in the order of x."),
    Word::new("bar", "A bar a row."),
    Word::new("ecdf", "Share of rows at or below x."),
    Word::new("heatmap", "Counts of x and y."),
];

pub const KIND: Kind = Kind {
    word: "plot",
    doc: "A figure of rows, captioned by the doc comment.",
    details: "Rows are joined as in a table. `facet` draws one panel a value, `color` one series a value.",
    section: "",
    value: Some(Type::Variant(PAPER)),
    fields: &[
        Field::new("data", Type::Query(Query::Rows), "The steps whose rows are drawn."),
        Field::new("where", Type::Query(Query::Where), "Rows to keep.").absent("all"),
        Field::new("mark", Type::Word(MARKS), "What is drawn."),
        Field::new("x", Type::Query(Query::Column), "Column of the horizontal axis."),
        Field::new("y", Type::Query(Query::Column), "Column of the vertical axis; not for histogram and ecdf.")
            .absent("counts or shares"),
        Field::new("color", Type::Query(Query::Column), "One colour a value.").absent("one colour"),
        Field::new("facet", Type::Query(Query::Column), "One panel a value.").absent("one panel"),
        Field::new("lines", Type::Query(Query::Lines), "Reference lines at these values of x, or labelled `y =`.")
            .absent("none"),
        Field::new("scale", Type::Query(Query::Scale), "Logarithmic axes.").absent("linear"),
        Field::new("save", Type::Text, "File name within plots/, ending in .svg or .png.")
            .absent("the declaration's name and .svg")
            .harmless(),
    ],
    columns: &[],
    example: "plot delta { data = classes\n  mark = histogram\n  x = delta_norm\n  color = class\n  save = \"delta_norm.svg\" }",
    version: 1,
    built: Built::Yes,
};
