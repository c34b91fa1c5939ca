//! One lookup as a conversation: the requests it makes and what it makes of the answers. The sending is done by others.
//!
//! An answer counts only in the plan's documented shape. Everything else (5xx, 401, a redirect, another content type,
//! broken JSON, an error envelope under 200, a 404 without JSON) is inconclusive, with its cause.

use serde_json::{Map, Value};
use url::Url;

use super::file::{Lookup, Shape, Step};
use super::pages::{Gathered, Turned};
use super::parts::{Path, identifier, normalise};
use super::strict;
use super::template::{Template, Vars, percent_encode};
use crate::clock::Moment;

/// A longer id is none: it would go into ledgers and reports as if it named a record.
const LONGEST_ID: usize = 256;

/// A request that changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// The plan's name of another host than its server.
    pub host: Option<String>,
    pub method: &'static str,
    /// Relative to the host's base URL.
    pub path_and_query: String,
    /// The JSON of a POST.
    pub json: Option<String>,
    /// Headers of its own.
    pub headers: Vec<(String, String)>,
}

/// An answer, read whole.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    /// The `Date` header.
    pub date: Option<Moment>,
    /// All `Link` headers in one.
    pub links: String,
    pub body: Vec<u8>,
}

/// What came of a lookup.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Absent,
    /// The server's id, if the plan says where it stands, and the last step's document.
    Record {
        id: Option<String>,
        document: Value,
    },
    /// Nothing may be concluded, and why.
    Inconclusive(String),
}

/// A lookup under way.
#[derive(Clone, Debug)]
pub struct Search<'p> {
    lookup: &'p Lookup,
    base: &'p Url,
    step: usize,
    vars: Vars,
    /// A list whose first pages came, and the request for the next one.
    list: Option<(Request, Gathered)>,
}

impl<'p> Search<'p> {
    /// Starts a lookup by `key`, at the host with this base URL.
    pub fn start(lookup: &'p Lookup, params: &Vars, key: &str, base: &'p Url) -> Search<'p> {
        let mut vars = params.clone();
        vars.insert("key".to_owned(), key.to_owned());
        Search { lookup, base, step: 0, vars, list: None }
    }

    /// The next request.
    ///
    /// # Errors
    /// Why none can be made, without the key. Nothing may be concluded then.
    pub fn request(&self) -> Result<Request, &'static str> {
        if let Some((request, _)) = &self.list {
            return Ok(request.clone());
        }
        self.first_request()
    }

    /// The first request of every step, for people: what an earlier step names is written `{id}`.
    pub fn every_request(mut self) -> Vec<Result<Request, &'static str>> {
        self.vars.insert("id".to_owned(), "{id}".to_owned());
        let shown = |request: Request| Request {
            path_and_query: request.path_and_query.replace("%7Bid%7D", "{id}"),
            ..request
        };
        let steps = 0..self.lookup.steps.len();
        steps.map(|step| Search { step, ..self.clone() }.first_request().map(shown)).collect()
    }

    fn first_request(&self) -> Result<Request, &'static str> {
        request(&self.lookup.steps[self.step], self.lookup.host.as_ref(), &self.vars)
    }

    /// Takes the answer to [`Search::request`]. `None`: there is another request to make.
    pub fn take(&mut self, answer: &Answer) -> Option<Found> {
        let last = self.step + 1 == self.lookup.steps.len();
        // A list that stands at the root is an array.
        let is_list = last && self.lookup.record.list.as_ref().is_some_and(Path::is_root);
        let key = self.vars.get("key").map(String::as_str);
        match interpret(&self.lookup.steps[self.step], answer, key, is_list) {
            Read::Absent if self.at_first_step() => Some(Found::Absent),
            Read::Absent if self.list.is_some() => {
                Some(Found::Inconclusive("a page of the list was not found".to_owned()))
            }
            Read::Absent => {
                Some(Found::Inconclusive("the second step did not find what the first one named".to_owned()))
            }
            Read::Inconclusive(cause) => Some(Found::Inconclusive(cause)),
            Read::Present { id, document } => {
                if let Some(id) = id {
                    // Of whom it shows, as a cache does that does not look at the query, nothing may be concluded.
                    if !self.at_first_step() && self.vars.get("id").is_some_and(|named| *named != id) {
                        let cause = "a later step shows another id than the one before named".to_owned();
                        return Some(Found::Inconclusive(cause));
                    }
                    self.vars.insert("id".to_owned(), id);
                }
                if last {
                    return self.found(answer, document);
                }
                self.step += 1;
                None
            }
        }
    }

    /// The last step found something, or a page of its list.
    fn found(&mut self, answer: &Answer, document: Value) -> Option<Found> {
        if shown_keys(self.lookup, &document).is_some_and(|keys| !keys.contains(&self.key())) {
            return Some(Found::Inconclusive(ANOTHER.to_owned()));
        }
        let document = if self.lookup.record.list.is_none() {
            document
        } else {
            let (request, list) = match self.list.take() {
                Some(under_way) => under_way,
                None => (self.first_request().unwrap_or_default(), Gathered::nothing()),
            };
            match list.turn(self.lookup, self.base, request, answer, document) {
                Ok(Turned::Whole(document)) => document,
                Ok(Turned::Next(request, list)) => {
                    self.list = Some((request, list));
                    return None;
                }
                Err(cause) => return Some(Found::Inconclusive(cause)),
            }
        };
        Some(Found::Record { id: self.vars.get("id").cloned(), document })
    }

    /// The key that is looked up, as the plan normalises it.
    fn key(&self) -> String {
        normalise(&self.lookup.normalise, self.vars.get("key").map_or("", String::as_str))
    }

    /// No step has found anything yet.
    pub fn at_first_step(&self) -> bool {
        self.step == 0 && self.list.is_none()
    }
}

/// What is said of an answer about another record than the one that was asked for.
const ANOTHER: &str = "the record shows another key than the one that it was looked up by";

/// The keys that a record shows, as the plan normalises them. `None`: it shows none.
fn shown_keys(lookup: &Lookup, document: &Value) -> Option<Vec<String>> {
    let shown = lookup.record.key.as_ref()?.all(document).into_iter();
    let keys = shown.filter_map(|key| identifier(key).ok()?).map(|key| normalise(&lookup.normalise, &key));
    Some(keys.collect::<Vec<_>>()).filter(|keys| !keys.is_empty())
}

/// Whether a record shows the key that it was looked up by.
pub fn shows_its_key(lookup: &Lookup, document: &Value) -> bool {
    shown_keys(lookup, document).is_some()
}

fn request(step: &Step, host: Option<&String>, vars: &Vars) -> Result<Request, &'static str> {
    let (method, path) = match (&step.get, &step.post) {
        (_, Some(post)) => ("POST", post.fill_path(vars)),
        (Some(get), None) => ("GET", get.fill_path(vars)),
        (None, None) => ("GET", None),
    };
    let path = path.unwrap_or_default();
    // Every URL is rid of such segments, written in whatever way: another address would answer, and be believed.
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("no path can carry a key of nothing but dots");
    }
    // Of a key that stands in a path as it is.
    if path.contains(['?', '#', '\\', ' ']) || path.contains("//") || path.chars().any(char::is_control) {
        return Err("no path can carry this key as it is");
    }
    let value = |text: &Template| percent_encode(&text.fill(vars, str::to_owned).unwrap_or_default());
    let query: Vec<String> =
        step.query.iter().map(|(name, text)| format!("{}={}", percent_encode(name), value(text))).collect();
    let json = || step.json.as_ref().map_or_else(|| Value::Object(Map::new()), |json| json.fill(vars)).to_string();
    Ok(Request {
        host: host.cloned(),
        method,
        path_and_query: if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) },
        json: step.post.is_some().then(json),
        headers: step.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}

enum Read {
    Present { id: Option<String>, document: Value },
    Absent,
    Inconclusive(String),
}

fn interpret(step: &Step, answer: &Answer, key: Option<&str>, is_list: bool) -> Read {
    let documented = |shape: &&Shape| shape.status == answer.status;
    let present = Some(&step.present).filter(documented);
    let absent: Vec<&Shape> = step.absent.iter().filter(documented).collect();
    if present.is_none() && absent.is_empty() {
        return Read::Inconclusive(match answer.status {
            status @ (401 | 403) => format!("status {status}: the credentials do not let this job read (see [auth])"),
            status => format!("status {status}"),
        });
    }
    if !answer.content_type.as_deref().is_some_and(is_json) {
        return Read::Inconclusive(format!("status {} without a JSON content type", answer.status));
    }
    let document = match strict::parse(&answer.body) {
        Ok(document) => document,
        Err(_) if absent.iter().any(|shape| shape.conditions.is_empty()) && answer.body.is_empty() => Value::Null,
        Err(cause) => return Read::Inconclusive(format!("status {} with {cause}", answer.status)),
    };
    if absent.iter().any(|shape| fits(shape, &document, key, false)) {
        return Read::Absent;
    }
    match present.filter(|present| fits(present, &document, key, is_list)) {
        Some(Shape { id: None, .. }) => Read::Present { id: None, document },
        Some(Shape { id: Some(path), any, .. }) => match id_at(path, &document) {
            Ok(Some(id)) => Read::Present { id: Some(id), document },
            Ok(None) if !any.is_empty() => Read::Present { id: None, document },
            Ok(None) => Read::Inconclusive(format!("status {} without the documented id", answer.status)),
            Err(what) => Read::Inconclusive(format!("status {} with {what}", answer.status)),
        },
        None => Read::Inconclusive(format!("status {} in another shape than documented", answer.status)),
    }
}

/// The server's id of a record, with all its digits.
///
/// # Errors
/// What stands there instead of an id that can be stored and asked for, in words that follow "with".
pub(super) fn id_at(path: &Path, document: &Value) -> Result<Option<String>, String> {
    let mut each: Vec<&Value> = path.all(document);
    each.dedup();
    match path.identifier(document) {
        Ok(Some(_)) if each.len() > 1 => Err("more than one id".to_owned()),
        Ok(Some(id)) if id.len() > LONGEST_ID => Err(format!("an id of {} bytes", id.len())),
        Ok(id) => Ok(id),
        Err(what) => Err(format!("an id that is {what}")),
    }
}

fn names_nothing(shape: &Shape) -> bool {
    shape.conditions.is_empty() && shape.any.is_empty() && shape.id.is_none()
}

/// Whether a document has what the shape asks for. A bare array is one where the shape names something of it, or where it is the
/// list itself; a text or a number alone is none.
fn fits(shape: &Shape, document: &Value, key: Option<&str>, is_list: bool) -> bool {
    let any = || shape.any.is_empty() || shape.any.iter().any(|path| path.first(document).is_some());
    shape.conditions.iter().all(|condition| condition.holds(document, key))
        && any()
        && (document.is_object() || document.is_null() || (document.is_array() && (is_list || !names_nothing(shape))))
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::plan::{Plan, SHIPPED};

    static BASE: LazyLock<Url> = LazyLock::new(|| Url::parse("https://privo.example").unwrap());

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        let content_type = Some(content_type.to_owned());
        Answer { status, content_type, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    fn gateway() -> Plan {
        Plan::load("privo-gateway", SHIPPED[0].1, &Vars::new()).unwrap()
    }

    #[test]
    fn a_lookup_asks_and_reads_its_two_steps() {
        let plan = gateway();
        let mut search = Search::start(&plan.lookups["account-by-email"], &Vars::new(), "ann+1@example.com", &BASE);
        assert_eq!(search.request().unwrap().path_and_query, "/api/v1.0/account/lookup?email=ann%2B1%40example.com");
        assert_eq!(search.take(&answer(200, "application/json; charset=utf-8", r#"{"sid":"s1"}"#)), None);
        assert_eq!(search.request().unwrap().path_and_query, "/userinfo?service_id=s1");
        let found = search.take(&answer(200, "application/json", r#"{"sub":"s1","given_name":"Ann"}"#));
        assert!(matches!(found, Some(Found::Record { id: Some(id), .. }) if id == "s1"));
    }

    #[test]
    fn only_the_documented_absence_is_one() {
        let plan = gateway();
        let start = || Search::start(&plan.lookups["account-by-email"], &Vars::new(), "ann@example.com", &BASE);
        assert_eq!(start().take(&answer(404, "application/json", r#"{"message":"none"}"#)), Some(Found::Absent));
        for undocumented in [
            answer(404, "text/html", "<html>"),
            answer(404, "application/json", r#"{"message":"#),
            answer(404, "application/json", "[]"),
            answer(200, "application/json", r#"{"status":"ERROR"}"#),
            answer(200, "application/json", r#"{"sid":null}"#),
            answer(200, "application/json", r#"{"sid":"1","sid":"2"}"#),
            answer(200, "text/html", r#"{"sid":"s1"}"#),
            answer(200, "application/json", &format!(r#"{{"sid":"{}"}}"#, "x".repeat(300))),
            answer(200, "application/json", ""),
            answer(302, "application/json", "{}"),
            answer(401, "application/json", "{}"),
            answer(500, "application/json", "{}"),
        ] {
            assert!(matches!(start().take(&undocumented), Some(Found::Inconclusive(_))), "{undocumented:?}");
        }
    }

    #[test]
    fn an_answer_may_bear_no_id_where_the_plan_says_what_shows_it_instead() {
        let params = Vars::from([("service".into(), "acme".into())]);
        let plan = Plan::load("privo-consent", SHIPPED[1].1, &params).unwrap();
        let found = |lookup: &str, body: &str| {
            Search::start(&plan.lookups[lookup], &params, "k", &BASE)
                .take(&answer(200, "application/json", body))
                .unwrap()
        };
        let id = |found: Found| match found {
            Found::Record { id, .. } => Some(id),
            _ => None,
        };
        assert_eq!(id(found("consent", r#"{"state":"approved"}"#)), Some(None));
        assert_eq!(
            id(found("consent", r#"{"state":"approved","consent_identifier":"k"}"#)),
            Some(Some("k".to_owned()))
        );
        assert_eq!(id(found("account-by-eid", r#"{"features":[],"attributes":[]}"#)), Some(None));
        assert_eq!(id(found("account-by-eid", r#"{"sid":"s1"}"#)), Some(Some("s1".to_owned())));
        for nothing in ["{}", r#"{"message":"maintenance"}"#, r#"{"state":null}"#, r#"{"consent_identifier":"k"}"#] {
            assert_eq!(id(found("consent", nothing)), None, "{nothing}");
        }
    }

    #[test]
    fn an_id_keeps_its_digits_or_is_none() {
        let plan = gateway();
        let named = |id: &str| {
            let mut search = Search::start(&plan.lookups["account-by-email"], &Vars::new(), "ann@example.com", &BASE);
            search
                .take(&answer(200, "application/json", &format!("{{\"sid\":{id}}}")))
                .map_or_else(|| search.request().unwrap().path_and_query, |found| format!("{found:?}"))
        };
        for digits in
            ["7", "-7", "9007199254740993", "18446744073709551617", "-9223372036854775809", "\"007\"", "\"1e3\""]
        {
            assert_eq!(named(digits), format!("/userinfo?service_id={}", digits.trim_matches('"')));
        }
        for unsure in ["1e21", "1E2", "0.1e1", "12345.0", "1.0", "-0", "true", "{}", "[7]", "\"\"", "1e999999"] {
            assert!(named(unsure).starts_with("Inconclusive("), "{unsure}: {}", named(unsure));
        }
    }

    #[test]
    fn documented_values_are_compared_by_their_value() {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (one, other, equal) in [
            ("0", "0.0", true),
            ("[1,{\"a\":2.50}]", "[1.0,{\"a\":2.5}]", true),
            ("9007199254740993", "9007199254740992", false),
            ("1", "\"1\"", false),
            ("{\"a\":1}", "{\"b\":1}", false),
        ] {
            assert_eq!(super::super::file::same(&json(one), &json(other)), equal, "{one} {other}");
        }
    }

    #[test]
    fn a_key_of_dots_asks_no_other_address() {
        let params = Vars::from([("service".into(), "acme".into())]);
        let plan = Plan::load("privo-consent", SHIPPED[1].1, &params).unwrap();
        let asks = |key: &str| Search::start(&plan.lookups["account-by-eid"], &params, key, &BASE).request();
        for dots in [".", ".."] {
            assert!(asks(dots).is_err(), "{dots}");
        }
        for key in ["...", "%2e", "a.b", "../x"] {
            let path = asks(key).unwrap().path_and_query;
            let url = url::Url::parse(&format!("https://privo.example{path}")).unwrap();
            assert_eq!(url.path(), path, "{key}");
        }
        let gateway = gateway();
        let in_a_query = Search::start(&gateway.lookups["account-by-user-name"], &Vars::new(), "..", &BASE).request();
        assert_eq!(in_a_query.unwrap().path_and_query, "/api/v1.0/account/lookup?user_name=..");
    }

    #[test]
    fn a_second_step_that_shows_another_record_is_inconclusive() {
        let plan = gateway();
        for other in [r#"{"sub":"s2"}"#, r#"{"sub":1}"#] {
            let mut search = Search::start(&plan.lookups["account-by-email"], &Vars::new(), "ann@example.com", &BASE);
            assert_eq!(search.take(&answer(200, "application/json", r#"{"sid":"s1"}"#)), None);
            assert!(matches!(search.take(&answer(200, "application/json", other)), Some(Found::Inconclusive(_))));
        }
    }

    #[test]
    fn a_second_step_that_finds_nothing_is_inconclusive() {
        let plan = gateway();
        let mut search = Search::start(&plan.lookups["account-by-email"], &Vars::new(), "ann@example.com", &BASE);
        assert_eq!(search.take(&answer(200, "application/json", r#"{"sid":"s1"}"#)), None);
        assert!(matches!(search.take(&answer(404, "application/json", "{}")), Some(Found::Inconclusive(_))));
    }
}
