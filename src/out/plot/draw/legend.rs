use super::super::canvas::{Anchor, Canvas, TextStyle};
use super::super::font::{self, Weight};
use super::{Page, cut};

/// Entries of a legend.
const MOST_ENTRIES: usize = 24;

impl Page<'_> {
    /// Entries in rows above the panels, and how many rows a single panel holds; the lower end of both.
    pub fn legend(&self, canvas: &mut Canvas, top: f64, mut right: f64) -> f64 {
        let (label_size, note) = (self.t.label, self.t.note);
        let column = self.legend_column();
        let counted = self.sketch.counts && self.figure.facet.is_none();
        if column.is_none() && !counted {
            return top;
        }
        let (left, mut x, mut y) = (self.edge(), self.edge(), top + 4.0);
        if counted {
            let count = self.count(0);
            canvas.text(right, y + label_size * 0.8, &count, TextStyle::new(note, Anchor::End).muted());
            right -= font::width(&count, note, Weight::Regular) + 16.0;
        }
        if let Some(column) = column {
            let style = TextStyle::new(label_size, Anchor::Start);
            let title = self.figure.labels.column(column).label;
            canvas.text(x, y + label_size * 0.8, &title, style.muted());
            x += font::width(&title, label_size, Weight::Regular) + label_size;
            for group in self.data.groups.iter().take(MOST_ENTRIES) {
                let swatch = label_size - 1.0;
                let label = cut(&group.label, label_size, Weight::Regular, right - left - 20.0);
                let room = font::width(&label, label_size, Weight::Regular) + swatch + 6.0;
                if x + room > right && x > left {
                    x = left;
                    y += label_size * 1.6;
                }
                canvas.swatch(x, y, swatch, group.color);
                canvas.text(x + swatch + 5.0, y + label_size * 0.8, &label, style);
                x += room + 16.0 * self.t.stroke;
            }
            if self.data.groups.len() > MOST_ENTRIES {
                let more = format!("and {} more", self.data.groups.len() - MOST_ENTRIES);
                canvas.text(x, y + label_size * 0.8, &more, style.muted());
            }
        }
        y + label_size * 1.6 + if column.is_some() { 4.0 } else { -4.0 }
    }

    /// The column that colours stand for, unless panels or categories name it already.
    fn legend_column(&self) -> Option<&str> {
        let color = self.figure.color.as_deref()?;
        let named_elsewhere =
            self.figure.facet.as_deref() == Some(color) || (self.figure.x == color && self.sketch.x.categories);
        let has_groups = self.data.amount.is_none() && self.data.groups.iter().any(|g| !g.label.is_empty());
        (has_groups && !named_elsewhere).then_some(color)
    }
}
