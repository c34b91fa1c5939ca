//! The search for leaks: what a command prints or leaves behind is searched for every personal value that the test put
//! into its entries, unless the test asked to see them.
//!
//! Values are noted when an entry is inserted, and of every file that a command is given: emails wherever they stand;
//! names, birth dates and ids of people by the names of their fields.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Fields of requests whose values are somebody's.
const FIELDS: &[&str] = &[
    "first_name",
    "firstName",
    "last_name",
    "given_name",
    "givenName",
    "birth_date_yyyymmdd",
    "birthDate_YYYYMMDD",
    "birth_date",
    "birthDate",
    "birthdate",
    "user_name",
    "userName",
    "display_name",
    "displayName",
    "external_user_identifier",
    "externalUserIdentifier",
    "eid",
];

/// Shorter values stand in other words by chance.
const SHORTEST: usize = 3;

thread_local! {
    /// Each test has a thread of its own.
    static KNOWN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Remembers the personal values of a text: a body, a URL, a file.
pub fn note(text: &str) {
    let mut found: BTreeSet<String> = emails(text).into_iter().collect();
    for field in FIELDS {
        found.extend(values_of(text, field));
    }
    KNOWN.with_borrow_mut(|known| known.extend(found));
}

/// The known values that a text shows: emails in any case, others as words of their own.
pub fn shown(text: &str) -> Vec<String> {
    let small = text.to_lowercase();
    let shows =
        |value: &&String| if value.contains('@') { small.contains(value.as_str()) } else { has_word(text, value) };
    KNOWN.with_borrow(|known| known.iter().filter(shows).cloned().collect())
}

/// Fails when a text shows a known value.
pub fn forbid(what: &str, text: &str) {
    let shown = shown(text);
    assert!(shown.is_empty(), "{what} shows {shown:?}: {text}");
}

/// Every file below a folder that is not a ledger, and how it stands.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, Option<SystemTime>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(about) if about.is_dir() => open.push(path),
                Ok(about) if about.is_file() && !of_a_ledger(&path) => {
                    found.insert(path, (about.len(), about.modified().ok()));
                }
                _ => {}
            }
        }
    }
    found
}

/// A SQLite file, or what stands beside one. That is where the values belong.
fn of_a_ledger(path: &Path) -> bool {
    let name = path.to_string_lossy();
    let beside = ["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end));
    let mut start = [0; 16];
    let mut read = || std::fs::File::open(path)?.read_exact(&mut start);
    beside || (read().is_ok() && &start == b"SQLite format 3\0")
}

/// Fails when a file that was written since shows a known value.
pub fn forbid_in_files(folder: &Path, before: &BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
    for (path, stands) in files(folder) {
        if before.get(&path) != Some(&stands) {
            let bytes = std::fs::read(&path).unwrap_or_default();
            forbid(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
}

fn emails(text: &str) -> Vec<String> {
    let text = text.replace("%40", "@").to_lowercase();
    let part = |c: char| c.is_alphanumeric() || "._+-@".contains(c);
    // What begins with an @ is a rule of a style, not an address.
    let words = text.split(|c| !part(c)).filter(|word| word.find('@').is_some_and(|at| at > 0));
    words.map(|word| word.trim_matches(['.', '-']).to_owned()).filter(|word| word.len() > SHORTEST).collect()
}

/// The values of a JSON field, wherever it stands; the text need not be JSON as a whole.
fn values_of(text: &str, field: &str) -> Vec<String> {
    let mut values = Vec::new();
    for (at, key) in text.match_indices(&format!("\"{field}\"")) {
        let Some(rest) = text[at + key.len()..].trim_start().strip_prefix(':') else { continue };
        let Some(value) = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>().next() else {
            continue;
        };
        let Some(value) = value.ok().and_then(|value| value.as_str().map(|value| value.trim().to_owned())) else {
            continue;
        };
        if value.len() == 8 && value.bytes().all(|byte| byte.is_ascii_digit()) {
            values.push(format!("{}-{}-{}", &value[..4], &value[4..6], &value[6..]));
        }
        values.push(value);
    }
    values.retain(|value| value.chars().count() >= SHORTEST);
    values
}

fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).any(|(at, found)| {
        !part_of_word(text[..at].chars().next_back()) && !part_of_word(text[at + found.len()..].chars().next())
    })
}
