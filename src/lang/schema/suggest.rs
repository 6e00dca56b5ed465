//! "Did you mean": the known word nearest to a mistyped one.

/// The candidate that a person most likely meant, if one is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
        let allowed = 1 + candidate.len().min(word.len()) / 4;
        let similarity = strsim::jaro_winkler(&lower, &candidate.to_lowercase());
        if (distance <= allowed || similarity > 0.9) && best.is_none_or(|(score, _)| similarity > score) {
            best = Some((similarity, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typos_are_found_and_strangers_are_not() {
        assert_eq!(nearest("latnets", ["latents", "loss"]), Some("latents"));
        assert_eq!(nearest("nu_eror", ["nu_error", "nu_reconstruction"]), Some("nu_error"));
        assert_eq!(nearest("Loss", ["latents", "loss"]), Some("loss"));
        assert_eq!(nearest("banana", ["latents", "loss"]), None);
    }
}
