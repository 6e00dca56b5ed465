//! What the machine has room for.

use std::path::Path;

/// Bytes free on the disk that holds `path`; `None` where the system does not say.
pub fn free_disk(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: statvfs is plain data; the call fills it or returns non-zero.
    let mut facts: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a C string and `facts` a valid place to write to.
    let status = unsafe { libc::statvfs(path.as_ptr(), &mut facts) };
    (status == 0).then(|| facts.f_bavail as u64 * facts.f_frsize as u64)
}

/// Bytes of memory that a new program could take; `None` where the system does not say.
pub fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Forgets the largest resident memory of this process so far, so that [`peak_memory`] tells that from now on. False where the system
/// does not let it.
pub fn forget_peak_memory() -> bool {
    // 5 resets VmHWM to the memory of now (man 5 proc).
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Largest resident memory of this process in bytes (VmHWM); `None` where the system does not say.
pub fn peak_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// `3.2 GB`, in powers of ten.
pub fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        c if c < 1e3 => format!("{c:.0} B"),
        c if c < 1e6 => format!("{:.0} kB", c / 1e3),
        c if c < 1e9 => format!("{:.1} MB", c / 1e6),
        c if c < 1e12 => format!("{:.1} GB", c / 1e9),
        c => format!("{:.1} TB", c / 1e12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured memory was 0 in every manifest.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_is_that_since_it_was_forgotten() {
        const MEGABYTES: usize = 64;
        drop(std::hint::black_box(vec![1u8; MEGABYTES << 20]));
        if !forget_peak_memory() {
            return;
        }
        let before = peak_memory().expect("Linux says it");
        drop(std::hint::black_box(vec![1u8; MEGABYTES << 20]));
        let after = peak_memory().expect("Linux says it");
        assert!(after >= before + ((MEGABYTES as u64 - 8) << 20), "{before} and {after}");
    }
}
