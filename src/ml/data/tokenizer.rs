//! Text and chats to token ids, by a model's own tokenizer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::chat::{self, Rendered, Template};
use super::gguf_tokenizer;
use super::{Document, Jinja, Message, TokenSequence};
use crate::gguf::GgufFile;
use crate::ml::{Error, Result, TokenGroup};

/// A folder's `tokenizer.json`, `tokenizer_config.json` and chat template, or what a GGUF file holds of them.
///
/// Whether a plain text begins with BOS is decided by the post-processor of `tokenizer.json`, as transformers 5 does; the words
/// `add_bos_token` of the configuration are not asked. A chat has the BOS that its template writes. No sequence begins with two.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    folder: PathBuf,
    fingerprint: String,
    special: BTreeSet<u32>,
    /// `("bos_token", "<bos>")` and its like.
    names: Vec<(String, String)>,
    template: ShippedTemplate,
    /// Templates that were used, by their source.
    compiled: Mutex<BTreeMap<String, Arc<Jinja>>>,
}

/// The chat template that comes with a tokenizer.
enum ShippedTemplate {
    /// There is none.
    None,
    Source(String),
    /// Several, none of them called `default`: their names.
    Unclear(Vec<String>),
}

/// `tokenizer.json` and `tokenizer_config.json` of a folder (null without one), or the same out of a GGUF file.
fn description(place: &Path) -> Result<(Value, Value)> {
    if GgufFile::is(place) {
        let wrong = |problem: String| Error::invalid("load tokenizer", format!("{}: {problem}", place.display()));
        let file = GgufFile::open(place).map_err(wrong)?;
        let described = gguf_tokenizer::describe(&file).map_err(wrong)?;
        return Ok((described.tokenizer, described.config));
    }
    let config = match place.join("tokenizer_config.json") {
        path if path.is_file() => read_json(&path)?,
        _ => Value::Null,
    };
    Ok((read_json(&place.join("tokenizer.json"))?, config))
}

/// Writes the tokenizer of a model folder or GGUF file into another model folder.
///
/// # Errors
/// When there is none, or it cannot be written.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<()> {
    let write = |name: &str, bytes: &[u8]| {
        let path = to.join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::file(&path, e))
    };
    if GgufFile::is(from) {
        let (tokenizer, config) = description(from)?;
        write("tokenizer.json", format!("{tokenizer}\n").as_bytes())?;
        return write("tokenizer_config.json", format!("{config:#}\n").as_bytes());
    }
    for name in TOKENIZER_FILES {
        let path = from.join(name);
        if path.is_file() || *name == "tokenizer.json" {
            write(name, &std::fs::read(&path).map_err(|e| Error::file(&path, e))?)?;
        }
    }
    Ok(())
}

/// Files of a model folder that belong to its tokenizer; the first must be there.
const TOKENIZER_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

impl Tokenizer {
    /// Reads the tokenizer of a model folder or of a GGUF file.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if !folder.join("tokenizer.json").exists() && folder.join("tokenizer.model").exists() {
            return Err(Error::invalid("load tokenizer", only_sentencepiece(folder)));
        }
        let (mut description, config) = description(folder)?;
        // Cut and padded sequences, and offsets that leave out spaces, are not what a reader of text wants.
        description["truncation"] = Value::Null;
        description["padding"] = Value::Null;
        keep_offsets(&mut description);
        let fingerprint = fingerprint(&description);
        let inner: tokenizers::Tokenizer = serde_json::from_value(description).map_err(|e| {
            let place = if GgufFile::is(folder) { folder.to_path_buf() } else { folder.join("tokenizer.json") };
            Error::invalid("load tokenizer", format!("{}: {e}", place.display()))
        })?;
        let special = inner.get_added_tokens_decoder().iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
        let template = chat_template(folder, &config)?;
        let (names, compiled) = (special_names(&config), Mutex::default());
        Ok(Self { inner, folder: folder.to_path_buf(), fingerprint, special, names, template, compiled })
    }

    /// The folder or GGUF file it was loaded from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// blake3 of everything that decides the ids of a plain text; two models can be paired when it is equal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Number of ids, added tokens included. A model may have more rows than that.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Id of a token by its exact text.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Id of the one token that stands for a text: a token of this name, else what the text is tokenised to. Errors: that is
    /// several tokens, or none.
    pub fn token(&self, text: &str) -> Result<u32> {
        if let Some(id) = self.inner.get_added_vocabulary().get_vocab().get(text) {
            return Ok(*id);
        }
        let encoding = self.inner.encode_fast(text, false).map_err(|e| Error::invalid("encode", e.to_string()))?;
        if let ([id], false) = (encoding.get_ids(), text.is_empty()) {
            return Ok(*id);
        }
        self.id(text).filter(|_| !text.is_empty()).ok_or_else(|| {
            let parts: Vec<String> = encoding.get_tokens().iter().map(|token| format!("{token:?}")).collect();
            let what = match parts.len() {
                0 => "no token".to_string(),
                count => format!("{count} tokens ({})", parts.join(", ")),
            };
            let problem = format!(
                "{text:?} is {what} of the tokenizer in {}, not one; write the id of a token",
                self.folder.display()
            );
            Error::invalid("find token", problem)
        })
    }

    /// Id of the token that starts a sequence. Id 0 is an id like any other.
    pub fn bos(&self) -> Option<u32> {
        self.named("bos_token").and_then(|token| self.id(token))
    }

    /// Id of the token that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.named("eos_token").and_then(|token| self.id(token))
    }

    /// Ids of all special tokens.
    pub fn special(&self) -> &BTreeSet<u32> {
        &self.special
    }

    /// True when the tokenizer ships a chat template.
    pub fn has_template(&self) -> bool {
        matches!(self.template, ShippedTemplate::Source(_))
    }

    /// Text of `ids`, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, false).map_err(|e| Error::invalid("decode", e.to_string()))
    }

    /// A document as tokens: plain text with the special tokens that the tokenizer adds, a chat through `template`.
    /// Only the first `context` tokens are kept. An empty document has no tokens, not even BOS.
    pub fn encode(&self, document: &Document, template: Option<&Template>, context: usize) -> Result<TokenSequence> {
        if document.is_empty() {
            return Ok(TokenSequence::default());
        }
        let mut sequence = match (document, template) {
            (Document::Text(text), None) => self.encode_text(text)?,
            (Document::Chat(messages), Some(template)) => self.encode_chat(messages, template)?,
            (Document::Text(_), Some(_)) => {
                return Err(Error::invalid(
                    "encode",
                    "the corpus has a chat template, but its column holds text, not messages",
                ));
            }
            (Document::Chat(_), None) => {
                return Err(Error::invalid(
                    "encode",
                    "the column holds messages: the corpus needs `template = tokenizer`",
                ));
            }
        };
        sequence.truncate(context);
        Ok(sequence)
    }

    /// Plain text, with BOS where the tokenizer puts one.
    pub fn encode_text(&self, text: &str) -> Result<TokenSequence> {
        let encoding = self.inner.encode_fast(text, true).map_err(|e| Error::invalid("encode", e.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
        // The text has BOS written out: a chat that was formatted before.
        if let (Some(bos), [first, second, ..]) = (self.bos(), ids.as_slice())
            && *first == bos
            && *second == bos
        {
            ids.remove(0);
        }
        let mut groups = vec![TokenGroup::Text; ids.len()];
        self.mark_bos(&ids, &mut groups);
        Ok(TokenSequence { ids, groups })
    }

    /// A chat: the template's text is tokenised as it stands, as transformers' `apply_chat_template` does.
    pub fn encode_chat(&self, messages: &[Message], template: &Template) -> Result<TokenSequence> {
        let rendered = self.render(messages, template)?;
        let encoding =
            self.inner.encode(rendered.text.as_str(), false).map_err(|e| Error::invalid("encode", e.to_string()))?;
        let ids = encoding.get_ids().to_vec();
        let mut groups = groups(&rendered, messages, encoding.get_offsets());
        self.mark_bos(&ids, &mut groups);
        self.mark_ends(&rendered, messages, &ids, encoding.get_offsets(), &mut groups);
        Ok(TokenSequence { ids, groups })
    }

    /// A chat as text with the beginning of the assistant's next turn: what a model answers to.
    pub fn prompt(&self, messages: &[Message], template: &Template) -> Result<String> {
        self.jinja(template)?.text(messages, true)
    }

    /// [`Tokenizer::prompt`] as tokens.
    ///
    /// # Errors
    /// There is no such template, or it refuses the chat.
    pub fn encode_prompt(&self, messages: &[Message], template: &Template) -> Result<Vec<u32>> {
        let text = self.prompt(messages, template)?;
        let encoding = self.inner.encode_fast(text, false).map_err(|e| Error::invalid("encode", e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens that end what a model says: the end of a text, and with a template the end of an assistant's turn.
    ///
    /// # Errors
    /// There is no such template.
    pub fn stops(&self, template: Option<&Template>) -> Result<Vec<u32>> {
        let mut stops: Vec<u32> = self.eos().into_iter().collect();
        if let Some(template) = template {
            let message = |role: &str| Message { role: role.into(), content: "x".into() };
            let chat = self.encode_chat(&[message("user"), message("assistant")], template)?;
            let end = chat.groups.iter().position(|group| *group == TokenGroup::AssistantEnd);
            stops.extend(end.map(|end| chat.ids[end]));
        }
        stops.dedup();
        Ok(stops)
    }

    /// A chat as text.
    pub fn render(&self, messages: &[Message], template: &Template) -> Result<Rendered> {
        let rendered = chat::render(&*self.jinja(template)?, messages)?;
        if let Template::Jinja { control, .. } = template {
            self.check_control(&rendered, control)?;
        }
        Ok(rendered)
    }

    fn jinja(&self, template: &Template) -> Result<Arc<Jinja>> {
        let source = match (template, &self.template) {
            (Template::Jinja { source, .. }, _) | (Template::Tokenizer, ShippedTemplate::Source(source)) => source,
            (Template::Tokenizer, ShippedTemplate::None) => {
                let problem =
                    format!("the tokenizer in {} has none; give `template = jinja(\"file\")`", self.folder.display());
                return Err(Error::invalid("chat template", problem));
            }
            (Template::Tokenizer, ShippedTemplate::Unclear(names)) => {
                let problem = format!(
                    "the tokenizer in {} has several ({}) and none called default; save one as a file and give `template = \
                     jinja(\"file\")`",
                    self.folder.display(),
                    names.join(", ")
                );
                return Err(Error::invalid("chat template", problem));
            }
        };
        let mut compiled = self.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(jinja) = compiled.get(source) {
            return Ok(jinja.clone());
        }
        let jinja = Arc::new(Jinja::new(source, &self.names)?);
        compiled.insert(source.clone(), jinja.clone());
        Ok(jinja)
    }

    /// Each control string must be one token: else patches and statistics over control tokens would mean something else.
    fn check_control(&self, rendered: &Rendered, control: &[String]) -> Result<()> {
        for token in control {
            if self.id(token).is_none() {
                let problem =
                    format!("control token `{token}` is not one token of the tokenizer in {}", self.folder.display());
                return Err(Error::invalid("chat template", problem));
            }
            let inside = |at: usize| rendered.spans.iter().any(|s| s.start < at + token.len() && at < s.end);
            if !rendered.text.match_indices(token.as_str()).any(|(at, _)| !inside(at)) {
                return Err(Error::invalid(
                    "chat template",
                    format!("the template never writes the control token `{token}`"),
                ));
            }
        }
        Ok(())
    }

    /// BOS at the beginning, and where a template writes it again at each turn; not where it is the end of turns too.
    fn mark_bos(&self, ids: &[u32], groups: &mut [TokenGroup]) {
        let Some(bos) = self.bos() else { return };
        let again = self.eos() != Some(bos);
        for (position, (id, group)) in ids.iter().zip(groups).enumerate() {
            if *id == bos && (position == 0 || again && *group == TokenGroup::Control) {
                *group = TokenGroup::Bos;
            }
        }
    }

    /// Control tokens of the assistant mask: those in generation blocks; for a template without such blocks the special token
    /// that follows an assistant's content, with nothing but white space between, if the last turn has one.
    fn mark_ends(
        &self,
        rendered: &Rendered,
        messages: &[Message],
        ids: &[u32],
        offsets: &[(usize, usize)],
        groups: &mut [TokenGroup],
    ) {
        if let Some(ranges) = &rendered.generated {
            for (group, &(start, end)) in groups.iter_mut().zip(offsets) {
                let inside = ranges.iter().any(|range| start < range.end && range.start < end);
                if inside && *group == TokenGroup::Control {
                    *group = TokenGroup::AssistantEnd;
                }
            }
            return;
        }
        let end_of = |index: usize| {
            let span = rendered.spans[index];
            let next = rendered.spans.get(index + 1).map_or(rendered.text.len(), |span| span.start);
            let first = offsets.partition_point(|&(start, _)| start < span.end);
            let is_end = |token: &usize| self.special.contains(&ids[*token]) && groups[*token] == TokenGroup::Control;
            let token = (first..ids.len()).take_while(|&token| offsets[token].1 <= next).find(is_end)?;
            rendered.text[span.end..offsets[token].0].trim().is_empty().then_some(token)
        };
        let is_assistant = |index: &usize| {
            let message = rendered.spans[*index].message;
            let last = rendered.spans.get(index + 1).is_none_or(|next| next.message != message);
            last && role_group(&messages[message].role) == TokenGroup::Assistant
        };
        let turns: Vec<usize> = (0..rendered.spans.len()).filter(is_assistant).collect();
        if turns.last().is_some_and(|&last| last + 1 == rendered.spans.len() && end_of(last).is_none()) {
            return;
        }
        let ends: Vec<usize> = turns.into_iter().filter_map(end_of).collect();
        for token in ends {
            groups[token] = TokenGroup::AssistantEnd;
        }
    }

    fn named(&self, name: &str) -> Option<&str> {
        self.names.iter().find(|(n, _)| n == name).map(|(_, token)| token.as_str())
    }
}

/// A token that touches a content belongs to its message, all others to the template.
fn groups(rendered: &Rendered, messages: &[Message], offsets: &[(usize, usize)]) -> Vec<TokenGroup> {
    let mut spans = rendered.spans.iter().filter(|s| s.start < s.end).peekable();
    let mut groups = Vec::with_capacity(offsets.len());
    for &(start, end) in offsets {
        while spans.peek().is_some_and(|s| s.end <= start) {
            spans.next();
        }
        groups.push(match spans.peek() {
            Some(span) if span.start < end.max(start + 1) => role_group(&messages[span.message].role),
            _ => TokenGroup::Control,
        });
    }
    groups
}

fn role_group(role: &str) -> TokenGroup {
    match role {
        "user" | "human" => TokenGroup::User,
        "assistant" | "model" => TokenGroup::Assistant,
        _ => TokenGroup::Other,
    }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    serde_json::from_str(&text).map_err(|e| Error::invalid("read json", format!("{}: {e}", path.display())))
}

/// Byte-level steps may trim the offsets of a token; ids do not change by this.
fn keep_offsets(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "trim_offsets" => *value = Value::Bool(false),
                    "vocab" | "merges" => {}
                    _ => keep_offsets(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(keep_offsets),
        _ => {}
    }
}

fn fingerprint(description: &Value) -> String {
    let parts: Vec<&Value> = ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model"]
        .iter()
        .map(|key| &description[*key])
        .collect();
    let bytes = serde_json::to_vec(&parts).unwrap_or_default();
    blake3::hash(&bytes).to_hex().to_string()
}

/// String entries `*_token` of the configuration; old files write `{"content": ..}`.
fn special_names(config: &Value) -> Vec<(String, String)> {
    let Some(map) = config.as_object() else { return Vec::new() };
    map.iter()
        .filter(|(name, _)| name.ends_with("_token"))
        .filter_map(|(name, value)| {
            let token = value.as_str().or_else(|| value.get("content").and_then(Value::as_str))?;
            Some((name.clone(), token.to_string()))
        })
        .collect()
}

/// The file `chat_template.jinja`, else the entry of the configuration, else the file `chat_template.json`. An entry is a text,
/// or a list of `{name, template}` of which `default` is taken, or the only one.
fn chat_template(folder: &Path, config: &Value) -> Result<ShippedTemplate> {
    let path = folder.join("chat_template.jinja");
    if path.is_file() {
        return std::fs::read_to_string(&path).map(ShippedTemplate::Source).map_err(|e| Error::file(&path, e));
    }
    let old = folder.join("chat_template.json");
    let entry = match &config["chat_template"] {
        Value::Null if old.is_file() => read_json(&old)?["chat_template"].take(),
        entry => entry.clone(),
    };
    let named: Vec<(String, String)> = match &entry {
        Value::String(source) => return Ok(ShippedTemplate::Source(source.clone())),
        Value::Array(list) => {
            let text = |entry: &Value, key: &str| entry[key].as_str().map(str::to_string);
            list.iter().filter_map(|entry| Some((text(entry, "name")?, text(entry, "template")?))).collect()
        }
        Value::Object(map) => {
            map.iter().filter_map(|(name, source)| Some((name.clone(), source.as_str()?.to_string()))).collect()
        }
        _ => Vec::new(),
    };
    let default = named.iter().find(|(name, _)| name == "default").or_else(|| match named.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    Ok(match default {
        Some((_, source)) => ShippedTemplate::Source(source.clone()),
        None if named.is_empty() => ShippedTemplate::None,
        None => ShippedTemplate::Unclear(named.into_iter().map(|(name, _)| name).collect()),
    })
}

fn only_sentencepiece(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "{folder} has only tokenizer.model (SentencePiece); xd reads tokenizer.json. Make it once with Python: \
         `AutoTokenizer.from_pretrained(\"{folder}\").save_pretrained(\"{folder}\")`"
    )
}
