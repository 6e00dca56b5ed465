//! What a call asks of memory: its largest piece, so that tests can hold that a damaged file does not ask for much, and all pieces of all
//! threads, so that they can hold that a step asks for none.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static COUNTING: AtomicBool = AtomicBool::new(false);
static PIECES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watched;

#[global_allocator]
static WATCHED: Watched = Watched;

fn see(size: usize) {
    // At the end of a thread there is nothing left to note it in.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    if COUNTING.load(Relaxed) {
        PIECES.fetch_add(1, Relaxed);
        BYTES.fetch_add(size as u64, Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        see(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        see(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        see(size);
        unsafe { System.realloc(place, layout, size) }
    }
}

/// What `call` gives, and the bytes of the largest allocation that its thread made meanwhile.
pub fn largest<T>(call: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.with(|largest| largest.set(0));
    let result = call();
    (result, LARGEST.with(Cell::get))
}

/// How many pieces of memory all threads asked for while `call` ran, and their bytes. Nothing else may run in this process.
pub fn all(call: impl FnOnce()) -> (u64, u64) {
    PIECES.store(0, Relaxed);
    BYTES.store(0, Relaxed);
    COUNTING.store(true, Relaxed);
    call();
    COUNTING.store(false, Relaxed);
    (PIECES.load(Relaxed), BYTES.load(Relaxed))
}
