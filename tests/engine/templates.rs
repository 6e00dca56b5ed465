//! Chat templates of known models: the text that transformers makes, and a group for every token.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xd::ml::TokenGroup;
use xd::ml::data::{Document, Jinja, Message, Template, TokenSequence, Tokenizer};

use crate::lm::fixture;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/templates")
}

/// One template with its special tokens and what Python made of the conversations.
struct Case {
    name: String,
    source: String,
    tokens: Vec<(String, String)>,
    expected: BTreeMap<String, Value>,
}

fn conversations(expected: &Value) -> BTreeMap<String, Vec<Message>> {
    serde_json::from_value(expected["conversations"].clone()).unwrap()
}

fn cases() -> (BTreeMap<String, Vec<Message>>, Vec<Case>) {
    let expected: Value = serde_json::from_str(&fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap();
    let cases = expected["templates"].as_object().unwrap().iter().map(|(name, case)| Case {
        name: name.clone(),
        source: fs::read_to_string(folder().join(format!("{name}.jinja"))).unwrap(),
        tokens: serde_json::from_value::<BTreeMap<String, String>>(case["tokens"].clone())
            .unwrap()
            .into_iter()
            .collect(),
        expected: serde_json::from_value(case["cases"].clone()).unwrap(),
    });
    (conversations(&expected), cases.collect())
}

#[test]
fn texts_are_those_of_transformers() {
    let (conversations, cases) = cases();
    assert!(cases.len() >= 19, "{}", cases.len());
    let mut failed = Vec::new();
    for case in &cases {
        let jinja = Jinja::new(&case.source, &case.tokens).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for (conversation, messages) in &conversations {
            let shorter = if messages.len() > 1 { &messages[..messages.len() - 1] } else { messages };
            for (key, messages, prompt) in [("text", messages.as_slice(), false), ("prompt", shorter, true)] {
                let got = jinja.text(messages, prompt);
                match (&case.expected[conversation][key], got) {
                    (Value::String(want), Ok(got)) if *want == got => {}
                    (Value::Object(want), Err(got)) if got.to_string().contains(want["error"].as_str().unwrap()) => {}
                    (want, got) => {
                        failed.push(format!("{} {conversation} {key}:\n  want {want}\n  got  {got:?}", case.name))
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of them differ:\n{}", failed.len(), failed.join("\n"));
}

/// Marks that are special tokens of the models.
const MARKS: &[&str] = &[
    "<start_of_turn>",
    "<end_of_turn>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "</s>",
];

/// The fixture's byte-level tokenizer with the marks of all templates and this template.
fn tokenizer(case: &Case, folder: &Path) -> Tokenizer {
    let mut description: Value =
        serde_json::from_str(&fs::read_to_string(fixture("gemma2").join("tokenizer.json")).unwrap()).unwrap();
    let known = Tokenizer::load(fixture("gemma2")).unwrap();
    let mut next = known.vocabulary();
    let named = case.tokens.iter().map(|(_, token)| token.as_str());
    let mut tokens: Vec<&str> = MARKS.iter().copied().chain(named).collect();
    tokens.sort_unstable();
    tokens.dedup();
    for token in tokens {
        let added = description["added_tokens"].as_array_mut().unwrap();
        if known.id(token).is_none() {
            added.push(json!({ "id": next, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                               "normalized": false, "special": true }));
            next += 1;
        }
    }
    let mut config: serde_json::Map<String, Value> = serde_json::Map::new();
    for (name, token) in &case.tokens {
        config.insert(name.clone(), json!(token));
    }
    config.insert("chat_template".into(), json!(case.source));
    fs::write(folder.join("tokenizer.json"), description.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), Value::Object(config).to_string()).unwrap();
    Tokenizer::load(folder).unwrap()
}

fn decoded(tokenizer: &Tokenizer, sequence: &TokenSequence, keeps: impl Fn(TokenGroup) -> bool) -> String {
    let of = |(id, group): (&u32, &TokenGroup)| keeps(*group).then_some(*id);
    let ids: Vec<u32> = sequence.ids.iter().zip(&sequence.groups).filter_map(of).collect();
    tokenizer.decode(&ids).unwrap()
}

/// Without white space: a token may hold the end of a content and a space or newline of the template.
fn dense(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn contents(messages: &[Message], roles: &[&str]) -> String {
    let of = |m: &&Message| roles.contains(&m.role.as_str());
    messages.iter().filter(of).map(|m| m.content.as_str()).collect()
}

#[test]
fn groups_cover_every_token_and_decode_to_the_contents() {
    let (conversations, cases) = cases();
    let mut checked = 0;
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(case, folder.path());
        for (conversation, messages) in &conversations {
            let place = format!("{} {conversation}", case.name);
            let Value::String(text) = &case.expected[conversation]["text"] else { continue };
            let document = Document::Chat(messages.clone());
            let sequence = tokenizer
                .encode(&document, Some(&Template::Tokenizer), usize::MAX)
                .unwrap_or_else(|e| panic!("{place}: {e}"));
            assert_eq!(sequence.ids.len(), sequence.groups.len(), "{place}");
            assert_eq!(&decoded(&tokenizer, &sequence, |_| true), text, "{place}");
            assert!(
                sequence.groups.iter().all(|group| *group != TokenGroup::Text),
                "{place}: a chat has no plain text"
            );
            let part = |keeps: fn(TokenGroup) -> bool| dense(&decoded(&tokenizer, &sequence, keeps));
            let user = part(|group| group == TokenGroup::User);
            assert_eq!(user, dense(&contents(messages, &["user"])), "{place}");
            let assistant = part(|group| group == TokenGroup::Assistant);
            if conversation == "think" {
                // Templates for reasoning models leave out earlier reasoning, and write the last one in their own way.
                assert!(assistant.contains("So.") && assistant.ends_with("Yes."), "{place}: {assistant}");
            } else {
                assert_eq!(assistant, dense(&contents(messages, &["assistant"])), "{place}");
            }
            // Mistral's template writes a system prompt only where the last message is the user's.
            let system = contents(messages, &["system"]);
            let system = if text.contains(system.trim()) { dense(&system) } else { String::new() };
            assert_eq!(part(|group| group == TokenGroup::Other), system, "{place}");
            if let (Some(bos), true) = (tokenizer.bos(), tokenizer.bos() != tokenizer.eos()) {
                for (id, group) in sequence.ids.iter().zip(&sequence.groups) {
                    let is_bos = *group == TokenGroup::Bos;
                    assert!(
                        (*id == bos) == is_bos || matches!(group, TokenGroup::User),
                        "{place}: BOS is a group of its own"
                    );
                }
            }
            let mask = case.expected[conversation].get("assistant");
            if let Some(mask) = mask {
                let mask: String = serde_json::from_value::<Vec<String>>(mask.clone()).unwrap().concat();
                assert_eq!(
                    decoded(&tokenizer, &sequence, TokenGroup::is_assistant),
                    mask,
                    "{place}: generation blocks"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 270, "{checked}");
}

/// The token that ends a turn of the assistant, as the models' documentation has it.
#[test]
fn the_end_of_an_assistants_turn_is_control_and_assistant() {
    let (conversations, cases) = cases();
    let ends: BTreeMap<&str, &str> = [
        ("gemma2", "<end_of_turn>"),
        ("gemma3", "<end_of_turn>"),
        ("llama2", "</s>"),
        ("llama3.1", "<|eot_id|>"),
        ("llama3.2", "<|eot_id|>"),
        ("qwen2.5", "<|im_end|>"),
        ("qwen3", "<|im_end|>"),
        ("phi3.5", "<|end|>"),
        ("mistral-v3", "</s>"),
        ("mistral-nemo", "</s>"),
        ("mistral7b-v0.2", "</s>"),
        ("zephyr", "</s>"),
        ("chatml", "<|im_end|>"),
        ("command-r-plus", "<|END_OF_TURN_TOKEN|>"),
        ("deepseek-r1-distill", "<｜end▁of▁sentence｜>"),
        ("granite3.3", "<|end_of_text|>"),
    ]
    .into();
    for case in cases.iter().filter(|case| ends.contains_key(case.name.as_str())) {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(case, folder.path());
        for conversation in ["two", "turns", "long", "empty_answer", "same"] {
            let document = Document::Chat(conversations[conversation].clone());
            let sequence = tokenizer.encode(&document, Some(&Template::Tokenizer), usize::MAX).unwrap();
            let ends_of = |keeps: TokenGroup| decoded(&tokenizer, &sequence, |group| group == keeps);
            let turns = conversations[conversation].iter().filter(|m| m.role == "assistant").count();
            let want = ends[case.name.as_str()].repeat(turns);
            assert_eq!(ends_of(TokenGroup::AssistantEnd), want, "{} {conversation}", case.name);
        }
    }
}

/// docs/method.md 6.1: which bytes of a rendered chat are control tokens, by the marks alone.
fn published(text: &str, opens: &str, closes: &str, ends: &str) -> Vec<bool> {
    let mut control = vec![false; text.len()];
    let mut at = 0;
    while let Some(open) = text[at..].find(opens) {
        let open = at + open;
        let close = open + text[open..].find(closes).unwrap() + closes.len();
        control[open..close].fill(true);
        let end = close + text[close..].find(ends).unwrap();
        control[end..end + ends.len()].fill(true);
        at = end + ends.len();
    }
    control
}

#[test]
fn gemma_and_llama_3_have_the_published_control_tokens() {
    let (conversations, cases) = cases();
    for (name, opens, closes, ends) in [
        ("gemma2", "<start_of_turn>", "\n", "<end_of_turn>\n"),
        ("gemma3", "<start_of_turn>", "\n", "<end_of_turn>\n"),
        ("llama3.1", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
        ("llama3.2", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
    ] {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(case, folder.path());
        for conversation in ["one", "two", "turns", "same", "long"] {
            let document = Document::Chat(conversations[conversation].clone());
            let sequence = tokenizer.encode(&document, Some(&Template::Tokenizer), usize::MAX).unwrap();
            let text = decoded(&tokenizer, &sequence, |_| true);
            let want = published(&text, opens, closes, ends);
            // The system turn that Llama's template writes by itself is all template here; published code leaves it out by
            // `skip = 25 tokens`.
            let system = if name.starts_with("llama") { text.find("<|eot_id|>").unwrap() } else { 0 };
            let mut at = 0;
            for (id, group) in sequence.ids.iter().zip(&sequence.groups) {
                let length = tokenizer.decode(&[*id]).unwrap().len();
                if at >= system {
                    let expected = want[at..at + length].iter().all(|control| *control);
                    assert_eq!(group.is_control(), expected, "{name} {conversation} at {at} of {text:?}");
                }
                at += length;
            }
            assert_eq!(at, text.len());
            assert_eq!(sequence.groups[0], TokenGroup::Bos, "BOS is not a control token");
        }
    }
}

#[test]
fn templates_are_found_where_tokenizers_keep_them() {
    let chat = vec![Message { role: "user".into(), content: "hi".into() }];
    let load = |files: &[(&str, Value)]| {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(fixture("gemma2").join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        for (name, content) in files {
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_string);
            fs::write(folder.path().join(name), text).unwrap();
        }
        Tokenizer::load(folder.path()).unwrap().render(&chat, &Template::Tokenizer).map(|rendered| rendered.text)
    };
    let of = |word: &str| format!("{word}:{{{{ messages[0].content }}}}");
    let config = json!({ "chat_template": of("config") });
    assert_eq!(load(&[("tokenizer_config.json", config.clone())]).unwrap(), "config:hi");
    let list = json!({ "chat_template": [{ "name": "tool_use", "template": of("tools") }, { "name": "default", "template": of("default") }] });
    assert_eq!(load(&[("tokenizer_config.json", list)]).unwrap(), "default:hi");
    let only = json!({ "chat_template": [{ "name": "rag", "template": of("rag") }] });
    assert_eq!(load(&[("tokenizer_config.json", only)]).unwrap(), "rag:hi");
    let json_file = json!({ "chat_template": of("json") });
    assert_eq!(load(&[("chat_template.json", json_file.clone())]).unwrap(), "json:hi");
    let all = [
        ("chat_template.jinja", json!(of("jinja"))),
        ("chat_template.json", json_file),
        ("tokenizer_config.json", config),
    ];
    assert_eq!(load(&all).unwrap(), "jinja:hi");
    let several = json!({ "chat_template": [{ "name": "a", "template": "x" }, { "name": "b", "template": "y" }] });
    let unclear = load(&[("tokenizer_config.json", several)]).unwrap_err().to_string();
    assert!(unclear.contains("has several (a, b) and none called default"), "{unclear}");
    assert!(load(&[]).unwrap_err().to_string().contains("has none"));
}

/// Of the fixture with another post-processor and configuration, ids of a text.
fn ids(text: &str, post: bool, add_bos: Option<bool>) -> Vec<u32> {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(fixture("gemma2").join(name)).unwrap()).unwrap()
    };
    let (mut description, mut config) = (read("tokenizer.json"), read("tokenizer_config.json"));
    if !post {
        description["post_processor"] = Value::Null;
    }
    if let Some(add) = add_bos {
        config["add_bos_token"] = json!(add);
    }
    fs::write(folder.path().join("tokenizer.json"), description.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    Tokenizer::load(folder.path()).unwrap().encode_text(text).unwrap().ids
}

/// As measured with transformers 5.23: the post-processor decides, whatever `add_bos_token` says.
#[test]
fn bos_is_what_the_post_processor_adds() {
    for add in [None, Some(true), Some(false)] {
        assert_eq!(ids("the fox", true, add), [0, 88, 262, 290], "{add:?}");
        assert_eq!(ids("the fox", false, add), [88, 262, 290], "{add:?}");
    }
}

#[test]
fn no_sequence_begins_with_two_bos_and_its_id_may_be_0() {
    let tokenizer = Tokenizer::load(fixture("gemma2")).unwrap();
    assert_eq!(tokenizer.bos(), Some(0));
    assert_eq!(ids("<bos>the fox", true, None), [0, 88, 262, 290], "a chat that was formatted before");
    assert_eq!(ids("<bos>the fox", false, None), [0, 88, 262, 290]);
    let groups = tokenizer.encode_text("<bos>the fox").unwrap().groups;
    assert_eq!(groups, [TokenGroup::Bos, TokenGroup::Text, TokenGroup::Text, TokenGroup::Text]);
    let chat = vec![Message { role: "user".into(), content: "hi".into() }];
    let sequence = tokenizer.encode_chat(&chat, &Template::Tokenizer).unwrap();
    assert_eq!(
        sequence.ids.iter().filter(|id| **id == 0).count(),
        1,
        "the template writes BOS, the tokenizer adds none"
    );
    assert_eq!(sequence.groups[0], TokenGroup::Bos);
    assert!(tokenizer.encode(&Document::Text(String::new()), None, 8).unwrap().is_empty());
}

#[test]
fn a_sentencepiece_model_alone_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.model"), b"\x0a").unwrap();
    let error = Tokenizer::load(folder.path()).err().unwrap().to_string();
    assert!(error.contains("only tokenizer.model (SentencePiece)") && error.contains("save_pretrained"), "{error}");
}
