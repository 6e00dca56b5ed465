//! A step before it has a key: specification, inputs and facts.

use crate::lang::resolve::{DeclId, Fields, Node, Point, Resolution, Scope, Sink, StepRef, matching, side};
use crate::lang::source::{Sources, Span};
use crate::lang::world::World;

use super::facts::Facts;
use super::spec::{FileRef, Spec};

/// One declaration at one point.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `None` when something about it is wrong.
    pub spec: Option<Spec>,
    /// Role, declaration and index of its point.
    pub inputs: Vec<(&'static str, DeclId, usize)>,
    pub facts: Facts,
}

/// All drafts that are there already, by declaration and point.
pub type Drafts = Vec<Vec<Draft>>;

/// Where a step is made: its declaration, its point, and everything that stands before it.
pub struct At<'a> {
    pub world: &'a dyn World,
    pub scope: &'a Scope,
    pub sources: &'a Sources,
    pub resolution: &'a Resolution,
    pub drafts: &'a Drafts,
    pub id: DeclId,
    pub point: &'a Point,
    pub fields: &'a Fields,
}

impl<'a> At<'a> {
    /// The place of the declaration's name.
    pub fn span(&self) -> Span {
        self.scope.get(self.id).name_span
    }

    /// The declaration's name.
    pub fn name(&self) -> &'a str {
        &self.scope.get(self.id).name
    }

    /// The one step that a reference means from this point.
    pub fn step(&self, step: &StepRef) -> Option<(DeclId, usize, &'a Draft)> {
        let target = self.resolution.get(step.target);
        let compares = self.scope.get(self.id).kind.is_some_and(|kind| kind.word == "compare");
        let index = match compares {
            true => side(target, step, &self.point.coordinates)?,
            false => *matching(target, step, &self.point.coordinates).first()?,
        };
        Some((step.target, index, self.drafts[step.target.0].get(index)?))
    }

    /// The step that a field names, noted as an input of this role.
    pub fn input(&self, field: &str, role: &'static str, draft: &mut Draft) -> Option<&'a Draft> {
        match &self.fields.get(field)?.value {
            crate::lang::resolve::Typed::Step(step) => self.take(step, role, draft),
            _ => None,
        }
    }

    /// The step that a reference means, noted as an input of this role.
    pub fn take(&self, step: &StepRef, role: &'static str, draft: &mut Draft) -> Option<&'a Draft> {
        let (id, index, found) = self.step(step)?;
        draft.inputs.push((role, id, index));
        Some(found)
    }

    /// The file that a node names at this point, when all its insertions are axes.
    pub fn file(&self, node: &Node, sink: &mut Sink) -> Option<FileRef> {
        self.rendered(node, sink)?;
        node.file(&self.point.labels)
    }

    /// The text of a node at this point.
    pub fn string(&self, node: &Node, sink: &mut Sink) -> Option<String> {
        self.rendered(node, sink)?;
        node.string(&self.point.labels)
    }

    fn rendered(&self, node: &Node, sink: &mut Sink) -> Option<()> {
        let template = match &node.value {
            crate::lang::resolve::Typed::Text(template) | crate::lang::resolve::Typed::Path(template, _) => template,
            _ => return None,
        };
        match template.render(&self.point.labels) {
            Ok(_) => Some(()),
            Err(_) if self.resolution.get(self.id).axes_unknown => None,
            Err((label, span)) => {
                let labels: Vec<&str> = self.point.labels.iter().map(|(l, _)| l.as_str()).collect();
                let params: Vec<&str> = self.scope.params.keys().map(|id| self.scope.get(*id).name.as_str()).collect();
                sink.push(crate::lang::check::text::unknown_insertion(&label, &labels, &params, span));
                None
            }
        }
    }

    /// True when the field stands in the file (or is filled by an axis), not in the defaults.
    pub fn is_written(&self, field: &str) -> Option<Span> {
        let node = self.fields.get(field)?;
        (!matches!(node.origin, super::Origin::Default(_))).then_some(node.span)
    }
}
