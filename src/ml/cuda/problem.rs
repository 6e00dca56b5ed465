//! Why a card cannot be used, and what to do about it.

/// What is missing. Its text says what was looked for; [`Problem::help`] what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("this build of xd has no CUDA")]
    NotBuilt,
    #[error("the NVIDIA driver was not found (libcuda.so.1)")]
    NoDriver,
    #[error("the NVIDIA driver finds no card ({0})")]
    NoCard(String),
    #[error("there is no card {wanted}: the driver finds {found}, counted from 0")]
    NoSuchCard { wanted: usize, found: usize },
    #[error("NVRTC was not found (libnvrtc.so.13 or .12)")]
    NoNvrtc,
    #[error("cuBLAS was not found (libcublas.so.13 or .12)")]
    NoCublas,
    #[error("{operation} failed on the card: {message}")]
    Failed { operation: &'static str, message: String },
}

impl Problem {
    /// The next step.
    pub fn help(&self) -> &'static str {
        match self {
            Problem::NotBuilt => {
                "build it with `cargo build --release --features cuda` (on by default); that needs no CUDA toolkit"
            }
            Problem::NoDriver => {
                "install NVIDIA's driver for the card (`nvidia-smi` then shows it), or in a container let the host's driver in"
            }
            Problem::NoCard(_) => {
                "see what `nvidia-smi` says; CUDA_VISIBLE_DEVICES may hide the cards, and after an update of the driver the machine \
                 wants a restart"
            }
            Problem::NoSuchCard { .. } => "`xd doctor` lists the cards",
            Problem::NoNvrtc | Problem::NoCublas => {
                "`scripts/cuda-toolkit.sh DIR` lays both libraries out of NVIDIA's wheels, and any CUDA 12 or 13 toolkit has them; \
                 LD_LIBRARY_PATH must name their folder"
            }
            Problem::Failed { .. } => {
                "see whether another program uses the card (`nvidia-smi`); a smaller batch or fewer latents need less of its memory"
            }
        }
    }
}

impl From<Problem> for crate::ml::Error {
    fn from(problem: Problem) -> Self {
        crate::ml::Error::invalid("cuda", format!("{problem}; {}", problem.help()))
    }
}
