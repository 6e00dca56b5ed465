//! The cards of this machine.

use std::sync::Arc;

use super::{Gpu, Problem};

/// What is known of a card before it is used.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CardInfo {
    /// Its number, from 0.
    pub number: usize,
    pub name: String,
    /// Compute capability, as 9.0.
    pub capability: String,
    /// Bytes of memory, and those that are free.
    pub memory: u64,
    pub free: u64,
}

impl CardInfo {
    /// Whether it has units for narrow numbers: from compute capability 8.0 on.
    pub fn has_narrow(&self) -> bool {
        self.capability.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 8)
    }
}

/// The cards, if all that training needs is there: driver, NVRTC and cuBLAS.
#[cfg(feature = "cuda")]
pub fn cards() -> Result<Vec<CardInfo>, Problem> {
    super::card::list()
}

/// The cards, if all that training needs is there: driver, NVRTC and cuBLAS.
#[cfg(not(feature = "cuda"))]
pub fn cards() -> Result<Vec<CardInfo>, Problem> {
    Err(Problem::NotBuilt)
}

/// A card made ready: its kernels compiled for it, its cuBLAS opened.
#[cfg(feature = "cuda")]
pub fn open(number: usize) -> Result<Arc<dyn Gpu>, Problem> {
    Ok(Arc::new(super::card::Card::open(number)?))
}

/// A card made ready: its kernels compiled for it, its cuBLAS opened.
#[cfg(not(feature = "cuda"))]
pub fn open(_number: usize) -> Result<Arc<dyn Gpu>, Problem> {
    Err(Problem::NotBuilt)
}
