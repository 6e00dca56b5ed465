//! What derived columns are called on an axis.

use super::labels::ColumnStyle;

/// A name alone.
pub fn plain(label: &str) -> ColumnStyle {
    ColumnStyle::new(label)
}

/// `|ν error|`.
pub fn absolute(style: ColumnStyle) -> ColumnStyle {
    let high = style.domain.map(|(low, high)| low.abs().max(high.abs()));
    ColumnStyle {
        label: format!("|{}|", style.label),
        domain: high.map(|high| (0.0, high)),
        ticks: Vec::new(),
        ..style
    }
}

/// `larger of |ν error| and |ν reconstruction|`.
pub fn largest(parts: &[ColumnStyle]) -> ColumnStyle {
    let names: Vec<&str> = parts.iter().map(|p| p.label.as_str()).collect();
    let word = if names.len() == 2 { "larger" } else { "largest" };
    let names = match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    };
    let unit = parts.first().map(|p| p.unit.clone()).filter(|unit| parts.iter().all(|p| p.unit == *unit));
    ColumnStyle { unit: unit.unwrap_or_default(), ..ColumnStyle::new(format!("{word} of {names}")) }
}

/// `rank by Δnorm, highest first`.
pub fn rank(style: &ColumnStyle, descending: bool) -> ColumnStyle {
    let first = if descending { "highest" } else { "lowest" };
    ColumnStyle::new(format!("rank by {}", style.label)).unit(format!("1 = {first}"))
}

/// What all names say before the comma (`β error, base`, `β error, tuned`), or all names.
pub fn overlaid(names: &[String]) -> ColumnStyle {
    let before = |name: &String| name.split_once(", ").map(|(start, _)| start.to_owned());
    let start = names.first().and_then(before);
    let shared = start.filter(|start| names.iter().all(|name| before(name).as_ref() == Some(start)));
    ColumnStyle::new(shared.unwrap_or_else(|| names.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_derived_columns() {
        let nu = |name: &str| ColumnStyle::new(name).unit("β base / β tuned");
        let both = largest(&[absolute(nu("ν error")), absolute(nu("ν reconstruction"))]);
        assert_eq!(both.label, "larger of |ν error| and |ν reconstruction|");
        assert_eq!(both.unit, "β base / β tuned");
        assert_eq!(absolute(ColumnStyle::new("cosine").domain(-1.0, 0.5)).domain, Some((0.0, 1.0)));
        assert_eq!(rank(&nu("ν error"), true).label, "rank by ν error");
        let names = |names: &[&str]| overlaid(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).label;
        assert_eq!(names(&["β error, base", "β error, tuned"]), "β error");
        assert_eq!(names(&["ν error", "cosine"]), "ν error and cosine");
    }
}
