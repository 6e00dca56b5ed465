//! What the kernels are compiled to for a card.

/// A target of NVRTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Machine code of exactly this card, as `sm_90`.
    Machine(String),
    /// PTX of the newest architecture that NVRTC knows and the card has; the driver compiles it on. As `compute_90`.
    Portable(String),
}

impl Architecture {
    /// For a card of a compute capability, with an NVRTC that knows these (90 is 9.0); `None` for a card older than all of them.
    pub fn of(capability: (i32, i32), known: &[i32]) -> Option<Self> {
        let own = 10 * capability.0 + capability.1;
        let nearest = known.iter().copied().filter(|&one| one <= own).max()?;
        Some(match nearest == own {
            true => Architecture::Machine(format!("sm_{own}")),
            false => Architecture::Portable(format!("compute_{nearest}")),
        })
    }

    /// As the option of NVRTC wants it.
    pub fn name(&self) -> &str {
        match self {
            Architecture::Machine(name) | Architecture::Portable(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_newer_than_nvrtc_gets_ptx_and_one_that_is_too_old_nothing() {
        let known = [75, 80, 86, 90, 100, 120];
        assert_eq!(Architecture::of((9, 0), &known), Some(Architecture::Machine("sm_90".to_string())));
        assert_eq!(Architecture::of((8, 9), &known), Some(Architecture::Portable("compute_86".to_string())));
        assert_eq!(Architecture::of((13, 0), &known), Some(Architecture::Portable("compute_120".to_string())));
        assert_eq!(Architecture::of((7, 0), &known), None);
        assert_eq!(Architecture::of((9, 0), &[]), None);
    }
}
