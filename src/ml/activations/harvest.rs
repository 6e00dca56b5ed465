//! From texts and two models to shards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::block::{self, Block, Seed};
use super::exclude::{Exclude, TokenFilter, norm_multiple};
use super::index::{FORMAT, Index};
use super::norms::{NormReport, median};
use super::portion::{Portion, Schedule};
use super::progress::State;
use super::reader::{Cursor, Reader, Setting};
use super::shards::ShardRows;
use super::source::{Documents, Pair};
use super::statistics::Statistics;
use super::store::Store;
use super::window::infos;
use super::writer::Writer;
use crate::ml::{Error, Progress, Result, Watch};

/// Time between two saves within a block, or of what is known of a stream. Changes no result.
pub(super) const SAVE: Duration = Duration::from_secs(20);
/// Rows between two looks at the clock and the watch.
const LOOK: u64 = 1024;
/// Folders of the sets, in the order in which they are made.
pub(super) const SETS: [&str; 2] = ["validate", "train"];

/// What to harvest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Harvest {
    /// Tokens; longer documents are cut.
    pub context: usize,
    /// The first n tokens of each document are not stored.
    pub skip: u64,
    pub exclude: Vec<Exclude>,
    /// Rows for training; a corpus has one portion at most.
    pub train: Vec<Portion>,
    /// Rows for validation, of the documents before those for training.
    pub validate: Vec<Portion>,
    /// Rows for training in all, at most.
    pub limit: Option<u64>,
    pub store: Store,
    /// Of the shuffle.
    pub seed: u64,
    /// Rows that are shuffled together; `None`: as many as fill 1 GiB, at most 262,144.
    pub block: Option<usize>,
}

impl Default for Harvest {
    fn default() -> Self {
        Harvest {
            context: 1024,
            skip: 0,
            exclude: Vec::new(),
            train: Vec::new(),
            validate: Vec::new(),
            limit: None,
            store: Store::Bf16,
            seed: 42,
            block: None,
        }
    }
}

/// A finished harvest.
#[derive(Debug)]
pub struct Harvested {
    pub train: ShardRows,
    pub validate: ShardRows,
}

impl Harvested {
    /// Opens a finished harvest.
    pub fn open(folder: &Path) -> Result<Self> {
        let [validate, train] = SETS.map(|set| ShardRows::open(&folder.join(set)));
        Ok(Harvested { train: train?, validate: validate? })
    }
}

impl Harvest {
    /// Runs both models over the portions and writes `folder/{validate,train}`.
    ///
    /// A harvest that was stopped or killed goes on where it last saved, to the same bytes; one that is finished is opened.
    /// Progress is in rows of both sets. Errors: a corpus that is too short (before any model runs, but for rows that
    /// `norm_above` takes away), settings that cannot be, residuals that are not finite, files.
    pub fn run(&self, pair: &Pair, corpora: &[&dyn Documents], folder: &Path, watch: &dyn Watch) -> Result<Harvested> {
        self.check(corpora)?;
        let key = self.key(pair, corpora);
        if let Some(done) = finished(folder, &key)? {
            return Ok(done);
        }
        let run = Run { harvest: self, pair, corpora, folder, watch, key };
        let mut state = match run.resume()? {
            Some(state) => state,
            None => {
                self.survey(pair, corpora, watch)?;
                run.start()?
            }
        };
        while state.set < SETS.len() {
            run.set(&mut state)?;
        }
        let done = Harvested::open(folder)?;
        for (set, rows) in [("train", &done.train), ("validate", &done.validate)] {
            if rows.index().ran.tokens > 0 {
                watch.note(&format!("{set}: {}", rows.index().ran));
            }
            if let Some(warning) = rows.index().norms.warning(rows.index().rows) {
                watch.note(&format!("{set}: {warning}"));
            }
        }
        let path = folder.join("progress.json");
        fs::remove_file(&path).map_err(|error| Error::file(&path, error))?;
        Ok(done)
    }

    pub(super) fn portions(&self, set: usize) -> &[Portion] {
        [&self.validate, &self.train][set]
    }

    pub(super) fn schedule(&self, set: usize) -> Schedule {
        Schedule::new(self.portions(set), [None, self.limit][set])
    }

    pub(super) fn check(&self, corpora: &[&dyn Documents]) -> Result<()> {
        let refuse = |problem: String| Err(Error::invalid("harvest", problem));
        for (set, name) in SETS.iter().enumerate() {
            for (p, portion) in self.portions(set).iter().enumerate() {
                let Some(corpus) = corpora.get(portion.corpus) else {
                    return refuse(format!("{name} names corpus {} of {}", portion.corpus, corpora.len()));
                };
                if self.portions(set)[..p].iter().any(|other| other.corpus == portion.corpus) {
                    return refuse(format!("{name} names `{}` twice: write one portion of it", corpus.name()));
                }
            }
        }
        if self.portions(0).len().max(self.portions(1).len()) > usize::from(u16::MAX) {
            return refuse(format!("more than {} portions", u16::MAX));
        }
        if self.schedule(1).left() == 0 {
            return refuse("there is nothing to train on: the portions and the limit leave 0 rows".into());
        }
        if self.context == 0 || self.skip >= self.context as u64 {
            return refuse(format!("skip = {} leaves nothing of a context of {} tokens", self.skip, self.context));
        }
        if let Some(multiple) = norm_multiple(&self.exclude).filter(|multiple| !(*multiple > 0.0)) {
            return refuse(format!("norm_above({multiple}x) leaves no rows"));
        }
        if self.block.is_some_and(|rows| rows == 0 || u32::try_from(rows).is_err()) {
            return refuse(format!("blocks of {} rows", self.block.unwrap_or(0)));
        }
        Ok(())
    }

    /// Hash of what decides the bytes, as far as it is known here (not of the models' weights and the texts).
    pub(super) fn key(&self, pair: &Pair, corpora: &[&dyn Documents]) -> String {
        let names: Vec<&str> = corpora.iter().map(|corpus| corpus.name()).collect();
        let facts = (FORMAT, self, &pair.vocabulary().hash, pair.width(), names);
        // Plain data: it has a JSON form.
        blake3::hash(serde_json::to_string(&facts).unwrap_or_default().as_bytes()).to_hex().to_string()
    }

    /// Counts the tokens of every corpus before the models run, as far as the portions need them.
    fn survey(&self, pair: &Pair, corpora: &[&dyn Documents], watch: &dyn Watch) -> Result<()> {
        let filter = self.filter(pair);
        let mut asked = vec![[0u64; 2]; corpora.len()];
        for set in 0..SETS.len() {
            for (portion, rows) in self.portions(set).iter().zip(self.schedule(set).totals()) {
                asked[portion.corpus][set] = rows;
            }
        }
        for (corpus, asked) in corpora.iter().zip(asked) {
            let mut count = Count { asked, ..Count::default() };
            if count.is_enough() {
                continue;
            }
            for (number, document) in corpus.read(0)?.enumerate() {
                let mut document = document?;
                let length = document.ids.len();
                document.truncate(self.context);
                pair.check_ids(&document, corpus.name(), number as u64)?;
                let rows = infos(&document, 0, number as u64)?.filter(|info| filter.keeps(info)).count() as u64;
                count.add(rows, length, document.ids.len());
                if count.is_enough() {
                    break;
                }
                if number % 256 == 0 && watch.stop() {
                    return Err(Error::Interrupted);
                }
            }
            if !count.is_enough() {
                return Err(Error::invalid("harvest", count.problem(corpus.name(), self.context)));
            }
        }
        Ok(())
    }

    /// The corpus of a portion has ended too early.
    pub(super) fn ran_dry(&self, corpora: &[&dyn Documents], set: usize, portion: usize, reader: &Reader) -> Error {
        let Portion { corpus, tokens } = self.portions(set)[portion];
        let (name, taken) = (corpora[corpus].name(), reader.cursor().taken);
        Error::invalid(
            "harvest",
            format!(
                "`{name}` ends after {taken} of the {tokens} tokens that {} asks for ({} were left out by norm_above): write \
                 at most `{taken} tokens of {name}`, or give the corpus more text",
                SETS[set],
                reader.long()
            ),
        )
    }

    pub(super) fn filter<'a>(&'a self, pair: &'a Pair) -> TokenFilter<'a> {
        TokenFilter { skip: self.skip, exclude: &self.exclude, vocabulary: pair.vocabulary() }
    }
}

/// Tokens of a corpus against what is asked of it.
#[derive(Debug, Default)]
struct Count {
    /// `[validate, train]`.
    asked: [u64; 2],
    /// Rows found for each; the documents of the first end before those of the second begin.
    found: [u64; 2],
    documents: u64,
    /// Tokens beyond the context.
    cut: u64,
    /// Tokens that skip and exclude leave out.
    dropped: u64,
}

impl Count {
    fn add(&mut self, rows: u64, length: usize, kept: usize) {
        let set = usize::from(self.found[0] >= self.asked[0]);
        self.found[set] += rows;
        self.documents += 1;
        self.cut += (length - kept) as u64;
        self.dropped += kept as u64 - rows;
    }

    fn is_enough(&self) -> bool {
        self.found[0] >= self.asked[0] && self.found[1] >= self.asked[1]
    }

    fn problem(&self, name: &str, context: usize) -> String {
        let [validate, train] = self.asked;
        let found = self.found[0] + self.found[1];
        let advice = if self.found[0] < validate {
            format!(
                "write less than {found} tokens of `{name}` under validate, so that training has documents of its own"
            )
        } else {
            format!("write at most `{} tokens of {name}` under train", self.found[1])
        };
        format!(
            "`{name}` has {found} usable tokens in {} documents, but validate asks for {validate} and train for {train} (whole \
             documents apart); {} tokens are beyond the context of {context} and {} are left out by skip and exclude: {advice}, \
             or give the corpus more text",
            self.documents, self.cut, self.dropped
        )
    }
}

/// The harvest that is there already. Errors: it is another one.
fn finished(folder: &Path, key: &str) -> Result<Option<Harvested>> {
    if folder.join("progress.json").exists() || SETS.iter().any(|set| !folder.join(set).join("index.json").exists()) {
        return Ok(None);
    }
    let done = Harvested::open(folder)?;
    if done.train.index().key != key {
        let problem = format!("{} holds a harvest with other settings; give this one another folder", folder.display());
        return Err(Error::invalid("harvest", problem));
    }
    Ok(Some(done))
}

/// A harvest under way.
struct Run<'a> {
    harvest: &'a Harvest,
    pair: &'a Pair<'a>,
    corpora: &'a [&'a dyn Documents],
    folder: &'a Path,
    watch: &'a dyn Watch,
    key: String,
}

impl<'a> Run<'a> {
    fn folder(&self, set: usize) -> PathBuf {
        self.folder.join(SETS[set])
    }

    fn block_rows(&self) -> usize {
        self.harvest.block.unwrap_or_else(|| block::default_rows(self.pair.width(), self.harvest.store))
    }

    /// The saved moment, if all of its files are whole.
    fn resume(&self) -> Result<Option<State>> {
        let Some(state) = State::load(self.folder, &self.key)? else { return Ok(None) };
        if self.is_whole(&state) {
            return Ok(Some(state));
        }
        self.watch.note("the files of the interrupted harvest are damaged: it starts again");
        Ok(None)
    }

    fn is_whole(&self, state: &State) -> bool {
        let earlier = (0..state.set.min(SETS.len())).all(|set| ShardRows::open(&self.folder(set)).is_ok());
        if state.set >= SETS.len() {
            return earlier;
        }
        let rows = state.shards.iter().map(|shard| shard.rows).sum();
        let index = self.index(state, rows, NormReport::default(), 0);
        let shards = ShardRows::of(&self.folder(state.set), index).and_then(|shards| shards.verify_last()).is_ok();
        earlier && shards && self.journal(state).is_some()
    }

    fn journal(&self, state: &State) -> Option<Block> {
        Block::load(self.pair.width(), self.harvest.store, &self.folder(state.set), state.journal)
    }

    /// Empty folders and the first moment.
    fn start(&self) -> Result<State> {
        for set in 0..SETS.len() {
            let folder = self.folder(set);
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
            }
            fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
        }
        let mut state = State { key: self.key.clone(), free: vec![0; self.corpora.len()], ..State::default() };
        self.begin(&mut state);
        state.save(self.folder)?;
        Ok(state)
    }

    /// The first moment of a set.
    fn begin(&self, state: &mut State) {
        state.shards = Vec::new();
        state.statistics = Statistics::new(self.pair.width());
        state.journal = 0;
        state.cursors = Vec::new();
        if state.set < SETS.len() {
            let portions = self.harvest.portions(state.set).iter();
            state.cursors =
                portions.map(|portion| Cursor { document: state.free[portion.corpus], ..Cursor::default() }).collect();
        }
    }

    /// Makes the rest of a set and goes to the next.
    fn set(&self, state: &mut State) -> Result<()> {
        let setting = Setting {
            pair: *self.pair,
            filter: self.harvest.filter(self.pair),
            context: self.harvest.context,
            longest: [f64::INFINITY; 2],
            is_dry: false,
            watch: self.watch,
        };
        let totals = self.harvest.schedule(state.set).totals();
        let mut readers = Vec::new();
        for (p, portion) in self.harvest.portions(state.set).iter().enumerate() {
            let corpus = self.corpora[portion.corpus];
            readers.push(Reader::new(corpus, p as u16, totals[p], state.cursors[p].clone())?);
        }
        let longest = self.longest(state, &mut readers, &setting)?;
        let mut block = self.journal(state).unwrap_or_else(|| Block::new(self.pair.width(), self.harvest.store));
        let setting = Setting { longest, ..setting };
        let mut writer = Writer::default();
        let ended = self.fill(state, &mut readers, &setting, &mut block, &mut writer);
        self.settle(state, &mut writer)?;
        if matches!(ended, Err(Error::Interrupted)) {
            self.save(state, &readers, &mut block)?;
        }
        ended?;
        self.finish_set(state, &readers)
    }

    /// Rows that are longer than this are left out. Measured once, on the first windows of the first set that has portions.
    fn longest(&self, state: &mut State, readers: &mut [Reader], setting: &Setting) -> Result<[f64; 2]> {
        let Some(multiple) = norm_multiple(&self.harvest.exclude) else { return Ok([f64::INFINITY; 2]) };
        if let Some(longest) = state.longest {
            return Ok(longest);
        }
        let mut norms = Vec::new();
        for reader in readers.iter_mut() {
            norms.extend(reader.sample(setting)?.into_iter().map(|(_, norms)| norms));
        }
        if norms.is_empty() {
            return Ok([f64::INFINITY; 2]);
        }
        let longest = [0, 1].map(|model: usize| multiple * median(norms.iter().map(|norms| norms[model]).collect()));
        state.longest = Some(longest);
        state.save(self.folder)?;
        Ok(longest)
    }

    /// Takes rows in turns until the set is complete.
    fn fill(
        &self,
        state: &mut State,
        readers: &mut [Reader],
        setting: &Setting,
        block: &mut Block,
        writer: &mut Writer,
    ) -> Result<()> {
        let taken: Vec<u64> = readers.iter().map(|reader| reader.cursor().taken).collect();
        let mut schedule = self.harvest.schedule(state.set).resume(&taken);
        let total = self.harvest.schedule(0).left() + self.harvest.schedule(1).left();
        let rest = if state.set == 0 { self.harvest.schedule(1).left() } else { 0 };
        let mut saved = Instant::now();
        while let Some(turn) = schedule.next() {
            match readers[turn].next(setting)? {
                Some((row, info)) => block.push(row, info),
                None => return Err(self.harvest.ran_dry(self.corpora, state.set, turn, &readers[turn])),
            }
            if block.rows() == self.block_rows() || schedule.left() == 0 {
                self.finish_block(state, readers, block, writer)?;
                saved = Instant::now();
            }
            if schedule.left() % LOOK == 0 {
                self.watch.progress(&Progress { done: total - rest - schedule.left(), total, loss: None });
                if self.watch.stop() && schedule.left() > 0 {
                    return Err(Error::Interrupted);
                }
                if saved.elapsed() > SAVE && schedule.left() > 0 && writer.is_ready() {
                    self.settle(state, writer)?;
                    self.save(state, readers, block)?;
                    saved = Instant::now();
                }
            }
        }
        Ok(())
    }

    /// Hands a full block to the writer.
    fn finish_block(
        &self,
        state: &mut State,
        readers: &[Reader],
        block: &mut Block,
        writer: &mut Writer,
    ) -> Result<()> {
        self.settle(state, writer)?;
        let number = state.shards.len();
        let seed = Seed { seed: self.harvest.seed, set: state.set, block: number };
        let full = std::mem::replace(block, Block::new(self.pair.width(), self.harvest.store));
        let cursors = readers.iter().map(|reader| reader.cursor().clone()).collect();
        writer.start(full, self.folder(state.set), number, seed, state.statistics.clone(), cursors);
        Ok(())
    }

    /// Waits for the shard that is being written and writes down the moment of its end. Until then the moment before it holds,
    /// with its journal.
    fn settle(&self, state: &mut State, writer: &mut Writer) -> Result<()> {
        let Some(written) = writer.wait()? else { return Ok(()) };
        state.shards.push(written.shard);
        (state.statistics, state.cursors, state.journal) = (written.statistics, written.cursors, 0);
        state.save(self.folder)?;
        block::forget(&self.folder(state.set));
        Ok(())
    }

    /// Writes down this moment.
    fn save(&self, state: &mut State, readers: &[Reader], block: &mut Block) -> Result<()> {
        state.journal = if block.rows() == 0 { 0 } else { block.save(&self.folder(state.set))? };
        state.cursors = readers.iter().map(|reader| reader.cursor().clone()).collect();
        state.save(self.folder)
    }

    fn finish_set(&self, state: &mut State, readers: &[Reader]) -> Result<()> {
        let folder = self.folder(state.set);
        let rows = state.shards.iter().map(|shard| shard.rows).sum();
        let shards = ShardRows::of(&folder, self.index(state, rows, NormReport::default(), 0))?;
        let norms = NormReport::over(|| shards.records())?;
        let distinct = distinct(&shards)?;
        self.index(state, rows, norms, distinct).write(&folder)?;
        for (portion, reader) in self.harvest.portions(state.set).iter().zip(readers) {
            if let Some(last) = reader.cursor().last {
                state.free[portion.corpus] = last + 1;
            }
        }
        block::forget(&folder);
        state.set += 1;
        self.begin(state);
        state.save(self.folder)
    }

    fn index(&self, state: &State, rows: u64, norms: NormReport, distinct_tokens: u64) -> Index {
        let portions = self.harvest.portions(state.set).iter();
        Index {
            format: FORMAT,
            key: self.key.clone(),
            rows,
            width: self.pair.width(),
            store: self.harvest.store,
            shards: state.shards.clone(),
            corpora: portions.map(|portion| self.corpora[portion.corpus].name().to_string()).collect(),
            documents: state.cursors.iter().map(|cursor| cursor.documents).collect(),
            portions: state.cursors.iter().map(|cursor| cursor.taken).collect(),
            distinct_tokens,
            ran: state.ran(),
            statistics: state.statistics.clone(),
            norms,
        }
    }
}

/// How many different token ids the rows have.
fn distinct(rows: &ShardRows) -> Result<u64> {
    let mut seen: Vec<u64> = Vec::new();
    for record in rows.records() {
        let token = record?.info.token as usize;
        if token / 64 >= seen.len() {
            seen.resize(token / 64 + 1, 0);
        }
        seen[token / 64] |= 1 << (token % 64);
    }
    Ok(seen.iter().map(|word| u64::from(word.count_ones())).sum())
}
