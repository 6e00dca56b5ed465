//! Activations of two models side by side: harvested from texts, kept in shards, read as [`super::Rows`].
//!
//! ```text
//! documents --> windows --> both models, same ids --> skip, exclude --> block, shuffled --> shard + sidecar
//!   (portion)    (batches    residual [B, T, d]        rows [2, d]       (interleaved         |
//!                 by length)                                              portions)          ShardRows --> Normalizer
//! ```
//!
//! A harvest folder holds `validate/` and `train/`, each with `shard-00000.rows` (`[rows, 2, d]`, little endian, bf16 or
//! f32), `shard-00000.info` (one [`sidecar`] record a row) and `index.json`. Blocks are shuffled once, when they are
//! written; readers go from the first row to the last.
//!
//! With `store = none` no shard is written: [`StreamedRows`] makes the same rows again, block by block, whenever they are read.
//!
//! Decisions, where the paper leaves a choice:
//! - A portion counts the rows that are stored, after `skip` and `exclude`; the last document is cut to hit it exactly.
//! - Documents longer than `context` are cut, and the rest is not used (published code: truncation, no packing).
//! - The validation portions take the first documents of a corpus and the training portions those after the last one that
//!   validation touched, so the two never share a document and validation stays the same when training grows.
//! - `limit` ends the interleaved training stream early, so every corpus shrinks in proportion.

mod block;
mod bookmarks;
mod exclude;
mod harvest;
mod index;
mod normalize;
mod norms;
mod portion;
mod progress;
mod read_as;
mod reader;
mod shards;
mod sidecar;
mod source;
mod statistics;
mod store;
mod stream;
mod tap;
mod tensors;
mod texts;
mod window;
mod writer;

pub use bookmarks::Bookmarks;
pub use exclude::Exclude;
pub use harvest::{Harvest, Harvested};
pub use index::{Index, Shard};
pub use normalize::{Normalize, Normalized, Normalizer, Raw};
pub use norms::{ModelNorms, NormReport, SinkPosition, SinkToken};
pub use portion::{Portion, Schedule};
pub use read_as::ReadAs;
pub use reader::Ran;
pub use shards::ShardRows;
pub use source::{Documents, Pair, Residuals, Vocabulary};
pub use statistics::Statistics;
pub use store::Store;
pub use stream::{StreamBlock, StreamIndex, StreamedRows, Supply};
pub use tap::Tap;
pub use tensors::{TensorRows, export_tensors, split_rows, split_tensors};
pub use texts::{MarkedTexts, Texts};
