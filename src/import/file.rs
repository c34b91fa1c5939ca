//! A file that is read: what it is known by, and lines and records of a bounded length.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
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
    /// As it was named.
    pub path: PathBuf,
    file: Rc<File>,
}

/// Standard input's name.
const STANDARD_INPUT: &str = "standard-input";

impl Source {
    /// Opens a file; `-` is standard input. What can be read only once (a pipe) is copied first, into a file without a name
    /// that is gone when the process ends, for it is read from several places.
    ///
    /// # Errors
    /// [`Refused`] when there is none, it is no file, or it is packed or written otherwise than can be read here.
    pub fn open(path: &Path) -> Result<Source> {
        let standard = path == Path::new("-");
        let refuse = |why: String| Refused(format!("failed to open {}: {why} (is the path right?)", path.display()));
        let (path, file) = if standard {
            (PathBuf::from(STANDARD_INPUT), copied(&mut std::io::stdin().lock())?)
        } else {
            let mut file = File::open(path).map_err(|error| refuse(error.to_string()))?;
            let kind = file.metadata().map_err(|error| refuse(error.to_string()))?.file_type();
            match kind.is_file() {
                true => (path.to_owned(), file),
                false if kind.is_fifo() => (PathBuf::from(STANDARD_INPUT), copied(&mut file)?),
                false => bail!(refuse("it is no file".to_owned())),
            }
        };
        let source = Source { path, file: Rc::new(file) };
        source.refuse_packed()?;
        Ok(source)
    }

    /// Says what to do with a file whose first bytes show that it is no text in UTF-8.
    fn refuse_packed(&self) -> Result<()> {
        let bytes = self.bytes(0, 8)?;
        let shown = self.path.display();
        let unpack = |with: &str| format!("it is packed (unpack it: `{with} {shown} | privo-reconcile import -`)");
        let utf16 = "it is UTF-16 (write it as UTF-8: `iconv -f UTF-16 -t UTF-8`)".to_owned();
        let why = match bytes.as_slice() {
            [0x1f, 0x8b, ..] => unpack("zcat"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => unpack("zstdcat"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => unpack("xzcat"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => unpack("bzcat"),
            [b'P', b'K', 3, 4, ..] => {
                "it is a zip archive (unpack it into a folder, and import the file in it)".to_owned()
            }
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => utf16,
            // Without a mark: every other byte of plain text is a NUL.
            [one, 0, two, 0, ..] | [0, one, 0, two, ..] if *one != 0 && *two != 0 => utf16,
            b"SQLite f" => "it is a SQLite database (export the table as CSV or JSON lines)".to_owned(),
            _ => return Ok(()),
        };
        bail!(Refused(format!("failed to read {shown}: {why}")))
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
        self.handle(start).take(length).read_to_end(&mut bytes).with_context(|| self.place())?;
        Ok(bytes)
    }

    /// A reader of it from `start` on.
    pub fn handle(&self, start: u64) -> Handle {
        Handle { file: Rc::clone(&self.file), at: start }
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

/// A copy of what can be read only once.
fn copied(input: &mut impl Read) -> Result<File> {
    let mut file = tempfile::tempfile().context("failed to make room for a copy of the input (is TMPDIR full?)")?;
    std::io::copy(input, &mut file).context("failed to copy the input (is TMPDIR full?)")?;
    Ok(file)
}

/// Reads an open file from a place of its own.
#[derive(Debug)]
pub struct Handle {
    file: Rc<File>,
    at: u64,
}

impl Read for Handle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Handle {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A line as it was read.
#[derive(Debug)]
pub struct Line {
    /// With its end.
    pub bytes: u64,
    /// `None`: it was longer than [`LONGEST`].
    pub text: Option<Vec<u8>>,
    /// So many NUL bytes stood before it.
    pub nuls: u64,
    /// It has an end; the file's last one may yet grow.
    pub ended: bool,
}

/// Reads a line without its end; `None` at the end of the file. NUL bytes before it are passed over: a log that was
/// truncated while its writer went on begins with as many as it was long.
///
/// # Errors
/// When it cannot be read.
pub fn line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let nuls = skip_nuls(input)?;
    let mut text = Vec::new();
    let read = input.by_ref().take(LONGEST).read_until(b'\n', &mut text)? as u64;
    let bytes = nuls + read;
    if bytes == 0 {
        return Ok(None);
    }
    if text.last() == Some(&b'\n') {
        text.pop();
        return Ok(Some(Line { bytes, text: Some(text), nuls, ended: true }));
    }
    if read < LONGEST {
        return Ok(Some(Line { bytes, text: Some(text), nuls, ended: false }));
    }
    drop(text);
    let (rest, ended) = skip_line(input)?;
    Ok(Some(Line { bytes: bytes + rest, text: None, nuls, ended }))
}

fn skip_nuls(input: &mut impl BufRead) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        let nuls = buffer.iter().take_while(|byte| **byte == 0).count();
        let over = nuls < buffer.len() || buffer.is_empty();
        input.consume(nuls);
        skipped += nuls as u64;
        if over {
            return Ok(skipped);
        }
    }
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
    fn nuls_before_a_line_are_counted_and_passed_over() {
        let text = [vec![0; 100], b"one\n\0\0\n\0".to_vec()].concat();
        let mut input = std::io::BufReader::with_capacity(7, text.as_slice());
        let mut said = Vec::new();
        while let Some(line) = line(&mut input).unwrap() {
            said.push((line.bytes, line.nuls, String::from_utf8(line.text.unwrap()).unwrap(), line.ended));
        }
        assert_eq!(said, [(104, 100, "one".into(), true), (3, 2, String::new(), true), (1, 1, String::new(), false)]);
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
