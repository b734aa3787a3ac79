//! rosterd keeps the team rosters of a contact centre in step with HR.
//!
//! The modules, in reading order:

pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod deliver;
pub mod model;
pub mod plan;
pub mod practice;
pub mod scim;
pub mod source;
pub mod store;
pub mod telemetry;
