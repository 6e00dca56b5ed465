//! The tokenizer in the metadata of a GGUF file, in the words of `tokenizer.json` and `tokenizer_config.json`.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json, json};

use crate::gguf::{GgufFile, Value};

/// What the two files of a model folder would hold.
pub(super) struct Described {
    /// tokenizer.json.
    pub tokenizer: Json,
    /// tokenizer_config.json.
    pub config: Json,
}

/// Kinds of tokens (`tokenizer.ggml.token_type`).
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Tokens, in the order of their ids.
struct Vocabulary<'a> {
    file: &'a GgufFile,
    tokens: Vec<String>,
    kinds: Vec<u64>,
}

/// Builds both out of the file.
///
/// Two kinds are known: `llama` (SentencePiece's byte pair encoding: merges are found from the vocabulary) and `gpt2`
/// (byte-level, with its merges in the file).
///
/// # Errors
/// A sentence, when the file has no tokenizer or one of another kind.
pub(super) fn describe(file: &GgufFile) -> Result<Described, String> {
    let kind = file.get("tokenizer.ggml.model").and_then(Value::text).ok_or("it holds no tokenizer")?;
    let vocabulary = Vocabulary::new(file)?;
    let mut tokenizer = match kind {
        "llama" => sentencepiece(&vocabulary)?,
        "gpt2" => byte_level(&vocabulary)?,
        other => {
            return Err(format!(
                "its tokenizer is of the kind `{other}`, which is not built yet; there is llama and gpt2"
            ));
        }
    };
    let bytes = kind == "gpt2";
    let add_bos = vocabulary.truth("add_bos_token").unwrap_or(!bytes || vocabulary.pre().is_ok_and(|p| p.llama3));
    let add_eos = vocabulary.truth("add_eos_token").unwrap_or(false);
    let bos = add_bos.then(|| vocabulary.named("bos")).flatten();
    let eos = add_eos.then(|| vocabulary.named("eos")).flatten();
    tokenizer["version"] = "1.0".into();
    tokenizer["truncation"] = Json::Null;
    tokenizer["padding"] = Json::Null;
    tokenizer["added_tokens"] = vocabulary.added();
    tokenizer["post_processor"] = template(bos, eos);
    let mut config = Map::new();
    for (ours, theirs) in
        [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    {
        if let Some((_, token)) = vocabulary.named(theirs) {
            config.insert(ours.into(), token.into());
        }
    }
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    if let Some(template) = file.get("tokenizer.chat_template").and_then(Value::text) {
        config.insert("chat_template".into(), template.into());
    }
    Ok(Described { tokenizer, config: Json::Object(config) })
}

impl<'a> Vocabulary<'a> {
    fn new(file: &'a GgufFile) -> Result<Self, String> {
        let texts = |key: &str| -> Result<Vec<String>, String> {
            let list = file.get(key).and_then(Value::list).ok_or_else(|| format!("it has no list `{key}`"))?;
            let texts: Option<Vec<String>> = list.iter().map(|v| v.text().map(str::to_string)).collect();
            texts.ok_or_else(|| format!("its `{key}` is no list of texts"))
        };
        let tokens = texts("tokenizer.ggml.tokens")?;
        let kinds = match file.get("tokenizer.ggml.token_type").and_then(Value::list) {
            Some(list) => list.iter().map(|v| v.whole().unwrap_or(1)).collect(),
            None => vec![1; tokens.len()],
        };
        match tokens.len() == kinds.len() {
            true => Ok(Self { file, tokens, kinds }),
            false => Err(format!("its vocabulary has {} tokens and {} kinds of them", tokens.len(), kinds.len())),
        }
    }

    fn truth(&self, key: &str) -> Option<bool> {
        self.file.get(&format!("tokenizer.ggml.{key}")).and_then(Value::truth)
    }

    /// Id and text of the token that plays a role.
    fn named(&self, role: &str) -> Option<(u64, &str)> {
        let id = self.file.get(&format!("tokenizer.ggml.{role}_token_id")).and_then(Value::whole)?;
        self.tokens.get(id as usize).map(|token| (id, token.as_str()))
    }

    /// True for tokens that stand for themselves in a text and are never split.
    fn is_added(&self, id: usize) -> bool {
        matches!(self.kinds[id], UNKNOWN | CONTROL | USER_DEFINED)
    }

    /// Control tokens (special) and user-defined ones (not special). Runs of spaces are left to the merges, which make the same
    /// tokens of them, since the normaliser turns spaces into another character before.
    fn added(&self) -> Json {
        let entry = |(id, token): (usize, &String)| {
            let blank = self.kinds[id] == USER_DEFINED && token.chars().all(|c| c == ' ' || c == SPACE);
            (self.is_added(id) && !blank && !token.is_empty()).then(|| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": self.kinds[id] != USER_DEFINED,
                })
            })
        };
        Json::Array(self.tokens.iter().enumerate().filter_map(entry).collect())
    }

    fn pre(&self) -> Result<Pre, String> {
        let name = self.file.get("tokenizer.ggml.pre").and_then(Value::text).unwrap_or("missing");
        Pre::of(name).ok_or_else(|| {
            format!(
                "its `tokenizer.ggml.pre` is {name}, a way of splitting text that is not built yet; there is {}",
                Pre::NAMES
            )
        })
    }
}

/// SentencePiece's space.
const SPACE: char = '\u{2581}';

/// SentencePiece's byte pair encoding: whatever two neighbours make the best token is merged first, bytes stand for unknown
/// characters. Gemma's best is the first of the vocabulary, elsewhere it is the one with the highest score.
fn sentencepiece(vocabulary: &Vocabulary) -> Result<Json, String> {
    let gemma = vocabulary.file.architecture()?.starts_with("gemma");
    let tokens: Vec<String> = vocabulary.tokens.iter().map(|t| if gemma { respelled(t) } else { t.clone() }).collect();
    let scores = match vocabulary.file.get("tokenizer.ggml.scores").and_then(Value::list) {
        _ if gemma => (0..tokens.len()).map(|id| -(id as f64)).collect(),
        Some(list) if list.len() == tokens.len() => list.iter().map(|v| v.number().unwrap_or(0.0)).collect::<Vec<_>>(),
        _ => return Err("its vocabulary has no scores".into()),
    };
    let space = SPACE.to_string();
    let back = json!({ "type": "Replace", "pattern": { "String": space }, "content": " " });
    let mut decoders = vec![back, json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
    let (normalizer, pre_tokenizer) = match gemma {
        true => (json!({ "type": "Replace", "pattern": { "String": " " }, "content": space }), Json::Null),
        false => {
            // A space before the text, as transformers puts it (llama.cpp also puts one after each special token).
            let prefix = vocabulary.truth("add_space_prefix").unwrap_or(true);
            if prefix {
                decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
            }
            let scheme = if prefix { "first" } else { "never" };
            let spaces = json!({ "type": "Metaspace", "replacement": space, "prepend_scheme": scheme, "split": false });
            (Json::Null, spaces)
        }
    };
    let merges: Vec<Json> = merges(&tokens, &scores).into_iter().map(|(l, r)| json!([l, r])).collect();
    Ok(json!({
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": model(vocab(&tokens), merges, vocabulary.named("unknown").map(|(_, t)| t), true, false),
    }))
}

/// Gemma's runs of spaces, which llama.cpp stores with plain spaces.
fn respelled(token: &str) -> String {
    match !token.is_empty() && token.chars().all(|c| c == ' ') {
        true => token.replace(' ', &SPACE.to_string()),
        false => token.to_string(),
    }
}

/// Every way to make a token of two others; best score first, then the longer left part.
fn merges<'t>(tokens: &'t [String], scores: &[f64]) -> Vec<(&'t str, &'t str)> {
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges: Vec<(f64, usize, &str, &str)> = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(id, token)| ids.get(token.as_str()) == Some(id)) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if ids.contains_key(left) && ids.contains_key(right) {
                merges.push((scores[id], left.chars().count(), left, right));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    merges.into_iter().map(|(_, _, left, right)| (left, right)).collect()
}

/// GPT-2's byte-level byte pair encoding.
fn byte_level(vocabulary: &Vocabulary) -> Result<Json, String> {
    let pre = vocabulary.pre()?;
    let alphabet = alphabet();
    let known: std::collections::BTreeSet<char> = alphabet.iter().copied().collect();
    let spelled =
        |(id, token): (usize, &String)| match vocabulary.is_added(id) || token.chars().all(|c| known.contains(&c)) {
            true => token.clone(),
            false => token.bytes().map(|b| alphabet[b as usize]).collect(),
        };
    let tokens: Vec<String> = vocabulary.tokens.iter().enumerate().map(spelled).collect();
    let list =
        vocabulary.file.get("tokenizer.ggml.merges").and_then(Value::list).ok_or("its vocabulary has no merges")?;
    let pair = |v: &Value| v.text()?.split_once(' ').map(|(left, right)| json!([left, right]));
    let merges: Option<Vec<Json>> = list.iter().map(pair).collect();
    let merges = merges.ok_or("its `tokenizer.ggml.merges` is no list of pairs")?;
    Ok(json!({
        "normalizer": if pre.nfc { json!({ "type": "NFC" }) } else { Json::Null },
        "pre_tokenizer": pre.split,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
        "model": model(vocab(&tokens), merges, None, false, pre.llama3),
    }))
}

fn vocab(tokens: &[String]) -> Json {
    Json::Object(tokens.iter().enumerate().map(|(id, token)| (token.clone(), Json::from(id))).collect())
}

fn model(vocab: Json, merges: Vec<Json>, unknown: Option<&str>, fallback: bool, ignore_merges: bool) -> Json {
    json!({
        "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": fallback, "byte_fallback": fallback, "ignore_merges": ignore_merges,
        "vocab": vocab, "merges": merges,
    })
}

/// BOS before and EOS after a text, where the tokenizer puts them.
fn template(bos: Option<(u64, &str)>, eos: Option<(u64, &str)>) -> Json {
    if bos.is_none() && eos.is_none() {
        return Json::Null;
    }
    let special = |token: Option<(u64, &str)>, segment: u64| {
        token.map(|(_, text)| json!({ "SpecialToken": { "id": text, "type_id": segment } }))
    };
    let sequence = |name: &str, segment: u64| Some(json!({ "Sequence": { "id": name, "type_id": segment } }));
    let single: Vec<Json> = [special(bos, 0), sequence("A", 0), special(eos, 0)].into_iter().flatten().collect();
    let second = [special(bos, 1), sequence("B", 1), special(eos, 1)];
    let pair: Vec<Json> = single.iter().cloned().chain(second.into_iter().flatten()).collect();
    let tokens: BTreeMap<&str, Json> = [bos, eos]
        .into_iter()
        .flatten()
        .map(|(id, text)| (text, json!({ "id": text, "ids": [id], "tokens": [text] })))
        .collect();
    json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens })
}

/// How a text is split before merges are looked for (`tokenizer.ggml.pre`).
struct Pre {
    split: Json,
    nfc: bool,
    /// Llama 3: whole words of the vocabulary are taken as they are, and a BOS is put first unless the file says otherwise.
    llama3: bool,
}

const GPT2: &[&str] = &["gpt-2", "gpt2", "phi-2", "olmo"];
const LLAMA3: &[&str] = &["llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe", "dbrx", "lfm2"];
const QWEN2: &[&str] = &["qwen2", "deepseek-r1-qwen", "megrez"];
const SMOLLM: &[&str] = &["smollm", "starcoder", "refact", "command-r"];

const LLAMA3_REGEX: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_REGEX: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Pre {
    const NAMES: &str = "gpt-2, llama-bpe, qwen2, smollm and what llama.cpp treats like one of them";

    fn of(name: &str) -> Option<Self> {
        let bytes = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": regex });
        let sequence = |first: Json, second: Json| json!({ "type": "Sequence", "pretokenizers": [first, second] });
        let split = |regex: &str| {
            let first =
                json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
            sequence(first, bytes(false))
        };
        let is = |names: &[&str]| names.contains(&name);
        if is(GPT2) {
            return Some(Pre { split: bytes(true), nfc: false, llama3: false });
        }
        if is(LLAMA3) {
            return Some(Pre { split: split(LLAMA3_REGEX), nfc: false, llama3: true });
        }
        if is(QWEN2) {
            return Some(Pre { split: split(QWEN2_REGEX), nfc: true, llama3: false });
        }
        let digits = json!({ "type": "Digits", "individual_digits": true });
        is(SMOLLM).then(|| Pre { split: sequence(digits, bytes(true)), nfc: false, llama3: false })
    }
}

/// The character that stands for each byte: printable ones for themselves, the others from U+0100 on.
fn alphabet() -> Vec<char> {
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                let spelled = char::from_u32(next).unwrap_or(' ');
                next += 1;
                spelled
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_go_by_score_then_by_the_longer_left_part() {
        let tokens: Vec<String> = ["a", "b", "c", "ab", "bc", "abc"].iter().map(|t| t.to_string()).collect();
        let found = merges(&tokens, &[0.0, 0.0, 0.0, -2.0, -1.0, -3.0]);
        assert_eq!(found, [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]);
    }

    #[test]
    fn bytes_have_the_characters_of_gpt2() {
        let alphabet = alphabet();
        assert_eq!((alphabet[b' ' as usize], alphabet[b'\n' as usize], alphabet[b'a' as usize]), ('Ġ', 'Ċ', 'a'));
        assert_eq!(alphabet[0xAD], '\u{143}');
    }
}
