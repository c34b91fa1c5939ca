//! Proves that every input that fuzzing kept or found still keeps its promise, and that what the package is built of comes
//! from where it should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod checks;
mod supply_chain;

use std::path::{Path, PathBuf};

/// The inputs that are kept of one check, by their names.
fn inputs(check: &str) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(check);
    let mut inputs: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_kept_input_keeps_its_promise() {
    // A package leaves the corpora out.
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").exists() {
        eprintln!("skipped: there is no folder fuzz");
        return;
    }
    for (name, _) in checks::CHECKS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 5, "{name} has {} inputs", inputs.len());
        for (input, data) in inputs {
            // What failed is told by its name; the panic's own words say why.
            let kept = std::panic::catch_unwind(|| checks::run(name, &data));
            assert!(kept.is_ok(), "fuzz/corpus/{name}/{input} breaks a promise");
        }
    }
}

#[test]
fn every_check_has_its_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let Ok(manifest) = std::fs::read_to_string(root.join("Cargo.toml")) else {
        eprintln!("skipped: there is no folder fuzz");
        return;
    };
    for (name, _) in checks::CHECKS {
        let target = std::fs::read_to_string(root.join(format!("targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("checks::run(\"{name}\", data)")), "{target}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no target");
    }
}
