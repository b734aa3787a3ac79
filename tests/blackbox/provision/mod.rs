//! `provision` and the runs behind it, as HR and an operator see them: who is in the tenant afterwards, what was sent
//! for it, and what is said of each row.

mod beside;
mod conflicts;
mod documents;
mod killed;
mod missing;
mod modes;
mod people;
mod rows;
mod troubles;

pub(crate) use people::{lines, quick, records};
