//! The value of `Retry-After` out of any text.
#![no_main]

#[path = "../../tests/parsers/claims.rs"]
#[allow(dead_code, reason = "one claim a target")]
mod claims;

libfuzzer_sys::fuzz_target!(|text: &str| claims::retry_after(text));
