//! The words that rosterd thinks in, as plain data: ids, users, operations, passes, time.
//!
//! Nothing here decides, reads a clock or does I/O. Every other room imports this one; it imports none.

mod count;
mod digest;
mod guard;
mod id;
mod operation;
mod pass;
mod time;
mod user;

pub use count::counted;
pub use digest::{PlanDigest, hex};
pub use guard::{Finding, Tally, TeamTally};
pub use id::{Role, TeamId, TenantId, UserId};
pub use operation::{Cause, Kind, Operation, Payload, State, TeamPatch, TeamsPayload};
pub use pass::{PassKind, PassResult, Since};
pub use time::Timestamp;
pub use user::User;
