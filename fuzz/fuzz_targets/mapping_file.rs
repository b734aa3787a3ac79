//! A mapping file, read as CSV and as JSON, out of any text.
#![no_main]

#[path = "../../tests/parsers/claims.rs"]
#[allow(dead_code, reason = "one claim a target")]
mod claims;

libfuzzer_sys::fuzz_target!(|text: &str| claims::mapping(text));
