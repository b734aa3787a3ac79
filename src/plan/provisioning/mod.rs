//! From what HR says to users: the checks that a row must pass, and the SCIM User that comes of it. Pure.

mod check;
mod draft;
mod mask;
mod value;

pub use check::{Checker, Rules};
