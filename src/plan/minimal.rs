//! What a recorder asks of a plan: whether a request is worth recording, and what to keep of its body. Only what the plan
//! reads is kept: keys, compared fields, owners. The rest is a child's, and nobody here needs it.

use serde_json::{Map, Value};
use url::Url;

use super::faithful::is_faithful;
use super::file::{Effect, EffectKind, Key, Operation, Source};
use super::parts::Path;
use super::read::Reader;
use super::row::{Row, text_cell};
use super::strict;
use crate::clock::Moment;
use crate::words::Direction;

/// A place in a document, from its root.
type Place = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    Index(usize),
}

impl Reader<'_> {
    /// Whether a request that goes out may change something that the plan knows of: not a read, not another host's.
    pub fn changes_something(&self, method: &str, url: &str) -> bool {
        let Ok(url) = Url::parse(url.trim()) else { return false };
        let method = method.trim().to_ascii_uppercase();
        self.is_the_servers(&url)
            && self.outbound_operations(&method, url.path()).iter().any(|(found, ..)| !found.changes_nothing)
    }

    /// Whether the server may block a repeat of a request, as far as its method and URL say: not when a part of it would be
    /// made again whatever the body was. Of what the plan does not know, nothing is said.
    pub fn repeat_may_be_blocked(&self, method: &str, url: &str) -> bool {
        let Ok(url) = Url::parse(url.trim()) else { return true };
        let makes = |kind: EffectKind| kind == EffectKind::Create;
        let blocked = |effect: &Effect| !makes(effect.kind) || effect.keys.iter().any(|key| key.blocks_repeat);
        self.outbound_operations(method, url.path()).iter().all(|(found, ..)| found.effects.iter().all(blocked))
    }

    /// The part of a body that the plan reads, as JSON; all of it as it came, when a part would not say the same (a name
    /// twice, a number that would lose its digits). `None` when it reads nothing: no operation matches, the body is no
    /// JSON, or the operation needs none of it. An entry with this body is decided exactly as one with the whole.
    pub fn minimal(&self, direction: Direction, method: &str, url: &str, body: &str) -> Option<String> {
        let document = match strict::parse(body.as_bytes()) {
            Ok(document) => document,
            // Which of the two values was meant is nobody's to choose: the row is bad, and says so only as it came.
            Err(_) => return strict::every_value(body.as_bytes()).map(|_| body.to_owned()),
        };
        if !is_faithful(body) {
            return Some(body.to_owned());
        }
        let operation = self.operation_of(direction, method, url, &document)?;
        let mut places = places_read(operation, &document);
        // What tells it from others under the same path.
        let conditions = self.plan.operations.iter().flat_map(|operation| &operation.conditions);
        places.extend(conditions.flat_map(|condition| located(&condition.path, &[(Vec::new(), &document)])));
        places.sort();
        places.dedup();
        let kept = places.iter().fold(Value::Null, |kept, place| put(kept, place, &document));
        let narrow = (!kept.is_null()).then(|| kept.to_string());
        let means = |body: Option<&str>| self.meaning(direction, method, url, body);
        if means(narrow.as_deref()) == means(Some(body)) {
            return narrow;
        }
        // A filter (`[?@.name=='…']`) reads what it does not select: keep the elements of arrays whole.
        let whole = places.iter().map(|place| {
            let end = place.iter().position(|step| matches!(step, Step::Index(_))).map_or(place.len(), |at| at + 1);
            place[..end].to_vec()
        });
        let wide = whole.fold(Value::Null, |kept, place| put_whole(kept, &place, &document)).to_string();
        if means(Some(&wide)) == means(Some(body)) { Some(wide) } else { Some(body.to_owned()) }
    }

    /// What an entry with this body would be understood as, compared by its facts and raw keys.
    fn meaning(&self, direction: Direction, method: &str, url: &str, body: Option<&str>) -> String {
        let row = Row {
            direction: text_cell(direction.text()),
            method: text_cell(method),
            url: text_cell(url),
            body: Ok(body.map(str::to_owned)),
            sent_at: text_cell("2000-01-01T00:00:00Z"),
            failure: text_cell("timeout"),
            ..Row::blank(0, "-")
        };
        let reading = self.read(&row, Moment(1_000_000_000_000));
        format!("{:?} {:?} {:?}", reading.facts, reading.probes, reading.subject)
    }
}

/// Every place of the document that an operation reads.
fn places_read(operation: &Operation, document: &Value) -> Vec<Place> {
    let root = vec![(Vec::new(), document)];
    let mut places = Vec::new();
    for path in operation.needs.iter().flatten().chain(&operation.event) {
        places.extend(located(path, &root));
    }
    for effect in &operation.effects {
        let elements = match &effect.each {
            Some(each) => {
                let places = located(each, &root);
                places.into_iter().filter_map(|place| Some((place.clone(), at(document, &place)?))).collect()
            }
            None => root.clone(),
        };
        // The element itself counts, even when nothing of it is read.
        places.extend(elements.iter().map(|(place, _)| place.clone()).filter(|place| !place.is_empty()));
        for path in paths_of(effect) {
            places.extend(located(path, &elements));
        }
        for path in effect.owner.iter().flat_map(body_paths) {
            places.extend(located(path, &root));
        }
    }
    places
}

fn paths_of(effect: &Effect) -> impl Iterator<Item = &Path> {
    let sets = effect.sets.iter().flat_map(|set| &set.value).filter_map(|source| match source {
        Source::Body(path) => Some(path),
        Source::Url(_) => None,
    });
    effect.keys.iter().flat_map(body_paths).chain(&effect.when).chain(effect.compare.values().flatten()).chain(sets)
}

fn body_paths(key: &Key) -> impl Iterator<Item = &Path> {
    key.value.iter().filter_map(|source| match source {
        Source::Body(path) => Some(path),
        Source::Url(_) => None,
    })
}

fn located(path: &Path, roots: &[(Place, &Value)]) -> Vec<Place> {
    let below = |(root, value): &(Place, &Value)| {
        let found = path.places(value);
        found
            .into_iter()
            .map(|pointer| root.iter().cloned().chain(steps(&pointer, value)).collect())
            .collect::<Vec<Place>>()
    };
    roots.iter().flat_map(below).collect()
}

/// A JSON pointer's steps; a number is an index where the document has an array.
fn steps(pointer: &str, document: &Value) -> Place {
    let mut here = Some(document);
    let step = |token: &str| {
        let name = token.replace("~1", "/").replace("~0", "~");
        let step = match (here, name.parse()) {
            (Some(Value::Array(_)), Ok(index)) => Step::Index(index),
            _ => Step::Name(name),
        };
        here = here.and_then(|value| child(value, &step));
        step
    };
    pointer.split('/').skip(1).map(step).collect()
}

fn child<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
    }
}

fn at<'a>(document: &'a Value, place: &[Step]) -> Option<&'a Value> {
    place.iter().try_fold(document, child)
}

/// Puts a place's value into what is kept; of an object or array only that it is there.
fn put(kept: Value, place: &[Step], document: &Value) -> Value {
    let value = match at(document, place) {
        Some(Value::Object(_)) => Value::Object(Map::new()),
        Some(Value::Array(items)) => Value::Array(items.iter().filter(|item| !item.is_object()).cloned().collect()),
        Some(value) => value.clone(),
        None => return kept,
    };
    set(kept, place, value)
}

fn put_whole(kept: Value, place: &[Step], document: &Value) -> Value {
    match at(document, place) {
        Some(value) => set(kept, place, value.clone()),
        None => kept,
    }
}

/// Sets a value at a place, making what is missing on the way. Array elements keep their order; gaps are empty objects.
fn set(kept: Value, place: &[Step], value: Value) -> Value {
    let Some((step, rest)) = place.split_first() else {
        // What is kept of it already is more than that it is there.
        return if kept.is_null() { value } else { kept };
    };
    match step {
        Step::Name(name) => {
            let mut object = if let Value::Object(object) = kept { object } else { Map::new() };
            let inner = object.remove(name).unwrap_or(Value::Null);
            object.insert(name.clone(), set(inner, rest, value));
            Value::Object(object)
        }
        Step::Index(index) => {
            let mut items = if let Value::Array(items) = kept { items } else { Vec::new() };
            while items.len() <= *index {
                items.push(Value::Object(Map::new()));
            }
            let inner = std::mem::take(&mut items[*index]);
            let inner = if inner == Value::Object(Map::new()) { Value::Null } else { inner };
            let inner = set(inner, rest, value);
            items[*index] = if inner.is_null() { Value::Object(Map::new()) } else { inner };
            Value::Array(items)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::template::Vars;
    use crate::plan::{Plan, SHIPPED};
    use serde_json::json;

    fn kept(plan: usize, method: &str, path: &str, body: Value) -> Option<Value> {
        let params = if plan == 1 { Vars::from([("service".into(), "acme".into())]) } else { Vars::new() };
        let plan = Plan::load("plan", SHIPPED[plan].1, &params).unwrap();
        let server = Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let url = format!("http://127.0.0.1:1{path}");
        reader
            .minimal(Direction::Outbound, method, &url, &body.to_string())
            .map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_changes_nothing_here_is_not_recorded() {
        let plan = Plan::load("plan", SHIPPED[0].1, &Vars::new()).unwrap();
        let server = Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        assert!(reader.changes_something("post", "http://127.0.0.1:1/api/v1.0/account?a=b"));
        assert!(reader.changes_something("DELETE", "http://127.0.0.1:1/api/v1.0/account/7"));
        // A GET that the plan names: it sends a mail.
        assert!(reader.changes_something("GET", "http://127.0.0.1:1/api/consent/resend/?requesterServiceId=1"));
        for (method, url) in [
            ("POST", "http://127.0.0.1:2/api/v1.0/account"),
            ("POST", "http://127.0.0.1:1/oauth/token"),
            ("POST", "http://127.0.0.1:1/api/v1.0/account/check/email"),
            ("POST", "http://127.0.0.1:1/elsewhere"),
            ("GET", "http://127.0.0.1:1/api/v1.0/account"),
            ("GET", "http://127.0.0.1:1/userinfo?service_id=1"),
            ("POST", "/api/v1.0/account"),
        ] {
            assert!(!reader.changes_something(method, url), "{method} {url}");
        }
    }

    #[test]
    fn only_what_the_plan_reads_is_kept() {
        let body = json!({"role_identifier": "adult", "email": "ann@example.com", "first_name": "Ann", "phone": "555",
            "birth_date_yyyymmdd": "19900102", "features": ["chat"], "password": "hush"});
        let minimal = json!({"email": "ann@example.com", "first_name": "Ann", "birth_date_yyyymmdd": "19900102"});
        assert_eq!(kept(0, "POST", "/api/v1.0/account", body), Some(minimal));
    }

    #[test]
    fn children_keep_their_places_and_their_fields() {
        let body = json!({"email": "mum@example.com", "pin": 1, "minor_registrations": [
            {"first_name": "Kim", "birth_date_yyyymmdd": "20150102", "school": "x"}, {"first_name": "Lee", "school": "y"}]});
        let minimal = json!({"email": "mum@example.com", "minor_registrations": [
            {"first_name": "Kim", "birth_date_yyyymmdd": "20150102"}, {"first_name": "Lee"}]});
        assert_eq!(kept(0, "POST", "/api/v1.0/account/parent", body), Some(minimal));
    }

    #[test]
    fn what_a_filter_reads_is_kept_too() {
        let body = json!({"first_name": "Kim", "attributes": [
            {"name": "shoe", "value": "38"}, {"name": "displayName", "value": "kim1"}]});
        let minimal = kept(0, "POST", "/api/v1.0/account", body).unwrap();
        assert_eq!(minimal["attributes"][1], json!({"name": "displayName", "value": "kim1"}));
        assert!(!minimal.to_string().contains("38"));
    }

    #[test]
    fn numbers_keep_their_digits_and_a_name_said_twice_stays_twice() {
        let plan = Plan::load("plan", SHIPPED[0].1, &Vars::new()).unwrap();
        let server = Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let kept = |body: &str| {
            reader.minimal(Direction::Outbound, "POST", "http://127.0.0.1:1/api/v1.0/account", body).unwrap()
        };
        for digits in ["18446744073709551616", "12345678901234567890123", "42.10"] {
            let body = format!("{{\"external_user_identifier\":{digits}}}");
            assert_eq!(kept(&format!("{{\"external_user_identifier\":{digits},\"pin\":1}}")), body);
        }
        for twice in [
            r#"{"email":"a@x.com","pin":1,"email":"b@x.com"}"#,
            r#"{"email":"a@x.com","pin":{"x":1,"x":2}}"#,
            r#"{"email":"a@x.com","em\u0061il":"a@x.com"}"#,
        ] {
            assert_eq!(kept(twice), twice);
        }
    }

    #[test]
    fn nothing_is_kept_of_what_nothing_reads() {
        assert_eq!(kept(0, "POST", "/api/account/shadow", json!({"roleIdentifier": "x"})), None);
        assert_eq!(kept(0, "PUT", "/unknown", json!({"email": "ann@example.com"})), None);
        let body = json!({"locale": "en", "granter": {"email": "mum@example.com"}, "principal": {"eid": "7", "given_name": "Kim", "ssn": 1}});
        assert_eq!(
            kept(1, "POST", "/s2s/api/v1.0/acme/requests", body),
            Some(json!({"principal": {"eid": "7", "given_name": "Kim"}}))
        );
    }
}
