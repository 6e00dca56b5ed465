use super::super::canvas::{Anchor, Canvas, TextStyle};
use super::super::figure::Dress;
use super::super::font::{self, Weight};
use super::shapes::SPECK;
use super::{LEADING, Page, lines};

impl Page<'_> {
    /// Notes and, in a file of its own, the caption.
    pub fn notes(&self, canvas: &mut Canvas, mut y: f64, room: f64) -> f64 {
        let (note, caption) = (self.t.note, self.t.caption);
        let mut notes = self.data.notes.clone();
        notes.extend(self.sketch.notes.iter().cloned());
        notes.extend(lines::beyond(self.figure, self.sketch, &self.lines));
        if self.merges_points() {
            notes.push(format!("points closer than {SPECK} pixels are drawn as one, darker where there are more"));
        }
        if !notes.is_empty() {
            y += 4.0;
            let text = notes.join("; ");
            for line in font::wrap(&text, note, Weight::Regular, room) {
                canvas.text(self.edge(), y + note, &line, TextStyle::new(note, Anchor::Start).muted());
                y += note * LEADING;
            }
        }
        if self.dress == Dress::Alone && !self.figure.caption.is_empty() {
            y += 8.0;
            for line in font::wrap(&self.figure.caption, caption, Weight::Regular, room) {
                canvas.text(self.edge(), y + caption, &line, TextStyle::new(caption, Anchor::Start));
                y += caption * LEADING;
            }
        }
        y
    }
}
