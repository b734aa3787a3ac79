//! The rows of an HRIS export, read as CSV and as JSON lines and checked, out of any bytes.
#![no_main]

#[path = "../../tests/parsers/claims.rs"]
#[allow(dead_code, reason = "one claim a target")]
mod claims;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| claims::export(bytes));
