//! Models that cannot be used, and shapes of models that are trained here.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::resolve::{Call, Sink};
use crate::lang::source::Span;

/// What a model folder is.
pub const FOLDER: &str = "a model folder holds config.json, tokenizer.json and model.safetensors or its shards; paths are relative to the \
                          file that writes them";
/// What a model file is.
pub const GGUF: &str = "`gguf(..)` takes one GGUF file of a model, as llama.cpp's converter writes it; paths are relative to the file that \
                        writes them";

/// A folder or file that is not there, is incomplete, or holds a model of an unknown family.
pub fn unusable(path: &str, why: &str, help: &str, span: Span) -> Diagnostic {
    Diagnostic::new(Code::FileMissing, span, format!("the model at `{path}` cannot be used: {why}"))
        .label("cannot be used")
        .help(help)
}

/// The width must divide by the heads, into heads of an even width (rotary positions turn pairs of coordinates).
pub fn heads(call: &Call, sink: &mut Sink) {
    let (Some(width), Some(heads)) = (call.get("width"), call.get("heads")) else { return };
    let (Some(d), Some(h)) = (width.whole(), heads.whole()) else { return };
    if d % (2 * h) != 0 {
        let good: Vec<String> = (1..=d / 2).filter(|n| d % (2 * n) == 0).take(8).map(|n| n.to_string()).collect();
        sink.push(
            Diagnostic::new(
                Code::OutOfRange,
                heads.span,
                format!("a width of {d} cannot be divided into {h} heads of even width"),
            )
            .label("heads")
            .related(width.span, "the width")
            .help(format!("for this width take one of {}", good.join(" "))),
        );
    }
}
