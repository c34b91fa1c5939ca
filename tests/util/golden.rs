//! The golden ledger: entries, verdicts and looks with pinned times (`tests/golden/ledger.sql`).

use std::path::PathBuf;

use super::{Dir, Setup, by_hand};

/// The server of the golden ledger, which nobody asks.
const SERVER: &str = "https://api.example";

/// The end of a configuration with a key of pseudonyms.
pub const PSEUDONYMS: &str = "[pseudonym]\nkey = { file = \"key\" }\n";

/// A file beside the golden ledger.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The golden ledger in a folder of its own; `rest` ends its configuration.
pub fn golden_ledger(rest: &str) -> Dir {
    let dir = Dir::new(&Setup { rest: rest.to_owned(), ..Setup::bare(SERVER) });
    std::fs::write(dir.file("key"), "the golden key of pseudonyms\n").unwrap();
    by_hand::write(&dir, &std::fs::read_to_string(golden("ledger.sql")).unwrap());
    dir
}
