//! The platform gateway's endpoints: registration, lookup, profile, deletion.

use chrono::{DateTime, Datelike, NaiveDate};
use serde_json::{Map, Value, json};

use super::habits::Habits;
use super::mutation::{Mutation, attributes, date, email, features_in, fields, missing, names, text};
use super::records::{Account, Attribute, Details, Doing, Draft, Feature, Generation, Key, Kind, Records};
use super::routes::Route;
use super::wire::{Answer, Target, timestamp};

const GATEWAY: Generation = Generation::Gateway;

/// Age in years below which an account needs a parent's consent.
const ADULT_AGE: i32 = 18;

pub(super) fn read_register(fields: &Map<String, Value>) -> Result<Mutation, Answer> {
    let parent_email = email(fields, &["parent_email", "parentEmail"])?;
    let account = Box::new(read_account(fields)?);
    let details = &account.details;
    if details.email.is_none() && details.user_name.is_none() && details.given_name.is_none() {
        return Err(missing("one of email, user_name, first_name"));
    }
    Ok(Mutation::Register { account, parent_email })
}

pub(super) fn read_family(fields: &Map<String, Value>) -> Result<Mutation, Answer> {
    let parent = Box::new(read_account(fields)?);
    if parent.details.email.is_none() {
        return Err(missing("email"));
    }
    let minors = ["minor_registrations", "minorRegistrations"];
    let minors = minors.iter().find_map(|name| fields.get(*name)?.as_array());
    let mut children = Vec::new();
    for minor in minors.into_iter().flatten() {
        let minor = minor.as_object().ok_or_else(|| missing("minor_registrations[]"))?;
        children.push(read_account(minor)?);
    }
    Ok(Mutation::RegisterFamily { parent, children })
}

pub(super) fn read_shadow(fields: &Map<String, Value>) -> Mutation {
    let details = Details {
        kind: Kind::Shadow,
        role_identifier: text(fields, &["role_identifier", "roleIdentifier"]),
        ..Details::default()
    };
    Mutation::Register { account: Box::new(Draft { details, ..Draft::default() }), parent_email: None }
}

pub(super) fn read_resend(fields: &Map<String, Value>) -> Result<Mutation, Answer> {
    let requester = text(fields, &["requester_service_id", "requesterServiceId"]);
    Ok(Mutation::ResendConsent {
        requester: requester.ok_or_else(|| missing("requester_service_id"))?,
        approver: text(fields, &["approver_service_id", "approverServiceId"]),
    })
}

pub(super) fn read_resend_by_get(target: &Target) -> Result<Mutation, Answer> {
    let query = |name: &str| target.query(name).map(str::to_owned);
    Ok(Mutation::ResendConsent {
        requester: query("requesterServiceId").ok_or_else(|| missing("requesterServiceId"))?,
        approver: query("approverServiceId"),
    })
}

pub(super) fn read_set_consent(child: &str, on: bool, fields: &Map<String, Value>) -> Result<Mutation, Answer> {
    let number = |feature: &Value| feature.get("featureId")?.as_u64();
    let features = fields.get("features").and_then(Value::as_array);
    let features = features.map(|features| features.iter().filter_map(number).collect());
    Ok(Mutation::SetConsent { child: child.to_owned(), on, features })
}

/// Reads one account in either spelling.
fn read_account(fields: &Map<String, Value>) -> Result<Draft, Answer> {
    let attributes = attributes(fields);
    let display_name = text(fields, &["display_name", "displayName"]);
    let birth_date = [
        "birth_date_yyyymmdd",
        "birthDate_YYYYMMDD",
        "birthDateYYYYMMDD",
        "birthDateYyyymmdd",
        "birth_date",
        "birthDate",
    ];
    let external = ["external_user_identifier", "externalUserIdentifier"];
    let details = Details {
        kind: Kind::Adult,
        email: email(fields, &["email"])?.map(|email| email.trim().to_owned()),
        user_name: text(fields, &["user_name", "userName"]),
        display_name: display_name.or_else(|| named_display(&attributes)),
        external_user_identifier: text(fields, &external),
        phone: text(fields, &["phone"]),
        eid: None,
        given_name: text(fields, &["first_name", "firstName"]),
        birth_date: date(fields, &birth_date)?,
        role_identifier: text(fields, &["role_identifier", "roleIdentifier"]),
    };
    let features = names(fields, "features").unwrap_or_default();
    Ok(Draft { details, features: features_in(&features, "on"), attributes })
}

/// The display name among the attributes; its value is a text or a list of one.
fn named_display(attributes: &[Attribute]) -> Option<String> {
    let named = |attribute: &&Attribute| matches!(attribute.identifier.as_str(), "displayName" | "display_name");
    let value = &attributes.iter().find(named)?.value;
    let text = value.as_str().or_else(|| value.get(0)?.as_str())?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

pub(super) fn register(
    records: &mut Records,
    doing: &mut Doing,
    account: &Draft,
    parent_email: Option<&str>,
) -> Result<Answer, Answer> {
    let parent = match parent_email {
        None => None,
        Some(email) => {
            let parent = records.by_key(GATEWAY, Key::Email, email, doing.at_ms);
            let parent = parent.ok_or_else(|| Answer::message(400, "parent not found"))?;
            Some(parent.service_id.clone())
        }
    };
    if let Some(message) = records.conflict(GATEWAY, &[account]) {
        return Err(refused(records, message));
    }
    let second = parent.as_deref().is_some_and(|id| records.children_of(id, doing.at_ms).next().is_some());
    let mut account = account.clone();
    let asks = parent.is_some() || is_minor(&account.details, doing.at_ms);
    if asks {
        as_child(&mut account);
    }
    let id = records.insert(doing, GATEWAY, &account, parent.as_deref());
    let consent = asks.then(|| records.open_consent(doing, &id, parent.as_deref()));
    let answer = registered(&id, &account, consent.as_deref(), &[]);
    Ok(if second { Answer::new(records.habits().second_child, answer.body) } else { answer })
}

pub(super) fn register_family(
    records: &mut Records,
    doing: &mut Doing,
    parent: &Draft,
    children: &[Draft],
) -> Result<Answer, Answer> {
    let email = parent.details.email.as_deref().unwrap_or_default();
    let there = records.by_key(GATEWAY, Key::Email, email, doing.at_ms).map(|account| account.service_id.clone());
    if let (true, Some(parent_sid)) = (records.habits().associates_parents, there) {
        return add_children(records, doing, &parent_sid, children);
    }
    let everyone: Vec<&Draft> = std::iter::once(parent).chain(children).collect();
    if let Some(message) = records.conflict(GATEWAY, &everyone) {
        return Err(refused(records, message));
    }
    let id = records.insert(doing, GATEWAY, parent, None);
    let profiles = insert_children(records, doing, &id, children);
    let consent = records.open_consent(doing, &id, Some(&id));
    Ok(registered(&id, parent, Some(&consent), &profiles))
}

pub(super) fn add_children(
    records: &mut Records,
    doing: &mut Doing,
    parent_sid: &str,
    children: &[Draft],
) -> Result<Answer, Answer> {
    if records.by_id(GATEWAY, parent_sid, doing.at_ms).is_none() {
        return Err(Answer::message(400, "parent not found"));
    }
    let drafts: Vec<&Draft> = children.iter().collect();
    if let Some(message) = records.conflict(GATEWAY, &drafts) {
        return Err(refused(records, message));
    }
    let profiles = insert_children(records, doing, parent_sid, children);
    Ok(Answer::new(201, json!({ "to": { "connected_profiles": profiles } })))
}

/// A key of it is taken.
pub(super) fn refused(records: &Records, message: &str) -> Answer {
    let habits = records.habits();
    let of_a_name = message.starts_with("user_name") || message.starts_with("display_name");
    let status = if of_a_name { habits.refuses_names_with } else { None };
    Answer::message(status.unwrap_or(habits.refuses_with), message)
}

fn insert_children(records: &mut Records, doing: &mut Doing, parent_sid: &str, children: &[Draft]) -> Vec<Value> {
    let mut profiles = Vec::with_capacity(children.len());
    for child in children {
        let mut child = child.clone();
        as_child(&mut child);
        let id = records.insert(doing, GATEWAY, &child, Some(parent_sid));
        let shown = shown(records.habits(), &id, &child.details);
        profiles.push(profile(&id, &child.details, shown));
    }
    profiles
}

/// A child's features wait for the parent's consent.
fn as_child(draft: &mut Draft) {
    draft.details.kind = Kind::Child;
    for feature in &mut draft.features {
        feature.state = "pending".to_owned();
    }
}

fn is_minor(details: &Details, at_ms: i64) -> bool {
    let role = details.role_identifier.as_deref().unwrap_or_default().to_lowercase();
    if ["minor", "child", "teen"].iter().any(|word| role.contains(word)) {
        return true;
    }
    let birth = details.birth_date.as_deref();
    let birth = birth.and_then(|text| NaiveDate::parse_from_str(text, "%Y%m%d").ok());
    let today = DateTime::from_timestamp_millis(at_ms).map(|moment| moment.date_naive());
    match (birth, today) {
        (Some(birth), Some(today)) => {
            let birthday_to_come = (today.month(), today.day()) < (birth.month(), birth.day());
            today.year() - birth.year() - i32::from(birthday_to_come) < ADULT_AGE
        }
        _ => false,
    }
}

fn registered(id: &str, draft: &Draft, consent: Option<&str>, profiles: &[Value]) -> Answer {
    let consent_meta = consent.map(|identifier| {
        let consent_url = format!("https://privo.invalid/consent/{identifier}");
        json!({ "consent_identifier": identifier, "consent_url": consent_url })
    });
    let to = json!({
        "service_id": id,
        "features": permissions(&draft.features),
        "update_password_link": format!("https://privo.invalid/password/{id}"),
        "consent_meta": consent_meta,
        "connected_profiles": profiles,
    });
    Answer::new(201, json!({ "to": to }))
}

fn permissions(features: &[Feature]) -> Vec<Value> {
    let permission = |feature: &Feature| {
        let on = feature.state == "on";
        json!({ "feature_identifier": feature.identifier, "on": on, "active": on })
    };
    features.iter().map(permission).collect()
}

fn profile(id: &str, details: &Details, (given_name, birth_date): (Option<String>, Option<String>)) -> Value {
    let mut profile = Map::new();
    profile.insert("service_id".to_owned(), id.into());
    show(&mut profile, "first_name", &given_name);
    show(&mut profile, "email", &details.email);
    show(&mut profile, "birth_date_yyyymmdd", &birth_date);
    Value::Object(profile)
}

/// Name and date of birth as the records show them.
pub(super) fn shown(habits: &Habits, id: &str, details: &Details) -> (Option<String>, Option<String>) {
    habits.shown(id, details.given_name.as_deref(), details.birth_date.as_deref())
}

pub(super) fn show(fields: &mut Map<String, Value>, name: &str, value: &Option<String>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.as_str().into());
    }
}

pub(super) fn resend(
    records: &mut Records,
    doing: &mut Doing,
    requester: &str,
    approver: Option<&str>,
) -> Result<Answer, Answer> {
    for id in [Some(requester), approver].into_iter().flatten() {
        if records.by_id(GATEWAY, id, doing.at_ms).is_none() {
            return Err(Answer::not_found());
        }
    }
    records.journal.mail(doing, requester);
    Ok(Answer::message(200, "consent mail sent"))
}

/// Turns features of a child on or off, by their numbers: the place in its list, which userinfo does not show.
pub(super) fn set_consent(
    records: &mut Records,
    doing: &mut Doing,
    child: &str,
    on: bool,
    features: Option<&[u64]>,
) -> Result<Answer, Answer> {
    if records.by_id(GATEWAY, child, doing.at_ms).is_none() {
        return Err(Answer::not_found());
    }
    let what = if on { "consent granted" } else { "consent revoked" };
    records.change(doing, child, what, |state| {
        for (number, feature) in (1..).zip(&mut state.features) {
            if features.is_none_or(|features| features.contains(&number)) {
                feature.state = if on { "on" } else { "off" }.to_owned();
            }
        }
    });
    Ok(Answer::new(200, Value::Null))
}

pub(super) fn delete(records: &mut Records, doing: &mut Doing, service_id: &str) -> Result<Answer, Answer> {
    let known = records.by_id(GATEWAY, service_id, doing.at_ms).is_some();
    if known && records.delete(doing, service_id) {
        return Ok(Answer::new(200, json!({ "service_id": service_id, "message": "deleted" })));
    }
    Err(Answer::not_found())
}

pub(super) fn delete_by_email(records: &mut Records, doing: &mut Doing, email: &str) -> Result<Answer, Answer> {
    let account = records.by_key(GATEWAY, Key::Email, email, doing.at_ms);
    let service_id = account.ok_or_else(Answer::not_found)?.service_id.clone();
    delete(records, doing, &service_id)
}

/// Answers a read from the state of a moment; `dated` shows when records were made.
pub(super) fn answer_read(
    records: &Records,
    view_ms: i64,
    dated: bool,
    route: &Route,
    target: &Target,
    body: &[u8],
) -> Answer {
    match route {
        Route::Lookup => lookup(records, view_ms, target),
        Route::CheckEmail => check(records, view_ms, Key::Email, &["email"], body),
        Route::CheckDisplayName => {
            let spellings = ["display_name", "displayName"];
            check(records, view_ms, Key::DisplayName, &spellings, body)
        }
        Route::UserInfo => userinfo(records, view_ms, dated, target),
        Route::Verification(request) => verification(records, view_ms, request),
        _ => Answer::not_found(),
    }
}

fn lookup(records: &Records, view_ms: i64, target: &Target) -> Answer {
    let keys = [
        ("email", Key::Email),
        ("user_name", Key::UserName),
        ("display_name", Key::DisplayName),
        ("phone", Key::Phone),
        ("external_user_identifier", Key::ExternalUserIdentifier),
    ];
    let mut asked = keys.iter().filter_map(|(name, key)| Some((key, target.query(name)?)));
    let (Some((key, text)), None) = (asked.next(), asked.next()) else {
        return Answer::message(400, "exactly one search parameter is required");
    };
    match records.looked_up(GATEWAY, *key, text, view_ms) {
        Some(account) => Answer::new(200, json!({ "sid": account.service_id })),
        None => Answer::not_found(),
    }
}

fn check(records: &Records, view_ms: i64, key: Key, spellings: &[&str], body: &[u8]) -> Answer {
    let asked = match fields(body) {
        Ok(fields) => text(&fields, spellings),
        Err(answer) => return answer,
    };
    let Some(asked) = asked else {
        return missing(spellings[0]);
    };
    let available = records.by_key(GATEWAY, key, &asked, view_ms).is_none();
    let suggestions = if available || key == Key::Email {
        Vec::new()
    } else {
        let free = |name: &String| records.by_key(GATEWAY, key, name, view_ms).is_none();
        let numbered = (1..10).map(|number| format!("{asked}{number}"));
        numbered.filter(free).take(3).collect()
    };
    Answer::new(200, json!({ "available": available, "suggestions": suggestions, "profanity": false }))
}

fn userinfo(records: &Records, view_ms: i64, dated: bool, target: &Target) -> Answer {
    let Some(id) = target.query("service_id") else {
        return missing("service_id");
    };
    let Some(account) = records.by_id(GATEWAY, id, view_ms) else {
        return Answer::not_found();
    };
    let mut shown = Map::new();
    shown.insert("sub".to_owned(), id.into());
    let details = &account.details;
    show(&mut shown, "email", &details.email);
    show(&mut shown, "preferred_username", &details.user_name);
    show(&mut shown, "display_name", &details.display_name);
    let habits = records.habits();
    let (given_name, birth_date) = self::shown(habits, id, details);
    show(&mut shown, "given_name", &given_name);
    show(&mut shown, "birthdate", &birth_date);
    show(&mut shown, "role_identifier", &details.role_identifier);
    show(&mut shown, "external_user_identifier", &details.external_user_identifier);
    let parent = account.parent.as_deref();
    let parent = parent.and_then(|id| records.by_id(GATEWAY, id, view_ms));
    if let Some(parent) = parent {
        show(&mut shown, "parent_email", &parent.details.email);
    }
    let granted = permissions(&account.state_at(view_ms).features);
    shown.insert("permissions".to_owned(), granted.into());
    let children = records.children_of(id, view_ms);
    let profiles: Vec<Value> = children.map(|child| dated_profile(habits, child, dated)).collect();
    shown.insert("connected_profiles".to_owned(), profiles.into());
    if dated {
        shown.insert("created_at".to_owned(), timestamp(account.made_ms + habits.made_ahead_ms).into());
    }
    Answer::new(200, Value::Object(shown))
}

/// In the hub's envelope: one entity per attempt.
fn verification(records: &Records, view_ms: i64, request: &str) -> Answer {
    let Some(attempts) = records.verifications.get(request) else {
        return Answer::not_found();
    };
    let shown = attempts.iter().filter(|attempt| attempt.at_ms <= view_ms);
    let entity: Vec<Value> = shown
        .map(|attempt| {
            json!({ "method": "credit-card", "outcome": attempt.outcome, "requestDate": attempt.at_ms,
                    "attemptId": attempt.attempt_id })
        })
        .collect();
    let body = json!({
        "validationErrors": [], "status": "success", "message": "", "resultCount": -1, "totalCount": -1,
        "entity": entity, "responseTimestamp": view_ms,
    });
    Answer::new(200, body)
}

fn dated_profile(habits: &Habits, account: &Account, dated: bool) -> Value {
    let shown = shown(habits, &account.service_id, &account.details);
    let mut profile = profile(&account.service_id, &account.details, shown);
    if dated {
        profile["created_at"] = timestamp(account.made_ms + habits.made_ahead_ms).into();
    }
    profile
}
