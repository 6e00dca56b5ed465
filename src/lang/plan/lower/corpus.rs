use crate::lang::check;
use crate::lang::hub::{HubPart, Repository};
use crate::lang::plan::draft::{At, Draft};
use crate::lang::plan::spec::{CorpusSource, CorpusSpec, Spec, TemplateSpec};
use crate::lang::resolve::{Call, Sink, Typed, VALUE};

pub fn corpus(at: &At, draft: &mut Draft, sink: &mut Sink) -> Option<Spec> {
    let call = at.fields.call(VALUE)?;
    draft.facts.chat = call.get("template").is_some();
    let source = match call.word {
        "builtin" => {
            let node = call.get("name")?;
            let name = at.string(node, sink)?;
            let known = at.world.builtins();
            if !known.contains(&name) {
                sink.push(check::files::unknown_builtin(&name, &known, node.span));
                return None;
            }
            CorpusSource::Builtin { name }
        }
        "hf" => {
            let text = |name: &str, sink: &mut Sink| call.get(name).map(|n| at.string(n, sink));
            let part = HubPart::Split {
                config: super::hub::optional(text("config", sink))?,
                split: text("split", sink)??,
                first: call.get("files").and_then(|n| n.whole()),
            };
            let column = text("column", sink)??;
            let files = super::hub::reference(at, call, Repository::Dataset, part, sink)?;
            CorpusSource::Hub { files, column }
        }
        _ => {
            let node = call.get("path")?;
            let path = at.file(node, sink)?;
            match at.world.bytes(&path.from, &path.path) {
                // A token takes a byte of text at least, but not of compressed text.
                Ok(bytes) => draft.facts.bytes = is_plain(call.word, &path.path).then_some(bytes),
                Err(why) => {
                    sink.push(check::files::missing("text", &path.path, &why, node.span));
                    return None;
                }
            }
            match call.word {
                "text" => CorpusSource::Text { path },
                word => {
                    let column = at.string(call.get("column")?, sink)?;
                    match word {
                        "jsonl" => CorpusSource::Jsonl { path, column },
                        "json" => CorpusSource::Json {
                            path,
                            column,
                            list: match call.get("list") {
                                Some(node) => Some(at.string(node, sink)?),
                                None => None,
                            },
                        },
                        "csv" => CorpusSource::Csv { path, column },
                        "parquet" => CorpusSource::Parquet { path, column },
                        _ => return None,
                    }
                }
            }
        }
    };
    let template = match call.get("template").map(|n| &n.value) {
        None => None,
        Some(Typed::Step(step)) => match &at.take(step, "template", draft)?.spec {
            Some(Spec::Template(template)) => Some(template.clone()),
            _ => return None,
        },
        Some(Typed::Call(call)) => Some(template(at, call, sink)?),
        Some(_) => return None,
    };
    Some(Spec::Corpus(CorpusSpec { source, template }))
}

/// Whether the bytes of these files are certainly the bytes of the text.
fn is_plain(form: &str, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    form != "parquet" && extension.is_some_and(|e| !e.contains(['*', '?', '[']) && e != "gz" && e != "zst")
}

pub fn template_declaration(at: &At, sink: &mut Sink) -> Option<Spec> {
    template(at, at.fields.call(VALUE)?, sink).map(Spec::Template)
}

fn template(at: &At, call: &Call, sink: &mut Sink) -> Option<TemplateSpec> {
    if call.word == "tokenizer" {
        return Some(TemplateSpec::Tokenizer);
    }
    let node = call.get("file")?;
    let path = at.file(node, sink)?;
    if let Err(why) = at.world.bytes(&path.from, &path.path) {
        sink.push(check::files::missing("template", &path.path, &why, node.span));
        return None;
    }
    let control = call.get("control")?.list()?.iter().map(|n| at.string(n, sink)).collect::<Option<Vec<_>>>()?;
    Some(TemplateSpec::Jinja { path, control })
}
