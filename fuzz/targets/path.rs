//! Any text as a JSON path, a template, a key.
#![no_main]

#[path = "../../tests/corpora/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::run("path", data));
