//! A value of the file's metadata.

/// Whole numbers of all widths are one variant each, and so are both widths of floats.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Float(f64),
    List(Vec<Value>),
    Signed(i64),
    Text(String),
    Truth(bool),
    Unsigned(u64),
}

impl Value {
    /// A whole number that is not negative.
    pub fn whole(&self) -> Option<u64> {
        match self {
            Value::Unsigned(n) => Some(*n),
            Value::Signed(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    /// Any number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Float(x) => Some(*x),
            Value::Signed(n) => Some(*n as f64),
            Value::Unsigned(n) => Some(*n as f64),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// True or false.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Value::Truth(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Hands over bytes that differ for different values, for hashing.
    pub fn feed(&self, take: &mut dyn FnMut(&[u8])) {
        match self {
            Value::Float(x) => take(&x.to_le_bytes()),
            Value::List(values) => {
                take(&(values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| value.feed(take));
            }
            Value::Signed(n) => take(&n.to_le_bytes()),
            Value::Text(text) => {
                take(&(text.len() as u64).to_le_bytes());
                take(text.as_bytes());
            }
            Value::Truth(truth) => take(&[u8::from(*truth)]),
            Value::Unsigned(n) => take(&n.to_le_bytes()),
        }
    }

    /// The entries of a list.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }
}
