//! How long work tells how far it is, and learns that it should stop.

/// A moment of long work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Units done and in all (tokens, unless the work says otherwise).
    pub done: u64,
    pub total: u64,
    /// A number worth showing: the loss.
    pub loss: Option<f64>,
}

/// A moment of a download.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    /// The file that comes now.
    pub name: String,
    /// Bytes that are here, and bytes in all, of this file and those that come with it.
    pub done: u64,
    pub total: u64,
}

/// Told about progress; asked whether to stop. Never changes a result.
pub trait Watch: Sync {
    /// Called often; must be cheap.
    fn progress(&self, progress: &Progress);
    /// Of work that moves several things side by side (the points of a sweep): how far one of them is.
    fn point(&self, _index: usize, _progress: &Progress) {}
    /// Files are brought to this machine before or while the work goes on.
    fn transfer(&self, _transfer: &Transfer) {}
    /// True when the user wants to stop: the work saves a checkpoint and returns [`super::Error::Interrupted`].
    fn stop(&self) -> bool {
        false
    }
    /// A remark for the log, such as a norm warning.
    fn note(&self, text: &str);
}

/// Hears nothing, never stops.
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: &Progress) {}
    fn note(&self, _: &str) {}
}
