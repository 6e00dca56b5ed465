//! Where the hub is and who asks: the variables of the environment that the Python library knows.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The public hub.
const PUBLIC: &str = "https://huggingface.co";

/// How to reach the hub, and where its files are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Without a slash at the end.
    pub endpoint: String,
    pub token: Option<Token>,
    /// The network is not used.
    pub offline: bool,
    /// The folder with `models--..` and `datasets--..`.
    pub cache: PathBuf,
    /// How long nothing may come before a connection counts as broken: `HF_HUB_DOWNLOAD_TIMEOUT` seconds.
    pub patience: Duration,
}

/// A token and where it came from. Its text is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// `HF_TOKEN`, or the file.
    pub source: String,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|t| &t.source);
        write!(f, "hub {} ({:?}, offline: {}, {})", self.endpoint, token, self.offline, self.cache.display())
    }
}

impl Settings {
    /// `HF_ENDPOINT`; `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else the file that `hf auth login` writes; and
    /// `HF_HUB_OFFLINE`.
    pub fn from_env(cache: PathBuf, home: Option<&Path>) -> Self {
        Settings::from(cache, home, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(cache: PathBuf, home: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_true = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| PUBLIC.to_string());
        let offline = variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE")).is_some_and(is_true);
        let named = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter().find_map(|name| {
            variable(name).map(|text| Token { text: text.trim().to_string(), source: name.to_string() })
        });
        let file = variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| home.map(|home| home.join("token")));
        let wanted = !variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(is_true);
        let kept = || {
            let file = file.filter(|_| wanted)?;
            let text = std::fs::read_to_string(&file).ok()?.trim().to_string();
            Some(Token { text, source: file.display().to_string() })
        };
        Settings {
            endpoint: endpoint.trim().trim_end_matches('/').to_string(),
            token: named.or_else(kept).filter(|token| !token.text.is_empty()),
            offline,
            cache,
            patience: Duration::from_secs(
                variable("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|s| s.parse().ok()).unwrap_or(30),
            ),
        }
    }

    /// The page of a repository, for people.
    pub fn page(&self, wanted: &crate::lang::hub::HubWanted) -> String {
        format!("{}/{}{}", self.endpoint, wanted.repository.prefix(), wanted.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(home: &Path, variables: &[(&str, &str)]) -> Settings {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string());
        Settings::from(PathBuf::from("/cache"), Some(home), find)
    }

    #[test]
    fn the_environment_is_read_as_python_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let plain = settings(home.path(), &[]);
        assert_eq!((plain.endpoint.as_str(), plain.offline, plain.token.is_none()), (PUBLIC, false, true));
        let set = settings(home.path(), &[("HF_ENDPOINT", "http://localhost:1/"), ("HF_HUB_OFFLINE", "yes")]);
        assert_eq!((set.endpoint.as_str(), set.offline), ("http://localhost:1", true));
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let source = |variables: &[(&str, &str)]| settings(home.path(), variables).token.map(|t| (t.text, t.source));
        let file = home.path().join("token").display().to_string();
        assert_eq!(source(&[]), Some(("hf_file".to_string(), file)));
        assert_eq!(source(&[("HF_TOKEN", " hf_env ")]), Some(("hf_env".to_string(), "HF_TOKEN".to_string())));
        assert_eq!(source(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(source(&[("HF_TOKEN_PATH", "/nowhere")]), None);
        assert!(!format!("{:?}", settings(home.path(), &[])).contains("hf_file"), "a token is never printed");
    }
}
