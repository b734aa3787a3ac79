//! The world as model values: the tenant's users, read page by page; HRIS exports and files of attributes, row by row.
//!
//! It decides nothing and keeps nothing: whoever asks gets what was read and stores it.

mod attributes;
mod complete;
mod doubles;
mod export;
mod input;
mod people;
mod probe;
mod users;

pub use attributes::{Assignments, AttributeFile, UserFile};
pub use complete::Reading;
pub use export::Export;
pub use input::{FileDigest, Form, InputError, Trouble, digest};
pub use people::{NAMES_AT_ONCE, RecordList, Shown, find_records, how_many, list_records, read_record_by_id};
pub use probe::probe_since;
pub use users::{Batch, ListSettings, ReadError, UserList, find_by_name, read_by_id};
