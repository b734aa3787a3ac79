//! One thin file for each thing that an operator can ask for. No decisions here.

pub mod config;
pub mod exit;
pub mod practice_tenant;
