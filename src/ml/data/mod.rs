//! Text in, token ids out: documents, chat templates, tokenizers.

mod builtin;
mod chat;
mod corpus;
mod format;
mod gguf_tokenizer;
mod jinja;
mod marks;
mod pieces;
mod sequence;
mod shelf;
mod source;
mod tokenizer;

pub use builtin::{builtin, builtin_names};
pub use chat::{Rendered, Span, Template};
pub use corpus::{Corpus, Document, Documents, Message};
pub use format::{Format, KNOWN_ENDINGS};
pub use jinja::Jinja;
pub use sequence::TokenSequence;
pub use shelf::Shelf;
pub use tokenizer::{Tokenizer, copy_tokenizer};
