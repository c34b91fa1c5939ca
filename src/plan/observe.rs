//! From what was found to what one effect's look saw.
//!
//! Comparing happens here, where the raw values are; only the results go on.

use serde_json::Value;

use super::file::{Field, Lookup, RecordShape, StatePart};
use super::parts::{moment, scalar};
use super::read::{Probe, Reader, SetProbe};
use super::search::{Found, id_at};
use crate::clock::{Moment, Span};
use crate::evidence::{Kind, Look, OWNER_ABSENT, Record};
use crate::words::{Compared, Control, Seen};

/// One lookup's result with its times.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub found: Found,
    /// Before its first request.
    pub asked: Moment,
    /// After its last answer.
    pub answered: Moment,
    /// The last answer's `Date` header.
    pub server: Option<Moment>,
    /// What to add to a time of the job's clock to have the server's, at least and at most, by all answers of the run so far.
    pub skew: Option<(Span, Span)>,
    /// It is inconclusive for want of an answer (no connection, timeout, 5xx): asking again may help.
    pub failed: bool,
    /// The first step was answered 4xx: the key was not found, or is none that the server takes.
    pub refused: bool,
    /// The last answer was 401 or 403: the credentials do not let the job read.
    pub shut_out: bool,
}

/// The spellings under which a group's key is looked up: every one that an entry uses, and the normalised one.
pub fn spellings<'a>(lookup: &Lookup, probes: impl Iterator<Item = &'a Probe>) -> Vec<String> {
    let mut spellings: Vec<String> = probes
        .flat_map(|probe| [Some(probe.raw.trim().to_owned()), lookup.try_normalised.then(|| probe.normalised.clone())])
        .flatten()
        .collect();
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

/// What the sightings of a key's spellings say of one effect. The controls are the known key's, the random one's, the
/// near ones' and the known record's fields'.
pub fn look(
    reader: &Reader,
    effect: usize,
    kind: Kind,
    probe: &Probe,
    sightings: &[(&str, &Sighting)],
    [known, random, near, fields]: [Control; 4],
) -> Look {
    let lookup = &reader.plan.lookups[&probe.lookup];
    let own = sightings.iter().find(|(spelling, _)| *spelling == probe.raw.trim());
    let asked = sightings.iter().map(|(_, sighting)| sighting.asked).min().unwrap_or(Moment(0));
    let answered = sightings.iter().map(|(_, sighting)| sighting.answered).max().unwrap_or(Moment(0));
    let mut look = Look {
        effect,
        current: true,
        asked,
        answered,
        server: sightings.iter().map(|(_, sighting)| sighting.server).min().flatten(),
        known,
        random,
        near,
        fields,
        skew: sightings.iter().filter_map(|(_, sighting)| sighting.skew).reduce(hull),
        made_error: lookup.record.made_error(),
        ..Look::default()
    };
    let chosen =
        own.filter(|(_, s)| matches!(s.found, Found::Record { .. })).map(|found| (found, true)).or_else(|| {
            sightings.iter().find(|(_, s)| matches!(s.found, Found::Record { .. })).map(|found| (found, false))
        });
    let unclear = sightings.iter().find_map(|(_, sighting)| match &sighting.found {
        Found::Inconclusive(cause) => Some(cause.clone()),
        _ => None,
    });
    match (chosen, unclear) {
        // The own spelling's record stands, whatever became of the others.
        (Some(((_, sighting), true)), _) => record(reader, lookup, kind, probe, sighting, true, &mut look),
        (_, Some(cause)) => look.cause = Some(cause),
        (Some(((_, sighting), false)), None) => record(reader, lookup, kind, probe, sighting, false, &mut look),
        (None, None) if sightings.is_empty() => look.cause = Some("not looked up".to_owned()),
        (None, None) => {
            look.seen = Seen::Absent;
            let of_an_owner = kind == Kind::Member && !lookup.record.absent_is_empty;
            look.cause = of_an_owner.then(|| OWNER_ABSENT.to_owned());
        }
    }
    look
}

fn hull(one: (Span, Span), other: (Span, Span)) -> (Span, Span) {
    (one.0.min(other.0), one.1.max(other.1))
}

fn record(
    reader: &Reader,
    lookup: &Lookup,
    kind: Kind,
    probe: &Probe,
    sighting: &Sighting,
    own: bool,
    look: &mut Look,
) {
    let Found::Record { id, document } = &sighting.found else { return };
    look.asked = sighting.asked;
    look.answered = sighting.answered;
    look.server = sighting.server;
    look.skew = sighting.skew;
    let shape = &lookup.record;
    match (kind, &shape.list) {
        (Kind::Member, Some(list)) => match members(shape, list.first(document), probe) {
            Ok(records) => {
                look.seen = match records.iter().filter(|record| !record.differs()).count() {
                    0 => Seen::Absent,
                    1 => Seen::Present,
                    _ => Seen::Several,
                };
                look.records = records;
            }
            Err(cause) => look.cause = Some(cause),
        },
        _ => {
            let mut record = compared(shape, document, probe, own);
            record.id = match record_id(shape, document) {
                Ok(shown) => shown.or_else(|| id.clone()),
                Err(cause) => {
                    look.cause = Some(cause);
                    return;
                }
            };
            record.is_key = lookup.own_key && record.id.as_deref() == Some(probe.raw.trim());
            if matches!(kind, Kind::Update | Kind::Upsert) {
                write_compared(reader, document, probe, &mut record);
            }
            look.seen = Seen::Present;
            look.records = vec![record];
            look.state = (kind == Kind::Inbound).then(|| state(shape, document));
        }
    }
}

/// The records of an owner's list that may be the entry's: none of the fields that both sides show differs, or some are
/// equal though others differ.
fn members(shape: &RecordShape, list: Option<&Value>, probe: &Probe) -> Result<Vec<Record>, String> {
    let Some(Value::Array(items)) = list else {
        return Err("the owner's record does not show the documented list".to_owned());
    };
    let mut records = Vec::new();
    for item in items {
        let mut record = compared(shape, item, probe, true);
        record.id = record_id(shape, item)?;
        if record.id.is_none() {
            return Err("a record of the list bears no id".to_owned());
        }
        records.push(record);
    }
    records.sort_by(|a, b| a.id.cmp(&b.id));
    if records.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err("the list shows one id twice".to_owned());
    }
    // One that matches may be another's, so that this one is written otherwise all the same.
    records.retain(|record| !record.differs() || record.nearly_matches());
    Ok(records)
}

fn record_id(shape: &RecordShape, record: &Value) -> Result<Option<String>, String> {
    let Some(path) = &shape.id else { return Ok(None) };
    id_at(path, record).map_err(|what| format!("a record with {what}"))
}

fn compared(shape: &RecordShape, document: &Value, probe: &Probe, own: bool) -> Record {
    let field = |name: &String, sent: &Option<Value>| {
        let how = |field: &Field| field.compare(sent.as_ref(), document);
        (name.clone(), shape.fields.get(name).map_or(Compared::NotShown, how))
    };
    Record {
        id: None,
        made: shape.made.as_ref().and_then(|path| moment(path.first(document)?)),
        changed: shape.changed.as_ref().and_then(|path| moment(path.first(document)?)),
        own,
        fields: probe.compare.iter().map(|(name, sent)| field(name, sent)).collect(),
        as_before: false,
        values: None,
        shows_more: shape.shows_more.as_ref().is_some_and(|shows| {
            shows.path.all(document).into_iter().filter_map(scalar).any(|value| shows.values.contains(&value))
        }),
        is_key: false,
    }
}

/// The fields that an update writes, against what the record shows.
fn write_compared(reader: &Reader, document: &Value, probe: &Probe, record: &mut Record) {
    let fields: Vec<Written> = probe.sets.iter().map(|set| Written::of(set, document)).collect();
    record.fields = fields.iter().map(|field| (field.set.field.clone(), field.compared)).collect();
    let mut left = fields.iter().filter(|field| field.compared != Compared::Equal).peekable();
    record.as_before = left.peek().is_some() && left.all(Written::is_from_before);
    // Where it cannot be said whether a field holds what was sent, it cannot be said that it holds what was there before.
    let values = |field: &Written| field.is_clear().then(|| format!("{}={:?}", field.set.field, field.shown));
    let values: Option<Vec<String>> = fields.iter().map(values).collect();
    record.values = values.map(|values| reader.values(&format!("{} {}", probe.normalised, values.join("\0"))));
}

/// One field that an update writes.
struct Written<'a> {
    set: &'a SetProbe,
    /// `None`: nothing stands there, or an empty text.
    shown: Option<&'a Value>,
    compared: Compared,
}

impl<'a> Written<'a> {
    fn of(set: &'a SetProbe, document: &'a Value) -> Written<'a> {
        let shown =
            set.record.first(document).filter(|value| value.as_str().is_none_or(|text| !text.trim().is_empty()));
        Written { set, shown, compared: set.form.compare(Some(&set.sent), shown) }
    }

    /// It shows a value that it can only have had before.
    fn is_from_before(&self) -> bool {
        let form = |value: &Value| self.set.form.of(value);
        let shown = self.shown.and_then(form);
        let before = |text: &String| form(&Value::String(text.clone()));
        self.compared == Compared::Differs && self.set.before.iter().any(|text| before(text) == shown)
    }

    /// It shows whether what was sent stands there: a value of its own, or none at all.
    fn is_clear(&self) -> bool {
        self.compared != Compared::NotShown || (self.shown.is_none() && self.set.form.of(&self.set.sent).is_some())
    }
}

/// The state of a webhook's consent or account, in words.
fn state(shape: &RecordShape, document: &Value) -> String {
    let part = |(name, part): (&String, &StatePart)| {
        let values: Vec<String> = match (&part.name, &part.value) {
            (Some(name), Some(value)) => {
                let items = part.path.all(document);
                let pair =
                    |item: &&Value| Some(format!("{}={}", name.text(item)?, value.text(item).unwrap_or_default()));
                items.iter().filter_map(pair).collect()
            }
            _ => part.path.all(document).into_iter().filter_map(scalar).collect(),
        };
        (!values.is_empty()).then(|| format!("{name} {}", values.join(", ")))
    };
    let parts: Vec<String> = shape.state.iter().filter_map(part).collect();
    if parts.is_empty() { "there".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;

    use super::*;
    use crate::plan::template::Vars;
    use crate::plan::{Plan, Row, SHIPPED};

    /// What one look sees of a request's last effect when the record that it is looked up by is this document.
    fn seen(plan: usize, (method, path, body): (&str, &str, Value), document: Value) -> Look {
        let params = if plan == 1 { Vars::from([("service".into(), "acme".into())]) } else { Vars::new() };
        let plan = Plan::load("plan", SHIPPED[plan].1, &params).unwrap();
        let server = Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let row = Row::lost("r1", method, &format!("http://127.0.0.1:1{path}"), &body.to_string());
        let probes = reader.probes(&row, Moment(1_800_000_000_000));
        let (effect, probe) = probes.last().unwrap();
        let probe = probe.as_ref().unwrap();
        let found = Found::Record { id: Some("s1".to_owned()), document };
        let (asked, answered) = (Moment(0), Moment(1));
        let sighting = Sighting {
            found,
            asked,
            answered,
            server: None,
            failed: false,
            refused: false,
            shut_out: false,
            skew: None,
        };
        look(
            &reader,
            0,
            effect.kind,
            probe,
            &[(probe.raw.trim(), &sighting)],
            [Control::Held, Control::Held, Control::Held, Control::Missing],
        )
    }

    /// The ids of the children that may be Kim, born on 14 March 2015.
    fn children(shown: &[Value]) -> Vec<String> {
        let body = json!({"parentEmail": "mum@x.com", "first_name": "Mary Ann", "birth_date_yyyymmdd": "20150314"});
        let child = |(n, (name, born)): (usize, (&Value, &Value))| json!({"service_id": n, "first_name": name, "birth_date_yyyymmdd": born});
        let pairs = shown.chunks(2).map(|pair| (&pair[0], &pair[1])).enumerate();
        let list: Vec<Value> = pairs.map(child).collect();
        let look = seen(0, ("POST", "/api/account", body), json!({"sub": "s1", "connected_profiles": list}));
        look.records.into_iter().filter_map(|record| record.id).collect()
    }

    #[test]
    fn a_child_that_is_shown_otherwise_than_sent_is_no_other_child() {
        let (name, born) = (json!("Mary Ann"), json!("20150314"));
        for shown in [json!("mary\u{a0}ann "), json!("Mary&nbsp;Ann"), json!("MaryAnn"), Value::Null, json!("***")] {
            assert_eq!(children(&[shown.clone(), born.clone()]), ["0"], "{shown}");
        }
        for shown in
            [json!("14.03.2015"), json!(20150314.0), json!("00000000"), json!("2015-03-13T23:00:00Z"), Value::Null]
        {
            assert_eq!(children(&[name.clone(), shown.clone()]), ["0"], "{shown}");
        }
        // Equal in one and not in the other: it may be the child, written otherwise.
        assert_eq!(children(&[json!("Mary"), born.clone(), name.clone(), json!("2015-03-15")]), ["0", "1"]);
        // Also where another one matches, which may be somebody else's.
        assert_eq!(children(&[name.clone(), born.clone(), name, json!("2015-03-15")]), ["0", "1"]);
        assert_eq!(children(&[json!("Mary"), json!("2015-03-15")]), [""; 0]);
    }

    #[test]
    fn an_id_in_a_list_keeps_its_digits_or_the_list_says_nothing() {
        let body = json!({"parentEmail": "mum@x.com", "first_name": "Kim"});
        let look = |id: &str| {
            let list = format!("{{\"connected_profiles\":[{{\"service_id\":{id},\"first_name\":\"Kim\"}}]}}");
            let document = super::super::strict::parse(list.as_bytes()).unwrap();
            seen(0, ("POST", "/api/account", body.clone()), document)
        };
        assert_eq!(look("9007199254740993").records[0].id.as_deref(), Some("9007199254740993"));
        for id in ["1e3", "7.0", "true", "\"\"", &format!("\"{}\"", "x".repeat(300))] {
            assert_eq!((look(id).seen, look(id).records.len()), (Seen::Inconclusive, 0), "{id}");
        }
    }

    #[test]
    fn an_update_holds_what_was_before_only_if_it_surely_does_not_hold_what_was_sent() {
        let update = |sent: Value, shown: Value| {
            let document = json!({"sid": "s1", "attributes": [{"identifier": "a", "ial": shown}]});
            let path = "/s2s/api/v1.0/acme/accounts/sid/s1/attributes/a/ial";
            let look = seen(1, ("PATCH", path, json!({"ial": sent})), document);
            let record = &look.records[0];
            (record.fields[0].1, record.values.is_some())
        };
        assert_eq!(update(json!(2), json!(2)), (Compared::Equal, true));
        assert_eq!(update(json!(2), json!(1)), (Compared::Differs, true));
        assert_eq!(update(json!("high"), Value::Null), (Compared::NotShown, true));
        for (sent, shown) in [
            (json!(2), json!(2.0)),
            (json!(0.5), json!(0.75)),
            (json!("High"), json!("high")),
            (json!(0.5), Value::Null),
        ] {
            assert_eq!(update(sent, shown), (Compared::NotShown, false));
        }
    }

    #[test]
    fn a_feature_is_as_before_only_where_it_differs() {
        let revoke = |state: &str| {
            let document = json!({"sid": "s1", "features": [{"identifier": "chat", "state": state}]});
            let path = "/s2s/api/v1.0/acme/accounts/sid/s1/g1/features/revoke";
            let look = seen(1, ("POST", path, json!({"features": ["chat"]})), document);
            (look.records[0].fields[0].1, look.records[0].as_before)
        };
        assert_eq!(revoke("off"), (Compared::Equal, false));
        assert_eq!(revoke("on"), (Compared::Differs, true));
        assert_eq!(revoke("OFF"), (Compared::NotShown, false));
        assert_eq!(revoke("gone"), (Compared::Differs, false));
    }
}
