//! Plan to results: executor, store, manifest, lock, progress.
