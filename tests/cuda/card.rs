//! The checks of the emulator on a real card: kernels, products, whole trainings, models and Latent Scaling. Where there is none each says so and
//! returns. What must be the same to the bit twice is run twice.

use std::sync::{Arc, OnceLock};

use xd::ml::cuda::{Gpu, Problem, open};

/// The first card, twice; none where there is none.
fn card() -> Vec<Arc<dyn Gpu>> {
    static CARD: OnceLock<Result<Arc<dyn Gpu>, Problem>> = OnceLock::new();
    match CARD.get_or_init(|| open(0)) {
        Ok(card) => vec![card.clone(), card.clone()],
        // A card that is there and does not work is no reason to skip.
        Err(problem @ Problem::Failed { .. }) => panic!("{problem}; {}", problem.help()),
        Err(problem) => {
            eprintln!("SKIPPED, nothing is tested on a card: {problem}");
            Vec::new()
        }
    }
}

crate::checks!(
    card(),
    kernels:
    the_largest_scores_of_a_batch_are_those_of_the_cpu_ties_included,
    the_largest_scores_of_each_row_are_those_of_the_cpu_among_all_and_among_some,
    scores_over_thresholds_are_those_of_the_cpu,
    codes_are_decoded_and_turned_round_as_their_definition_says,
    two_codes_that_share_no_latent_are_turned_round_together,
    sums_of_columns_and_of_numbers_are_those_of_f64,
    products_are_those_of_f64_however_the_operands_lie,
    what_is_sent_ahead_is_what_comes,
    the_geometric_median_of_a_batch_is_that_of_the_cpu,
);

crate::checks!(
    card(),
    training:
    a_training_on_the_gpu_is_that_of_the_cpu_within_rounding_and_repeats_to_the_bit,
    a_training_scored_in_bf16_is_the_training_scored_in_f32_to_the_bit,
    larger_trainings_on_the_gpu_are_those_of_the_cpu_within_rounding,
    a_thousand_steps_of_batch_topk_stay_beside_those_of_the_cpu,
    a_thousand_steps_of_l1_stay_beside_those_of_the_cpu,
    batches_that_are_sent_ahead_change_no_bit,
);

crate::checks!(
    card(),
    decoder:
    attention_is_that_of_f64_for_every_shape,
    attention_in_bf16_is_that_of_f64_rounded_for_every_shape,
    large_scores_do_not_overflow_and_one_key_takes_all,
    rows_are_normalized_as_in_f64_and_rounded_as_in_bf16,
    activations_and_their_gates_are_those_of_f64,
    pairs_of_coordinates_are_turned_by_the_angle_of_their_position,
    numbers_in_two_bytes_are_those_in_four,
);

crate::checks!(
    card(),
    models:
    every_family_gives_the_residuals_and_logits_of_the_cpu,
    models_in_bf16_keep_their_weights_in_bf16_and_round_where_the_cpu_does,
);

crate::checks!(card(), scaling: sums_on_the_gpu_are_those_of_the_cpu_for_every_activation);
