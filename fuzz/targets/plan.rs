//! Any text as a plan.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| privo_reconcile_fuzz::checks::run("plan", data));
