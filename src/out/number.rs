//! The one way in which xd writes a real number for people: at most six significant digits.

/// At most six significant digits without trailing zeros: `0.5`, `1234.57`, `123457`, `1.5e-7`, `3.2e15`. Powers of ten below
/// 1e-4 and from 1e15 on are written with an `e`. No locale, no minus zero; infinities are `inf` and `-inf`.
pub fn short(x: f64) -> String {
    significant(x, 6)
}

/// The same with another number of significant digits (1 to 17).
pub fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if !x.is_finite() {
        return if x.is_nan() {
            String::new()
        } else if x > 0.0 {
            "inf".to_owned()
        } else {
            "-inf".to_owned()
        };
    }
    let digits = digits.clamp(1, 17);
    let scientific = format!("{x:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        // Rounded once, by the scientific form; parsing that and printing it plainly gives the same digits.
        let places = (digits as i32 - 1 - exponent).max(0) as usize;
        let rounded: f64 = scientific.parse().unwrap_or(x);
        trim(&format!("{rounded:.places$}"))
    } else {
        format!("{}e{exponent}", trim(mantissa))
    }
}

/// With this many decimals, and no minus on a zero.
pub fn fixed(x: f64, places: usize) -> String {
    let text = format!("{x:.places$}");
    if text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.')) { text.trim_start_matches('-').to_owned() } else { text }
}

/// Trailing zeros after the point, and a bare point, removed.
fn trim(number: &str) -> String {
    if !number.contains('.') {
        return number.to_owned();
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whole numbers with commas between thousands, for prose: `73,728`.
pub fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hand_values() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (0.5, "0.5"),
            (1.0, "1"),
            (-2.25, "-2.25"),
            (1.0 / 3.0, "0.333333"),
            (1234.5678, "1234.57"),
            (123_456.7, "123457"),
            (12_345_678.0, "12345700"),
            (0.000_123_456_78, "0.000123457"),
            (0.000_012_345, "1.2345e-5"),
            (1e-7, "1e-7"),
            (1e15, "1e15"),
            (0.999_999_96, "1"),
            (9.999_999_6e-5, "0.0001"),
            (f64::INFINITY, "inf"),
        ];
        for (x, text) in cases {
            assert_eq!(short(x), text);
        }
        assert_eq!([fixed(-0.001, 2), fixed(-0.126, 2), fixed(3.0, 1)], ["0.00", "-0.13", "3.0"]);
        assert_eq!(grouped(-1_234_567), "-1,234,567");
        assert_eq!(grouped(999), "999");
    }

    proptest! {
        #[test]
        fn within_half_a_unit_of_the_sixth_digit(x in prop::num::f64::NORMAL) {
            let back: f64 = short(x).parse().unwrap();
            prop_assert!((back - x).abs() <= x.abs() * 5.000001e-6);
            prop_assert_eq!(short(back), short(x));
        }
    }
}
