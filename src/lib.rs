//! rosterd keeps the team rosters of a contact centre in step with HR.
//!
//! The modules, in reading order:

pub mod model;
pub mod clock;
pub mod chance;
pub mod plan;
pub mod config;
pub mod scim;
pub mod source;
pub mod store;
pub mod audit;
pub mod deliver;
pub mod telemetry;
pub mod webhook;
pub mod daemon;
pub mod practice;
pub mod commands;
