//! Numbers in the memory of a GPU.

use std::marker::PhantomData;
use std::sync::Arc;

use super::gpu::{Arg, Gpu};
use crate::ml::{Error, Result};

/// What an [`Array`] may hold: plain numbers, whose every bit pattern is one.
pub trait Number: Copy + Default + private::Sealed {}

mod private {
    pub trait Sealed {}
}

macro_rules! numbers {
    ($($number:ty),*) => { $(impl private::Sealed for $number {} impl Number for $number {})* };
}
numbers!(f32, f64, u16, u32, u64);

/// Numbers of one type that stay in the memory of a GPU until this is dropped.
pub struct Array<T> {
    gpu: Arc<dyn Gpu>,
    place: u64,
    len: usize,
    /// Numbers that fit; `len` of them are in use.
    room: usize,
    number: PhantomData<T>,
}

impl<T: Number> Array<T> {
    /// No numbers yet.
    pub fn empty(gpu: &Arc<dyn Gpu>) -> Self {
        Array { gpu: gpu.clone(), place: 0, len: 0, room: 0, number: PhantomData }
    }

    /// So many zeros.
    pub fn zeros(gpu: &Arc<dyn Gpu>, len: usize) -> Result<Self> {
        let mut array = Array::empty(gpu);
        array.resize(len)?;
        array.clear()?;
        Ok(array)
    }

    /// A copy of these.
    pub fn of(gpu: &Arc<dyn Gpu>, values: &[T]) -> Result<Self> {
        let mut array = Array::empty(gpu);
        array.set(values)?;
        Ok(array)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for so many numbers, which hold anything.
    pub fn resize(&mut self, len: usize) -> Result<()> {
        if len > self.room {
            self.free();
            self.place = self.gpu.allocate(len * size_of::<T>())?;
            self.room = len;
        }
        self.len = len;
        Ok(())
    }

    /// Becomes a copy of these.
    pub fn set(&mut self, values: &[T]) -> Result<()> {
        self.resize(values.len())?;
        if values.is_empty() {
            return Ok(());
        }
        // SAFETY: numbers are plain bytes.
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
        self.gpu.upload(self.place, bytes)
    }

    /// Sets all to zero.
    pub fn clear(&mut self) -> Result<()> {
        if self.len == 0 { Ok(()) } else { self.gpu.clear(self.place, self.len * size_of::<T>()) }
    }

    /// A copy of all of them.
    pub fn get(&self) -> Result<Vec<T>> {
        self.get_from(0, self.len)
    }

    /// A copy of `count` of them from `start` on.
    pub fn get_from(&self, start: usize, count: usize) -> Result<Vec<T>> {
        if start + count > self.len {
            return Err(Error::invalid("download", format!("{start} + {count} numbers of {}", self.len)));
        }
        let mut values = vec![T::default(); count];
        if count > 0 {
            let size = size_of::<T>();
            // SAFETY: numbers are plain bytes, and any bytes are numbers.
            let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), count * size) };
            self.gpu.download(self.place + (start * size) as u64, bytes)?;
        }
        Ok(values)
    }

    /// For a kernel.
    pub fn arg(&self) -> Arg {
        Arg::Place(self.place)
    }

    /// For a kernel, from a number on.
    pub fn at(&self, number: usize) -> Arg {
        Arg::Place(self.place + (number * size_of::<T>()) as u64)
    }

    /// The address of the first.
    pub fn place(&self) -> u64 {
        self.place
    }

    fn free(&mut self) {
        if self.room > 0 {
            self.gpu.release(self.place, self.room * size_of::<T>());
        }
        (self.place, self.room, self.len) = (0, 0, 0);
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        if self.room > 0 {
            self.gpu.release(self.place, self.room * size_of::<T>());
        }
    }
}
