//! Files of other projects: `torch.save`, crosscoder layouts, activation caches (docs/formats.md, docs/method.md 9).

pub mod autoencoder;
pub mod cache_folder;
pub mod cache_rows;
pub mod cache_tokens;
pub mod cache_writer;
mod crosscode;
pub mod delphi;
pub mod delphi_reader;
pub mod delphi_scores;
pub mod export_layout;
mod kissane;
pub mod layout;
pub mod named_tensors;
pub mod pickle;
mod plain_yaml;
pub mod probe;
mod published;
mod saelens;
mod saelens_writer;
pub mod slow_crosscoder;
pub mod torch_file;
pub mod torch_writer;
pub mod weights_file;

pub use cache_folder::{CacheFolder, CacheShard};
pub use cache_rows::CacheRows;
pub use cache_tokens::CacheTokens;
pub use cache_writer::write_cache;
pub use delphi_reader::{DelphiCache, DelphiCounts};
pub use export_layout::{
    ExportLayout, export_crosscoder, lost, lost_alphas, slices_apart, verify_export, verify_import,
};
pub use layout::Layout;
pub use named_tensors::NamedTensors;
pub use probe::Comparison;
pub use torch_file::TorchFile;
pub use torch_writer::{write_torch, write_torch_tensor};
pub use weights_file::{Choices, WeightsFacts, WeightsFile};
