//! The canonical layout: what it looks like, that comments stay, that it changes nothing else and that it rests.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use xd::lang::FileId;
use xd::lang::syntax::{fmt, parse};

use crate::syntax::EVERYTHING;

/// The tree of a text without its places.
fn meaning(text: &str) -> String {
    let (tree, _) = parse(FileId(0), text);
    let shown = format!("{tree:?}");
    let mut out = String::new();
    let mut rest = shown.as_str();
    while let Some(at) = rest.find("Span {") {
        out += &rest[..at];
        let end = rest[at..].find('}').expect("closed") + at + 1;
        rest = &rest[end..];
    }
    out + rest
}

/// The comments of a text in the order of the text.
fn comments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' if before != '\\' => quoted = !quoted,
                '#' if !quoted => {
                    found.push(line[at..].trim_end().to_string());
                    break;
                }
                _ => {}
            }
            before = c;
        }
    }
    found
}

fn laid_out(text: &str) -> String {
    let once = fmt(text).expect("a good file");
    assert_eq!(fmt(&once).as_ref(), Ok(&once), "a second pass changes nothing");
    assert_eq!(meaning(&once), meaning(text), "the meaning stays:\n{text}\n--\n{once}");
    assert_eq!(comments(&once), comments(text), "the comments stay:\n{text}\n--\n{once}");
    assert!(!once.lines().any(|l| l.ends_with(' ')), "no blanks at line ends");
    once
}

#[test]
fn everything() {
    insta::assert_snapshot!(laid_out(EVERYTHING));
}

#[test]
fn untidy() {
    let text = r#"
## The file.

xd   1


use   "a.xd"   as   a
param k=100
param  depth  =  13   # of twenty-six
crosscoder cc   for loss in [ l1( weight=3e-2 ),batch_topk(k=k) , ],train.seed in 0 .. 3{
on=acts # raw
    latents   =32x   # times the width
  # about training


  train{batch=2048   tokens
  length = 2 epochs}
  clip { norm = 1.0 }


  where=[ abs( x )<0.2 ,
     class!=shared ]
} # done
# next
param last = cc [ loss = l1 ] .l0
table t{}
"#;
    insta::assert_snapshot!(laid_out(text));
}

#[test]
fn long_values_are_broken() {
    let text = r#"xd 1
crosscoder cc for loss in [l1(weight = 3e-2, reconstruction = mse), batch_topk(k = 100, aux = 0.03125, dead_after = 10M tokens)], train.seed in 0..3 {
  of = cc[loss = l1, train.seed = 0]
  columns = [class, count(), mean(nu_error), median(nu_reconstruction), specific = share(verdict == specific), low = share(verdict == inactive, where = class == tuned_only)]
  train = [400M tokens of fineweb, # web
     # chat follows
     100M tokens of lmsys]
}
expect a = mean(classes_of_everything[loss = batch_topk, train.seed = 0].control_share, where = class == tuned_only) > mean(classes_of_everything[loss = l1].control_share)
"#;
    insta::assert_snapshot!(laid_out(text));
}

#[test]
fn windows_and_marks_come_out_plain() {
    let text = format!("\u{FEFF}{}", EVERYTHING.replace('\n', "\r\n"));
    assert_eq!(fmt(&text).expect("good"), fmt(EVERYTHING).expect("good"));
}

#[test]
fn a_file_with_mistakes_is_left_alone() {
    let found = fmt("xd 1\nparam k = 32 * 2304\n").expect_err("arithmetic");
    assert_eq!(found.len(), 1);
    assert!(fmt("param k = 3\n").is_ok(), "a missing edition does not stop the layout");
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "100",
        "50M tokens",
        "32x",
        "50%",
        "-0.5",
        "4.1e-2",
        "acts",
        "chat.gemma",
        "\"a {k} # no comment\"",
        "0..3",
        "0.9..=1.0",
        "50M tokens of books",
        "cc[loss = l1, train.seed = 0].l0",
        "true",
    ])
    .prop_map(str::to_string);
    leaf.prop_recursive(3, 24, 5, |inner| {
        let entries = prop::collection::vec((prop::option::of("[a-z]{1,8}"), inner, 0usize..4), 0..5);
        (entries, prop::sample::select(vec!["[", "f(", "long_name.of_a_call("])).prop_map(|(entries, open)| {
            let mut out = open.to_string();
            for (label, value, gap) in entries {
                let label = label.filter(|l| !["xd", "use", "as", "for", "in", "of"].contains(&l.as_str()));
                out += &label.map_or(String::new(), |l| format!("{l}  ="));
                out += &value;
                out += ["", " ", "  # beside\n", "\n# own line\n\n"][gap];
                out += ",";
                out += ["", " ", "\n", "   # after\n"][gap];
            }
            out + if open == "[" { "]" } else { ")" }
        })
    })
}

fn field() -> impl Strategy<Value = String> {
    let gap = prop::sample::select(vec!["", "  # beside", "\n", "\n\n\n", "\n  # below"]);
    let compared = (value(), prop::option::of(value())).prop_map(|(a, b)| b.map_or(a.clone(), |b| format!("{a}<={b}")));
    ("[a-z]{2,12}(\\.[a-z]{2,5})?", compared, gap, 0usize..5).prop_map(|(path, value, gap, form)| match form {
        0 => format!("{path} {{ inner = {value} }}{gap}"),
        1 => format!("{path} {{\n inner   = {value}\n deeper = 1 }}{gap}"),
        _ => format!("{path}={value}{gap}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, rng_seed: RngSeed::Fixed(2922), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_file_rests_and_keeps_its_meaning(
        head in prop::sample::select(vec!["xd 1\n", "## file\n\nxd 1\n", "## file\nxd 1\n", "\n\nxd 1\n## file\n\n", "xd 1 # edition\n## of\n"]),
        items in prop::collection::vec((prop::collection::vec(field(), 0..4), 0usize..6, value()), 1..4),
    ) {
        let mut text = head.to_string();
        for (i, (fields, gap, value)) in items.into_iter().enumerate() {
            text += ["", "\n", "\n\n\n", "# plain\n", "## docs\n", "## docs\n\n# apart\n"][gap];
            text += &match fields.len() {
                0 => format!("param n{i} = {value}\n"),
                1 => format!("kind n{i} for loss in [1, 2], a.b in 0..3 {{ {}\n}}\n", fields[0]),
                _ => format!("kind n{i} {{\n{}\n}}  # end\n", fields.join("\n")),
            };
        }
        if parse(FileId(0), &text).1.is_empty() {
            laid_out(&text);
        } else {
            // What the generator spoils (a field named `of` in a value, say) must still be refused in one piece.
            prop_assert!(fmt(&text).is_err());
        }
    }
}
