//! The rows of a file of attributes, read as CSV, as JSON lines and as a list of users, out of any bytes.
#![no_main]

#[path = "../../tests/parsers/claims.rs"]
#[allow(dead_code, reason = "one claim a target")]
mod claims;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| claims::attributes(bytes));
