//! Ranges of Delta_norm.

use crate::lang::diagnostic::{Code, Diagnostic};
use crate::lang::plan::draft::At;
use crate::lang::resolve::Sink;

/// A latent can have one class only.
pub fn overlapping(at: &At, sink: &mut Sink) {
    let names = ["base_only", "shared", "tuned_only"];
    for (i, left) in names.iter().enumerate() {
        for right in &names[i + 1..] {
            let (Some(a), Some(b)) = (at.fields.get(left), at.fields.get(right)) else { continue };
            let (Some((a_low, a_high)), Some((b_low, b_high))) = (a.bounds(), b.bounds()) else { continue };
            let overlap = a_low.max(b_low) < a_high.min(b_high);
            let order = a_low > b_low;
            if !overlap && !order {
                continue;
            }
            // Point at the range that was written.
            let (place, other, name, other_name) = match at.is_written(right) {
                Some(_) => (b, a, right, left),
                None => (a, b, left, right),
            };
            let message = match overlap {
                true => format!("the ranges of `{left}` and `{right}` overlap"),
                false => {
                    format!("`{left}` lies above `{right}`, and Delta_norm is 0 for base-only and 1 for tuned-only")
                }
            };
            let mut problem = Diagnostic::new(Code::OverlappingClasses, place.span, message)
                .label(format!("{name} = {}", place.text));
            if at.is_written(other_name).is_some() {
                problem = problem.related(other.span, format!("{other_name} = {}", other.text));
            }
            sink.push(problem.help("the paper has base_only = 0.0..0.1, shared = 0.4..0.6, tuned_only = 0.9..1.0; what falls in none is `other`"));
            return;
        }
    }
}
