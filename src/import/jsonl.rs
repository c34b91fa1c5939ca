//! JSON lines, and access logs in that form.

use std::io::BufReader;

use anyhow::{Context, Result};
use serde_json::Value;

use super::file::{Source, line};
use super::{Found, Reject};
use crate::ledger::import::Mark;

/// Reads the lines after a mark.
pub fn read(source: &Source, from: Mark, take: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 18, source.handle(from.bytes)?);
    let mut mark = from;
    while let Some(line) = line(&mut input).with_context(|| format!("failed to read {}", source.path.display()))? {
        let first = mark.bytes == 0;
        mark = Mark { bytes: mark.bytes + line.bytes, lines: mark.lines + 1 };
        let record = match &line.text {
            None => Err(Reject::TooLong),
            Some(text) => {
                let text = if first { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                object(text)
            }
        };
        take(Found { line: mark.lines, record, after: line.ended.then_some(mark) })?;
    }
    Ok(())
}

fn object(text: &[u8]) -> Result<Value, Reject> {
    match serde_json::from_slice(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Reject::NoObject),
    }
}
