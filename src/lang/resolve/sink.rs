//! Where mistakes gather: each once.

use crate::lang::diagnostic::Diagnostic;

/// Diagnostics in the order in which they were found, without repetitions.
#[derive(Debug, Default)]
pub struct Sink {
    found: Vec<Diagnostic>,
}

impl Sink {
    /// Adds a diagnostic unless the same mistake at the same place is there already.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let known = self.found.iter().any(|d| d.code == diagnostic.code && d.span == diagnostic.span);
        if !known {
            self.found.push(diagnostic);
        }
    }

    /// Everything that was found.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.found
    }

    /// True when something that stops a run was found.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == crate::lang::diagnostic::Severity::Error)
    }
}
