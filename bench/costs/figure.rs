//! The figure of `costs.py`: `cost_figure FRAME.csv FIGURE.svg`, measured and predicted time at multiples of the middle point.

use std::path::Path;

use xd::out::Frame;
use xd::out::plot::{ColumnStyle, Figure, Mark};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, frame, file] = &arguments[..] else {
        return Err("usage: cost_figure FRAME.csv FIGURE.svg".into());
    };
    let mut figure = Figure::new("cost_laws", Mark::Line, "factor");
    figure.title = "What a training costs, and what xd plan says".to_string();
    figure.caption =
        "Middle: BatchTopK, d = 128, D = 2048, k = 32, B = 1024, 150 steps (L1: 100), with the drawing of its rows."
            .to_string();
    figure.y = Some("seconds".to_string());
    figure.color = Some("time".to_string());
    figure.facet = Some("law".to_string());
    (figure.log_x, figure.log_y) = (true, true);
    figure.labels.set_column("factor", ColumnStyle::new("times the middle"));
    figure.labels.set_column("seconds", ColumnStyle::new("time").unit("s"));
    figure.write(&Frame::read(Path::new(frame))?, Path::new(file))?;
    Ok(())
}
