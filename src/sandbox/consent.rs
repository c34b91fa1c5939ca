//! The consent service's endpoints, below `/s2s/api/v1.0/{service}`.

use serde_json::{Map, Value, json};

use super::gateway::{refused, show, shown};
use super::mutation::{Mutation, attributes, date, email, features_in, fields, missing, names, text};
use super::records::{Details, Doing, Draft, Generation, Key, Kind, Records};
use super::routes::ServiceRoute;
use super::wire::{Answer, timestamp};

const CONSENT: Generation = Generation::Consent;

/// What a new principal is asked consent for.
const DEFAULT_FEATURES: [&str; 2] = ["chat", "photos"];

pub(super) fn default_features() -> Vec<super::Feature> {
    features_in(&DEFAULT_FEATURES.map(str::to_owned), "pending")
}

pub(super) fn read_request(fields: &Map<String, Value>) -> Result<Mutation, Answer> {
    let part = |name: &str| fields.get(name).and_then(Value::as_object);
    let granter = part("granter").ok_or_else(|| content_error("Granter info is required"))?;
    let principal = part("principal").ok_or_else(|| missing("principal"))?;
    let granter_email = email(granter, &["email"])?;
    let granter_sid = text(granter, &["sid"]);
    if granter_email.is_none() && granter_sid.is_none() {
        return Err(content_error("Granter info is required"));
    }
    Ok(Mutation::RequestConsent {
        granter: Box::new(granter_draft(granter_email)),
        granter_sid,
        principal: Box::new(Draft {
            details: Details {
                kind: Kind::Principal,
                email: email(principal, &["email"])?,
                eid: text(principal, &["eid"]),
                given_name: text(principal, &["given_name"]),
                birth_date: date(principal, &["birthdate"]).map_err(|_| content_error("Bad Date format"))?,
                ..Details::default()
            },
            features: default_features(),
            attributes: attributes(principal),
        }),
    })
}

/// What the consent service answers to a request whose content is wrong.
fn content_error(message: &str) -> Answer {
    Answer::message(470, message)
}

/// The features that are to be revoked: a bare array, or, as an earlier version sent them, within `features`.
pub(super) fn read_revoked(body: &[u8]) -> Result<Vec<String>, Answer> {
    let bare = serde_json::from_slice(body).map(|list: Value| json!({ "features": list }));
    let fields = match bare {
        Ok(Value::Object(fields)) if fields["features"].is_array() => fields,
        _ => fields(body)?,
    };
    names(&fields, "features").ok_or_else(|| missing("features"))
}

/// A granter, known by nothing but an email.
pub(super) fn granter_draft(email: Option<String>) -> Draft {
    Draft { details: Details { kind: Kind::Granter, email, ..Details::default() }, ..Draft::default() }
}

/// The granter with this email; made when there is none.
pub(super) fn granter_of(records: &mut Records, doing: &mut Doing, granter: &Draft) -> String {
    let email = granter.details.email.as_deref().unwrap_or_default();
    // A principal may bear the same email, and is not its own granter.
    let known = records
        .all_by_key(CONSENT, Key::Email, email, doing.at_ms)
        .find(|account| account.details.kind == Kind::Granter)
        .map(|account| account.service_id.clone());
    match known {
        Some(sid) => sid,
        None => records.insert(doing, CONSENT, granter, None),
    }
}

pub(super) fn request(
    records: &mut Records,
    doing: &mut Doing,
    granter: &Draft,
    granter_sid: Option<&str>,
    principal: &Draft,
) -> Result<Answer, Answer> {
    let granter_sid = match granter_sid {
        Some(sid) if records.by_id(CONSENT, sid, doing.at_ms).is_none() => {
            return Err(content_error("unknown granter"));
        }
        Some(sid) => sid.to_owned(),
        None => granter_of(records, doing, granter),
    };
    let eid = principal.details.eid.as_deref();
    let known = eid.and_then(|eid| records.by_key(CONSENT, Key::Eid, eid, doing.at_ms));
    if known.is_none() && eid.is_some_and(|eid| records.is_kept(CONSENT, Key::Eid, eid)) {
        return Err(refused(records, "eid exists"));
    }
    let (status, sid) = match known.map(|account| account.service_id.clone()) {
        Some(sid) => (200, sid),
        None => (201, records.insert(doing, CONSENT, principal, Some(&granter_sid))),
    };
    let identifier = records.open_consent(doing, &sid, Some(&granter_sid));
    if status == 200 && records.habits().asks_again {
        records.change(doing, &sid, "features asked for", |state| state.features = default_features());
    }
    let body = json!({
        "principal_identifiers": { "sid": sid, "eid": eid },
        "granter_identifiers": { "sid": granter_sid },
        "consent_identifier": identifier,
        "consent_url": format!("https://privo.invalid/consent/{identifier}"),
    });
    Ok(Answer::new(status, body))
}

pub(super) fn set_assurance(
    records: &mut Records,
    doing: &mut Doing,
    sid: &str,
    attribute: &str,
    ial: &str,
) -> Result<Answer, Answer> {
    let account = records.by_id(CONSENT, sid, doing.at_ms).ok_or_else(Answer::not_found)?;
    let held = &account.state_at(doing.at_ms).attributes;
    let Some(place) = held.iter().position(|held| held.identifier == attribute) else {
        return Err(Answer::message(404, "unknown attribute"));
    };
    let mut changed = held[place].clone();
    changed.ial = Some(ial.to_owned());
    let body = json!(changed);
    records.change(doing, sid, "assurance set", |state| {
        state.attributes[place] = changed;
    });
    Ok(Answer::new(200, body))
}

pub(super) fn revoke(
    records: &mut Records,
    doing: &mut Doing,
    sid: &str,
    granter_sid: &str,
    features: &[String],
) -> Result<Answer, Answer> {
    let account = records.by_id(CONSENT, sid, doing.at_ms);
    let account = account.filter(|account| account.parent.as_deref() == Some(granter_sid));
    let held = &account.ok_or_else(Answer::not_found)?.state_at(doing.at_ms).features;
    if let Some(unknown) = features.iter().find(|name| held.iter().all(|f| f.identifier != **name)) {
        return Err(content_error(&format!("unknown feature {unknown}")));
    }
    records.change(doing, sid, "features revoked", |state| {
        for feature in &mut state.features {
            if features.contains(&feature.identifier) {
                feature.state = "off".to_owned();
            }
        }
    });
    let off = features_in(features, "off");
    Ok(Answer::new(200, json!({ "sid": sid, "features": off })))
}

/// Makes a link to the verification of a consent, another one each time.
pub(super) fn open_session(records: &mut Records, doing: &mut Doing, identifier: &str) -> Result<Answer, Answer> {
    if records.consent(identifier).is_none() {
        return Err(Answer::not_found());
    }
    records.journal.applied(doing, "session opened", identifier);
    let number = doing.rng.u64(..);
    Ok(Answer::new(200, json!({ "url": format!("https://privo.invalid/verify/{number:016x}") })))
}

pub(super) fn delete_by_eid(records: &mut Records, doing: &mut Doing, eid: &str) -> Result<Answer, Answer> {
    let account = records.by_key(CONSENT, Key::Eid, eid, doing.at_ms);
    let sid = account.ok_or_else(Answer::not_found)?.service_id.clone();
    records.delete(doing, &sid);
    Ok(Answer::new(200, json!({ "sid": sid, "eid": eid, "message": "deleted" })))
}

/// Answers a read from the state of a moment; `dated` shows when records were made.
pub(super) fn answer_read(records: &Records, view_ms: i64, dated: bool, route: &ServiceRoute) -> Answer {
    let account = match route {
        ServiceRoute::AccountByEid(eid) => records.looked_up(CONSENT, Key::Eid, eid, view_ms),
        ServiceRoute::AccountBySid(sid) => records.by_id(CONSENT, sid, view_ms),
        ServiceRoute::Consent(identifier) => {
            let consent = records.consent(identifier);
            let state = consent.and_then(|consent| consent.state_at(view_ms));
            return state.map_or_else(Answer::not_found, |state| {
                let body = json!({ "consent_identifier": identifier, "state": state });
                Answer::new(200, body)
            });
        }
        _ => None,
    };
    let Some(account) = account else {
        return Answer::not_found();
    };
    let state = account.state_at(view_ms);
    let habits = records.habits();
    let (given_name, birth_date) = self::shown(habits, &account.service_id, &account.details);
    let mut shown = Map::new();
    shown.insert("sid".to_owned(), account.service_id.as_str().into());
    show(&mut shown, "eid", &account.details.eid);
    show(&mut shown, "given_name", &given_name);
    show(&mut shown, "birthdate", &birth_date);
    shown.insert("features".to_owned(), json!(state.features));
    shown.insert("attributes".to_owned(), json!(state.attributes));
    if dated {
        shown.insert("created_at".to_owned(), timestamp(account.made_ms + habits.made_ahead_ms).into());
    }
    Answer::new(200, Value::Object(shown))
}
