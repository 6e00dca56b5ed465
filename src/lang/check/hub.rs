//! Names of the hub that cannot be.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::resolve::Sink;
use crate::lang::source::Span;

/// A name of the hub: `owner/name`, or one word for the oldest repositories. False when it is reported.
pub fn id(id: &str, span: Span, sink: &mut Sink) -> bool {
    let parts: Vec<&str> = id.split('/').collect();
    let is_word = |part: &&str| {
        !part.is_empty()
            && !matches!(*part, "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if parts.len() <= 2 && parts.iter().all(is_word) {
        return true;
    }
    let help = match id.split_once("huggingface.co/") {
        Some((_, rest)) => {
            let rest = rest.strip_prefix("datasets/").unwrap_or(rest);
            let short: Vec<&str> = rest.split('/').take(2).collect();
            format!("the hub is known; write only the name: `\"{}\"`", short.join("/"))
        }
        None => "a name on the hub is `\"owner/name\"`, as at the top of its page".to_string(),
    };
    sink.push(
        Diagnostic::new(Code::WrongType, span, format!("`{id}` is no name on the hub")).label("not a name").help(help),
    );
    false
}

/// A branch, tag or commit as git allows it. False when it is reported.
pub fn revision(revision: &str, span: Span, sink: &mut Sink) -> bool {
    let is_sound = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("..");
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if revision.split('/').all(is_sound) && !revision.contains(odd) {
        return true;
    }
    sink.push(
        Diagnostic::new(Code::WrongType, span, format!("`{revision}` is no branch, tag or commit"))
            .label("not a revision")
            .help("take one from the page `Files and versions` of the repository, such as `revision = \"main\"`"),
    );
    false
}
