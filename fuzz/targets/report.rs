//! Any values as a row of the report.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| privo_reconcile_fuzz::checks::run("report", data));
