//! The file and what it imports.

use std::collections::BTreeMap;

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::source::{FileId, Sources, Span};
use crate::lang::syntax::{self, tree};
use crate::lang::world::World;

use super::sink::Sink;

/// One text with the prefix that its names carry: `chat.` for `use ".." as chat`.
#[derive(Debug)]
pub struct Module {
    pub file: FileId,
    pub prefix: String,
    pub tree: tree::File,
    /// Aliases of its own imports, with the place where they are written.
    pub aliases: BTreeMap<String, Span>,
    /// An import could not be read, so names may be missing.
    pub incomplete: bool,
}

/// Reads the file and, depth first, its imports; the asked file comes first.
pub fn load(world: &dyn World, sources: &mut Sources, file: FileId, sink: &mut Sink) -> Vec<Module> {
    let mut loader = Loader { world, sources, sink, modules: Vec::new(), known: BTreeMap::new(), stack: Vec::new() };
    let path = loader.sources.get(file).path.clone();
    loader.known.insert(path.clone(), file);
    loader.stack.push(path);
    loader.module(file, String::new(), true);
    loader.modules
}

struct Loader<'l> {
    world: &'l dyn World,
    sources: &'l mut Sources,
    sink: &'l mut Sink,
    modules: Vec<Module>,
    known: BTreeMap<String, FileId>,
    stack: Vec<String>,
}

impl Loader<'_> {
    fn module(&mut self, file: FileId, prefix: String, first_time: bool) {
        let (tree, found) = syntax::parse(file, &self.sources.get(file).text);
        if first_time {
            found.into_iter().for_each(|d| self.sink.push(d));
        }
        let index = self.modules.len();
        let uses = tree.uses.clone();
        self.modules.push(Module { file, prefix: prefix.clone(), tree, aliases: BTreeMap::new(), incomplete: false });
        for import in &uses {
            let alias = &import.alias;
            if let Some(first) = self.modules[index].aliases.get(&alias.text) {
                self.sink.push(
                    Diagnostic::new(Code::DefinedTwice, alias.span, format!("`{}` is imported twice", alias.text))
                        .label("second import under this name")
                        .related(*first, "first import")
                        .help("give one of them another name after `as`"),
                );
                continue;
            }
            self.modules[index].aliases.insert(alias.text.clone(), alias.span);
            if !self.import(import, file, &prefix) {
                self.modules[index].incomplete = true;
            }
        }
    }

    /// Loads one import; false when its names are not known.
    fn import(&mut self, import: &tree::Use, file: FileId, prefix: &str) -> bool {
        let mut written = String::new();
        for piece in &import.path.pieces {
            match piece {
                tree::Piece::Literal(text) => written += text,
                tree::Piece::Insert(path) => {
                    self.sink.push(
                        Diagnostic::new(Code::ImportMissing, path.span, "the path of an import is fixed")
                            .label("nothing can be inserted here")
                            .help("write the path of the file out"),
                    );
                    return false;
                }
            }
        }
        let from = self.sources.get(file).path.clone();
        let (text, path) = match self.world.import(&from, &written) {
            Ok(found) => found,
            Err(why) => {
                self.sink.push(
                    Diagnostic::new(
                        Code::ImportMissing,
                        import.path.span,
                        format!("`{written}` cannot be imported: {why}"),
                    )
                    .label("not found")
                    .help("paths are relative to the file that imports"),
                );
                return false;
            }
        };
        if let Some(at) = self.stack.iter().position(|p| *p == path) {
            let mut round: Vec<String> = self.stack[at..].iter().map(|p| format!("`{p}`")).collect();
            round.push(format!("`{path}`"));
            self.sink.push(
                Diagnostic::new(
                    Code::ImportCycle,
                    import.path.span,
                    format!("the imports go round in a circle: {}", round.join(" imports ")),
                )
                .label("this closes the circle")
                .help("move what both files need into a third one"),
            );
            return false;
        }
        let first_time = !self.known.contains_key(&path);
        let id = match self.known.get(&path) {
            Some(id) => *id,
            None => self.sources.add(path.clone(), text),
        };
        self.known.insert(path.clone(), id);
        self.stack.push(path);
        self.module(id, format!("{prefix}{}.", import.alias.text), first_time);
        self.stack.pop();
        true
    }
}
