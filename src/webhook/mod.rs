//! Tells whoever asked for it (the HRIS) what a run came to: signed, and until it was heard.
//!
//! What is to be told waits in the database, is sent at least once, and carries an id that stays the same, by which
//! the receiver knows a repeat. Nobody else waits for it. docs/WEBHOOKS.md is the receiver's side of it.

mod event;
mod schedule;
mod sender;
mod signature;

pub use event::{Event, News, RowNews};
pub use schedule::{SCHEDULE, next_step};
pub use sender::Sender;
pub use signature::Signer;
