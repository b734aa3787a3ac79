//! From what HR says to users: the checks that a row must pass, the SCIM User that comes of it, and what is done for it.
//! Pure.

mod check;
mod decide;
mod difference;
mod draft;
mod mask;
mod value;

pub use check::{Checker, Rules};
pub use decide::{Course, Match, OnConflict, UpdateWith, decide};
pub use difference::differences;
