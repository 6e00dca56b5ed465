//! Points: the combinations of own and inherited axes at which a declaration is a step.

use std::collections::BTreeMap;

use super::axis::AxisId;
use super::resolver::Resolved;
use super::typed::StepRef;

/// One step to be.
#[derive(Clone, Debug)]
pub struct Point {
    /// The value of each axis, by index.
    pub coordinates: BTreeMap<AxisId, usize>,
    /// Which combination of the own axes.
    pub combination: usize,
    /// Label and short name of each axis, inherited axes first.
    pub labels: Vec<(String, String)>,
}

/// Indices of the points of `target` that a reference with these selectors means from `coordinates`: axes that both have
/// are aligned, the others are open.
pub fn matching(target: &Resolved, step: &StepRef, coordinates: &BTreeMap<AxisId, usize>) -> Vec<usize> {
    (0..target.points.len())
        .filter(|&index| {
            let point = &target.points[index];
            selected(step, point)
                && point.coordinates.iter().all(|(axis, value)| coordinates.get(axis).is_none_or(|v| v == value))
        })
        .collect()
}

/// The step that one side of a `compare` means: an axis that its address fixes has that value whatever the point, since the other side may
/// have it open (`a = cc[train.seed = 0]`, `b = cc`).
pub fn side(target: &Resolved, step: &StepRef, coordinates: &BTreeMap<AxisId, usize>) -> Option<usize> {
    let fixed = |axis: &AxisId| {
        let labels = target.axes.iter().filter(|a| a.id == *axis).flat_map(|a| &a.labels);
        labels.into_iter().any(|label| step.selectors.iter().any(|s| s.label == *label))
    };
    let open = coordinates.iter().filter(|(axis, _)| !fixed(axis)).map(|(axis, value)| (*axis, *value)).collect();
    matching(target, step, &open).first().copied()
}

/// True when the point satisfies the selectors that name axes of it.
pub fn selected(step: &StepRef, point: &Point) -> bool {
    step.selectors.iter().all(|selector| {
        point
            .labels
            .iter()
            .find(|(label, _)| *label == selector.label)
            .is_none_or(|(_, value)| same(value, &selector.value))
    })
}

/// Two short names are the same as text without spaces, or as numbers.
pub fn same(a: &str, b: &str) -> bool {
    let plain = |s: &str| s.replace(' ', "");
    let number = |s: &str| s.replace('_', "").parse::<f64>().ok();
    plain(a) == plain(b) || matches!((number(a), number(b)), (Some(x), Some(y)) if x == y)
}
