// Included by the measured programs: where they compute, from `--device cpu|cuda|cuda:N` at the end of their arguments.

/// The arguments before, and the card if one is named.
fn arguments() -> std::result::Result<(Vec<String>, Option<usize>), String> {
    let mut arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == "--device") else { return Ok((arguments, None)) };
    let named = arguments.get(at + 1).cloned().ok_or("--device of what? cpu, cuda or cuda:N")?;
    arguments.truncate(at);
    let card = match named.split_once(':') {
        None if named == "cpu" => None,
        None if named == "cuda" => Some(0),
        Some(("cuda", number)) => Some(number.parse().map_err(|_| format!("`{named}` is no card"))?),
        _ => return Err(format!("`{named}` is not cpu, cuda or cuda:N")),
    };
    Ok((arguments, card))
}

/// Bytes of a card that are free now.
#[allow(dead_code, reason = "not every program that includes this runs on a card")]
fn free(card: usize) -> std::result::Result<u64, xd::ml::cuda::Problem> {
    let found = xd::ml::cuda::cards()?;
    let none = xd::ml::cuda::Problem::NoSuchCard { wanted: card, found: found.len() };
    found.into_iter().nth(card).map(|card| card.free).ok_or(none)
}
