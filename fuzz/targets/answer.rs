//! Any bytes as a server's answers.
#![no_main]

#[path = "../../tests/corpora/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::run("answer", data));
