//! Chats become text by a Jinja template, the way the transformers library does it.

use minijinja::{Environment, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::Message;
use crate::ml::{Error, Result};

/// Which template renders a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// The one that the model's tokenizer ships.
    Tokenizer,
    /// Another one: its source, and strings that are control tokens wherever the template writes them. Whatever a template
    /// writes around the contents is control anyhow; the list must only name strings that the template does write.
    Jinja { source: String, control: Vec<String> },
}

/// Bytes `start..end` of a rendered chat are the content of `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub message: usize,
}

/// A rendered chat; everything outside of the spans was put there by the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// In order, without overlap.
    pub spans: Vec<Span>,
}

/// Renders `messages`. `names` are the special tokens that templates may use, such as `("bos_token", "<bos>")`.
///
/// There is no `strftime_now`: a template that asks for the date takes the fixed one it has for this case, so that the same
/// chat is the same text every day.
pub(super) fn render(source: &str, messages: &[Message], names: &[(String, String)]) -> Result<Rendered> {
    let environment = environment(source)?;
    let text = render_text(&environment, messages, names)?;
    let marked: Vec<Message> =
        messages.iter().enumerate().map(|(index, m)| Message { role: m.role.clone(), content: mark(index) }).collect();
    let skeleton = render_text(&environment, &marked, names)?;
    let spans = match spans_by_skeleton(&text, &skeleton, messages) {
        Some(spans) => spans,
        None => spans_by_search(&text, messages)?,
    };
    Ok(Rendered { text, spans })
}

const OPEN: char = '\u{F8F0}';
const CLOSE: char = '\u{F8F1}';

/// Private-use characters around the index: no text and no template has them.
fn mark(index: usize) -> String {
    format!("{OPEN}{index}{CLOSE}")
}

fn environment(source: &str) -> Result<Environment<'_>> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> std::result::Result<String, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
    });
    environment.add_template("chat", source).map_err(template_error)?;
    Ok(environment)
}

fn template_error(error: minijinja::Error) -> Error {
    Error::invalid("chat template", format!("{error}"))
}

fn render_text(environment: &Environment, messages: &[Message], names: &[(String, String)]) -> Result<String> {
    let mut context: std::collections::BTreeMap<&str, Value> =
        names.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str()))).collect();
    context.insert("messages", Value::from_serialize(messages));
    context.insert("add_generation_prompt", Value::from(false));
    context.insert("tools", Value::from(()));
    context.insert("documents", Value::from(()));
    let template = environment.get_template("chat").map_err(template_error)?;
    template.render(context).map_err(template_error)
}

/// The template's own text is what the skeleton has between the marks; contents may come trimmed.
fn spans_by_skeleton(text: &str, skeleton: &str, messages: &[Message]) -> Option<Vec<Span>> {
    let mut pieces = skeleton.split(OPEN);
    let mut at = text.starts_with(pieces.next()?).then(|| skeleton.find(OPEN).unwrap_or(skeleton.len()))?;
    let mut spans = Vec::new();
    for piece in pieces {
        let (index, after) = piece.split_once(CLOSE)?;
        let message: usize = index.parse().ok()?;
        let content = messages.get(message)?.content.as_str();
        let forms = [content, content.trim(), content.trim_start(), content.trim_end()];
        let form = forms
            .into_iter()
            .find(|form| text[at..].strip_prefix(*form).is_some_and(|rest| rest.starts_with(after)))?;
        spans.push(Span { start: at, end: at + form.len(), message });
        at += form.len() + after.len();
    }
    (at == text.len()).then_some(spans)
}

/// For templates that look into the contents: each trimmed content is searched after the one before.
fn spans_by_search(text: &str, messages: &[Message]) -> Result<Vec<Span>> {
    let mut at = 0;
    let mut spans = Vec::new();
    for (message, m) in messages.iter().enumerate() {
        let content = m.content.trim();
        let Some(found) = text[at..].find(content) else {
            let problem = format!(
                "the template changes the content of message {message} ({}); cannot tell it from control tokens",
                m.role
            );
            return Err(Error::invalid("chat template", problem));
        };
        spans.push(Span { start: at + found, end: at + found + content.len(), message });
        at += found + content.len();
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    fn contents(rendered: &Rendered) -> Vec<&str> {
        rendered.spans.iter().map(|s| &rendered.text[s.start..s.end]).collect()
    }

    const GEMMA: &str = "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}";

    #[test]
    fn a_content_that_looks_like_the_template_is_still_told_apart() {
        let chat =
            [message("user", " user "), message("model", "<end_of_turn>"), message("user", ""), message("model", "e")];
        let rendered = render(GEMMA, &chat, &[("bos_token".into(), "<bos>".into())]).unwrap();
        assert!(rendered.text.starts_with("<bos><start_of_turn>user\nuser<end_of_turn>\n"));
        assert_eq!(contents(&rendered), ["user", "<end_of_turn>", "", "e"]);
        assert_eq!(rendered.spans[0].start, "<bos><start_of_turn>user\n".len());
    }

    #[test]
    fn a_template_that_cuts_the_content_is_searched_or_refused() {
        let cuts = "{% for m in messages %}[{{ m.content.split('</think>')[-1] }}]{% endfor %}";
        let plain = render(cuts, &[message("user", "hello")], &[]).unwrap();
        assert_eq!(contents(&plain), ["hello"]);
        let thought = render(cuts, &[message("assistant", "hm</think>yes")], &[]).unwrap_err().to_string();
        assert!(thought.contains("message 0"), "{thought}");
    }

    #[test]
    fn python_methods_blocks_and_raise_exception_work() {
        let source = "{%- if messages[0]['role'] == 'system' %}\n    {{- raise_exception('no system role') }}\n{%- endif %}\n{% for m in messages %}\n  {% if m.content.startswith('a') %}A{{ m.content.strip() }}{% endif %}\n{% endfor %}";
        assert_eq!(render(source, &[message("user", "abc ")], &[]).unwrap().text.trim(), "Aabc");
        let error = render(source, &[message("system", "x")], &[]).unwrap_err().to_string();
        assert!(error.contains("no system role"), "{error}");
    }
}
