//! The words that rosterd thinks in, as plain data: ids, users, operations, passes, time.
//!
//! Nothing here decides, reads a clock or does I/O. Every other room imports this one; it imports none.

mod guard;
mod id;
mod input;
mod operation;
mod pass;
mod run;
mod time;
mod user;

pub use guard::{Finding, Tally, TeamTally};
pub use id::{Role, TeamId, TenantId, UserId};
pub use input::{RawRow, RawValue, RejectedRow, RowFault, UserKey, WantedAttributes, WantedUser};
pub use operation::{
    AttributesPayload, Cause, Change, Kind, Operation, Payload, ProfilePayload, State, TeamPatch,
    TeamsPayload,
};
pub use pass::{PassKind, PassResult, Since};
pub use run::{Action, Met, Outcome, RunKind, RunState};
pub use time::Timestamp;
pub use user::User;
