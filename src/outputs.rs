//! Files that commands write: which are never written, and how one is written whole or not at all.
//!
//! # What is never replaced
//! A report that is written over the ledger destroys the only record of what was sent. So before a command begins its work
//! it asks [`Protected`] whether each of its outputs is a file that the job reads. Files are compared by what they are
//! (device and inode), so that another name, a link or a mount hides nothing. They are never opened for that: closing any
//! descriptor of the ledger would drop SQLite's locks on it.
//!
//! Those of another ledger or another job are known by what is in them: a file that begins as SQLite's do is never an output.
//!
//! # What is no plain file
//! A rename would put a plain file in the place of a FIFO, a terminal or `/dev/stdout`. Those are written into instead.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::exit::Refused;
use crate::leftovers;

/// Reports and what else is read by people: the group may read them.
const REPORT_MODE: u32 = 0o640;

/// Links that are followed to find where a file really is.
const LINKS: usize = 16;

/// The files that no command may write, each with what it is.
#[derive(Debug, Default)]
pub struct Protected(Vec<(PathBuf, &'static str)>);

impl Protected {
    /// Adds a ledger, with what SQLite keeps beside it.
    pub fn ledger(&mut self, path: &Path) {
        let path = real(path);
        self.file(&path, "the ledger");
        for suffix in COMPANIONS {
            self.file(&with_suffix(&path, suffix), "the ledger's companion");
        }
    }

    /// Adds a file.
    pub fn file(&mut self, path: &Path, what: &'static str) {
        self.0.push((path.to_owned(), what));
    }

    /// Refuses to open one of these files for reading, under whatever name: whoever closed it would take SQLite's locks away.
    ///
    /// # Errors
    /// [`Refused`], naming what it is.
    pub fn refuse_to_read(&self, input: &Path) -> Result<()> {
        match self.find(input) {
            Some((_, what)) => bail!(Refused(format!("{} is {what} (name another file)", input.display()))),
            None => Ok(()),
        }
    }

    fn find(&self, other: &Path) -> Option<&(PathBuf, &'static str)> {
        self.0.iter().find(|(path, _)| is_same(path, other))
    }

    /// Refuses an output that is one of these files, under whatever name.
    ///
    /// # Errors
    /// [`Refused`], naming both.
    pub fn refuse(&self, output: &Path) -> Result<()> {
        // Beside another name of a ledger SQLite would look for its log, too.
        let beside = belongs_to(output).and_then(|database| self.find(&database));
        let Some((path, what)) = self.find(output).or(beside) else { return Ok(()) };
        bail!(Refused(format!(
            "{} is {what} {} and is never written over (name another file)",
            output.display(),
            path.display()
        )))
    }
}

/// Whether two paths name one file, or would if both were there.
fn is_same(one: &Path, other: &Path) -> bool {
    if let (Ok(one), Ok(other)) = (one.metadata(), other.metadata()) {
        return identity(&one) == identity(&other);
    }
    let place = |path: &Path| {
        let path = real(path);
        Some((folder_of(&path).canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// How files begin that SQLite writes: a database, its log (of either order of bytes), its journal, its shared memory.
const SQLITES: &[&[u8]] = &[
    b"SQLite format 3\0",
    &[0x37, 0x7f, 0x06, 0x82],
    &[0x37, 0x7f, 0x06, 0x83],
    &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7],
    &[0x18, 0xe2, 0x2d, 0x00],
    &[0x00, 0x2d, 0xe2, 0x18],
];

/// What SQLite keeps beside a database, by the end of its name.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Refuses an output that is somebody's database or belongs to one, or is nothing that can be written into or replaced.
/// Whoever asks has made sure that it is none of the job's own files: it is opened.
///
/// # Errors
/// [`Refused`], saying what it is.
pub fn refuse_foreign(output: &Path) -> Result<()> {
    let refused = |what: &str| Refused(format!("{} is {what} (name another file)", output.display()));
    let kind = output.metadata().map(|file| file.file_type());
    match kind {
        Ok(kind) if kind.is_dir() => bail!(refused("a folder")),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            bail!(refused("a link that leads to itself"))
        }
        Ok(kind) if kind.is_socket() || kind.is_block_device() => bail!(refused("no file that can be written")),
        Ok(kind) if kind.is_file() && begins_as_sqlites(output) => {
            bail!(refused("a database of SQLite's, or belongs to one, and is never written over"))
        }
        _ => {}
    }
    match belongs_to(output) {
        Some(database) if database.is_file() && begins_as_sqlites(&database) => {
            bail!(refused("where SQLite keeps what belongs to a database, and is never written"))
        }
        _ => Ok(()),
    }
}

/// The database that a file of this name would belong to.
fn belongs_to(file: &Path) -> Option<PathBuf> {
    let name = file.to_str()?;
    COMPANIONS.iter().find_map(|end| name.strip_suffix(end)).map(PathBuf::from)
}

/// Whether a plain file begins as one of SQLite's. One that cannot be read cannot be known.
fn begins_as_sqlites(file: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(file).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && SQLITES.iter().any(|magic| start.starts_with(magic))
}

/// Where links lead from a path, also when nothing is there yet.
fn real(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match path.read_link() {
            Ok(target) => path = folder_of(&path).join(target),
            Err(_) => break,
        }
    }
    path
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path with something appended to its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// New files are for the user and the group, less the umask.
pub fn closed_to_others(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o660)
}

/// Whether the path names a plain file, or nothing yet: something that can be replaced whole.
pub fn is_plain(path: &Path) -> bool {
    !is_open_elsewhere(path) && path.metadata().map_or(true, |file| file.is_file())
}

/// Names of descriptors: what stands behind one is in somebody's hands, and replacing the file would not reach him.
fn is_open_elsewhere(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

/// Writes a file beside its place and moves it there when it is whole and on the disk. A file that is there already stays
/// as it is until then. What is no plain file is written into.
///
/// # Errors
/// When the folder cannot be written, or `fill` fails; nothing is left behind.
pub fn write_whole<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    if is_plain(path) { replace(path, None, fill) } else { write_into(path, fill) }
}

/// As [`write_whole`], for a file that a service of another user reads: it keeps the mode that an administrator gave it.
///
/// # Errors
/// As [`write_whole`].
pub fn write_whole_keeping_mode<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    if !is_plain(path) {
        return write_into(path, fill);
    }
    let before = path.metadata().ok().map(|file| file.permissions());
    replace(path, before, fill)
}

fn replace<T>(
    path: &Path,
    permissions: Option<Permissions>,
    fill: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let path = real(path);
    let folder = folder_of(&path);
    let place = || unwritten(&path);
    let mut builder = leftovers::begin(folder);
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(REPORT_MODE));
    let mut file = builder.tempfile_in(folder).with_context(place)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions).with_context(place)?;
    }
    let value = filled(&path, file.as_file_mut(), fill)?;
    file.as_file().sync_all().with_context(place)?;
    file.persist(&path).map_err(|error| error.error).with_context(place)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
    Ok(value)
}

/// Writes into what is there: a FIFO, a terminal, a descriptor that somebody opened.
fn write_into<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    if path.is_dir() {
        bail!("failed to write {}: it is a folder (name a file in it)", path.display());
    }
    // Appending: behind `/dev/stdout` may be a file that somebody else has written to before.
    let mut file = File::options().append(true).open(path).with_context(|| unwritten(path))?;
    filled(path, &mut file, fill)
}

fn filled<T>(path: &Path, file: &mut File, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let mut output = Watched { output: BufWriter::new(file), failed: false };
    let value = match fill(&mut output) {
        // What fills it fails for other reasons too.
        Err(error) if output.failed => return Err(error).with_context(|| unwritten(path)),
        filled => filled?,
    };
    output.flush().with_context(|| unwritten(path))?;
    Ok(value)
}

fn unwritten(path: &Path) -> String {
    format!("failed to write {} (does the folder exist, may you write there, and is there room?)", path.display())
}

/// Knows whether it was the writing that failed.
struct Watched<W> {
    output: W,
    failed: bool,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes).inspect_err(|_| self.failed = true)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.flush().inspect_err(|_| self.failed = true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protected_file_is_found_under_every_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("ledger.db"), "").unwrap();
        std::fs::create_dir(path("below")).unwrap();
        std::fs::hard_link(path("ledger.db"), path("hard")).unwrap();
        std::os::unix::fs::symlink("ledger.db", path("soft")).unwrap();
        std::os::unix::fs::symlink("ledger.db-wal", path("dangling")).unwrap();
        let mut protected = Protected::default();
        protected.ledger(&path("ledger.db"));
        for name in ["ledger.db", "hard", "soft", "below/../ledger.db", "ledger.db-wal", "ledger.db-shm", "dangling"] {
            assert!(protected.refuse(&path(name)).is_err(), "{name}");
        }
        for name in ["report.csv", "below/ledger.db", "ledger.db.csv", "nowhere/ledger.db-wal"] {
            assert!(protected.refuse(&path(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_sqlite_writes_is_known_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = [
            ("theirs.db", &b"SQLite format 3\0\x10\0"[..]),
            ("log", &[0x37, 0x7f, 0x06, 0x82, 0, 0]),
            ("journal", &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0]),
            ("memory", &[0x18, 0xe2, 0x2d, 0, 0]),
        ];
        for (name, bytes) in files {
            std::fs::write(path(name), bytes).unwrap();
            assert!(refuse_foreign(&path(name)).is_err(), "{name}");
        }
        for name in ["theirs.db-wal", "theirs.db-shm", "theirs.db-journal", "."] {
            assert!(refuse_foreign(&path(name)).is_err(), "{name}");
        }
        std::fs::write(path("report.csv"), "request_id\n").unwrap();
        std::fs::write(path("SQLite"), "SQLite format 3, a tale").unwrap();
        for name in ["report.csv", "SQLite", "report.csv-wal", "new.csv"] {
            assert!(refuse_foreign(&path(name)).is_ok(), "{name}");
        }
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        assert!(refuse_foreign(&path("loop")).is_err());
        for device in ["/dev/null", "/dev/stdout"] {
            assert!(refuse_foreign(Path::new(device)).is_ok(), "{device}");
        }
    }

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("dated.csv", path("latest.csv")).unwrap();
        for text in ["one", "two"] {
            write_whole(&path("latest.csv"), |output| Ok(output.write_all(text.as_bytes())?)).unwrap();
            assert_eq!(std::fs::read_to_string(path("dated.csv")).unwrap(), text);
        }
        assert!(path("latest.csv").symlink_metadata().unwrap().is_symlink());
    }
}
