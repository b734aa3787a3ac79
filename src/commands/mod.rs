//! One thin file for each thing that an operator can ask for. No decisions here.

pub mod config;
mod exit;

pub use exit::Exit;
