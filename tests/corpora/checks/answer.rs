//! Any bytes as a server's answers: a lookup says absent or present for the documented answer only, and what is made of
//! it can be stored. Parts: one byte that chooses the lookup, the key, then per answer its status, content type, date and body.

use privo_reconcile::clock::Moment;
use privo_reconcile::evidence::{Kind, Look};
use privo_reconcile::plan::observe::{self, Sighting};
use privo_reconcile::plan::search::{Answer, Found, Search};
use privo_reconcile::plan::{Lookup, Plan, Probe, Row, text_cell};
use privo_reconcile::words::{Control, Seen};
use serde_json::Value;
use url::Url;

use super::{parts, reader, shipped};

/// Requests that have an effect of each kind under every lookup: plan, method, path, body.
const REQUESTS: &[(usize, &str, &str, &str)] = &[
    (0, "POST", "/api/account", r#"{"email":"ann@x.example","first_name":"Ann","birth_date":"2015-03-14"}"#),
    (0, "POST", "/api/account", r#"{"user_name":"ann","first_name":"Ann"}"#),
    (0, "POST", "/api/account", r#"{"display_name":"ann"}"#),
    (0, "POST", "/api/account", r#"{"external_user_identifier":"e-1"}"#),
    (0, "POST", "/api/account/parent", r#"{"email":"p@x.example","minor_registrations":[{"first_name":"Bo"},{}]}"#),
    (0, "DELETE", "/api/v1.0/account/s-1", ""),
    (1, "POST", "/s2s/api/v1.0/acme/requests", r#"{"principal":{"eid":"e-1","given_name":"Ann"}}"#),
    (1, "PATCH", "/s2s/api/v1.0/acme/accounts/sid/s-1/attributes/email/ial", r#"{"ial":2}"#),
    (1, "POST", "/s2s/api/v1.0/acme/accounts/sid/s-1/s-2/features/revoke", r#"{"features":["a"]}"#),
    (1, "DELETE", "/s2s/api/v1.0/acme/accounts/eid/e-1", ""),
    (1, "", "", r#"{"id":"ev-1","sid":"s-1","consent_identifiers":["c-1"]}"#),
    (2, "POST", "/prefix/owners/mum/pets", r#"{"name":"Rex"}"#),
    (2, "POST", "/prefix/users", r#"{"name":"ann"}"#),
    (2, "PUT", "/prefix/users/ann", r#"{"city":"Rome"}"#),
];

pub fn check(data: &[u8]) {
    let mut parts = parts(data);
    let chosen: usize = parts.next().flatten().and_then(|part| part.first()).copied().unwrap_or_default().into();
    let lookups: Vec<(usize, &Plan, &String, &Lookup)> = shipped()
        .iter()
        .enumerate()
        .flat_map(|(number, (plan, _))| plan.lookups.iter().map(move |(name, lookup)| (number, plan, name, lookup)))
        .collect();
    let (number, plan, name, lookup) = lookups[chosen % lookups.len()];
    let key = String::from_utf8_lossy(parts.next().flatten().unwrap_or_default());
    let base = Url::parse("https://privo.example").unwrap();
    let mut search = Search::start(lookup, plan.params(), &key, &base);
    let mut found = None;
    // Each page of a list is one answer more.
    let pages = lookup.pages.as_ref().map_or(0, |pages| pages.most);
    for number in 0..lookup.steps.len() + pages {
        let step = &lookup.steps[number.min(lookup.steps.len() - 1)];
        match search.request() {
            Ok(request) => asks_where_it_says(&request.path_and_query),
            Err(cause) => {
                found = Some(Found::Inconclusive(cause.to_owned()));
                break;
            }
        }
        let answer = answer(&mut parts);
        found = search.take(&answer);
        let absent: Vec<u16> = step.absent.iter().map(|shape| shape.status).collect();
        documented(step.present.status, &absent, &answer, found.as_ref(), pages > 0);
        if found.is_some() {
            break;
        }
    }
    let found = found.expect("the last step says what was found");
    for (probe, kind) in probes(number, name) {
        look(number, &probe, kind, &found);
    }
}

/// The address that is asked is the one that the plan and the key say: a URL does not change it.
fn asks_where_it_says(path_and_query: &str) {
    let url = Url::parse(&format!("https://privo.example{path_and_query}")).unwrap();
    let asked = &url[url::Position::BeforePath..];
    assert_eq!(asked, path_and_query);
}

fn answer<'a>(parts: &mut impl Iterator<Item = Option<&'a [u8]>>) -> Answer {
    let mut text = || parts.next().flatten();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        status: text().and_then(|status| lossy(status).parse().ok()).unwrap_or(200),
        content_type: text().map(lossy),
        date: text().and_then(|date| Moment::parse_http_date(&lossy(date), Moment(0))),
        body: text().unwrap_or_default().to_vec(),
        links: String::new(),
    }
}

/// What the answer says, by rules of our own that are simpler and never stricter.
fn documented(present: u16, absent: &[u16], answer: &Answer, found: Option<&Found>, in_pages: bool) {
    let json = answer.content_type.as_ref().is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    let document = serde_json::from_slice::<Value>(body).ok();
    match found {
        Some(Found::Absent) => {
            assert!(absent.contains(&answer.status) && json);
            assert!(
                body.is_empty()
                    || document.is_some_and(|found| found.is_object() || found.is_array() || found.is_null())
            );
        }
        Some(Found::Record { id, document: shown }) => {
            assert!(
                present == answer.status
                    && json
                    && (shown.is_object() || shown.is_array())
                    && (in_pages || document.as_ref() == Some(shown))
            );
            assert!(id.as_ref().is_none_or(|id| !id.trim().is_empty() && id.len() <= 256));
        }
        None => assert!(
            present == answer.status && json && document.is_some_and(|found| found.is_object() || found.is_array())
        ),
        // Of a body nothing is told: causes go into logs and reports.
        Some(Found::Inconclusive(cause)) => {
            let plain = cause.len() < 100
                && cause.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" :,()[]`".contains(&byte));
            assert!(plain, "{cause}");
        }
    }
}

/// What the requests above look up by this lookup.
fn probes(plan: usize, lookup: &str) -> Vec<(Probe, Kind)> {
    let reader = reader(plan);
    let mut probes = Vec::new();
    for (_, method, path, body) in REQUESTS.iter().filter(|(of, ..)| *of == plan) {
        let row = Row {
            direction: text_cell(if path.is_empty() { "inbound" } else { "outbound" }),
            method: text_cell(if path.is_empty() { "POST" } else { method }),
            url: text_cell(&format!("https://privo.example{path}")),
            body: text_cell(body),
            sent_at: text_cell("2026-03-01T12:00:00Z"),
            failure: text_cell("timeout"),
            ..Row::blank(1, "r")
        };
        let read = reader.read(&row, Moment(1_800_000_000_000));
        let kinds = read.facts.effects.iter().map(|effect| effect.kind);
        probes.extend(read.probes.into_iter().zip(kinds).filter_map(|(probe, kind)| Some((probe?, kind))));
    }
    probes.retain(|(probe, _)| probe.lookup == lookup);
    probes
}

fn look(plan: usize, probe: &Probe, kind: Kind, found: &Found) {
    let shown = |found: Found| {
        let at = Moment(1_800_000_000_000);
        let sighting = Sighting {
            found,
            asked: at,
            answered: at,
            server: None,
            failed: false,
            refused: false,
            shut_out: false,
            skew: None,
        };
        let spelling = probe.raw.trim().to_owned();
        let sightings = [(spelling.as_str(), &sighting)];
        observe::look(
            &reader(plan),
            0,
            kind,
            probe,
            &sightings,
            [Control::Held, Control::Held, Control::Missing, Control::Missing],
        )
    };
    let look = shown(found.clone());
    let stored = serde_json::to_string(&look).unwrap();
    assert_eq!(look, serde_json::from_str::<Look>(&stored).unwrap(), "as the ledger gives it back");
    match (look.seen, found) {
        (Seen::Absent, Found::Absent) => {}
        // A parent that is there and has no such child.
        (Seen::Absent, Found::Record { .. }) => assert!(kind == Kind::Member),
        (Seen::Present | Seen::Several, Found::Record { .. }) => assert!(!look.records.is_empty()),
        // A list that is none, or an id that has no exact digits.
        (Seen::Inconclusive, Found::Record { .. }) => assert!(look.cause.is_some()),
        (Seen::Inconclusive, Found::Inconclusive(_)) => assert!(look.cause.is_some()),
        (seen, _) => panic!("{seen} of {found:?}"),
    }
    assert_eq!(look.seen == Seen::Several, look.records.len() > 1);
    if let Found::Record { id, document } = found
        && let Some(Value::Array(children)) = document.get("connected_profiles")
    {
        let mut turned = document.clone();
        turned["connected_profiles"] = children.iter().rev().cloned().collect();
        let turned = shown(Found::Record { id: id.clone(), document: turned });
        assert_eq!(look, turned, "the order of a list means nothing");
    }
}
