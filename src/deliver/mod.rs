//! Outbox → tenant: leases what is due, sends it through the limiter, and settles what became of it.
//!
//! Nothing is decided here about users: an operation carries all that is needed to send it. What happens
//! after an answer is decided by two pure functions, [`next_step`] and [`Health`].

mod attempt;
mod health;
mod pump;
mod step;
mod vitals;

pub use health::{Health, Trouble};
pub use pump::{Drained, Pump, PumpSettings};
pub use step::{Policy, next_step};
pub use vitals::Vitals;
