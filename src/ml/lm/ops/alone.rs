//! Who splits work: operations, or the caller that runs many of them side by side.

use std::cell::Cell;

use rayon::prelude::*;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` so that the operations within it stay on this thread. For callers that keep every thread busy with work of
/// its own: nothing waits for another thread, and what an operation writes is still in the cache for the next one. Changes no
/// result.
pub(crate) fn alone<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restore = Restore(ALONE.replace(true));
    work()
}

/// True within [`alone`].
pub(super) fn is_alone() -> bool {
    ALONE.get()
}

/// Calls `work` with the number of each chunk of `out`, on all threads unless [`alone`].
pub(super) fn chunks(out: &mut [f32], size: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if is_alone() {
        out.chunks_mut(size).enumerate().for_each(|(c, out)| work(c, out));
    } else {
        out.par_chunks_mut(size).enumerate().for_each(|(c, out)| work(c, out));
    }
}

/// Calls `work` with every number below `count`, on all threads unless [`alone`].
pub(super) fn tasks(count: usize, work: impl Fn(usize) + Sync) {
    if is_alone() {
        (0..count).for_each(work);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(|task| work(task));
    }
}
