//! Every declaration read, with its points, in an order in which each stands after what it reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::check;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::Origin;
use crate::lang::schema::{Built, Default, Kind, Query, Type};
use crate::lang::source::{Sources, Span};
use crate::lang::syntax::tree::{Value, ValueKind};

use super::axis::{AxisId, AxisView, OwnAxis, own_axes};
use super::fields::Fields;
use super::point::{Point, matching, same, selected, side};
use super::query;
use super::reader::{Reader, dotted};
use super::scope::{BLOCK, DeclId, Scope, VALUE};
use super::sink::Sink;
use super::typed::{Node, StepRef, Typed};

/// A declaration with its values and points.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Inherited axes first, then its own.
    pub axes: Vec<AxisView>,
    /// One for each combination of its own axes.
    pub combinations: Vec<Fields>,
    pub points: Vec<Point>,
    /// Every declaration that it reads, as written, each place once.
    pub refs: Vec<StepRef>,
    /// Something could not be read, so it cannot be planned.
    pub broken: bool,
    /// Its axes or their values are not known for certain, so nothing that names them is judged.
    pub axes_unknown: bool,
}

/// All declarations, by [`DeclId`].
#[derive(Debug, Default)]
pub struct Resolution {
    pub resolved: Vec<Resolved>,
    /// Inputs first.
    pub order: Vec<DeclId>,
}

impl Resolution {
    /// The declaration with this id.
    pub fn get(&self, id: DeclId) -> &Resolved {
        &self.resolved[id.0]
    }
}

/// Reads everything; mistakes go to `sink`.
pub fn resolve(scope: &Scope, sources: &Sources, sink: &mut Sink) -> Resolution {
    let count = scope.declared.len();
    let mut resolver = Resolver {
        scope,
        sources,
        sink,
        done: vec![None; count],
        path: Vec::new(),
        resolution: Resolution { resolved: vec![Resolved::default(); count], order: Vec::new() },
    };
    for index in 0..count {
        resolver.visit(DeclId(index));
    }
    resolver.resolution
}

struct Resolver<'r> {
    scope: &'r Scope,
    sources: &'r Sources,
    sink: &'r mut Sink,
    /// `None` before, `Some(false)` while, `Some(true)` after it is read.
    done: Vec<Option<bool>>,
    path: Vec<DeclId>,
    resolution: Resolution,
}

/// More points than this are not laid out.
const MOST_POINTS: usize = 100_000;

impl Resolver<'_> {
    fn visit(&mut self, id: DeclId) {
        if self.done[id.0].is_some() {
            return;
        }
        self.done[id.0] = Some(false);
        self.path.push(id);
        let resolved = self.declaration(id);
        self.resolution.resolved[id.0] = resolved;
        self.resolution.order.push(id);
        self.path.pop();
        self.done[id.0] = Some(true);
    }

    fn reader(&mut self, id: DeclId) -> Reader<'_> {
        Reader {
            scope: self.scope,
            sources: self.sources,
            sink: &mut *self.sink,
            module: self.scope.get(id).module,
            own: id,
            at: None,
            origin: None,
            through: None,
            filled: Vec::new(),
            literal: None,
        }
    }

    fn declaration(&mut self, id: DeclId) -> Resolved {
        let declared = self.scope.get(id);
        let Some(kind) = declared.kind else {
            return Resolved { broken: true, axes_unknown: true, ..Resolved::default() };
        };
        if declared.fields.is_empty() && declared.unreadable {
            return Resolved { broken: true, axes_unknown: true, ..Resolved::default() };
        }
        if kind.word == "param" {
            // A param is read where it is used, by the type of that place.
            if !declared.axes.is_empty() {
                self.sink.push(
                    Diagnostic::new(Code::UnknownField, declared.axes[0].span, "a param has one value, no axes")
                        .label("an axis on a param")
                        .help("put the axis on the declaration whose field it fills"),
                );
            }
            return Resolved { broken: !declared.fields.iter().any(|w| w.path == VALUE), ..Resolved::default() };
        }
        let mut reader = self.reader(id);
        let (own, whole_axes) = own_axes(&mut reader, id, kind);
        let (combinations, readable) = self.combinations(id, kind, &own);
        let mut resolved =
            Resolved { combinations, broken: !whole_axes || !readable || declared.unreadable, ..Resolved::default() };
        resolved.refs = self.refs(id, kind, &resolved.combinations);
        resolved.axes_unknown =
            !whole_axes || declared.unreadable || axes_may_be_broken(kind, &own, &resolved.combinations);
        for step in resolved.refs.clone() {
            if !self.target(id, &step) {
                resolved.broken = true;
                resolved.axes_unknown = true;
            }
            resolved.axes_unknown |= self.resolution.get(step.target).axes_unknown;
        }
        self.lay_out(id, kind, &own, &mut resolved);
        resolved
    }

    // -- fields ------------------------------------------------------------------------------------------------------

    fn combinations(&mut self, id: DeclId, kind: &'static Kind, own: &[OwnAxis]) -> (Vec<Fields>, bool) {
        let declared = self.scope.get(id).clone();
        let mut shared = Fields::default();
        let mut whole = true;
        // A misspelled field explains a missing one: one typo, one message.
        let strange_axes =
            declared.axes.iter().flat_map(|a| &a.fields).filter(|path| kind.field(&dotted(path)).is_none());
        let mut strangers = strange_axes.count();
        let short_form = declared.fields.iter().any(|w| w.path == VALUE);
        if let Some(problem) = check::fields::wrong_shape(kind, &declared) {
            self.sink.push(problem);
            return (Vec::new(), false);
        }
        for written in declared.fields.iter().filter(|w| w.path != VALUE) {
            let Some(field) = kind.field(&written.path) else {
                whole = false;
                // A bad line inside is known; the block is not judged further.
                let block = written.path.strip_suffix(BLOCK);
                if block.is_some() || !matches!(written.value.kind, ValueKind::Broken) {
                    let problem = check::fields::unknown(kind, &declared, written, block.unwrap_or(&written.path));
                    strangers += usize::from(problem.code == Code::UnknownField);
                    self.sink.push(problem);
                }
                shared.broken.insert(written.path.clone());
                continue;
            };
            if let Built::NotYet(meanwhile) = field.built {
                self.sink.push(
                    Diagnostic::new(
                        Code::NotBuiltYet,
                        written.path_span,
                        format!("`{}` belongs to the language, but this version of xd cannot do it yet", field.path),
                    )
                    .label("not built yet")
                    .help(meanwhile),
                );
                shared.broken.insert(written.path.clone());
                whole = false;
                continue;
            }
            match self.reader(id).read(&field.ty, &written.value, &format!("`{}`", field.path)) {
                Some(node) => drop(shared.nodes.insert(field.path, node)),
                None => {
                    shared.broken.insert(written.path.clone());
                    whole = false;
                }
            }
        }
        // Each value of each axis is read once, whatever the number of points.
        let mut axis_nodes: Vec<Vec<Vec<Option<Node>>>> = Vec::new();
        if !short_form {
            for axis in own {
                let rows = axis.values.iter().map(|row| self.axis_row(id, kind, axis, row)).collect();
                axis_nodes.push(rows);
            }
        }
        let mut combinations = Vec::new();
        let total: usize = own.iter().map(|a| a.values.len()).product();
        if total > MOST_POINTS {
            self.sink.push(
                Diagnostic::new(
                    Code::OutOfRange,
                    declared.name_span,
                    format!("`{}` has {total} points", declared.name),
                )
                .label("too many to lay out")
                .help(format!("at most {MOST_POINTS} points are planned; take fewer values an axis")),
            );
            return (Vec::new(), false);
        }
        let mut missing_reported = false;
        for index in 0..total {
            let chosen = unravel(index, own);
            let mut fields = shared.clone();
            if let (Some(ty), true) = (&kind.value, short_form) {
                let written = declared.fields.iter().find(|w| w.path == VALUE);
                let Some(written) = written else { continue };
                let mut reader = self.reader(id);
                reader.filled = filled(own, &chosen);
                match reader.read(ty, &written.value, &format!("this {}", kind.word)) {
                    Some(node) => drop(fields.nodes.insert(VALUE, node)),
                    None => drop(fields.broken.insert(VALUE.to_string())),
                }
            }
            for (axis, rows) in axis_nodes.iter().enumerate() {
                for ((label, _), node) in own[axis].fields.iter().zip(&rows[chosen[axis]]) {
                    let path = kind.field(label).map(|f| f.path);
                    match (path, node) {
                        (Some(path), Some(node)) => drop(fields.nodes.insert(path, node.clone())),
                        _ => drop(fields.broken.insert(label.clone())),
                    }
                }
            }
            if !short_form
                && !self.defaults(id, kind, &mut fields, &declared.name_span, own, strangers, &mut missing_reported)
            {
                whole = false;
            }
            whole &= fields.is_whole();
            combinations.push(fields);
        }
        (combinations, whole)
    }

    fn axis_row(&mut self, id: DeclId, kind: &Kind, axis: &OwnAxis, row: &[Value]) -> Vec<Option<Node>> {
        axis.fields
            .iter()
            .zip(row)
            .map(|((label, _), value)| {
                let field = kind.field(label)?;
                let mut node = self.reader(id).read(&field.ty, value, &format!("`{label}`"))?;
                if matches!(node.origin, Origin::Written(_)) {
                    node.origin = Origin::Axis;
                }
                Some(node)
            })
            .collect()
    }

    /// Fills in what was not written; false when a required field is missing.
    fn defaults(
        &mut self,
        id: DeclId,
        kind: &'static Kind,
        fields: &mut Fields,
        at: &Span,
        own: &[OwnAxis],
        strangers: usize,
        reported: &mut bool,
    ) -> bool {
        let unreadable = self.scope.get(id).unreadable;
        let loss = fields.call("loss").map(|c| c.word);
        let elsewhere = kind.word == "crosscoder" && fields.get("from").is_some();
        let mut missing: Vec<&str> = Vec::new();
        for field in kind.fields {
            let axis = own.iter().any(|a| a.fields.iter().any(|(l, _)| l == field.path));
            if fields.nodes.contains_key(field.path) || fields.broken.contains(field.path) || axis {
                continue;
            }
            match field.default {
                Default::Required => missing.push(field.path),
                _ if field.built != Built::Yes => {}
                // A crosscoder trained elsewhere is not trained here.
                _ if elsewhere && (field.path.starts_with("train.") || field.path.starts_with("init.")) => {}
                _ => {
                    if let Some(node) = self.reader(id).default(field, loss, *at) {
                        fields.nodes.insert(field.path, node);
                    }
                }
            }
        }
        if kind.word == "crosscoder" && fields.call("variant").is_some_and(|variant| variant.word == "sae") {
            self.defaults_of_sae(id, fields);
        }
        if missing.len() > strangers && !unreadable && !*reported {
            *reported = true;
            let problem = check::fields::missing(kind, self.scope.get(id), &missing);
            self.sink.push(problem);
        }
        missing.is_empty()
    }

    /// Arguments of the loss that were not written and have another default for autoencoders.
    fn defaults_of_sae(&mut self, id: DeclId, fields: &mut Fields) {
        let Some(Node { value: Typed::Call(loss), .. }) = fields.nodes.get_mut("loss") else { return };
        for (field, node) in &mut loss.arguments {
            if let (Origin::Default(source), Some(text)) = (&node.origin, field.default_of_sae)
                && let Some(other) = self.reader(id).default_text(field, text, source, node.span)
            {
                *node = other;
            }
        }
    }

    // -- references --------------------------------------------------------------------------------------------------

    fn refs(&mut self, id: DeclId, kind: &Kind, combinations: &[Fields]) -> Vec<StepRef> {
        let mut refs: Vec<StepRef> = Vec::new();
        let mut seen: BTreeSet<(usize, usize, u32, usize)> = BTreeSet::new();
        let mut add = |step: &StepRef| {
            if seen.insert((step.target.0, step.span.start, step.span.file.0, step.span.end)) {
                refs.push(step.clone());
            }
        };
        for fields in combinations {
            let mut found = Vec::new();
            fields.nodes.values().for_each(|node| node.refs(&mut found));
            found.into_iter().for_each(&mut add);
        }
        if kind.word == "expect" {
            let module = self.scope.get(id).module;
            for fields in combinations {
                query::expect_refs(self.scope, self.sources, module, fields).iter().for_each(&mut add);
            }
        }
        refs
    }

    /// Reads the target of a reference and judges its selectors; false when they cannot be trusted.
    fn target(&mut self, id: DeclId, step: &StepRef) -> bool {
        if self.done[step.target.0] == Some(false) {
            self.cycle(id, step);
            return false;
        }
        self.visit(step.target);
        let target = self.resolution.get(step.target);
        if target.axes_unknown {
            return true;
        }
        let mut problems = Vec::new();
        let is_expect = self.scope.get(id).kind.is_some_and(|k| k.word == "expect");
        for selector in &step.selectors {
            let axis =
                target.axes.iter().find_map(|a| a.labels.iter().position(|l| *l == selector.label).map(|at| (a, at)));
            let declared = self.scope.get(step.target);
            match axis {
                Some((axis, at)) if axis.values.iter().any(|names| same(&names[at], &selector.value)) => {}
                Some((axis, at)) => {
                    let mut names: Vec<&str> = axis.values.iter().map(|names| names[at].as_str()).collect();
                    names.dedup();
                    let span = selector.value_span;
                    let written = &self.sources.get(span.file).text[span.start..span.end];
                    problems.push(check::points::unknown_value(declared, selector, written, &names));
                }
                None if is_expect && check::points::is_text_column(declared, &selector.label) => {}
                None => {
                    let labels: Vec<&str> =
                        target.axes.iter().flat_map(|a| a.labels.iter().map(String::as_str)).collect();
                    problems.push(check::points::unknown_axis(declared, selector, &labels, is_expect));
                }
            }
        }
        if problems.is_empty()
            && !step.selectors.is_empty()
            && !target.points.is_empty()
            && !target.points.iter().any(|p| selected(step, p))
        {
            problems.push(
                Diagnostic::new(
                    Code::UnknownPoint,
                    step.span,
                    format!("`{}` has no such point", self.scope.get(step.target).name),
                )
                .label("each value exists, but not together")
                .help("a zipped axis has only the combinations that its tuples list"),
            );
        }
        let fine = problems.is_empty();
        problems.into_iter().for_each(|p| self.sink.push(p));
        fine
    }

    fn cycle(&mut self, id: DeclId, step: &StepRef) {
        let start = self.path.iter().position(|p| *p == step.target).unwrap_or(0);
        let mut names: Vec<String> =
            self.path[start..].iter().map(|p| format!("`{}`", self.scope.get(*p).name)).collect();
        names.push(format!("`{}`", self.scope.get(step.target).name));
        self.sink.push(
            Diagnostic::new(
                Code::StepCycle,
                step.span,
                format!("these steps need one another: {}", names.join(" reads ")),
            )
            .label("this closes the circle")
            .related(self.scope.get(step.target).name_span, "which starts here")
            .help(format!("`{}` can only read what does not need it", self.scope.get(id).name)),
        );
    }

    // -- points ------------------------------------------------------------------------------------------------------

    fn lay_out(&mut self, id: DeclId, kind: &Kind, own: &[OwnAxis], resolved: &mut Resolved) {
        let inherited = self.inherited(id, kind, resolved);
        let mut axes: Vec<AxisView> = inherited.iter().map(|(axis, _)| axis.clone()).collect();
        axes.extend(own.iter().map(|a| a.view.clone()));
        self.label_apart(&mut axes);
        let combinations: usize = inherited.iter().map(|(_, allowed)| allowed.len()).product();
        if combinations.saturating_mul(resolved.combinations.len()) > MOST_POINTS {
            let declared = self.scope.get(id);
            self.sink.push(
                Diagnostic::new(
                    Code::OutOfRange,
                    declared.name_span,
                    format!("`{}` has over {MOST_POINTS} points", declared.name),
                )
                .label("too many to lay out")
                .help("fix an axis of what it reads: `of = cc[train.seed = 0]`"),
            );
            resolved.broken = true;
            return;
        }
        for outer in 0..combinations {
            let mut rest = outer;
            let mut coordinates: BTreeMap<AxisId, usize> = BTreeMap::new();
            for (axis, allowed) in inherited.iter().rev() {
                coordinates.insert(axis.id, allowed[rest % allowed.len()]);
                rest /= allowed.len();
            }
            for combination in 0..resolved.combinations.len() {
                let mut coordinates = coordinates.clone();
                for (axis, value) in own.iter().zip(unravel(combination, own)) {
                    coordinates.insert(axis.view.id, value);
                }
                if !self.exists(kind, &resolved.combinations[combination], &coordinates) {
                    continue;
                }
                let mut labels = Vec::new();
                for axis in &axes {
                    if let Some(value) = coordinates.get(&axis.id) {
                        labels.extend(axis.labels.iter().cloned().zip(axis.values[*value].iter().cloned()));
                    }
                }
                resolved.points.push(Point { coordinates, combination, labels });
            }
        }
        if kind.word == "compare" {
            self.leave_out_itself(resolved);
        }
        resolved.axes = axes;
        let known = resolved.refs.iter().all(|step| !self.resolution.get(step.target).points.is_empty());
        if resolved.points.is_empty() && known && !resolved.broken && !resolved.axes_unknown {
            let declared = self.scope.get(id);
            let mut problem = Diagnostic::new(
                Code::UnknownPoint,
                declared.name_span,
                format!("no point of `{}` exists", declared.name),
            )
            .label("nothing to do at any point")
            .help("the addresses that it reads have no point in common; loosen one of them");
            for step in &resolved.refs {
                problem = problem.related(step.span, "read here");
            }
            self.sink.push(problem);
        }
    }

    /// The axes that come with what it reads, each with the values that stay open.
    fn inherited(&self, id: DeclId, kind: &Kind, resolved: &Resolved) -> Vec<(AxisView, Vec<usize>)> {
        let reads_rows = matches!(kind.word, "table" | "plot" | "expect");
        let wanted: Vec<String> = match reads_rows {
            true => resolved
                .combinations
                .iter()
                .filter_map(|f| match &f.get("save")?.value {
                    super::typed::Typed::Text(template) => {
                        Some(template.inserts().map(|(l, _)| l.to_string()).collect::<Vec<_>>())
                    }
                    _ => None,
                })
                .flatten()
                .collect(),
            false => Vec::new(),
        };
        let mut inherited: Vec<(AxisView, Vec<usize>)> = Vec::new();
        for step in &resolved.refs {
            let target = self.resolution.get(step.target);
            for axis in &target.axes {
                if axis.id.owner == id || reads_rows && !axis.labels.iter().any(|l| wanted.contains(l)) {
                    continue;
                }
                let allowed: BTreeSet<usize> = target
                    .points
                    .iter()
                    .filter(|p| selected(step, p))
                    .filter_map(|p| p.coordinates.get(&axis.id).copied())
                    .collect();
                let fixed = step.selectors.iter().any(|s| axis.labels.contains(&s.label));
                if fixed && allowed.len() <= 1 {
                    continue;
                }
                match inherited.iter_mut().find(|(known, _)| known.id == axis.id) {
                    Some((_, values)) => values.retain(|v| allowed.contains(v)),
                    None => inherited.push((axis.clone(), allowed.into_iter().collect())),
                }
            }
        }
        inherited
    }

    /// Every reference of this combination means exactly one point here, and no axis is there in vain.
    fn exists(&self, kind: &Kind, fields: &Fields, coordinates: &BTreeMap<AxisId, usize>) -> bool {
        if matches!(kind.word, "table" | "plot" | "expect") {
            return true;
        }
        let mut found = Vec::new();
        fields.nodes.values().for_each(|node| node.refs(&mut found));
        found.iter().all(|step| {
            let target = self.resolution.get(step.target);
            target.points.is_empty()
                || match kind.word {
                    "compare" => side(target, step, coordinates).is_some(),
                    _ => !matching(target, step, coordinates).is_empty(),
                }
        })
    }

    /// Drops the points of a comparison at which both sides are one step, where it has others.
    fn leave_out_itself(&self, resolved: &mut Resolved) {
        let [a, b] = &resolved.refs[..] else { return };
        if a.target != b.target {
            return;
        }
        let target = self.resolution.get(a.target);
        let itself = |p: &Point| side(target, a, &p.coordinates) == side(target, b, &p.coordinates);
        if resolved.points.iter().any(|p| !itself(p)) {
            let points = std::mem::take(&mut resolved.points);
            resolved.points = points.into_iter().filter(|p| !itself(p)).collect();
        }
    }

    /// Two axes with one label: the later one carries the name of its owner.
    fn label_apart(&self, axes: &mut [AxisView]) {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for axis in axes.iter_mut() {
            let owner = &self.scope.get(axis.id.owner).name;
            for label in &mut axis.labels {
                if !seen.insert(label.clone()) {
                    *label = format!("{owner}.{label}");
                    seen.insert(label.clone());
                }
            }
        }
    }
}

/// A value of an own axis, or a field that brings axes along, could not be read.
fn axes_may_be_broken(kind: &Kind, own: &[OwnAxis], combinations: &[Fields]) -> bool {
    let brings_axes = |path: &str| match kind.field(path).map(|f| f.ty) {
        Some(
            Type::Step(_)
            | Type::StepOr(..)
            | Type::Class { .. }
            | Type::List(Type::Portion)
            | Type::Query(Query::Rows),
        )
        | None => true,
        Some(_) => own.iter().any(|a| a.fields.iter().any(|(label, _)| label == path)),
    };
    let missing = |fields: &Fields| {
        let required = kind.fields.iter().filter(|f| matches!(f.default, Default::Required) && brings_axes(f.path));
        fields.get(VALUE).is_none() && required.into_iter().any(|f| fields.get(f.path).is_none())
    };
    combinations.is_empty()
        || combinations.iter().any(|fields| missing(fields) || fields.broken.iter().any(|path| brings_axes(path)))
}

/// The value of each own axis in this combination; the last axis runs fastest.
fn unravel(mut index: usize, own: &[OwnAxis]) -> Vec<usize> {
    let mut chosen = vec![0; own.len()];
    for (slot, axis) in chosen.iter_mut().zip(own).rev() {
        *slot = index % axis.values.len();
        index /= axis.values.len();
    }
    chosen
}

fn filled(own: &[OwnAxis], chosen: &[usize]) -> Vec<(String, Value)> {
    let mut filled = Vec::new();
    for (axis, value) in own.iter().zip(chosen) {
        for ((label, _), value) in axis.fields.iter().zip(&axis.values[*value]) {
            filled.push((label.clone(), value.clone()));
        }
    }
    filled
}
