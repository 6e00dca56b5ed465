//! Content keys: what a step means, not how it is written.
//!
//! id = blake3 of (kind, version of the kind, specification without harmless fields, ids of the inputs). Names of
//! declarations become positions, and files become hashes of what they hold.

use serde_json::{Map, Value};

use crate::lang::hub::HubRef;
use crate::lang::schema::Kind;
use crate::lang::world::World;

use super::spec::Spec;

/// An input as the key sees it: its role, its id, and the point that names its rows in tables.
pub struct KeyInput<'k> {
    pub role: &'static str,
    pub id: &'k str,
    pub name: &'k str,
    pub point: &'k [(String, String)],
}

/// The key of a step; `Err` holds the file that could not be read and why.
pub fn key(kind: &Kind, spec: &Spec, inputs: &[KeyInput], world: &dyn World) -> Result<String, (String, String)> {
    let mut value = serde_json::to_value(spec).unwrap_or(Value::Null);
    for field in kind.fields.iter().filter(|f| f.harmless) {
        remove(&mut value, field.path);
    }
    if let Spec::Crosscoder(spec) = spec
        && spec.from.is_some()
    {
        ["loss", "init", "train"].iter().for_each(|path| remove(&mut value, path));
    }
    remove(&mut value, "text");
    let asks = matches!(spec, Spec::Table(_) | Spec::Plot(_) | Spec::Expect(_));
    if asks {
        let mut names: Vec<&str> = Vec::new();
        for input in inputs {
            if !names.contains(&input.name) {
                names.push(input.name);
            }
        }
        nameless(&mut value, &names);
    }
    hash_files(&mut value, world)?;
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    part(kind.word);
    part(&kind.version.to_string());
    // serde_json keeps the fields of a map sorted, so equal specifications give equal texts.
    part(&value.to_string());
    for input in inputs {
        part(input.role);
        part(input.id);
        if asks {
            for (label, name) in input.point {
                part(label);
                part(name);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn remove(value: &mut Value, path: &str) {
    let mut at = value;
    let mut words = path.split('.').peekable();
    while let Some(word) = words.next() {
        let Value::Object(map) = at else { return };
        if words.peek().is_none() {
            map.remove(word);
            return;
        }
        match map.get_mut(word) {
            Some(inner) => at = inner,
            None => return,
        }
    }
}

/// Replaces names of declarations by their position among the inputs.
fn nameless(value: &mut Value, names: &[&str]) {
    let position = |text: &str| names.iter().position(|n| *n == text).map(|i| Value::from(format!("#{i}")));
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match (key.as_str(), &mut *inner) {
                    ("step", Value::String(text)) => {
                        if let Some(place) = position(text) {
                            *inner = place;
                        }
                    }
                    ("rows" | "data" | "steps", Value::Array(items)) => {
                        for item in items {
                            if let Some(place) = item.as_str().and_then(position) {
                                *item = place;
                            }
                        }
                    }
                    _ => nameless(inner, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| nameless(item, names)),
        _ => {}
    }
}

/// Replaces every `{from, path}` by the hash of what stands there, and every hub reference by the hash of its pinned files.
fn hash_files(value: &mut Value, world: &dyn World) -> Result<(), (String, String)> {
    match value {
        Value::Object(map) if is_file(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or("").to_string();
            let (from, path) = (text("from"), text("path"));
            let hash = world.hash(&from, &path).map_err(|why| (path, why))?;
            *value = Value::from(format!("content {hash}"));
            Ok(())
        }
        Value::Object(map) if map.contains_key("repository") && map.contains_key("pin") => {
            // Before anything is pinned the key is that of a wish, under which nothing is ever stored.
            let pinned = serde_json::from_value::<HubRef>(value.clone()).ok().and_then(|hub| hub.pin);
            if let Some(pin) = pinned {
                *value = Value::from(format!("hub content {}", pin.content()));
            }
            Ok(())
        }
        Value::Object(map) => map.values_mut().try_for_each(|inner| hash_files(inner, world)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| hash_files(item, world)),
        _ => Ok(()),
    }
}

fn is_file(map: &Map<String, Value>) -> bool {
    map.len() == 2 && map.get("from").is_some_and(Value::is_string) && map.get("path").is_some_and(Value::is_string)
}
