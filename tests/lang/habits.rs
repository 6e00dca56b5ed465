//! Habits of other languages and slips of the hand: each line with the message that it is answered with.

use xd::lang::Sources;
use xd::lang::syntax::parse;

/// Lines at the top of a file.
const ITEMS: &[&str] = &[
    "param k",
    "param k =",
    "param k = # later",
    "param = 3",
    "param of = 3",
    "param k = 5.",
    "param k = .5",
    "param k = +5",
    "param k = 1.2.3",
    "param k = 50 %",
    "param k = a b",
    "param k = 2**10",
    "param k = j * 2",
    "param k = (32 * 2304) / 2",
    "param k = f(x) + 1",
    "param k = 3 − 1",
    "param k = “x”",
    "param k = x?",
    "param k := 3",
    "param k = 3; param j = 4",
    "param α = 1",
    "param k = 50k",
    "param k = 3bn",
    "param k = 0x10",
    "param k = 1e",
    "param k = 20min",
    "param k = 32X",
    "param k = true && false",
    "param k = \"a\\q\"",
    "param k = \"{a\"",
    "param k = \"a}\"",
    "param k = \"{}\"",
    "use lib as x",
    "use \"lib.xd\"",
    "seed = 3",
    "crosscoder",
    "- item",
    "* item",
    "let k = 3",
    "import lib",
    "print(k)",
    "xd one",
    "crosscoder cc for in [1] {}",
    "crosscoder cc for a [1] {}",
    "crosscoder cc for a in {}",
    "crosscoder cc with x {}",
    "crosscoder cc extends dd {}",
    "crosscoder cc() {}",
    "crosscoder cc = {}",
    "crosscoder cc {} crosscoder dd {}",
    "crosscoder my-cc {}",
    "/* a comment */",
    "-- a comment",
];

/// Lines inside a block.
const FIELDS: &[&str] = &[
    "layer: 13",
    "layer 13",
    "layer",
    "layer =",
    "layer == 13",
    "layer = 13,",
    "layer = 13;",
    "layer = 4,096",
    "layer => 13",
    "my layer = 13",
    "\"layer\" = 13",
    "train: { a = 1",
    "train = { a = 1 }",
    "a = {\"k\": 8}",
    "a = [1 2]",
    "a = [1,,2]",
    "a = f(, x)",
    "a = ()",
    "a = cc[]",
    "a = cc[0]",
    "a = cc[loss == l1]",
    "a = f(x: 3)",
    "a = f(x =)",
    "a = (b = 1)",
    "a = b = 3",
    "a = 0...3",
    "a = 0..",
    "a = x <",
    "a = 0.1 < x < 0.5",
    "a = x and y",
    "a = x if y else z",
    "a = $x",
    "a = !x",
    "a = 50M tokens of",
    "a = 50 M tokens of web",
    "a = 50Mtokens",
    "a = None",
    "a = True",
    "a = 'x'",
    "a = x // why",
    "a = lambda x",
    "a = #ff8800",
    "a = 1, b = 2",
    "a = 1e999",
    "a = nan",
];

#[test]
fn every_habit_has_its_message() {
    let mut out = String::new();
    let lines = ITEMS
        .iter()
        .map(|l| (*l, format!("xd 1\n{l}\n")))
        .chain(FIELDS.iter().map(|l| (*l, format!("xd 1\nkind name {{\n  {l}\n}}\n"))));
    for (line, text) in lines {
        let mut sources = Sources::default();
        let file = sources.add("a.xd", &text);
        let (_, found) = parse(file, &text);
        assert!(!found.is_empty(), "{line} is a mistake");
        out += &format!("{line}\n");
        for diagnostic in found {
            let place = &text[diagnostic.span.start..diagnostic.span.end];
            out += &format!(
                "    {}: {}\n    at `{place}`: {}\n",
                diagnostic.code.slug(),
                diagnostic.message,
                diagnostic.label
            );
            out += &diagnostic.help.map_or(String::new(), |help| format!("    help: {help}\n"));
        }
        out.push('\n');
    }
    insta::assert_snapshot!(out);
}
