use super::super::axis::Axis;
use super::super::canvas::Canvas;
use super::super::shape::{Margin, Outline};
use super::shapes::outlines;
use super::{Page, Panel};

impl Page<'_> {
    /// Histograms above and beside a panel, on its axes.
    pub fn margins(&self, canvas: &mut Canvas, panel: Panel, margin: &Margin, facet: usize) {
        let height = self.t.margin;
        let gap = self.margin() - height;
        let above = (panel.left, panel.top - gap - height, panel.width, height);
        let beside = (panel.right() + gap, panel.top, height, panel.height);
        let flat = Axis::linear(0.0, 1.0, &[], 2, String::new());
        canvas.clipped(&format!("{}-top-{facet}", self.id()), above, |canvas| {
            let place =
                |(x, y): &(f64, f64)| (panel.x(&self.sketch.x, *x), panel.top - gap - flat.place(*y) * height * 0.96);
            self.outlines(canvas, &margin.top, place);
        });
        canvas.clipped(&format!("{}-right-{facet}", self.id()), beside, |canvas| {
            let place = |(x, y): &(f64, f64)| {
                (panel.right() + gap + flat.place(*y) * height * 0.96, panel.y(&self.sketch.y, *x))
            };
            self.outlines(canvas, &margin.right, place);
        });
        canvas.axis(panel.left, panel.top - gap, panel.right(), panel.top - gap);
        canvas.axis(panel.right() + gap, panel.top, panel.right() + gap, panel.bottom());
    }

    fn outlines(&self, canvas: &mut Canvas, groups: &[Outline], place: impl Fn(&(f64, f64)) -> (f64, f64)) {
        let drawn = |outline: &Outline| -> Vec<Vec<(f64, f64)>> {
            outlines(&outline.edges, &outline.heights, 0.0).iter().map(|o| o.iter().map(&place).collect()).collect()
        };
        for outline in groups {
            drawn(outline).iter().for_each(|points| canvas.area(points, outline.color, 0.3));
        }
        for outline in groups {
            drawn(outline).iter().for_each(|points| canvas.line(points, outline.color, self.t.stroke, ""));
        }
    }
}
