//! A record as a row of the ledger: of its body what the plan reads, of its headers nothing.

use serde_json::Value;
use url::Url;

use super::classify::{Ending, ending};
use super::config::{BaseUrl, Format, Mapping, text_at};
use super::file::digest;
use super::record::Record;
use super::times::Read;
use super::{Note, Reject};
use crate::clock::{Moment, Span};
use crate::evidence::{Class, Facts, Kind};
use crate::ids;
use crate::ledger::NewEntry;
use crate::ledger::import::{Candidate, Digest16, made_id};
use crate::plan::faithful::is_faithful;
use crate::plan::{self, Reader, text_cell};
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
    /// Of method, URL and body: what the attempts of one operation share.
    pub like: Digest16,
    /// How far the clock that dated it may be from the ledger's.
    pub clock_error: Span,
    /// Why the job will not be able to decide it.
    pub cannot_be_decided: Option<String>,
    /// Of one that names its operation: what tells it from other requests under that id.
    pub facts: Option<Box<Facts>>,
}

impl Row {
    /// When it was sent.
    pub fn sent(&self) -> Moment {
        self.sent
    }

    /// The id of its operation, if it names one.
    pub fn operation_id(&self) -> Option<&str> {
        self.operation_id.as_deref()
    }

    /// Makes it an attempt of another row's operation.
    pub fn belongs_to(&mut self, operation_id: &str) {
        self.operation_id = Some(operation_id.to_owned());
    }

    /// Whether it says enough to be known for the same request again: without the body that it was sent with, any two of an
    /// operation look alike.
    pub fn says_all(&self) -> bool {
        self.body.is_some() || self.cannot_be_decided.is_none()
    }

    /// The id that it has in the ledger when it is the first of its like in its file.
    pub fn first_id(&self) -> String {
        if self.request_id.is_empty() { made_id(&self.content, 1) } else { self.request_id.clone() }
    }

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
        Candidate { entry, content: self.content, clock_error: self.clock_error }
    }

    /// Roughly how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.url.len() + self.body.as_ref().map_or(0, String::len) + 256
    }
}

/// Other hosts' clocks are often off by seconds, and logs by more.
const CLOCK_ERROR: Span = Span::seconds(60);

/// Methods that change nothing at a server, and that browsers and proxies send by themselves.
const NOISE: &[&str] = &["OPTIONS", "CONNECT", "TRACE"];

/// Schemes of what a browser lists among its requests and no server hears of.
const NO_REQUEST: &[&str] = &["data:", "blob:", "about:", "file:", "ws:", "wss:", "chrome:", "javascript:"];

/// Reads a record. `None`: it had a definite answer, or is no request to an API, and is left out.
pub fn row(
    reader: &Reader,
    mapping: &Mapping,
    line: u64,
    record: &Record,
    notes: &mut Vec<Note>,
    now: Moment,
) -> Result<Option<Row>, Reject> {
    if is_noise(mapping, &record.value) {
        return Ok(None);
    }
    let ending = ending(mapping, &reader.plan.statuses, &record.value)?;
    if matches!(ending, Ending::Definite(status) if !mapping.answers || !(200..500).contains(&status)) {
        return Ok(None);
    }
    let mut row = built(reader, mapping, line, record, ending)?;
    let facts = understood(reader, &row, now);
    match ending {
        Ending::Unsure(_) if may_be_doubled(reader, &row, &facts) => notes.push(Note::CutUnseen),
        Ending::Unsure(status) => {
            notes.extend((facts.class != Class::Read).then_some(Note::CutUnknown));
            if !mapping.answers {
                return Ok(None);
            }
            (row.failure, row.http_status) = (Failure::Answered, Some(status));
        }
        Ending::SentAgain(..) if facts.class == Class::Read => return Ok(None),
        Ending::SentAgain(..) => notes.push(Note::Again),
        Ending::Definite(_) | Ending::Failed(..) => {}
    }
    if row.failure != Failure::Answered {
        row.cannot_be_decided = cannot_be_decided(&facts.class);
    }
    row.facts = row.operation_id.is_some().then(|| Box::new(facts));
    row.body = row.body.as_deref().and_then(|raw| reader.minimal(Direction::Outbound, &row.method, &row.url, raw));
    Ok(Some(row))
}

/// A row with the whole of its body.
fn built(reader: &Reader, mapping: &Mapping, line: u64, record: &Record, ending: Ending) -> Result<Row, Reject> {
    let value = &record.value;
    let (failure, http_status) = match ending {
        Ending::Definite(status) => (Failure::Answered, Some(status)),
        Ending::Unsure(_) => (Failure::Network, None),
        Ending::SentAgain(failure, status) | Ending::Failed(failure, status) => (failure, status),
    };
    let (method, url) = request(mapping, value)?;
    let (sent, ended) = times(mapping, value)?;
    if record.lossy && mapping.every().any(|places| places.text(value).is_some_and(|text| text.contains('\u{fffd}'))) {
        return Err(Reject::NotUtf8);
    }
    let body = mapping.body.as_ref().and_then(|body| body.document(value));
    Ok(Row {
        line,
        request_id: id(text_at(&mapping.request_id, value))?.unwrap_or_default(),
        operation_id: id(text_at(&mapping.operation_id, value))?,
        content: content(reader.salt, sent, &method, &url, body.as_deref(), &record.whole),
        like: digest(reader.salt, &[method.as_bytes(), url.as_bytes(), body.as_deref().unwrap_or_default().as_bytes()]),
        method,
        url,
        body,
        sent: sent.at,
        // How long an exporter saw nothing is not how long the request hung.
        ended: ended.filter(|_| mapping.format != Some(Format::Har) || http_status.is_some()),
        failure,
        http_status,
        error: text_at(&mapping.error, value).map(|error| error.chars().take(LONGEST_ERROR).collect()),
        clock_error: mapping.clock_error.as_ref().map_or(CLOCK_ERROR, |error| error.0),
        cannot_be_decided: None,
        facts: None,
    })
}

/// An id, where the cell holds one.
fn id(text: Option<String>) -> Result<Option<String>, Reject> {
    match text {
        Some(id) if ids::is_none(&id) => Ok(None),
        Some(id) if ids::is_rounded(&id) => Err(Reject::Rounded),
        id => Ok(id),
    }
}

fn is_noise(mapping: &Mapping, record: &Value) -> bool {
    let text = |places| text_at(places, record).unwrap_or_default();
    let method = text(&mapping.method).trim().to_ascii_uppercase();
    let url = text(&mapping.url).trim().to_ascii_lowercase();
    let line = text(&mapping.request_line).to_ascii_uppercase();
    NOISE.iter().any(|noise| method == *noise || method.is_empty() && line.split(' ').next() == Some(noise))
        || NO_REQUEST.iter().any(|scheme| url.starts_with(scheme))
        || url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("-extension"))
}

/// Whether what it would make could be made twice: the server does not block a repeat.
fn may_be_doubled(reader: &Reader, row: &Row, facts: &Facts) -> bool {
    if matches!(facts.class, Class::BadRow { .. }) {
        // A log without bodies.
        return !reader.repeat_may_be_blocked(&row.method, &row.url);
    }
    let makes = |kind| matches!(kind, Kind::Create | Kind::Member | Kind::Blind);
    let creates = facts.effects.iter().any(|effect| makes(effect.kind));
    facts.class == Class::Planned && creates && !facts.repeat_blocked
}

/// Of time, method, URL and body; the body without regard to spaces and the order of its keys. Where a time is known to the
/// second only, two requests of one second look alike (of two hosts, say), and all of the record counts.
fn content(salt: &[u8], sent: Read, method: &str, url: &str, body: Option<&str>, whole: &[u8]) -> Digest16 {
    let body = body.unwrap_or_default();
    let json = serde_json::from_str::<Value>(body).ok().filter(|_| is_faithful(body));
    let canonical = json.map_or_else(|| body.to_owned(), |body| body.to_string());
    let whole = if sent.whole_seconds { whole } else { &[] };
    digest(salt, &[&sent.at.0.to_be_bytes(), method.as_bytes(), url.as_bytes(), canonical.as_bytes(), whole])
}

/// Method and absolute URL.
fn request(mapping: &Mapping, record: &Value) -> Result<(String, String), Reject> {
    let text = |places| text_at(places, record);
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
        let of = |base: &Option<BaseUrl>| base.as_ref().map(|base| base.0.clone());
        let server = || of(&mapping.server);
        let base = of(&mapping.base_url).or_else(host).or_else(server).ok_or(Reject::PathAlone)?;
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
fn times(mapping: &Mapping, record: &Value) -> Result<(Read, Option<Moment>), Reject> {
    let sent = mapping.sent_at.as_ref().and_then(|time| time.read(record)).transpose().map_err(|()| Reject::SentAt)?;
    let ended =
        mapping.ended_at.as_ref().and_then(|time| time.read(record)).transpose().map_err(|()| Reject::EndedAt)?;
    let lasted = || {
        let lasted = mapping.duration.as_ref().and_then(|length| length.read(record)).transpose();
        lasted.map(|lasted| lasted.map(Span)).map_err(|()| Reject::Duration)
    };
    let late = |whole_seconds: bool| Span(if whole_seconds { 999 } else { 0 });
    match (sent, ended) {
        (Some(sent), Some(ended)) => Ok((sent, Some(ended.at + late(ended.whole_seconds)))),
        // A HAR's entry without an answer has no use for it, and may say anything.
        (Some(sent), None) if mapping.format == Some(Format::Har) => {
            Ok((sent, lasted().ok().flatten().map(|lasted| sent.at + lasted + late(sent.whole_seconds))))
        }
        (Some(sent), None) => Ok((sent, lasted()?.map(|lasted| sent.at + lasted + late(sent.whole_seconds)))),
        // The end alone would make it sent later than it was.
        (None, Some(ended)) => match lasted()? {
            Some(lasted) => Ok((Read { at: ended.at - lasted, ..ended }, Some(ended.at + late(ended.whole_seconds)))),
            None => Err(Reject::NoTime),
        },
        (None, None) => Err(Reject::NoTime),
    }
}

/// What the plan makes of a row.
fn understood(reader: &Reader, row: &Row, now: Moment) -> Facts {
    let read = plan::Row {
        direction: text_cell(Direction::Outbound.text()),
        method: text_cell(&row.method),
        url: text_cell(&row.url),
        body: Ok(row.body.clone()),
        sent_at: text_cell(&row.sent.to_string()),
        failure: text_cell(row.failure.text()),
        http_status: Ok(row.http_status.map(|status| status.to_string())),
        // Else every row would be taken for an attempt of one operation.
        operation_id: Ok(row.operation_id.clone()),
        ..plan::Row::blank(0, "-")
    };
    reader.read(&read, now).facts
}

/// What the plan misses in a row.
fn cannot_be_decided(class: &Class) -> Option<String> {
    match class {
        Class::BadRow { why } => Some(why.clone()),
        Class::NoPlan => Some("no operation of the plan matches".to_owned()),
        Class::OtherEnvironment => Some("it went to another host than the configured server".to_owned()),
        Class::Read | Class::Planned => None,
    }
}
