//! To be written.

pub mod practice_tenant;
