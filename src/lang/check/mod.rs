//! What can be wrong with a file, one file a subject. The words of each mistake stand here.

pub mod columns;
pub mod fields;
pub mod points;
