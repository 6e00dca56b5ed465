//! A GPU that counts what is asked of another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xd::ml::Result;
use xd::ml::cuda::{Arg, Gpu, Narrow, Product};

/// What was asked so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Bytes that are allocated, and the most that ever were.
    pub live: u64,
    pub peak: u64,
    pub allocations: usize,
    pub launches: BTreeMap<&'static str, usize>,
    pub products: usize,
    pub clears: usize,
    /// Each waits for the GPU.
    pub downloads: usize,
    /// Each waits for the GPU.
    pub uploads: usize,
    pub uploads_beside: usize,
}

impl Counts {
    /// Kernels, products and clears.
    pub fn launched(&self) -> usize {
        self.launches.values().sum::<usize>() + self.products + self.clears
    }

    /// Times that the host waits.
    pub fn waits(&self) -> usize {
        self.downloads + self.uploads
    }
}

/// What is told of each call that computes, before it happens: the kernel, or `"product"` with its second operand.
pub type Witness = dyn Fn(&dyn Gpu, &'static str, [u32; 2], &[Arg]) + Send + Sync;

pub struct Counting {
    gpu: Arc<dyn Gpu>,
    counts: Mutex<Counts>,
    witness: Box<Witness>,
}

impl Counting {
    pub fn new(gpu: Arc<dyn Gpu>) -> Arc<Self> {
        Counting::before(gpu, |_, _, _, _| {})
    }

    /// Tells a witness of each call that computes.
    pub fn before(
        gpu: Arc<dyn Gpu>,
        witness: impl Fn(&dyn Gpu, &'static str, [u32; 2], &[Arg]) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Counting { gpu, counts: Mutex::default(), witness: Box::new(witness) })
    }

    /// As a GPU to compute on.
    pub fn gpu(self: &Arc<Self>) -> Arc<dyn Gpu> {
        self.clone()
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from 0 on again, but for the memory.
    pub fn restart(&self) {
        let mut counts = self.counts();
        *counts = Counts { live: counts.live, peak: counts.peak, ..Counts::default() };
    }
}

impl Gpu for Counting {
    fn name(&self) -> &str {
        self.gpu.name()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let mut counts = self.counts();
        counts.live += bytes as u64;
        counts.peak = counts.peak.max(counts.live);
        counts.allocations += 1;
        self.gpu.allocate(bytes)
    }

    fn release(&self, place: u64, bytes: usize) {
        self.counts().live -= bytes as u64;
        self.gpu.release(place, bytes);
    }

    fn clear(&self, place: u64, bytes: usize) -> Result<()> {
        self.counts().clears += 1;
        self.gpu.clear(place, bytes)
    }

    fn upload(&self, place: u64, bytes: &[u8]) -> Result<()> {
        self.counts().uploads += 1;
        self.gpu.upload(place, bytes)
    }

    fn download(&self, place: u64, bytes: &mut [u8]) -> Result<()> {
        self.counts().downloads += 1;
        self.gpu.download(place, bytes)
    }

    fn allocate_host(&self, bytes: usize) -> Result<u64> {
        self.gpu.allocate_host(bytes)
    }

    fn release_host(&self, host: u64, bytes: usize) {
        self.gpu.release_host(host, bytes);
    }

    fn upload_beside(&self, place: u64, host: u64, bytes: usize) -> Result<()> {
        self.counts().uploads_beside += 1;
        self.gpu.upload_beside(place, host, bytes)
    }

    fn join_uploads(&self) -> Result<()> {
        self.gpu.join_uploads()
    }

    fn launch(&self, kernel: &'static str, grid: [u32; 2], args: &[Arg]) -> Result<()> {
        *self.counts().launches.entry(kernel).or_default() += 1;
        (self.witness)(&*self.gpu, kernel, grid, args);
        self.gpu.launch(kernel, grid, args)
    }

    fn product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        self.counts().products += 1;
        (self.witness)(&*self.gpu, "product", [1, 1], &[Arg::Place(b)]);
        self.gpu.product(product, a, b, c)
    }

    fn has_narrow(&self) -> bool {
        self.gpu.has_narrow()
    }

    fn narrow_product(&self, of: Narrow, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        self.counts().products += 1;
        (self.witness)(&*self.gpu, "product", [1, 1], &[Arg::Place(b)]);
        self.gpu.narrow_product(of, product, a, b, c)
    }

    fn rounded_product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        self.counts().products += 1;
        self.gpu.rounded_product(product, a, b, c)
    }
}
