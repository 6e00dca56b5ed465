//! The habits that lead to a line nobody can read, one function each: what stands at the place of the mistake, and the words
//! that teach. Each answers `None` when the mistake is none of its own.

use super::mistake::{Found, Place};
use super::reader::*;
use crate::lang::diagnostic::Code;

pub(super) fn comment_of_another_language(typed: &str, at: usize) -> Option<Found> {
    let rest = &typed[at..];
    let mark = ["//", "/*", "<!--", "--"].into_iter().find(|m| rest.starts_with(m))?;
    if mark == "--" && rest[2..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(Found::new(
        at..first_line(typed, at),
        format!("a comment begins with `#`, not with `{mark}`"),
        "meant as a comment",
        "write `# ..`; `## ..` documents the next declaration",
    ))
}

/// A sentence about a statement of another language, by its first word.
pub(super) fn foreign_statement(word: &str) -> Option<&'static str> {
    Some(match word {
        "if" | "else" | "elif" | "match" | "switch" | "unless" => {
            "there are no conditions: what a run does can be read off the file"
        }
        "for" | "while" | "loop" | "repeat" | "foreach" => {
            "there are no loops: a sweep is an axis of its declaration, `crosscoder cc for train.seed in 0..3 { .. }`"
        }
        "def" | "fn" | "func" | "function" | "lambda" | "class" | "struct" | "return" | "async" => {
            "there are no functions: what a run does can be read off the file; to use something twice, declare it and refer to it by name"
        }
        "let" | "var" | "const" | "val" | "set" | "global" => {
            "a value that the command line may change is `param name = value`; anything else is a declaration of its kind"
        }
        "import" | "from" | "include" | "require" | "load" => {
            "another file of xd is imported with `use \"lib/chat.xd\" as chat`"
        }
        "print" | "echo" | "assert" | "del" | "try" | "with" | "yield" | "raise" => {
            "there are no commands: results are declared with `table`, `plot` and `expect`"
        }
        _ => return None,
    })
}

pub(super) fn statement(typed: &str, place: Place) -> Option<Found> {
    if !matches!(place, Place::Declaration | Place::Field) {
        return None;
    }
    let first = word(typed);
    let after = typed[first.len()..].trim_start();
    if first.is_empty() || (place == Place::Field && after.starts_with(['=', ':'])) {
        return None;
    }
    let help = foreign_statement(first)?;
    Some(Found::new(0..first.len(), format!("`{first}` is a word of another language"), "not part of xd", help))
}

pub(super) fn edition(typed: &str, place: Place) -> Option<Found> {
    if place != Place::Edition {
        return None;
    }
    Some(Found::new(0..typed.len(), "this edition line cannot be read", "expected `xd 1`", Place::Edition.form()))
}

pub(super) fn head_of_declaration(typed: &str, at: usize, place: Place) -> Option<Found> {
    if place == Place::Import {
        let quoted = typed.contains('"');
        let help =
            if quoted { "give it a name to be referred to by: `use \"lib/chat.xd\" as chat`" } else { place.form() };
        let from = if typed[at..].trim().is_empty() { 0 } else { at };
        return Some(Found::new(from..token_end(typed, at), "this import cannot be read", "here", help));
    }
    if place != Place::Declaration {
        return None;
    }
    let (first, second) = words(typed);
    if first.is_empty() {
        if typed.starts_with("- ") {
            return Some(Found::new(0..1, "this is the list of another language", "not part of xd", place.form()));
        }
        return None;
    }
    let path = leading_path(typed);
    let after = typed[path.len()..].trim_start_matches([' ', '\t']);
    if first == "param" && second.is_empty() && typed[at..].is_ascii() {
        let help = "write `param k = 100`; others refer to it by that name";
        return Some(Found::new(0..first.len(), "this `param` has no name", "param without a name", help));
    }
    if second.is_empty() && after.starts_with(['=', ':']) && !after.starts_with("==") {
        let help = if after[1..].trim_start().starts_with('{') {
            format!("a declaration has a kind and a name: `crosscoder {first} {{ .. }}`")
        } else {
            format!(
                "a field stands inside the block of its declaration; a value that the command line may change is `param {first} = ..`"
            )
        };
        return Some(Found::new(
            0..path.len(),
            format!("`{path}` stands outside any declaration"),
            "a field without a declaration",
            help,
        ));
    }
    if second.is_empty() && after.starts_with('{') {
        let message = format!("this `{first}` has no name");
        return Some(Found::new(
            0..first.len(),
            message,
            "kind without a name",
            format!("write `{first} my_name {{ .. }}`; others refer to it by that name"),
        ));
    }
    if second.is_empty() && after.is_empty() {
        return Some(Found::new(
            0..first.len(),
            format!("`{first}` says nothing on a line of its own"),
            "expected a declaration",
            place.form(),
        ));
    }
    if structural(second) && !matches!(first, "xd" | "use") {
        let start = first.len() + (typed.len() - first.len() - typed[first.len()..].trim_start().len());
        return Some(Found::new(
            start..start + second.len(),
            format!("`{second}` cannot be a name"),
            "a word of the grammar",
            "the words `xd`, `use`, `as`, `for`, `in` and `of` are taken; choose another name",
        ));
    }
    None
}

/// `[]` where something must stand, `[1,,2]`, `f(, x)`.
pub(super) fn empty_brackets(typed: &str, at: usize, place: Place) -> Option<Found> {
    let rest = &typed[at..];
    let before = typed[..at].trim_end();
    let sign = rest.chars().next().filter(|c| matches!(c, ',' | ']' | ')'))?;
    let opened = before.chars().next_back().filter(|c| matches!(c, ',' | '[' | '('))?;
    if depth(before) == 0 {
        return None;
    }
    let message = match (opened, sign) {
        ('[', ']') if last_words(&before[..before.len() - 1]).is_empty() => return None,
        ('[' | '(', ']' | ')') => "these brackets are empty",
        _ => "an entry is missing before this",
    };
    let help = match opened {
        '[' if !last_words(&before[..before.len() - 1]).is_empty() => Place::Selector.form(),
        _ if place == Place::Selector => place.form(),
        _ => Place::Entry.form(),
    };
    Some(Found::new(at..at + 1, message, "nothing before it", help))
}

/// A `for` that is not followed by `field in values`.
pub(super) fn axis(typed: &str, at: usize, place: Place) -> Option<Found> {
    if place != Place::Declaration {
        return None;
    }
    let before = typed[..at].trim_end();
    let head = before.find(" for").filter(|n| !before[..*n].contains(['=', '{', '"']))?;
    let axes = &before[head..];
    // Behind the values of a whole axis something else is wrong.
    if depth(axes) != 0 || axes.ends_with([']', ')']) && axes.contains(" in ") {
        return None;
    }
    let (last, rest) = (last_words(before), &typed[at..]);
    if !(matches!(last, "for" | "in") || !axes.contains(" in")) || rest.trim().is_empty() {
        return None;
    }
    let message = match last {
        "for" => "this axis does not say which field it fills",
        "in" => "the values of this axis are missing",
        _ => "`in` is missing in this axis",
    };
    let form = "an axis is `for loss in [l1(..), batch_topk(..)]`, or `for train.seed in 0..3`";
    Some(Found::new(at..token_end(typed, at), message, "before this", form))
}

pub(super) fn selector(typed: &str, place: Place) -> Option<Found> {
    if place != Place::Selector || typed.contains('=') && !typed.contains("==") {
        return None;
    }
    if typed.contains("==") {
        let at = typed.find("==").unwrap_or(0);
        return Some(Found::new(at..at + 2, "a point is chosen with one `=`", "should be `=`", Place::Selector.form()));
    }
    Some(Found::new(
        0..typed.len(),
        format!("`{}` does not say which axis it chooses", typed.trim()),
        "axis missing",
        Place::Selector.form(),
    ))
}

pub(super) fn punctuation(typed: &str, at: usize, place: Place) -> Option<Found> {
    let rest = &typed[at..];
    let before = typed[..at].trim_end();
    let after = |n: usize| rest[n..].trim_start();
    let path = leading_path(typed);
    if rest.starts_with(":=") || rest.starts_with("=>") || rest.starts_with("->") || rest.starts_with("+=") {
        return Some(Found::new(
            at..at + 2,
            format!("a value is given with `=`, not with `{}`", &rest[..2]),
            "should be `=`",
            place.form(),
        ));
    }
    if rest.starts_with(':') {
        if after(1).starts_with('{') {
            return Some(Found::new(
                at..at + 1,
                "a block follows its name directly",
                "no colon here",
                format!("write `{path} {{ .. }}`"),
            ));
        }
        let value = first_line_text(after(1)).trim_end_matches([',', ';']);
        let help = if value.is_empty() {
            place.form().to_string()
        } else {
            format!("write `{} = {value}`", last_words(before))
        };
        return Some(Found::new(at..at + 1, "a value is given with `=`, not with a colon", "should be `=`", help));
    }
    if rest.starts_with(',') {
        if after(1).is_empty() {
            return Some(Found::new(
                at..at + 1,
                "a line does not end with a comma",
                "too much",
                "the line end is what parts two fields; commas stand only inside brackets",
            ));
        }
        let digits = |s: &str| s.chars().take_while(char::is_ascii_digit).count();
        if digits(after(1)) == 3 && before.ends_with(|c: char| c.is_ascii_digit()) {
            let number = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
            return Some(Found::new(
                at..at + 1,
                "digits are grouped with `_`, not with a comma",
                "should be `_`",
                format!("write `{number}_{}`", &after(1)[..3]),
            ));
        }
        return Some(Found::new(
            at..at + 1,
            "one field a line",
            "a comma does not part fields",
            "put what follows on a line of its own; several values in one field are a list, `[a, b]`",
        ));
    }
    if rest.starts_with(';') {
        return Some(Found::new(
            at..at + 1,
            "a line does not end with a semicolon",
            "too much",
            "the line end is what parts two fields",
        ));
    }
    if rest.starts_with('{') && after(1).starts_with('"') {
        return Some(Found::new(
            at..at + 1,
            "there are no dictionaries in xd",
            "names in quotes",
            "arguments with names stand in parentheses, without quotes: `batch_topk(k = 100)`",
        ));
    }
    if rest.starts_with('{') && before.ends_with('=') {
        return Some(Found::new(
            at..at + 1,
            "a block follows its name without `=`",
            "this block",
            format!("write `{} {{ .. }}` with one field a line", before.trim_end_matches('=').trim()),
        ));
    }
    if rest.starts_with('{') {
        return Some(Found::new(
            at..at + 1,
            "a block cannot stand here",
            "expected a value",
            "braces hold the fields of a declaration; a list of values is `[a, b]`, arguments are `f(a, key = b)`",
        ));
    }
    if rest.starts_with('>') && typed[..at].ends_with('=') {
        return Some(Found::new(
            at - 1..at + 1,
            "a value is given with `=`, not with `=>`",
            "should be `=`",
            place.form(),
        ));
    }
    if let Some(sign) = ["<=", ">=", "==", "!=", "<", ">"].into_iter().find(|s| rest.starts_with(s)) {
        if place == Place::Field && before == path && sign == "==" {
            return Some(Found::new(
                at..at + 2,
                "a value is given with one `=`",
                "should be `=`",
                format!("write `{path} = ..`; `==` compares"),
            ));
        }
        if [" < ", " > ", "<=", ">=", "==", "!="].iter().any(|s| before.contains(s)) {
            return Some(Found::new(
                at..at + sign.len(),
                "one comparison at a time",
                "a second comparison",
                "write a list of both, `[nu > 0.1, nu < 0.5]`; all of them must hold",
            ));
        }
    }
    if rest.starts_with('=') && before.contains('=') {
        return Some(Found::new(at..at + 1, "a second `=` on one line", "here", "one field a line; `==` compares"));
    }
    None
}

pub(super) fn arithmetic(typed: &str, at: usize) -> Option<Found> {
    let rest = &typed[at..];
    let before = typed[..at].trim_end();
    let sign = ["**", "//", "*", "+", "-", "/", "^", "%", "×", "·"].into_iter().find(|s| rest.starts_with(s))?;
    let left = match before.strip_suffix(')') {
        Some(inside) => &before[opening(inside)..],
        None => before.rsplit([' ', '\t', '=', '(', '[', ',']).next().unwrap_or(""),
    };
    if left.is_empty() {
        return None;
    }
    let after = rest[sign.len()..].trim_start();
    let right = after.split([' ', '\t', ')', ']', ',', '*', '+', '/', '\n']).next().unwrap_or("");
    if sign == "-"
        && !left.starts_with(|c: char| c.is_ascii_digit())
        && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic())
        && !before.ends_with(' ')
        && typed[..at].ends_with(|c: char| !c.is_whitespace())
    {
        let name = format!("{left}_{right}").replace('-', "_");
        return Some(Found::new(
            at..at + 1,
            "a name has no hyphen",
            "not part of a name",
            format!("words are joined with `_`: `{name}`; a name from outside stands in quotes"),
        ));
    }
    if sign == "%" && right.is_empty() {
        return Some(Found::new(
            at..at + 1,
            "a percent sign is glued to its number",
            "a space too many",
            format!("write `{left}%`"),
        ));
    }
    let start = before.len() - left.len();
    let end = (at + (rest.len() - after.len()) + right.len()).min(typed.len());
    let help = match evaluate(left, sign, right) {
        Some(result) => format!("write the result, `{result}`: what a run does can be read off the file"),
        None => "write the result: what a run does can be read off the file. `32x` is 32 times the width; a value to vary is a `param`".to_string(),
    };
    Some(Found::new(start..end, "xd does not calculate", "arithmetic", help))
}

/// The result of arithmetic on whole numbers, digits grouped.
fn evaluate(left: &str, sign: &str, right: &str) -> Option<String> {
    let number = |s: &str| s.replace('_', "").parse::<i64>().ok();
    let (left, right) = (number(left)?, number(right)?);
    let result = match sign {
        "*" | "×" | "·" => left.checked_mul(right)?,
        "+" => left.checked_add(right)?,
        "-" => left.checked_sub(right)?,
        "/" if right != 0 && left % right == 0 => left / right,
        "**" | "^" => left.checked_pow(u32::try_from(right).ok()?)?,
        _ => return None,
    };
    Some(grouped(result))
}

/// `73_728`: digits grouped by three from ten thousand on.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digits.len() > 4 && (digits.len() - i) % 3 == 0 {
            out.push('_');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

pub(super) fn quotes(typed: &str, at: usize) -> Option<Found> {
    let rest = &typed[at..];
    let first = rest.chars().next().filter(|c| matches!(c, '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '«'))?;
    let closing = match first {
        '“' | '„' => '”',
        '‘' => '’',
        '«' => '»',
        c => c,
    };
    let inside = first.len_utf8();
    let length = rest[inside..].find(closing).map_or(inside, |n| inside + n + closing.len_utf8());
    let content = rest[inside..].split(closing).next().unwrap_or("").trim();
    let content = first_line_text(content);
    Some(Found::new(
        at..at + length,
        "a string stands in double quotes",
        "other quotes",
        format!("write `\"{content}\"`"),
    ))
}

pub(super) fn look_alike(typed: &str, at: usize) -> Option<Found> {
    let found = typed[at..].chars().next().filter(|c| !c.is_ascii())?;
    let help = match found {
        '≤' => "write `<=`".to_string(),
        '≥' => "write `>=`".to_string(),
        '≠' => "write `!=`".to_string(),
        '−' | '–' | '—' => "write the minus sign of the keyboard, `-`".to_string(),
        '…' => "a range is written with two full stops, `0..3`".to_string(),
        '\u{A0}' | '\u{2009}' | '\u{202F}' | '\u{200B}' => {
            "this is a special space, perhaps copied from a page; write a plain one".to_string()
        }
        _ => "words of a file are of the letters a to z, digits and `_`; anything may stand in quotes and comments"
            .to_string(),
    };
    Some(Found::new(
        at..at + found.len_utf8(),
        format!("`{found}` cannot be read here"),
        "not a character of the language",
        help,
    ))
}

pub(super) fn condition(typed: &str, at: usize) -> Option<Found> {
    let rest = &typed[at..];
    let first = word(rest);
    let (length, message, help) = match first {
        "if" | "else" | "unless" => (
            first.len(),
            "there are no conditions in xd",
            "what a run does can be read off the file; for two variants use an axis, `for loss in [.., ..]`",
        ),
        "and" | "or" | "not" | "xor" => (
            first.len(),
            "one comparison at a time",
            "write a list of comparisons, `[a > 1, b < 2]`; all of them must hold",
        ),
        _ if rest.starts_with("&&") || rest.starts_with("||") => {
            (2, "one comparison at a time", "write a list of comparisons, `[a > 1, b < 2]`; all of them must hold")
        }
        _ if rest.starts_with('?') => (1, "there are no conditions in xd", "what a run does can be read off the file"),
        _ if rest.starts_with('|') => {
            (1, "one comparison at a time", "write a list of comparisons, `[a > 1, b < 2]`; all of them must hold")
        }
        _ if rest.starts_with('$') => {
            (1, "a param is named without `$`", "write its name alone; in a string write `{name}`")
        }
        _ => return None,
    };
    Some(Found::new(at..at + length, message, "here", help))
}

pub(super) fn number_form(typed: &str, at: usize) -> Option<Found> {
    let rest = &typed[at..];
    let before = typed[..at].trim_end();
    let digit = |c: char| c.is_ascii_digit();
    if rest.starts_with('.') && before.ends_with("..") {
        return Some(Found::new(
            at..at + 1,
            "a range is written with two full stops",
            "one too many",
            "write `0..3`, or `0..=3` with its end",
        ));
    }
    if rest.starts_with('.') && rest[1..].starts_with(digit) {
        if before.ends_with(digit) {
            return Some(Found::new(
                at..token_end(typed, at + 1),
                "this number has two decimal points",
                "here",
                "a number is written like `0.5` or `4.1e-2`",
            ));
        }
        return Some(Found::new(
            at..token_end(typed, at + 1),
            "a number begins with a digit",
            "here",
            format!("write `0{}`", &typed[at..token_end(typed, at + 1)]),
        ));
    }
    if rest.starts_with('.') && before.ends_with(digit) && typed[..at].ends_with(digit) {
        return Some(Found::new(
            at..at + 1,
            "digits are missing after the decimal point",
            "here",
            "write `5.0`, or `5`; a range is `0..5`",
        ));
    }
    if rest.starts_with('+') && rest[1..].trim_start().starts_with(digit) {
        return Some(Found::new(at..at + 1, "a positive number has no sign", "too much", "leave the `+` out"));
    }
    // `50 M tokens`: the unit rule read `M`, and `tokens` is one word too many.
    let previous = before.rsplit([' ', '\t']).next().unwrap_or("");
    if matches!(previous, "K" | "M" | "B" | "T" | "k" | "m" | "b" | "t" | "million" | "billion" | "thousand")
        && !word(rest).is_empty()
    {
        let ahead = before[..before.len() - previous.len()].trim_end();
        if ahead.ends_with(digit) {
            let start = before.len() - previous.len();
            let number = ahead.rsplit([' ', '=', '[', '(', ',']).next().unwrap_or("");
            let letter = previous[..1].to_uppercase().replace("THOUSAND", "K");
            let letter = if previous == "thousand" { "K".to_string() } else { letter };
            return Some(Found {
                code: Code::BadMultiplier,
                ..Found::new(
                    start..before.len(),
                    "a multiplier is glued to its number",
                    "a space too many",
                    format!("write `{number}{letter} {}`", word(rest)),
                )
            });
        }
    }
    None
}

pub(super) fn nothing_left(typed: &str, at: usize, place: Place) -> Option<Found> {
    if !typed[at..].trim().is_empty() {
        return None;
    }
    let before = typed.trim_end();
    let end = before.len();
    let start = before.char_indices().next_back().map_or(0, |(n, _)| n);
    let found = match before.chars().next_back()? {
        '=' => Found::new(
            start..end,
            "a value is missing after `=`",
            "nothing follows",
            "give it a value; `#` begins a comment, so a colour such as \"#ff8800\" stands in quotes",
        ),
        '<' | '>' => Found::new(
            start..end,
            "this comparison has no right side",
            "nothing follows",
            "compare with a number or with another column",
        ),
        '.' => Found::new(
            start..end,
            "this line ends too early",
            "nothing follows",
            "a range is `0..3`; a member is `cc.l0`",
        ),
        _ if before.ends_with(" of") => Found::new(
            end - 2..end,
            "the corpus of this portion is missing",
            "nothing follows",
            "a portion is `50M tokens of fineweb`",
        ),
        _ if before.ends_with(" for") => Found::new(
            end - 3..end,
            "the axis is missing after `for`",
            "nothing follows",
            "an axis is `for loss in [l1(..), batch_topk(..)]`",
        ),
        _ if before.ends_with(" in") => Found::new(
            end - 2..end,
            "the values of this axis are missing",
            "nothing follows",
            "an axis is `for loss in [l1(..), batch_topk(..)]`",
        ),
        _ if place == Place::Field => {
            let path = leading_path(before);
            Found::new(
                0..path.len().max(1),
                format!("`{path}` has no value"),
                "value missing",
                format!("write `{path} = ..`"),
            )
        }
        _ => Found::new(start..end, "this line ends too early", "more was expected", place.form()),
    };
    Some(found)
}

pub(super) fn reserved(typed: &str, at: usize) -> Option<Found> {
    let found = word(&typed[at..]);
    if typed[at..].starts_with('"') && at == 0 {
        let end = token_end(typed, at);
        let name = typed[1..end].trim_end_matches('"');
        return Some(Found::new(
            at..end,
            "names stand without quotes",
            "quotes around a name",
            format!("write `{name} = ..`"),
        ));
    }
    if !structural(found) {
        return None;
    }
    let before = typed[..at].trim_end();
    if found == "for" && !before.is_empty() {
        return Some(Found::new(
            at..at + 3,
            "an axis belongs to the head of a declaration",
            "not here",
            "write `kind name for field in [..] { .. }`",
        ));
    }
    if found == "of" {
        return Some(Found::new(
            at..at + 2,
            "`of` stands between an amount and a corpus only",
            "not here",
            "a portion is `50M tokens of fineweb`",
        ));
    }
    Some(Found::new(
        at..at + found.len(),
        format!("`{found}` cannot stand here"),
        "a word of the grammar",
        "the words `xd`, `use`, `as`, `for`, `in` and `of` are taken; choose another name",
    ))
}

pub(super) fn side_by_side(typed: &str, at: usize, place: Place) -> Option<Found> {
    let rest = &typed[at..];
    let next = rest.chars().next()?;
    let value = next.is_ascii_alphanumeric() || matches!(next, '_' | '"' | '[' | '(');
    if !value || at == 0 {
        return None;
    }
    let end = token_end(typed, at);
    let path = leading_path(typed);
    let before = typed[..at].trim_end();
    if before == path && place == Place::Field {
        let assigned = rest.find('=').filter(|n| word(rest).len() >= rest[..*n].trim_end().len());
        if assigned.is_some() {
            let joined = format!("{path}_{}", word(rest));
            return Some(Found::new(
                0..end,
                "the name of a field is one word",
                "two words",
                format!("words are joined with `_`: `{joined} = ..`"),
            ));
        }
        return Some(Found::new(
            at..end,
            format!("`=` is missing after `{path}`"),
            "a value without `=`",
            format!("write `{path} = {}`", first_line_text(rest)),
        ));
    }
    let inside = place != Place::Field && place != Place::Declaration || depth(before) > 0;
    if inside {
        return Some(Found::new(at..end, "a comma is missing between two entries", "before this one", place.form()));
    }
    if place == Place::Declaration && before.ends_with('}') {
        return Some(Found::new(
            at..end,
            "one declaration a line",
            "after the block",
            "put what follows on a line of its own",
        ));
    }
    if place == Place::Declaration {
        let (kind, name) = words(typed);
        let head = typed[..at].trim_end();
        if head.ends_with(name) && !head.contains(['=', '{']) {
            let third = &typed[at..end];
            return Some(Found::new(
                at..end,
                format!("`=` or `{{` is missing after `{kind} {name}`"),
                format!("did not expect `{third}`"),
                "a name is one word, joined with `_`; after it come `= value`, `{ fields }` or `for axes`",
            ));
        }
    }
    Some(Found::new(
        at..end,
        "two values beside each other",
        "one too many",
        "several values are a list, `[a, b]`; a number has one unit after it",
    ))
}

pub(super) fn unexpected(typed: &str, at: usize, place: Place) -> Found {
    let end = token_end(typed, at);
    let shown = typed[at..end].trim();
    let message = if shown.is_empty() {
        "this line cannot be read".to_string()
    } else {
        format!("`{shown}` cannot be read here")
    };
    Found::new(at..end, message, "here", place.form())
}
