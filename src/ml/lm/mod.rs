//! Language models: one decoder for all families, its taps, and the training of small ones.

mod adam;
mod allocator;
mod bpe;
mod check;
mod checkpoint;
mod config;
mod decoder;
mod evaluate;
mod families;
mod finetune;
mod generate;
mod layer;
mod ops;
mod packing;
mod pretrain;
mod rope;
mod save;
mod site;
mod train;
mod weights;

pub use allocator::tune_allocator;
pub use check::check_taps;
pub use config::{DecoderConfig, Family, LayerShape};
pub use decoder::{Decoder, Hook};
pub use evaluate::{heldout_loss, token_loss};
pub use finetune::{Finetune, finetune};
pub use generate::{Sampling, generate, reply};
pub use ops::Activation;
pub use packing::TextPortion;
pub use pretrain::{Pretrain, pretrain};
pub use rope::{Rope, RopeScaling};
pub use site::Site;
pub use train::Trained;
pub use weights::Weights;
