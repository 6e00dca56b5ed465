//! Where the cache of the hub is, as the Python library decides it.

use std::path::PathBuf;

/// The folder of the user's Hugging Face things: `HF_HOME`, else `huggingface` in the user's cache.
pub fn home() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME").unwrap_or_default();
    let place = variable("HF_HOME").or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")));
    expanded(place.unwrap_or_else(|| home.join(".cache").join("huggingface")))
}

/// The folder with `models--..` and `datasets--..`: `HF_HUB_CACHE`, else `hub` in [`home`].
pub fn root() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    named.map(expanded).unwrap_or_else(|| home().join("hub"))
}

/// `~/x` is in the user's home.
fn expanded(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path,
    }
}
