//! Any bytes as a server's answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| privo_reconcile_fuzz::checks::run("answer", data));
