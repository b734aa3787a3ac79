//! Files that people bring, as a stream: one record in memory at a time, whatever the size of the file.
//!
//! It blocks: whoever calls it stands on a thread that may. It knows no attribute.

mod file;
mod json;
mod lines;
mod records;

pub use file::{FileDigest, Form, InputError, Trouble, digest};

pub(super) use file::{Input, behind_mark, open};
pub(super) use json::object;
pub(super) use lines::Lines;
pub(super) use records::{Record, Records};

/// A longer record is not kept, in bytes: 1 MiB.
pub(super) const LONGEST: usize = 1 << 20;
