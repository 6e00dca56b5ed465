//! "Did you mean": the one place that decides when two words are close enough to be worth a question.

/// The candidate closest to `word`, when it is close enough to be a likely slip: letters swapped, left out or doubled,
/// another case, a hyphen for an underscore, or one word the beginning of the other. Ties go to the earlier candidate.
pub fn suggest<I, S>(word: &str, candidates: I) -> Option<String>
where
    I: IntoIterator<Item = S>,
    S: AsRef<str>,
{
    let plain = |s: &str| s.to_lowercase().replace(['-', '_', ' '], "");
    let typed = plain(word);
    let length = typed.chars().count();
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let known = plain(candidate);
        let begins = length >= 3 && (known.starts_with(&typed) || (known.len() >= 3 && typed.starts_with(&known)));
        let allowed = match length.max(known.chars().count()) {
            0..=2 => 0,
            3..=4 => 1,
            5..=8 => 2,
            _ => 3,
        };
        let distance = strsim::damerau_levenshtein(&typed, &known);
        let distance = if begins { distance.min(allowed) } else { distance };
        if distance <= allowed && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, candidate.to_string()));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn slips_are_found() {
        let fields = ["on", "latents", "loss", "train", "variant"];
        assert_eq!(suggest("latnets", fields).as_deref(), Some("latents"));
        assert_eq!(suggest("Loss", fields).as_deref(), Some("loss"));
        assert_eq!(suggest("lattents", fields).as_deref(), Some("latents"));
        assert_eq!(suggest("batch-topk", ["l1", "topk", "batch_topk"]).as_deref(), Some("batch_topk"));
        assert_eq!(suggest("tuned", ["base_only", "tuned_only"]).as_deref(), Some("tuned_only"));
    }

    #[test]
    fn strangers_are_not() {
        assert_eq!(suggest("steering", ["on", "latents", "loss"]), None);
        assert_eq!(suggest("k", ["l", "on"]), None);
        assert_eq!(suggest("", ["on"]), None);
        assert_eq!(suggest("anything", Vec::<String>::new()), None);
    }

    #[test]
    fn the_closest_wins_and_then_the_first() {
        assert_eq!(suggest("fve_bas", ["fve_tuned", "fve_base"]).as_deref(), Some("fve_base"));
        assert_eq!(suggest("nu_errr", ["nu_erra", "nu_errb"]).as_deref(), Some("nu_erra"));
    }
}
