//! What a run tells whoever watches it. The command line draws it; tests collect it.

use crate::ml::Progress;
use crate::ml::watch::Transfer;

/// Hears of every step. Nothing it does changes a result.
pub trait Observer: Sync {
    /// A step starts; `number` of `total` steps that have work.
    fn started(&self, address: &str, kind: &str, number: usize, total: usize);
    /// It moves on.
    fn progress(&self, address: &str, progress: &Progress);
    /// Files that it reads are being downloaded.
    fn transfer(&self, _address: &str, _transfer: &Transfer) {}
    /// A remark, such as a norm warning.
    fn note(&self, address: &str, text: &str);
    /// It is done, or was in the store.
    fn finished(&self, address: &str, kind: &str, cached: bool, seconds: f64);
    /// It failed; the run goes on with what does not need it.
    fn failed(&self, address: &str, error: &str);
    /// It was left out because an input failed.
    fn skipped(&self, address: &str, because: &str);
    /// True when the user wants to stop.
    fn stop(&self) -> bool {
        false
    }
}
