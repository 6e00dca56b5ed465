//! Several trainings on the same rows, which are read once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log::{LOG_COLUMNS, StepLog, VALIDATION_COLUMNS};
use super::order::{BlockOrder, Order};
use super::{Crosscoder, StepReport, Trainer, TrainerConfig, evaluate};
use crate::ml::cuda::Gpu;
use crate::ml::rows::gather;
use crate::ml::watch::{Progress, Unwatched, Watch};
use crate::ml::{Error, Result, Rows};

/// Name of the checkpoint in a point's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// Name of the training log in a point's folder.
pub const LOG: &str = "log.csv";
/// Name of the validation log in a point's folder.
pub const VALIDATION: &str = "validation.csv";

/// One training of a sweep.
pub struct SweepPoint {
    pub trainer: Trainer,
    /// Why it stopped before its last step. The other points go on.
    pub failure: Option<Error>,
    folder: Option<PathBuf>,
    log: Option<StepLog>,
    validation: Option<StepLog>,
    /// A batch that is learned when the one after it is full, which is then known beforehand.
    ready: Option<Arc<Vec<f32>>>,
    /// Rows of the batch that is being filled.
    pending: Vec<f32>,
    /// What is filled next.
    spare: Vec<f32>,
}

impl SweepPoint {
    /// A training that leaves no files.
    pub fn new(trainer: Trainer) -> Self {
        SweepPoint {
            trainer,
            failure: None,
            folder: None,
            log: None,
            validation: None,
            ready: None,
            pending: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// A training with its checkpoint and logs in a folder that exists; goes on from the checkpoint if there is one.
    pub fn open(config: TrainerConfig, width: usize, from: Option<&Crosscoder>, folder: &Path) -> Result<Self> {
        let checkpoint = folder.join(CHECKPOINT);
        let trainer = match checkpoint.exists() {
            true => Trainer::resume(config, width, &checkpoint)?,
            false => Trainer::new(config, width, from)?,
        };
        let mut point = SweepPoint::new(trainer);
        let (train, steps) = (point.trainer.config().train, point.trainer.steps_done());
        if train.log > 0 {
            point.log = Some(StepLog::open(&folder.join(LOG), LOG_COLUMNS, steps)?);
        }
        if train.validate > 0 {
            point.validation = Some(StepLog::open(&folder.join(VALIDATION), VALIDATION_COLUMNS, steps)?);
        }
        point.folder = Some(folder.to_path_buf());
        Ok(point)
    }

    /// The same, trained on a GPU from here on.
    pub fn on(mut self, gpu: &Arc<dyn Gpu>) -> Result<Self> {
        self.trainer = self.trainer.on(gpu)?;
        Ok(self)
    }

    /// True when it still has steps to do.
    fn runs(&self) -> bool {
        self.failure.is_none() && !self.trainer.is_done()
    }

    fn order(&self, rows: &dyn Rows) -> Order {
        let train = &self.trainer.config().train;
        Order::new(train.shuffle, train.seed, rows.count(), rows.width(), rows.is_stored())
    }

    /// Position in the stream of the next row it needs.
    fn cursor(&self) -> u64 {
        let waiting = self.ready.as_ref().map_or(0, |ready| ready.len()) + self.pending.len();
        self.trainer.tokens() + (waiting / (2 * self.trainer.width())) as u64
    }

    /// The full batch now waits, and the one before it is to be learned; the last of all waits for none.
    fn advance(&mut self) -> Option<Arc<Vec<f32>>> {
        let full = Arc::new(std::mem::replace(&mut self.pending, std::mem::take(&mut self.spare)));
        if self.trainer.steps_done() + 1 == self.trainer.config().train.steps {
            return Some(full);
        }
        let before = self.ready.replace(full.clone());
        if before.is_some() {
            self.trainer.expect(&full);
        }
        before
    }

    /// After [`SweepPoint::advance`]: the batch that waits, if it is the last one.
    fn last(&mut self) -> Option<Arc<Vec<f32>>> {
        let is_last = self.trainer.steps_done() + 1 == self.trainer.config().train.steps;
        if is_last { self.ready.take() } else { None }
    }

    /// Forgets the rows that it was given and has not learned from.
    fn forget(&mut self) {
        self.ready = None;
        self.pending.clear();
    }

    fn save(&self) -> Result<()> {
        match &self.folder {
            Some(folder) => self.trainer.checkpoint(&folder.join(CHECKPOINT)),
            None => Ok(()),
        }
    }
}

/// When the driver saves checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub checkpoint_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { checkpoint_every: Duration::from_secs(30) }
    }
}

/// Trains every point to its last step (or to its failure). Each block of rows is read once and every point takes its
/// batches from it; of stored rows that are shuffled, points with unlike seeds read blocks of their own. On `watch.stop()` checkpoints are written and the error is
/// [`Error::Interrupted`]. Neither logs, validations nor the company of other points change a number.
pub fn train_sweep(
    rows: &dyn Rows,
    points: &mut [SweepPoint],
    validation: Option<&dyn Rows>,
    pace: Pace,
    watch: &dyn Watch,
) -> Result<()> {
    if rows.count() == 0 {
        return Err(Error::invalid("train", "there are no rows to train on"));
    }
    if let Some(point) = points.iter().find(|point| point.trainer.width() != rows.width()) {
        let problem = format!("the rows have width {}, the crosscoder {}", rows.width(), point.trainer.width());
        return Err(Error::invalid("train", problem));
    }
    let mut sweep = Sweep { rows, validation, watch, pace, saved: Instant::now(), held: None, values: Vec::new() };
    points.iter_mut().for_each(SweepPoint::forget);
    while let Some(position) = points.iter().filter(|point| point.runs()).map(SweepPoint::cursor).min() {
        for index in 0..points.len() {
            if points[index].runs() {
                sweep.feed(points, index, position)?;
            }
        }
    }
    points.iter().filter(|point| point.failure.is_none()).try_for_each(SweepPoint::save)
}

struct Sweep<'a> {
    rows: &'a dyn Rows,
    validation: Option<&'a dyn Rows>,
    watch: &'a dyn Watch,
    pace: Pace,
    saved: Instant,
    held: Option<Held>,
    values: Vec<f32>,
}

/// What `values` holds.
#[derive(PartialEq)]
enum Held {
    /// A block as stored.
    Stored { start: u64, count: u64 },
    /// These rows.
    Gathered(Vec<u64>),
}

impl Sweep<'_> {
    /// Gives a point what it can use of the block at a position.
    fn feed(&mut self, points: &mut [SweepPoint], index: usize, position: u64) -> Result<()> {
        let order = points[index].order(self.rows);
        let block = order.block_at(position);
        let end = order.position(&block) + block.count;
        let from = points[index].cursor();
        if from >= end {
            return Ok(());
        }
        let both = 2 * self.rows.width();
        let offsets = match order.of(&block) {
            BlockOrder::Within(offsets) => {
                self.load(Held::Stored { start: block.start, count: block.count })?;
                offsets
            }
            BlockOrder::Anywhere(rows) => {
                if self.load(Held::Gathered(rows))?
                    && let BlockOrder::Anywhere(next) = order.of(&order.block_at(end))
                {
                    self.rows.expect(&next);
                }
                None
            }
        };
        for offset in (from - order.position(&block)) as usize..block.count as usize {
            let place = offsets.as_ref().map_or(offset, |offsets| offsets[offset] as usize);
            points[index].pending.extend_from_slice(&self.values[place * both..(place + 1) * both]);
            let batch = points[index].trainer.config().train.batch as usize;
            if points[index].pending.len() == batch * both {
                if let Some(batch) = points[index].advance() {
                    self.step(&mut points[index], batch)?;
                    self.pause(points)?;
                }
                if let Some(batch) = points[index].last() {
                    self.step(&mut points[index], batch)?;
                    self.pause(points)?;
                }
                if !points[index].runs() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads what is to be held, unless it is held already; `true` if it was read.
    fn load(&mut self, wanted: Held) -> Result<bool> {
        if self.held.as_ref() == Some(&wanted) {
            return Ok(false);
        }
        self.held = None;
        let count = match &wanted {
            Held::Stored { count, .. } => *count as usize,
            Held::Gathered(rows) => rows.len(),
        };
        self.values.resize(count * 2 * self.rows.width(), 0.0);
        match &wanted {
            Held::Stored { start, .. } => self.rows.read(*start, &mut self.values)?,
            Held::Gathered(rows) => gather(self.rows, rows, &mut self.values)?,
        }
        self.held = Some(wanted);
        Ok(true)
    }

    /// One step of a point on its full batch; a failure of the training is the point's own.
    fn step(&mut self, point: &mut SweepPoint, batch: Arc<Vec<f32>>) -> Result<()> {
        match point.trainer.step(&batch) {
            Ok(report) => self.record(point, &report, &batch)?,
            Err(error) => {
                self.watch.note(&error.to_string());
                point.failure = Some(error);
            }
        }
        if let Ok(mut batch) = Arc::try_unwrap(batch) {
            batch.clear();
            point.spare = batch;
        }
        Ok(())
    }

    fn record(&mut self, point: &mut SweepPoint, report: &StepReport, batch: &[f32]) -> Result<()> {
        let train = point.trainer.config().train;
        let last = point.trainer.is_done();
        if let Some(log) = &mut point.log
            && (report.step % train.log == 0 || last)
        {
            log.step(report, point.trainer.batch_fve(batch)?)?;
        }
        if let (Some(log), Some(rows)) = (&mut point.validation, self.validation)
            && (report.step + 1).is_multiple_of(train.validate)
        {
            let evaluation = evaluate(&point.trainer.crosscoder()?, rows, None, &Unwatched)?;
            log.validation(report, &evaluation, point.trainer.config().variant)?;
        }
        if last {
            point.save()?;
        }
        Ok(())
    }

    /// Between two steps: progress, checkpoints, the wish to stop.
    fn pause(&mut self, points: &[SweepPoint]) -> Result<()> {
        let running = || points.iter().filter(|point| point.failure.is_none());
        let total = |point: &SweepPoint| point.trainer.config().train.steps * point.trainer.config().train.batch;
        let losses: Vec<f64> = running().filter_map(|point| point.trainer.last()).map(|last| last.loss).collect();
        self.watch.progress(&Progress {
            done: running().map(|point| point.trainer.tokens()).sum(),
            total: running().map(total).sum(),
            loss: (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64),
        });
        for (index, point) in points.iter().enumerate().filter(|(_, point)| point.failure.is_none()) {
            let loss = point.trainer.last().map(|last| last.loss);
            self.watch.point(index, &Progress { done: point.trainer.tokens(), total: total(point), loss });
        }
        let stop = self.watch.stop();
        if stop || self.saved.elapsed() >= self.pace.checkpoint_every {
            running().filter(|point| !point.trainer.is_done()).try_for_each(SweepPoint::save)?;
            self.saved = Instant::now();
        }
        if stop { Err(Error::Interrupted) } else { Ok(()) }
    }
}
