//! Requests and replies as plain values, without sockets.

use chrono::DateTime;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::faults::{BIG_BODY_LIMIT, Hostile};

/// Header by which a test client names its attempt; it becomes the `cause` in the truth.
pub const CAUSE_HEADER: &str = "x-sandbox-request";

/// Header by which a test forces the fate of one request, see [`super::Fate::parse`].
pub const FATE_HEADER: &str = "x-sandbox-fate";

/// A request as it came over the wire.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Upper-case method.
    pub method: String,
    /// Path and query as sent, still percent-encoded.
    pub path_and_query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, empty when there is none.
    pub body: Vec<u8>,
}

impl Request {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// How the server hands a reply over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As it is.
    Whole,
    /// The connection is closed without a byte.
    Lost,
    /// The connection is closed in the middle of the body.
    Cut,
    /// Nothing for `ms` milliseconds, then the connection is closed.
    Hang { ms: u64 },
}

/// An answer, and how it is handed over.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status; without meaning for [`Delivery::Lost`] and [`Delivery::Hang`].
    pub status: u16,
    /// Names in lower case; `date` is there unless the server has the habit to leave it out.
    pub headers: Vec<(String, String)>,
    /// The whole body, also for [`Delivery::Cut`].
    pub body: Vec<u8>,
    /// What the server does with it.
    pub delivery: Delivery,
    /// How long the server waits before it hands the reply over, in milliseconds.
    pub delay_ms: u64,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &str, body: Vec<u8>) -> Reply {
        Reply {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body,
            delivery: Delivery::Whole,
            delay_ms: 0,
        }
    }

    pub(super) fn json(status: u16, body: &Value) -> Reply {
        Reply::new(status, "application/json", body.to_string().into_bytes())
    }

    pub(super) fn html(status: u16, title: &str) -> Reply {
        let page = format!("<html><head><title>{title}</title></head><body>{title}</body></html>");
        Reply::new(status, "text/html; charset=utf-8", page.into_bytes())
    }

    pub(super) fn message(status: u16, message: &str) -> Reply {
        Reply::json(status, &json!({ "message": message }))
    }

    pub(super) fn undelivered(delivery: Delivery) -> Reply {
        Reply { delivery, ..Reply::new(500, "text/plain", Vec::new()) }
    }

    pub(super) fn with_header(mut self, name: &str, value: String) -> Reply {
        self.headers.push((name.to_owned(), value));
        self
    }

    /// As the hub answers: in an envelope, whose entity is null where nothing is told.
    pub(super) fn in_envelope(self, now_ms: i64) -> Reply {
        let honest = (200..300).contains(&self.status) && self.delivery == Delivery::Whole;
        let Some(document) = honest.then(|| serde_json::from_slice::<Value>(&self.body).ok()).flatten() else {
            return self;
        };
        let shown = document.get("to").unwrap_or(&document);
        let entity = shown.get("service_id").map(|id| {
            json!({ "serviceId": id, "fullyRegistered": true, "consentMeta": shown.get("consent_meta"),
                    "connectedProfiles": shown.get("connected_profiles") })
        });
        let envelope = json!({
            "validationErrors": [], "status": "success", "message": "", "resultCount": -1, "totalCount": -1,
            "entity": entity, "responseTimestamp": now_ms,
        });
        Reply { body: envelope.to_string().into_bytes(), ..self }
    }

    /// The hostile stand-in for an honest answer.
    pub(super) fn hostile(kind: Hostile, honest: Reply, big_bytes: usize) -> Reply {
        let json_text = |text: &[u8]| Reply::new(200, "application/json", text.to_vec());
        match kind {
            Hostile::Html => Reply::html(200, "Please sign in"),
            Hostile::CutJson => json_text(&honest.body[..honest.body.len() / 2]),
            Hostile::CutBody => Reply { status: 200, delivery: Delivery::Cut, ..honest },
            Hostile::InvalidJson => json_text(b"{sid: undefined}"),
            Hostile::Envelope => json_text(br#"{"status":"ERROR","message":"maintenance"}"#),
            Hostile::Html404 => Reply::html(404, "404 Not Found"),
            Hostile::Redirect => {
                Reply::html(302, "Moved").with_header("location", "https://elsewhere.invalid/login".to_owned())
            }
            Hostile::Big => big(big_bytes.min(BIG_BODY_LIMIT)),
            Hostile::Array => Reply::json(200, &json!([])),
            Hostile::Empty => json_text(b""),
        }
    }
}

fn big(bytes: usize) -> Reply {
    let mut body = br#"{"sid":""#.to_vec();
    body.resize(bytes.saturating_sub(2).max(body.len()), b'x');
    body.extend_from_slice(br#""}"#);
    Reply::new(200, "application/json", body)
}

/// A status and a JSON body: what an endpoint answers before fate has its say.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn new(status: u16, body: Value) -> Answer {
        Answer { status, body }
    }

    pub fn message(status: u16, message: &str) -> Answer {
        Answer::new(status, json!({ "message": message }))
    }

    pub fn not_found() -> Answer {
        Answer::message(404, "not found")
    }

    pub fn reply(&self) -> Reply {
        Reply::json(self.status, &self.body)
    }
}

/// A request's path and query, decoded.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The path's segments, each percent-decoded after splitting.
    pub segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// With `plus_is_plus`, a `+` in the query is no space.
    pub fn read(path_and_query: &str, plus_is_plus: bool) -> Target {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let query = if plus_is_plus { query.replace('+', "%2B") } else { query.to_owned() };
        Target {
            // With and without a slash at the end, as PRIVO's own samples have it.
            segments: path.split('/').filter(|segment| !segment.is_empty()).map(percent_decoded).collect(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        }
    }

    /// The older spelling, which the hub answers: `/api/…` without a version.
    pub fn is_of_hub(&self) -> bool {
        self.segments.first().is_some_and(|first| first == "api")
            && self.segments.get(1).is_some_and(|second| second != "v1.0")
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Decodes a path segment. Unlike in a query, a `+` stands for itself.
fn percent_decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The `Date` header of RFC 7231 for a moment in milliseconds since the epoch.
pub(super) fn http_date(now_ms: i64) -> String {
    let moment = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    moment.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// RFC 3339 with milliseconds, in UTC.
pub(super) fn timestamp(ms: i64) -> String {
    let moment = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    moment.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
