//! `[import.NAME]` of the configuration: where a record's columns stand in a file, with what is usual for its format.

use std::fmt;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, NaiveDateTime};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::clock::Moment;
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
    /// Of a CSV.
    pub delimiter: Option<Delimiter>,
    /// Definite answers are recorded as `answered`, evidence for other attempts of their operation.
    #[serde(default)]
    pub answers: bool,
    pub request_id: Option<Places>,
    pub operation_id: Option<Places>,
    pub method: Option<Places>,
    pub url: Option<Places>,
    pub body: Option<Places>,
    pub sent_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// From `sent_at` to `ended_at`, when one of them is missing.
    pub duration: Option<Length>,
    pub failure: Option<Places>,
    pub http_status: Option<Places>,
    pub error: Option<Places>,
    /// `METHOD URL PROTOCOL` in one.
    pub request_line: Option<Places>,
    /// Host that the request went to; used when there is no `base_url`.
    pub host: Option<Places>,
    /// Envoy's.
    pub response_flags: Option<Places>,
    /// How often Envoy sent it upstream.
    pub attempt_count: Option<Places>,
    /// nginx's `$request_completion`.
    pub completion: Option<Places>,
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
    Path(Path),
}

impl Place {
    fn parse(text: &str) -> Result<Place, String> {
        match text {
            "" => Err("a column's name is empty".to_owned()),
            path if path.starts_with('$') => Path::try_from(path.to_owned()).map(Place::Path),
            name => Ok(Place::Name(name.to_owned())),
        }
    }
}

/// Where a value stands; the first place that has one counts.
#[derive(Clone, Debug, Default)]
pub struct Places(Vec<Place>);

impl Places {
    fn parse(written: &[String]) -> Result<Places, String> {
        written.iter().map(|text| Place::parse(text)).collect::<Result<_, _>>().map(Places)
    }

    /// The value there as text. Nothing, an empty text and `-`, which access logs write for nothing, are `None`.
    pub fn text(&self, record: &Value) -> Option<String> {
        self.values(record).find_map(|value| scalar(value).filter(|text| text.trim() != "-"))
    }

    /// The value there as text, and an object or array as its JSON.
    pub fn document(&self, record: &Value) -> Option<String> {
        let text = |value: &Value| match value {
            Value::Object(_) | Value::Array(_) => Some(value.to_string()),
            value => scalar(value).filter(|text| text.trim() != "-"),
        };
        self.values(record).find_map(text)
    }

    /// Whether the record has such a key at all, be it empty.
    pub fn stands(&self, record: &Value) -> bool {
        self.values(record).next().is_some()
    }

    fn values<'a>(&'a self, record: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter_map(|place| match place {
            Place::Name(name) => record.get(name),
            Place::Path(path) => path.first(record),
        })
    }

    /// The columns and top-level keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|place| match place {
            Place::Name(name) => Some(name.as_str()),
            Place::Path(_) => None,
        })
    }

    fn has_path(&self) -> bool {
        self.0.iter().any(|place| matches!(place, Place::Path(_)))
    }
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
fn places_or_table<'de, D, T>(
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
struct Table {
    field: Places,
    format: Option<String>,
    offset: Option<String>,
    unit: Option<String>,
}

/// How a time is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Form {
    /// RFC 3339, nginx's local time, or seconds or milliseconds since 1970.
    #[default]
    Usual,
    Seconds,
    Milliseconds,
    /// As chrono and `strftime` write it, with the offset of times that have none.
    Pattern(String, Option<FixedOffset>),
}

/// Where a time stands and how it is written.
#[derive(Clone, Debug, Default)]
pub struct Time {
    pub places: Places,
    form: Form,
}

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub at: Moment,
    /// It may be up to a second later.
    pub whole_seconds: bool,
}

const NGINX_LOCAL: &str = "%d/%b/%Y:%H:%M:%S %z";

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        places_or_table(deserializer, |places| Time { places, form: Form::Usual }, Time::of_table)
    }
}

impl Time {
    fn of_table(table: Table) -> Result<Time, String> {
        if table.unit.is_some() {
            return Err("a time has no `unit` (it has `format` and `offset`)".to_owned());
        }
        let offset = table
            .offset
            .as_deref()
            .map(|text| text.parse::<FixedOffset>().map_err(|_| "not an offset (write it like \"+01:00\")".to_owned()));
        let offset = offset.transpose()?;
        let form = match table.format.as_deref() {
            None | Some("rfc3339") => Form::Usual,
            Some("unix") => Form::Seconds,
            Some("unix_ms") => Form::Milliseconds,
            Some(pattern) => {
                let items: Vec<Item> = StrftimeItems::new(pattern).collect();
                if items.iter().any(|item| matches!(item, Item::Error)) {
                    return Err("not a time's format (rfc3339, unix, unix_ms, or one as of strftime)".to_owned());
                }
                let zoned = ["%z", "%:z", "%::z", "%#z", "%s", "%+"].iter().any(|part| pattern.contains(part));
                if !zoned && offset.is_none() {
                    return Err("the format has no offset (add %z, or give `offset = \"+01:00\"`)".to_owned());
                }
                Form::Pattern(pattern.to_owned(), offset)
            }
        };
        Ok(Time { places: table.field, form })
    }

    /// The time of a record: `None` when it has none, `Err` when it cannot be read.
    pub fn read(&self, record: &Value) -> Option<Result<Read, ()>> {
        self.places.text(record).map(|text| self.form.read(text.trim()).ok_or(()))
    }
}

impl Form {
    fn read(&self, text: &str) -> Option<Read> {
        let at = match self {
            Form::Seconds => number(text, 1000.0)?,
            Form::Milliseconds => number(text, 1.0)?,
            Form::Pattern(pattern, offset) => {
                let zoned = DateTime::parse_from_str(text, pattern).ok();
                let local =
                    || NaiveDateTime::parse_from_str(text, pattern).ok()?.and_local_timezone((*offset)?).single();
                Moment(zoned.or_else(local)?.timestamp_millis())
            }
            Form::Usual => {
                let local = || Some(Moment(DateTime::parse_from_str(text, NGINX_LOCAL).ok()?.timestamp_millis()));
                // Beyond the year 5000 in seconds, 1973 in milliseconds.
                let since = || number(text, if text.parse::<f64>().ok()? < 1e11 { 1000.0 } else { 1.0 });
                Moment::parse(text).or_else(local).or_else(since)?
            }
        };
        let at = (0..=253_402_300_799_999).contains(&at.0).then_some(at)?;
        Some(Read { at, whole_seconds: at.0 % 1000 == 0 })
    }
}

/// A number of units since 1970, each of so many milliseconds.
fn number(text: &str, unit: f64) -> Option<Moment> {
    let ms = (text.parse::<f64>().ok()? * unit).round();
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and its result is used within bounds only")]
    (0.0..=253_402_300_799_999.0).contains(&ms).then_some(Moment(ms as i64))
}

/// Where a duration stands, and its unit in milliseconds.
#[derive(Clone, Debug)]
pub struct Length {
    pub places: Places,
    unit: f64,
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Length, D::Error> {
        places_or_table(deserializer, |places| Length { places, unit: 1.0 }, Length::of_table)
    }
}

impl Length {
    fn of_table(table: Table) -> Result<Length, String> {
        let unit = match table.unit.as_deref() {
            None | Some("ms") => 1.0,
            Some("s") => 1000.0,
            Some(_) => return Err("the unit of a duration is \"ms\" or \"s\"".to_owned()),
        };
        if table.format.is_some() || table.offset.is_some() {
            return Err("a duration has neither `format` nor `offset` (it has `unit`)".to_owned());
        }
        Ok(Length { places: table.field, unit })
    }

    /// Milliseconds, rounded up, at most a day. `None` when there is none that can be read.
    pub fn read(&self, record: &Value) -> Option<i64> {
        let ms = (self.places.text(record)?.trim().parse::<f64>().ok()? * self.unit).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast saturates, and its result is used within bounds only"
        )]
        (0.0..=86_400_000.0).contains(&ms).then_some(ms as i64)
    }
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
        let time = |given: &mut Option<Time>, names: &[&str]| {
            let mut places = None;
            usual(&mut places, names);
            if given.is_none() {
                *given = places.map(|places| Time { places, form: Form::Usual });
            }
        };
        let length = |given: &mut Option<Length>, name: &str, unit: f64| {
            let mut places = None;
            usual(&mut places, &[name]);
            if given.is_none() {
                *given = places.map(|places| Length { places, unit });
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
                usual(&mut full.body, &["body"]);
                time(&mut full.sent_at, &["sent_at"]);
                time(&mut full.ended_at, &["ended_at"]);
                usual(&mut full.failure, &["failure"]);
                usual(&mut full.http_status, &["http_status", "status"]);
                usual(&mut full.error, &["error"]);
            }
            Format::Har => {
                usual(&mut full.method, &["$.request.method"]);
                usual(&mut full.url, &["$.request.url"]);
                usual(&mut full.body, &["$.request.postData.text"]);
                time(&mut full.sent_at, &["startedDateTime"]);
                length(&mut full.duration, "time", 1.0);
                usual(&mut full.http_status, &["$.response.status"]);
                usual(&mut full.error, &["$.response._error", "_error"]);
            }
            Format::Nginx => {
                usual(&mut full.request_id, &["request_id"]);
                usual(&mut full.method, &["request_method"]);
                usual(&mut full.url, &["request_uri"]);
                if !parted {
                    usual(&mut full.request_line, &["request"]);
                }
                usual(&mut full.host, &["proxy_host"]);
                usual(&mut full.body, &["request_body"]);
                if !timed {
                    time(&mut full.ended_at, &["msec", "time_iso8601", "time_local", "time"]);
                }
                length(&mut full.duration, "request_time", 1000.0);
                usual(&mut full.http_status, &["status"]);
                usual(&mut full.completion, &["request_completion"]);
            }
            Format::Envoy => {
                usual(&mut full.method, &["method"]);
                usual(&mut full.url, &["x_envoy_original_path", "path"]);
                usual(&mut full.host, &["authority", ":authority"]);
                if !timed {
                    time(&mut full.sent_at, &["start_time"]);
                }
                length(&mut full.duration, "duration", 1.0);
                usual(&mut full.http_status, &["response_code"]);
                usual(&mut full.response_flags, &["response_flags"]);
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
            &self.body,
            &self.failure,
            &self.http_status,
            &self.error,
            &self.request_line,
            &self.host,
            &self.response_flags,
            &self.attempt_count,
            &self.completion,
        ];
        let times = [&self.sent_at, &self.ended_at].into_iter().flatten().map(|time| &time.places);
        let texts = texts.into_iter().flatten();
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

    fn time(text: &str) -> Result<Time, String> {
        #[derive(Deserialize)]
        struct Holder {
            time: Time,
        }
        toml::from_str::<Holder>(&format!("time = {text}"))
            .map(|holder| holder.time)
            .map_err(|e| e.message().to_owned())
    }

    fn read(time: &Time, value: Value) -> Option<String> {
        Some(time.read(&json!({"t": value}))?.ok()?.at.to_string())
    }

    #[test]
    fn times_are_read_in_their_usual_forms() {
        let usual = time("\"t\"").unwrap();
        for (written, expected) in [
            (json!("2025-03-01T12:00:00.5+01:00"), "2025-03-01T11:00:00.500Z"),
            (json!("01/Mar/2025:12:00:00 +0100"), "2025-03-01T11:00:00.000Z"),
            (json!("1740826800.5"), "2025-03-01T11:00:00.500Z"),
            (json!(1_740_826_800_500_i64), "2025-03-01T11:00:00.500Z"),
        ] {
            assert_eq!(read(&usual, written.clone()).as_deref(), Some(expected), "{written}");
        }
        for bad in [json!("2025-03-01 12:00:00"), json!("noon"), json!("-5"), json!("NaN")] {
            assert_eq!(usual.read(&json!({"t": bad})), Some(Err(())), "{bad}");
        }
        assert_eq!(usual.read(&json!({"t": "-"})), None);
    }

    #[test]
    fn a_format_needs_an_offset_from_somewhere() {
        let local = "{ field = \"t\", format = \"%Y-%m-%d %H:%M:%S\" }";
        assert!(time(local).unwrap_err().contains("has no offset"));
        let given = time(&local.replace(" }", ", offset = \"+01:00\" }")).unwrap();
        assert_eq!(read(&given, json!("2025-03-01 12:00:00")).as_deref(), Some("2025-03-01T11:00:00.000Z"));
        assert!(time("{ field = \"t\", format = \"%Q %z\" }").unwrap_err().contains("not a time's format"));
        assert!(time("{ field = \"t\", unit = \"s\" }").unwrap_err().contains("no `unit`"));
        assert!(time("{ fild = \"t\" }").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn places_are_tried_in_their_order() {
        let places = Places::parse(&["a".into(), "$.b.c".into()]).unwrap();
        assert_eq!(places.text(&json!({"a": "-", "b": {"c": 7}})).as_deref(), Some("7"));
        assert_eq!(places.text(&json!({"a": " ", "b": null})), None);
        assert_eq!(places.document(&json!({"a": {"x": 1}})).as_deref(), Some("{\"x\":1}"));
        assert!(Places::parse(&["$..[".into()]).unwrap_err().contains("is not a JSON path"));
    }
}
