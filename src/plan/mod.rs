//! The pure core: values in, a plan out. No async, no I/O, no clock, no chance, no logging.

mod attributes;
mod content;
mod guard;
mod mapping;
mod membership;
mod provisioning;
mod render;
mod saved;
mod watermark;

pub use attributes::missing_attributes;
pub use content::{content_before, content_of};
pub use guard::{Limit, Limits, examine, examine_deactivations, examine_missing};
pub use mapping::Mapping;
pub use membership::{Desired, Policy, WhenGone, decide, desired};
pub use provisioning::{
    Checker, Course, Match, OnConflict, Rules, UpdateWith, decide as decide_row, differences,
};
pub use render::{Already, Change, Plan};
pub use saved::{SavedPlan, UnfitPlan, is_made, still_fits};
pub use watermark::watermark;
