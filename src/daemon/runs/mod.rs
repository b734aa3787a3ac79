//! Runs: files that are carried out row by row, by the daemon or by a command that owns the database.
//!
//! Left of the outbox a row is decided from the file and from whom the tenant has; right of it nothing is. Whatever may have
//! been done is looked up, never guessed.

mod attributes;
mod decide;
mod people;
mod runner;

pub use runner::{RunEnd, RunFailure, RunOptions, RunPolicy, Runner};
