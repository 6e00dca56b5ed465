//! What a GPU must offer. The driver of a real card is one of these; the tests have another that runs the same kernels on the CPU.

use crate::ml::Result;

/// An argument of a kernel; the kernel must declare the same type.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// An address in the GPU's memory; 0 is none.
    Place(u64),
    U32(u32),
    U64(u64),
    F32(f32),
    F64(f64),
}

/// How the operands of a product lie in memory, both row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// C = A B^T with A `[m, k]` and B `[n, k]`: rows with rows.
    Rows,
    /// C = A B with A `[m, k]` and B `[k, n]`.
    Plain,
    /// C = A^T B with A `[k, m]` and B `[k, n]`.
    Turned,
}

/// A product of f32 matrices, C `[m, n]`, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub form: Form,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// Products of numbers that were rounded before, with sums in f32 and an f32 result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow {
    /// f32 numbers with 10 bits of mantissa, which the unit reads as they are.
    Tf32,
    /// Two bytes each.
    Bf16,
}

/// A GPU: memory, the kernels of [`super::kernels`], and dense products. What is asked of it happens in the order of the calls.
///
/// Every error names what failed; after one the memory may hold anything, and nothing more should be asked.
pub trait Gpu: Send + Sync {
    /// As a report states it.
    fn name(&self) -> &str;

    /// The address of so many bytes of its memory, which hold anything.
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// Gives memory back.
    fn release(&self, place: u64, bytes: usize);

    /// Sets bytes to zero.
    fn clear(&self, place: u64, bytes: usize) -> Result<()>;

    /// Copies bytes there; they are not needed any more when this comes back.
    fn upload(&self, place: u64, bytes: &[u8]) -> Result<()>;

    /// Copies bytes from there, once everything before is done.
    fn download(&self, place: u64, bytes: &mut [u8]) -> Result<()>;

    /// The address of so many bytes of the host's memory, which hold anything: [`Gpu::upload_beside`] copies from there.
    fn allocate_host(&self, bytes: usize) -> Result<u64>;

    /// Gives memory of the host back, once nothing is copied from it any more.
    fn release_host(&self, host: u64, bytes: usize);

    /// Begins to copy bytes from memory of [`Gpu::allocate_host`]. It happens beside all else: now, or as late as
    /// [`Gpu::join_uploads`]. Until a download that follows that one has come back nobody may change the source, and until the join
    /// nothing may touch the place: what still read it must have been waited for.
    fn upload_beside(&self, place: u64, host: u64, bytes: usize) -> Result<()>;

    /// What is asked from here on comes after the copies begun beside.
    fn join_uploads(&self) -> Result<()>;

    /// Runs a kernel on a grid of blocks of [`super::kernels::BLOCK`] threads.
    fn launch(&self, kernel: &'static str, grid: [u32; 2], args: &[Arg]) -> Result<()>;

    /// Writes a product to C.
    fn product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()>;

    /// Whether it has units for narrow numbers.
    fn has_narrow(&self) -> bool;

    /// Writes a product of narrow numbers to C (f32). Only where there are such units.
    fn narrow_product(&self, of: Narrow, product: Product, a: u64, b: u64, c: u64) -> Result<()>;

    /// Writes a product of bf16 numbers, summed in f32, to C as bf16, each sum rounded once. Only where there are units for narrow numbers.
    fn rounded_product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()>;
}

impl std::fmt::Debug for dyn Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
