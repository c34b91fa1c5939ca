//! The checks of tests/corpora, built once for all targets.

#[path = "../../tests/corpora/checks/mod.rs"]
pub mod checks;
