//! Any text as a configuration.
#![no_main]

#[path = "../../tests/corpora/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::run("config", data));
