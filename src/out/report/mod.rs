//! One self-contained HTML page about a run: results first, then everything that is needed to trust and repeat them.

mod browser;
mod data;
mod example_choice;
mod latents;
mod pack;

use std::path::Path;

use minijinja::{AutoEscape, Environment, Value};

pub use data::{
    Cost, Declaration, Definition, Expectation, Fact, Field, Input, LossInForce, Note, Param, ReportData, ReportFigure,
    ReportTable, Script, Step, TableCell, TableHeader,
};
pub use example_choice::ExampleChoice;
pub use latents::{
    EXAMPLE_TOKENS, EXAMPLES_OF_LATENT, LatentColumn, LatentStep, Match, Matches, NUMBERS, ReportExample,
    ReportLatents, STEERING_SAMPLES, SteeringSample, TokenGroup, Twin, Word, spread,
};

use super::error::{Error, Result};
use super::number;
use super::plot::{escape, font};

const TEMPLATE: &str = include_str!("report.html");
const LATENTS: &str = include_str!("latents.html");

const LIGHT: &str = include_str!("style/light.css");
const DARK: &str = include_str!("style/dark.css");
const STYLES: [&str; 3] =
    [include_str!("style/page.css"), include_str!("style/latents.css"), include_str!("style/print.css")];

/// In the order in which they need one another.
const SCRIPTS: [&str; 15] = [
    include_str!("script/element.js"),
    include_str!("script/number.js"),
    include_str!("script/theme.js"),
    include_str!("script/tables.js"),
    include_str!("script/unpack.js"),
    include_str!("script/column.js"),
    include_str!("script/examples.js"),
    include_str!("script/latents.js"),
    include_str!("script/drawings.js"),
    include_str!("script/card.js"),
    include_str!("script/grid.js"),
    include_str!("script/filters.js"),
    include_str!("script/browser.js"),
    include_str!("script/printing.js"),
    include_str!("script/main.js"),
];

/// The page. It loads nothing: style, script, fonts and figures are inside.
pub fn html(data: &ReportData) -> Result<String> {
    let failed = |e: minijinja::Error| Error::Template(format!("{e:#}"));
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("prose", |text: String| Value::from_safe_string(prose(&text)));
    environment.add_filter("code", |text: String| Value::from_safe_string(code(&text)));
    environment.add_filter("href", |path: String| href(&path));
    environment.add_filter("component", |text: String| href(&text).replace('/', "%2F"));
    environment.add_filter("anchor", |name: String| anchor(&name));
    environment.add_filter("grouped", number::grouped);
    environment.add_filter("seconds", seconds);
    environment.add_filter("bytes", bytes);
    environment.add_filter("times", |ratio: f64| format!("{}×", number::significant(ratio, 2)));
    environment.add_template("latents.html", LATENTS).map_err(failed)?;
    environment.add_template("report.html", TEMPLATE).map_err(failed)?;
    let template = environment.get_template("report.html").map_err(failed)?;
    let page = minijinja::context! {
        data => Value::from_serialize(data),
        style => Value::from_safe_string(style()),
        script => Value::from_safe_string(script()),
        latents => browser::entries(&data.latents)?,
        costs => total(&data.costs),
        passed => data.expectations.iter().filter(|e| e.passed).count(),
        computed => data.steps.iter().filter(|s| !s.cached && s.error.is_empty()).count(),
        failed => data.steps.iter().filter(|s| !s.error.is_empty()).count(),
    };
    template.render(page).map_err(failed)
}

/// Writes [`html`] to a file.
pub fn write(data: &ReportData, path: &Path) -> Result<()> {
    std::fs::write(path, html(data)?).map_err(Error::io(path))
}

/// Dark is for screens: where the system asks for it, unless the reader chose light, and where the reader chose it.
fn style() -> String {
    let dark = format!(
        "@media screen and (prefers-color-scheme: dark) {{\n:root:not([data-theme=light]) {{\n{DARK}}}\n\
         :root:not([data-theme=light]) :is(.xd-marks, .swatch) {{ filter: brightness(1.3); }}\n}}\n\
         @media screen {{\n:root[data-theme=dark] {{\n{DARK}}}\n\
         :root[data-theme=dark] :is(.xd-marks, .swatch) {{ filter: brightness(1.3); }}\n}}\n"
    );
    format!("{}\n:root {{\n{LIGHT}}}\n{dark}{}", font::css(), STYLES.join("\n"))
}

/// All scripts in a scope of their own.
fn script() -> String {
    format!("(() => {{\n\"use strict\";\n{}}})();", SCRIPTS.join("\n"))
}

fn total(costs: &[Cost]) -> Value {
    let mut total = Cost::default();
    for cost in costs {
        total.predicted_seconds += cost.predicted_seconds;
        total.measured_seconds += cost.measured_seconds;
        total.predicted_bytes += cost.predicted_bytes;
        total.measured_bytes += cost.measured_bytes;
        total.predicted_memory = total.predicted_memory.max(cost.predicted_memory);
        total.measured_memory = total.measured_memory.max(cost.measured_memory);
    }
    Value::from_serialize(total)
}

/// Paragraphs parted by blank lines, with code between backticks.
fn prose(text: &str) -> String {
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
            _ => paragraphs.push(String::new()),
        }
    }
    let filled = paragraphs.iter().filter(|p| !p.is_empty());
    filled.map(|p| format!("<p>{}</p>", with_code(p))).collect::<Vec<_>>().join("\n")
}

fn with_code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() % 2 == 1;
    let mut html = String::new();
    for (i, part) in parts.iter().enumerate() {
        if i % 2 == 1 && paired {
            html += &format!("<code>{}</code>", escape(part));
        } else {
            html += &escape(part);
            if !paired && i + 1 < parts.len() {
                html.push('`');
            }
        }
    }
    html
}

/// Numbered lines of a script; comments stand back, doc comments a little less.
fn code(text: &str) -> String {
    let mut html = String::new();
    for line in text.lines() {
        let start = comment_start(line);
        let (before, comment) = line.split_at(start.unwrap_or(line.len()));
        let class = if comment.starts_with("##") { "doc" } else { "comment" };
        let comment =
            if comment.is_empty() { String::new() } else { format!("<i class=\"{class}\">{}</i>", escape(comment)) };
        html += &format!("<span class=\"line\">{}{comment}</span>\n", escape(before));
    }
    html
}

/// Byte index of the first `#` outside of a string.
fn comment_start(line: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

/// A relative path as a link: never a scheme, everything unusual percent-encoded.
fn href(path: &str) -> String {
    let mut link = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => link.push(byte as char),
            _ => link += &format!("%{byte:02X}"),
        }
    }
    link
}

fn anchor(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect()
}

/// `0.42 s`, `12.3 s`, `3 min 20 s`, `2 h 5 min`.
fn seconds(time: f64) -> String {
    match time {
        t if t < 0.01 => "< 0.01 s".to_owned(),
        t if t < 60.0 => format!("{} s", number::significant(t, if t < 10.0 { 2 } else { 3 })),
        t if t < 3600.0 => format!("{} min {:.0} s", (t / 60.0).floor(), (t % 60.0).floor()),
        t => format!("{} h {:.0} min", (t / 3600.0).floor(), (t % 3600.0 / 60.0).floor()),
    }
}

fn bytes(count: u64) -> String {
    match count as f64 {
        n if n < 1e3 => format!("{n} B"),
        n if n < 1e6 => format!("{} kB", number::significant(n / 1e3, 3)),
        n if n < 1e9 => format!("{} MB", number::significant(n / 1e6, 3)),
        n => format!("{} GB", number::significant(n / 1e9, 3)),
    }
}

#[cfg(test)]
mod tests;
