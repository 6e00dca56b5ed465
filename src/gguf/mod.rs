//! GGUF files, as llama.cpp writes them: what stands in them, and what they say in the words of `config.json`.
//!
//! Nothing here knows tensors or the language: the command line reads facts of a model with it, the engine its weights and
//! tokenizer. Every error is a sentence about the file; callers put its name before it.

mod config;
mod cursor;
mod file;
mod tensor_info;
mod tensor_type;
mod value;

pub use config::config;
pub use file::GgufFile;
pub use tensor_info::TensorInfo;
pub use tensor_type::TensorType;
pub use value::Value;
