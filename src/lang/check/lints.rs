//! Research lints, only with `--pedantic`: a file that runs, and a result that says less than it seems to.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::Drafts;
use crate::lang::plan::spec::{Operand, Spec};
use crate::lang::resolve::{DeclId, Resolution, Scope, Sink};

/// Runs all of them over the asked file.
pub fn pedantic(scope: &Scope, resolution: &Resolution, drafts: &Drafts, sink: &mut Sink) {
    for (index, declared) in scope.declared.iter().enumerate() {
        let id = DeclId(index);
        if declared.module != 0 {
            continue;
        }
        match declared.kind.map(|k| k.word) {
            Some("activations") => base_only_corpus(scope, drafts, id, sink),
            Some("classify") => l1_for_classes(scope, resolution, drafts, id, sink),
            Some("scaling") => no_control(scope, drafts, id, sink),
            Some("expect") => {
                single_seed(scope, resolution, drafts, id, sink);
                test_on_train(scope, drafts, id, sink);
            }
            _ => {}
        }
    }
}

/// What chat tuning added cannot show on text that is no chat.
fn base_only_corpus(scope: &Scope, drafts: &Drafts, id: DeclId, sink: &mut Sink) {
    let Some(draft) = drafts[id.0].first().filter(|d| d.spec.is_some() && !d.facts.synthetic) else { return };
    let corpora: Vec<bool> =
        draft.inputs.iter().filter(|(role, ..)| *role == "train").map(|(_, c, p)| drafts[c.0][*p].facts.chat).collect();
    if !corpora.is_empty() && corpora.iter().all(|chat| !chat) {
        sink.push(
            Diagnostic::new(Code::BaseOnlyCorpus, scope.get(id).name_span, "no portion of the training text is a chat")
                .label("plain text only")
                .help(
                    "latents of chat behaviour need chat to fire on; the paper trains on half web text and half chat",
                ),
        );
    }
}

/// Tuned-only latents of an L1 crosscoder are mostly artefacts; Latent Scaling tells which.
fn l1_for_classes(scope: &Scope, resolution: &Resolution, drafts: &Drafts, id: DeclId, sink: &mut Sink) {
    let of: Vec<DeclId> =
        drafts[id.0].iter().flat_map(|d| &d.inputs).filter(|(role, ..)| *role == "of").map(|(_, c, _)| *c).collect();
    if !drafts[id.0].iter().any(|d| d.facts.loss == Some("l1")) {
        return;
    }
    let scaled = scope.declared.iter().enumerate().any(|(i, d)| {
        d.kind.is_some_and(|k| k.word == "scaling")
            && resolution.get(DeclId(i)).refs.iter().any(|r| of.contains(&r.target))
    });
    if !scaled {
        sink.push(
            Diagnostic::new(
                Code::L1ForClasses,
                scope.get(id).name_span,
                "classes of an L1 crosscoder count artefacts of the loss as tuned-only",
            )
            .label("classed by norm alone")
            .help("measure them with `scaling`, or train with `batch_topk`, whose tuned-only latents are mostly real"),
        );
    }
}

/// A low nu means little without the nu of shared latents beside it.
fn no_control(scope: &Scope, drafts: &Drafts, id: DeclId, sink: &mut Sink) {
    let without = drafts[id.0]
        .iter()
        .any(|d| matches!(&d.spec, Some(Spec::Scaling(s)) if s.latents.is_some() && s.control.is_none()));
    if without {
        sink.push(
            Diagnostic::new(Code::NoControl, scope.get(id).name_span, "these ratios have nothing to be compared with")
                .label("no control group")
                .help("add `control = classes.shared`: the paper judges tuned-only latents against the distribution of the shared ones"),
        );
    }
}

/// One seed is one draw.
fn single_seed(scope: &Scope, resolution: &Resolution, drafts: &Drafts, id: DeclId, sink: &mut Sink) {
    if drafts[id.0].iter().all(|d| d.spec.is_none()) {
        return;
    }
    let mut trained = drafts[id.0].iter().flat_map(|d| &d.inputs).map(|(_, c, _)| *c);
    let seeded = trained.any(|c| {
        resolution
            .get(c)
            .axes
            .iter()
            .any(|a| a.labels.iter().any(|l| l.rsplit('.').next() == Some("seed") && a.values.len() > 1))
    });
    if !seeded {
        sink.push(
            Diagnostic::new(Code::SingleSeed, scope.get(id).name_span, "this is expected of one seed only")
                .label("one draw")
                .help("train several: `crosscoder .. for train.seed in 0..3`, and expect it of each, of their mean, or of its interval: `mean(.., over = train.seed)`"),
        );
    }
}

/// What is measured on training text says nothing of new text.
fn test_on_train(scope: &Scope, drafts: &Drafts, id: DeclId, sink: &mut Sink) {
    for draft in &drafts[id.0] {
        let Some(Spec::Expect(expect)) = &draft.spec else { continue };
        for operand in [&expect.left, &expect.right] {
            let Operand::Column { steps, .. } = operand else { continue };
            let Some(step) = steps.first().and_then(|name| scope.names.get(name)) else { continue };
            if scope.get(*step).kind.is_some_and(|k| k.word == "scaling") {
                sink.push(
                    Diagnostic::new(
                        Code::TestOnTrain,
                        scope.get(id).name_span,
                        "this expects something of training tokens",
                    )
                    .label("measured on text of the training")
                    .related(
                        scope.get(*step).name_span,
                        "Latent Scaling reads the first training tokens, as in the paper",
                    )
                    .help("a claim about new text needs held-out numbers: `quality`, or the frequencies of `classify`"),
                );
                return;
            }
        }
    }
}
