//! Where to compute: the options of `plan` and `run`.

use std::sync::Arc;

use crate::exec::device::Device;
use crate::ml::cuda::{self, CardInfo, Gpu, Problem};

/// Arguments that say where to compute.
#[derive(clap::Args, Debug)]
pub struct DeviceArgs {
    /// Where models run for activations, `patch`, `quality` and `layers`, crosscoders are trained and Latent Scaling is measured:
    /// `cpu`, `cuda` (the first card) or `cuda:N`. All else is computed on the CPU.
    #[arg(long, default_value = "cpu", value_name = "cpu|cuda|cuda:N")]
    pub device: Choice,
}

/// The device that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Cpu,
    /// A card by its number.
    Cuda(usize),
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Choice::Cpu),
            None if text == "cuda" => Ok(Choice::Cuda(0)),
            Some(("cuda", number)) => number
                .parse()
                .map(Choice::Cuda)
                .map_err(|_| format!("`{number}` is no number of a card; the first is cuda:0")),
            _ => Err("it is cpu, cuda or cuda:N".to_string()),
        }
    }
}

/// Code, message and help of what is refused before anything is computed.
pub type Refusal = (&'static str, String, String);

impl DeviceArgs {
    /// Makes the card ready, if one was asked for.
    ///
    /// # Errors
    /// `no_device` when it cannot be used.
    pub fn open(&self) -> Result<Option<Arc<dyn Gpu>>, Refusal> {
        match self.device {
            Choice::Cpu => Ok(None),
            Choice::Cuda(number) => cuda::open(number).map(Some).map_err(|p| self.refusal(number, &p)),
        }
    }

    /// The card that was asked for, as it is; nothing is done on it.
    ///
    /// # Errors
    /// `no_device` when it cannot be used.
    pub fn look(&self) -> Result<Option<CardInfo>, Refusal> {
        let Choice::Cuda(number) = self.device else { return Ok(None) };
        let cards = cuda::cards().map_err(|problem| self.refusal(number, &problem))?;
        let found = cards.len();
        match cards.into_iter().nth(number) {
            Some(card) => Ok(Some(card)),
            None => Err(self.refusal(number, &Problem::NoSuchCard { wanted: number, found })),
        }
    }

    fn refusal(&self, number: usize, problem: &Problem) -> Refusal {
        let help = format!("{}; without `--device` the same file runs on the CPU", problem.help());
        ("no_device", format!("cuda:{number} cannot be used: {problem}"), help)
    }
}

/// The CPU's name, with the card's and what it does in front.
pub fn with_card(device: Device, card: Option<&str>) -> Device {
    match card {
        None => device,
        Some(card) => {
            let name = format!("{card} for tapped models, training and Latent Scaling, {} for all else", device.name);
            Device { name, ..device }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_as_torch_names_it() {
        assert_eq!("cpu".parse(), Ok(Choice::Cpu));
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(Choice::Cuda(3)));
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda0", "cpu:0", ""] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }
}
