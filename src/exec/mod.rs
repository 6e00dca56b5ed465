//! Plan to results: executor, store, manifest, lock, progress.
//!
//! ```text
//! plan -> status (cached? why not?) -> executor: step by step, artifacts into the store -> run folder: tables, plots,
//!                                                                                          report.html, manifest.json
//! ```

pub mod card_memory;
pub mod device;
pub mod error;
pub mod executor;
pub mod export;
pub mod frames;
mod held_out_text;
pub mod hub;
pub mod inputs;
pub mod latent_counts;
pub mod latent_df;
pub mod latents;
pub mod limits;
pub mod manifest;
pub mod models;
pub mod observer;
pub mod options;
pub mod report;
pub mod rows;
mod sources;
pub mod status;
pub mod steps;
pub mod store;
pub mod trained_text;
pub mod wiring;

pub use error::{Error, Result};
pub use executor::{Outcome, run};
pub use observer::Observer;
pub use options::Options;
pub use store::Store;
