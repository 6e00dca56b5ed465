//! The class of every latent, and how it fires.

use super::latent_class::{ClassThresholds, LatentClass, delta_norm};
use super::pass::Pass;
use super::tokens::is_counted;
use super::vectors::{cosine, decoder_norms, encoder_vectors};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::{BASE, Result, Rows, TUNED, Watch};

/// One entry a latent, in order of latents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classes {
    pub class: Vec<LatentClass>,
    /// Delta_norm; `None` when both decoder norms are zero.
    pub delta_norm: Vec<Option<f64>>,
    pub norm_base: Vec<f64>,
    pub norm_tuned: Vec<f64>,
    /// Cosine between the two decoder directions; `None` when one is zero.
    pub cosine: Vec<Option<f64>>,
    /// Norms of e_j^base and e_j^tuned.
    pub encoder_norm_base: Vec<f64>,
    pub encoder_norm_tuned: Vec<f64>,
    /// Cosine between the two encoder directions; `None` when one is zero.
    pub encoder_cosine: Vec<Option<f64>>,
    /// Share of the rows on which it is active.
    pub frequency: Vec<f64>,
    /// Largest f_ij S_j (scaled by the code norm); 0 when dead.
    pub max_activation: Vec<f64>,
    /// Mean f_ij S_j over the rows on which it is active; `None` when dead.
    pub mean_activation: Vec<Option<f64>>,
    /// True when it fires on none of the rows.
    pub dead: Vec<bool>,
    /// Share of its active rows of chats, BOS not counted, whose token is a control token of the chat template (docs/method.md 6.1); `None`
    /// without any.
    pub control_share: Vec<Option<f64>>,
    /// Rows read.
    pub rows: u64,
}

impl Classes {
    /// Latents of a class, ascending, dead ones included.
    pub fn latents(&self, class: LatentClass) -> Vec<u32> {
        (0..self.class.len()).filter(|&j| self.class[j] == class).map(|j| j as u32).collect()
    }

    /// For each class its number of latents and its share among all, in the order base-only, shared, tuned-only, other.
    pub fn counts(&self) -> [(LatentClass, u64, f64); 4] {
        use LatentClass::{BaseOnly, Other, Shared, TunedOnly};
        [BaseOnly, Shared, TunedOnly, Other].map(|class| {
            let count = self.class.iter().filter(|&&c| c == class).count() as u64;
            (class, count, count as f64 / self.class.len().max(1) as f64)
        })
    }
}

/// Classifies all latents by Delta_norm and counts over all `rows` (docs/method.md 3).
pub fn classify(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    thresholds: &ClassThresholds,
    watch: &dyn Watch,
) -> Result<Classes> {
    let norms = crosscoder.code_norms();
    let mut fired = vec![Fired::default(); crosscoder.latents];
    let pass = Pass { name: "classify", crosscoder, rows, portions: None, watch };
    let rows = pass.run(|infos, code| {
        for (i, info) in infos.iter().enumerate() {
            let (control, chat) = (u64::from(info.group.is_control()), u64::from(is_counted(info.group)));
            let (latents, values) = code.row(i);
            for (&j, &f) in latents.iter().zip(values) {
                let activation = f64::from(f) * f64::from(norms[j as usize]);
                let fired = &mut fired[j as usize];
                fired.rows += 1;
                fired.control += control;
                fired.chat += chat;
                fired.sum += activation;
                fired.largest = fired.largest.max(activation);
            }
        }
    })?;
    Ok(table(crosscoder, thresholds, rows, &fired))
}

/// What a latent did on the rows.
#[derive(Clone, Copy, Default)]
struct Fired {
    /// Rows on which it is active; those of them whose token is a control token, and those of chats but BOS.
    rows: u64,
    control: u64,
    chat: u64,
    /// Of f_ij S_j.
    sum: f64,
    largest: f64,
}

fn table(crosscoder: &Crosscoder, thresholds: &ClassThresholds, rows: u64, fired: &[Fired]) -> Classes {
    let mut classes = Classes { rows, ..Classes::default() };
    let share = |part: f64, whole: u64| (whole > 0).then(|| part / whole as f64);
    let encoders = encoder_vectors(crosscoder);
    for (j, (fired, (encoder_norms, encoder_cosine))) in fired.iter().zip(encoders).enumerate() {
        let [base, tuned] = decoder_norms(crosscoder, j);
        let delta_norm = delta_norm(base, tuned);
        classes.class.push(thresholds.class(delta_norm));
        classes.delta_norm.push(delta_norm);
        classes.norm_base.push(base);
        classes.norm_tuned.push(tuned);
        classes.cosine.push(cosine(crosscoder.decoder_row(BASE, j), crosscoder.decoder_row(TUNED, j)));
        classes.encoder_norm_base.push(encoder_norms[BASE]);
        classes.encoder_norm_tuned.push(encoder_norms[TUNED]);
        classes.encoder_cosine.push(encoder_cosine);
        classes.frequency.push(fired.rows as f64 / rows.max(1) as f64);
        classes.max_activation.push(fired.largest);
        classes.mean_activation.push(share(fired.sum, fired.rows));
        classes.dead.push(fired.rows == 0);
        classes.control_share.push(share(fired.control as f64, fired.chat));
    }
    classes
}
