//! Cells to numbers: what every mark starts from.

use std::collections::BTreeMap;

use super::figure::{ErrorBar, Figure, Mark};
use super::labels::Labels;
use super::palette::{self, Color, PLAIN};
use crate::out::error::{Error, Result};
use crate::out::frame::{Cell, Column, Frame};

/// More different numbers than this are a scale of colours, not a legend.
const MOST_GROUPS: usize = 12;
/// Sizes beyond this, or on a log axis below its inverse, cannot be placed without overflow.
const LARGEST: f64 = 1e150;
/// More panels than this are left out, with a note.
const MOST_FACETS: usize = 24;

/// One drawable row. Categorical values are indices into [`Field::words`].
#[derive(Clone, Copy, Debug)]
pub struct Datum {
    pub x: f64,
    /// 0 where the figure has no y.
    pub y: f64,
    /// Value of a numeric colour.
    pub amount: f64,
    pub group: usize,
    pub facet: usize,
    /// Of [`Figure::runs`]; 0 where the figure averages over none.
    pub run: usize,
    /// Ends of its error bar.
    pub ends: Option<(f64, f64)>,
    /// Among the rows that are filled darker.
    pub lit: bool,
}

/// What stands on an axis.
#[derive(Clone, Debug, Default)]
pub struct Field {
    pub column: String,
    pub title: String,
    /// The categories in order, as in the data; `None` for numbers.
    pub words: Option<Vec<String>>,
    /// Only whole numbers.
    pub whole: bool,
}

/// One entry of a legend or one panel.
#[derive(Clone, Debug)]
pub struct Group {
    pub label: String,
    pub color: Color,
}

#[derive(Clone, Debug)]
pub struct Data {
    pub points: Vec<Datum>,
    pub x: Field,
    pub y: Option<Field>,
    /// Set when the colour is a scale of numbers.
    pub amount: Option<Field>,
    /// At least one.
    pub groups: Vec<Group>,
    /// At least one.
    pub facets: Vec<String>,
    pub notes: Vec<String>,
}

struct Encoded {
    field: Field,
    cells: Vec<Option<f64>>,
}

impl Data {
    pub fn read(figure: &Figure, frame: &Frame) -> Result<Self> {
        let labels = &figure.labels;
        let between = !matches!(figure.mark, Mark::Bar | Mark::Heatmap);
        let in_words = |column: &Column| column.is_categorical() && !(between && is_numbers(column));
        let x = encode(frame, &figure.x, labels, |c| in_words(c) || figure.mark == Mark::Bar)?;
        let y = figure.y.as_deref().map(|name| encode(frame, name, labels, in_words)).transpose()?;
        let color = figure.color.as_deref().map(|name| color(frame, name, figure)).transpose()?;
        let facet = figure.facet.as_deref().map(|name| encode(frame, name, labels, |_| true)).transpose()?;

        let over = figure.over.as_ref().map(|over| encode(frame, &over.column, labels, |_| true)).transpose()?;

        let ends = ends(figure, frame)?;
        let lit = figure.highlight.as_deref().map(|name| frame.column(name)).transpose()?;

        let mut notes = Vec::new();
        let mut points = Vec::new();
        let mut missing: Vec<(String, usize)> = Vec::new();
        let mut unloggable = 0;
        for row in 0..frame.rows() {
            let used = [Some(&x), y.as_ref(), color.as_ref(), facet.as_ref()];
            if let Some(empty) = used.into_iter().flatten().find(|e| e.cells[row].is_none()) {
                match missing.iter_mut().find(|(name, _)| *name == empty.field.column) {
                    Some((_, count)) => *count += 1,
                    None => missing.push((empty.field.column.clone(), 1)),
                }
                continue;
            }
            let value = |e: &Option<Encoded>| e.as_ref().and_then(|e| e.cells[row]).unwrap_or(0.0);
            let tint = value(&color);
            let is_scale = color.as_ref().is_some_and(|c| c.field.words.is_none());
            let datum = Datum {
                x: x.cells[row].unwrap_or(0.0),
                y: value(&y),
                amount: tint,
                group: if is_scale { 0 } else { tint as usize },
                facet: value(&facet) as usize,
                run: value(&over) as usize,
                ends: ends.as_ref().and_then(|ends| ends_of(ends, row, value(&y))),
                lit: lit.is_some_and(|column| column.cell(row) == Cell::Truth(true)),
            };
            let bad_x = figure.log_x && x.field.words.is_none() && datum.x < 1.0 / LARGEST;
            let bad_y = figure.log_y && y.as_ref().is_some_and(|y| y.field.words.is_none()) && datum.y < 1.0 / LARGEST;
            if bad_x || (bad_y && figure.mark != Mark::Bar) {
                unloggable += 1;
            } else {
                points.push(datum);
            }
        }
        for (column, count) in missing {
            notes.push(format!("{} without {} not shown", labels.counted(count), labels.column(&column).label));
        }
        if unloggable > 0 {
            notes.push(format!("{} at or below 0 not shown on the log axis", labels.counted(unloggable)));
        }
        notes.extend(outside(figure, &points, x.field.words.is_none()));
        notes.extend(figure.remark.clone());
        let groups = groups(figure, color.as_ref());
        let mut facets = facets(figure, facet.as_ref());
        if facets.len() > MOST_FACETS {
            notes.push(format!("{MOST_FACETS} of {} panels shown", facets.len()));
            facets.truncate(MOST_FACETS);
            points.retain(|p| p.facet < MOST_FACETS);
        }
        Ok(Self {
            points,
            x: x.field,
            y: y.map(|y| y.field),
            amount: color.map(|c| c.field).filter(|f| f.words.is_none()),
            groups,
            facets,
            notes,
        })
    }

    /// The points of one panel and one group, in row order.
    pub fn of(&self, facet: usize, group: usize) -> impl Iterator<Item = &Datum> {
        self.points.iter().filter(move |p| p.facet == facet && p.group == group)
    }

    pub fn xs(&self) -> Vec<f64> {
        self.points.iter().map(|p| p.x).collect()
    }

    pub fn ys(&self) -> Vec<f64> {
        self.points.iter().map(|p| p.y).collect()
    }
}

/// Cells of the columns of an error bar.
enum Ends {
    Half(Vec<Option<f64>>),
    Both(Vec<Option<f64>>, Vec<Option<f64>>),
}

fn ends(figure: &Figure, frame: &Frame) -> Result<Option<Ends>> {
    Ok(match &figure.error {
        Some(ErrorBar::Half(name)) => Some(Ends::Half(frame.numbers(name)?)),
        Some(ErrorBar::Ends(low, high)) => Some(Ends::Both(frame.numbers(low)?, frame.numbers(high)?)),
        Some(ErrorBar::Interval) | None => None,
    })
}

/// The ends of the error bar of a row; without them the row has none.
fn ends_of(ends: &Ends, row: usize, y: f64) -> Option<(f64, f64)> {
    let (low, high) = match ends {
        Ends::Half(half) => half[row].map(|half| (y - half.abs(), y + half.abs()))?,
        Ends::Both(low, high) => (low[row]?, high[row]?),
    };
    (low.abs() <= LARGEST && high.abs() <= LARGEST).then_some((low.min(high), low.max(high)))
}

/// Rows beyond the ranges that the figure asks for.
fn outside(figure: &Figure, points: &[Datum], x_is_number: bool) -> Option<String> {
    let beyond = |range: Option<(f64, f64)>, value: f64| range.is_some_and(|(l, h)| value < l || value > h);
    let range_x = figure.range_x.filter(|_| x_is_number);
    let range_y = figure.range_y.filter(|_| figure.y.is_some());
    let count = points.iter().filter(|p| beyond(range_x, p.x) || beyond(range_y, p.y)).count();
    let what =
        if figure.mark == Mark::Ecdf { "beyond the range of the axis" } else { "outside of the range not shown" };
    (count > 0).then(|| format!("{} {what}", figure.labels.counted(count)))
}

/// Words of an axis that are all numbers.
fn is_numbers(column: &Column) -> bool {
    let words = column.distinct();
    let number = |cell: &Cell<'_>| matches!(cell, Cell::Text(t) if t.parse::<f64>().is_ok_and(f64::is_finite));
    !words.is_empty() && words.iter().all(number)
}

fn groups(figure: &Figure, color: Option<&Encoded>) -> Vec<Group> {
    let Some((column, words)) = color.and_then(|c| Some((&c.field.column, c.field.words.as_ref()?))) else {
        return vec![Group { label: String::new(), color: PLAIN }];
    };
    let colors = palette::colors(words);
    let label = |word: &String| {
        let shown = figure.labels.value(word);
        if matches!(word.as_str(), "true" | "false") { figure.labels.point(column, word) } else { shown }
    };
    let groups: Vec<Group> =
        words.iter().zip(colors).map(|(word, color)| Group { label: label(word), color }).collect();
    if groups.is_empty() { vec![Group { label: String::new(), color: PLAIN }] } else { groups }
}

fn facets(figure: &Figure, facet: Option<&Encoded>) -> Vec<String> {
    let named = facet.and_then(|f| Some((&f.field.column, f.field.words.as_ref()?)));
    let facets: Vec<String> = named
        .map(|(column, words)| words.iter().map(|word| figure.labels.point(column, word)).collect())
        .unwrap_or_default();
    if facets.is_empty() { vec![String::new()] } else { facets }
}

/// A colour column: words, or few enough different numbers, are groups; many numbers are a scale.
fn color(frame: &Frame, name: &str, figure: &Figure) -> Result<Encoded> {
    let column = frame.column(name)?;
    let scale = match figure.mark {
        Mark::Heatmap => true,
        Mark::Scatter => !column.is_categorical() && column.distinct().len() > MOST_GROUPS,
        _ => false,
    };
    if figure.mark == Mark::Heatmap && matches!(column, Column::Text(_)) {
        return Err(wrong("the colour of a heatmap", name, "numbers", column));
    }
    if !scale && !column.is_categorical() && column.distinct().len() > MOST_GROUPS {
        return Err(wrong("the colour of this mark", name, "words or at most 12 different numbers", column));
    }
    encode(frame, name, &figure.labels, |_| !scale)
}

fn wrong(operation: &'static str, column: &str, needed: &'static str, found: &Column) -> Error {
    Error::WrongType { operation, column: column.to_owned(), needed, found: found.type_name() }
}

fn encode(frame: &Frame, name: &str, labels: &Labels, in_words: impl Fn(&Column) -> bool) -> Result<Encoded> {
    let column = frame.column(name)?;
    let mut field = Field {
        column: name.to_owned(),
        title: labels.title(name),
        words: None,
        whole: matches!(column, Column::Whole(_)),
    };
    if !in_words(column) {
        field.whole |=
            matches!(column, Column::Text(_)) && frame.numbers(name)?.iter().flatten().all(|x| x.fract() == 0.0);
        let cells = frame.numbers(name)?.into_iter().map(|c| c.filter(|x| x.abs() <= LARGEST)).collect();
        return Ok(Encoded { field, cells });
    }
    let words = categories(column);
    let places: BTreeMap<_, usize> = words.iter().enumerate().map(|(i, w)| (w.key(), i)).collect();
    let cells = column.cells().map(|cell| places.get(&cell.key()).map(|i| *i as f64)).collect();
    field.words = Some(words.iter().map(Cell::to_string).collect());
    Ok(Encoded { field, cells })
}

/// Different cells: numbers by size, classes and losses in their usual order, other words as they appear.
fn categories(column: &Column) -> Vec<Cell<'_>> {
    let mut words = column.distinct();
    match column {
        Column::Text(_) => words.sort_by_key(|w| palette::rank(&w.to_string())),
        Column::Truth(_) => words.sort_by_key(|w| *w != Cell::Truth(true)),
        _ => words.sort_by(|a, b| a.order(*b)),
    }
    words
}
