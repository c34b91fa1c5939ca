//! CSV with a header. Only the cells of mapped columns are looked at.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, Position, ReaderBuilder};
use serde_json::{Map, Value};

use super::config::Mapping;
use super::file::{Bounded, Handle, LONGEST, Source};
use super::record::Record;
use super::{Found, Reject};
use crate::exit::Refused;
use crate::ledger::import::Mark;

/// What may stand between cells, when nobody says what does.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

type Reader = csv::Reader<Bounded<Handle>>;

/// Reads the records after a mark.
pub fn read(source: &Source, mapping: &Mapping, from: Mark, take: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let said = said_delimiter(source)?;
    let delimiter = match said.or(mapping.delimiter.map(|delimiter| delimiter.0)) {
        Some(delimiter) => delimiter,
        None => likely_delimiter(source, mapping)?,
    };
    let (mut reader, left) = reader(source, delimiter);
    let mut record = ByteRecord::new();
    // The header is read as a record, so that positions and lengths are ours to check.
    for _ in 0..=usize::from(said.is_some()) {
        if !next(&mut reader, &mut record, source)? {
            return Ok(());
        }
    }
    let columns = columns(&record, mapping, source)?;
    let width = record.len();
    // Between the two bytes of a line end the reader stands on the line before.
    let at = reader.position().byte();
    let between = u64::from(source.bytes(at.saturating_sub(1), 2)? == b"\r\n");
    if from.bytes > 0 {
        let mut position = Position::new();
        position.set_byte(from.bytes).set_line(from.lines + 1 - between);
        left.set(LONGEST);
        reader.seek(position).with_context(|| format!("failed to read {}", source.path.display()))?;
    }
    let mut length = 0;
    loop {
        left.set(LONGEST);
        let line = reader.position().line();
        if !next(&mut reader, &mut record, source)? {
            return Ok(());
        }
        let line = record.position().map_or(line, Position::line) + between;
        let after = reader.position();
        let mark = Mark { bytes: after.byte(), lines: after.line() - 1 + between };
        if mark.bytes >= length {
            length = source.length()?;
        }
        let end = if mark.bytes < length {
            End::Line
        } else {
            let start = record.position().map_or(mark.bytes, Position::byte);
            end_of(&source.bytes(start, mark.bytes.saturating_sub(start))?, delimiter)
        };
        if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
            continue;
        }
        let values = if end == End::Quotes { Err(Reject::Unfinished) } else { values(&record, &columns, width) };
        take(Found { line, record: values, notes: Vec::new(), after: (end == End::Line).then_some(mark) })?;
    }
}

fn reader(source: &Source, delimiter: u8) -> (Reader, Rc<Cell<u64>>) {
    let (input, left) = Bounded::new(source.handle(0), LONGEST);
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter).buffer_capacity(1 << 16);
    (builder.from_reader(input), left)
}

/// What a first line `sep=;` says, which spreadsheets write and read.
fn said_delimiter(source: &Source) -> Result<Option<u8>> {
    let bytes = source.bytes(0, 16)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    Ok(match bytes {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter, b'\r' | b'\n', ..] => Some(*delimiter),
        _ => None,
    })
}

/// The one under which the header has the columns that are wanted.
fn likely_delimiter(source: &Source, mapping: &Mapping) -> Result<u8> {
    for delimiter in DELIMITERS {
        let mut header = ByteRecord::new();
        let there = next(&mut reader(source, delimiter).0, &mut header, source)?;
        if there && missing(&found(&header, mapping), mapping).is_none() {
            return Ok(delimiter);
        }
    }
    Ok(DELIMITERS[0])
}

/// How the last record of a file ends, which may yet be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Line,
    /// Without a line end.
    File,
    /// Within quotes: it is not whole, whatever its last byte is.
    Quotes,
}

fn end_of(record: &[u8], delimiter: u8) -> End {
    // A record may begin with what is left of the line end before it.
    let mut before = delimiter;
    let mut quoted = false;
    for byte in record.iter().skip_while(|byte| b"\r\n".contains(byte)) {
        quoted = match (quoted, byte) {
            // A quote right after one that closed the cell is an escaped one, and the cell goes on.
            (false, b'"') => before == delimiter || before == b'"',
            (true, b'"') => false,
            _ => quoted,
        };
        before = if quoted && *byte != b'"' { b' ' } else { *byte };
    }
    match record.last() {
        _ if quoted => End::Quotes,
        Some(b'\n' | b'\r') => End::Line,
        _ => End::File,
    }
}

fn next<R: std::io::Read>(reader: &mut csv::Reader<R>, record: &mut ByteRecord, source: &Source) -> Result<bool> {
    let line = reader.position().line();
    reader.read_byte_record(record).map_err(|_| {
        anyhow::anyhow!(
            "failed to read {}: the record at line {line} cannot be read or is longer than {} MiB (is a quote left open?)",
            source.path.display(),
            LONGEST >> 20
        )
    })
}

/// Which cell is which mapped column.
fn columns(header: &ByteRecord, mapping: &Mapping, source: &Source) -> Result<Vec<(usize, String)>> {
    let found = found(header, mapping);
    if let Some(key) = missing(&found, mapping) {
        // Named by the mapping's keys: what the header says may be a row of data.
        bail!(Refused(format!(
            "the header of {} has no column for `{key}` (name it in [import.NAME] of the configuration and use --map NAME; is the delimiter right?)",
            source.path.display()
        )));
    }
    let twice = found.iter().enumerate().find(|(at, (_, name))| found[..*at].iter().any(|(_, other)| other == name));
    if let Some((_, (_, name))) = twice {
        bail!(Refused(format!(
            "the header of {} has the column `{name}` twice, and which of the two holds cannot be known (export it once)",
            source.path.display()
        )));
    }
    Ok(found)
}

fn found(header: &ByteRecord, mapping: &Mapping) -> Vec<(usize, String)> {
    let wanted: std::collections::BTreeSet<&str> = mapping.every().flat_map(|places| places.names()).collect();
    let name = |cell: &[u8]| String::from_utf8_lossy(cell).trim().trim_start_matches('\u{feff}').to_owned();
    header.iter().map(name).enumerate().filter(|(_, name)| wanted.contains(name.as_str())).collect()
}

/// The mapping's key of a column that is missing.
fn missing(found: &[(usize, String)], mapping: &Mapping) -> Option<&'static str> {
    let has = |places: &Option<super::config::Places>| {
        places.iter().flat_map(|p| p.names()).any(|name| found.iter().any(|(_, found)| found == name))
    };
    let method = has(&mapping.method) || has(&mapping.request_line);
    let url = has(&mapping.url) || has(&mapping.request_line);
    [(!method, "method"), (!url, "url")].into_iter().find(|(missing, _)| *missing).map(|(_, key)| key)
}

fn values(record: &ByteRecord, columns: &[(usize, String)], width: usize) -> Result<Record, Reject> {
    // A delimiter at the end of each line makes empty cells, which nobody misses.
    if record.len() < width || record.iter().skip(width).any(|cell| !cell.is_empty()) {
        return Err(Reject::Width);
    }
    let mut values = Map::new();
    for (index, name) in columns {
        let cell = record.get(*index).unwrap_or_default();
        let text = std::str::from_utf8(cell).map_err(|_| Reject::NotUtf8)?;
        values.insert(name.clone(), Value::String(text.to_owned()));
    }
    let whole =
        record.iter().flat_map(|cell| (cell.len() as u64).to_be_bytes().into_iter().chain(cell.iter().copied()));
    Ok(Record { value: Value::Object(values), whole: whole.collect(), lossy: false, repaired: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_within_quotes_ends_no_record() {
        for (record, end) in [
            ("a,b\n", End::Line),
            ("a,b\r", End::Line),
            ("\na,\"b\"\r\n", End::Line),
            ("\"a\"\"\n\",b\n", End::Line),
            ("a,b\"\n", End::Line),
            ("\"\",x\n", End::Line),
            ("\"a\"b\"\n", End::Line),
            ("\"\"\"\"\n", End::Line),
            ("", End::File),
            ("a,b", End::File),
            ("a,\"b\"", End::File),
            ("a,\"b\n", End::Quotes),
            ("a,\"b\"\"\n", End::Quotes),
            ("\n\"\n", End::Quotes),
            ("\"a,\"\"b\"\",\n", End::Quotes),
        ] {
            assert_eq!(end_of(record.as_bytes(), b','), end, "{record:?}");
        }
    }
}
