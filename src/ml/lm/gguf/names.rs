//! llama.cpp's names of tensors and those of the decoder's parts.

const WHOLE: &[(&str, &str)] = &[
    ("token_embd.weight", "embedding.weight"),
    ("output_norm.weight", "norm.weight"),
    ("output.weight", "head.weight"),
];

const BLOCK: &[(&str, &str)] = &[
    ("attn_k", "k"),
    ("attn_k_norm", "k_norm"),
    ("attn_norm", "attention_norm"),
    ("attn_output", "o"),
    ("attn_q", "q"),
    ("attn_q_norm", "q_norm"),
    ("attn_v", "v"),
    ("ffn_down", "down"),
    ("ffn_gate", "gate"),
    ("ffn_norm", "mlp_norm"),
    ("ffn_up", "up"),
    ("post_attention_norm", "attention_post_norm"),
    ("post_ffw_norm", "mlp_post_norm"),
];

/// The part that a tensor is, or `None` for one that no decoder here has.
pub(super) fn part(name: &str) -> Option<String> {
    if let Some((_, part)) = WHOLE.iter().find(|(stored, _)| *stored == name) {
        return Some(part.to_string());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (stored, what) = rest.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (_, part) = BLOCK.iter().find(|(name, _)| *name == stored)?;
    matches!(what, "weight" | "bias").then(|| format!("layers.{layer}.{part}.{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_a_number_and_parts() {
        assert_eq!(part("blk.3.ffn_norm.weight").as_deref(), Some("layers.3.mlp_norm.weight"));
        assert_eq!(part("blk.12.attn_q.bias").as_deref(), Some("layers.12.q.bias"));
        assert_eq!(part("output.weight").as_deref(), Some("head.weight"));
        assert_eq!(part("blk.0.ffn_gate_exps.weight"), None);
        assert_eq!(part("blk.x.attn_q.weight"), None);
    }
}
