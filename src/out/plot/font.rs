//! The font that xd ships: the same letters in SVG, PNG and the report, and the widths that layouts need.

use std::sync::{Arc, OnceLock};

use resvg::usvg::fontdb;

use crate::out::base64::base64;

/// As written into `font-family`. The first one is embedded; the others serve viewers that ignore embedded fonts.
pub const FAMILY: &str = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif";

static REGULAR: &[u8] = include_bytes!("../fonts/Inter-Regular.ttf");
static SEMI_BOLD: &[u8] = include_bytes!("../fonts/Inter-SemiBold.ttf");
static REGULAR_WEB: &[u8] = include_bytes!("../fonts/Inter-Regular.woff");
static SEMI_BOLD_WEB: &[u8] = include_bytes!("../fonts/Inter-SemiBold.woff");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    #[default]
    Regular,
    SemiBold,
}

/// `@font-face` rules with the fonts inside, for SVG files and the report.
pub fn css() -> &'static str {
    static CSS: OnceLock<String> = OnceLock::new();
    CSS.get_or_init(|| {
        let face = |weight: u16, bytes: &[u8]| {
            format!(
                "@font-face{{font-family:Inter;font-weight:{weight};src:url(data:font/woff;base64,{}) format('woff')}}",
                base64(bytes)
            )
        };
        face(400, REGULAR_WEB) + &face(600, SEMI_BOLD_WEB)
    })
}

/// How much wider the letters may be where a viewer ignores the embedded font (as pages that show an SVG as a picture do) and has none of the
/// others: DejaVu Sans is 3 to 8 % wider than Inter, and its bold 13 to 18 % than the semi-bold.
const SLACK: [f64; 2] = [1.08, 1.18];

/// Room for one line of text in pixels at this size, with [`SLACK`]. Letters that the font lacks count as one em's 0.6.
pub fn width(text: &str, size: f64, weight: Weight) -> f64 {
    static FACES: OnceLock<[Option<ttf_parser::Face<'static>>; 2]> = OnceLock::new();
    let faces =
        FACES.get_or_init(|| [ttf_parser::Face::parse(REGULAR, 0).ok(), ttf_parser::Face::parse(SEMI_BOLD, 0).ok()]);
    let face = &faces[usize::from(weight == Weight::SemiBold)];
    let advance = |letter: char| {
        let known = face.as_ref().and_then(|f| {
            let units = f.glyph_hor_advance(f.glyph_index(letter)?)?;
            Some(f64::from(units) / f64::from(f.units_per_em()))
        });
        known.unwrap_or(0.6)
    };
    text.chars().map(advance).sum::<f64>() * size * SLACK[usize::from(weight == Weight::SemiBold)]
}

/// Lines no wider than `room`, broken at spaces (and after `_ , ( / =` inside of words that are too long alone).
pub fn wrap(text: &str, size: f64, weight: Weight, room: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for piece in pieces(paragraph, size, weight, room) {
            let longer = format!("{line}{piece}");
            if !line.trim().is_empty() && width(longer.trim_end(), size, weight) > room {
                lines.push(line.trim_end().to_owned());
                line = piece.trim_start().to_owned();
            } else {
                line = longer;
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Where a line may break: after spaces, and after signs within words wider than the room.
fn pieces(text: &str, size: f64, weight: Weight, room: f64) -> Vec<String> {
    let mut pieces = Vec::new();
    for word in text.split_inclusive(' ') {
        if width(word.trim_end(), size, weight) <= room {
            pieces.push(word.to_owned());
        } else {
            pieces.extend(word.split_inclusive(['_', ',', '(', '/', '=', '-']).map(str::to_owned));
        }
    }
    pieces
}

/// The fonts for drawing PNG files: only the shipped ones, so that every machine makes the same picture.
pub(super) fn database() -> Arc<fontdb::Database> {
    static DATABASE: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut database = fontdb::Database::new();
        database.load_font_data(REGULAR.to_vec());
        database.load_font_data(SEMI_BOLD.to_vec());
        database.set_sans_serif_family("Inter");
        Arc::new(database)
    };
    DATABASE.get_or_init(load).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_sign_is_in_both_fonts() {
        for bytes in [REGULAR, SEMI_BOLD] {
            let face = ttf_parser::Face::parse(bytes, 0).unwrap();
            for letter in "Δνβεμσρ·×−±≤≥≠≈→…–—₀²⁻³⁰√".chars() {
                assert!(face.glyph_index(letter).is_some(), "{letter}");
            }
        }
        assert!(width("iiii", 10.0, Weight::Regular) < width("MMMM", 10.0, Weight::Regular));
    }

    #[test]
    fn lines_fit_their_room() {
        for line in wrap("batch_topk(k = 100, aux = 0.03125, dead_after = 10M tokens)", 11.0, Weight::Regular, 90.0) {
            assert!(width(&line, 11.0, Weight::Regular) <= 90.0, "{line}");
        }
    }
}
