//! Where the smallest of a batch's largest scores probably lies: by the batches before.

/// Follows the smallest kept score from step to step. A guess changes the speed of a step and never its result.
#[derive(Default)]
pub struct Guess {
    /// Of the last batch.
    last: Option<f32>,
    /// About how far it moves from one batch to the next, as a share.
    drift: f32,
}

/// The margin is so many times the drift, within these bounds.
const TIMES: f32 = 1.5;
const MARGIN: [f32; 2] = [0.004, 0.2];
/// What is left of an old drift at each step.
const DECAY: f32 = 0.9;

impl Guess {
    /// Bounds under it, the likely one first.
    pub fn bounds(&self) -> impl Iterator<Item = f32> + use<> {
        let margin = (TIMES * self.drift).clamp(MARGIN[0], MARGIN[1]);
        self.last
            .into_iter()
            .flat_map(move |last| [last * (1.0 - margin), last * (1.0 - margin) * (1.0 - margin) * 0.9])
    }

    /// Takes note of the smallest kept score of a batch.
    pub fn see(&mut self, least: f32) {
        let moved = self.last.map_or(MARGIN[1], |last| (least / last - 1.0).abs());
        let moved = if moved.is_finite() { moved } else { MARGIN[1] };
        self.drift = moved.max(DECAY * self.drift);
        self.last = (least > 0.0 && least.is_finite()).then_some(least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_under_what_it_has_seen_and_comes_closer() {
        let mut guess = Guess::default();
        assert_eq!(guess.bounds().count(), 0);
        guess.see(2.0);
        let wide: Vec<f32> = guess.bounds().collect();
        assert!(wide[0] < 2.0 && wide[1] < wide[0], "{wide:?}");
        (0..60).for_each(|_| guess.see(2.0));
        let close: Vec<f32> = guess.bounds().collect();
        assert!(close[0] > wide[0] && close[0] < 2.0, "{close:?}");
        guess.see(0.0);
        assert_eq!(guess.bounds().count(), 0, "nothing to go by");
    }
}
