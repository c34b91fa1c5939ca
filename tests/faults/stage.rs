//! Where a scene is played again and again: a folder that is put back to how it stood, commands under the shim, and what
//! can be said of the folder afterwards.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shim::{self, Fault, Kinds};
use crate::util::{Dir, Ran, leaks, rows, wait};
use std::io::Write;

/// The columns that do not depend on when an entry was looked at, or how often.
const TIMELESS: [&str; 14] = [
    "request_id",
    "operation_id",
    "operation",
    "method",
    "path",
    "sent_at",
    "failure",
    "http_status",
    "status",
    "outcome",
    "reason",
    "action",
    "server_id",
    "matched_on",
];

/// Every file below a folder and what is in it; folders are nothing.
pub type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What must be equal in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    pub entries: Vec<String>,
    pub verdicts: Vec<Vec<String>>,
}

pub struct Stage {
    pub dir: Dir,
    before: Files,
}

impl Stage {
    /// On a folder as it stands now.
    pub fn new(dir: Dir) -> Stage {
        // What a writer left in the WAL belongs into the file, so that a copy is one file.
        if dir.file("ledger.db").metadata().is_ok_and(|about| about.len() > 0) {
            dir.db().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        }
        let before = files(dir.path());
        Stage { dir, before }
    }

    /// Puts the folder back.
    pub fn reset(&self) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        for (path, bytes) in &self.before {
            let path = self.dir.path().join(path);
            match bytes {
                None => std::fs::create_dir(&path).unwrap(),
                Some(bytes) => {
                    std::fs::write(&path, bytes).unwrap();
                    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
                }
            }
        }
    }

    /// How many boundaries a command has.
    pub fn boundaries(&self, arguments: &[&str], input: Option<&str>, kinds: Kinds) -> usize {
        let log = tempfile::NamedTempFile::new().unwrap();
        self.reset();
        let mut command = self.dir.command(arguments);
        shim::count(&mut command, self.dir.path(), kinds, Some(log.path()));
        fed(command, input);
        std::fs::read_to_string(log.path()).unwrap().lines().count()
    }

    /// A command that meets a fault.
    pub fn meets(&self, arguments: &[&str], input: Option<&str>, fault: &Fault, at: usize) -> Ran {
        let mut command = self.dir.command(arguments);
        fault.arm(&mut command, self.dir.path(), at);
        fed(command, input)
    }

    /// A command that meets none.
    pub fn plainly(&self, arguments: &[&str], input: Option<&str>) -> Ran {
        let mut command = self.dir.command(arguments);
        shim::count(&mut command, self.dir.path(), Kinds::All, None);
        fed(command, input)
    }

    /// What the ledger says in the end. `Err`: it does not say it.
    pub fn state(&self) -> Result<State, String> {
        let ran = self.plainly(&["report"], None);
        if ran.code != 0 {
            return Err(format!("report: {ran:?}"));
        }
        let verdicts = rows(&ran.out).into_iter().map(|row| TIMELESS.map(|name| row[name].clone()).to_vec()).collect();
        Ok(State { entries: self.entries()?, verdicts })
    }

    /// The entries, whole, and whether the file is.
    pub fn entries(&self) -> Result<Vec<String>, String> {
        let db = self.dir.db();
        let shown = |error: rusqlite::Error| error.to_string();
        db.execute_batch("PRAGMA synchronous = OFF").map_err(shown)?;
        let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(shown)?;
        if whole != "ok" {
            return Err(whole);
        }
        let sql = "SELECT concat_ws('|', request_id, coalesce(operation_id, '-'), direction, method, url, coalesce(body, '-'), sent_at,
                     coalesce(ended_at, '-'), failure, http_status) FROM entries ORDER BY request_id";
        let mut statement = db.prepare(sql).map_err(shown)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(shown)?;
        rows.collect::<rusqlite::Result<_>>().map_err(shown)
    }
}

/// Runs a command to its end, with this on its standard input.
pub fn fed(mut command: Command, input: Option<&str>) -> Ran {
    let Some(input) = input else { return wait(command.spawn().unwrap()) };
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || _ = stdin.write_all(input.as_bytes()));
    let ran = wait(child);
    feeding.join().unwrap();
    ran
}

/// Personal values, or the secret, in what a command said.
pub fn leaked(ran: &Ran) -> Vec<String> {
    let text = format!("{}\n{}", ran.out, ran.err);
    let mut shown = leaks::shown(&text);
    shown.extend(text.contains(crate::util::SECRET).then(|| "the secret".to_owned()));
    shown
}

pub fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in std::fs::read_dir(inner).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
                found.insert(name, None);
            } else {
                found.insert(name, Some(std::fs::read(path).unwrap()));
            }
        }
    }
    found
}
