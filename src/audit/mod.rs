//! The audit: a file with one line for each applied change and each decision of an operator, every line
//! chained to the one before by SHA-256.
//!
//! A line is written and flushed before what it tells of counts as done. So after a crash a change may stand here
//! twice, but never not at all. What a line says is up to who hands the [`Entry`] in. Nothing that has been written
//! is changed or deleted here, but for the end of a line that a crash has torn; that is noted in the file.

mod chain;
mod error;
mod files;
mod handle;
mod hash;
mod inspect;
mod log;
mod record;
mod resume;
mod tail;
mod verify;

pub use chain::{Link, NoLink};
pub use error::AuditError;
pub use handle::Audit;
pub use hash::Hash;
pub use inspect::{FileLines, Report, verify, verify_files};
pub use log::Log;
pub use record::{Entry, Repair};
pub use verify::{Breach, BreachKind, Place, Remark, RemarkKind};
