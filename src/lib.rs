//! `xd`: a small declarative language for model diffing with crosscoders, and its interpreter.
//!
//! ```text
//!            lang (pure: no files, no tensors, no time)                exec                     ml, out
//!  text --> syntax --> resolve --> check --> plan  ------------------> executor ---------------> numbers, rows
//!           tree       names,      every     steps with                store, lock, resume,      harvest, training, scaling,
//!           + spans    points      mistake   content keys              manifest, progress        tables, plots, report
//! ```
//!
//! The arrows of use go one way: `cli -> exec -> { lang, ml, out }`. `lang`, `ml` and `out` know nothing of one another; a
//! test reads the `use` lines and keeps it so. `gguf`, a file format, `hash_cache` and `student` stand below all of them. Without the feature `engine` only
//! `lang`, `gguf` and the verbs that need them are built.

pub mod cli;
#[cfg(feature = "engine")]
pub mod exec;
pub mod gguf;
pub mod hash_cache;
pub mod lang;
#[cfg(feature = "engine")]
pub mod ml;
#[cfg(feature = "engine")]
pub mod out;
#[cfg(feature = "engine")]
pub mod student;
