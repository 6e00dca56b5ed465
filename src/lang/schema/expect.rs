use super::{Built, Kind, Query, Type};

pub const KIND: Kind = Kind {
    word: "expect",
    doc: "What must hold; a run that breaks it ends with status 4.",
    details: "A side is a number, a column `truth[loss = l1].recall`, or an aggregate (mean median min max share count) of one. Brackets fix axes and select on \
              text columns. Without an aggregate it must hold at every open point and row; then both sides must leave the same axes open. With `over` in the \
              aggregates, `mean(a.x, over = train.seed) > mean(b.x, over = train.seed)`, they are made at each value of the axis on its own, and it passes when the \
              95% interval of the mean difference of the pairs lies wholly on that side of 0; one side may be a number. Where both sides run along a seed \
              anyway, the mean difference is shown and decides nothing. `expect claims = paper(classes, nu, causal)` claims what the paper does of these steps, one \
              expectation each (`claims.halves_by_scaling`).",
    section: "",
    value: Some(Type::Query(Query::Comparison)),
    fields: &[],
    columns: &[],
    parts: &[],
    example: "expect found = truth[loss = batch_topk, class = tuned_only].recall >= 0.95\nexpect honest = share(nu[loss = batch_topk].verdict == specific, where = classes.class == tuned_only) > 0.8",
    version: 1,
    built: Built::Yes,
};
