//! Rows in bf16 with the norms that bound what the rounding can do to a dot product.

use rayon::prelude::*;

use super::{dispatched, multiply_add};

/// Rows of a group, which are multiplied together.
pub const GROUP: usize = 16;
/// Places of a row in a tile.
pub const TILE: usize = 32;

/// 32 numbers in bf16: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [u16; TILE]);

/// How the numbers of a tile (16 rows by 32 places) lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// Row by row: the left side of a tile product.
    Left,
    /// Two places of each row side by side, then the next two: the right side.
    Right,
}

/// A matrix `[rows, depth]` rounded to bf16: by groups of 16 rows, each in tiles of 32 places, filled up with zeros.
#[derive(Clone, Debug)]
pub struct Rounded {
    side: Side,
    depth: usize,
    rows: usize,
    lines: Vec<Line>,
    /// Upper bounds of the norm of each row and of what its rounding left out.
    norms: Vec<RowNorms>,
}

/// Upper bounds of ||w|| and of ||w - bf16(w)||; not finite where the row is not, or is too large for the bound to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowNorms {
    pub whole: f32,
    pub rest: f32,
}

/// Part of a [`Rounded`] that holds some groups of rows.
pub struct RoundedGroup<'a> {
    lines: &'a mut [Line],
    norms: &'a mut [RowNorms],
}

impl Rounded {
    /// Of nothing yet.
    pub const fn empty(side: Side) -> Self {
        Rounded { side, depth: 0, rows: 0, lines: Vec::new(), norms: Vec::new() }
    }

    /// Becomes the rows `[rows, depth]`.
    pub fn fill(&mut self, matrix: &[f32], depth: usize) {
        self.resize(matrix.len() / depth, depth);
        let side = self.side;
        self.groups().zip(matrix.par_chunks(GROUP * depth)).for_each(|(mut group, rows)| {
            for (i, row) in rows.chunks(depth).enumerate() {
                match side {
                    Side::Left => group.set(i, row),
                    Side::Right => group.set_right(i, row),
                }
            }
        });
    }

    /// Room for so many rows, all zero.
    pub fn resize(&mut self, rows: usize, depth: usize) {
        if (self.rows, self.depth) == (rows, depth) {
            return;
        }
        (self.rows, self.depth) = (rows, depth);
        self.norms.clear();
        self.norms.resize(rows, RowNorms::default());
        self.lines.clear();
        self.lines.resize(rows.next_multiple_of(2 * GROUP) / GROUP * self.group_lines(), Line([0; TILE]));
    }

    /// Sets one row (left side).
    pub fn set(&mut self, row: usize, values: &[f32]) {
        let lines = self.group_lines();
        let group = &mut self.lines[row / GROUP * lines..(row / GROUP + 1) * lines];
        self.norms[row] = round_left(values, group, row % GROUP);
    }

    /// The groups of 16 rows that hold rows, each to be written by one thread.
    pub fn groups(&mut self) -> impl IndexedParallelIterator<Item = RoundedGroup<'_>> {
        let lines = self.group_lines();
        let norms = self.norms.par_chunks_mut(GROUP);
        self.lines.par_chunks_mut(lines).zip(norms).map(|(lines, norms)| RoundedGroup { lines, norms })
    }

    /// Cache lines of a group.
    fn group_lines(&self) -> usize {
        self.depth.div_ceil(TILE).max(1) * GROUP
    }

    /// Tiles of a group.
    pub fn tiles(&self) -> usize {
        self.group_lines() / GROUP
    }

    /// Tiles of a group, from the first on; there is an even number of groups.
    pub fn group(&self, g: usize) -> &[Line] {
        &self.lines[g * self.group_lines()..(g + 1) * self.group_lines()]
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Places of a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Of each row.
    pub fn norms(&self) -> &[RowNorms] {
        &self.norms
    }
}

impl RoundedGroup<'_> {
    /// Sets row `i` of the group (left side).
    pub fn set(&mut self, i: usize, row: &[f32]) {
        self.norms[i] = round_left(row, self.lines, i);
    }

    fn set_right(&mut self, i: usize, row: &[f32]) {
        self.norms[i] = round_right(row, self.lines, i);
    }
}

/// Above this a sum of products could leave the range of f32; the bound is then infinite.
const LARGEST: f32 = 1e18;

/// Norms from sums of squares in f32: 2^-9 covers their rounding (depth up to 2^16), 1e-30 what underflows.
fn bounds(whole: f32, rest: f32) -> RowNorms {
    let up = |square: f32| (square * (1.0 + 1.0 / 512.0) + 1e-30).sqrt();
    let (whole, rest) = (up(whole), up(rest));
    RowNorms { whole: if whole <= LARGEST { whole } else { f32::INFINITY }, rest }
}

/// bf16 nearest to `x`, halves to the even one; denormal ones become 0, because tile products read them as 0.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    if rounded & 0x7f80_0000 == 0 { 0 } else { rounded }
}

/// Sums of squares of a row and of what rounding leaves out, while `place` takes the rounded numbers.
macro_rules! round_row {
    ($row:ident, $depth:ident, $k:ident, $l:ident, $value:ident, $place:expr) => {{
        let (mut whole, mut rest) = ([0f32; TILE], [0f32; TILE]);
        let mut $k = 0;
        while $k < $depth / TILE * TILE {
            let x: &[f32; TILE] = $row[$k..$k + TILE].try_into().unwrap();
            for $l in 0..TILE {
                let bits = nearest(x[$l]);
                let left = x[$l] - f32::from_bits(bits);
                whole[$l] = multiply_add::<FMA>(x[$l], x[$l], whole[$l]);
                rest[$l] = multiply_add::<FMA>(left, left, rest[$l]);
                let $value = (bits >> 16) as u16;
                $place;
            }
            $k += TILE;
        }
        for $l in 0..$depth - $k {
            let x = $row[$k + $l];
            let bits = nearest(x);
            let left = x - f32::from_bits(bits);
            whole[$l] += x * x;
            rest[$l] += left * left;
            let $value = (bits >> 16) as u16;
            $place;
        }
        bounds(whole.iter().sum(), rest.iter().sum())
    }};
}

dispatched! {
    /// Writes row `i` of a group for the left side.
    pub fn round_left(row: &[f32], lines: &mut [Line], i: usize) -> RowNorms {
        let depth = row.len();
        round_row!(row, depth, k, l, value, lines[k / TILE * GROUP + i].0[l] = value)
    }
}

dispatched! {
    /// Writes row `i` of a group for the right side.
    pub fn round_right(row: &[f32], lines: &mut [Line], i: usize) -> RowNorms {
        let depth = row.len();
        round_row!(row, depth, k, l, value, lines[k / TILE * GROUP + l / 2].0[2 * i + l % 2] = value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bits: u16) -> f64 {
        f64::from(f32::from_bits(u32::from(bits) << 16))
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_norms_bound_the_rest() {
        let (rows, depth) = (21, 77);
        let number = |i: usize| ((i * 7919 % 4001) as f32 / 1000.0 - 2.0) * 10f32.powi((i % 13) as i32 - 6);
        let mut x: Vec<f32> = (0..rows * depth).map(number).collect();
        x[5 * depth] = 1e-40;
        x[6 * depth] = 1e25;
        x[7 * depth..8 * depth].fill(0.0);
        let (mut left, mut right) = (Rounded::empty(Side::Left), Rounded::empty(Side::Right));
        left.fill(&x, depth);
        right.fill(&x, depth);
        for i in 0..rows {
            let (mut whole, mut rest) = (0f64, 0f64);
            for k in 0..depth {
                let exact = x[i * depth + k];
                let a = left.group(i / 16)[k / 32 * 16 + i % 16].0[k % 32];
                let b = right.group(i / 16)[k / 32 * 16 + k % 32 / 2].0[i % 16 * 2 + k % 2];
                assert_eq!(a, b);
                let wanted = half::bf16::from_f32(exact);
                assert_eq!(a, if wanted.to_f32().is_normal() { wanted.to_bits() } else { 0 });
                whole += f64::from(exact).powi(2);
                rest += (f64::from(exact) - value(a)).powi(2);
            }
            let norms = left.norms()[i];
            assert!(f64::from(norms.whole) >= whole.sqrt() && f64::from(norms.rest) >= rest.sqrt(), "row {i}");
            if i != 6 {
                assert!(f64::from(norms.whole) <= whole.sqrt() * 1.002 + 2e-15, "row {i}");
                assert!(f64::from(norms.rest) <= rest.sqrt() * 1.002 + 2e-15, "row {i}");
            }
        }
        assert_eq!(left.norms()[6].whole, f32::INFINITY);
    }
}
