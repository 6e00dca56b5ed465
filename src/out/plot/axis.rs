//! From cells to places: linear, logarithmic and categorical axes with their ticks.

use crate::out::number;

/// A tick. Minor ones have no label and no grid line.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub label: String,
    pub minor: bool,
}

/// Values `low..high` along one side of a panel. Category `i` of a categorical axis spans `i - 0.5 .. i + 0.5`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    pub log: bool,
    pub ticks: Vec<Tick>,
    pub title: String,
    pub categories: bool,
}

impl Axis {
    /// Linear. `ticks` are used when some are given, else round ones about `spacing` apart of a side `length` pixels long.
    pub fn linear(low: f64, high: f64, ticks: &[f64], count: usize, title: String) -> Self {
        let (low, high) = apart(low, high);
        let chosen = if ticks.is_empty() { round_ticks(low, high, count) } else { ticks.to_vec() };
        let inside: Vec<f64> = chosen.into_iter().filter(|t| inside(*t, low, high)).collect();
        let labels = labels(&inside);
        let ticks = inside.into_iter().zip(labels).map(|(at, label)| Tick { at, label, minor: false }).collect();
        Self { low, high, log: false, ticks, title, categories: false }
    }

    /// Logarithmic with decades; both ends must be positive.
    pub fn log(low: f64, high: f64, title: String) -> Self {
        // Air around the smallest numbers there are would reach zero, whose logarithm has no end.
        let (low, high) = (low.clamp(1e-300, 1e300), high.clamp(1e-300, 1e300));
        let (low, high) = if high > low * (1.0 + 1e-9) { (low, high) } else { (low / 2.0, high * 2.0) };
        Self { low, high, log: true, ticks: decades(low, high), title, categories: false }
    }

    pub fn categories(names: &[String], title: String) -> Self {
        let tick = |(i, name): (usize, &String)| Tick { at: i as f64, label: name.clone(), minor: false };
        let ticks = names.iter().enumerate().map(tick).collect();
        let high = names.len().max(1) as f64 - 0.5;
        Self { low: -0.5, high, log: false, ticks, title, categories: true }
    }

    /// Place along the axis: 0 at `low`, 1 at `high`; outside of that range for values outside.
    pub fn place(&self, value: f64) -> f64 {
        if self.log {
            let value = value.max(f64::MIN_POSITIVE);
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    pub fn contains(&self, value: f64) -> bool {
        inside(value, self.low, self.high)
    }
}

/// Ends that differ enough for ticks between them: a single value, or a range lost in rounding, is given room.
pub fn apart(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-9 {
        return (low, high);
    }
    let room = if size == 0.0 { 0.5 } else { (size * 0.1).min(0.5).max(size * 1e-3) };
    (low - room, high + room)
}

fn inside(value: f64, low: f64, high: f64) -> bool {
    let slack = (high - low) * 1e-9;
    value >= low - slack && value <= high + slack
}

/// 1, 2, 2.5 or 5 times a power of ten, not less than `step`.
pub fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10f64.powi(step.log10().floor() as i32);
    let choices = [1.0, 2.0, 2.5, 5.0, 10.0];
    choices.iter().map(|c| c * power).find(|c| *c >= step * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Multiples of a round step within the range, as near to `count` of them as round steps allow.
pub fn round_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let ends = |step: f64| ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    let aim = (high - low) / count.max(1) as f64;
    let far = |step: &f64| {
        let (first, last) = ends(*step);
        last.saturating_sub(first).saturating_add(1).abs_diff(count as i64)
    };
    let steps = [round_step(aim / 2.0), round_step(aim / 1.4), round_step(aim)];
    let step = steps.into_iter().rev().min_by_key(far).unwrap_or(aim);
    let (first, last) = ends(step);
    (first..=last.min(first.saturating_add(50))).map(|i| multiple(i, step)).collect()
}

/// `i * step`, rounded so that 3 * 0.1 is 0.3.
pub fn multiple(i: i64, step: f64) -> f64 {
    let value = i as f64 * step;
    format!("{value:.12e}").parse().unwrap_or(value)
}

fn decades(low: f64, high: f64) -> Vec<Tick> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let span = high.log10() - low.log10();
    let every = ((last - first) / 8 + 1).max(1);
    let powers = low.log10().round() < -3.0 || high.log10().floor() > 11.0;
    let mut ticks = Vec::new();
    for decade in first..=last {
        let base: f64 = format!("1e{decade}").parse().unwrap_or(1.0);
        for factor in 1..10 {
            let at = base * f64::from(factor);
            if !inside(at, low, high) {
                continue;
            }
            let named = match factor {
                1 => decade.rem_euclid(every) == 0,
                2 | 5 => span < 1.5,
                _ => span < 0.3,
            };
            if named {
                ticks.push(Tick { at, label: power_label(factor, decade, powers), minor: false });
            } else if span < 6.0 || factor == 1 {
                ticks.push(Tick { at, label: String::new(), minor: true });
            }
        }
    }
    ticks
}

/// Plain numbers, or on an axis of very small or large ones powers of ten throughout.
fn power_label(factor: i32, decade: i32, powers: bool) -> String {
    match decade {
        -3..=3 if !powers => number::short(format!("{factor}e{decade}").parse().unwrap_or(0.0)).replace('-', "−"),
        4..=11 if !powers => large(f64::from(factor) * 10f64.powi(decade)),
        0 => factor.to_string(),
        _ if factor == 1 => format!("10{}", superscript(decade)),
        _ => format!("{factor}·10{}", superscript(decade)),
    }
}

fn superscript(n: i32) -> String {
    n.to_string().chars().map(raised).collect()
}

/// A digit or a minus, raised.
pub fn raised(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    }
}

/// Tick labels with the same number of decimals, thousands as K, M and B.
fn labels(ticks: &[f64]) -> Vec<String> {
    let largest = ticks.iter().fold(0.0f64, |m, t| m.max(t.abs()));
    if largest >= 10_000.0 {
        return ticks.iter().map(|t| large(*t)).collect();
    }
    if largest > 0.0 && largest < 1e-3 {
        return ticks.iter().map(|t| number::significant(*t, 3).replace('-', "−")).collect();
    }
    ticks.iter().map(|t| number::significant(*t, 6).replace('-', "−")).collect()
}

fn large(x: f64) -> String {
    let (unit, letter) = match x.abs() {
        a if a >= 1e12 => (1e12, "T"),
        a if a >= 1e9 => (1e9, "B"),
        a if a >= 1e6 => (1e6, "M"),
        a if a >= 1e3 => (1e3, "K"),
        _ => (1.0, ""),
    };
    number::significant(x / unit, 4).replace('-', "−") + letter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels_of(axis: &Axis) -> String {
        axis.ticks.iter().filter(|t| !t.minor).map(|t| t.label.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The air below 5e-324 is zero: the ticks went on down to the decade -2147483648.
    #[test]
    fn a_log_axis_from_zero_ends() {
        for (low, high) in [(0.0, 1.0), (0.0, 0.0), (5e-324, f64::INFINITY)] {
            let axis = Axis::log(low, high, String::new());
            assert!(axis.ticks.len() < 7_000 && axis.low > 0.0 && axis.high.is_finite(), "{low} {high}");
        }
    }

    #[test]
    fn ticks_are_round() {
        let linear = |low, high| labels_of(&Axis::linear(low, high, &[], 5, String::new()));
        assert_eq!(linear(0.0, 1.0), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(linear(-0.3, 1.1), "0 0.5 1");
        assert_eq!(linear(0.0, 23_000.0), "0 5K 10K 15K 20K");
        assert_eq!(linear(0.0, 3_000_000.0), "0 1M 2M 3M");
        assert_eq!(linear(5.0, 5.0), "4.6 4.8 5 5.2 5.4");
        assert_eq!(linear(0.0, 4e-6), "0 1e-6 2e-6 3e-6 4e-6".replace('-', "−"));
        let delta = Axis::linear(0.0, 1.0, &[0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0], 5, String::new());
        assert_eq!(labels_of(&delta), "0 0.1 0.4 0.5 0.6 0.9 1");
    }

    #[test]
    fn decades_are_named() {
        assert_eq!(labels_of(&Axis::log(0.7, 2000.0, String::new())), "1 10 100 1000");
        assert_eq!(labels_of(&Axis::log(1e-6, 1e-2, String::new())), "10⁻⁶ 10⁻⁵ 10⁻⁴ 10⁻³ 10⁻²");
        assert_eq!(labels_of(&Axis::log(1.0, 12.0, String::new())), "1 2 5 10");
        assert_eq!(labels_of(&Axis::log(10.0, 1e7, String::new())), "10 100 1000 10K 100K 1M 10M");
    }

    #[test]
    fn places_run_from_0_to_1() {
        let log = Axis::log(1.0, 100.0, String::new());
        assert!((log.place(10.0) - 0.5).abs() < 1e-12);
        let words = Axis::categories(&["a".into(), "b".into()], String::new());
        assert_eq!((words.place(0.0), words.place(1.0)), (0.25, 0.75));
    }
}
