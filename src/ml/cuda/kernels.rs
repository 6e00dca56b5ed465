//! The text of the CUDA kernels and their names.

/// Threads of every block.
pub const BLOCK: usize = 256;

/// Bins of a digit in `select.cu`.
pub const BINS: usize = 2048;

/// Places of a row that a block takes at once.
pub const SPAN: usize = 6 * BLOCK;

/// Rows that a block of `select.cu` goes through side by side.
pub const ROWS: usize = 4;

/// Sums of a span of a latent's row in `update.cu`.
pub const ROW_SUMS: usize = 4;

/// Sums of a latent in `scaling.cu`.
pub const SUMS: usize = 6;

/// All kernels in one text, for NVRTC.
pub const SOURCE: &str = concat!(
    include_str!("../kernels/prelude.cu"),
    include_str!("../kernels/sums.cu"),
    include_str!("../kernels/select.cu"),
    include_str!("../kernels/scores.cu"),
    include_str!("../kernels/rows.cu"),
    include_str!("../kernels/columns.cu"),
    include_str!("../kernels/update.cu"),
    include_str!("../kernels/median.cu"),
    include_str!("../kernels/scaling.cu"),
    include_str!("../kernels/decoder.cu"),
    include_str!("../kernels/attention.cu"),
    include_str!("../kernels/tensor.cu"),
    include_str!("../kernels/attention_bf16.cu"),
    include_str!("../kernels/predictions.cu"),
);

/// Every kernel of [`SOURCE`], ascending.
pub const NAMES: &[&str] = &[
    "activate",
    "add_streams",
    "allow_equals",
    "attend_128",
    "attend_256",
    "attend_64",
    "attend_narrow_128",
    "attend_narrow_256",
    "attend_narrow_64",
    "auxiliary_error",
    "bound_rows",
    "cap_values",
    "column_partials",
    "column_totals",
    "count_candidates",
    "count_entries",
    "count_idle",
    "count_scores",
    "decode",
    "dense_gradients",
    "dense_values",
    "distributions",
    "embed",
    "entry_gradients",
    "finish_latents",
    "finish_product",
    "flow_partials",
    "gradient_squares",
    "list_candidates",
    "list_flagged",
    "mark_fired",
    "measure_norms",
    "measure_rows",
    "median_moved",
    "median_next",
    "median_weights",
    "narrow_search",
    "normalize",
    "normalize_latents",
    "note_count",
    "penalize_entries",
    "place_entries",
    "predict",
    "project_entries",
    "reconstruct",
    "rotate",
    "round_numbers",
    "row_cuts",
    "scan",
    "score_histogram",
    "squared_norm",
    "start_search",
    "subtract_bias",
    "subtract_through",
    "sum_chunks",
    "sum_doubles",
    "sum_entries",
    "sum_flows",
    "take_error",
    "take_rows",
    "update_latents",
    "update_vector",
    "widen",
    "write_code",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_the_text_has_its_name_here() {
        let words: Vec<&str> = SOURCE.split("extern \"C\" __global__ void").skip(1).collect();
        let mut found: Vec<&str> = words
            .iter()
            .map(|text| {
                let text = text.trim_start().trim_start_matches("__launch_bounds__(BLOCK)").trim_start();
                &text[..text.find('(').unwrap_or(0)]
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, NAMES);
        assert!(SOURCE.contains(&format!("#define BLOCK {BLOCK}\n")));
        for (name, value) in
            [("BINS", BINS), ("SUMS", SUMS), ("ROWS", ROWS), ("ROW_SUMS", ROW_SUMS), ("EACH", SPAN / BLOCK)]
        {
            assert!(SOURCE.contains(&format!("#define {name} {value}\n")), "{name}");
        }
    }
}
