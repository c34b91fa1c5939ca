//! JSON lines, and access logs in that form.

use std::io::BufReader;

use anyhow::{Context, Result};

use super::file::{Source, line};
use super::{Found, Note, Reject, record};
use crate::ledger::import::Mark;

/// Reads the lines after a mark. What stands at one of `bodies` stays the text that it is.
pub fn read(
    source: &Source,
    bodies: &[Vec<String>],
    from: Mark,
    take: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 18, source.handle(from.bytes));
    let mut mark = from;
    while let Some(line) = line(&mut input).with_context(|| format!("failed to read {}", source.path.display()))? {
        let first = mark.bytes == 0;
        mark = Mark { bytes: mark.bytes + line.bytes, lines: mark.lines + 1 };
        let mut notes = Vec::new();
        let record = match line.text {
            None => Err(Reject::TooLong),
            Some(text) => {
                let text = match text.strip_prefix(b"\xef\xbb\xbf") {
                    Some(rest) if first => rest.to_vec(),
                    _ => text,
                };
                match (text.iter().all(u8::is_ascii_whitespace), line.nuls) {
                    (true, 0) => continue,
                    (true, _) => Err(Reject::Nuls),
                    (false, nuls) => {
                        notes.extend((nuls > 0).then_some(Note::Nuls));
                        record::object(text, bodies)
                    }
                }
            }
        };
        notes.extend(record.as_ref().is_ok_and(|record| record.repaired).then_some(Note::Repaired));
        take(Found { line: mark.lines, record, notes, after: line.ended.then_some(mark) })?;
    }
    Ok(())
}
