//! Why L1 makes base norms exactly 0 (docs/method.md 1.5; "L1 gradients" of the published code).

use super::super::axis::Axis;
use super::super::data::{Data, Field, Group};
use super::super::palette::{self, TUNED};
use super::super::shape::{PanelSize, Ramp, Shape, Sketch};

/// Both norms go from 0 to this, as in the published figure.
const END: f64 = 100.0;
/// Arrows along each side.
const ARROWS: usize = 10;
/// Norms (base, tuned) of the latents whose descent is drawn.
const STARTS: [(f64, f64); 3] = [(20.0, 95.0), (50.0, 92.0), (92.0, 40.0)];

/// A penalty on the norms of a latent's decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Penalty {
    /// ||d_base|| + ||d_tuned||.
    Sum,
    /// sqrt(||d_base||^2 + ||d_tuned||^2).
    Concatenated,
}

impl Penalty {
    /// The negative gradient of sqrt(x^2) + sqrt(y^2), or of sqrt(x^2 + y^2); 0 along a norm that is 0.
    fn pull(self, x: f64, y: f64) -> (f64, f64) {
        match self {
            Self::Sum => (-sign(x), -sign(y)),
            Self::Concatenated => {
                let length = x.hypot(y);
                if length == 0.0 { (0.0, 0.0) } else { (-x / length, -y / length) }
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sum => "crosscoder: ||d base|| + ||d tuned||",
            Self::Concatenated => "SAE: √(||d base||² + ||d tuned||²)",
        }
    }
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

const PENALTIES: [Penalty; 2] = [Penalty::Sum, Penalty::Concatenated];

/// Panels without rows, one a penalty.
pub fn data() -> Data {
    let field = |title: &str| Field { column: String::new(), title: title.to_owned(), words: None, whole: false };
    Data {
        points: Vec::new(),
        x: field("||d base||"),
        y: Some(field("||d tuned||")),
        amount: None,
        groups: vec![Group { label: String::new(), color: TUNED }],
        facets: PENALTIES.iter().map(|p| p.name().to_owned()).collect(),
        notes: Vec::new(),
    }
}

/// Arrows along the pull of each penalty, coloured by the pull on the base norm, and the descent of three latents.
pub fn sketch(size: PanelSize) -> Sketch {
    let panels = PENALTIES.iter().map(|penalty| panel(*penalty)).collect();
    let count = size.ticks();
    let axis = |count: usize, title: &str| Axis::linear(-2.0, END, &[], count, title.to_owned());
    let (x, y) = (axis(count.0, "base decoder norm ||d base||"), axis(count.1, "tuned decoder norm ||d tuned||"));
    let ramp = Ramp { axis: Axis::linear(0.0, 1.0, &[], 4, "pull on ||d base||".to_owned()), color: palette::strength };
    let notes = vec![
        "arrows: where descent on the penalty moves the two norms; orange: three latents, each followed for as long as the \
         crosscoder penalty needs to bring one norm to 0. Under the sum of norms the pull on ||d base|| is the same however small it \
         is, so it reaches 0 exactly; under the concatenated norm the pull fades with it, and the ratio of the norms stays"
            .to_owned(),
    ];
    Sketch { ramp: Some(ramp), ..Sketch::new(x, y, panels, notes) }
}

fn panel(penalty: Penalty) -> Vec<Shape> {
    let step = END / ARROWS as f64;
    let mut shapes = Vec::new();
    for i in 0..ARROWS {
        for j in 0..ARROWS {
            let (x, y) = ((i as f64 + 0.5) * step, (j as f64 + 0.5) * step);
            let (dx, dy) = penalty.pull(x, y);
            // The longest pull, sqrt(2), takes four fifths of the way to the next arrow.
            let reach = step * 0.4;
            let from = (x - dx * reach / 2.0, y - dy * reach / 2.0);
            let to = (x + dx * reach / 2.0, y + dy * reach / 2.0);
            shapes.push(Shape::Arrow { from, to, color: palette::strength(dx.abs()) });
        }
    }
    for (x, y) in STARTS {
        let points = descent(penalty, x, y, x.min(y));
        let end = points[points.len() - 1];
        shapes.push(Shape::Line { points, color: TUNED, dash: "", dots: false });
        shapes.push(Shape::Points { points: vec![end], color: TUNED });
    }
    shapes
}

/// The path of steepest descent for so long; both penalties pull along straight lines.
fn descent(penalty: Penalty, x: f64, y: f64, long: f64) -> Vec<(f64, f64)> {
    let (dx, dy) = penalty.pull(x, y);
    vec![(x, y), (x + dx * long, y + dy * long)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields against differences of the penalties.
    #[test]
    fn pulls_are_negative_gradients() {
        for penalty in PENALTIES {
            let value = |x: f64, y: f64| match penalty {
                Penalty::Sum => (x * x).sqrt() + (y * y).sqrt(),
                Penalty::Concatenated => (x * x + y * y).sqrt(),
            };
            for (x, y) in [(5.0, 95.0), (50.0, 50.0), (80.0, 3.0)] {
                let h = 1e-5;
                let slow = (
                    -(value(x + h, y) - value(x - h, y)) / (2.0 * h),
                    -(value(x, y + h) - value(x, y - h)) / (2.0 * h),
                );
                let fast = penalty.pull(x, y);
                assert!((fast.0 - slow.0).abs() < 1e-8 && (fast.1 - slow.1).abs() < 1e-8, "{penalty:?} {x} {y}");
            }
        }
    }

    /// The point of the figure: the sum reaches 0 exactly, the other keeps the ratio of the norms.
    #[test]
    fn only_the_sum_reaches_zero() {
        for (x, y) in STARTS {
            let sum = descent(Penalty::Sum, x, y, x.min(y))[1];
            assert_eq!(sum.0.min(sum.1), 0.0);
            let other = descent(Penalty::Concatenated, x, y, x.min(y))[1];
            assert!(other.0 > 0.0 && other.1 > 0.0 && (other.0 / other.1 - x / y).abs() < 1e-12);
        }
    }
}
