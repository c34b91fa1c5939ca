//! A record as a row of the ledger: of its body what the plan reads, of its headers nothing.

use serde_json::Value;
use url::Url;

use super::Reject;
use super::classify::{Ending, ending};
use super::config::{Mapping, Places};
use super::file::digest;
use crate::clock::{Moment, Span};
use crate::evidence::Class;
use crate::ledger::NewEntry;
use crate::ledger::import::{Candidate, Digest16};
use crate::plan::{self, Reader};
use crate::words::{Direction, Failure};

/// The longest that the free text of an error may be, in characters.
const LONGEST_ERROR: usize = 500;

/// A record that belongs into the ledger.
#[derive(Debug)]
pub struct Row {
    pub line: u64,
    request_id: String,
    operation_id: Option<String>,
    method: String,
    url: String,
    body: Option<String>,
    sent: Moment,
    ended: Option<Moment>,
    failure: Failure,
    http_status: Option<u16>,
    error: Option<String>,
    content: Digest16,
    /// Why the job will not be able to decide it.
    pub cannot_be_decided: Option<String>,
}

impl Row {
    /// As the ledger takes it.
    pub fn candidate(&self) -> Candidate<'_> {
        let entry = NewEntry {
            request_id: &self.request_id,
            operation_id: self.operation_id.as_deref(),
            direction: Direction::Outbound,
            method: &self.method,
            url: &self.url,
            body: self.body.as_deref(),
            sent_at: self.sent,
            ended_at: self.ended,
            failure: self.failure,
            http_status: self.http_status,
            error: self.error.as_deref(),
        };
        Candidate { entry, content: self.content }
    }

    /// Roughly how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.url.len() + self.body.as_ref().map_or(0, String::len) + 256
    }
}

/// Reads a record. `None`: it had a definite answer, and is left out.
pub fn row(reader: &Reader, mapping: &Mapping, line: u64, record: &Value, now: Moment) -> Result<Option<Row>, Reject> {
    let (failure, http_status) = match ending(mapping, &reader.plan.statuses, record)? {
        Ending::Definite(status @ 200..500) if mapping.answers => (Failure::Answered, Some(status)),
        Ending::Definite(_) => return Ok(None),
        Ending::Failed(failure, status) => (failure, status),
    };
    let text = |places: &Option<Places>| places.as_ref().and_then(|places| places.text(record));
    let (method, url) = request(mapping, record)?;
    let (sent, ended) = times(mapping, record)?;
    let raw = mapping.body.as_ref().and_then(|places| places.document(record));
    let content = content(reader.salt, sent, &method, &url, raw.as_deref());
    let body = raw.as_deref().and_then(|raw| reader.minimal(Direction::Outbound, &method, &url, raw));
    let mut row = Row {
        line,
        request_id: text(&mapping.request_id).unwrap_or_default(),
        operation_id: text(&mapping.operation_id),
        method,
        url,
        body: raw,
        sent,
        ended,
        failure,
        http_status,
        error: text(&mapping.error).map(|error| error.chars().take(LONGEST_ERROR).collect()),
        content,
        cannot_be_decided: None,
    };
    if failure != Failure::Answered {
        row.cannot_be_decided = cannot_be_decided(reader, &row, now);
    }
    row.body = body;
    Ok(Some(row))
}

/// Of time, method, URL and body; the body without regard to spaces and the order of its keys.
fn content(salt: &[u8], sent: Moment, method: &str, url: &str, body: Option<&str>) -> Digest16 {
    let body = body.unwrap_or_default();
    let canonical = serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |body| body.to_string());
    digest(salt, &[&sent.0.to_be_bytes(), method.as_bytes(), url.as_bytes(), canonical.as_bytes()])
}

/// Method and absolute URL.
fn request(mapping: &Mapping, record: &Value) -> Result<(String, String), Reject> {
    let text = |places: &Option<Places>| places.as_ref().and_then(|places| places.text(record));
    let line = text(&mapping.request_line).unwrap_or_default();
    let mut parts = line.split_ascii_whitespace().map(str::to_owned);
    let (first, second) = (parts.next(), parts.next());
    let method = text(&mapping.method).or(first).ok_or(Reject::Method)?.trim().to_ascii_uppercase();
    if method.is_empty() || method.len() > 16 || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Reject::Method);
    }
    let url = text(&mapping.url).or(second).ok_or(Reject::NoUrl)?.trim().to_owned();
    let url = if url.starts_with('/') {
        let host = || text(&mapping.host).map(|host| format!("https://{}", host.trim()));
        let base = mapping.base_url.as_ref().map(|base| base.0.clone()).or_else(host).ok_or(Reject::PathAlone)?;
        base + &url
    } else {
        url
    };
    let parsed = Url::parse(&url).map_err(|_| Reject::Url)?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(Reject::Url);
    }
    Ok((method, url))
}

/// When it was sent and when it ended. Where a time is known to the second, sent is at its beginning and ended at its end.
fn times(mapping: &Mapping, record: &Value) -> Result<(Moment, Option<Moment>), Reject> {
    let sent = mapping.sent_at.as_ref().and_then(|time| time.read(record)).transpose().map_err(|()| Reject::SentAt)?;
    let ended =
        mapping.ended_at.as_ref().and_then(|time| time.read(record)).transpose().map_err(|()| Reject::EndedAt)?;
    let lasted = mapping.duration.as_ref().and_then(|length| length.read(record)).map(Span);
    let late = |whole_seconds: bool| Span(if whole_seconds { 999 } else { 0 });
    match (sent, ended, lasted) {
        (Some(sent), Some(ended), _) => Ok((sent.at, Some(ended.at + late(ended.whole_seconds)))),
        (Some(sent), None, lasted) => Ok((sent.at, lasted.map(|lasted| sent.at + lasted + late(sent.whole_seconds)))),
        // The end alone would make it sent later than it was.
        (None, Some(ended), Some(lasted)) => Ok((ended.at - lasted, Some(ended.at + late(ended.whole_seconds)))),
        (None, ..) => Err(Reject::NoTime),
    }
}

/// What the plan misses in a row.
fn cannot_be_decided(reader: &Reader, row: &Row, now: Moment) -> Option<String> {
    let cell = |text: &str| Ok(Some(text.to_owned()));
    let read = plan::Row {
        entry: 0,
        revision: 0,
        request_id: "-".to_owned(),
        id_is_text: true,
        operation_id: Ok(None),
        direction: cell(Direction::Outbound.text()),
        method: cell(&row.method),
        url: cell(&row.url),
        body: Ok(row.body.clone()),
        sent_at: cell(&row.sent.to_string()),
        ended_at: Ok(None),
        failure: cell(row.failure.text()),
        http_status: Ok(row.http_status.map(|status| status.to_string())),
        arrived: None,
        clock_error: None,
    };
    match reader.read(&read, now).facts.class {
        Class::BadRow { why } => Some(why),
        Class::NoPlan => Some("no operation of the plan matches".to_owned()),
        Class::OtherEnvironment => Some("it went to another host than the configured server".to_owned()),
        Class::Read | Class::Planned => None,
    }
}
