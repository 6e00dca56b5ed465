use resvg::{tiny_skia, usvg};

use super::font;
use crate::out::error::{Error, Result};

/// Draws an SVG with the shipped font only, `zoom` pixels for each of its units.
pub fn render(svg: &str, zoom: f32) -> Result<Vec<u8>> {
    let failed = |e: &dyn std::fmt::Display| Error::Png(e.to_string());
    let options =
        usvg::Options { fontdb: font::database(), font_family: "Inter".to_owned(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).map_err(|e| failed(&e))?;
    let (width, height) = ((tree.size().width() * zoom).ceil(), (tree.size().height() * zoom).ceil());
    let mut picture = tiny_skia::Pixmap::new(width as u32, height as u32)
        .ok_or_else(|| Error::Png(format!("no picture of {width} x {height} pixels can be made")))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(zoom, zoom), &mut picture.as_mut());
    picture.encode_png().map_err(|e| failed(&e))
}
