//! What of an entry is personal, and what stays of it when that is removed.
//!
//! A column keeps what cannot hold a personal value: words of the contract, times, numbers, the plan's own path. Ids are
//! the writer's and stay, unless they hold an `@` or a value that the plan reads of the entry: then they name somebody.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::parts::normalise;
use super::row::cell;
use super::subject::readings;
use super::{Cell, Reader, Reading, Row, strict};
use crate::clock::Moment;
use crate::evidence::{Class, Facts, KeyDigest};
use crate::words::{Direction, Failure};

/// How the URL of a row without its personal fields begins.
const BLANKED: &str = "blanked:";

/// Shorter values stand in other words by chance: an id that holds one names nobody for that.
const SHORTEST: usize = 4;

/// What stays of a row, column by column. `body` and `error` are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remainder {
    pub request_id: Kept,
    pub operation_id: Kept,
    pub direction: Option<&'static str>,
    pub method: String,
    /// Host and the plan's path, or a masked one; inbound: the path. It can be read as no request's.
    pub url: String,
    pub sent_at: String,
    pub ended_at: Option<String>,
    pub failure: Option<&'static str>,
    pub http_status: Option<u16>,
}

/// What stays of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing was there.
    Nothing,
    AsItIs,
    /// It names somebody. Its text, to make a name of that tells nothing.
    Renamed(String),
}

impl Reader<'_> {
    /// What stays of a row of which these facts are stored. `also` is personal, too, in small letters.
    pub fn remainder(&self, row: &Row, facts: &Facts, reading: &Reading, also: &BTreeSet<String>) -> Remainder {
        let mut personal = values(row, reading);
        personal.extend(also.iter().filter(|value| value.chars().count() >= SHORTEST).cloned());
        let id = |id: &Cell| match id {
            Ok(None) => Kept::Nothing,
            Ok(Some(id)) if names_somebody(id, &personal) => Kept::Renamed(id.clone()),
            Ok(Some(_)) => Kept::AsItIs,
            Err(_) => Kept::Renamed(String::new()),
        };
        let path = self.path_left(facts);
        let origin = cell(&row.url).and_then(|url| Url::parse(url.trim()).ok()).map(|url| url.origin());
        let origin = origin.filter(|origin| origin.is_tuple() && !matches!(facts.class, Class::BadRow { .. }));
        Remainder {
            request_id: id(&Ok(Some(row.request_id.clone()))),
            operation_id: id(&row.operation_id),
            direction: cell(&row.direction).and_then(|text| text.parse::<Direction>().ok()).map(Direction::text),
            method: method_left(facts),
            // No URL of a request any more: a template's variable must not be taken for a key.
            url: format!("{BLANKED}{}{path}", origin.map_or(String::new(), |origin| origin.ascii_serialization())),
            sent_at: time(&row.sent_at).unwrap_or_default(),
            ended_at: time(&row.ended_at),
            failure: cell(&row.failure).and_then(|text| text.parse::<Failure>().ok()).map(Failure::text),
            http_status: facts.http_status,
        }
    }

    /// The path that may stay: the plan's template. Of a path that the plan does not know, only those segments that stand
    /// in the plan's own paths.
    pub fn path_left(&self, facts: &Facts) -> String {
        if facts.operation.is_some() { facts.path.clone() } else { self.unknown_path_left(&facts.path) }
    }

    /// What may stay of a path that the plan does not know.
    pub fn unknown_path_left(&self, path: &str) -> String {
        let templates: Vec<String> = self
            .plan
            .operations
            .iter()
            .flat_map(|operation| operation.paths.iter().map(|path| path.as_ref().shown(self.plan.params())))
            .collect();
        let known: BTreeSet<&str> = templates.iter().flat_map(|path| path.split('/')).collect();
        let left = |segment| if known.contains(segment) { segment } else { "***" };
        path.split('/').map(left).collect::<Vec<_>>().join("/")
    }

    /// The links of every key that this value may be, under each lookup of the plan.
    pub fn links_of(&self, subject: &str) -> BTreeSet<KeyDigest> {
        let key = |(name, lookup): (&String, &super::Lookup)| self.link(name, &normalise(&lookup.normalise, subject));
        self.plan.lookups.iter().map(key).collect()
    }
}

/// Every value of a row that may be somebody's, in small letters: what the plan reads (keys, compared fields, new values);
/// of a row that the plan can make nothing of, every value of the body.
pub fn values(row: &Row, reading: &Reading) -> BTreeSet<String> {
    let mut values = Vec::new();
    for probe in reading.probes.iter().flatten() {
        values.extend([&probe.raw, &probe.normalised].map(String::clone));
        let compared = probe.compare.iter().filter_map(|(_, value)| value.as_ref());
        compared.chain(probe.sets.iter().map(|set| &set.sent)).for_each(|value| scalars(value, &mut values));
    }
    if reading.probes.is_empty()
        && let Some(body) = cell(&row.body).and_then(|text| strict::every_value(text.as_bytes()))
    {
        scalars(&body, &mut values);
    }
    let small = values.into_iter().map(|value| value.trim().to_lowercase());
    small.filter(|value| value.chars().count() >= SHORTEST).collect()
}

fn scalars(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| scalars(item, found)),
        Value::String(text) => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Bool(_) | Value::Null => {}
    }
}

/// An id or a word that holds an `@`, or a personal value, in whichever way it is written.
pub fn names_somebody(text: &str, personal: &BTreeSet<String>) -> bool {
    readings(text).iter().any(|text| {
        let small = text.to_lowercase();
        text.contains('@') || personal.iter().any(|value| small.contains(value.as_str()))
    })
}

/// A person's free text without the words that name somebody.
pub fn without_names(text: &str, personal: &BTreeSet<String>) -> String {
    let words: BTreeSet<String> =
        personal.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect();
    let long = |word: &&String| word.chars().count() >= SHORTEST;
    let words = words.iter().filter(long).cloned().collect();
    text.split(' ').map(|word| if names_somebody(word, &words) { "***" } else { word }).collect::<Vec<_>>().join(" ")
}

/// The method that may stay: one of HTTP's own.
pub fn method_left(facts: &Facts) -> String {
    let own = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    if own.contains(&facts.method.as_str()) { facts.method.clone() } else { String::new() }
}

/// A time as it is written, if it is one and so can be nothing else.
fn time(text: &Cell) -> Option<String> {
    cell(text).filter(|text| Moment::parse(text).is_some()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, SHIPPED};

    fn plan() -> Plan {
        Plan::load("test", SHIPPED[0].1, &super::super::template::Vars::new()).unwrap()
    }

    fn remainder(row: &Row) -> Remainder {
        let (plan, server) = (plan(), Url::parse("http://127.0.0.1:9").unwrap());
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let reading = reader.read(row, Moment(1_800_000_000_000));
        reader.remainder(row, &reading.facts, &reading, &BTreeSet::from(["zoe-7".to_owned()]))
    }

    #[test]
    fn what_stays_of_a_row_names_nobody() {
        let kept = remainder(&Row::lost(
            "sue@example.com",
            "DELETE",
            "http://127.0.0.1:9/api/v1.0/account?email=sue%40example.com",
            "",
        ));
        assert_eq!(kept.request_id, Kept::Renamed("sue@example.com".to_owned()));
        assert_eq!(kept.url, "blanked:http://127.0.0.1:9/api/v1.0/account");
        assert_eq!((kept.sent_at.as_str(), kept.ended_at), ("2026-03-01T12:00:00Z", None));
        let kept = remainder(&Row::lost("r1", "POST", "http://127.0.0.1:9/api/v1.0/people/susan", "{}"));
        assert_eq!((kept.request_id, kept.url.as_str()), (Kept::AsItIs, "blanked:http://127.0.0.1:9/api/v1.0/***/***"));
        let kept = remainder(&Row::lost(
            "r1",
            "POST",
            "http://sue:hush@127.0.0.1:9/api/v1.0/account",
            r#"{"email":"sue@example.com"}"#,
        ));
        assert_eq!(kept.url, "blanked:http://127.0.0.1:9/api/v1.0/account");
        let kept = remainder(&Row::lost("r1", "POST", "sue@example.com", "{}"));
        assert_eq!(kept.url, "blanked:");
        let bad = Row {
            ended_at: Ok(Some("Sue".to_owned())),
            failure: Ok(Some("Sue".to_owned())),
            ..Row::lost("r1", "Sue", "x", "")
        };
        let kept = remainder(&bad);
        assert_eq!((kept.ended_at, kept.failure, kept.method.as_str()), (None, None, ""));
    }

    #[test]
    fn an_id_that_holds_a_value_of_the_request_is_renamed() {
        let body = r#"{"email":"sue@example.com","first_name":"Susan","birth_date_yyyymmdd":"20150314"}"#;
        let url = "http://127.0.0.1:9/api/v1.0/account";
        for (id, renamed) in [
            ("order-7", false),
            ("susan-1", true),
            ("x20150314", true),
            ("su-1", false),
            ("a@b", true),
            ("a%40b", true),
            ("Zoe-7", true),
        ] {
            let kept = remainder(&Row::lost(id, "POST", url, body)).request_id;
            assert_eq!(matches!(kept, Kept::Renamed(_)), renamed, "{id}");
        }
    }

    #[test]
    fn a_persons_words_lose_the_names() {
        let personal = ["susan marie".to_owned(), "sue@example.com".to_owned()].into();
        let said = without_names("spoke with Susan (sue@example.com), order 7 is hers", &personal);
        assert_eq!(said, "spoke with *** *** order 7 is hers");
    }
}
