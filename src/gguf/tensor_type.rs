//! How the numbers of a tensor are stored.

/// Stored formats that can be read; the others are refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TensorType {
    Bf16,
    F16,
    F32,
    Q2K,
    Q3K,
    Q4K,
    Q4_0,
    Q4_1,
    Q5K,
    Q5_0,
    Q5_1,
    Q6K,
    Q8_0,
}

/// Format, its number in the file, its name in llama.cpp, values a block, bytes a block.
const TYPES: &[(TensorType, u32, &str, u64, u64)] = &[
    (TensorType::F32, 0, "F32", 1, 4),
    (TensorType::F16, 1, "F16", 1, 2),
    (TensorType::Q4_0, 2, "Q4_0", 32, 18),
    (TensorType::Q4_1, 3, "Q4_1", 32, 20),
    (TensorType::Q5_0, 6, "Q5_0", 32, 22),
    (TensorType::Q5_1, 7, "Q5_1", 32, 24),
    (TensorType::Q8_0, 8, "Q8_0", 32, 34),
    (TensorType::Q2K, 10, "Q2_K", 256, 84),
    (TensorType::Q3K, 11, "Q3_K", 256, 110),
    (TensorType::Q4K, 12, "Q4_K", 256, 144),
    (TensorType::Q5K, 13, "Q5_K", 256, 176),
    (TensorType::Q6K, 14, "Q6_K", 256, 210),
    (TensorType::Bf16, 30, "BF16", 1, 2),
];

/// Formats that exist and are not read.
const OTHERS: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];

impl TensorType {
    /// The format of this number in the file.
    ///
    /// # Errors
    /// With the name of a format that is not read.
    pub fn of(number: u32) -> Result<Self, String> {
        if let Some(found) = TYPES.iter().find(|t| t.1 == number) {
            return Ok(found.0);
        }
        let name = OTHERS.iter().find(|o| o.0 == number).map_or(format!("type {number}"), |o| o.1.to_string());
        let known: Vec<&str> = TYPES.iter().map(|t| t.2).collect();
        Err(format!("it is stored as {name}, which is not read; there is {}", known.join(", ")))
    }

    fn row(self) -> &'static (TensorType, u32, &'static str, u64, u64) {
        // Every variant stands in the table; a test says so.
        TYPES.iter().find(|t| t.0 == self).unwrap_or(&TYPES[0])
    }

    /// Its name in llama.cpp.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Values of one block.
    pub fn block(self) -> u64 {
        self.row().3
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> u64 {
        self.row().4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_stands_in_the_table_once() {
        for (kind, number, name, ..) in TYPES {
            assert_eq!(TensorType::of(*number), Ok(*kind));
            assert_eq!(kind.name(), *name);
            assert_eq!(TYPES.iter().filter(|t| t.0 == *kind || t.1 == *number).count(), 1);
        }
        assert!(TensorType::of(23).is_err_and(|e| e.contains("IQ4_XS")));
        assert!(TensorType::of(99).is_err_and(|e| e.contains("type 99")));
    }
}
