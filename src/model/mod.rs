//! The words that rosterd thinks in, as plain data: ids, users, operations, passes, time.
//!
//! Nothing here decides, reads a clock or does I/O. Every other room imports this one; it imports none.

mod attribute;
mod columns;
mod count;
mod digest;
mod first;
mod guard;
mod id;
mod input;
mod operation;
mod pass;
mod refusal;
mod run;
mod time;
mod user;
mod words;

pub use attribute::{CORE_USER, ENTERPRISE_USER, attribute_path, nearest_attribute, split_urn};
pub use columns::{Columns, Purpose};
pub use count::counted;
pub use digest::{DigestPrefix, PlanDigest, hex};
pub use first::FirstLines;
pub use guard::{Deactivations, Finding, Tally, TeamTally};
pub use id::{Role, TeamId, TenantId, UserId};
pub use input::{RawRow, RawValue, RejectedRow, RowFault, UserKey, WantedAttributes, WantedUser};
pub use operation::{
    AttributesPayload, Cause, Change, Kind, Operation, Payload, ProfilePayload, READ_ONLY, State, TeamPatch,
    TeamsPayload,
};
pub use pass::{PassKind, PassResult, Since};
pub use refusal::{Refusal, without};
pub use run::{Action, Met, Outcome, RunKind, RunState};
pub use time::Timestamp;
pub use user::User;
pub use words::{nearest, quoted};
