//! `cli -> exec -> { lang, ml, out }`; lang, ml and out know nothing of one another.

use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The stages that a file of `stage` may use, besides its own.
fn allowed(stage: &str) -> &'static [&'static str] {
    match stage {
        "cli" => &["exec", "gguf", "hash_cache", "lang", "ml", "out"],
        "exec" => &["hash_cache", "lang", "ml", "out"],
        // A file format that knows nothing of anything.
        "ml" => &["gguf"],
        _ => &[],
    }
}

#[test]
fn stages_use_only_what_stands_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let stages = ["cli", "exec", "gguf", "lang", "ml", "out"];
    let mut seen = 0;
    let mut wrong = Vec::new();
    for stage in stages {
        let mut files = Vec::new();
        rust_files(&src.join(stage), &mut files);
        for file in files {
            seen += 1;
            let text = std::fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                for other in
                    stages.iter().chain(&["hash_cache"]).filter(|&&o| o != stage && !allowed(stage).contains(&o))
                {
                    if line.contains(&format!("crate::{other}")) {
                        wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} files were read");
    assert!(wrong.is_empty(), "these lines break the dependency rule:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_command_line_prints() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for stage in ["exec", "lang", "ml", "out"] {
        let mut files = Vec::new();
        rust_files(&src.join(stage), &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or("");
            for (number, line) in code.lines().enumerate() {
                let line = line.trim_start();
                if !line.starts_with("//") && ["println!(", "eprintln!(", "dbg!("].iter().any(|p| line.contains(p)) {
                    wrong.push(format!("{}:{}: {line}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only src/cli prints:\n{}", wrong.join("\n"));
}
