//! What columns, cells and rows are called in figures and reports.

use std::collections::BTreeMap;

/// Names for readers. The caller adds what it knows on top of [`Labels::standard`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    pub columns: BTreeMap<String, ColumnStyle>,
    /// Cells as readers see them: `tuned_only` -> `chat only`.
    pub values: BTreeMap<String, String>,
    /// What one row is, in the plural: `latents`.
    pub rows: String,
}

/// How a column is written on an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStyle {
    pub label: String,
    /// Written after the label in brackets; may be empty.
    pub unit: String,
    /// The axis spans at least this, and exactly this when no cell is outside.
    pub domain: Option<(f64, f64)>,
    /// Ticks that this column is known by; empty = chosen by range.
    pub ticks: Vec<f64>,
}

impl ColumnStyle {
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    pub fn unit(self, unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), ..self }
    }

    pub fn domain(self, low: f64, high: f64) -> Self {
        Self { domain: Some((low, high)), ..self }
    }

    pub fn ticks(self, ticks: &[f64]) -> Self {
        Self { ticks: ticks.to_vec(), ..self }
    }

    fn title(&self) -> String {
        if self.unit.is_empty() { self.label.clone() } else { format!("{} ({})", self.label, self.unit) }
    }
}

impl Labels {
    /// Labels of the quantities that this field plots again and again.
    pub fn standard() -> Self {
        let share = |label: &str| ColumnStyle::new(label).domain(0.0, 1.0);
        let plain = ColumnStyle::new;
        let columns = [
            ("active_tokens", plain("active tokens")),
            ("beta_activation_base", plain("β activation, base")),
            ("beta_activation_no_bias_base", plain("β activation without bias, base")),
            ("beta_activation_no_bias_tuned", plain("β activation without bias, tuned")),
            ("beta_activation_tuned", plain("β activation, tuned")),
            ("beta_error_base", plain("β error, base")),
            ("beta_error_tuned", plain("β error, tuned")),
            ("beta_reconstruction_base", plain("β reconstruction, base")),
            ("beta_reconstruction_tuned", plain("β reconstruction, tuned")),
            ("auxk", plain("loss of dead latents")),
            ("bin", plain("bin of the activation").unit("0 = weakest")),
            ("bucket", plain("activation")),
            ("ci95", plain("95% CI")),
            ("ci95_prompts", plain("95% CI over prompts")),
            ("class_a", plain("class in the first crosscoder")),
            ("class_b", plain("class in the second crosscoder")),
            ("control_share", share("share of control tokens")),
            ("cosine", plain("cosine of the two decoders").domain(-1.0, 1.0)),
            ("dead", plain("dead latents").unit("share")),
            (
                "delta_norm",
                plain("Δnorm")
                    .unit("relative difference of decoder norms")
                    .domain(0.0, 1.0)
                    .ticks(&[0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0]),
            ),
            ("detection", share("accuracy of detection")),
            ("detection_total", share("accuracy of detection, mean over kinds of text")),
            ("divergence", share("divergence of the activations")),
            ("divergence_relative", share("divergence of the activations, each by its own maximum")),
            ("encoder_cosine", plain("cosine of the two encoders").domain(-1.0, 1.0)),
            ("encoder_norm_base", plain("encoder norm, base")),
            ("encoder_norm_tuned", plain("encoder norm, tuned")),
            ("f1", share("F1")),
            ("frequency", plain("firing frequency").unit("share of tokens")),
            ("fve", plain("explained variance").unit("FVE")),
            ("fve_base", plain("explained variance, base")),
            ("fve_tuned", plain("explained variance, tuned")),
            ("k", plain("k")),
            ("l0", plain("L0").unit("active latents per token")),
            ("l0_inference", plain("L0 at inference").unit("active latents per token")),
            ("loss", plain("loss")),
            ("lr", plain("learning rate")),
            ("max_activation", plain("largest activation")),
            ("norm_base", plain("decoder norm, base")),
            ("norm_tuned", plain("decoder norm, tuned")),
            ("nu_activation", plain("ν activation").unit("β base / β tuned")),
            ("nu_error", plain("ν error").unit("β base / β tuned")),
            ("nu_reconstruction", plain("ν reconstruction").unit("β base / β tuned")),
            ("precision", share("precision")),
            ("rank", plain("rank by ν")),
            ("recall", share("recall")),
            ("share", share("share")),
            ("step", plain("training step")),
            ("tokens", plain("training tokens")),
            ("train.seed", plain("seed")),
        ];
        let values = [
            ("base_only", "base only"),
            ("batch_topk", "BatchTopK"),
            ("bos", "BOS"),
            ("bucket_0", "up to 10% of its maximum"),
            ("bucket_1", "10 to 40% of its maximum"),
            ("bucket_2", "40 to 70% of its maximum"),
            ("bucket_3", "over 70% of its maximum"),
            ("error", "Error"),
            ("everything", "All"),
            ("jumprelu", "JumpReLU"),
            ("l1", "L1"),
            ("non_control", "not control"),
            ("norm_best", "Δnorm, best 50%"),
            ("norm_worst", "Δnorm, worst 50%"),
            ("nothing", "None"),
            ("scaling_best", "Latent Scaling, best 50%"),
            ("scaling_worst", "Latent Scaling, worst 50%"),
            ("template", "Template"),
            ("topk", "TopK"),
            ("tuned_only", "tuned only"),
        ];
        Self {
            columns: columns.into_iter().map(|(name, style)| (name.to_owned(), style)).collect(),
            values: values.into_iter().map(|(from, to)| (from.to_owned(), to.to_owned())).collect(),
            rows: "rows".to_owned(),
        }
    }

    pub fn set_column(&mut self, name: impl Into<String>, style: ColumnStyle) {
        self.columns.insert(name.into(), style);
    }

    pub fn set_value(&mut self, cell: impl Into<String>, shown: impl Into<String>) {
        self.values.insert(cell.into(), shown.into());
    }

    /// Style of a column; `classes.delta_norm` falls back to `delta_norm`, anything unknown to its name with spaces.
    pub fn column(&self, name: &str) -> ColumnStyle {
        let last = name.rsplit('.').next().unwrap_or(name);
        let known = self.columns.get(name).or_else(|| self.columns.get(last));
        known.cloned().unwrap_or_else(|| ColumnStyle::new(name.replace('_', " ")))
    }

    /// `1,234 latents`, `1 latent`.
    pub fn counted(&self, count: usize) -> String {
        let rows = if count == 1 { self.rows.strip_suffix('s').unwrap_or(&self.rows) } else { &self.rows };
        format!("{} {rows}", crate::out::number::grouped(count as i64))
    }

    /// Label and unit of a column.
    pub fn title(&self, name: &str) -> String {
        self.column(name).title()
    }

    /// A cell as readers see it; `l1(weight = 3e-2)` is `L1 (weight = 3e-2)` when `l1` is `L1`.
    pub fn value(&self, cell: &str) -> String {
        if let Some(shown) = self.values.get(cell) {
            return shown.clone();
        }
        match cell.split_once('(') {
            Some((head, rest)) if self.values.contains_key(head) => format!("{} ({rest}", self.values[head]),
            _ => cell.to_owned(),
        }
    }

    /// A point of an axis: `BatchTopK`, but `seed = 0`.
    pub fn point(&self, column: &str, cell: &str) -> String {
        let bare = cell.parse::<f64>().is_ok() || matches!(cell, "true" | "false");
        if bare { format!("{} = {cell}", self.column(column).label) } else { self.value(cell) }
    }
}
