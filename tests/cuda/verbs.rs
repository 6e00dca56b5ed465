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

#[test]
fn a_training_that_does_not_fit_into_a_card_is_refused_with_a_batch_that_does() {
    let folder = tempfile::tempdir().unwrap();
    xd(folder.path(), &["new", "first"]);
    let file = folder.path().join("first.xd");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("batch     = 512 tokens"));
    std::fs::write(&file, text.replace("batch     = 512 tokens", "batch     = 65536 tokens")).unwrap();
    let plan = |memory: &str| xd(folder.path(), &["plan", "first.xd", "--card-memory", memory]);
    let (status, said) = plan("80GB");
    assert!(status == Some(0) && said.contains("of the card with the 1 that train beside it"), "{said}");
    // That of Latent Scaling stands alone.
    assert!(said.lines().any(|line| line.contains("of the card, about")), "{said}");
    let (status, said) = plan("400MB");
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(status == Some(2) && flat.contains("xd::memory"), "{said}");
    assert!(flat.contains("of a card's memory, and the card has 400.0 MB free"), "{said}");
    let batch =
        flat.split("`train.batch = ").nth(1).and_then(|rest| rest.split('`').next()).expect("a batch that fits");
    std::fs::write(&file, text.replace("batch     = 512 tokens", &format!("batch     = {batch} tokens"))).unwrap();
    let (status, said) = plan("400MB");
    assert_eq!(status, Some(0), "a batch of {batch}: {said}");
    let (status, said) = plan("80");
    assert!(status == Some(1) && said.contains("80GB, 24GiB"), "{said}");
}

#[test]
fn models_that_do_not_fit_into_a_card_are_refused_before_they_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/quickstart.xd");
    let plan = |memory: &str| xd(folder.path(), &["plan", quickstart, "--card-memory", memory]);
    let (status, said) = plan("80GB");
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = plan("280MB");
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(status == Some(2) && flat.contains("xd::memory × acts takes"), "{said}");
    assert!(flat.contains("models with `dtype = bf16` take half"), "{said}");
}
