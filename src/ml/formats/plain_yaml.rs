//! The little of YAML that `yaml.dump` writes for a dict of dicts of plain values.

use serde_json::{Map, Value};

/// Reads `key: value` lines, nested by indentation. `None` for anything else (lists, anchors, texts over several lines).
pub fn read_yaml(text: &str) -> Option<Value> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#') && line.trim() != "---")
        .map(|line| (line.len() - line.trim_start().len(), line.trim()))
        .collect();
    let mut at = 0;
    let map = block(&lines, &mut at, 0)?;
    (at == lines.len()).then_some(map)
}

fn block(lines: &[(usize, &str)], at: &mut usize, indent: usize) -> Option<Value> {
    let mut map = Map::new();
    while let Some(&(depth, line)) = lines.get(*at) {
        if depth < indent {
            break;
        }
        let (key, rest) = line.split_once(':').filter(|_| depth == indent)?;
        *at += 1;
        let value = match rest.trim() {
            "" => match lines.get(*at) {
                Some(&(deeper, _)) if deeper > indent => block(lines, at, deeper)?,
                _ => Value::Null,
            },
            word => scalar(word)?,
        };
        map.insert(key.trim().trim_matches(['\'', '"']).to_string(), value);
    }
    Some(Value::Object(map))
}

fn scalar(word: &str) -> Option<Value> {
    Some(match word {
        "{}" => Value::Object(Map::new()),
        "null" | "~" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if word.starts_with(['&', '*', '[', '{', '|', '>', '!']) => return None,
        _ => word
            .parse::<i64>()
            .map(Value::from)
            .or_else(|_| word.parse::<f64>().map(Value::from))
            .unwrap_or_else(|_| Value::from(word.trim_matches(['\'', '"']))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crosscode_writes_is_read() {
        let text = "activation_fn:\n  cfg:\n    k_per_example: 32\n  classname: BatchTopkActivation\nd_model: 64\ndtype: float32\nuse_decoder_bias: true\n";
        let read = read_yaml(text).unwrap();
        assert_eq!(read["activation_fn"]["cfg"]["k_per_example"], 32);
        assert_eq!(read["activation_fn"]["classname"], "BatchTopkActivation");
        assert_eq!((&read["d_model"], &read["use_decoder_bias"]), (&Value::from(64), &Value::from(true)));
        assert_eq!(
            read_yaml("activation_fn:\n  cfg: {}\n  classname: ReLUActivation\n").unwrap()["activation_fn"]["cfg"],
            Value::Object(Map::new())
        );
        assert!(
            read_yaml("a: [1, 2]").is_none() && read_yaml("nonsense").is_none() && read_yaml("a: 1\n  b: 2").is_none()
        );
    }
}
