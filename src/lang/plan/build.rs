//! Declarations at points become drafts, and drafts become the plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::check;
use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::resolve::{Call, DeclId, Fields, Node, Resolution, Scope, Sink, Typed, VALUE};
use crate::lang::source::{Sources, Span};
use crate::lang::world::World;

use super::cost::cost;
use super::draft::{At, Draft, Drafts};
use super::key::{KeyInput, key};
use super::lower::lower;
use super::{Address, Input, Origin, Plan, ResolvedField, Step, StepIndex};

/// Makes the draft of every declaration at every point; what is wrong goes to `sink`.
///
/// What imported files declare and the asked file does not use stays empty: its models and texts need not be on this machine.
pub fn drafts(world: &dyn World, scope: &Scope, sources: &Sources, resolution: &Resolution, sink: &mut Sink) -> Drafts {
    let mut drafts: Drafts = vec![Vec::new(); scope.declared.len()];
    let reached = check::unused::reached(scope, resolution);
    for &id in &resolution.order {
        let Some(kind) = scope.get(id).kind else { continue };
        let resolved = resolution.get(id);
        if !reached.contains(&id) {
            drafts[id.0] = vec![Draft::default(); resolved.points.len()];
            continue;
        }
        let mut own: Vec<Draft> = Vec::with_capacity(resolved.points.len());
        for point in &resolved.points {
            let fields = &resolved.combinations[point.combination];
            let at = At { world, scope, sources, resolution, drafts: &drafts, id, point, fields };
            own.push(lower(&at, kind.word, sink));
        }
        drafts[id.0] = own;
    }
    same_file(scope, resolution, &drafts, sink);
    drafts
}

/// The plan: what the leaves of the asked file need, inputs first. `None` when a file cannot be hashed; that is reported.
pub fn plan(
    world: &dyn World,
    scope: &Scope,
    resolution: &Resolution,
    drafts: &Drafts,
    sink: &mut Sink,
) -> Option<Plan> {
    let needed = needed(scope, resolution, drafts);
    let root = &scope.modules[0].tree;
    let mut plan = Plan {
        edition: root.edition.as_ref().map_or(1, |e| e.number),
        docs: root.docs.clone(),
        params: crate::lang::resolve::param_values(scope),
        steps: Vec::new(),
    };
    let mut index: BTreeMap<(DeclId, usize), StepIndex> = BTreeMap::new();
    for &id in &resolution.order {
        let declared = scope.get(id);
        let Some(kind) = declared.kind else { continue };
        for (at, draft) in drafts[id.0].iter().enumerate() {
            if !needed.contains(&(id, at)) {
                continue;
            }
            let (Some(spec), point) = (&draft.spec, &resolution.get(id).points[at]) else { return None };
            let inputs: Vec<Input> = draft
                .inputs
                .iter()
                .filter_map(|(role, decl, point)| Some(Input { role, step: *index.get(&(*decl, *point))? }))
                .collect();
            let key_inputs: Vec<KeyInput> = inputs
                .iter()
                .map(|input| {
                    let step: &Step = &plan.steps[input.step.0];
                    KeyInput { role: input.role, id: &step.id, name: &step.address.name, point: &step.address.point }
                })
                .collect();
            let step_id = match key(kind, spec, &key_inputs, world) {
                Ok(id) => id,
                Err((path, why)) => {
                    sink.push(check::files::missing("file", &path, &why, declared.name_span));
                    return None;
                }
            };
            let fields = &resolution.get(id).combinations[point.combination];
            index.insert((id, at), StepIndex(plan.steps.len()));
            plan.steps.push(Step {
                id: step_id,
                address: Address { name: declared.name.clone(), point: point.labels.clone() },
                kind: kind.word,
                docs: declared.docs.clone(),
                spec: spec.clone(),
                inputs,
                span: declared.name_span,
                resolved: with_seeds(with_pins(resolved_fields(scope, id, fields, &point.labels), spec), spec),
                cost: cost(spec, &draft.facts),
                width: draft.facts.width,
            });
        }
    }
    Some(plan)
}

/// Everything that the leaves of the asked file read, directly or not.
fn needed(scope: &Scope, resolution: &Resolution, drafts: &Drafts) -> BTreeSet<(DeclId, usize)> {
    let read = check::unused::read(scope, resolution);
    let mut needed = BTreeSet::new();
    let mut waiting: Vec<(DeclId, usize)> = Vec::new();
    for (index, declared) in scope.declared.iter().enumerate() {
        let id = DeclId(index);
        let asked = declared.kind.is_some_and(|k| matches!(k.word, "table" | "plot" | "expect"));
        if declared.module == 0 && check::unused::is_leaf(scope, resolution, id) && (asked || !read.contains(&id)) {
            waiting.extend((0..drafts[index].len()).map(|point| (id, point)));
        }
    }
    while let Some(step) = waiting.pop() {
        if needed.insert(step)
            && let Some(draft) = drafts[step.0.0].get(step.1)
        {
            waiting.extend(draft.inputs.iter().map(|(_, decl, point)| (*decl, *point)));
        }
    }
    needed
}

/// Every field with its value and origin; the arguments of forms follow as `loss.k`.
fn resolved_fields(scope: &Scope, id: DeclId, fields: &Fields, point: &[(String, String)]) -> Vec<ResolvedField> {
    let mut found = Vec::new();
    let Some(kind) = scope.get(id).kind else { return found };
    if let Some(node) = fields.get(VALUE) {
        match node.call() {
            Some(call) => {
                found.push(ResolvedField {
                    path: "form".to_string(),
                    value: call.word.to_string(),
                    origin: node.origin.clone(),
                });
                arguments("", call, &mut found);
            }
            None => found.push(ResolvedField {
                path: "form".to_string(),
                value: node.text.clone(),
                origin: node.origin.clone(),
            }),
        }
    }
    for field in kind.fields {
        let Some(node) = fields.get(field.path) else { continue };
        field_lines(field.path, node, &mut found);
    }
    // Along a range, the text of the axis is the whole range; here stands the value of this point.
    for field in found.iter_mut().filter(|field| field.origin == Origin::Axis && field.value.contains("..")) {
        if let Some((_, value)) = point.iter().find(|(axis, _)| *axis == field.path) {
            field.value.clone_from(value);
        }
    }
    found
}

/// The commits that the lock file pins, after the fields that name what is pinned.
fn with_pins(mut fields: Vec<ResolvedField>, spec: &super::spec::Spec) -> Vec<ResolvedField> {
    for (field, hub) in spec.hub_refs() {
        let Some(pin) = &hub.pin else { continue };
        let prefix = if field.is_empty() { String::new() } else { format!("{field}.") };
        let after = |name: &str| fields.iter().position(|f| f.path == format!("{prefix}{name}"));
        let place = after("revision").or_else(|| after("id")).map_or(fields.len(), |at| at + 1);
        let pinned = ResolvedField { path: format!("{prefix}commit"), value: pin.commit.clone(), origin: Origin::Lock };
        fields.insert(place, pinned);
    }
    fields
}

/// The seeds over which a table takes means though nobody wrote `over`.
fn with_seeds(mut fields: Vec<ResolvedField>, spec: &super::spec::Spec) -> Vec<ResolvedField> {
    let super::spec::Spec::Table(table) = spec else { return fields };
    if table.over.is_empty() || fields.iter().any(|field| field.path == "over") {
        return fields;
    }
    let value = match &table.over[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let origin = Origin::Default("the seeds of its rows".to_string());
    let place = fields.iter().position(|field| field.path == "columns").unwrap_or(fields.len());
    fields.insert(place, ResolvedField { path: "over".to_string(), value, origin });
    fields
}

fn field_lines(path: &str, node: &Node, found: &mut Vec<ResolvedField>) {
    match &node.value {
        Typed::Call(call) if !call.arguments.is_empty() => {
            found.push(ResolvedField {
                path: path.to_string(),
                value: call.word.to_string(),
                origin: node.origin.clone(),
            });
            arguments(&format!("{path}."), call, found);
        }
        _ => {
            found.push(ResolvedField { path: path.to_string(), value: node.text.clone(), origin: node.origin.clone() })
        }
    }
}

fn arguments(prefix: &str, call: &Call, found: &mut Vec<ResolvedField>) {
    for (field, node) in &call.arguments {
        field_lines(&format!("{prefix}{}", field.path), node, found);
    }
}

/// Two results in one file would overwrite each other.
fn same_file(scope: &Scope, resolution: &Resolution, drafts: &Drafts, sink: &mut Sink) {
    use super::spec::Spec;
    let mut files: BTreeMap<(bool, String), Span> = BTreeMap::new();
    for (index, declared) in scope.declared.iter().enumerate() {
        if declared.module != 0 {
            continue;
        }
        for (at, draft) in drafts[index].iter().enumerate() {
            let (plot, names) = match &draft.spec {
                Some(Spec::Table(table)) => (false, vec![table.save.clone()]),
                Some(Spec::Plot(plot)) => (true, plot.files()),
                _ => continue,
            };
            let point = &resolution.get(DeclId(index)).points[at];
            let fields = &resolution.get(DeclId(index)).combinations[point.combination];
            let span = fields.get("save").map_or(declared.name_span, |n| n.span);
            let taken = names.iter().find_map(|name| Some((name, files.get(&(plot, name.clone()))?)));
            if let Some((name, first)) = taken {
                let help = match *first == span {
                    true => "several points would be saved in one file: insert the axis, as in `\"norm-{axis}.svg\"`",
                    false => "give one of them another file name",
                };
                let mut problem = Diagnostic::new(Code::DefinedTwice, span, format!("`{name}` would be written twice"))
                    .label("the same file")
                    .help(help);
                if *first != span {
                    problem = problem.related(*first, "first written by this");
                }
                sink.push(problem);
                continue;
            }
            files.extend(names.into_iter().map(|name| ((plot, name), span)));
        }
    }
}
