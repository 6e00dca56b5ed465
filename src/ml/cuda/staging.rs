//! Numbers on their way to a GPU, copied while it computes.

use std::sync::Arc;

use rayon::prelude::*;

use super::array::{Array, Number};
use super::gpu::Gpu;
use crate::ml::Result;

/// Numbers or bytes that one thread copies or compares at a time.
const PART: usize = 1 << 16;

/// Two buffers on either side: the GPU reads one while the next numbers go into the other.
///
/// Between two calls of [`Staging::bring`] something must be downloaded: it shows that the GPU is done with what was there before the
/// last ones, so that their buffers can be filled again.
pub struct Staging<T: Number> {
    gpu: Arc<dyn Gpu>,
    buffers: [Buffer<T>; 2],
    /// The one with the numbers of now.
    now: usize,
    /// True when the other one has numbers that were sent ahead.
    is_ahead: bool,
}

struct Buffer<T: Number> {
    host: Host<T>,
    array: Array<T>,
}

impl<T: Number + Send + Sync> Staging<T> {
    /// Of nothing.
    pub fn new(gpu: &Arc<dyn Gpu>) -> Self {
        let buffer = || Buffer { host: Host::empty(gpu), array: Array::empty(gpu) };
        Staging { gpu: gpu.clone(), buffers: [buffer(), buffer()], now: 0, is_ahead: false }
    }

    /// Makes these the numbers of now. If they were sent ahead nothing is copied any more.
    pub fn bring(&mut self, values: &[T]) -> Result<()> {
        let other = 1 - self.now;
        if !(self.is_ahead && self.buffers[other].host.holds(values)) {
            self.wait()?;
            self.send(values)?;
        }
        (self.now, self.is_ahead) = (other, false);
        self.gpu.join_uploads()
    }

    /// Begins to copy what [`Staging::bring`] is likely to be asked for next.
    pub fn send_ahead(&mut self, values: &[T]) -> Result<()> {
        self.send(values)?;
        self.is_ahead = true;
        Ok(())
    }

    /// Waits for what was sent ahead and is not wanted.
    fn wait(&mut self) -> Result<()> {
        if self.is_ahead {
            self.gpu.join_uploads()?;
            self.buffers[1 - self.now].array.get_from(0, 1)?;
        }
        Ok(())
    }

    fn send(&mut self, values: &[T]) -> Result<()> {
        let Buffer { host, array } = &mut self.buffers[1 - self.now];
        host.fill(values)?;
        array.resize(values.len())?;
        self.gpu.upload_beside(array.place(), host.place, size_of_val(values))
    }

    /// The numbers of now.
    pub fn array(&self) -> &Array<T> {
        &self.buffers[self.now].array
    }
}

impl<T: Number> Drop for Staging<T> {
    fn drop(&mut self) {
        if self.is_ahead {
            // The memory is given back after the copy; an error has been or will be said by another call.
            let _ = self.gpu.join_uploads();
        }
    }
}

/// Numbers in the memory of the host that a GPU copies from.
struct Host<T: Number> {
    gpu: Arc<dyn Gpu>,
    place: u64,
    len: usize,
    room: usize,
    number: std::marker::PhantomData<T>,
}

impl<T: Number + Send + Sync> Host<T> {
    fn empty(gpu: &Arc<dyn Gpu>) -> Self {
        Host { gpu: gpu.clone(), place: 0, len: 0, room: 0, number: std::marker::PhantomData }
    }

    fn fill(&mut self, values: &[T]) -> Result<()> {
        self.len = values.len();
        if values.is_empty() {
            return Ok(());
        }
        if values.len() > self.room {
            self.free();
            self.place = self.gpu.allocate_host(size_of_val(values))?;
            (self.room, self.len) = (values.len(), values.len());
        }
        // SAFETY: memory of `allocate_host` with room for so many plain numbers, which is ours alone.
        let to = unsafe { std::slice::from_raw_parts_mut(self.place as *mut T, values.len()) };
        to.par_chunks_mut(PART).zip(values.par_chunks(PART)).for_each(|(to, from)| to.copy_from_slice(from));
        Ok(())
    }

    /// Whether these are the same numbers to the bit.
    fn holds(&self, values: &[T]) -> bool {
        if self.len != values.len() || values.is_empty() {
            return self.len == values.len();
        }
        let bytes = size_of_val(values);
        // SAFETY: `fill` has written so many numbers, and numbers are plain bytes.
        let (held, values) = unsafe {
            (
                std::slice::from_raw_parts(self.place as *const u8, bytes),
                std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), bytes),
            )
        };
        held.par_chunks(PART).zip(values.par_chunks(PART)).all(|(held, value)| held == value)
    }
}

impl<T: Number> Host<T> {
    fn free(&mut self) {
        if self.room > 0 {
            self.gpu.release_host(self.place, self.room * size_of::<T>());
        }
        (self.place, self.room, self.len) = (0, 0, 0);
    }
}

impl<T: Number> Drop for Host<T> {
    fn drop(&mut self) {
        self.free();
    }
}
