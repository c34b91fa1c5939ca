//! What the package is built of: the lock file and the licences against deny.toml, and no dependency that nobody uses.
//! `cargo deny check` says more (advisories, bans); this says it with every `cargo test`, and without a network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use toml::Table;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn table(file: &str) -> Table {
    toml::from_str(&std::fs::read_to_string(root().join(file)).unwrap()).unwrap()
}

#[test]
fn every_crate_comes_from_the_registry_with_its_checksum() {
    let locks = ["Cargo.lock", "fuzz/Cargo.lock"].into_iter().filter(|lock| root().join(lock).exists());
    for lock in locks {
        let packages = table(lock)["package"].as_array().unwrap().clone();
        assert!(packages.len() > 100, "{lock} has {} packages", packages.len());
        for package in packages {
            let name = package["name"].as_str().unwrap();
            if name.starts_with("privo-reconcile") {
                assert!(package.get("source").is_none(), "{lock}: {name} is ours");
                continue;
            }
            let source = package.get("source").and_then(|source| source.as_str()).unwrap_or_default();
            assert!(
                source.starts_with("registry+") && source.ends_with("/crates.io-index"),
                "{lock}: {name} of {source:?}"
            );
            let checksum = package.get("checksum").and_then(|checksum| checksum.as_str()).unwrap_or_default();
            assert!(checksum.len() == 64, "{lock}: {name} has no checksum");
        }
    }
}

/// What only fuzzing needs, building libFuzzer included; whoever fuzzes fetches it.
const OF_FUZZING: [&str; 3] = ["libfuzzer-sys", "arbitrary", "jobserver"];

/// The manifest and the lock file of what is fuzzed, the latter by package; `None` in a package, which leaves them out.
fn fuzzed() -> Option<(String, Vec<String>)> {
    let text = |file: &str| std::fs::read_to_string(root().join(file));
    let Ok(manifest) = text("fuzz/Cargo.toml") else {
        eprintln!("skipped: there is no folder fuzz");
        return None;
    };
    Some((manifest, text("fuzz/Cargo.lock").unwrap().split("[[package]]\n").map(str::to_owned).collect()))
}

fn of_fuzzing(package: &str) -> bool {
    OF_FUZZING.iter().any(|name| package.starts_with(&format!("name = \"{name}\"\n")))
}

/// Nothing else here builds by it.
#[test]
fn the_lock_of_what_is_fuzzed_is_not_stale() {
    let Some((manifest, packages)) = fuzzed() else { return };
    let without = |text: &str| -> String {
        let names =
            |line: &&str| !OF_FUZZING.contains(&line.trim().trim_matches(['"', ',']).split(' ').next().unwrap());
        text.lines().filter(names).map(|line| format!("{line}\n")).collect()
    };
    let manifest = manifest.split("[[bin]]").next().unwrap().replace("path = \"..\"", &format!("path = {:?}", root()));
    let packages = packages.iter().filter(|package| !of_fuzzing(package));
    // Of what builds libFuzzer `cc` is left, which then needs no more than for everything else.
    let bare = |package: &str| match package.starts_with("name = \"cc\"\n") {
        true => without(package).replace(" \"libc\",\n", ""),
        false => without(package),
    };
    let lock = packages.map(|package| bare(package)).collect::<Vec<_>>().join("[[package]]\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    for (file, text) in [("src/lib.rs", ""), ("Cargo.toml", &without(&manifest)), ("Cargo.lock", &lock)] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let shown = metadata(folder.path());
    assert!(shown.is_ok(), "run `cargo metadata --offline` in the folder fuzz: {}", shown.unwrap_err());
}

#[test]
fn what_is_fuzzed_is_built_of_the_same_crates() {
    let Some((_, packages)) = fuzzed() else { return };
    let ours = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for package in packages.iter().skip(1).filter(|package| !of_fuzzing(package)) {
        let bare = package.split("dependencies = [").next().unwrap().trim_end();
        assert!(bare.contains("\"privo-reconcile-fuzz\"") || ours.contains(bare), "not in Cargo.lock:\n{bare}");
    }
}

/// Whoever builds the command first pays for each of them; docs/SPEED.md has what they cost. `idna_adapter` is held at 1.1,
/// which has no ICU, by the lock file alone, as its README says: `cargo update -p idna_adapter --precise 1.1.0`.
#[test]
fn what_was_left_out_for_a_quick_build_stays_out() {
    let names: Vec<String> = packages().iter().map(|package| package["name"].as_str().unwrap().to_owned()).collect();
    for heavy in ["aws-lc-sys", "icu_normalizer"] {
        assert!(!names.iter().any(|name| name == heavy), "{heavy}");
    }
}

#[test]
fn every_licence_is_allowed() {
    let allowed = table("deny.toml")["licenses"]["allow"].as_array().unwrap().clone();
    let allowed: BTreeSet<&str> = allowed.iter().map(|licence| licence.as_str().unwrap()).collect();
    let packages = packages();
    assert!(packages.len() > 100, "{} packages", packages.len());
    for package in &packages {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{} is under {licence:?}", package["name"]);
    }
}

/// What cargo says of the package in a folder, for this machine.
fn metadata(folder: &Path) -> Result<Value, String> {
    let about = Command::new("rustc").arg("-vV").output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Other platforms' crates were never fetched.
    let arguments = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host];
    let ran = Command::new(env!("CARGO")).args(arguments).current_dir(folder).output().unwrap();
    if !ran.status.success() {
        return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&ran.stdout).unwrap())
}

/// All packages that are built for this machine, with what they say of themselves.
fn packages() -> Vec<Value> {
    let shown = metadata(&root()).unwrap();
    let built: BTreeSet<&str> =
        shown["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    let packages = shown["packages"].as_array().unwrap().iter();
    packages.filter(|package| built.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// Whether an SPDX expression can be kept to by these licences alone.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    // Old manifests write `MIT/Apache-2.0` for a choice.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let good = any(&mut words, allowed);
    good && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words, allowed: &BTreeSet<&str>) -> bool {
    let mut good = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        good |= all(words, allowed);
    }
    good
}

fn all(words: &mut Words, allowed: &BTreeSet<&str>) -> bool {
    let mut good = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        good &= one(words, allowed);
    }
    good
}

fn one(words: &mut Words, allowed: &BTreeSet<&str>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let good = any(words, allowed);
        return words.next_if_eq(&")").is_some() && good;
    }
    let licence = words.next().unwrap_or_default();
    let exception = words.next_if_eq(&"WITH").map(|_| words.next().unwrap_or_default());
    exception.is_none() && allowed.contains(licence)
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT", "ISC"]);
    for good in
        ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(GPL-3.0 OR ISC) AND MIT", "GPL-3.0 WITH x OR MIT", "MIT AND ISC"]
    {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT WITH x", "MIT ISC", "GPL-3.0 OR (MIT AND GPL-3.0)"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn what_is_banned_is_not_there() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for banned in table("deny.toml")["bans"]["deny"].as_array().unwrap() {
        let name = banned["crate"].as_str().unwrap();
        let there = lock.contains(&format!("\nname = \"{name}\"\n"));
        assert!(banned.get("wrappers").is_some() || !there, "{name} is banned and in Cargo.lock");
    }
}

#[test]
fn every_dependency_is_used() {
    let manifest = table("Cargo.toml");
    let target = manifest["target"]["cfg(unix)"]["dependencies"].as_table().unwrap();
    let mut code = String::new();
    read(&root().join("src"), &mut code);
    for name in manifest["dependencies"].as_table().unwrap().keys().chain(target.keys()) {
        let name = name.replace('-', "_");
        assert!(code.contains(&format!("{name}::")), "nothing in src names {name}");
    }
}

fn read(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, code);
        } else {
            code.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    // `forbid` and not `deny`: no attribute in the code can allow it again.
    assert_eq!(table("Cargo.toml")["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}
