//! The text behind activations of models, without the models.

use std::collections::BTreeSet;

use super::hub::Hub;
use super::models::{self, Text};
use super::wiring::{input, inputs};
use super::{Error, Result, Store};
use crate::lang::plan::spec::{ActivationsSource, ActivationsSpec};
use crate::lang::plan::{Plan, Spec, StepIndex};
use crate::ml::activations::Texts;
use crate::ml::analysis::examples::{SequenceId, Tokens, tokens_of_documents};
use crate::ml::data::Tokenizer;

/// The corpora of `validate` (or of `train`), and the tokenizer that rows were made with: the tuned model's.
pub struct HeldOutText {
    pub tokenizer: Tokenizer,
    texts: Vec<Text>,
    /// Tokens that a document was cut to.
    context: usize,
}

impl HeldOutText {
    /// The corpora of the role `set`. `None` for activations that came without models.
    ///
    /// # Errors
    /// When the tokenizer or a corpus cannot be read.
    pub fn open(plan: &Plan, store: &Store, hub: &Hub, activations: StepIndex, set: &str) -> Result<Option<Self>> {
        let step = &plan.steps[activations.0];
        let Spec::Activations(ActivationsSpec { source: ActivationsSource::Models { context, .. }, .. }) = &step.spec
        else {
            return Ok(None);
        };
        let pair = &plan.steps[input(step, "of")?.0];
        let tokenizer = models::tokenizer(plan, store, input(pair, "tuned")?)?;
        let texts = inputs(step, set).into_iter().map(|corpus| models::text(plan, hub, corpus));
        Ok(Some(HeldOutText { tokenizer, texts: texts.collect::<Result<_>>()?, context: *context as usize }))
    }

    /// The tokens of these sequences.
    ///
    /// # Errors
    /// When a document cannot be read.
    pub fn tokens(&self, wanted: &BTreeSet<SequenceId>) -> Result<Tokens> {
        let mut tokens = Tokens::new();
        for (portion, Text { name, corpus, template }) in self.texts.iter().enumerate() {
            let portion = u16::try_from(portion).map_err(|_| Error::Failed("too many portions".into()))?;
            let texts = Texts {
                name: name.clone(),
                corpus: corpus.clone(),
                tokenizer: &self.tokenizer,
                template: template.clone(),
            };
            tokens.extend(tokens_of_documents(&texts, portion, self.context, wanted)?);
        }
        Ok(tokens)
    }
}
