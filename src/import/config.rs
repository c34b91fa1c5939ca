//! `[import.NAME]` of the configuration: where a record's columns stand in a file, with what is usual for its format.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::times::{Length, Time};
use crate::clock;
use crate::ids;
use crate::plan::parts::{Path, scalar};

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Jsonl,
    /// What browsers and proxies export
    Har,
    /// An access log of nginx, one JSON object per line
    Nginx,
    /// An access log of Envoy, one JSON object per line
    Envoy,
}

impl Format {
    /// The word for it.
    pub fn text(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
            Format::Har => "har",
            Format::Nginx => "nginx",
            Format::Envoy => "envoy",
        }
    }
}

/// Where each column stands. Every field that is not given has the format's usual place.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// `None`: told by the file's name and content.
    pub format: Option<Format>,
    /// Put before URLs that are paths.
    #[serde(default)]
    pub base_url: Option<BaseUrl>,
    /// The configured server: put before paths when neither `base_url` nor a host is known.
    #[serde(skip)]
    pub server: Option<BaseUrl>,
    /// Of a CSV.
    pub delimiter: Option<Delimiter>,
    /// Definite answers are recorded as `answered`, evidence for other attempts of their operation.
    #[serde(default)]
    pub answers: bool,
    pub request_id: Option<Places>,
    pub operation_id: Option<Places>,
    pub method: Option<Places>,
    pub url: Option<Places>,
    pub body: Option<Body>,
    pub sent_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// From `sent_at` to `ended_at`, when one of them is missing.
    pub duration: Option<Length>,
    /// How far the clock that dated the records may be from the ledger's.
    pub clock_error: Option<clock::Length>,
    pub failure: Option<Places>,
    pub http_status: Option<Places>,
    pub error: Option<Places>,
    /// `METHOD URL PROTOCOL` in one.
    pub request_line: Option<Places>,
    /// Host that the request went to; used when there is no `base_url`.
    pub host: Option<Places>,
    /// Envoy's.
    pub response_flags: Option<Places>,
    /// Envoy's word for who made the answer.
    pub response_details: Option<Places>,
    /// How often Envoy sent it upstream.
    pub attempt_count: Option<Places>,
    /// How often a proxy sent it again (Traefik's `RetryAttempts`).
    pub retries: Option<Places>,
    /// nginx's `$upstream_status`: one status for each time that it sent it.
    pub upstream_status: Option<Places>,
    /// Whether it was completed, in the words of nginx (`$request_completion`), HAProxy (`%ts`) or Apache (`%X`).
    pub completion: Option<Places>,
    /// How long the server said its answer would be (nginx's `$upstream_http_content_length`).
    pub answer_announced: Option<Places>,
    /// How much of it came (nginx's `$upstream_response_length`).
    pub answer_received: Option<Places>,
    /// An answer that was cut on its way looks like a whole one. `None`: as the format says.
    pub cut_unseen: Option<bool>,
}

/// An http or https URL to put before paths, without a slash at its end.
#[derive(Clone, Debug)]
pub struct BaseUrl(pub String);

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BaseUrl, D::Error> {
        let text = String::deserialize(deserializer)?;
        let good = Url::parse(&text).is_ok_and(|url| {
            let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && plain && url.password().is_none()
        });
        if !good {
            return Err(D::Error::custom("not an http or https URL (write it like \"https://host.example\")"));
        }
        Ok(BaseUrl(text.trim_end_matches('/').to_owned()))
    }
}

/// Where a body stands: whole at a place, or each of its fields in a column of its own.
#[derive(Clone, Debug)]
pub enum Body {
    At(Places),
    Of(BTreeMap<String, Body>),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a column, a JSON path, a list of them, or the body's fields, like { email = \"email\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Body, E> {
                Places::of(text).map(Body::At).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Body, A::Error> {
                Places::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(Body::At)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Body, A::Error> {
                let fields = BTreeMap::deserialize(MapAccessDeserializer::new(map))?;
                if fields.is_empty() {
                    return Err(A::Error::custom("a body of no fields (name them, or leave it out)"));
                }
                Ok(Body::Of(fields))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Body {
    /// The body of a record as its JSON; `None` where nothing of it stands there.
    pub fn document(&self, record: &Value) -> Option<String> {
        match self {
            Body::At(places) => places.document(record),
            Body::Of(_) => self.value(record).map(|body| body.to_string()),
        }
    }

    /// What stands there, without the fields of which nothing does.
    fn value(&self, record: &Value) -> Option<Value> {
        match self {
            Body::At(places) => places.value(record),
            Body::Of(fields) => {
                let fields = fields.iter().filter_map(|(name, body)| Some((name.clone(), body.value(record)?)));
                let fields: serde_json::Map<_, _> = fields.collect();
                (!fields.is_empty()).then_some(Value::Object(fields))
            }
        }
    }

    /// Every place that it is made of.
    fn places(&self) -> Vec<&Places> {
        match self {
            Body::At(places) => vec![places],
            Body::Of(fields) => fields.values().flat_map(Body::places).collect(),
        }
    }

    /// The names by which a whole body is found in a line, one below another.
    pub fn plain_paths(&self) -> Vec<Vec<String>> {
        match self {
            Body::At(places) => places.plain_paths(),
            // Nothing of it is a document in a text.
            Body::Of(_) => Vec::new(),
        }
    }
}

/// One byte between the cells of a CSV.
#[derive(Clone, Copy, Debug)]
pub struct Delimiter(pub u8);

impl<'de> Deserialize<'de> for Delimiter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Delimiter, D::Error> {
        match String::deserialize(deserializer)?.as_bytes() {
            [byte] if !b"\"\r\n".contains(byte) => Ok(Delimiter(*byte)),
            _ => Err(D::Error::custom("a delimiter is one ASCII character, like \";\" or \"\\t\"")),
        }
    }
}

/// One place of a record: a column or top-level key, or a JSON path.
#[derive(Clone, Debug)]
enum Place {
    Name(String),
    /// With the names that it goes down by, when it is nothing but names (`$.request.url`).
    Path(Path, Option<Vec<String>>),
}

impl Place {
    fn parse(text: &str) -> Result<Place, String> {
        match text {
            "" => Err("a column's name is empty".to_owned()),
            path if path.starts_with('$') => {
                let names = Place::names(path);
                Path::try_from(path.to_owned()).map(|path| Place::Path(path, names))
            }
            name => Ok(Place::Name(name.to_owned())),
        }
    }

    fn names(path: &str) -> Option<Vec<String>> {
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let names: Vec<String> = path.strip_prefix("$.")?.split('.').map(str::to_owned).collect();
        names.iter().all(|name| plain(name)).then_some(names)
    }
}

/// Where a value stands; the first place that has one counts.
#[derive(Clone, Debug, Default)]
pub struct Places(Vec<Place>);

impl Places {
    fn parse(written: &[String]) -> Result<Places, String> {
        written.iter().map(|text| Place::parse(text)).collect::<Result<_, _>>().map(Places)
    }

    /// The places of one name.
    pub fn of(name: &str) -> Result<Places, String> {
        Places::parse(&[name.to_owned()])
    }

    /// The value there as text. Nothing, and what databases and access logs write for nothing, is `None`.
    pub fn text(&self, record: &Value) -> Option<String> {
        self.values(record).find_map(|value| scalar(value).filter(|text| !ids::is_nothing(text)))
    }

    /// The value there as text, and an object or array as its JSON.
    pub fn document(&self, record: &Value) -> Option<String> {
        let text = |value: &Value| match value {
            Value::Object(_) | Value::Array(_) => Some(value.to_string()),
            value => scalar(value).filter(|text| !ids::is_nothing(text)),
        };
        self.values(record).find_map(text)
    }

    /// The value there, with its kind. Nothing, and what is written for nothing, is `None`.
    fn value(&self, record: &Value) -> Option<Value> {
        let something = |value: &&Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty() && !ids::is_nothing(text),
            _ => true,
        };
        self.values(record).find(something).cloned()
    }

    /// The value there as it is written, be it a word for nothing; `None` when the record has no such key.
    pub fn word<'a>(&'a self, record: &'a Value) -> Option<&'a str> {
        self.values(record).find_map(Value::as_str)
    }

    /// Whether the record has such a key at all, be it empty.
    pub fn stands(&self, record: &Value) -> bool {
        self.values(record).next().is_some()
    }

    fn values<'a>(&'a self, record: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter_map(|place| match place {
            Place::Name(name) => record.get(name),
            Place::Path(path, _) => path.first(record),
        })
    }

    /// Those that are names, one below another, without a condition or a choice.
    pub fn plain_paths(&self) -> Vec<Vec<String>> {
        let plain = |place: &Place| match place {
            Place::Name(name) => Some(vec![name.clone()]),
            Place::Path(_, names) => names.clone(),
        };
        self.0.iter().filter_map(plain).collect()
    }

    /// The columns and top-level keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|place| match place {
            Place::Name(name) => Some(name.as_str()),
            Place::Path(..) => None,
        })
    }

    fn has_path(&self) -> bool {
        self.0.iter().any(|place| matches!(place, Place::Path(..)))
    }
}

/// The value at places that a mapping need not have, as [`Places::text`].
pub(super) fn text_at(places: &Option<Places>, record: &Value) -> Option<String> {
    places.as_ref()?.text(record)
}

/// The number there. `None`: there is nothing, or no such number.
pub(super) fn number_at<N: FromStr>(places: &Option<Places>, record: &Value) -> Option<N> {
    text_at(places, record)?.trim().parse().ok()
}

/// A text, or a list of them.
impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Places, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a column, a JSON path like \"$.request.url\", or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<String>, E> {
                Ok(vec![text.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(texts)
            }
        }
        Places::parse(&deserializer.deserialize_any(Texts)?).map_err(D::Error::custom)
    }
}

/// Reads either the places alone, or a table with `field` and options.
pub(super) fn places_or_table<'de, D, T>(
    deserializer: D,
    of_places: fn(Places) -> T,
    of_table: fn(Table) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    struct Either<T>(fn(Places) -> T, fn(Table) -> Result<T, String>);
    impl<'de, T> Visitor<'de> for Either<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a column, a JSON path, a list of them, or { field = … }")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            Places::parse(&[text.to_owned()]).map(self.0).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
            Places::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(self.0)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            let table = Table::deserialize(MapAccessDeserializer::new(map))?;
            (self.1)(table).map_err(A::Error::custom)
        }
    }
    deserializer.deserialize_any(Either(of_places, of_table))
}

/// A place with options; each type takes its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub field: Places,
    pub format: Option<String>,
    pub offset: Option<String>,
    pub unit: Option<String>,
}

impl Mapping {
    /// Says what is wrong with it for a format.
    ///
    /// # Errors
    /// The mistake, with its remedy.
    pub fn check(&self) -> Result<(), String> {
        let csv = self.format == Some(Format::Csv);
        if csv && self.every().any(Places::has_path) {
            return Err("a column of a CSV is named, not a JSON path (leave out the `$`)".to_owned());
        }
        if !csv && self.delimiter.is_some() {
            return Err("`delimiter` belongs to `format = \"csv\"`".to_owned());
        }
        Ok(())
    }

    /// With the usual places of a format where none is given.
    pub fn complete(&self, format: Format) -> Mapping {
        let mut full = Mapping { format: Some(format), ..self.clone() };
        let usual = |given: &mut Option<Places>, names: &[&str]| {
            if given.is_none() && !names.is_empty() {
                *given = Places::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).ok();
            }
        };
        let body = |given: &mut Option<Body>, name: &str| {
            if given.is_none() {
                *given = Places::of(name).ok().map(Body::At);
            }
        };
        let time = |given: &mut Option<Time>, names: &[&str]| {
            let mut places = None;
            usual(&mut places, names);
            if given.is_none() {
                *given = places.map(Time::usual);
            }
        };
        let length = |given: &mut Option<Length>, name: &str, of: fn(Places) -> Length| {
            let mut places = None;
            usual(&mut places, &[name]);
            if given.is_none() {
                *given = places.map(of);
            }
        };
        // When one end of the request is mapped, the usual place of the other is not looked for.
        let (timed, parted) = (self.sent_at.is_some() || self.ended_at.is_some(), self.method.is_some());
        match format {
            Format::Csv | Format::Jsonl => {
                usual(&mut full.request_id, &["request_id"]);
                usual(&mut full.operation_id, &["operation_id"]);
                usual(&mut full.method, &["method"]);
                usual(&mut full.url, &["url"]);
                body(&mut full.body, "body");
                time(&mut full.sent_at, &["sent_at"]);
                time(&mut full.ended_at, &["ended_at"]);
                usual(&mut full.failure, &["failure"]);
                usual(&mut full.http_status, &["http_status", "status"]);
                usual(&mut full.error, &["error"]);
            }
            Format::Har => {
                usual(&mut full.method, &["$.request.method"]);
                usual(&mut full.url, &["$.request.url"]);
                body(&mut full.body, "$.request.postData.text");
                time(&mut full.sent_at, &["startedDateTime"]);
                length(&mut full.duration, "time", Length::milliseconds);
                usual(&mut full.http_status, &["$.response.status"]);
                usual(&mut full.error, &["$.response._error", "_error", "$.response._failureText"]);
            }
            Format::Nginx => {
                usual(&mut full.request_id, &["request_id"]);
                usual(&mut full.method, &["request_method"]);
                usual(&mut full.url, &["request_uri"]);
                if !parted {
                    usual(&mut full.request_line, &["request"]);
                }
                usual(&mut full.host, &["proxy_host"]);
                body(&mut full.body, "request_body");
                if !timed {
                    time(&mut full.ended_at, &["msec", "time_iso8601", "time_local", "time"]);
                }
                length(&mut full.duration, "request_time", Length::seconds);
                usual(&mut full.http_status, &["status"]);
                usual(&mut full.upstream_status, &["upstream_status"]);
                usual(&mut full.completion, &["request_completion"]);
                usual(&mut full.answer_announced, &["upstream_http_content_length"]);
                usual(&mut full.answer_received, &["upstream_response_length"]);
                full.cut_unseen.get_or_insert(true);
            }
            Format::Envoy => {
                usual(&mut full.method, &["method"]);
                usual(&mut full.url, &["x_envoy_original_path", "path"]);
                usual(&mut full.host, &["authority", ":authority"]);
                if !timed {
                    time(&mut full.sent_at, &["start_time"]);
                }
                length(&mut full.duration, "duration", Length::milliseconds);
                usual(&mut full.http_status, &["response_code"]);
                usual(&mut full.response_flags, &["response_flags"]);
                usual(&mut full.response_details, &["response_code_details"]);
                usual(&mut full.attempt_count, &["upstream_request_attempt_count", "attempt_count"]);
            }
        }
        full
    }

    /// Every place that is given.
    pub fn every(&self) -> impl Iterator<Item = &Places> {
        let texts = [
            &self.request_id,
            &self.operation_id,
            &self.method,
            &self.url,
            &self.failure,
            &self.http_status,
            &self.error,
            &self.request_line,
            &self.host,
            &self.response_flags,
            &self.response_details,
            &self.attempt_count,
            &self.retries,
            &self.upstream_status,
            &self.completion,
            &self.answer_announced,
            &self.answer_received,
        ];
        let times = [&self.sent_at, &self.ended_at].into_iter().flatten().map(|time| &time.places);
        let texts = texts.into_iter().flatten().chain(self.body.iter().flat_map(Body::places));
        texts.chain(times).chain(self.duration.iter().map(|length| &length.places))
    }

    /// All of it as a text: another one reads a file anew.
    pub fn written(&self) -> String {
        format!("{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_tried_in_their_order() {
        let places = Places::parse(&["a".into(), "$.b.c".into()]).unwrap();
        assert_eq!(places.text(&json!({"a": "-", "b": {"c": 7}})).as_deref(), Some("7"));
        assert_eq!(places.text(&json!({"a": " ", "b": null})), None);
        assert_eq!(places.document(&json!({"a": {"x": 1}})).as_deref(), Some("{\"x\":1}"));
        assert!(Places::parse(&["$..[".into()]).unwrap_err().contains("is not a JSON path"));
    }
}
