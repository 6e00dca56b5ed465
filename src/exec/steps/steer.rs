//! `steer`: a model speaks with a latent added.

use std::collections::BTreeMap;

use super::{Job, Made};
use crate::exec::frames::ROWS;
use crate::exec::latents::{Chooser, largest_of_classes};
use crate::exec::models::{self, Text};
use crate::exec::wiring::input;
use crate::exec::{Error, Result, rows};
use crate::lang::plan::spec::{ActivationsSource, Role, SteerPrompts, SteerSpec};
use crate::lang::plan::{Spec, Step};
use crate::ml::analysis::{largest_activations, steering_vector};
use crate::ml::crosscoder::Crosscoder;
use crate::ml::data::{Document, Message, Template, Tokenizer};
use crate::ml::lm::{Added, Sampling, generate_with};
use crate::ml::{self, BASE, Progress, TUNED};
use crate::out::{Column, Frame};

/// Answers that are made side by side.
const SIDE_BY_SIDE: usize = 16;

/// What is said to the model: for readers, and as tokens.
struct Prompt {
    text: String,
    ids: Vec<u32>,
}

/// Generates with each latent at each strength, and without any.
///
/// # Errors
/// When the crosscoder, the rows, a model or the prompts cannot be read, or a prompt fills the context.
pub fn make(job: &Job<'_>, spec: &SteerSpec) -> Result<Made> {
    let of = job.input("of")?;
    let crosscoder = Crosscoder::load(&job.store.artifact(&job.plan.steps[of.0].id))?;
    let chooser = Chooser::new(job, crosscoder.latents, spec.seed)?;
    let latents: Vec<u32> = chooser.each(&spec.latents)?;
    if latents.is_empty() {
        job.watch.note("no latent is chosen: nobody is steered");
        frame(spec, &[], &[], &[])?.write(&job.folder.join(ROWS))?;
        return Ok(Made::default());
    }
    let activations = rows::behind(job.plan, of)?;
    let largest = match largest_of_classes(job, of)? {
        Some(largest) => largest,
        None => {
            let opened = rows::open(job, activations)?;
            largest_activations(&crosscoder, opened.validate.as_ref(), &latents, job.watch)?
        }
    };
    let scale = rows::normalizer(job.plan, job.store, activations)?.map_or([1.0; 2], |normalizer| normalizer.scale);
    let step = &job.plan.steps[activations.0];
    let Spec::Activations(read) = &step.spec else { return Err(no_models(step)) };
    let ActivationsSource::Models { layer, site, .. } = read.source else { return Err(no_models(step)) };
    let model = if spec.model == Role::Base { BASE } else { TUNED };

    // The answer without any latent, then one a latent and strength.
    let mut vectors = vec![vec![0.0; crosscoder.width]];
    for &latent in &latents {
        let most = largest.get(&latent).copied().unwrap_or(0.0);
        let unit = steering_vector(&crosscoder, model, latent as usize, most, scale[model]);
        if unit.iter().all(|x| *x == 0.0) {
            let why =
                if most == 0.0 { "never fires on the held-out rows" } else { "has no decoder vector in this model" };
            job.watch.note(&format!("latent {latent} {why}: nothing is added for it"));
        }
        let times = |strength: &f64| unit.iter().map(|x| (strength * f64::from(*x)) as f32).collect();
        vectors.extend(spec.strength.iter().map(times));
    }

    let pair = &job.plan.steps[input(step, "of")?.0];
    let (base, tuned) = (input(pair, "base")?, input(pair, "tuned")?);
    let tokenizer = models::tokenizer(job.plan, job.store, tuned)?;
    let (prompts, stop) = prompts(job, spec, &tokenizer)?;
    let decoder = models::decoder(job.plan, job.store, if model == BASE { base } else { tuned })?;
    let replace = match model {
        BASE => models::read_as(pair, &models::tokenizer(job.plan, job.store, base)?, &tokenizer)?,
        _ => BTreeMap::new(),
    };
    let total = (prompts.len() * vectors.len()) as u64 * spec.length;
    let (mut done, mut tokens) = (0, 0);
    // By prompt and vector.
    let mut answers: Vec<Vec<String>> = Vec::new();
    for (number, prompt) in prompts.iter().enumerate() {
        let ids: Vec<u32> = prompt.ids.iter().map(|id| *replace.get(id).unwrap_or(id)).collect();
        let sampling = Sampling { temperature: spec.temperature, seed: spec.seed, stream: number as u64 };
        let mut of_prompt = Vec::new();
        for vectors in vectors.chunks(SIDE_BY_SIDE) {
            let (layer, site) = (layer as usize, models::site(site));
            let added = Added { layer, site, vectors, prompt_only: spec.prompt_only };
            let found = generate_with(&decoder, &ids, &added, spec.length as usize, &stop, sampling, job.watch)
                .map_err(|error| of_this_prompt(prompt, error))?;
            tokens += found.iter().map(|answer| answer.len() as u64).sum::<u64>();
            for answer in &found {
                of_prompt.push(tokenizer.decode(answer)?);
            }
            done += vectors.len() as u64 * spec.length;
            job.watch.progress(&Progress { done, total, loss: None });
        }
        answers.push(of_prompt);
    }
    frame(spec, &latents, &prompts, &answers)?.write(&job.folder.join(ROWS))?;
    Ok(Made { tokens })
}

/// By latent, prompt and strength, 0 first.
fn frame(spec: &SteerSpec, latents: &[u32], prompts: &[Prompt], answers: &[Vec<String>]) -> Result<Frame> {
    let mut rows: Vec<(u32, f64, &str, &str)> = Vec::new();
    for (place, &latent) in latents.iter().enumerate() {
        for (prompt, answers) in prompts.iter().zip(answers) {
            rows.push((latent, 0.0, &prompt.text, &answers[0]));
            let own = answers[1..].iter().skip(place * spec.strength.len());
            rows.extend(
                spec.strength.iter().zip(own).map(|(s, text)| (latent, *s, prompt.text.as_str(), text.as_str())),
            );
        }
    }
    Ok(Frame::new()
        .with("latent", Column::whole(rows.iter().map(|row| row.0.into())))?
        .with("strength", Column::real(rows.iter().map(|row| row.1)))?
        .with("prompt", Column::text(rows.iter().map(|row| row.2)))?
        .with("text", Column::text(rows.iter().map(|row| row.3)))?)
}

/// The prompts, and the tokens that end an answer.
fn prompts(job: &Job<'_>, spec: &SteerSpec, tokenizer: &Tokenizer) -> Result<(Vec<Prompt>, Vec<u32>)> {
    match &spec.prompts {
        SteerPrompts::Texts(texts) => {
            let template = tokenizer.has_template().then_some(Template::Tokenizer);
            job.watch.note(match template {
                Some(_) => "prompts are said by the user in the chat template of the tuned model",
                None => "the tuned model has no chat template: prompts are plain text, and answers go on with it",
            });
            let ids = |text: &String| match &template {
                Some(template) => tokenizer.encode_prompt(&[said(text)], template),
                None => Ok(tokenizer.encode_text(text)?.ids),
            };
            let prompt = |text: &String| Ok(Prompt { text: text.clone(), ids: ids(text)? });
            Ok((texts.iter().map(prompt).collect::<Result<_>>()?, tokenizer.stops(template.as_ref())?))
        }
        SteerPrompts::Corpus(count) => {
            let Text { name, corpus, template } = models::text(job.plan, job.hub, job.input("prompts")?)?;
            let Some(template) = template else { return Err(Error::Failed(format!("{name} is no chat corpus"))) };
            let mut prompts = Vec::new();
            for document in corpus.documents()? {
                let Document::Chat(messages) = document? else { continue };
                let is_user = |message: &Message| matches!(message.role.as_str(), "user" | "human");
                let Some(first) = messages.iter().position(is_user) else { continue };
                let ids = tokenizer.encode_prompt(&messages[..=first], &template)?;
                prompts.push(Prompt { text: messages[first].content.clone(), ids });
                if prompts.len() as u64 == *count {
                    return Ok((prompts, tokenizer.stops(Some(&template))?));
                }
            }
            let found = prompts.len();
            let problem = format!(
                "{name} has {found} conversations in which a user speaks, not {count}: write `{found} prompts of {name}`"
            );
            Err(Error::Failed(problem))
        }
    }
}

fn said(text: &str) -> Message {
    Message { role: "user".into(), content: text.into() }
}

/// Says which prompt it was.
fn of_this_prompt(prompt: &Prompt, error: ml::Error) -> Error {
    match error {
        ml::Error::Interrupted => Error::Interrupted,
        other => Error::Failed(format!("prompt {:?}: {other}", prompt.text.chars().take(60).collect::<String>())),
    }
}

fn no_models(step: &Step) -> Error {
    Error::Failed(format!("{}: only models speak, and these activations came without", step.address))
}
