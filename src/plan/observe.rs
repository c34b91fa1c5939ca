//! From what was found to what one effect's look saw.
//!
//! Comparing happens here, where the raw values are; only the results go on.

use serde_json::Value;

use super::file::{Lookup, RecordShape, StatePart};
use super::parts::{Form, moment, scalar};
use super::read::{Probe, Reader};
use super::search::{Found, id_at};
use crate::clock::Moment;
use crate::evidence::{Kind, Look, Record};
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
    /// It is inconclusive for want of an answer (no connection, timeout, 5xx): asking again may help.
    pub failed: bool,
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

/// What the sightings of a key's spellings say of one effect. `controls` are the known and the random control's.
pub fn look(
    reader: &Reader,
    effect: usize,
    kind: Kind,
    probe: &Probe,
    sightings: &[(&str, &Sighting)],
    controls: (Control, Control),
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
        seen: Seen::Inconclusive,
        cause: None,
        records: Vec::new(),
        state: None,
        known: controls.0,
        random: controls.1,
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
        (None, None) => look.seen = Seen::Absent,
    }
    look
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
    let shape = &lookup.record;
    match (kind, &shape.list) {
        (Kind::Member, Some(list)) => match members(shape, list.first(document), probe) {
            Ok(records) => {
                look.seen = match records.len() {
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
            if kind == Kind::Update {
                write_compared(reader, document, probe, &mut record);
            }
            look.seen = Seen::Present;
            look.records = vec![record];
            look.state = (kind == Kind::Inbound).then(|| state(shape, document));
        }
    }
}

/// The records of an owner's list that may be the entry's: none of the fields that both sides show differs.
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
    records.retain(|record| !record.differs());
    Ok(records)
}

fn record_id(shape: &RecordShape, record: &Value) -> Result<Option<String>, String> {
    let Some(path) = &shape.id else { return Ok(None) };
    id_at(path, record).map_err(|what| format!("a record with {what}"))
}

fn compared(shape: &RecordShape, document: &Value, probe: &Probe, own: bool) -> Record {
    let field = |name: &String, sent: &Option<String>| {
        let shown = shape.fields.get(name).and_then(|field| field.form.of(field.path.first(document)?));
        (name.clone(), compare(sent.as_deref(), shown.as_deref()))
    };
    Record {
        id: None,
        made: shape.made.as_ref().and_then(|path| moment(path.first(document)?)),
        changed: shape.changed.as_ref().and_then(|path| moment(path.first(document)?)),
        own,
        fields: probe.compare.iter().map(|(name, sent)| field(name, sent)).collect(),
        as_before: false,
        values: None,
        is_key: false,
    }
}

fn compare(sent: Option<&str>, shown: Option<&str>) -> Compared {
    match (sent, shown) {
        (Some(sent), Some(shown)) if sent == shown => Compared::Equal,
        (Some(_), Some(_)) => Compared::Differs,
        _ => Compared::NotShown,
    }
}

/// The fields that an update writes, against what the record shows.
fn write_compared(reader: &Reader, document: &Value, probe: &Probe, record: &mut Record) {
    let shown: Vec<Option<String>> =
        probe.sets.iter().map(|set| form_of(set.form, set.record.first(document))).collect();
    let pairs = || probe.sets.iter().zip(&shown);
    record.fields =
        pairs().map(|(set, shown)| (set.field.clone(), compare(set.sent.as_deref(), shown.as_deref()))).collect();
    let mut differing = pairs().filter(|(set, shown)| set.sent != **shown).peekable();
    record.as_before = differing.peek().is_some()
        && differing.all(|(set, shown)| shown.as_ref().is_some_and(|value| set.before.contains(value)));
    let names_and_values: Vec<String> = pairs().map(|(set, shown)| format!("{}={shown:?}", set.field)).collect();
    record.values = Some(reader.values(&format!("{} {}", probe.normalised, names_and_values.join("\0"))));
}

fn form_of(form: Form, value: Option<&Value>) -> Option<String> {
    form.of(value?)
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
