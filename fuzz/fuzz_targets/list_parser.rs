//! A page of a list of users, and every record on it, out of any bytes.
#![no_main]

#[path = "../../tests/parsers/claims.rs"]
#[allow(dead_code, reason = "one claim a target")]
mod claims;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| claims::list(bytes));
