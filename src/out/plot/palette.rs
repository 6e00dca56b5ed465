//! Colours with fixed meanings, safe for the colour-blind (Okabe and Ito; purple and orange of ColorBrewer's PuOr).

use std::fmt;

/// sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

impl Color {
    /// Whether black letters on it are easier to read than white ones.
    pub fn is_light(self) -> bool {
        // 0.22 favours white a little on saturated colours.
        self.luminance() > 0.22
    }

    /// Relative luminance of WCAG 2.
    fn luminance(self) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    fn towards(self, other: Self, share: f64) -> Self {
        let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}

/// The colour of marks that no column colours.
pub const PLAIN: Color = Color(0x33, 0x66, 0x99);

/// The colour of the tuned model.
pub const TUNED: Color = Color(0xd5, 0x5e, 0x00);

/// Words with a colour and a place in legends of their own, in this order.
const KNOWN: &[(&str, Color)] = &[
    ("base_only", Color(0x00, 0x72, 0xb2)),
    ("shared", Color(0x00, 0x9e, 0x73)),
    ("tuned_only", Color(0xd5, 0x5e, 0x00)),
    ("other", Color(0x9a, 0x9f, 0xa6)),
    ("base", Color(0x00, 0x72, 0xb2)),
    ("tuned", Color(0xd5, 0x5e, 0x00)),
    ("joint", Color(0x55, 0x55, 0x55)),
    ("specific", Color(0x1f, 0x8a, 0x9e)),
    ("shrinkage", Color(0xdd, 0xaa, 0x33)),
    ("decoupling", Color(0xaa, 0x88, 0xdd)),
    ("both", Color(0xbb, 0x55, 0x66)),
    ("inactive", Color(0xa8, 0xad, 0xb3)),
    ("twin", Color(0xaa, 0x44, 0x99)),
    ("random", Color(0x9a, 0x9f, 0xa6)),
    ("control", Color(0x88, 0x22, 0x55)),
    ("non_control", Color(0x9a, 0x9f, 0xa6)),
    ("bos", Color(0x33, 0x22, 0x88)),
    ("user", Color(0x44, 0xaa, 0x99)),
    ("assistant", Color(0xe6, 0x9f, 0x00)),
    ("text", Color(0x66, 0x66, 0x66)),
    ("l1", Color(0xe0, 0x7b, 0x00)),
    ("batch_topk", Color(0x5e, 0x3c, 0x99)),
    ("topk", Color(0x3d, 0x9c, 0xd2)),
    ("jumprelu", Color(0x99, 0x99, 0x33)),
    ("true", Color(0xd5, 0x5e, 0x00)),
    ("false", Color(0x9a, 0x9f, 0xa6)),
];

/// For all other words, in order of appearance; the last four are of Tol's muted scheme.
const CYCLE: [Color; 12] = [
    Color(0x00, 0x72, 0xb2),
    Color(0xd5, 0x5e, 0x00),
    Color(0x00, 0x9e, 0x73),
    Color(0xcc, 0x79, 0xa7),
    Color(0xe6, 0x9f, 0x00),
    Color(0x56, 0xb4, 0xe9),
    Color(0x88, 0x22, 0x55),
    Color(0x66, 0x66, 0x66),
    Color(0x33, 0x22, 0x88),
    Color(0x99, 0x99, 0x33),
    Color(0x44, 0xaa, 0x99),
    Color(0xdd, 0xcc, 0x77),
];

/// Place of a word among the known ones; words of a sweep such as `l1(weight = 3e-2)` count as `l1`.
pub fn rank(word: &str) -> usize {
    known(word).unwrap_or(KNOWN.len())
}

/// The colour of a word that has one of its own.
pub fn own(word: &str) -> Option<Color> {
    known(word).map(|at| KNOWN[at].1)
}

/// One colour for each word. Known words have theirs; those that share a name (`l1(weight = 1e-2)`, `l1(weight = 3e-2)`) have
/// shades of it from dark to light; other words have the colours that are left.
pub fn colors(words: &[String]) -> Vec<Color> {
    let known: Vec<Option<usize>> = words.iter().map(|w| known(w)).collect();
    if words.len() == 1 && known[0].is_none() {
        return vec![PLAIN];
    }
    let taken: Vec<Color> = known.iter().flatten().map(|at| KNOWN[*at].1).collect();
    let free: Vec<Color> = CYCLE.into_iter().filter(|c| !taken.contains(c)).collect();
    let mut unknown = 0;
    let mut colors = Vec::new();
    for (i, place) in known.iter().enumerate() {
        let Some(at) = place else {
            colors.push(free[unknown % free.len().max(1)]);
            unknown += 1;
            continue;
        };
        let sharing = known.iter().filter(|k| *k == place).count();
        let before = known[..i].iter().filter(|k| *k == place).count();
        colors.push(shade(KNOWN[*at].1, before, sharing));
    }
    colors
}

/// Shade `i` of `count`, from darker to lighter; a colour that is dark itself is the darkest.
fn shade(color: Color, i: usize, count: usize) -> Color {
    if count == 1 {
        return color;
    }
    let (black, white) = (Color(0, 0, 0), Color(0xff, 0xff, 0xff));
    let place = i as f64 / (count - 1) as f64;
    if color.luminance() < 0.12 {
        return color.towards(white, place * 0.6);
    }
    let place = place - 0.5;
    color.towards(if place < 0.0 { black } else { white }, place.abs() * 0.9)
}

fn known(word: &str) -> Option<usize> {
    let name = word.split('(').next().unwrap_or(word).trim();
    KNOWN.iter().position(|(w, _)| *w == name)
}

/// Dark blue to yellow for amounts, `share` in 0..1 (anchors of matplotlib's viridis).
pub fn amount(share: f64) -> Color {
    const STOPS: [Color; 9] = [
        Color(0x44, 0x01, 0x54),
        Color(0x47, 0x2d, 0x7b),
        Color(0x3b, 0x52, 0x8b),
        Color(0x2c, 0x72, 0x8e),
        Color(0x21, 0x91, 0x8c),
        Color(0x28, 0xae, 0x80),
        Color(0x5e, 0xc9, 0x62),
        Color(0xad, 0xdc, 0x30),
        Color(0xfd, 0xe7, 0x25),
    ];
    blend(&STOPS, share)
}

/// Grey to the colour of the base model: strength of a pull, legible on white and on black.
pub fn strength(share: f64) -> Color {
    blend(&[Color(0x8f, 0x94, 0x9b), Color(0x4f, 0x86, 0xa8), Color(0x00, 0x72, 0xb2)], share)
}

/// Blue over white to red for signed amounts, 0.5 is zero (ColorBrewer's RdBu).
pub fn signed(share: f64) -> Color {
    const STOPS: [Color; 7] = [
        Color(0x21, 0x66, 0xac),
        Color(0x67, 0xa9, 0xcf),
        Color(0xd1, 0xe5, 0xf0),
        Color(0xf7, 0xf7, 0xf7),
        Color(0xfd, 0xdb, 0xc7),
        Color(0xef, 0x8a, 0x62),
        Color(0xb2, 0x18, 0x2b),
    ];
    blend(&STOPS, share)
}

fn blend(stops: &[Color], share: f64) -> Color {
    let place = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let below = (place.floor() as usize).min(stops.len() - 2);
    stops[below].towards(stops[below + 1], place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Vec<String> {
        colors(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).iter().map(Color::to_string).collect()
    }

    #[test]
    fn classes_and_losses_keep_their_colours_whatever_else_is_shown() {
        assert_eq!(of(&["tuned_only", "shared"]), ["#d55e00", "#009e73"]);
        assert_eq!(of(&["tuned_only"]), ["#d55e00"]);
        assert_eq!(of(&["l1(weight = 3e-2)", "batch_topk"]), ["#e07b00", "#5e3c99"]);
        assert_eq!(of(&["l1(weight = 3e-2)", "batch_topk", "l1(weight = 1e-2)"]), ["#7b4400", "#5e3c99", "#eeb673"]);
        assert_eq!(of(&["random", "twin"]), ["#9a9fa6", "#aa4499"]);
        assert_eq!(of(&["0", "1"]), ["#0072b2", "#d55e00"]);
        assert_eq!(of(&["x", "tuned_only", "y"]), ["#0072b2", "#d55e00", "#009e73"]);
    }

    #[test]
    fn verdicts_share_no_colour_with_other_words() {
        for verdict in ["specific", "shrinkage", "decoupling", "both", "inactive"] {
            let sharing: Vec<&str> =
                KNOWN.iter().filter(|(_, color)| own(verdict) == Some(*color)).map(|(word, _)| *word).collect();
            assert_eq!(sharing, [verdict]);
        }
    }

    #[test]
    fn scales_end_at_their_anchors() {
        assert_eq!(amount(0.0).to_string(), "#440154");
        assert_eq!(amount(1.0).to_string(), "#fde725");
        assert_eq!(signed(0.5).to_string(), "#f7f7f7");
    }
}
