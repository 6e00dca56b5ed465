//! A real card: the CUDA driver, NVRTC for the kernels and cuBLAS for products. All three are opened when a card is asked for.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::fmt::Debug;
use std::sync::Arc;

use cudarc::cublas::sys::{cublasComputeType_t as Compute, cudaDataType as Numbers};
use cudarc::cublas::{CudaBlas, result as blas, sys as blas_sys};
use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaModule, CudaStream, LaunchConfig, PushKernelArg, result as driver,
    sys as driver_sys,
};
use cudarc::nvrtc::{Ptx, result as nvrtc, sys as nvrtc_sys};

use super::architecture::Architecture;
use super::by_columns::ByColumns;
use super::gpu::{Arg, Gpu, Narrow, Product};
use super::kernels::{BLOCK, NAMES, SOURCE};
use super::open::CardInfo;
use super::problem::Problem;
use crate::ml::{Error, Result};

/// A card with its kernels.
pub struct Card {
    name: String,
    stream: Arc<CudaStream>,
    /// Copies to the card run here, beside the other stream.
    uploads: Arc<CudaStream>,
    /// The last allocation of `stream`, before which its memory may not be used elsewhere, and the last copy of `uploads`.
    allocated: CudaEvent,
    uploaded: CudaEvent,
    kernels: BTreeMap<&'static str, CudaFunction>,
    products: CudaBlas,
    /// Compute capability 8.0 or later.
    has_narrow: bool,
    /// Keeps the kernels loaded.
    _module: Arc<CudaModule>,
}

fn failed<E: Debug>(operation: &'static str) -> impl Fn(E) -> Problem {
    move |error| Problem::Failed { operation, message: format!("{error:?}") }
}

/// The driver ready to be asked, and the number of cards.
fn start() -> std::result::Result<usize, Problem> {
    // SAFETY: opens libraries by name.
    let (has_driver, has_nvrtc, has_cublas) =
        unsafe { (driver_sys::is_culib_present(), nvrtc_sys::is_culib_present(), blas_sys::is_culib_present()) };
    if !has_driver {
        return Err(Problem::NoDriver);
    }
    let no_card = |error: driver::DriverError| Problem::NoCard(format!("{error:?}"));
    driver::init().map_err(no_card)?;
    let count = driver::device::get_count().map_err(no_card)?;
    match (count, has_nvrtc, has_cublas) {
        (..=0, _, _) => Err(Problem::NoCard("it counts 0".to_string())),
        (_, false, _) => Err(Problem::NoNvrtc),
        (_, _, false) => Err(Problem::NoCublas),
        (count, true, true) => Ok(count as usize),
    }
}

/// The cards of this machine.
pub fn list() -> std::result::Result<Vec<CardInfo>, Problem> {
    (0..start()?).map(info).collect()
}

fn info(number: usize) -> std::result::Result<CardInfo, Problem> {
    let context = CudaContext::new(number).map_err(failed("opening it"))?;
    let (major, minor) = context.compute_capability().map_err(failed("asking for its capability"))?;
    let (free, memory) = context.mem_get_info().map_err(failed("asking for its memory"))?;
    Ok(CardInfo {
        number,
        name: context.name().map_err(failed("asking for its name"))?,
        capability: format!("{major}.{minor}"),
        memory: memory as u64,
        free: free as u64,
    })
}

impl Card {
    /// Opens a card and compiles the kernels for it (a few seconds).
    pub fn open(number: usize) -> std::result::Result<Self, Problem> {
        let found = start()?;
        if number >= found {
            return Err(Problem::NoSuchCard { wanted: number, found });
        }
        let context = CudaContext::new(number).map_err(failed("opening it"))?;
        // SAFETY: everything but copies beside runs in one stream, in the order of the calls; those are joined by events of our own.
        unsafe { context.disable_event_tracking() };
        let (major, minor) = context.compute_capability().map_err(failed("asking for its capability"))?;
        let known = known_architectures()?;
        let architecture = Architecture::of((major, minor), &known).ok_or_else(|| {
            let oldest = known.iter().min().map_or(0, |oldest| *oldest);
            let oldest = format!("NVRTC here compiles for cards from {}.{} on", oldest / 10, oldest % 10);
            failed("compiling the kernels")(format!("{oldest}, this one has {major}.{minor}; take an older CUDA"))
        })?;
        let module = context.load_module(compile(&architecture)?).map_err(failed("loading the kernels"))?;
        let kernels = NAMES
            .iter()
            .map(|&name| Ok((name, module.load_function(name)?)))
            .collect::<std::result::Result<_, driver::DriverError>>()
            .map_err(failed("finding the kernels"))?;
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let uploads = context.new_stream().map_err(failed("making a stream"))?;
        let event = || context.new_event(None).map_err(failed("making an event"));
        let (allocated, uploaded) = (event()?, event()?);
        let products = CudaBlas::new(stream.clone()).map_err(failed("opening cuBLAS"))?;
        // Parts of a sum are added in f32 also where the result is bf16.
        let mode = blas_sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        // SAFETY: the handle was just made.
        unsafe { blas_sys::cublasSetMathMode(*products.handle(), mode) }.result().map_err(failed("opening cuBLAS"))?;
        let product = context.name().map_err(failed("asking for its name"))?;
        let name = format!("cuda:{number}, {product}");
        Ok(Card {
            name,
            stream,
            uploads,
            allocated,
            uploaded,
            kernels,
            products,
            has_narrow: major >= 8,
            _module: module,
        })
    }

    /// This thread uses the card from here on.
    fn here(&self) -> std::result::Result<driver_sys::CUstream, driver::DriverError> {
        self.stream.context().bind_to_thread()?;
        Ok(self.stream.cu_stream())
    }

    /// A product of numbers of a type that gives numbers of another, summed in f32 as cuBLAS's `compute` says.
    fn multiply(&self, of: Product, [numbers, out]: [Numbers; 2], compute: Compute, [a, b, c]: [u64; 3]) -> Result<()> {
        use blas_sys::cublasOperation_t::{CUBLAS_OP_N as AS_IT_IS, CUBLAS_OP_T as TURNED};
        let of = ByColumns::of(of);
        let size = |size: usize| i32::try_from(size).map_err(error("a product"));
        let turn = |is_turned: bool| if is_turned { TURNED } else { AS_IT_IS };
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = (std::ptr::from_ref(&one).cast::<c_void>(), std::ptr::from_ref(&zero).cast::<c_void>());
        let algorithm = blas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
        self.here().map_err(error("a product"))?;
        // SAFETY: memory of `allocate` in the sizes that the product states.
        unsafe {
            blas::gemm_ex(
                *self.products.handle(),
                turn(of.turn_first),
                turn(of.turn_second),
                size(of.m)?,
                size(of.n)?,
                size(of.k)?,
                one,
                b as *const c_void,
                numbers,
                size(of.lead_first)?,
                a as *const c_void,
                numbers,
                size(of.lead_second)?,
                zero,
                c as *mut c_void,
                out,
                size(of.lead_out)?,
                compute,
                algorithm,
            )
        }
        .map_err(error("a product"))
    }
}

/// What NVRTC compiles for: 90 is 9.0.
fn known_architectures() -> std::result::Result<Vec<i32>, Problem> {
    let fail = failed("asking NVRTC what it compiles for");
    // SAFETY: the list has the length that NVRTC states.
    unsafe {
        let mut count = 0;
        nvrtc_sys::nvrtcGetNumSupportedArchs(&mut count).result().map_err(&fail)?;
        let mut known = vec![0; count.max(0) as usize];
        nvrtc_sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result().map_err(&fail)?;
        Ok(known)
    }
}

/// The kernels for an architecture. Fused multiply-add is left to the compiler; square roots, divisions
/// and denormal numbers are those of IEEE 754.
pub fn compile(architecture: &Architecture) -> std::result::Result<Ptx, Problem> {
    let fail = failed("compiling the kernels");
    let source = CString::new(SOURCE).map_err(failed("compiling the kernels"))?;
    let program = nvrtc::create_program(&source, Some(c"xd.cu")).map_err(&fail)?;
    let options = [format!("--gpu-architecture={}", architecture.name())];
    // SAFETY: the program was just made, and buffers have the sizes that NVRTC states.
    unsafe {
        let outcome = nvrtc::compile_program(program, &options).map_err(|error| {
            let log = nvrtc::get_program_log(program).unwrap_or_default();
            let log = if log.is_empty() {
                String::new()
            } else {
                CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned()
            };
            Problem::Failed {
                operation: "compiling the kernels",
                message: format!("{error:?} for {}: {log}", architecture.name()),
            }
        });
        let code = outcome.and_then(|()| match architecture {
            Architecture::Machine(_) => {
                let mut size = 0;
                nvrtc_sys::nvrtcGetCUBINSize(program, &mut size).result().map_err(&fail)?;
                let mut code = vec![0u8; size];
                nvrtc_sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result().map_err(&fail)?;
                Ok(Ptx::from_binary(code))
            }
            Architecture::Portable(_) => {
                let text = nvrtc::get_ptx(program).map_err(&fail)?;
                // The text ends with a zero.
                Ok(Ptx::from_src(CStr::from_ptr(text.as_ptr()).to_string_lossy()))
            }
        });
        nvrtc::destroy_program(program).map_err(&fail)?;
        code
    }
}

fn error<E: Debug>(operation: &'static str) -> impl Fn(E) -> Error {
    move |error| failed(operation)(error).into()
}

impl Gpu for Card {
    fn name(&self) -> &str {
        &self.name
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        // SAFETY: whoever asked writes before reading.
        let memory = unsafe { self.stream.alloc::<u8>(bytes.max(1)) }.map_err(|problem| {
            let free = self.stream.context().mem_get_info().map_or(0, |(free, _)| free);
            error("allocating memory")(format!("{bytes} bytes of {free} that are free, {problem:?}"))
        })?;
        self.allocated.record(&self.stream).map_err(error("allocating memory"))?;
        Ok(memory.leak())
    }

    fn release(&self, place: u64, bytes: usize) {
        // An error shows at the next call.
        let _ = self.here();
        // SAFETY: memory of `allocate`; it is freed in the order of the stream, after what still uses it.
        drop(unsafe { self.stream.upgrade_device_ptr::<u8>(place, bytes.max(1)) });
    }

    fn clear(&self, place: u64, bytes: usize) -> Result<()> {
        let stream = self.here().map_err(error("clearing memory"))?;
        // SAFETY: memory of `allocate`.
        unsafe { driver::memset_d8_async(place, 0, bytes, stream) }.map_err(error("clearing memory"))
    }

    fn upload(&self, place: u64, bytes: &[u8]) -> Result<()> {
        let stream = self.here().map_err(error("copying to it"))?;
        // SAFETY: memory of `allocate`; waited for below, because a driver may read pageable memory after the call.
        unsafe { driver::memcpy_htod_async(place, bytes, stream) }.map_err(error("copying to it"))?;
        self.stream.synchronize().map_err(error("copying to it"))
    }

    fn download(&self, place: u64, bytes: &mut [u8]) -> Result<()> {
        let stream = self.here().map_err(error("copying from it"))?;
        // SAFETY: memory of `allocate`; waited for below.
        unsafe { driver::memcpy_dtoh_async(bytes, place, stream) }.map_err(error("copying from it"))?;
        self.stream.synchronize().map_err(error("a kernel"))
    }

    fn allocate_host(&self, bytes: usize) -> Result<u64> {
        self.here().map_err(error("allocating page-locked memory"))?;
        // SAFETY: whoever asked writes before reading. Without flags it is ordinary memory for the processor.
        let memory = unsafe { driver::malloc_host(bytes.max(1), 0) }
            .map_err(|problem| error("allocating page-locked memory")(format!("{bytes} bytes, {problem:?}")))?;
        Ok(memory as u64)
    }

    fn release_host(&self, host: u64, _bytes: usize) {
        // A copy that nobody waited for may still read it. An error shows at the next call.
        let _ = self.uploads.synchronize();
        // SAFETY: memory of `allocate_host`.
        let _ = unsafe { driver::free_host(host as *mut c_void) };
    }

    fn upload_beside(&self, place: u64, host: u64, bytes: usize) -> Result<()> {
        let fail = error("copying to it beside");
        self.uploads.wait(&self.allocated).map_err(&fail)?;
        // SAFETY: `host` has so many bytes, is page-locked, and is left alone until the copy has been joined and waited for.
        unsafe {
            let from = std::slice::from_raw_parts(host as *const u8, bytes);
            driver::memcpy_htod_async(place, from, self.uploads.cu_stream()).map_err(&fail)
        }
    }

    fn join_uploads(&self) -> Result<()> {
        let fail = error("joining the copies");
        self.uploaded.record(&self.uploads).map_err(&fail)?;
        self.stream.wait(&self.uploaded).map_err(&fail)
    }

    fn launch(&self, kernel: &'static str, grid: [u32; 2], args: &[Arg]) -> Result<()> {
        let function = self.kernels.get(kernel).ok_or_else(|| error(kernel)("no such kernel"))?;
        let shape =
            LaunchConfig { grid_dim: (grid[0], grid[1], 1), block_dim: (BLOCK as u32, 1, 1), shared_mem_bytes: 0 };
        let mut call = self.stream.launch_builder(function);
        for arg in args {
            match arg {
                Arg::Place(value) | Arg::U64(value) => call.arg(value),
                Arg::U32(value) => call.arg(value),
                Arg::F32(value) => call.arg(value),
                Arg::F64(value) => call.arg(value),
            };
        }
        // SAFETY: the emulator of the tests checks the arguments of every kernel against its declaration.
        unsafe { call.launch(shape) }.map(|_| ()).map_err(error(kernel))
    }

    fn product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        // Without TF32.
        self.multiply(product, [Numbers::CUDA_R_32F; 2], Compute::CUBLAS_COMPUTE_32F, [a, b, c])
    }

    fn has_narrow(&self) -> bool {
        self.has_narrow
    }

    fn narrow_product(&self, of: Narrow, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        let (numbers, compute) = match of {
            Narrow::Tf32 => (Numbers::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F_FAST_TF32),
            Narrow::Bf16 => (Numbers::CUDA_R_16BF, Compute::CUBLAS_COMPUTE_32F),
        };
        self.multiply(product, [numbers, Numbers::CUDA_R_32F], compute, [a, b, c])
    }

    fn rounded_product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        self.multiply(product, [Numbers::CUDA_R_16BF; 2], Compute::CUBLAS_COMPUTE_32F, [a, b, c])
    }
}
