//! The pure core: values in, a plan out. No async, no I/O, no clock, no chance, no logging.

mod guard;
mod mapping;
mod membership;
mod render;
mod watermark;

pub use guard::{Limit, Limits, PlanDigest, examine, examine_missing};
pub use mapping::Mapping;
pub use membership::{Desired, Policy, WhenGone, decide, desired};
pub use render::{Change, Plan};
pub use watermark::watermark;
