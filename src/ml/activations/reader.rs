//! One portion as a stream of rows that can be left and taken up again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exclude::TokenFilter;
use super::sidecar::Record;
use super::source::{Documents, Pair};
use super::statistics::norm;
use super::window::{TOKENS, Window};
use crate::ml::data::TokenSequence;
use crate::ml::{Error, Result, RowInfo, Watch};

/// Tokens of the smallest window that is run for the last rows of a portion.
const LEAST: usize = 512;

/// Where a reader stands. The window is computed again from its first document, so that its bits are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// First document of the window.
    pub document: u64,
    /// Rows that had been given when the window began.
    pub before: u64,
    /// Tokens of the window that have been looked at.
    pub used: usize,
    /// Rows given.
    pub taken: u64,
    /// Documents that gave at least one row, and the last of them.
    pub documents: u64,
    pub last: Option<u64>,
    /// What each model ran before the window, and for the window.
    pub ran: Ran,
    pub window: Ran,
}

/// Tokens that a model ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    pub tokens: u64,
    /// Filled up on the right, beside those.
    pub padding: u64,
}

impl Ran {
    pub fn add(&mut self, other: Ran) {
        self.tokens += other.tokens;
        self.padding += other.padding;
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let share = 100.0 * self.padding as f64 / (self.tokens + self.padding).max(1) as f64;
        write!(f, "each model ran {} tokens and {} of padding ({share:.1} %)", self.tokens, self.padding)
    }
}

/// What readers share.
pub struct Setting<'a> {
    pub pair: Pair<'a>,
    pub filter: TokenFilter<'a>,
    pub context: usize,
    /// Longest norm that is kept, of each model.
    pub longest: [f64; 2],
    /// Origins only: the models are not run, and rows have no values.
    pub is_dry: bool,
    pub watch: &'a dyn Watch,
}

/// Rows of one portion.
pub struct Reader<'a> {
    corpus: &'a dyn Documents,
    portion: u16,
    /// Rows to give in all.
    total: u64,
    documents: Box<dyn Iterator<Item = Result<TokenSequence>> + 'a>,
    window: Option<Window>,
    cursor: Cursor,
    /// Rows that were too long.
    long: u64,
}

/// A row that is to be stored: `[base, tuned]` `[2, d]`.
pub type Row<'a> = ([&'a [f32]; 2], RowInfo);

impl<'a> Reader<'a> {
    /// A reader of `total` rows that goes on at `cursor`.
    pub fn new(corpus: &'a dyn Documents, portion: u16, total: u64, cursor: Cursor) -> Result<Self> {
        let documents = corpus.read(cursor.document)?;
        Ok(Reader { corpus, portion, total, documents, window: None, cursor, long: 0 })
    }

    /// A reader that goes on in the window in which another one was left, if that is there still.
    pub fn go_on(
        corpus: &'a dyn Documents,
        portion: u16,
        total: u64,
        cursor: Cursor,
        window: Option<Window>,
    ) -> Result<Self> {
        let documents = corpus.read(cursor.document + window.as_ref().map_or(0, |window| window.documents))?;
        Ok(Reader { corpus, portion, total, documents, window, cursor, long: 0 })
    }

    /// Where it stands, and its window.
    pub fn leave(self) -> (Cursor, Option<Window>) {
        (self.cursor, self.window)
    }

    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Rows that were left out since the start or the last resume because of their norm.
    pub fn long(&self) -> u64 {
        self.long
    }

    /// The next row that passes. `None`: the corpus is at its end.
    pub fn next(&mut self, setting: &Setting) -> Result<Option<Row<'_>>> {
        loop {
            if !self.fill(setting)? {
                return Ok(None);
            }
            let Some(window) = &self.window else { return Ok(None) };
            let at = self.cursor.used;
            self.cursor.used += 1;
            let info = window.infos[at];
            if !setting.filter.keeps(&info) {
                continue;
            }
            let norms = window.row(at).map(norm);
            self.check_finite(norms, &info)?;
            if norms[0] > setting.longest[0] || norms[1] > setting.longest[1] {
                self.long += 1;
                continue;
            }
            self.cursor.taken += 1;
            if self.cursor.last != Some(u64::from(info.sequence)) {
                self.cursor.last = Some(u64::from(info.sequence));
                self.cursor.documents += 1;
            }
            break;
        }
        let at = self.cursor.used - 1;
        Ok(self.window.as_ref().map(|window| (window.row(at), window.infos[at])))
    }

    /// The rows of the window that pass the filter, with their norms `[base, tuned]`.
    pub fn sample(&mut self, setting: &Setting) -> Result<Vec<(Record, [f64; 2])>> {
        if self.total == 0 || !self.fill(setting)? {
            return Ok(Vec::new());
        }
        let Some(window) = &self.window else { return Ok(Vec::new()) };
        let rows = (0..window.infos.len()).filter(|&row| setting.filter.keeps(&window.infos[row]));
        let sample = |row: usize| {
            let norms = window.row(row).map(norm);
            (Record { info: window.infos[row], norms: norms.map(|norm| norm as f32) }, norms)
        };
        Ok(rows.map(sample).collect())
    }

    /// Sees to it that the window has a token that has not been looked at. `false`: there is none.
    fn fill(&mut self, setting: &Setting) -> Result<bool> {
        loop {
            if let Some(window) = &self.window {
                if self.cursor.used < window.infos.len() {
                    return Ok(true);
                }
                self.cursor.document += window.documents;
                self.cursor.ran.add(std::mem::take(&mut self.cursor.window));
                self.cursor.before = self.cursor.taken;
                self.cursor.used = 0;
                self.window = None;
            }
            let documents = self.documents(setting)?;
            if documents.is_empty() {
                return Ok(false);
            }
            let window = match setting.is_dry {
                true => Window::dry(&documents, self.portion, self.cursor.document)?,
                false => Window::compute(&setting.pair, &documents, self.portion, self.cursor.document, setting.watch)?,
            };
            self.cursor.window = Ran { tokens: window.infos.len() as u64, padding: window.padding };
            self.window = Some(window);
        }
    }

    /// The next documents, cut to the context: a window full, or about as much as is still needed.
    fn documents(&mut self, setting: &Setting) -> Result<Vec<TokenSequence>> {
        let needed = usize::try_from(self.total.saturating_sub(self.cursor.before)).unwrap_or(usize::MAX);
        let wanted = needed.clamp(LEAST, TOKENS);
        let mut documents = Vec::new();
        let mut tokens = 0;
        while tokens < wanted {
            let Some(document) = self.documents.next() else { break };
            let mut document = document?;
            document.truncate(setting.context);
            let number = self.cursor.document + documents.len() as u64;
            setting.pair.check_ids(&document, self.corpus.name(), number)?;
            tokens += document.ids.len();
            documents.push(document);
        }
        Ok(documents)
    }

    fn check_finite(&self, norms: [f64; 2], info: &RowInfo) -> Result<()> {
        let Some(model) = norms.iter().position(|norm| !norm.is_finite()) else { return Ok(()) };
        let problem = format!(
            "the {} model gives NaN or infinity at document {} of `{}`, position {} (token {})",
            ["base", "tuned"][model],
            info.sequence,
            self.corpus.name(),
            info.position,
            info.token
        );
        Err(Error::invalid("harvest", problem))
    }
}
