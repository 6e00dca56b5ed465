//! How far the transfers are, and whether somebody wants them to stop: shared by whoever downloads and whoever watches.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::ml::Watch;
use crate::ml::watch::Transfer;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// The transfers of a run, one after another.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Of the file that comes now; `None` between transfers.
    name: Mutex<Option<String>>,
    notes: Mutex<Vec<String>>,
    done: AtomicU64,
    total: AtomicU64,
    stop: AtomicBool,
}

impl Traffic {
    /// So many bytes are to come, in one file or several.
    pub fn expect(&self, total: u64) {
        self.done.store(0, Ordering::SeqCst);
        self.total.store(total, Ordering::SeqCst);
    }

    /// A file comes now; `None` when none does.
    pub fn now(&self, name: Option<&str>) {
        *self.name.lock().unwrap_or_else(|e| e.into_inner()) = name.map(str::to_string);
    }

    /// So many more bytes are here.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::SeqCst);
    }

    /// So many bytes were not what they should be, and are to come again.
    pub fn take_back(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// A remark for whoever watches.
    pub fn note(&self, text: String) {
        self.notes.lock().unwrap_or_else(|e| e.into_inner()).push(text);
    }

    /// True when transfers are to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn tell(&self, watch: &dyn Watch) {
        let notes = std::mem::take(&mut *self.notes.lock().unwrap_or_else(|e| e.into_inner()));
        notes.iter().for_each(|note| watch.note(note));
        let name = self.name.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some(name) = name {
            let (done, total) = (self.done.load(Ordering::SeqCst), self.total.load(Ordering::SeqCst));
            watch.transfer(&Transfer { name, done, total });
        }
    }

    /// Does the work while a watch hears of its transfers, and can stop them.
    pub fn watched<T>(&self, watch: &dyn Watch, work: impl FnOnce() -> T) -> T {
        /// Ends the looking also when the work panics: a scope waits for its threads.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let over = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            let looker = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    if watch.stop() {
                        self.stop.store(true, Ordering::SeqCst);
                    }
                    self.tell(watch);
                    std::thread::park_timeout(LOOK);
                }
            });
            let ending = Over(&over);
            let result = work();
            drop(ending);
            looker.thread().unpark();
            result
        });
        self.tell(watch);
        result
    }
}
