//! HAR: one JSON document, of which one entry at a time is held, and of an entry nothing that belongs to the answer's
//! content or to the request's headers.

mod scan;

use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{Result, bail};
use base64::Engine as _;
use serde_json::Value;

use super::file::{LONGEST, Source};
use super::record::{self, Record};
use super::{Found, Note, Reject};
use crate::inputs;
use crate::ledger::import::Mark;
use scan::{Element, Scanner};

/// What is never read of an entry.
const LEFT: &[&[u8]] = &[b"cookies", b"cache", b"timings", b"queryString"];

fn keeps(parent: &[u8], name: &[u8]) -> bool {
    !LEFT.contains(&name) && (parent, name) != (b"content", b"text") && (parent, name) != (b"request", b"headers")
}

/// Reads all entries. Their marks count entries; the bytes are known at the end only.
pub fn read(source: &Source, take: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let mut file = source.handle(0);
    let mut mark = [0; 3];
    let bom = file.read_exact(&mut mark).is_ok() && mark == *b"\xef\xbb\xbf";
    file.seek(SeekFrom::Start(if bom { 3 } else { 0 }))?;
    let mut count = 0;
    let mut failed = None;
    let mut each = |element: Element| {
        count += 1;
        let found = element.ok_or(Reject::TooLong).and_then(|bytes| entry(source, bytes));
        let (record, notes) = match found {
            Ok((record, notes)) => (Ok(record), notes),
            // Within a document there is no line.
            Err(Reject::NoObject) => (Err(Reject::Broken), Vec::new()),
            Err(reject) => (Err(reject), Vec::new()),
        };
        let found = Found { line: count, record, notes, after: Some(Mark { bytes: 0, lines: count }) };
        take(found).map_err(|error| failed = Some(error)).is_ok()
    };
    let input = BufReader::with_capacity(1 << 18, file);
    let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
    let read = Scanner::new(input, keeps, longest).elements(&["log", "entries"], &mut each);
    if let Some(error) = failed {
        return Err(error);
    }
    let why = match read {
        Ok(true) => return Ok(()),
        Ok(false) => "log.entries is missing".to_owned(),
        Err(error) => error.to_string(),
    };
    bail!(
        "failed to read {}: it is no whole HAR document ({why}, after {count} entries; what stands before is imported)",
        source.path.display()
    )
}

/// One entry as it is read: with its body where the columns look for it, and with what its answer says of its length.
fn entry(source: &Source, bytes: Vec<u8>) -> Result<(Record, Vec<Note>), Reject> {
    let mut record = record::object(bytes, &[])?;
    let mut notes = Vec::new();
    if let Some(data) = record.value.pointer_mut("/request/postData")
        && let Some(note) = body(source, data)
    {
        notes.push(note);
    }
    if let Some(response) = record.value.get_mut("response") {
        let lacks = lacks_its_body(response);
        if let Value::Object(response) = response {
            response.remove("headers");
            response.insert("_cut".to_owned(), lacks.into());
        }
    }
    Ok((record, notes))
}

/// Puts the text of a body into `text`, wherever the exporter left it.
fn body(source: &Source, data: &mut Value) -> Option<Note> {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    let (written, file) = (text("text"), text("_file"));
    let whole = if written.is_empty() && !file.is_empty() {
        match beside(source, file) {
            Some(whole) => whole,
            None => return Some(Note::BodyElsewhere),
        }
    } else if text("encoding") == "base64" {
        let decoded = base64::engine::general_purpose::STANDARD.decode(written).ok();
        String::from_utf8(decoded.unwrap_or_default()).unwrap_or_default()
    } else if written.is_empty() {
        // Exporters that take every body for a form leave JSON as the name of its only field.
        match data.get("params").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) if only.get("value").and_then(Value::as_str).is_none_or(str::is_empty) => {
                only.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            _ => return None,
        }
    } else {
        return None;
    };
    data["text"] = whole.into();
    None
}

/// A body that the exporter wrote into a file of its own, beside the HAR.
fn beside(source: &Source, name: &str) -> Option<String> {
    // As Playwright names them, by a digest: nothing else in the folder is opened on a file's word, least of all a ledger.
    let (digest, kind) = name.split_once('.')?;
    let plain = digest.len() == 40
        && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let path = source.path.parent()?.join(name);
    let there = plain && path.symlink_metadata().is_ok_and(|file| file.is_file());
    there.then(|| inputs::read_text(&path, LONGEST).ok()).flatten()
}

/// Whether an answer announced a body and has none: then it was cut, whatever else the exporter says. A length that is not
/// known is negative or missing.
fn lacks_its_body(response: &Value) -> bool {
    let number = |path: &str| response.pointer(path).and_then(Value::as_i64);
    let empty = number("/content/size") == Some(0) && number("/bodySize") == Some(0);
    let without = matches!(response.get("status").and_then(Value::as_u64), Some(204 | 205 | 304));
    let header = |wanted: &str| {
        let headers = response.get("headers").and_then(Value::as_array).into_iter().flatten();
        let text = |header: &'_ Value, name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        headers
            .filter(|header| text(header, "name").is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
            .find_map(|header| text(header, "value"))
    };
    let announced = match header("content-length") {
        Some(length) => length.trim().parse::<u64>().is_ok_and(|length| length > 0),
        None => header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("json")),
    };
    empty && !without && announced
}
