//! Chats become text by a Jinja template, the way the transformers library does it.

use std::ops::Range;

use super::Message;
use super::jinja::{Jinja, written};
use super::marks::marks;
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
    /// Bytes in the template's generation blocks, where it has such blocks: the assistant's turns.
    pub generated: Option<Vec<Range<usize>>>,
}

/// Renders `messages` and finds their contents in the text.
///
/// The template is rendered a second time with marks for contents, which gives what it writes around them; where that does not
/// fit (templates that look into contents, such as those that cut out earlier reasoning), contents are searched one after the
/// other. Errors: the template refuses the chat; a content is not in the text.
pub(super) fn render(jinja: &Jinja, messages: &[Message]) -> Result<Rendered> {
    let text = jinja.text(messages, false)?;
    let marks = marks(written(messages).chain([text.as_str()]))?;
    let mark = |(index, m): (usize, &Message)| Message {
        role: m.role.clone(),
        content: format!("{}{index}{}", marks[0], marks[1]),
    };
    let marked: Vec<Message> = messages.iter().enumerate().map(mark).collect();
    let skeleton = jinja.text(&marked, false).ok().and_then(|skeleton| parts(&skeleton, marks, messages.len()));
    let spans = match skeleton.as_ref().and_then(|parts| spans_by_skeleton(&text, parts, messages)) {
        Some(spans) => spans,
        None => spans_by_search(&text, skeleton, messages)?,
    };
    let generated = jinja.generated(messages, &text)?;
    Ok(Rendered { text, spans, generated })
}

/// What a template writes: `before`, then the contents of messages, each with what stands after it.
struct Parts {
    before: String,
    contents: Vec<(usize, String)>,
}

/// A rendering in which each content is its index between two marks, cut at the marks.
fn parts(skeleton: &str, [open, close]: [char; 2], count: usize) -> Option<Parts> {
    let mut pieces = skeleton.split(open);
    let before = pieces.next()?.to_string();
    let content = |piece: &str| {
        let (index, after) = piece.split_once(close)?;
        let index = index.parse().ok().filter(|index| *index < count)?;
        Some((index, after.to_string()))
    };
    Some(Parts { before, contents: pieces.map(content).collect::<Option<_>>()? })
}

/// A content as a template may write it.
fn forms(content: &str) -> [&str; 4] {
    [content, content.trim(), content.trim_start(), content.trim_end()]
}

/// The template's own text is what the skeleton has between the marks; contents may come trimmed.
fn spans_by_skeleton(text: &str, parts: &Parts, messages: &[Message]) -> Option<Vec<Span>> {
    text.starts_with(&parts.before).then_some(())?;
    let mut at = parts.before.len();
    let mut spans = Vec::new();
    for (message, after) in &parts.contents {
        let fits = |form: &&str| text[at..].strip_prefix(*form).is_some_and(|rest| rest.starts_with(after));
        let form = forms(&messages[*message].content).into_iter().find(fits)?;
        spans.push(Span { start: at, end: at + form.len(), message: *message });
        at += form.len() + after.len();
    }
    (at == text.len()).then_some(spans)
}

/// For templates that look into the contents: in the order of the skeleton, each content is searched after the one before,
/// first where the template writes the same in front of it; of a content with reasoning the parts that are there.
fn spans_by_search(text: &str, skeleton: Option<Parts>, messages: &[Message]) -> Result<Vec<Span>> {
    let order: Vec<(usize, String)> = match skeleton {
        Some(Parts { mut before, contents }) => {
            contents.into_iter().map(|(message, after)| (message, std::mem::replace(&mut before, after))).collect()
        }
        None => (0..messages.len()).map(|message| (message, String::new())).collect(),
    };
    let mut at = 0;
    let mut spans = Vec::new();
    for (message, before) in order {
        let m = &messages[message];
        let found = search(&text[at..], &before, &m.content);
        let Some((_, end)) = found.last() else {
            let problem = format!(
                "the template changes the content of message {message} ({}); cannot tell it from control tokens",
                m.role
            );
            return Err(Error::invalid("chat template", problem));
        };
        spans.extend(found.iter().map(|(start, end)| Span { start: at + start, end: at + end, message }));
        at += end;
    }
    Ok(spans)
}

/// Where a content, or its parts, stand in `text`.
fn search(text: &str, before: &str, content: &str) -> Vec<(usize, usize)> {
    let start = before.char_indices().rev().nth(11).map_or(0, |(at, _)| at);
    for before in [&before[start..], ""] {
        for form in forms(content) {
            if let Some(at) = text.find(&format!("{before}{form}")) {
                let at = at + before.len();
                return vec![(at, at + form.len())];
            }
        }
    }
    let (reasoning, answer) = content.rsplit_once("</think>").unwrap_or(("", content));
    let (reasoning, answer) = (reasoning.rsplit("<think>").next().unwrap_or("").trim(), answer.trim());
    let Some(answered) = text.find(answer).filter(|_| !answer.is_empty()) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(at) = text[..answered].find(reasoning).filter(|_| !reasoning.is_empty()) {
        found.push((at, at + reasoning.len()));
    }
    found.push((answered, answered + answer.len()));
    found
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
        let rendered = render(&Jinja::new(GEMMA, &[("bos_token".into(), "<bos>".into())]).unwrap(), &chat).unwrap();
        assert!(rendered.text.starts_with("<bos><start_of_turn>user\nuser<end_of_turn>\n"));
        assert_eq!(contents(&rendered), ["user", "<end_of_turn>", "", "e"]);
        assert_eq!(rendered.spans[0].start, "<bos><start_of_turn>user\n".len());
    }

    #[test]
    fn a_content_of_private_use_is_still_told_apart() {
        let chat = [message("user", "a\u{F8F0}0\u{F8F1}b"), message("model", "\u{F8F2}\u{FDD0}1\u{FDD1}")];
        let rendered = render(&Jinja::new(GEMMA, &[]).unwrap(), &chat).unwrap();
        assert_eq!(contents(&rendered), ["a\u{F8F0}0\u{F8F1}b", "\u{F8F2}\u{FDD0}1\u{FDD1}"]);
    }

    #[test]
    fn a_template_that_cuts_the_content_is_searched_or_refused() {
        let source = "{% for m in messages %}[{{ m.role }}:{{ m.content.split('</think>')[-1] | trim }}]{% endfor %}";
        let jinja = Jinja::new(source, &[]).unwrap();
        let chat = [message("user", "assistant"), message("assistant", "<think>hm</think> yes"), message("user", "s")];
        let rendered = render(&jinja, &chat).unwrap();
        assert_eq!(rendered.text, "[user:assistant][assistant:yes][user:s]");
        assert_eq!(contents(&rendered), ["assistant", "yes", "s"]);
        assert_eq!(rendered.spans[2].start, rendered.text.len() - 2);
        let upper = Jinja::new("{% for m in messages %}{{ m.content | upper }}{% endfor %}", &[]).unwrap();
        let error = render(&upper, &[message("assistant", "yes")]).unwrap_err().to_string();
        assert!(error.contains("message 0"), "{error}");
    }
}
