//! Small files that are read whole: configuration, plan, credentials, certificates. One that does not end (`/dev/zero`, a
//! log by mistake) must not fill the memory first.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// A configuration, a plan or a bundle of certificates is no larger, in bytes.
pub const LARGEST: u64 = 4 << 20;

/// A credential is no larger, in bytes.
pub const LARGEST_CREDENTIAL: u64 = 64 << 10;

/// Reads a file whole.
///
/// # Errors
/// When it cannot be read, or is larger than `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {} KiB", most >> 10)));
    }
    Ok(bytes)
}

/// Reads a text file whole.
///
/// # Errors
/// As [`read`]; when it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read(path, most)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}
