//! What the program says where there is no card.

use std::process::Command;

use xd::ml::cuda::Problem;

fn xd(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xd")).args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), said)
}

#[test]
fn a_device_that_is_not_there_is_refused_before_anything_is_computed() {
    let problem = match xd::ml::cuda::cards() {
        Ok(cards) if cards.len() > 1 => return eprintln!("SKIPPED: this machine has {} cards", cards.len()),
        Ok(cards) => Problem::NoSuchCard { wanted: 1, found: cards.len() },
        Err(problem) => problem,
    };
    let folder = tempfile::tempdir().unwrap();
    xd(folder.path(), &["new", "first"]);
    for verb in ["run", "plan"] {
        let (status, said) = xd(folder.path(), &[verb, "first.xd", "--device", "cuda:1"]);
        assert_eq!(status, Some(2), "{said}");
        assert!(
            said.contains("xd::no_device") && said.contains(&format!("cuda:1 cannot be used: {problem}")),
            "{said}"
        );
        let said: Vec<&str> = said.split_whitespace().collect();
        let help: Vec<&str> = problem.help().split_whitespace().take(6).collect();
        assert!(said.join(" ").contains(&help.join(" ")), "the next step: {said:?}");
        assert!(!folder.path().join("runs").exists());
    }
    let (status, said) = xd(folder.path(), &["run", "first.xd", "--device", "gpu"]);
    assert!(status == Some(1) && said.contains("it is cpu, cuda or cuda:N"), "{status:?} {said}");
    let (_, said) = xd(folder.path(), &["doctor"]);
    assert!(said.contains(&format!("cuda    {problem}")) || xd::ml::cuda::cards().is_ok(), "{said}");
}
