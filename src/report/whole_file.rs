//! Files that are written whole or not at all.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::leftovers;

/// Writes a file beside its place and moves it there when it is whole and on the disk. A file that is there already stays
/// as it is until then.
///
/// # Errors
/// When the folder cannot be written, or `fill` fails; nothing is left behind.
pub fn write_whole<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let place = || {
        format!("failed to write {} (does the folder exist, may you write there, and is there room?)", path.display())
    };
    let mut builder = leftovers::begin(folder);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).with_context(place)?;
    let mut output = Watched { output: BufWriter::new(file.as_file_mut()), failed: false };
    let value = match fill(&mut output) {
        // What fills it fails for other reasons too.
        Err(error) if output.failed => return Err(error).with_context(place),
        filled => filled?,
    };
    output.flush().with_context(place)?;
    drop(output);
    file.as_file().sync_all().with_context(place)?;
    file.persist(path).map_err(|error| error.error).with_context(place)?;
    #[cfg(unix)]
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
    Ok(value)
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

/// Where a report's meta data go.
pub fn meta_path(report: &Path) -> PathBuf {
    let mut name = report.as_os_str().to_owned();
    name.push(".meta.json");
    PathBuf::from(name)
}
