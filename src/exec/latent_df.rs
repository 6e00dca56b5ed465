//! `latent_df.csv` and `feature_df.csv` of the published projects: classes and Latent Scaling, one row a latent (docs/method.md 9.3).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Error, Result};
use crate::out::frame::Cell;
use crate::out::{Column, Frame, table};

/// Our column and the published one. `delta_norm` and `class` are turned round and translated besides.
const COLUMNS: &[(&str, &str)] = &[
    ("norm_base", "dec_base_norm"),
    ("norm_tuned", "dec_instruct_norm"),
    ("cosine", "dec_cos_sim"),
    ("encoder_norm_base", "enc_base_norm"),
    ("encoder_norm_tuned", "enc_instruct_norm"),
    ("encoder_cosine", "enc_cos_sim"),
    ("frequency", "freq"),
    ("mean_activation", "avg_activation"),
    ("max_activation", "max_act"),
    ("control_share", "lmsys_ctrl_%"),
    ("beta_activation_base", "beta_activation_base"),
    ("beta_activation_tuned", "beta_activation_chat"),
    ("beta_activation_no_bias_base", "beta_activation_no_bias_base"),
    ("beta_activation_no_bias_tuned", "beta_activation_no_bias_chat"),
    ("beta_reconstruction_base", "beta_reconstruction_base"),
    ("beta_reconstruction_tuned", "beta_reconstruction_chat"),
    ("beta_error_base", "beta_error_base"),
    ("beta_error_tuned", "beta_error_chat"),
    ("nu_activation", "beta_activation_ratio"),
    ("nu_reconstruction", "beta_ratio_reconstruction"),
    ("nu_error", "beta_ratio_error"),
    ("rank", "rank_sum"),
    ("dead", "dead"),
    ("detection_total", "autointerp_random_total_accuracy_detection"),
    ("detection_total_similar", "autointerp_similar_total_accuracy_detection"),
    ("detection_no_zero", "autointerp_random_total_accuracy_detection_no_zero"),
    ("detection_1", "autointerp_random_accuracy_detection_1"),
    ("detection_2", "autointerp_random_accuracy_detection_2"),
    ("detection_3", "autointerp_random_accuracy_detection_3"),
];

/// Columns that the published table has twice, of the run with random and of that with similar texts: the texts on which a latent fires are
/// the same. The name out of [`COLUMNS`], and the other.
const SIMILAR: &[(&str, &str)] = &[
    ("detection_no_zero", "autointerp_similar_total_accuracy_detection_no_zero"),
    ("detection_1", "autointerp_similar_accuracy_detection_1"),
    ("detection_2", "autointerp_similar_accuracy_detection_2"),
    ("detection_3", "autointerp_similar_accuracy_detection_3"),
];

/// Our class, the published tag, and the other spellings of it.
const TAGS: &[(&str, &str, &[&str])] = &[
    ("tuned_only", "Chat only", &["IT only", "ft_only", "Ft only", "FT only", "chat_only", "it_only"]),
    ("base_only", "Base only", &["base_only"]),
    ("shared", "Shared", &["shared"]),
    ("other", "Other", &["other"]),
];

/// Rows of `classify` and `scaling`, joined by latent, under the published names: `dec_norm_diff` is 1 - `delta_norm`, and latents without
/// a norm have none.
///
/// # Errors
/// The rows have no latents.
pub fn published(rows: &Frame) -> Result<Frame> {
    let mut frame = Frame::new().with("", rows.column("latent")?.clone())?;
    if let Some(Column::Text(classes)) = rows.get("class") {
        let tag = |class: &Option<Arc<str>>| {
            let class = class.as_deref()?;
            Some(Arc::from(TAGS.iter().find(|(own, ..)| *own == class).map_or(class, |(_, tag, _)| tag)))
        };
        frame.push("tag", Column::Text(classes.iter().map(tag).collect()))?;
    }
    if let Some(delta) = rows.get("delta_norm") {
        frame.push("dec_norm_diff", turned(delta))?;
    }
    let similar = SIMILAR.iter().filter(|_| rows.get("detection_similar").is_some());
    for (own, theirs) in COLUMNS.iter().chain(similar) {
        if let Some(column) = rows.get(own) {
            frame.push(*theirs, column.clone())?;
        }
    }
    if let (Some(base), Some(tuned)) =
        (rows.get("beta_activation_no_bias_base"), rows.get("beta_activation_no_bias_tuned"))
    {
        let ratio =
            base.cells().zip(tuned.cells()).map(|(b, t)| Some(b.number()? / t.number()?).filter(|r| r.is_finite()));
        frame.push("beta_activation_no_bias_ratio", Column::Real(ratio.collect()))?;
    }
    Ok(frame)
}

/// Every latent of `classes`, with the columns of `scaling` where it has them.
///
/// # Errors
/// One of them has no latents.
pub fn whole(classes: &Frame, scaling: &Frame) -> Result<Frame> {
    let latent = |cell: Cell<'_>| cell.number().map(|number| number as i64);
    let measured: BTreeMap<i64, usize> =
        scaling.column("latent")?.cells().enumerate().filter_map(|(row, cell)| Some((latent(cell)?, row))).collect();
    let rows: Vec<Option<usize>> =
        classes.column("latent")?.cells().map(|cell| measured.get(&latent(cell)?).copied()).collect();
    let mut frame = classes.clone();
    for name in scaling.names().filter(|name| *name != "latent" && classes.get(name).is_none()) {
        frame.push(name, picked(scaling.column(name)?, &rows))?;
    }
    Ok(frame)
}

/// These cells of a column; an empty one where there is no row.
fn picked(column: &Column, rows: &[Option<usize>]) -> Column {
    fn pick<T: Clone>(cells: &[Option<T>], rows: &[Option<usize>]) -> Vec<Option<T>> {
        rows.iter().map(|row| row.and_then(|row| cells.get(row).cloned().flatten())).collect()
    }
    match column {
        Column::Text(cells) => Column::Text(pick(cells, rows)),
        Column::Whole(cells) => Column::Whole(pick(cells, rows)),
        Column::Real(cells) => Column::Real(pick(cells, rows)),
        Column::Truth(cells) => Column::Truth(pick(cells, rows)),
    }
}

/// 1 - x.
fn turned(column: &Column) -> Column {
    Column::Real(column.cells().map(|cell| cell.number().map(|value| 1.0 - value)).collect())
}

/// Writes a table as Python's `DataFrame.to_csv` does: the first column has no name.
///
/// # Errors
/// The file cannot be written.
pub fn write(frame: &Frame, path: &Path) -> Result<()> {
    Ok(table::write(frame, path)?)
}

/// Reads such a file under our names: spellings of every age (`_it`, `_ft`, `IT only`) become one, `delta_norm` = 1 - `dec_norm_diff`, and columns
/// that xd does not have keep their names.
///
/// # Errors
/// It is no such file.
pub fn read(path: &Path) -> Result<Frame> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    let damaged = |problem: String| Error::damaged(path, problem);
    let mut reader = csv::ReaderBuilder::new().from_reader(&bytes[..]);
    let header: Vec<String> =
        reader.headers().map_err(|e| damaged(e.to_string()))?.iter().map(str::to_string).collect();
    let mut cells: Vec<Vec<String>> = vec![Vec::new(); header.len()];
    for record in reader.records() {
        let record = record.map_err(|e| damaged(e.to_string()))?;
        cells.iter_mut().zip(&record).for_each(|(column, cell)| column.push(cell.to_string()));
    }
    let known = |name: &str| header.iter().any(|h| modern(h) == name);
    if !known("dec_norm_diff") && !known("tag") {
        return Err(damaged("it is no latent_df.csv: it has neither `dec_norm_diff` nor `tag`".into()));
    }
    let index = header.first().is_some_and(|name| name.is_empty() || name.starts_with("Unnamed"));
    let mut frame = Frame::new();
    if !index {
        frame.push("latent", Column::whole(0..cells.first().map_or(0, Vec::len) as i64))?;
    }
    for (place, (name, cells)) in header.iter().zip(&cells).enumerate() {
        let column = typed(cells);
        let theirs = modern(name);
        if place == 0 && index {
            frame.push("latent", column)?;
        } else if theirs == "tag" {
            frame.push("class", Column::text(cells.iter().map(|tag| class_of(tag))))?;
        } else if theirs == "dec_norm_diff" {
            frame.push("delta_norm", turned(&column))?;
        } else {
            let own =
                COLUMNS.iter().find(|(_, published)| *published == theirs).map_or(theirs.as_str(), |(own, _)| own);
            frame.push(own, column)?;
        }
    }
    Ok(frame)
}

/// The spelling of today.
fn modern(name: &str) -> String {
    let name = match name {
        "dec_it_norm" | "dec_ft_norm" | "dec_chat_norm" => "dec_instruct_norm",
        "enc_it_norm" | "enc_ft_norm" | "enc_chat_norm" => "enc_instruct_norm",
        other => other,
    };
    for old in ["_it", "_ft", "_instruct"] {
        if let Some(start) = name.strip_suffix(old)
            && name.starts_with("beta_")
        {
            return format!("{start}_chat");
        }
    }
    name.to_string()
}

fn class_of(tag: &str) -> String {
    let found = TAGS.iter().find(|(_, known, others)| *known == tag || others.contains(&tag));
    found.map_or_else(|| tag.to_string(), |(own, ..)| own.to_string())
}

/// Whole numbers, else yes and no, else real numbers, else words.
fn typed(cells: &[String]) -> Column {
    fn all<T>(cells: &[String], read: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
        cells.iter().map(|cell| if cell.is_empty() { Some(None) } else { read(cell).map(Some) }).collect()
    }
    let truth = |cell: &str| match cell {
        "True" | "true" => Some(true),
        "False" | "false" => Some(false),
        _ => None,
    };
    if cells.iter().all(String::is_empty) {
        return Column::Real(vec![None; cells.len()]);
    }
    all(cells, |cell| cell.parse().ok())
        .map(Column::Whole)
        .or_else(|| all(cells, truth).map(Column::Truth))
        .or_else(|| {
            let real = all(cells, |cell| cell.parse::<f64>().ok())?;
            Some(Column::Real(real.into_iter().map(|cell| cell.filter(|x| x.is_finite())).collect()))
        })
        .unwrap_or_else(|| Column::text(cells))
}

/// A cell as a number.
pub fn number(frame: &Frame, row: usize, name: &str) -> Option<f64> {
    match frame.cell(row, name) {
        Cell::Empty => None,
        cell => cell.number(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Frame {
        Frame::new()
            .with("latent", Column::whole(0..3))
            .and_then(|f| f.with("class", Column::text(["tuned_only", "shared", "other"])))
            .and_then(|f| f.with("delta_norm", Column::Real(vec![Some(0.9375), Some(0.5), None])))
            .and_then(|f| f.with("norm_tuned", Column::real([2.0, 1.0, 0.0])))
            .and_then(|f| f.with("encoder_norm_tuned", Column::real([1.5, 1.0, 0.5])))
            .and_then(|f| f.with("mean_activation", Column::Real(vec![Some(3.25), None, Some(1.0)])))
            .and_then(|f| f.with("dead", Column::truth([false, true, false])))
            .and_then(|f| f.with("beta_error_tuned", Column::real([1.5, 2.0, f64::NAN])))
            .and_then(|f| f.with("nu_error", Column::real([0.25, 0.5, f64::NAN])))
            .expect("a frame")
    }

    #[test]
    fn what_is_exported_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("latent_df.csv");
        write(&published(&rows()).expect("translated"), &path).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(
            text.starts_with(
                ",tag,dec_norm_diff,dec_instruct_norm,enc_instruct_norm,avg_activation,beta_error_chat,beta_ratio_error,dead\n0,Chat only,0.0625,"
            ),
            "{text}"
        );
        let back = read(&path).expect("read");
        assert_eq!(back.cell(0, "class"), Cell::Text("tuned_only"));
        assert_eq!(number(&back, 0, "delta_norm"), Some(0.9375));
        assert_eq!(number(&back, 2, "delta_norm"), None);
        assert_eq!((number(&back, 0, "mean_activation"), number(&back, 1, "mean_activation")), (Some(3.25), None));
        assert_eq!(number(&back, 0, "encoder_norm_tuned"), Some(1.5));
        assert_eq!(number(&back, 1, "beta_error_tuned"), Some(2.0));
        assert_eq!(back.cell(1, "dead"), Cell::Truth(true));
    }

    #[test]
    fn scores_of_delphi_have_the_published_names() {
        let scores = Frame::new()
            .with("latent", Column::whole([2]))
            .and_then(|f| f.with("detection_total", Column::real([0.75])))
            .and_then(|f| f.with("detection_2", Column::real([0.5])))
            .and_then(|f| f.with("detection_similar", Column::Real(vec![None])))
            .expect("a frame");
        let frame = published(&whole(&rows(), &scores).expect("joined")).expect("translated");
        let random = frame.column("autointerp_random_total_accuracy_detection").expect("the total");
        assert_eq!(*random, Column::Real(vec![None, None, Some(0.75)]), "latents without a score stay");
        let second =
            ["random", "similar"].map(|kind| frame.cell(2, &format!("autointerp_{kind}_accuracy_detection_2")));
        assert_eq!(second, [Cell::Real(0.5), Cell::Real(0.5)]);
    }

    #[test]
    fn spellings_of_every_age_become_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("feature_df.csv");
        std::fs::write(&path, ",tag,dec_norm_diff,beta_error_it,dec_it_norm,dead,twin_latent\n5,IT only,0.02,1.25,3,False,\n7,Base only,0.97,,1,True,9\n").expect("written");
        let frame = read(&path).expect("read");
        assert_eq!(
            frame.names().collect::<Vec<_>>(),
            ["latent", "class", "delta_norm", "beta_error_tuned", "norm_tuned", "dead", "twin_latent"]
        );
        assert_eq!((number(&frame, 0, "latent"), frame.cell(0, "class")), (Some(5.0), Cell::Text("tuned_only")));
        assert_eq!(number(&frame, 0, "delta_norm"), Some(0.98));
        assert_eq!(number(&frame, 1, "beta_error_tuned"), None);
        std::fs::write(&path, "a,b\n1,2\n").expect("written");
        assert!(read(&path).is_err_and(|e| e.to_string().contains("no latent_df.csv")));
    }
}
