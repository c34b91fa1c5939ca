//! Any columns as an entry: it is read to the same end every time, stored without personal values, and its body can be
//! cut to what the plan reads. Parts: the plan's number, then the columns from `request_id` to `http_status`.

use privo_reconcile::clock::Moment;
use privo_reconcile::evidence::{Class, Facts};
use privo_reconcile::plan::template::Vars;
use privo_reconcile::plan::{NoText, Reader, Row};
use privo_reconcile::words::Direction;

use super::{parts, reader};

/// In seeds a person bears this name, wherever a person has one.
const SOMEBODY: &str = "qzxqzx";

pub fn check(data: &[u8]) {
    let mut parts = parts(data);
    let plan = parts.next().flatten().and_then(|part| part.first()).copied().unwrap_or_default();
    let mut cell = || match parts.next().flatten() {
        None => Ok(None),
        Some(bytes) => String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| NoText),
    };
    let request_id = cell().ok().flatten().unwrap_or_default();
    let row = Row {
        operation_id: cell(),
        direction: cell(),
        method: cell(),
        url: cell(),
        body: cell(),
        sent_at: cell(),
        ended_at: cell(),
        failure: cell(),
        http_status: cell(),
        ..Row::blank(7, &request_id)
    };
    reads_the_same_every_time(plan.into(), &row);
    a_cut_body_means_the_same(plan.into(), &row);
}

fn reads_the_same_every_time(plan: usize, row: &Row) {
    let (reader, now) = (reader(plan), Moment::parse("2026-03-01T12:00:00Z").unwrap());
    let read = reader.read(row, now);
    let facts = &read.facts;
    assert_eq!(*facts, reader.read(row, now).facts);
    // An entry of another environment has no effects here; what it names is read all the same, to be removed one day.
    if facts.class != Class::OtherEnvironment {
        assert_eq!(facts.effects.len(), read.probes.len());
    }
    assert!(facts.group_keys().is_sorted() && facts.group_keys().contains(&facts.identity));
    assert!(facts.class == Class::Planned || facts.effects.is_empty());
    for (effect, probe) in facts.effects.iter().zip(&read.probes) {
        assert_eq!(effect.lookup.as_ref(), probe.as_ref().map(|probe| &probe.lookup));
        assert!(probe.as_ref().is_none_or(|probe| !probe.normalised.is_empty()));
    }
    let stored = serde_json::to_string(facts).unwrap();
    assert_eq!(*facts, serde_json::from_str::<Facts>(&stored).unwrap(), "as the ledger gives it back");
    nobody_is_named(row, &stored);
    let left = reader.remainder(row, facts, &read, &std::collections::BTreeSet::new());
    // A webhook's path is the partner's own.
    if facts.direction == Direction::Outbound {
        only_the_plans_own_path_stays(&reader, &left.url);
    }
}

/// What stays of a URL after a prune is the plan's, but for the host.
fn only_the_plans_own_path_stays(reader: &Reader, url: &str) {
    let rest = url.strip_prefix("blanked:").expect("no URL of a request any more");
    let path = rest.split_once("://").map_or(rest, |(_, rest)| rest.find('/').map_or("", |slash| &rest[slash..]));
    let templates = reader.plan.operations.iter().flat_map(|operation| &operation.paths);
    let templates: Vec<String> = templates
        .flat_map(|path| [path.as_ref().shown(&Vars::new()), path.as_ref().shown(reader.plan.params())])
        .collect();
    let known = |segment: &str| templates.iter().any(|path| path.split('/').any(|own| own == segment));
    for segment in path.split('/') {
        assert!(segment.is_empty() || segment == "***" || known(segment), "{segment} stays");
    }
}

/// What is stored holds no part of the body, nor of a URL's query, but what it is masked to.
fn nobody_is_named(row: &Row, stored: &str) {
    let cell = |cell: &privo_reconcile::plan::Cell| cell.clone().ok().flatten().unwrap_or_default();
    let url = cell(&row.url);
    let rest = url.split(['?', '#']).next().unwrap_or_default();
    let elsewhere = [rest.to_owned(), cell(&row.method)];
    if !elsewhere.iter().any(|text| text.to_lowercase().contains(SOMEBODY)) {
        // Of an email the top level domain is shown; it may be called anything.
        let rest = stored.to_lowercase().replace(&format!("***.{SOMEBODY}"), "");
        assert!(!rest.contains(SOMEBODY), "{stored}");
    }
}

fn a_cut_body_means_the_same(plan: usize, row: &Row) {
    let (reader, now) = (reader(plan), Moment::parse("2026-03-01T12:00:00Z").unwrap());
    let whole = reader.read(row, now);
    let (Ok(Some(method)), Ok(Some(url)), Ok(Some(body))) = (&row.method, &row.url, &row.body) else { return };
    if !matches!(whole.facts.class, Class::Planned) {
        return;
    }
    let minimal = reader.minimal(whole.facts.direction, method, url, body);
    let cut = reader.read(&Row { body: Ok(minimal.clone()), ..row.clone() }, now);
    assert_eq!(whole.facts, cut.facts, "cut to {minimal:?}");
    assert_eq!(format!("{:?}", whole.probes), format!("{:?}", cut.probes), "cut to {minimal:?}");
}
