//! Training, Latent Scaling and the forward passes of models on a GPU: kernels of our own in CUDA C (`src/ml/kernels/*.cu`) and dense products.
//!
//! Everything that stays between steps stays in the GPU's memory. Sums run in a fixed order and only integers are added
//! atomically, so the same run gives the same bits each time on the same device. The bits differ from the CPU's where a sum has
//! another order.
//!
//! What must be done is written against the trait [`Gpu`]. The driver of a real card is behind the feature `cuda`; the tests run the
//! same kernels, compiled as C++, on the CPU.

mod architecture;
mod array;
mod by_columns;
#[cfg(feature = "cuda")]
pub mod card;
mod code;
mod columns;
mod gpu;
pub mod kernels;
mod launch;
mod lm;
mod median;
pub mod memory;
mod open;
mod problem;
mod scaling;
mod scorer;
mod selection;
mod staging;
mod sums;
mod training;

pub use architecture::Architecture;
pub use array::{Array, Number};
pub use by_columns::ByColumns;
pub use code::Code;
pub use columns::Turned;
pub use gpu::{Arg, Form, Gpu, Narrow, Product};
pub use launch::{blocks, run};
pub(crate) use lm::PACE;
pub use lm::{GpuDecoder, GpuLogits};
pub use median::geometric_median;
pub use open::{CardInfo, cards, open};
pub use problem::Problem;
pub use scaling::ScalingPass;
pub use scorer::{Operands, Scorer, Top, Way};
pub use selection::{Scores, Selection};
pub use staging::Staging;
pub use sums::Sums;
pub use training::Training;
