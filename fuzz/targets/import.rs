//! Any bytes as a file to import.
#![no_main]

#[path = "../../tests/corpora/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::run("import", data));
