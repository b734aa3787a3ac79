//! Runs: files that are carried out row by row, by the daemon or by a command that owns the database.
//!
//! Left of the outbox a row is decided from the file and from whom the tenant has; right of it nothing is. Whatever may have
//! been done is looked up, never guessed.

mod attributes;
mod decide;
mod ended;
mod import;
mod missing;
mod once;
mod patience;
mod people;
mod preview;
mod runner;
mod tell;
mod unclear;
mod worker;

pub use import::{ImportError, Imported, Input, MOST_REFUSALS, Wish, import, may_begin};
pub use missing::NotDeactivated;
pub use once::{Carried, LastWord, carry_out};
pub use patience::Patience;
pub use preview::{PlanFailure, PlannedRun, plan_run};
pub use runner::{RunEnd, RunFailure, RunOptions, RunPolicy, Runner};
pub(super) use worker::work;
pub use worker::{RunSettings, export};
