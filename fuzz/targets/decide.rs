//! Any evidence as a ledger may hold it.
#![no_main]

#[path = "../../tests/corpora/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::run("decide", data));
