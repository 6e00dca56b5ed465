//! Rows that are harvested when they are read: `store = none`.
//!
//! A stream has the rows of the shards that the same harvest would write in f32, in the same order, to the bit; only one of their
//! blocks is in memory at a time, the mixing buffer. `stream.json` says where in the texts each block begins, so that any block can
//! be made again: by a resumed training, by a second epoch, by another step. What it says of a block (rows, distinct tokens, a hash
//! of the origins) is compared at every refill, so that the buffer cannot silently hold other rows, or the same ones again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::block::{self, Seed};
use super::exclude::norm_multiple;
use super::harvest::{Harvest, SAVE, SETS};
use super::index::{FORMAT, write_json};
use super::norms::{NormReport, median};
use super::reader::{Cursor, Reader, Setting};
use super::sidecar::Record;
use super::source::{Documents, Pair};
use super::statistics::Statistics;
use super::store::Store;
use super::window::Window;
use crate::ml::rows::{origins_by_info, whole_rows};
use crate::ml::{Error, Progress, Result, RowInfo, Rows, Watch};

/// Rows between two looks at the watch.
const LOOK: u64 = 1024;
/// Rows of one partial sum of the statistics, as where shards are written.
const STATISTICS: usize = 1024;

/// Models and texts that can be taken up again and again.
pub trait Supply: Send + Sync {
    /// Calls `work` with the pair and the corpora of the harvest.
    fn with(&self, work: &mut dyn FnMut(&Pair, &[&dyn Documents]) -> Result<()>) -> Result<()>;
}

/// A block of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamBlock {
    pub rows: u64,
    /// Where each portion stands before it.
    pub cursors: Vec<Cursor>,
    pub distinct_tokens: u64,
    /// Blake3 of the origins of its rows in the order of the text, in hex.
    pub origins: String,
}

/// What a stream is: `stream.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamIndex {
    pub format: u32,
    /// Hash of the settings.
    pub key: String,
    /// N, and d.
    pub rows: u64,
    pub width: usize,
    /// Names of the corpora, by portion.
    pub corpora: Vec<String>,
    /// Longest norm that is kept, of each model.
    pub longest: Option<[f64; 2]>,
    pub blocks: Vec<StreamBlock>,
    /// Where each portion stands after the last block.
    pub end: Vec<Cursor>,
    /// Of all rows; of none where the models were not run for it.
    pub statistics: Statistics,
    /// Of the first window of each portion.
    pub norms: NormReport,
    /// False while blocks are missing.
    pub is_complete: bool,
}

impl StreamIndex {
    fn path(folder: &Path) -> PathBuf {
        folder.join("stream.json")
    }

    /// Reads `folder/stream.json`. Errors: there is none, it is damaged or of another format, or it is not complete.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = Self::path(folder);
        let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        let index: StreamIndex = serde_json::from_str(&text)
            .map_err(|error| Error::invalid("stream activations", format!("{}: {error}", path.display())))?;
        if index.format != FORMAT || !index.is_complete {
            let problem = format!("{} is of format {} or not complete", path.display(), index.format);
            return Err(Error::invalid("stream activations", problem));
        }
        Ok(index)
    }

    /// Of the same settings; `None` where there is none yet or it is damaged.
    fn resume(folder: &Path, key: &str) -> Option<Self> {
        let text = fs::read_to_string(Self::path(folder)).ok()?;
        serde_json::from_str::<StreamIndex>(&text).ok().filter(|index| index.format == FORMAT && index.key == key)
    }
}

/// A set of a harvest, made block by block.
struct Gather<'a> {
    harvest: &'a Harvest,
    set: usize,
    pair: &'a Pair<'a>,
    corpora: &'a [&'a dyn Documents],
    longest: [f64; 2],
    /// Origins only, without running the models.
    is_dry: bool,
    watch: &'a dyn Watch,
}

/// Rows of one block, and where it ended.
struct Gathered {
    /// `[rows, 2, d]` in shuffled order, or empty.
    values: Vec<f32>,
    /// In shuffled order.
    infos: Vec<RowInfo>,
    origins: String,
    distinct_tokens: u64,
    end: Vec<Cursor>,
    /// The window in which each portion ended.
    windows: Vec<Option<Window>>,
}

impl Gather<'_> {
    fn readers(&self, cursors: &[Cursor], mut windows: Vec<Option<Window>>) -> Result<Vec<Reader<'_>>> {
        let totals = self.harvest.schedule(self.set).totals();
        let portions = self.harvest.portions(self.set).iter().enumerate();
        let reader = |(p, portion): (usize, &super::Portion)| {
            let window = windows.get_mut(p).and_then(Option::take);
            Reader::go_on(self.corpora[portion.corpus], p as u16, totals[p], cursors[p].clone(), window)
        };
        portions.map(reader).collect()
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            pair: *self.pair,
            filter: self.harvest.filter(self.pair),
            context: self.harvest.context,
            longest: self.longest,
            is_dry: self.is_dry,
            watch: self.watch,
        }
    }

    /// Block `number`, of at most `most` rows, that begins at `cursors`; `values` is used again.
    fn block(
        &self,
        number: usize,
        most: u64,
        cursors: &[Cursor],
        windows: Vec<Option<Window>>,
        mut values: Vec<f32>,
    ) -> Result<Gathered> {
        let setting = self.setting();
        let mut readers = self.readers(cursors, windows)?;
        let taken: Vec<u64> = cursors.iter().map(|cursor| cursor.taken).collect();
        let mut schedule = self.harvest.schedule(self.set).resume(&taken);
        let rows = most.min(schedule.left()) as usize;
        let seed = Seed { seed: self.harvest.seed, set: self.set, block: number };
        let mut places = vec![0u32; rows];
        for (place, row) in block::permutation(rows, seed).into_iter().enumerate() {
            places[row as usize] = place as u32;
        }
        let (width, both) = (self.pair.width(), 2 * self.pair.width());
        values.resize(if self.is_dry { 0 } else { rows * both }, 0.0);
        let mut infos = vec![RowInfo::default(); rows];
        let mut origins = blake3::Hasher::new();
        let mut record = Vec::new();
        for (row, &place) in places.iter().enumerate() {
            let Some(turn) = schedule.next() else { break };
            let Some((halves, info)) = readers[turn].next(&setting)? else {
                return Err(self.harvest.ran_dry(self.corpora, self.set, turn, &readers[turn]));
            };
            record.clear();
            Record { info, norms: [0.0; 2] }.encode(&mut record);
            origins.update(&record);
            infos[place as usize] = info;
            if !self.is_dry {
                let out = &mut values[place as usize * both..][..both];
                out[..width].copy_from_slice(halves[0]);
                out[width..].copy_from_slice(halves[1]);
            }
            if row as u64 % LOOK == 0 && self.watch.stop() {
                return Err(Error::Interrupted);
            }
        }
        let mut tokens: Vec<u32> = infos.iter().map(|info| info.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let (end, windows) = readers.into_iter().map(Reader::leave).unzip();
        let origins = origins.finalize().to_hex().to_string();
        Ok(Gathered { values, infos, origins, distinct_tokens: tokens.len() as u64, end, windows })
    }
}

impl Harvest {
    /// Rows of a block of the stream, which is the mixing buffer: as many as fill 1 GiB in f32, at most 262,144.
    fn stream_block(&self, width: usize) -> u64 {
        self.block.unwrap_or_else(|| block::default_rows(width, Store::F32)) as u64
    }

    /// Finds where the blocks of both sets begin and writes `folder/{validate,train}/stream.json`.
    ///
    /// The models run over the first windows only, unless `norm_above` asks for the norm of every row, or `statistics` for those of
    /// the training rows (to scale them). Goes on after the last block that was found before it was stopped, or killed and saved.
    pub fn survey_stream(
        &self,
        pair: &Pair,
        corpora: &[&dyn Documents],
        folder: &Path,
        statistics: bool,
        watch: &dyn Watch,
    ) -> Result<()> {
        self.check(corpora)?;
        let key = self.key(pair, corpora);
        let total = self.schedule(0).left() + self.schedule(1).left();
        let (mut longest, mut free, mut done) = (None, vec![0; corpora.len()], 0);
        for (set, name) in SETS.iter().enumerate() {
            let folder = folder.join(name);
            fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
            let portions = self.portions(set);
            let is_dry = norm_multiple(&self.exclude).is_none() && !(statistics && set == 1);
            let mut gather = Gather { harvest: self, set, pair, corpora, longest: [f64::INFINITY; 2], is_dry, watch };
            let mut index = match StreamIndex::resume(&folder, &key) {
                Some(index) => index,
                None => {
                    let begin =
                        |portion: &super::Portion| Cursor { document: free[portion.corpus], ..Cursor::default() };
                    let end: Vec<Cursor> = portions.iter().map(begin).collect();
                    let corpora = portions.iter().map(|portion| corpora[portion.corpus].name().to_string()).collect();
                    let (format, width) = (FORMAT, pair.width());
                    let statistics = Statistics::new(width);
                    let mut index =
                        StreamIndex { format, key: key.clone(), width, corpora, end, statistics, ..Default::default() };
                    self.first_windows(&gather, &mut index, longest)?;
                    index
                }
            };
            longest = longest.or(index.longest);
            gather.longest = longest.unwrap_or([f64::INFINITY; 2]);
            let mut windows = Vec::new();
            let mut values = Vec::new();
            let mut saved = Instant::now();
            while index.rows < self.schedule(set).left() {
                let number = index.blocks.len();
                let got = gather.block(number, self.stream_block(pair.width()), &index.end, windows, values);
                if matches!(got, Err(Error::Interrupted)) {
                    write_json(&StreamIndex::path(&folder), &index)?;
                }
                let got = got?;
                if statistics && set == 1 {
                    got.values.chunks(STATISTICS * 2 * pair.width()).for_each(|rows| index.statistics.add(rows));
                }
                let cursors = std::mem::replace(&mut index.end, got.end);
                let (rows, distinct_tokens, origins) = (got.infos.len() as u64, got.distinct_tokens, got.origins);
                index.blocks.push(StreamBlock { rows, cursors, distinct_tokens, origins });
                index.rows += rows;
                (windows, values) = (got.windows, got.values);
                if saved.elapsed() > SAVE {
                    write_json(&StreamIndex::path(&folder), &index)?;
                    saved = Instant::now();
                }
                watch.progress(&Progress { done: done + index.rows, total, loss: None });
            }
            done += index.rows;
            for (portion, cursor) in portions.iter().zip(&index.end) {
                if let Some(last) = cursor.last {
                    free[portion.corpus] = last + 1;
                }
            }
            index.is_complete = true;
            write_json(&StreamIndex::path(&folder), &index)?;
            if let Some(warning) = index.norms.warning(index.rows) {
                watch.note(&format!("{name}: {warning}"));
            }
        }
        Ok(())
    }

    /// Norms, and with `norm_above` the longest that is kept, from the first window of each portion.
    fn first_windows(&self, gather: &Gather, index: &mut StreamIndex, longest: Option<[f64; 2]>) -> Result<()> {
        let mut records = Vec::new();
        let setting = Setting { is_dry: false, ..gather.setting() };
        for mut reader in gather.readers(&index.end, Vec::new())? {
            records.extend(reader.sample(&setting)?);
        }
        index.norms = NormReport::over(|| records.iter().map(|(record, _)| Ok(*record)))?;
        index.longest = longest;
        if let Some(multiple) = norm_multiple(&self.exclude).filter(|_| longest.is_none() && !records.is_empty()) {
            let norms = |model: usize| records.iter().map(|(_, norms)| norms[model]).collect();
            index.longest = Some([0, 1].map(|model| multiple * median(norms(model))));
        }
        Ok(())
    }
}

/// A set of a harvest as rows `[N, 2, d]` that are made when they are read.
pub struct StreamedRows<'a> {
    harvest: Harvest,
    set: usize,
    index: StreamIndex,
    /// First row of each block, and N.
    starts: Vec<u64>,
    supply: Arc<dyn Supply>,
    watch: &'a dyn Watch,
    log: Option<PathBuf>,
    buffer: Mutex<Buffer>,
}

/// The block that is in memory.
#[derive(Default)]
struct Buffer {
    block: Option<usize>,
    values: Vec<f32>,
    infos: Vec<RowInfo>,
    windows: Vec<Option<Window>>,
    refills: u64,
}

impl<'a> StreamedRows<'a> {
    /// The set `train` or `validate` that [`Harvest::survey_stream`] found in `folder`. Refills are told in the file `log`.
    ///
    /// Errors: no `stream.json`, or one of other settings.
    pub fn open(
        harvest: Harvest,
        folder: &Path,
        set: &str,
        supply: Arc<dyn Supply>,
        log: Option<PathBuf>,
        watch: &'a dyn Watch,
    ) -> Result<Self> {
        let Some(number) = SETS.iter().position(|name| *name == set) else {
            return Err(Error::invalid("stream activations", format!("there is no set `{set}`")));
        };
        let index = StreamIndex::read(&folder.join(set))?;
        let mut is_same = false;
        supply.with(&mut |pair, corpora| {
            harvest.check(corpora)?;
            is_same = harvest.key(pair, corpora) == index.key;
            Ok(())
        })?;
        if !is_same {
            let problem = format!("{} was made with other settings", folder.join(set).display());
            return Err(Error::invalid("stream activations", problem));
        }
        let mut starts = vec![0];
        index.blocks.iter().for_each(|block| starts.push(starts[starts.len() - 1] + block.rows));
        Ok(StreamedRows { harvest, set: number, index, starts, supply, watch, log, buffer: Mutex::default() })
    }

    pub fn index(&self) -> &StreamIndex {
        &self.index
    }

    /// How often the buffer was filled, and the bytes that it and the windows beside it hold.
    pub fn work(&self) -> (u64, usize) {
        let Ok(buffer) = self.buffer.lock() else { return (0, 0) };
        let windows: usize = buffer.windows.iter().flatten().map(Window::bytes).sum();
        let infos = buffer.infos.capacity() * size_of::<RowInfo>();
        (buffer.refills, 4 * buffer.values.capacity() + infos + windows)
    }

    /// Calls `take` with the parts of the buffer that rows `start..start + count` are, and where they belong.
    fn each(
        &self,
        start: u64,
        count: usize,
        mut take: impl FnMut(&Buffer, std::ops::Range<usize>, usize),
    ) -> Result<()> {
        let end = start + count as u64;
        if end > self.index.rows {
            let problem = format!("rows {start}..{end} of {}", self.index.rows);
            return Err(Error::invalid("read activations", problem));
        }
        let mut buffer =
            self.buffer.lock().map_err(|_| Error::invalid("stream activations", "an earlier read failed"))?;
        let mut at = start;
        while at < end {
            let block = self.starts.partition_point(|first| *first <= at) - 1;
            self.fill(&mut buffer, block)?;
            let stop = end.min(self.starts[block + 1]);
            let first = self.starts[block];
            take(&buffer, (at - first) as usize..(stop - first) as usize, (at - start) as usize);
            at = stop;
        }
        Ok(())
    }

    /// Harvests a block into the buffer, unless it is there.
    fn fill(&self, buffer: &mut Buffer, number: usize) -> Result<()> {
        if buffer.block == Some(number) {
            return Ok(());
        }
        // The windows in which the last block ended are those in which the next one begins.
        let follows = number > 0 && buffer.block == Some(number - 1);
        let windows = std::mem::take(&mut buffer.windows);
        let mut windows = if follows { windows } else { Vec::new() };
        let mut values = std::mem::take(&mut buffer.values);
        buffer.block = None;
        let wanted = &self.index.blocks[number];
        let mut found = None;
        self.supply.with(&mut |pair, corpora| {
            let longest = self.index.longest.unwrap_or([f64::INFINITY; 2]);
            let (harvest, set, watch) = (&self.harvest, self.set, self.watch);
            let gather = Gather { harvest, set, pair, corpora, longest, is_dry: false, watch };
            let (windows, values) = (std::mem::take(&mut windows), std::mem::take(&mut values));
            found = Some(gather.block(number, wanted.rows, &wanted.cursors, windows, values)?);
            Ok(())
        })?;
        let Some(found) = found.filter(|found| !found.infos.is_empty()) else {
            return Err(Error::invalid("stream activations", format!("the refill with block {number} is empty")));
        };
        if (found.origins.as_str(), found.distinct_tokens) != (wanted.origins.as_str(), wanted.distinct_tokens) {
            let problem = format!(
                "block {number} has other tokens than when the stream was made ({} distinct ones, not {}): the texts have changed",
                found.distinct_tokens, wanted.distinct_tokens
            );
            return Err(Error::invalid("stream activations", problem));
        }
        buffer.refills += 1;
        self.tell(buffer.refills, number, wanted)?;
        (buffer.values, buffer.infos, buffer.windows) = (found.values, found.infos, found.windows);
        buffer.block = Some(number);
        Ok(())
    }

    /// A line in the log of refills.
    fn tell(&self, refill: u64, number: usize, block: &StreamBlock) -> Result<()> {
        let Some(path) = &self.log else { return Ok(()) };
        let write = || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            if file.metadata()?.len() == 0 {
                writeln!(file, "set,refill,block,rows,distinct_tokens")?;
            }
            writeln!(file, "{},{refill},{number},{},{}", SETS[self.set], block.rows, block.distinct_tokens)
        };
        write().map_err(|error: std::io::Error| Error::file(path, error))
    }
}

impl Rows for StreamedRows<'_> {
    fn width(&self) -> usize {
        self.index.width
    }

    fn count(&self) -> u64 {
        self.index.rows
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let row = 2 * self.index.width;
        self.each(start, whole_rows(out.len(), self.index.width)?, |buffer, from, to| {
            let values = &buffer.values[from.start * row..from.end * row];
            out[to * row..][..values.len()].copy_from_slice(values);
        })
    }

    fn info(&self, start: u64, out: &mut [RowInfo]) -> Result<()> {
        let count = out.len();
        self.each(start, count, |buffer, from, to| out[to..][..from.len()].copy_from_slice(&buffer.infos[from]))
    }

    /// The models run only where rows are chosen by their norms.
    fn origins(&self, see: &mut dyn FnMut(&[RowInfo])) -> Result<()> {
        if self.index.longest.is_some() {
            return origins_by_info(self, see);
        }
        for (number, wanted) in self.index.blocks.iter().enumerate() {
            let mut found = None;
            self.supply.with(&mut |pair, corpora| {
                let (harvest, set, watch) = (&self.harvest, self.set, self.watch);
                let gather = Gather { harvest, set, pair, corpora, longest: [f64::INFINITY; 2], is_dry: true, watch };
                found = Some(gather.block(number, wanted.rows, &wanted.cursors, Vec::new(), Vec::new())?);
                Ok(())
            })?;
            let found = found.filter(|found| found.origins.as_str() == wanted.origins.as_str());
            let Some(found) = found else {
                let problem =
                    format!("block {number} has other tokens than when the stream was made: the texts have changed");
                return Err(Error::invalid("stream activations", problem));
            };
            see(&found.infos);
        }
        Ok(())
    }
}
