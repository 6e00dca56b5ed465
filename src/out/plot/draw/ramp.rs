use super::super::canvas::{Anchor, Canvas, TextStyle};
use super::super::font::{self, Weight};
use super::super::shape::Ramp;
use super::{LEADING, TypeSize, cut};

/// What a bar of colours takes to the right of the panels.
pub fn room(ramp: &Ramp, t: TypeSize) -> f64 {
    let labels = ramp.axis.ticks.iter().map(|tick| font::width(&tick.label, t.tick, Weight::Regular));
    22.0 * t.stroke + 12.0 + 8.0 + labels.fold(0.0, f64::max) + t.label * LEADING + 4.0
}

/// A bar of colours with ticks and its title along the right.
pub fn draw(canvas: &mut Canvas, ramp: &Ramp, (left, top): (f64, f64), height: f64, t: TypeSize) {
    const STEPS: usize = 48;
    let step = height / STEPS as f64;
    for i in 0..STEPS {
        let color = (ramp.color)((i as f64 + 0.5) / STEPS as f64);
        let y = top + height - (i + 1) as f64 * step;
        // Each step reaches under the one below it, so that no seam shows.
        canvas.rectangle(left, y, 12.0, if i == 0 { step } else { step + 1.0 }, color, 1.0);
    }
    let mut widest: f64 = 0.0;
    for tick in ramp.axis.ticks.iter().filter(|tick| !tick.minor) {
        let y = top + height - ramp.axis.place(tick.at) * height;
        canvas.axis(left + 12.0, y, left + 15.0, y);
        canvas.text(left + 18.0, y + t.tick * 0.36, &tick.label, TextStyle::new(t.tick, Anchor::Start));
        widest = widest.max(font::width(&tick.label, t.tick, Weight::Regular));
    }
    let x = left + 18.0 + widest + 8.0;
    let title = cut(&ramp.axis.title, t.label, Weight::Regular, height.max(150.0));
    canvas.text(x, top + height / 2.0, &title, TextStyle::new(t.label, Anchor::Middle).turned(90.0));
}
