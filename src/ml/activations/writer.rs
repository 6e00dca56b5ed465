//! Shards are written while the next block is harvested.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use super::block::{Block, Seed};
use super::index::Shard;
use super::reader::Cursor;
use super::statistics::Statistics;
use crate::ml::{Error, Result};

/// One block at a time is written in the background; who brings the next one waits for it.
#[derive(Default)]
pub struct Writer {
    under_way: Option<UnderWay>,
}

struct UnderWay {
    thread: JoinHandle<Result<(Shard, Statistics)>>,
    cursors: Vec<Cursor>,
}

/// A shard that is on the disk.
pub struct Written {
    pub shard: Shard,
    /// Of all shards so far.
    pub statistics: Statistics,
    /// Where the portions stood at its end.
    pub cursors: Vec<Cursor>,
}

impl Writer {
    /// Begins to write a block as shard `number`. Nothing must be under way.
    pub fn start(
        &mut self,
        mut block: Block,
        folder: PathBuf,
        number: usize,
        seed: Seed,
        mut statistics: Statistics,
        cursors: Vec<Cursor>,
    ) {
        let thread = thread::spawn(move || {
            let shard = block.finish(&folder, number, seed, &mut statistics)?;
            Ok((shard, statistics))
        });
        self.under_way = Some(UnderWay { thread, cursors });
    }

    /// True when [`Writer::wait`] would not wait.
    pub fn is_ready(&self) -> bool {
        self.under_way.as_ref().is_none_or(|under_way| under_way.thread.is_finished())
    }

    /// Waits for the shard that is under way, if one is. Errors: those of the writing.
    pub fn wait(&mut self) -> Result<Option<Written>> {
        let Some(UnderWay { thread, cursors }) = self.under_way.take() else { return Ok(None) };
        match thread.join() {
            Ok(done) => done.map(|(shard, statistics)| Some(Written { shard, statistics, cursors })),
            Err(_) => Err(Error::invalid("write activations", "the thread that writes a shard failed")),
        }
    }
}
