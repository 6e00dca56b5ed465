//! What every file of weights offers, whatever its format.

use crate::ml::crosscoder::tensor_file::{TensorFile, expect_shape};
use crate::ml::{Error, Result};

/// Tensors by name.
pub trait NamedTensors {
    /// The file, as the user named it.
    fn path(&self) -> &str;
    /// All names, sorted.
    fn names(&self) -> Vec<String>;
    /// Shape of a tensor; `None` when it is not there.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// Shape and numbers of a float tensor of any width as f32; `None` when it is not there.
    ///
    /// # Errors
    /// It holds integers, or the file is damaged.
    fn floats(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>>;
    /// Numbers of an integer or boolean tensor; `None` when it is not there.
    ///
    /// # Errors
    /// It holds floats, or the file is damaged.
    fn integers(&self, name: &str) -> Result<Option<Vec<i64>>>;

    /// An error about this file.
    fn bad(&self, problem: &str) -> Error {
        Error::invalid("read weights", format!("{}: {problem}", self.path()))
    }

    /// A float tensor that must be there with this shape (`None` in the shape: any size).
    ///
    /// # Errors
    /// It is not there, or has another shape.
    fn matrix(&self, name: &str, shape: &[Option<usize>]) -> Result<(Vec<usize>, Vec<f32>)> {
        let (found, values) = self.floats(name)?.ok_or_else(|| self.bad(&format!("there is no `{name}`")))?;
        expect_shape(name, &found, shape).map_err(|problem| self.bad(&problem))?;
        Ok((found, values))
    }
}

impl NamedTensors for TensorFile {
    fn path(&self) -> &str {
        TensorFile::path(self)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.tensors().map(|t| t.names().into_iter().map(str::to_string).collect()).unwrap_or_default();
        names.sort();
        names
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors().ok()?.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    fn floats(&self, name: &str) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        TensorFile::floats(self, name)
    }

    fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        TensorFile::integers(self, name)
    }
}
