//! Products of 32 by 32 rows in bf16: the approximate scores that `candidates.rs` looks at first.
//!
//! Sums run in f32 on the matrix unit (AMX, 512 multiply-adds a cycle, 16 times those of f32) or on vectors (AVX-512 BF16). Both flush denormal
//! numbers to zero and add products in an order of their own; the bound covers any order.

use super::rounded::{GROUP, Line};

/// Rows of either side that are multiplied at a time.
pub const SQUARE: usize = 2 * GROUP;

/// Approximate products of 32 rows of the left (the latents) with 32 rows of the right (the batch).
#[repr(C, align(64))]
pub struct Square(pub [[f32; SQUARE]; SQUARE]);

/// What multiplies in bf16 on this machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Tiles of AMX.
    Tiles,
    /// `vdpbf16ps`.
    Vectors,
}

impl Unit {
    /// The one that pays; `None` without it. The answer is asked for once. `vdpbf16ps` was measured at the speed of products in f32 on a
    /// Xeon (Emerald Rapids), where it saves nothing: it is left off until a machine shows a gain.
    pub fn here() -> Option<Unit> {
        static HERE: std::sync::OnceLock<Option<Unit>> = std::sync::OnceLock::new();
        *HERE.get_or_init(|| Unit::all().contains(&Unit::Tiles).then_some(Unit::Tiles))
    }

    /// All there are, the fastest first.
    pub fn all() -> Vec<Unit> {
        #[cfg(target_arch = "x86_64")]
        {
            let vectors = is_x86_feature_detected!("avx512bf16")
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            [(Unit::Tiles, tiles::allowed()), (Unit::Vectors, vectors)]
                .into_iter()
                .filter_map(|(unit, there)| there.then_some(unit))
                .collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        Vec::new()
    }

    /// Lets this thread multiply; what comes back ends it.
    pub fn start(self) -> Started {
        #[cfg(target_arch = "x86_64")]
        if self == Unit::Tiles {
            // SAFETY: tiles are allowed where there is such a unit.
            unsafe { tiles::configure() };
        }
        Started(self, std::marker::PhantomData)
    }
}

/// A thread that may multiply in bf16 until this is dropped. The marker keeps it on its thread.
pub struct Started(Unit, std::marker::PhantomData<*const ()>);

impl Drop for Started {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Unit::Tiles {
            // SAFETY: tiles are allowed.
            unsafe { tiles::release() };
        }
    }
}

impl Started {
    /// Products of two groups of the left and two of the right, each in the same number of tiles.
    pub fn square(&self, left: [&[Line]; 2], right: [&[Line]; 2], out: &mut Square) {
        let lines = left[0].len();
        assert!(
            left[1].len() == lines && right[0].len() == lines && right[1].len() == lines && lines.is_multiple_of(GROUP)
        );
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the unit is there, and all four have as many lines.
        unsafe {
            match self.0 {
                Unit::Tiles => tiles::square(left, right, lines / GROUP, out),
                Unit::Vectors => vectors::square(left, right, lines / GROUP, out),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = out;
            unreachable!("no unit is ever found here")
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod tiles {
    use std::arch::asm;

    use super::{Line, SQUARE, Square};

    /// Asks the kernel for the state of the tiles.
    #[cfg(target_os = "linux")]
    pub fn allowed() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        // Leaf 7: edx bit 22 is AMX-BF16, bit 24 are the tiles.
        let leaf = std::arch::x86_64::__cpuid_count(7, 0);
        let there = leaf.edx >> 22 & 1 == 1 && leaf.edx >> 24 & 1 == 1;
        // SAFETY: the call changes nothing but what this process may use.
        there && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
    }

    #[cfg(not(target_os = "linux"))]
    pub fn allowed() -> bool {
        false
    }

    #[repr(C, align(64))]
    struct Shape {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// Eight tiles of 16 rows by 64 bytes.
    ///
    /// # Safety
    /// [`allowed`] was true.
    pub unsafe fn configure() {
        let mut shape = Shape { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        shape.bytes[..8].fill(64);
        shape.rows[..8].fill(16);
        // SAFETY: the caller's promise; the shape is 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shape, options(nostack, readonly)) };
    }

    /// # Safety
    /// [`allowed`] was true.
    pub unsafe fn release() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }

    /// # Safety
    /// This thread has called [`configure`]; the four slices have `count` (at least 1) tiles.
    pub unsafe fn square(left: [&[Line]; 2], right: [&[Line]; 2], count: usize, out: &mut Square) {
        // SAFETY: the caller's promise; the square has room for four tiles whose rows are 128 bytes apart.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{a0} + {line}*1]",
                "tileloadd tmm6, [{b0} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b1} + {line}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a1} + {line}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a0}, 1024",
                "add {a1}, 1024",
                "add {b0}, 1024",
                "add {b1}, 1024",
                "dec {count}",
                "jnz 2b",
                "tilestored [{out} + {row}*1], tmm0",
                "tilestored [{out} + {row}*1 + 64], tmm1",
                "tilestored [{out} + {row}*1 + 2048], tmm2",
                "tilestored [{out} + {row}*1 + 2112], tmm3",
                a0 = inout(reg) left[0].as_ptr() => _,
                a1 = inout(reg) left[1].as_ptr() => _,
                b0 = inout(reg) right[0].as_ptr() => _,
                b1 = inout(reg) right[1].as_ptr() => _,
                count = inout(reg) count => _,
                out = in(reg) out.0.as_mut_ptr(),
                line = in(reg) size_of::<Line>(),
                row = in(reg) SQUARE * size_of::<f32>(),
                options(nostack)
            );
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::*;

    use super::{GROUP, Line, Square};

    /// Rows of the left whose sums are in registers at a time.
    const ROWS: usize = 8;

    /// # Safety
    /// The four slices have `count` tiles.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub unsafe fn square(left: [&[Line]; 2], right: [&[Line]; 2], count: usize, out: &mut Square) {
        for first in (0..2 * GROUP).step_by(ROWS) {
            let a = left[first / GROUP].as_ptr().cast::<i32>();
            // SAFETY: the caller's promise; a line is 16 pairs of numbers.
            unsafe {
                let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
                for tile in 0..count {
                    let rows = a.add((tile * GROUP + first % GROUP) * 16);
                    for pair in 0..16 {
                        let at = tile * GROUP + pair;
                        let b: [__m512bh; 2] = [
                            std::mem::transmute::<__m512i, __m512bh>(_mm512_load_si512(
                                right[0].as_ptr().add(at).cast(),
                            )),
                            std::mem::transmute::<__m512i, __m512bh>(_mm512_load_si512(
                                right[1].as_ptr().add(at).cast(),
                            )),
                        ];
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let x =
                                std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(*rows.add(r * 16 + pair)));
                            sums[0] = _mm512_dpbf16_ps(sums[0], x, b[0]);
                            sums[1] = _mm512_dpbf16_ps(sums[1], x, b[1]);
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    let row = out.0[first + r].as_mut_ptr();
                    _mm512_storeu_ps(row, sums[0]);
                    _mm512_storeu_ps(row.add(GROUP), sums[1]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::kernels::rounded::{Rounded, Side};

    #[test]
    fn a_square_is_the_products_of_the_rounded_rows() {
        let depth = 83;
        let numbers = |seed: usize| -> Vec<f32> {
            (0..32 * depth).map(|i| ((i * 7919 + seed * 31) % 2003) as f32 / 1000.0 - 1.0).collect()
        };
        let (a, b) = (numbers(1), numbers(2));
        let (mut left, mut right) = (Rounded::empty(Side::Left), Rounded::empty(Side::Right));
        left.fill(&a, depth);
        right.fill(&b, depth);
        let bf16 = |x: f32| half::bf16::from_f32(x).to_f64();
        for unit in Unit::all() {
            let mut out = Square([[f32::NAN; SQUARE]; SQUARE]);
            unit.start().square([left.group(0), left.group(1)], [right.group(0), right.group(1)], &mut out);
            for (j, row) in out.0.iter().enumerate() {
                for (i, &got) in row.iter().enumerate() {
                    let exact: f64 = (0..depth).map(|k| bf16(a[j * depth + k]) * bf16(b[i * depth + k])).sum();
                    assert!((f64::from(got) - exact).abs() < 1e-4, "{unit:?} {j} {i}: {got} is not {exact}");
                }
            }
        }
    }
}
