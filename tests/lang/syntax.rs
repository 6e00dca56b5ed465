//! Text to tree: what correct files read as, and that no text at all can make the parser fail.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use xd::lang::FileId;
use xd::lang::diagnostic::{Code, Diagnostic, Severity};
use xd::lang::syntax::parse;
use xd::lang::syntax::tree::*;

/// A file with every piece of the syntax.
pub const EVERYTHING: &str = r#"## What chat tuning added.
## Second line.

xd 1                                   # edition line, first
use "lib/chat.xd" as chat              # local file
## How many latents fire.
param k = 100
pair toy = synthetic(width = 32)

# a plain comment
model base_lm = pretrain(on = [50M tokens of books, 10K tokens of chat.talk], layers = 4, length = 2 epochs)
crosscoder cc for loss in [l1(weight = 3e-2), batch_topk(k = k)], train.seed in 0..3 {
  on      = acts
	latents = 8x	# after a tab
  init.norm = 1.0
  train { batch = 512 tokens }
  train.optimizer {
    adam = -0.5

    name = "delta {train.seed} {{x}} \"q\""
  }
}
crosscoder zip for (loss, init.norm) in [(l1(weight = 3e-2), 0.3), (topk(k = 3), 1.0)] { on = acts }
classify classes {
  of = cc[loss = l1, train.seed = 0]
  base_only = 0.0..0.1
  tuned_only = 0.9..=1.0
  terms = [
    auxk(weight = 0.03125),  # one a line
    best = top(50%, by = nu.rank),
    # own line
  ]
  where = [abs(x) < 0.2, class != shared]
}
expect better = truth[loss = batch_topk].recall > mean(nu.x, where = classes.class == tuned_only)
expect exact = count(a[b = c].d) == 0
"#;

fn read(text: &str) -> File {
    let (tree, found) = parse(FileId(0), text);
    assert!(found.is_empty(), "{found:#?}");
    tree
}

/// The mistakes of a text, each as `line:column code message`.
fn mistakes(text: &str) -> Vec<String> {
    let mut sources = xd::lang::Sources::default();
    let file = sources.add("a.xd", text);
    let show = |d: &Diagnostic| {
        let (line, column) = sources.position(file, d.span.start);
        format!("{line}:{column} {} {}", d.code.slug(), d.message)
    };
    parse(file, text).1.iter().map(show).collect()
}

fn field<'t>(tree: &'t File, declaration: &str, path: &str) -> &'t Value {
    let declaration = tree.declarations.iter().find(|d| d.name.text == declaration).expect("declared");
    let Body::Fields(fields) = &declaration.body else { panic!("a block") };
    let joined = |p: &Path| p.parts.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(".");
    match &fields.iter().find(|f| joined(&f.path) == path).expect("a field").body {
        Body::Value(value) => value,
        Body::Fields(_) => panic!("a value"),
    }
}

#[test]
fn everything_is_read() {
    let tree = read(EVERYTHING);
    assert_eq!(tree.docs.as_deref(), Some("What chat tuning added.\nSecond line."));
    assert_eq!(tree.edition.as_ref().map(|e| e.number), Some(1));
    assert_eq!(tree.uses.len(), 1);
    assert_eq!(tree.uses[0].alias.text, "chat");
    let names: Vec<_> = tree.declarations.iter().map(|d| format!("{} {}", d.kind.text, d.name.text)).collect();
    let expected = "param k, pair toy, model base_lm, crosscoder cc, crosscoder zip, classify classes, expect better, expect exact";
    assert_eq!(names.join(", "), expected);
    assert_eq!(tree.declarations[0].docs.as_deref(), Some("How many latents fire."));
    assert_eq!(tree.declarations[1].docs, None);
    assert_eq!(tree.declarations[3].axes.len(), 2);
    assert_eq!(tree.declarations[4].axes[0].fields.len(), 2);
    assert!(
        matches!(&field(&tree, "cc", "latents").kind, ValueKind::Quantity(q) if q.value == 8.0 && q.suffix == Some(Suffix::Times))
    );
    assert!(
        matches!(&field(&tree, "classes", "of").kind, ValueKind::Reference(r) if r.selectors.as_ref().is_some_and(|s| s.len() == 2))
    );
    assert!(matches!(&field(&tree, "classes", "tuned_only").kind, ValueKind::Range { inclusive: true, .. }));
    assert!(
        matches!(&field(&tree, "classes", "terms").kind, ValueKind::List(e) if e.len() == 2 && e[1].label.is_some())
    );
    assert!(
        matches!(&field(&tree, "classes", "where").kind, ValueKind::List(e) if matches!(e[0].value.kind, ValueKind::Comparison { .. }))
    );
}

#[test]
fn numbers_are_exact() {
    for (typed, value) in [
        ("50M tokens", 5e7),
        ("73_728", 73728.0),
        ("0.5", 0.5),
        ("4.1e-2", 0.041),
        ("0.3K", 300.0),
        ("50%", 0.5),
        ("0.1%", 0.001),
        ("1e2%", 1.0),
        ("2.5B tokens", 2.5e9),
        ("1T", 1e12),
        ("-0.5", -0.5),
        ("32x", 32.0),
    ] {
        let tree = read(&format!("xd 1\nparam a = {typed}\n"));
        let Body::Value(Value { kind: ValueKind::Quantity(quantity), .. }) = &tree.declarations[0].body else {
            panic!("{typed}")
        };
        assert_eq!(quantity.value, value, "{typed}");
    }
}

#[test]
fn strings_are_cut_into_pieces() {
    let tree = read(EVERYTHING);
    let Body::Fields(fields) = &tree.declarations[3].body else { panic!() };
    let Body::Fields(inner) = &fields[4].body else { panic!() };
    let Body::Value(Value { kind: ValueKind::Text(text), .. }) = &inner[1].body else { panic!() };
    assert_eq!(text.pieces.len(), 3);
    assert_eq!(text.pieces[0], Piece::Literal("delta ".to_string()));
    assert!(matches!(&text.pieces[1], Piece::Insert(path) if path.parts.len() == 2));
    assert_eq!(text.pieces[2], Piece::Literal(" {x} \"q\"".to_string()));
}

#[test]
fn line_ends_and_marks_of_other_systems() {
    let windows = EVERYTHING.replace('\n', "\r\n");
    assert_eq!(read(&windows).declarations.len(), 8);
    assert_eq!(read(&windows).docs, read(EVERYTHING).docs);
    let marked = format!("\u{FEFF}{EVERYTHING}");
    assert_eq!(read(&marked).declarations.len(), 8);
    assert_eq!(read(&marked).docs, read(EVERYTHING).docs);
    assert_eq!(read(EVERYTHING.trim_end()).declarations.len(), 8);
}

#[test]
fn docs_of_the_file_and_of_declarations() {
    let docs = |text: &str| {
        let tree = read(text);
        (tree.docs, tree.declarations.into_iter().map(|d| d.docs).collect::<Vec<_>>())
    };
    let some = |s: &str| Some(s.to_string());
    assert_eq!(docs("xd 1\n## file\n\nparam a = 1\n"), (some("file"), vec![None]));
    assert_eq!(docs("xd 1\n## of a\nparam a = 1\n"), (None, vec![some("of a")]));
    assert_eq!(
        docs("## file\nxd 1\n## of a\n# plain\n## more\nparam a = 1\n"),
        (some("file"), vec![some("of a\nmore")])
    );
    assert_eq!(docs("xd 1\n## file\n\n## of a\nparam a = 1\n"), (some("file"), vec![some("of a")]));
    assert_eq!(docs("xd 1\nparam a = 1\n## of b\n\nparam b = 1\n"), (None, vec![None, some("of b")]));
    assert_eq!(docs("xd 1\nparam a = 1 ## beside\nparam b = 1\n"), (None, vec![None, None]));
}

#[test]
fn one_message_a_mistake_and_all_of_them() {
    let text = "xd 1\nactivations acts {\n  layer: 13\n  context = 1024 tokens,\n  skip = 'x'\n}\ncrosscoder cc {\n  latents = 32 * 2304\n  k = None\n  train { batch = 50m }\n}\nif x {\n  a = 1\n}\n";
    let expected = [
        "3:8 unreadable a value is given with `=`, not with a colon",
        "4:24 unreadable a line does not end with a comma",
        "5:10 unreadable a string stands in double quotes",
        "8:13 unreadable xd does not calculate",
        "9:7 unreadable `None` is not a value of xd",
        "10:21 bad_multiplier `m` is not a multiplier",
        "12:1 unreadable `if` is a word of another language",
    ];
    assert_eq!(mistakes(text), expected);
    let (tree, _) = parse(FileId(0), text);
    let Body::Fields(fields) = &tree.declarations[0].body else { panic!() };
    assert_eq!(fields.len(), 3, "broken fields stay, with a broken value");
}

#[test]
fn a_forgotten_bracket_costs_one_message() {
    let after = "param z = 1\n";
    for (text, expected) in [
        ("crosscoder cc {\n  on = acts\n\n## docs\n", "2:15 unclosed this block is never closed"),
        ("crosscoder cc {\n  train {\n    batch = 3\n}\n", "3:9 unclosed this block is never closed"),
        ("crosscoder cc {\n  a = [1, 2\n  b = 3\n}\n", "3:7 unclosed this list is never closed"),
        ("crosscoder cc {\n  a = [\n    1,\n    x = f(2),\n  b = 3\n}\n", "3:7 unclosed this list is never closed"),
        ("crosscoder cc {\n  a = f(g(1)  # why\n  b = 3\n}\n", "3:8 unclosed this parenthesis is never closed"),
        ("crosscoder cc {\n  a = [f(1, 2]\n}\n", "3:9 unclosed this parenthesis is never closed"),
        ("crosscoder cc {\n  a = \"x\n  b = 3\n}\n", "3:7 unclosed this string has no second quote on its line"),
        ("crosscoder cc {\n  a = f(\"x, 3)\n  b = 3\n}\n", "3:9 unclosed this string has no second quote on its line"),
        ("crosscoder cc {\n  a = (1, 2]\n}\n", "3:12 unclosed `(` is closed by `]`"),
        ("crosscoder cc {\n  a = 1)\n}\n", "3:8 unreadable this `)` closes nothing"),
        ("crosscoder cc {\n  a = 1\n}\n}\n", "5:1 unreadable this `}` closes nothing"),
    ] {
        let text = format!("xd 1\n{text}{after}");
        assert_eq!(mistakes(&text), [expected], "{text}");
        let (tree, _) = parse(FileId(0), &text);
        assert_eq!(tree.declarations.last().map(|d| d.name.text.as_str()), Some("z"), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = format!("xd 1\nparam a = {}\n", "[".repeat(100_000));
    let (_, found) = parse(FileId(0), &deep);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, Code::Unreadable);
}

#[test]
fn a_long_broken_file_is_read_in_no_time() {
    let line = "  a = [[(1, 2 3), {x}], f(g(h(i j)))] * 3\n";
    let text = format!("xd 1\ncrosscoder cc {{\n{}}}\n", line.repeat(500));
    let begun = std::time::Instant::now();
    let (_, found) = parse(FileId(0), &text);
    assert_eq!(found.len(), 500);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

/// Everything that must hold of any text.
fn survives(text: &str) {
    let (_, found) = parse(FileId(0), text);
    for diagnostic in found {
        let Diagnostic { span, message, .. } = &diagnostic;
        assert!(span.start <= span.end && span.end <= text.len(), "{diagnostic:?} in {text:?}");
        assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{diagnostic:?} in {text:?}");
        assert!(!message.is_empty() && !message.ends_with('.'), "{message}");
    }
}

fn errors(text: &str) -> usize {
    parse(FileId(0), text).1.iter().filter(|d| d.severity == Severity::Error).count()
}

/// Leave out any one character of a good file: at most four messages, nearly always one.
#[test]
fn a_forgotten_character_does_not_cascade() {
    let mut several = 0;
    for at in (0..EVERYTHING.len()).step_by(2) {
        let spoiled = format!("{}{}", &EVERYTHING[..at], &EVERYTHING[at + 1..]);
        let errors = errors(&spoiled);
        assert!(errors <= 4, "{errors} errors without byte {at}:\n{spoiled}\n{:#?}", mistakes(&spoiled));
        several += usize::from(errors >= 2);
    }
    assert!(several <= 25, "{several} characters whose absence is reported more than once");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(2504), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in "\\PC*") {
        survives(&text);
    }

    #[test]
    fn any_soup_of_signs_is_survived(text in "[ \\n\\r\\t#\"'{}()\\[\\]=<>!.,:;*/+%x0-9a-eMK\\\\\u{1a}é≤-]{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_soup_of_words_is_survived(words in prop::collection::vec(prop::sample::select(vec![
        "xd 1", "use", "as", "for", "in", "of", "crosscoder", "cc", " ", "  ", "\n", "\n\n", "{", "}", "[", "]", "(", ")",
        "=", "==", ",", "..", "..=", ".", "\"", "\"a\"", "50M", "tokens", "32x", "#", "##", "\\", "{k}", "é", "-", "*", "//",
    ]), 0..80)) {
        survives(&words.concat());
    }

    #[test]
    fn a_spoiled_file_is_survived(at in 0usize..EVERYTHING.len(), length in 0usize..40, put in "[ \\n{}()\\[\\]\"=,.a#*-]{0,4}") {
        let end = (at + length).min(EVERYTHING.len());
        if EVERYTHING.is_char_boundary(at) && EVERYTHING.is_char_boundary(end) {
            survives(&format!("{}{put}{}", &EVERYTHING[..at], &EVERYTHING[end..]));
        }
    }
}
