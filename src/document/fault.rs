//! All that is wrong with a document, at once.

use std::fmt;

use super::Untrusted;

/// Characters of a wrong value that are repeated.
const SHOWN_MAX: usize = 200;

/// One field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// Dotted path, `limits.memory`.
    pub field: String,
    /// What stood there, cleaned and cut.
    pub value: String,
    /// What would be right.
    pub expected: String,
}

/// Every fault that was found, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, field: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) {
        let value = Untrusted::lines(&value.to_string(), SHOWN_MAX).to_string().replace('\n', " ");
        self.0.push(Fault { field: field.into(), value, expected: expected.into() });
    }

    /// Notes a fault unless `holds`.
    pub fn check(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        value: impl fmt::Display,
        expected: impl Into<String>,
    ) {
        if !holds {
            self.add(field, value, expected);
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Ok` when nothing was found.
    ///
    /// # Errors
    /// The faults themselves.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: expected {}", self.field, self.value, self.expected)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                write!(f, "{} faults", all.len())?;
                all.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for Faults {}
