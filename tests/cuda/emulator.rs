//! A GPU of the tests: the CUDA kernels compiled as C++ (`emulator.h`) and run on the CPU.
//!
//! Every allocation ends at a page that cannot be read or written, and has one before it, so that a kernel that leaves its
//! arrays ends the test process. Fresh memory holds numbers that are none.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use libloading::Library;
use xd::ml::cuda::{Arg, Array, Form, Gpu, Narrow, Product, kernels};
use xd::ml::kernels::{Matrix, dots, product};
use xd::ml::{Error, Result};

type Launch = unsafe extern "C" fn(*mut *mut c_void, *const c_char, u32, u32, bool) -> *const c_char;

/// The kernels on the CPU.
pub struct Emulator {
    /// Threads and blocks run from the last to the first, and copies beside happen as late as they may.
    backwards: bool,
    has_narrow: bool,
    /// Copies beside that have not happened yet: place, host, bytes.
    late: Mutex<Vec<(u64, u64, usize)>>,
}

/// What is to be had where a C++ compiler is; the tests that need it return where it is not, and say so.
pub fn emulator(backwards: bool) -> Option<Arc<dyn Gpu>> {
    emulated(backwards, true)
}

/// Both orders of threads; none where there is no C++ compiler.
pub fn both_orders() -> Vec<Arc<dyn Gpu>> {
    [false, true].into_iter().filter_map(emulator).collect()
}

/// One without units for narrow numbers, as cards before compute capability 8.0.
pub fn without_narrow() -> Option<Arc<dyn Gpu>> {
    emulated(false, false)
}

fn emulated(backwards: bool, has_narrow: bool) -> Option<Arc<dyn Gpu>> {
    match libraries() {
        Ok(_) => Some(Arc::new(Emulator { backwards, has_narrow, late: Mutex::default() })),
        Err(problem) => {
            eprintln!("SKIPPED, the CUDA kernels are not tested: {problem}");
            None
        }
    }
}

/// The kernels, once for each thread of the machine: they use global variables, so each of these runs one launch at a time.
type Libraries = Vec<Mutex<Library>>;

fn libraries() -> &'static std::result::Result<Libraries, String> {
    static LIBRARIES: OnceLock<std::result::Result<Libraries, String>> = OnceLock::new();
    LIBRARIES.get_or_init(compile)
}

/// One that no launch runs in, or the first.
fn idle(libraries: &Libraries) -> MutexGuard<'_, Library> {
    let found = libraries.iter().find_map(|library| match library.try_lock() {
        Ok(library) => Some(library),
        Err(TryLockError::Poisoned(library)) => Some(library.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    });
    found.unwrap_or_else(|| libraries[0].lock().unwrap_or_else(PoisonError::into_inner))
}

/// Kernels that are wrong, so that the tests see that the emulator notices.
const TRAPS: &str = r#"
extern "C" __global__ void trap_barrier(float* out) {
    if (threadIdx.x < 128) __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void trap_early_end(float* out) {
    if (threadIdx.x == 7) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void trap_race(float* out) {
    __shared__ float room[BLOCK];
    room[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = room[(threadIdx.x + 1) % BLOCK];
}
EMULATED(trap_barrier) EMULATED(trap_early_end) EMULATED(trap_race)
"#;

/// A product of fragments by each warp, for the test of what the emulator makes of it.
const FRAGMENTS: &str = r#"
extern "C" __global__ void multiply_fragments(const u32* a, const u32* b, float* c) {
    multiply_bf16(c + 4 * threadIdx.x, a + 4 * threadIdx.x, b + 2 * threadIdx.x);
}
EMULATED(multiply_fragments)
"#;

fn compile() -> std::result::Result<Libraries, String> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        return Err("the emulator runs on 64-bit Linux only".to_string());
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_string());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cuda-emulator");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut text = format!("{}\n{}\n", include_str!("emulator.h"), kernels::SOURCE);
    kernels::NAMES.iter().for_each(|name| text += &format!("EMULATED({name})\n"));
    text += TRAPS;
    text += FRAGMENTS;
    // Beside other test processes: each compiles under a name of its own.
    let stem = folder.join(format!("kernels-{}", std::process::id()));
    let (source, out) = (stem.with_extension("cpp"), stem.with_extension("so"));
    std::fs::write(&source, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(&compiler);
    command.args(["-std=c++14", "-O2", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-shared"]);
    command
        .args(["-fPIC", "-Wall", "-Werror", "-Wno-unused-function", "-Wno-unknown-pragmas", "-o"])
        .args([&out, &source]);
    let output = command.output().map_err(|error| format!("no C++ compiler `{compiler}` ({error})"))?;
    assert!(output.status.success(), "the kernels do not compile:\n{}", String::from_utf8_lossy(&output.stderr));
    let libraries = (0..std::thread::available_parallelism().map_or(1, usize::from))
        .map(|number| {
            // A file that is open already would be the same library once more.
            let copy = out.with_extension(format!("{number}.so"));
            std::fs::copy(&out, &copy).map_err(|error| error.to_string())?;
            // SAFETY: the library is the one just made; it runs nothing when it is opened.
            let library = unsafe { Library::new(&copy) }.map_err(|error| error.to_string());
            let _ = std::fs::remove_file(&copy);
            library.map(Mutex::new)
        })
        .collect();
    let _ = std::fs::remove_file(&out);
    let _ = std::fs::remove_file(&source);
    libraries
}

const PAGE: usize = 4096;

fn pages(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE) + 2 * PAGE
}

impl Emulator {
    fn late(&self) -> MutexGuard<'_, Vec<(u64, u64, usize)>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gpu for Emulator {
    fn name(&self) -> &str {
        "emulator"
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let all = pages(bytes);
        // SAFETY: a fresh mapping; its pages are given back in `release`.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(std::ptr::null_mut(), all, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "no memory for {bytes} bytes");
            let last = at.add(all - PAGE);
            libc::memset(at.add(PAGE), 0xff, all - 2 * PAGE);
            assert_eq!(libc::mprotect(at, PAGE, libc::PROT_NONE) | libc::mprotect(last, PAGE, libc::PROT_NONE), 0);
            Ok(last as u64 - bytes.next_multiple_of(8) as u64)
        }
    }

    fn release(&self, place: u64, bytes: usize) {
        assert!(self.late().iter().all(|&(to, _, _)| to != place), "memory is given back that a copy still writes");
        let last = place as usize + bytes.next_multiple_of(8);
        // SAFETY: the mapping that `allocate` made.
        unsafe { libc::munmap((last + PAGE - pages(bytes)) as *mut c_void, pages(bytes)) };
    }

    fn clear(&self, place: u64, bytes: usize) -> Result<()> {
        // SAFETY: memory of `allocate`.
        unsafe { std::ptr::write_bytes(place as *mut u8, 0, bytes) };
        Ok(())
    }

    fn upload(&self, place: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: memory of `allocate`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place as *mut u8, bytes.len()) };
        Ok(())
    }

    fn download(&self, place: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: memory of `allocate`.
        unsafe { std::ptr::copy_nonoverlapping(place as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn allocate_host(&self, bytes: usize) -> Result<u64> {
        self.allocate(bytes)
    }

    fn release_host(&self, host: u64, bytes: usize) {
        assert!(self.late().iter().all(|&(_, from, _)| from != host), "memory is given back that a copy still reads");
        self.release(host, bytes);
    }

    fn upload_beside(&self, place: u64, host: u64, bytes: usize) -> Result<()> {
        self.late().push((place, host, bytes));
        if self.backwards { Ok(()) } else { self.join_uploads() }
    }

    fn join_uploads(&self) -> Result<()> {
        for (place, host, bytes) in self.late().drain(..) {
            // SAFETY: memory of `allocate` and `allocate_host`, given back after this.
            unsafe { std::ptr::copy_nonoverlapping(host as *const u8, place as *mut u8, bytes) };
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, grid: [u32; 2], args: &[Arg]) -> Result<()> {
        let libraries = libraries().as_ref().map_err(|problem| Error::invalid(kernel, problem.clone()))?;
        assert!(grid[0] > 0 && grid[1] > 0, "{kernel}: an empty grid {grid:?}");
        let mut words: Vec<u64> = Vec::new();
        let mut types = String::new();
        for arg in args {
            let (word, letter) = match *arg {
                Arg::Place(place) => (place, 'p'),
                Arg::U32(value) => (u64::from(value), 'u'),
                Arg::U64(value) => (value, 'U'),
                Arg::F32(value) => (u64::from(value.to_bits()), 'f'),
                Arg::F64(value) => (value.to_bits(), 'd'),
            };
            words.push(word);
            types.push(letter);
        }
        let mut pointers: Vec<*mut c_void> = words.iter_mut().map(|word| std::ptr::from_mut(word).cast()).collect();
        let types = CString::new(types).unwrap();
        let library = idle(libraries);
        // SAFETY: the library checks the arguments' types; little-endian words begin with the narrower numbers.
        let problem = unsafe {
            let launch = library.get::<Launch>(format!("launch_{kernel}\0").as_bytes()).unwrap();
            CStr::from_ptr(launch(pointers.as_mut_ptr(), types.as_ptr(), grid[0], grid[1], self.backwards))
        };
        assert!(problem.is_empty(), "{kernel}: {}", problem.to_string_lossy());
        Ok(())
    }

    fn product(&self, of: Product, a: u64, b: u64, c: u64) -> Result<()> {
        let Product { form, m, n, k } = of;
        // SAFETY: memory of `allocate` in the sizes that the product states.
        let (a, b, c) = unsafe {
            let read = |place: u64, len: usize| std::slice::from_raw_parts(place as *const f32, len);
            (read(a, m * k), read(b, n * k), std::slice::from_raw_parts_mut(c as *mut f32, m * n))
        };
        match form {
            Form::Rows => dots(c, a, b, k, None),
            Form::Plain => product(c, Matrix::new(a, m, k), Matrix::new(b, k, n)),
            Form::Turned => product(c, Matrix::new(a, k, m).transposed(), Matrix::new(b, k, n)),
        }
        Ok(())
    }

    fn has_narrow(&self) -> bool {
        self.has_narrow
    }

    /// In f32 over the narrow numbers.
    fn narrow_product(&self, of: Narrow, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        assert!(self.has_narrow, "there are no units for narrow numbers");
        let Product { m, n, k, .. } = product;
        let wide = |place: u64, len: usize| -> Vec<f32> {
            // SAFETY: memory of `allocate` in the sizes that the product states.
            unsafe {
                match of {
                    Narrow::Bf16 => std::slice::from_raw_parts(place as *const u16, len)
                        .iter()
                        .map(|&bits| f32::from_bits(u32::from(bits) << 16))
                        .collect(),
                    Narrow::Tf32 => std::slice::from_raw_parts(place as *const f32, len).to_vec(),
                }
            }
        };
        let (a, b) = (wide(a, m * k), wide(b, n * k));
        let tf32 = |value: &f32| value.to_bits() & 0x1fff == 0;
        assert!(of == Narrow::Bf16 || a.iter().chain(&b).all(tf32), "a unit for TF32 would leave bits out");
        self.product(product, a.as_ptr() as u64, b.as_ptr() as u64, c)
    }

    fn rounded_product(&self, product: Product, a: u64, b: u64, c: u64) -> Result<()> {
        let mut sums = vec![0f32; product.m * product.n];
        self.narrow_product(Narrow::Bf16, product, a, b, sums.as_mut_ptr() as u64)?;
        // SAFETY: memory of `allocate` in the size that the product states.
        let c = unsafe { std::slice::from_raw_parts_mut(c as *mut u16, sums.len()) };
        c.iter_mut().zip(sums).for_each(|(c, sum)| *c = half::bf16::from_f32(sum).to_bits());
        Ok(())
    }
}

#[test]
fn what_a_card_would_leave_undefined_is_noticed() {
    let Some(gpu) = emulator(false) else { return };
    let out = Array::<f32>::zeros(&gpu, kernels::BLOCK).unwrap();
    let said = |kernel: &'static str, args: Vec<Arg>| {
        let call = std::panic::AssertUnwindSafe(|| gpu.launch(kernel, [1, 1], &args).unwrap());
        let panic = std::panic::catch_unwind(call).unwrap_err();
        *panic.downcast::<String>().unwrap()
    };
    assert!(said("trap_barrier", vec![out.arg()]).contains("threads wait for others"));
    assert!(said("trap_early_end", vec![out.arg()]).contains("threads wait for others"));
    assert!(said("scan", vec![out.arg(), out.arg()]).contains("other types"));
    assert!(said("trap_race", vec![out.arg(), Arg::U32(1)]).contains("other types"));
    gpu.launch("trap_race", [1, 1], &[out.arg()]).unwrap();
    let forwards = out.get().unwrap();
    assert!(forwards[0].is_nan(), "shared memory is not zero: {}", forwards[0]);
    emulator(true).unwrap().launch("trap_race", [1, 1], &[out.arg()]).unwrap();
    assert!(out.get().unwrap()[0] == 1.0, "the other order shows the missing barrier");
}

/// Two numbers of bf16, the first in the low bits.
fn pair(low: f32, high: f32) -> u32 {
    let bits = |x: f32| u32::from(half::bf16::from_f32(x).to_bits());
    bits(low) | bits(high) << 16
}

/// The fragments as the PTX ISA has them ("Matrix Fragments for mma.m16n8k16 with floating point type"), number by number.
#[test]
fn a_product_of_fragments_is_that_of_the_matrices_that_they_are_of() {
    let (warps, lanes) = (kernels::BLOCK / 32, 32);
    // Whole numbers up to 256 are bf16, and their sums of products are exact in f32.
    let a = |warp: usize, row: usize, column: usize| (row * 16 + column) as f32 - 120.0 - warp as f32;
    let b = |warp: usize, row: usize, column: usize| (row * 8 + column) as f32 + 3.0 * warp as f32;
    let c = |warp: usize, row: usize, column: usize| (1000 * warp + 8 * row + column) as f32;
    let place_of_c = |lane: usize, i: usize| (lane / 4 + if i < 2 { 0 } else { 8 }, lane % 4 * 2 + (i & 1));
    let (mut of_a, mut of_b, mut of_c) = (Vec::new(), Vec::new(), Vec::new());
    for (warp, lane) in (0..warps).flat_map(|warp| (0..lanes).map(move |lane| (warp, lane))) {
        let (group, thread) = (lane / 4, lane % 4);
        let number = |i: usize| {
            let row = if (0..2).contains(&i) || (4..6).contains(&i) { group } else { group + 8 };
            a(warp, row, thread * 2 + (i & 1) + if i < 4 { 0 } else { 8 })
        };
        of_a.extend((0..4).map(|i| pair(number(2 * i), number(2 * i + 1))));
        let number = |i: usize| b(warp, thread * 2 + (i & 1) + if i < 2 { 0 } else { 8 }, group);
        of_b.extend((0..2).map(|i| pair(number(2 * i), number(2 * i + 1))));
        of_c.extend((0..4).map(|i| {
            let (row, column) = place_of_c(lane, i);
            c(warp, row, column)
        }));
    }
    for gpu in both_orders() {
        let (a_, b_) = (Array::of(&gpu, &of_a).unwrap(), Array::of(&gpu, &of_b).unwrap());
        let c_ = Array::of(&gpu, &of_c).unwrap();
        gpu.launch("multiply_fragments", [1, 1], &[a_.arg(), b_.arg(), c_.arg()]).unwrap();
        for (thread, found) in c_.get().unwrap().chunks(4).enumerate() {
            let (warp, lane) = (thread / lanes, thread % lanes);
            for (i, found) in found.iter().enumerate() {
                let (row, column) = place_of_c(lane, i);
                let sum: f32 = (0..16).map(|k| a(warp, row, k) * b(warp, k, column)).sum();
                assert_eq!(*found, c(warp, row, column) + sum, "warp {warp}, row {row}, column {column}");
            }
        }
    }
}
