//! Rows of an HRIS export: what is done for each. Pure.

mod decide;
mod difference;

pub use decide::{Course, Match, OnConflict, UpdateWith, decide};
pub use difference::differences;
