//! Any text as a JSON path, a template, a key.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| privo_reconcile_fuzz::checks::run("path", data));
