//! The files of a repository as the hub lists them.

use serde_json::Value;

/// A file of a repository at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// With slashes.
    pub path: String,
    pub bytes: u64,
    /// Of files in large storage; git's own are told by another hash.
    pub sha256: Option<String>,
}

impl RemoteFile {
    /// One page of the answer to `/tree/COMMIT`; `None` when it is none. Folders are left out, and so is every path that would lead
    /// out of the cache.
    pub fn page(value: &Value) -> Option<Vec<RemoteFile>> {
        let entries = value.as_array()?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.get("path")?.as_str()?;
            if entry.get("type").and_then(Value::as_str) != Some("file") || !crate::lang::hub::is_inside(path) {
                continue;
            }
            let large = entry.get("lfs").filter(|lfs| lfs.is_object());
            let sha256 = large.and_then(|lfs| lfs.get("oid").or_else(|| lfs.get("sha256"))?.as_str());
            let size = large.and_then(|lfs| lfs.get("size")).or_else(|| entry.get("size")).and_then(Value::as_u64)?;
            let sha256 = sha256.map(|oid| oid.trim_start_matches("sha256:").to_string()).filter(|oid| oid.len() == 64);
            files.push(RemoteFile { path: path.to_string(), bytes: size, sha256 });
        }
        Some(files)
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The folder, empty for the root.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_and_hashes_of_large_files_are_those_of_the_content() {
        let page = json!([
            {"type": "directory", "oid": "1", "size": 0, "path": "data"},
            {"type": "file", "oid": "2", "size": 10, "path": "data/a.txt"},
            {"type": "file", "oid": "3", "size": 134, "path": "w", "lfs": {"oid": "ab".repeat(32), "size": 9_000, "pointerSize": 134}},
            {"type": "file", "oid": "4", "size": 1, "path": "../../evil"},
        ]);
        let files = RemoteFile::page(&page).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!((files[0].bytes, &files[0].sha256, files[0].folder()), (10, &None, "data"));
        assert_eq!((files[1].bytes, files[1].sha256.as_deref()), (9_000, Some("ab".repeat(32).as_str())));
        assert_eq!(RemoteFile::page(&json!({"error": "x"})), None);
    }
}
