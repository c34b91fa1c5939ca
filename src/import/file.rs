//! A file that is read: what it is known by, and lines and records of a bounded length.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::exit::Refused;
use crate::ledger::import::Digest16;

/// The longest a line or record may be.
pub const LONGEST: u64 = 32 << 20;

/// How much of a file's beginning, and of what stands before the mark, it is known by.
const SAMPLE: u64 = 4096;

/// A salted digest of a list of texts, each with its length.
pub fn digest(salt: &[u8], parts: &[&[u8]]) -> Digest16 {
    let mut sha = Sha256::new_with_prefix(salt);
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&sha.finalize()[..16]);
    digest
}

/// An open file.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    file: File,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Refused`] when there is none, or it is no file.
    pub fn open(path: &Path) -> Result<Source> {
        let refuse = |why: String| Refused(format!("failed to open {}: {why} (is the path right?)", path.display()));
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        if !file.metadata().map_err(|error| refuse(error.to_string()))?.is_file() {
            bail!(refuse("it is no file".to_owned()));
        }
        Ok(Source { path: path.to_owned(), file })
    }

    /// The file's name, without its folder.
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// How long it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn length(&self) -> Result<u64> {
        Ok(self.file.metadata().with_context(|| self.place())?.len())
    }

    /// The bytes from `start` on, at most `length`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn bytes(&self, start: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.handle(start)?;
        file.by_ref().take(length).read_to_end(&mut bytes).with_context(|| self.place())?;
        Ok(bytes)
    }

    /// Another handle on it, at `start`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn handle(&self, start: u64) -> Result<File> {
        // Opened anew, for handles that were duplicated share one position.
        let mut file = File::open(&self.path).with_context(|| self.place())?;
        file.seek(SeekFrom::Start(start)).with_context(|| self.place())?;
        Ok(file)
    }

    /// Length and digest of its first bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head(&self, salt: &[u8], length: u64) -> Result<(u64, Digest16)> {
        let bytes = self.bytes(0, length.min(SAMPLE))?;
        Ok((bytes.len() as u64, digest(salt, &[&bytes])))
    }

    /// Digest of the last bytes before `end`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tail(&self, salt: &[u8], end: u64) -> Result<Digest16> {
        let start = end.saturating_sub(SAMPLE);
        Ok(digest(salt, &[&self.bytes(start, end - start)?]))
    }

    fn place(&self) -> String {
        format!("failed to read {}", self.path.display())
    }
}

/// A line as it was read.
#[derive(Debug)]
pub struct Line {
    /// With its end.
    pub bytes: u64,
    /// `None`: it was longer than [`LONGEST`].
    pub text: Option<Vec<u8>>,
    /// It has an end; the file's last one may yet grow.
    pub ended: bool,
}

/// Reads a line without its end; `None` at the end of the file.
///
/// # Errors
/// When it cannot be read.
pub fn line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut text = Vec::new();
    let read = input.by_ref().take(LONGEST).read_until(b'\n', &mut text)? as u64;
    if read == 0 {
        return Ok(None);
    }
    if text.last() == Some(&b'\n') {
        text.pop();
        return Ok(Some(Line { bytes: read, text: Some(text), ended: true }));
    }
    if read < LONGEST {
        return Ok(Some(Line { bytes: read, text: Some(text), ended: false }));
    }
    drop(text);
    let (rest, ended) = skip_line(input)?;
    Ok(Some(Line { bytes: read + rest, text: None, ended }))
}

/// Skips to the end of the line.
fn skip_line(input: &mut impl BufRead) -> std::io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok((skipped, false));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        input.consume(length);
        skipped += length as u64;
        if end.is_some() {
            return Ok((skipped, true));
        }
    }
}

/// A reader that gives up when a record does not end, like one with an open quote. Its owner tops the allowance up after
/// each record.
pub struct Bounded<R> {
    input: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Bounded<R> {
    /// The reader, and what it may still read.
    pub fn new(input: R, allowance: u64) -> (Bounded<R>, Rc<Cell<u64>>) {
        let left = Rc::new(Cell::new(allowance));
        (Bounded { input, left: Rc::clone(&left) }, left)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)? as u64;
        match self.left.get().checked_sub(read) {
            Some(left) => self.left.set(left),
            None => return Err(std::io::Error::other("a record is too long")),
        }
        Ok(usize::try_from(read).unwrap_or(usize::MAX))
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.input.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_the_unfinished_one_is_told() {
        let mut input: &[u8] = b"one\n\nthree";
        let mut said = Vec::new();
        while let Some(line) = line(&mut input).unwrap() {
            said.push((line.bytes, String::from_utf8(line.text.unwrap()).unwrap(), line.ended));
        }
        assert_eq!(said, [(4, "one".into(), true), (1, String::new(), true), (5, "three".into(), false)]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_being_kept() {
        let length = usize::try_from(LONGEST).unwrap() + 10;
        let text = [vec![b'x'; length], b"\nnext\n".to_vec()].concat();
        let mut input = std::io::BufReader::new(text.as_slice());
        let long = line(&mut input).unwrap().unwrap();
        assert_eq!((long.bytes, long.text, long.ended), (length as u64 + 1, None, true));
        assert_eq!(line(&mut input).unwrap().unwrap().text.unwrap(), b"next");
    }
}
