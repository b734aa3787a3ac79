//! The world as model values: the tenant's users, read page by page.
//!
//! It decides nothing and keeps nothing: whoever asks gets what was read and stores it.

mod complete;
mod doubles;
mod people;
mod probe;
mod users;

pub use complete::Reading;
pub use people::{NAMES_AT_ONCE, RecordList, find_record, find_records, how_many, read_record_by_id};
pub use probe::probe_since;
pub use users::{Batch, ListSettings, ReadError, UserList, find_by_name, read_by_id};
