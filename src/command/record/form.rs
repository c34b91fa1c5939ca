//! What a caller says, as JSON, made into what the ledger takes. Every mistake is told by the field's name, never by its
//! value, which may be a child's.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use url::Url;

use crate::clock::Moment;
use crate::import;
use crate::ledger::journal::Step;
use crate::ledger::record::{End, OwnedEntry};
use crate::plan::Reader;
use crate::words::{Direction, Failure};

/// The longest id that is taken, in bytes.
const LONGEST_ID: usize = 500;

/// Where a body may stand in a form.
const BODIES: [&[&str]; 3] = [&["body"], &["begin", "body"], &["entry", "body"]];

const FORMS: &str = r#"a line is {"begin":{…}}, {"end":{…}} or {"entry":{…}}"#;

/// What is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Attempt(OwnedEntry),
    End(Ending),
}

/// How an intent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub request_id: String,
    ended_at: Moment,
    failure: Failure,
    http_status: Option<u16>,
    error: Option<String>,
    keep: bool,
}

/// What a form is read with.
pub struct FormContext<'a> {
    pub reader: &'a Reader<'a>,
    pub full_body: bool,
    /// When the form came in.
    pub now: Moment,
    /// Makes the id of a request whose caller gave none.
    pub fresh_id: &'a dyn Fn() -> Result<String, Wrong>,
}

/// What is wrong with a form, for its sender.
pub type Wrong = String;

impl Ending {
    /// It was answered that the request succeeded; `already_there` are statuses that are no success.
    pub fn success(&self, already_there: &[u16]) -> bool {
        let success = |status: u16| (200..300).contains(&status) && !already_there.contains(&status);
        self.failure == Failure::Answered && self.http_status.is_some_and(success)
    }

    /// How it ended, shortly.
    pub fn words(&self) -> String {
        match self.http_status {
            Some(status) => format!("{} {status}", self.failure),
            None => self.failure.to_string(),
        }
    }
}

impl Order {
    /// The request it is about.
    pub fn request_id(&self) -> &str {
        match self {
            Order::Attempt(attempt) => &attempt.request_id,
            Order::End(ending) => &ending.request_id,
        }
    }

    /// An end that leaves something in doubt, and so must find its intent.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Order::End(ending) if ending.failure != Failure::Answered)
    }

    /// As the ledger takes it.
    pub fn step(&self) -> Step<'_> {
        match self {
            Order::Attempt(attempt) => Step::Record(attempt.entry()),
            Order::End(ending) => {
                let end = match (ending.failure, ending.http_status) {
                    (Failure::Answered, Some(status)) => End::Answered { status, keep: ending.keep },
                    (failure, http_status) => End::Failed { failure, http_status, error: ending.error.as_deref() },
                };
                Step::End { request_id: &ending.request_id, ended_at: ending.ended_at, end }
            }
        }
    }
}

impl FormContext<'_> {
    /// Reads one line of the long-lived form.
    pub fn line(&self, text: &str) -> Result<Order, Wrong> {
        let Fields(whole) = Fields::read(text)?;
        let mut forms = whole.into_iter();
        match (forms.next(), forms.next()) {
            (Some((name, Value::Object(fields))), None) => match name.as_str() {
                "begin" => self.attempt(Fields(fields), false),
                "entry" => self.attempt(Fields(fields), true),
                "end" => self.ending(Fields(fields), None),
                _ => Err(FORMS.to_owned()),
            },
            _ => Err(FORMS.to_owned()),
        }
    }

    /// Reads what `record begin` takes.
    pub fn begin(&self, text: &str) -> Result<Order, Wrong> {
        self.attempt(Fields::read(text)?, false)
    }

    /// Reads what `record end` takes.
    pub fn end(&self, request_id: &str, text: &str) -> Result<Order, Wrong> {
        self.ending(Fields::read(text)?, Some(request_id))
    }

    fn attempt(&self, mut fields: Fields, ended: bool) -> Result<Order, Wrong> {
        let request_id = match fields.id("request_id")? {
            Some(id) => id,
            None => (self.fresh_id)()?,
        };
        let operation_id = fields.id("operation_id")?;
        let direction = fields.direction()?;
        let method = fields.text("method")?.ok_or("`method` is missing")?;
        if method.len() > 16 || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) || method.is_empty() {
            return Err("`method` is no HTTP method".to_owned());
        }
        let url = fields.text("url")?.ok_or("`url` is missing")?;
        if direction == Direction::Outbound && !Url::parse(url.trim()).is_ok_and(|url| url.has_host()) {
            return Err("`url` is not absolute (give it as it was sent, with https:// and the host)".to_owned());
        }
        let body = fields.body()?.and_then(|body| match self.full_body {
            true => Some(body),
            false => self.reader.minimal(direction, &method, &url, &body),
        });
        let sent_at = fields.moment("sent_at")?;
        let (mut failure, mut ended_at, mut http_status, mut error) = (Failure::Intent, None, None, None);
        if ended {
            failure = fields.failure()?.ok_or("`failure` is missing")?;
            ended_at = fields.moment("ended_at")?;
            http_status = fields.status("http_status")?;
            error = fields.text("error")?;
            (failure, http_status) = self.settled(failure, http_status, direction)?;
        }
        let sent_at = match (sent_at, ended) {
            (None, true) => return Err("`sent_at` is missing".to_owned()),
            (sent_at, _) => sent_at.unwrap_or(self.now),
        };
        fields.nothing_left()?;
        Ok(Order::Attempt(OwnedEntry {
            request_id,
            operation_id,
            direction,
            method,
            url,
            body,
            sent_at,
            ended_at,
            failure,
            http_status,
            error,
        }))
    }

    fn ending(&self, mut fields: Fields, request_id: Option<&str>) -> Result<Order, Wrong> {
        let request_id = match (request_id, fields.id("request_id")?) {
            (Some(named), Some(other)) if named != other => return Err("two different request ids".to_owned()),
            (Some(named), _) => named.to_owned(),
            (None, id) => id.ok_or("`request_id` is missing")?,
        };
        let (failure, http_status) = match (fields.status("answered")?, fields.failure()?) {
            (Some(status), None) => (Failure::Answered, Some(status)),
            (None, Some(Failure::Intent)) => return Err("`failure` intent is no end".to_owned()),
            (None, Some(failure)) => (failure, fields.status("http_status")?),
            _ => return Err("an end needs one of `answered` (a status) and `failure`".to_owned()),
        };
        let (failure, http_status) = self.settled(failure, http_status, fields.direction()?)?;
        let ended_at = fields.moment("ended_at")?.unwrap_or(self.now);
        let (error, keep) = (fields.text("error")?, fields.flag("keep")?);
        fields.nothing_left()?;
        Ok(Order::End(Ending { request_id, ended_at, failure, http_status, error, keep }))
    }

    /// Of an answer, the status says whether it is definite: the caller need not know the plan's list. A client that gives
    /// an interim answer (103, say) for the last one has not heard what became of the request.
    fn settled(
        &self,
        failure: Failure,
        status: Option<u16>,
        direction: Direction,
    ) -> Result<(Failure, Option<u16>), Wrong> {
        match (failure, status) {
            (Failure::Http | Failure::Answered, Some(100..200)) => Ok((Failure::Network, None)),
            (Failure::Http | Failure::Answered, Some(status)) => {
                let doubtful = match direction {
                    Direction::Outbound => self.reader.plan.statuses.in_doubt(status),
                    Direction::Inbound => status >= 300,
                };
                Ok((if doubtful { Failure::Http } else { Failure::Answered }, Some(status)))
            }
            (Failure::Http | Failure::Answered, None) => {
                Err(format!("`http_status` is missing (required with {failure})"))
            }
            (_, Some(_)) => Err(format!("`http_status` does not go with {failure}")),
            (failure, None) => Ok((failure, None)),
        }
    }
}

/// The fields of a form that are not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(text: &str) -> Result<Fields, Wrong> {
        // Its messages name a kind and a place, never a value.
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("not JSON: {error}"))?;
        // A body stays the text that was sent: a name that it says twice is for the job to find.
        let bodies = BODIES.map(|path| path.iter().map(|name| (*name).to_owned()).collect());
        match import::parse(text, &bodies) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(_) => Err("not a JSON object".to_owned()),
            Err(import::Reject::Twice) => Err("an object says a name twice".to_owned()),
            Err(_) => Err("not JSON that can be read (does it nest too deep?)".to_owned()),
        }
    }

    /// Takes a field; `null` is as if it were left out.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(format!("`{name}` has a NUL in it")),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{name}` is no text")),
        }
    }

    fn id(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.text(name)? {
            Some(id) if id.trim().is_empty() || id.len() > LONGEST_ID => {
                Err(format!("`{name}` is empty or longer than {LONGEST_ID} bytes"))
            }
            id => Ok(id),
        }
    }

    fn moment(&mut self, name: &str) -> Result<Option<Moment>, Wrong> {
        let wrong = || format!("`{name}` is not RFC 3339 with an offset, like 2026-03-01T12:00:00.120+01:00");
        self.text(name)?.map(|text| Moment::parse(&text).ok_or_else(wrong)).transpose()
    }

    fn status(&mut self, name: &str) -> Result<Option<u16>, Wrong> {
        let status =
            |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| (100..600).contains(n));
        match self.take(name) {
            None => Ok(None),
            Some(value) => status(&value).map(Some).ok_or_else(|| format!("`{name}` is no HTTP status (100 to 599)")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, Wrong> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(format!("`{name}` is not true or false")),
        }
    }

    fn failure(&mut self) -> Result<Option<Failure>, Wrong> {
        let word = self.text("failure")?.map(|text| text.parse::<Failure>());
        word.transpose().map_err(|unknown| unknown.to_string())
    }

    fn direction(&mut self) -> Result<Direction, Wrong> {
        let word = self.text("direction")?.map(|text| text.parse::<Direction>());
        Ok(word.transpose().map_err(|unknown| unknown.to_string())?.unwrap_or(Direction::Outbound))
    }

    /// The JSON that was sent: as it is, or as a text.
    fn body(&mut self) -> Result<Option<String>, Wrong> {
        match self.take("body") {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err("`body` has a NUL in it".to_owned()),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err("`body` is neither JSON object nor text".to_owned()),
        }
    }

    /// A misspelt field must not be lost in silence.
    fn nothing_left(self) -> Result<(), Wrong> {
        let plain =
            |name: &&String| name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) if plain(&name) => Err(format!("unknown field `{name}`")),
            Some(_) => Err("unknown field".to_owned()),
        }
    }
}
