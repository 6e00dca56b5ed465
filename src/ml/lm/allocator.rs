//! The C library's allocator.

/// Makes freed memory stay with the process. Without it every tensor operation maps and unmaps its result, and page faults
/// take 40 % of a step. Call it first thing in `main`; it does nothing where the C library is not glibc.
pub fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
