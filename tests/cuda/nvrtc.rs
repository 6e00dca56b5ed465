//! NVRTC compiles every kernel for real cards, without one.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
use xd::ml::cuda::{Architecture, kernels};

/// Where `scripts/cuda-toolkit.sh target/cuda` lays NVRTC out, then where the system looks.
fn library() -> Option<Library> {
    let folder = std::env::var("XD_CUDA_TOOLKIT").map_or_else(|_| "target/cuda".into(), PathBuf::from);
    let laid_out = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("lib");
    let open = |path: &Path| {
        // SAFETY: NVRTC and its builtins run nothing when they are opened.
        unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }.ok()
    };
    // NVRTC opens its builtins by name; from here it would not find them.
    for name in std::fs::read_dir(&laid_out).into_iter().flatten().flatten() {
        if name.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so") {
            std::mem::forget(open(&name.path()));
        }
    }
    let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
    names.iter().find_map(|name| open(&laid_out.join(name)).or_else(|| open(Path::new(name))))
}

/// A program being compiled, as NVRTC's header declares the calls.
struct Nvrtc<'a> {
    library: &'a Library,
    program: *mut c_void,
}

impl Nvrtc<'_> {
    fn size_and_text(&self, size: &str, text: &str) -> Vec<u8> {
        type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
        type Text = unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int;
        // SAFETY: the two calls of NVRTC with these names have these types.
        unsafe {
            let mut bytes = 0usize;
            assert_eq!(self.library.get::<Size>(size.as_bytes()).unwrap()(self.program, &mut bytes), 0, "{size}");
            let mut out = vec![0u8; bytes];
            assert_eq!(self.library.get::<Text>(text.as_bytes()).unwrap()(self.program, out.as_mut_ptr().cast()), 0);
            out
        }
    }
}

/// The architectures that NVRTC knows.
fn known(library: &Library) -> Vec<c_int> {
    type Call = unsafe extern "C" fn(*mut c_int) -> c_int;
    let mut count = 0;
    // SAFETY: as NVRTC's header declares both; the list has the length that the first states.
    unsafe {
        assert_eq!(library.get::<Call>(b"nvrtcGetNumSupportedArchs").unwrap()(&mut count), 0);
        let mut known = vec![0; count as usize];
        assert_eq!(library.get::<Call>(b"nvrtcGetSupportedArchs").unwrap()(known.as_mut_ptr()), 0);
        known
    }
}

/// The kernels for an architecture: machine code, or PTX.
fn compile(library: &Library, of: &Architecture) -> Vec<u8> {
    let architecture = of.name();
    type Create = unsafe extern "C" fn(
        *mut *mut c_void,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int;
    type Compile = unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
    let source = CString::new(kernels::SOURCE).unwrap();
    let option = CString::new(format!("--gpu-architecture={architecture}")).unwrap();
    let options = [option.as_ptr(), c"--ptxas-options=-v".as_ptr()];
    let mut program = std::ptr::null_mut();
    // SAFETY: as above; the strings outlive the calls.
    let outcome = unsafe {
        let create = library.get::<Create>(b"nvrtcCreateProgram").unwrap();
        let none = std::ptr::null();
        assert_eq!(create(&mut program, source.as_ptr(), c"xd.cu".as_ptr(), 0, none, none), 0);
        library.get::<Compile>(b"nvrtcCompileProgram").unwrap()(program, 2, options.as_ptr())
    };
    let nvrtc = Nvrtc { library, program };
    let log = nvrtc.size_and_text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
    let log = String::from_utf8_lossy(&log);
    // Nothing is said but what kernels take.
    let is_asked = |line: &str| line.contains("ptxas info") || line.contains("bytes stack frame");
    let is_quiet = log.trim_matches('\0').lines().all(|line| line.trim().is_empty() || is_asked(line));
    assert!(outcome == 0 && is_quiet, "{architecture}: {outcome}\n{log}");
    // Of each kernel of machine code: "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads".
    let spills: Vec<&str> = log.lines().filter(|line| line.contains("bytes spill stores")).collect();
    let is_machine = matches!(of, Architecture::Machine(_));
    assert!(
        !is_machine || spills.len() >= kernels::NAMES.len(),
        "{architecture}: what kernels spill is not said\n{log}"
    );
    let all_are_kept = spills.iter().all(|line| line.contains(" 0 bytes spill stores"));
    assert!(all_are_kept, "{architecture}: registers are spilled\n{log}");
    match of {
        Architecture::Machine(_) => nvrtc.size_and_text("nvrtcGetCUBINSize", "nvrtcGetCUBIN"),
        Architecture::Portable(_) => nvrtc.size_and_text("nvrtcGetPTXSize", "nvrtcGetPTX"),
    }
}

#[test]
fn every_kernel_compiles_for_real_cards_without_a_warning() {
    let Some(library) = library() else {
        eprintln!(
            "SKIPPED, the kernels are not compiled for real cards: NVRTC is not here; scripts/cuda-toolkit.sh target/cuda"
        );
        return;
    };
    let known = known(&library);
    for (capability, architecture) in [((8, 0), "sm_80"), ((9, 0), "sm_90")] {
        let of = Architecture::of(capability, &known).unwrap();
        assert_eq!(of, Architecture::Machine(architecture.to_string()));
        let code = compile(&library, &of);
        assert!(code.starts_with(b"\x7fELF"), "{architecture}");
        for name in kernels::NAMES {
            let symbol = format!(".text.{name}\0");
            assert!(code.windows(symbol.len()).any(|window| window == symbol.as_bytes()), "{architecture}: no {name}");
        }
    }
    // A card of the future.
    let newest = Architecture::of((99, 9), &known).unwrap();
    assert_eq!(newest, Architecture::Portable(format!("compute_{}", known.iter().max().unwrap())));
    let text = String::from_utf8(compile(&library, &newest)).unwrap();
    for name in kernels::NAMES {
        assert!(text.contains(&format!(".entry {name}(")), "PTX: no {name}");
    }
}
