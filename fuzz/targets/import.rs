//! Any bytes as a file to import.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| privo_reconcile_fuzz::checks::run("import", data));
