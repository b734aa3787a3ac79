//! The world as model values: the tenant's users, read page by page.
//!
//! It decides nothing and keeps nothing: whoever asks gets what was read and stores it.

mod complete;
mod doubles;
mod probe;
mod users;

pub use complete::Reading;
pub use probe::probe_since;
pub use users::{Batch, ListSettings, ReadError, UserList, find_by_name, read_by_id};
