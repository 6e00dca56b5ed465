//! Sweeps that are larger than was likely meant.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::resolve::{DeclId, Resolution, Scope, Sink};

/// More trainings than this in one declaration get a warning.
pub const MANY: usize = 64;

/// Crosscoders and models are what takes time.
pub fn too_large(scope: &Scope, resolution: &Resolution, sink: &mut Sink) {
    for (index, declared) in scope.declared.iter().enumerate() {
        let resolved = resolution.get(DeclId(index));
        let costly = declared.kind.is_some_and(|k| matches!(k.word, "crosscoder" | "model"));
        if !costly || resolved.points.len() <= MANY {
            continue;
        }
        let sizes: Vec<String> =
            resolved.axes.iter().map(|a| format!("{} ({})", a.labels.join(", "), a.values.len())).collect();
        let span = declared.axes.first().map_or(declared.name_span, |a| a.span);
        sink.push(
            Diagnostic::new(
                Code::SweepTooLarge,
                span,
                format!("`{}` is trained at {} points", declared.name, resolved.points.len()),
            )
            .label("a large sweep")
            .help(format!(
                "axes multiply: {}; vary fewer at a time, or zip them: `for (a, b) in [(..), ..]`",
                sizes.join(" times ")
            )),
        );
    }
}
