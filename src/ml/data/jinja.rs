//! Jinja as the transformers library sets it up for chat templates.

use std::ops::Range;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::Message;
use super::marks::marks;
use crate::ml::{Error, Result};

/// A chat template, compiled.
///
/// What transformers gives to templates is here: `raise_exception`, `tojson` with the options of Python's `json.dumps`, loop
/// controls, `{% generation %}` blocks, methods of Python's strings, lists and dictionaries, and Python's way to write values.
/// `strftime_now` is one moment, 26 July 2024 at 0:00, the date that Llama's templates fall back to: the same chat is the same
/// text every day.
pub struct Jinja {
    environment: Environment<'static>,
    /// Special tokens that templates may use, such as `("bos_token", "<bos>")`.
    names: Vec<(String, String)>,
    has_generation: bool,
}

type Outcome<T> = std::result::Result<T, minijinja::Error>;

impl Jinja {
    /// Errors: the source is no template.
    pub fn new(source: &str, names: &[(String, String)]) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_formatter(|out, _, value| Ok(out.write_str(&python_str(value))?));
        environment.add_filter("tojson", to_json);
        environment.add_filter("_generation", generation);
        environment.add_function("strftime_now", strftime_now);
        environment.add_function("raise_exception", |text: String| -> Outcome<String> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
        });
        let (source, has_generation) = with_generation(source);
        environment.add_template_owned("chat", source).map_err(template_error)?;
        Ok(Jinja { environment, names: names.to_vec(), has_generation })
    }

    /// The chat as text; with `prompt`, the beginning of the assistant's next turn is added.
    pub fn text(&self, messages: &[Message], prompt: bool) -> Result<String> {
        self.rendered(messages, prompt, None)
    }

    /// Bytes of `text` (of the same messages) that stand in generation blocks; `None`: the template has no such blocks.
    pub fn generated(&self, messages: &[Message], text: &str) -> Result<Option<Vec<Range<usize>>>> {
        if !self.has_generation {
            return Ok(None);
        }
        let [begin, end] = marks(written(messages).chain([text]))?;
        let marked = self.rendered(messages, false, Some([begin, end]))?;
        let (mut ranges, mut plain, mut start) = (Vec::new(), String::new(), 0);
        for c in marked.chars() {
            match c {
                c if c == begin => start = plain.len(),
                c if c == end => ranges.push(start..plain.len()),
                c => plain.push(c),
            }
        }
        match plain == text {
            true => Ok(Some(ranges)),
            false => Err(Error::invalid("chat template", "the template looks into its own generation block")),
        }
    }

    /// With `marks`, the first stands before and the second after what is in a generation block.
    fn rendered(&self, messages: &[Message], prompt: bool, marks: Option<[char; 2]>) -> Result<String> {
        let mut context: std::collections::BTreeMap<&str, Value> =
            self.names.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str()))).collect();
        context.insert("messages", Value::from_serialize(messages));
        context.insert("add_generation_prompt", Value::from(prompt));
        context.insert("tools", Value::from(()));
        context.insert("documents", Value::from(()));
        context.insert("_marks", Value::from(marks.map_or(String::new(), String::from_iter)));
        let template = self.environment.get_template("chat").map_err(template_error)?;
        template.render(context).map_err(template_error)
    }
}

/// What the messages bring into a text.
pub(super) fn written(messages: &[Message]) -> impl Iterator<Item = &str> {
    messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()])
}

fn template_error(error: minijinja::Error) -> Error {
    let place = error.line().map_or(String::new(), |line| format!(" (line {line} of the template)"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    Error::invalid("chat template", format!("{detail}{place}"))
}

/// Generation blocks as blocks of the filter `_generation`; whether there are any.
fn with_generation(source: &str) -> (String, bool) {
    let (mut out, mut rest, mut any) = (String::new(), source, false);
    while let Some(start) = rest.find("{%").into_iter().chain(rest.find("{#")).min() {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let close = if tag.starts_with("{%") { "%}" } else { "#}" };
        let length = tag.find(close).map_or(tag.len(), |at| at + 2);
        let (tag, after) = tag.split_at(length);
        let word = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match word {
            "generation" | "endgeneration" => {
                any = true;
                let filter = if word == "generation" { "filter _generation" } else { "endfilter" };
                out.push_str(&tag.replacen(word, filter, 1));
            }
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    (out, any)
}

fn generation(state: &State, value: String) -> String {
    let marks = state.lookup("_marks").unwrap_or_default();
    let mut marks = marks.as_str().unwrap_or_default().chars();
    match (marks.next(), marks.next()) {
        (Some(begin), Some(end)) => format!("{begin}{value}{end}"),
        _ => value,
    }
}

/// `datetime(2024, 7, 26).strftime(format)`, a Friday.
fn strftime_now(format: String) -> Outcome<String> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut letter = chars.next();
        let short = letter == Some('-');
        if short {
            letter = chars.next();
        }
        out += match letter {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') if short => "7",
            Some('m') => "07",
            Some('d' | 'e') => "26",
            Some('B') => "July",
            Some('b' | 'h') => "Jul",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('w' | 'u') => "5",
            Some('j') => "208",
            Some('H' | 'M' | 'S') if short => "0",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('f') => "000000",
            Some('F') => "2024-07-26",
            Some('D' | 'x') => "07/26/24",
            Some('T' | 'X') => "00:00:00",
            Some('R') => "00:00",
            Some('c') => "Fri Jul 26 00:00:00 2024",
            Some('Z' | 'z') => "",
            Some('%') => "%",
            other => {
                let letter = other.map_or(String::new(), String::from);
                let problem = format!("strftime_now does not know `%{letter}`");
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, problem));
            }
        };
    }
    Ok(out)
}

/// A value as Python's `str` writes it.
fn python_str(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => String::new(),
        ValueKind::String => value.as_str().map_or_else(|| value.to_string(), str::to_string),
        _ => python_repr(value),
    }
}

fn python_repr(value: &Value) -> String {
    let list = |open: &str, parts: Vec<String>, close: &str| format!("{open}{}{close}", parts.join(", "));
    match value.kind() {
        ValueKind::None => "None".into(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.into(),
        ValueKind::Number => number(value),
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            list("[", value.try_iter().into_iter().flatten().map(|entry| python_repr(&entry)).collect(), "]")
        }
        ValueKind::Map => {
            let entry = |key: Value| {
                let inner = value.get_item(&key).unwrap_or_default();
                format!("{}: {}", python_repr(&key), python_repr(&inner))
            };
            list("{", value.try_iter().into_iter().flatten().map(entry).collect(), "}")
        }
        _ => value.to_string(),
    }
}

/// A text in quotes as Python's `repr` writes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out += &format!("\\x{:02x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// A number as Python writes it.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(number) = f64::try_from(value.clone()) else { return value.to_string() };
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{}e{sign}{exponent:0>2}", digits.trim_end_matches(".0"))
        }
    }
}

/// `json.dumps(value, ensure_ascii, indent, separators, sort_keys)` with transformers' defaults: no ASCII escapes, one line.
fn to_json(value: Value, kwargs: Kwargs) -> Outcome<String> {
    let indent = match kwargs.get::<Option<Value>>("indent")? {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(usize::try_from(value)?),
        }),
    };
    let separators = match kwargs.get::<Option<Value>>("separators")? {
        Some(pair) if !pair.is_none() => {
            let pair: Vec<String> = pair.try_iter()?.map(|part| part.to_string()).collect();
            match pair.as_slice() {
                [item, key] => (item.clone(), key.clone()),
                _ => return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "separators is a pair of texts")),
            }
        }
        _ => (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()),
    };
    let json = Json {
        indent,
        separators,
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    json.write(&value, 0, &mut out)?;
    Ok(out)
}

struct Json {
    indent: Option<String>,
    /// Between entries, and between a key and its value.
    separators: (String, String),
    ascii: bool,
    sorted: bool,
}

impl Json {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Outcome<()> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.text(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let entries: Vec<Value> = value.try_iter()?.collect();
                self.entries('[', ']', &entries, depth, out, |entry, out| self.write(entry, depth + 1, out))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort_by_key(python_str);
                }
                self.entries('{', '}', &keys, depth, out, |key, out| {
                    self.text(&python_str(key), out);
                    out.push_str(&self.separators.1);
                    self.write(&value.get_item(key)?, depth + 1, out)
                })?;
            }
            kind => {
                let problem = format!("a value of type {kind} has no JSON form");
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, problem));
            }
        }
        Ok(())
    }

    fn entries(
        &self,
        open: char,
        close: char,
        entries: &[Value],
        depth: usize,
        out: &mut String,
        each: impl Fn(&Value, &mut String) -> Outcome<()>,
    ) -> Outcome<()> {
        out.push(open);
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                out.push_str(&self.separators.0);
            }
            self.line(depth + 1, out);
            each(entry, out)?;
        }
        if !entries.is_empty() {
            self.line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 || self.ascii && !c.is_ascii() => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> String {
        Jinja::new(source, &[]).unwrap().text(&[], false).unwrap()
    }

    #[test]
    fn json_takes_the_options_of_python() {
        let value = "{'b': [1, 2.0], 'a': 'é🦊'}";
        assert_eq!(render(&format!("{{{{ {value} | tojson }}}}")), "{\"b\": [1, 2.0], \"a\": \"é🦊\"}");
        let sorted = format!("{{{{ {value} | tojson(sort_keys=true, ensure_ascii=true, separators=[',', ':']) }}}}");
        assert_eq!(render(&sorted), "{\"a\":\"\\u00e9\\ud83e\\udd8a\",\"b\":[1,2.0]}");
        assert_eq!(render("{{ [] | tojson(indent=2) }}{{ {} | tojson }}"), "[]{}");
        assert!(Jinja::new("{{ 1 | tojson(indnt=2) }}", &[]).unwrap().text(&[], false).is_err());
    }

    #[test]
    fn values_are_written_as_in_python() {
        assert_eq!(render("{{ none }} {{ true }} {{ missing }}|{{ 1e20 }} {{ 0.5 }}"), "None True |1e+20 0.5");
        assert_eq!(render("{{ ['a\\'b', {'k': false}] }}"), "[\"a'b\", {'k': False}]");
    }

    #[test]
    fn the_date_is_one_day() {
        assert_eq!(render("{{ strftime_now('%d %b %Y, %-m %%') }}"), "26 Jul 2024, 7 %");
        assert!(Jinja::new("{{ strftime_now('%Q') }}", &[]).unwrap().text(&[], false).is_err());
    }

    #[test]
    fn generation_blocks_keep_their_white_space_control() {
        let source = "a\n  {% generation %}\nb {%- endgeneration %} c{# {% generation %} #}";
        let jinja = Jinja::new(source, &[]).unwrap();
        let text = jinja.text(&[], false).unwrap();
        assert_eq!(text, "a\nb c");
        assert_eq!(jinja.generated(&[], &text).unwrap(), Some(vec![2..3]));
        assert_eq!(Jinja::new("{# {% generation %} #}", &[]).unwrap().generated(&[], "").unwrap(), None);
    }

    /// U+F8F0 to U+F8F3 come out of PDFs, as pieces of brackets; xd once marked the blocks with two of them.
    #[test]
    fn contents_may_have_any_character() {
        let source = "{% for m in messages %}<{% generation %}{{ m.content }}{% endgeneration %}>{% endfor %}";
        let jinja = Jinja::new(source, &[]).unwrap();
        for content in ["a\u{F8F2}b", "\u{F8F3}", "\u{FDD0}\u{FDD1}", "\u{F8F0}0\u{F8F1}"] {
            let messages = [Message { role: "assistant".into(), content: content.into() }];
            let text = jinja.text(&messages, false).unwrap();
            assert_eq!(jinja.generated(&messages, &text).unwrap(), Some(vec![1..1 + content.len()]), "{content:?}");
        }
    }

    #[test]
    fn what_a_template_refuses_is_said() {
        let source = "x\n{% if true %}\n{{ raise_exception('no system role') }}\n{% endif %}";
        let error = Jinja::new(source, &[]).unwrap().text(&[], false).unwrap_err().to_string();
        assert!(error.contains("no system role (line 3"), "{error}");
        assert!(Jinja::new("{% if %}", &[]).is_err());
    }
}
