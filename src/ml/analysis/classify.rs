//! The class of every latent, and how it fires.

use super::latent_class::{ClassThresholds, LatentClass, delta_norm};
use super::vectors::{cosine, decoder_norms};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::{BASE, Error, Progress, Result, RowInfo, Rows, TUNED, Watch};

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
    /// Share of the rows on which it is active.
    pub frequency: Vec<f64>,
    /// Largest f_ij S_j (scaled by the code norm); 0 when dead.
    pub max_activation: Vec<f64>,
    /// True when it fires on none of the rows.
    pub dead: Vec<bool>,
    /// Share of its active rows whose token is a control token of the chat template; `None` when dead.
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

/// Rows of one chunk: 64 MB of activations at most.
pub(crate) fn chunk_rows(width: usize) -> usize {
    (8_388_608 / width.max(1)).clamp(64, 4096)
}

/// Classifies all latents by Delta_norm and counts over all `rows` (paper section 2.1 and appendix on frequency).
pub fn classify(
    crosscoder: &Crosscoder,
    rows: &dyn Rows,
    thresholds: &ClassThresholds,
    watch: &dyn Watch,
) -> Result<Classes> {
    if rows.width() != crosscoder.width {
        let problem = format!("rows of width {}, crosscoder of width {}", rows.width(), crosscoder.width);
        return Err(Error::invalid("classify", problem));
    }
    let latents = crosscoder.latents;
    let norms = crosscoder.code_norms();
    let (mut active, mut control) = (vec![0u64; latents], vec![0u64; latents]);
    let mut largest = vec![0.0f64; latents];
    let (total, chunk) = (rows.count(), chunk_rows(rows.width()));
    let mut values = vec![0.0f32; chunk * 2 * rows.width()];
    let mut infos = vec![RowInfo::default(); chunk];
    let mut start = 0;
    while start < total {
        if watch.stop() {
            return Err(Error::Interrupted);
        }
        let count = chunk.min((total - start) as usize);
        rows.read(start, &mut values[..count * 2 * rows.width()])?;
        rows.info(start, &mut infos[..count])?;
        let code = crosscoder.encode(&values[..count * 2 * rows.width()]);
        for (i, info) in infos[..count].iter().enumerate() {
            let is_control = u64::from(info.group.is_control());
            let (row, f) = code.row(i);
            for (&j, &f) in row.iter().zip(f) {
                let j = j as usize;
                active[j] += 1;
                control[j] += is_control;
                largest[j] = largest[j].max(f as f64 * norms[j] as f64);
            }
        }
        start += count as u64;
        watch.progress(&Progress { done: start, total, loss: None });
    }
    Ok(table(crosscoder, thresholds, total, &active, &control, largest))
}

fn table(
    crosscoder: &Crosscoder,
    thresholds: &ClassThresholds,
    rows: u64,
    active: &[u64],
    control: &[u64],
    max_activation: Vec<f64>,
) -> Classes {
    let mut classes = Classes { max_activation, rows, ..Classes::default() };
    for j in 0..crosscoder.latents {
        let [base, tuned] = decoder_norms(crosscoder, j);
        let delta_norm = delta_norm(base, tuned);
        classes.class.push(thresholds.class(delta_norm));
        classes.delta_norm.push(delta_norm);
        classes.norm_base.push(base);
        classes.norm_tuned.push(tuned);
        classes.cosine.push(cosine(crosscoder.decoder_row(BASE, j), crosscoder.decoder_row(TUNED, j)));
        classes.frequency.push(active[j] as f64 / rows.max(1) as f64);
        classes.dead.push(active[j] == 0);
        classes.control_share.push((active[j] > 0).then(|| control[j] as f64 / active[j] as f64));
    }
    classes
}
