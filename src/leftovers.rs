//! Files under way: what is written beside its place and moved there when it is whole. A command that is killed leaves its
//! own behind, and that may hold what was pruned or revealed since; so the next one that writes in the same folder
//! removes what nobody has touched for a day.

use std::fs::{self, DirEntry};
use std::path::Path;

use tempfile::Builder;

use crate::clock::{Moment, Span};

const PREFIX: &str = ".privo-reconcile-";
const SUFFIX: &str = ".part";

/// A file that is written so long without a pause belongs to nobody any more.
const ABANDONED: Span = Span::seconds(86_400);

/// Begins a file or folder under way in this folder, and sweeps it.
pub fn begin(folder: &Path) -> Builder<'static, 'static> {
    sweep(folder, Moment::now());
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    builder
}

/// Removes what was abandoned. What cannot be removed stays: the command at hand has other work.
fn sweep(folder: &Path, now: Moment) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(entry) && is_abandoned(entry, now)) {
        // A link is a file here, so nothing is followed.
        let _ = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
            _ => fs::remove_file(entry.path()),
        };
    }
}

fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let drawn = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    drawn.is_some_and(|drawn| drawn.len() == 6 && drawn.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_abandoned(entry: &DirEntry, now: Moment) -> bool {
    let changed = entry.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| Moment::from(changed) + ABANDONED < now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_abandoned_goes_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [".privo-reconcile-abc123.part", ".privo-reconcile-backup", "report.csv", ".privo-reconcile-a.part"]
        {
            fs::write(path(name), "Ann").unwrap();
        }
        fs::create_dir(path(".privo-reconcile-XyZ789.part")).unwrap();
        fs::write(path(".privo-reconcile-XyZ789.part/ledger.db"), "Ann").unwrap();
        let left = || {
            let names =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let all = left();
        sweep(folder.path(), Moment::now());
        assert_eq!(left(), all, "somebody may be at work");
        sweep(folder.path(), Moment::now() + Span::seconds(86_500));
        assert_eq!(left(), [".privo-reconcile-a.part", ".privo-reconcile-backup", "report.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_goes_and_what_it_leads_to_stays() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(".privo-reconcile-abc123.part")).unwrap();
        sweep(folder.path(), Moment::now() + Span::seconds(86_500));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(elsewhere.path().join("kept").exists());
    }
}
