//! The real card that the checks of kernels, products, whole trainings, models and Latent Scaling run on too (`crate::checks!`). Where there is none
//! each says so and returns. What must be the same to the bit twice is run twice.

use std::sync::{Arc, OnceLock};

use xd::ml::cuda::{Gpu, Problem, open};

/// The first card, twice; none where there is none.
pub fn card() -> Vec<Arc<dyn Gpu>> {
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
