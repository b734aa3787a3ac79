//! Outbox → tenant: leases what is due, sends it through the limiter, and settles what became of it.
//!
//! Nothing is decided here about users: an operation carries all that is needed to send it. What happens
//! after an answer is decided by two pure functions, [`next_step`] and [`Health`].

mod ahead;
mod attempt;
mod books;
mod bulk;
mod condition;
mod health;
mod pump;
mod report;
mod step;
mod trouble;
mod verify;
mod vitals;

pub use bulk::{BulkPump, BulkPumpSettings};
pub use condition::Condition;
pub use health::{Allowance, Change, Health, Seen};
pub use pump::{Drained, Pump, PumpSettings, Shared};
pub use step::{Nature, Policy, next_step};
pub use trouble::Trouble;
pub use vitals::Vitals;
