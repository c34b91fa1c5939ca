//! The format of a file: by its name, or by how its content begins.

use std::io::BufReader;

use anyhow::{Result, bail};

use super::config::Format;
use super::file::{Source, line};
use super::{Reject, record};
use crate::exit::Refused;

/// Tells the format of a file that nobody named.
///
/// # Errors
/// [`Refused`] when it cannot be told.
pub fn format_of(source: &Source) -> Result<Format> {
    let extension = source.path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    // Rotated logs end in a number or a date, which may follow the ending itself.
    let extension = extension.as_deref().map(|extension| extension.split('-').next().unwrap_or(extension));
    match extension {
        Some("csv" | "tsv") => return Ok(Format::Csv),
        Some("har") => return Ok(Format::Har),
        Some("jsonl" | "ndjson") => return Ok(of_object(&first_line(source)?).unwrap_or(Format::Jsonl)),
        Some(spreadsheet @ ("xlsx" | "xlsm" | "xlsb" | "xls" | "ods" | "numbers")) => bail!(cannot_tell(
            source,
            &format!("{spreadsheet} is a spreadsheet's own format; save the sheet as CSV, with every column as text")
        )),
        Some("json" | "log" | "txt" | "out") | None => {}
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {}
        Some(_) => bail!(cannot_tell(
            source,
            "the ending of its name is not known; say it with --format, or rename it to .csv, .jsonl, .har or .log"
        )),
    }
    let first = first_line(source)?;
    match first.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(of_object(&first).unwrap_or(Format::Har)),
        Some(b'[') => {
            bail!(cannot_tell(source, "it is a JSON array; write one object per line, as `jq -c '.[]'` does"))
        }
        Some(_) if first.iter().any(|byte| b",;\t".contains(byte)) => Ok(Format::Csv),
        _ => bail!(cannot_tell(source, "say it with --format")),
    }
}

fn first_line(source: &Source) -> Result<Vec<u8>> {
    let mut input = BufReader::new(source.handle(0));
    let text = line(&mut input)?.and_then(|line| line.text).unwrap_or_default();
    Ok(text.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(text))
}

/// Of a first line. `None`: it is no whole object.
fn of_object(line: &[u8]) -> Option<Format> {
    let object = match record::object(line.to_vec(), &[]) {
        Ok(record) => record.value,
        Err(Reject::Twice) => return Some(Format::Jsonl),
        Err(_) => return None,
    };
    let has = |keys: &[&str]| keys.iter().any(|key| object.get(*key).is_some());
    Some(if object.get("log").is_some_and(|log| log.get("entries").is_some()) {
        Format::Har
    } else if has(&["response_flags", "response_code"]) {
        Format::Envoy
    } else if has(&["request", "request_uri"]) && has(&["status"]) {
        Format::Nginx
    } else {
        Format::Jsonl
    })
}

fn cannot_tell(source: &Source, why: &str) -> Refused {
    Refused(format!("the format of {} cannot be told ({why})", source.path.display()))
}
