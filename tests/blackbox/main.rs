//! rosterd as others see it: through the binary, against tenants on loopback; and the outbox through its
//! public door.
//!
//! Every test has a folder, a tenant and a database of its own. Nothing waits for a fixed time: what has to
//! happen is polled for, and only what must never happen is given time to.

#![allow(clippy::unwrap_used, reason = "what a test sets up must be there")]

mod answers;
mod apply;
mod attributes;
mod audit;
mod audited;
mod bad_day;
mod bad_input;
mod brakes;
mod daemon;
mod database;
mod dead_letters;
mod documents;
mod explain;
mod home;
mod kill;
mod liar;
mod logs;
mod lying;
mod missing;
mod plan;
mod process;
mod provision;
mod quarantine;
mod requests;
mod rig;
mod run_rows;
mod scripted;
mod silence;
mod status;
mod state;
mod store;
mod sweep;
mod sync;
mod verify;
mod webhook;
mod wire;
