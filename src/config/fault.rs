//! What is wrong with a configuration: everything at once, each with key, place and way out.
//!
//! No fault ever quotes a secret.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The key in full: `tenants.acme.delivery.workers`; empty when the fault is that of a whole file.
    pub key: String,
    /// The file or the environment variable that says so.
    pub origin: String,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.reason),
            key => write!(f, "{key} ({}): {}", self.origin, self.reason),
        }
    }
}

/// All that is wrong with a configuration; never empty. Shown one fault a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// The faults, those of whole files first.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().enumerate() {
            let end_of_last = if number == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
