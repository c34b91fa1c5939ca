//! What a request asks to change: read from the request once, applied to the
//! records now, later or twice.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::records::{Attribute, Doing, Draft, Feature, Records};
use super::routes::{Route, ServiceRoute};
use super::wire::{Answer, Target};
use super::{consent, gateway};

/// A change that was asked for. Whether it is possible shows when it is applied.
#[derive(Clone, Debug)]
pub(super) enum Mutation {
    Register {
        account: Box<Draft>,
        parent_email: Option<String>,
    },
    RegisterFamily {
        parent: Box<Draft>,
        children: Vec<Draft>,
    },
    /// What is left of a family that was registered in part.
    AddChildren {
        parent_sid: String,
        children: Vec<Draft>,
    },
    ResendConsent {
        requester: String,
        approver: Option<String>,
    },
    DeleteAccount {
        service_id: String,
    },
    DeleteByEmail {
        email: String,
    },
    RequestConsent {
        granter: Box<Draft>,
        granter_sid: Option<String>,
        principal: Box<Draft>,
    },
    SetAssurance {
        sid: String,
        attribute: String,
        ial: String,
    },
    RevokeFeatures {
        sid: String,
        granter_sid: String,
        features: Vec<String>,
    },
    DeleteByEid {
        eid: String,
    },
    /// Features by their numbers, the first is 1; all of them when there are none.
    SetConsent {
        child: String,
        on: bool,
        features: Option<Vec<u64>>,
    },
    OpenSession {
        consent: String,
    },
}

impl Mutation {
    /// Reads what is asked for; the error is the server's answer to a content error.
    pub fn read(route: &Route, target: &Target, body: &[u8]) -> Result<Mutation, Answer> {
        match route {
            Route::Register => gateway::read_register(&fields(body)?),
            Route::RegisterFamily => gateway::read_family(&fields(body)?),
            Route::RegisterShadow => Ok(gateway::read_shadow(&fields(body)?)),
            Route::ResendConsent => gateway::read_resend(&fields(body)?),
            Route::ResendByGet => gateway::read_resend_by_get(target),
            Route::SetConsent(child, on) => gateway::read_set_consent(child, *on, &fields(body)?),
            Route::DeleteAccount(in_path) => {
                let service_id = in_path.as_deref().or_else(|| target.query("service_id"));
                if let (None, Some(email)) = (service_id, target.query("email")) {
                    return Ok(Mutation::DeleteByEmail { email: email.to_owned() });
                }
                let service_id = service_id.ok_or_else(|| missing("service_id"))?.to_owned();
                Ok(Mutation::DeleteAccount { service_id })
            }
            Route::Service(_, route) => Mutation::read_service(route, body),
            Route::Token
            | Route::Lookup
            | Route::CheckEmail
            | Route::CheckDisplayName
            | Route::UserInfo
            | Route::Verification(_) => Err(Answer::not_found()),
        }
    }

    fn read_service(route: &ServiceRoute, body: &[u8]) -> Result<Mutation, Answer> {
        match route {
            ServiceRoute::RequestConsent => consent::read_request(&fields(body)?),
            ServiceRoute::SetAssurance { sid, attribute } => Ok(Mutation::SetAssurance {
                sid: sid.clone(),
                attribute: attribute.clone(),
                ial: text(&fields(body)?, &["ial"]).ok_or_else(|| missing("ial"))?,
            }),
            ServiceRoute::RevokeFeatures { sid, granter_sid } => Ok(Mutation::RevokeFeatures {
                sid: sid.clone(),
                granter_sid: granter_sid.clone(),
                features: consent::read_revoked(body)?,
            }),
            ServiceRoute::OpenSession(consent) => Ok(Mutation::OpenSession { consent: consent.clone() }),
            ServiceRoute::DeleteByEid(eid) => Ok(Mutation::DeleteByEid { eid: eid.clone() }),
            ServiceRoute::AccountByEid(_) | ServiceRoute::AccountBySid(_) | ServiceRoute::Consent(_) => {
                Err(Answer::not_found())
            }
        }
    }

    /// Its name in the truth.
    pub fn name(&self) -> &'static str {
        match self {
            Mutation::Register { .. } => "register",
            Mutation::RegisterFamily { .. } => "register family",
            Mutation::AddChildren { .. } => "add children",
            Mutation::ResendConsent { .. } => "resend consent",
            Mutation::DeleteAccount { .. } | Mutation::DeleteByEmail { .. } => "delete account",
            Mutation::RequestConsent { .. } => "request consent",
            Mutation::SetAssurance { .. } => "set assurance",
            Mutation::RevokeFeatures { .. } => "revoke features",
            Mutation::DeleteByEid { .. } => "delete by eid",
            Mutation::SetConsent { .. } => "set consent",
            Mutation::OpenSession { .. } => "open session",
        }
    }

    /// Applies it whole or not at all; a refusal is noted and is the error.
    pub fn apply(&self, records: &mut Records, doing: &mut Doing) -> Result<Answer, Answer> {
        let outcome = match self {
            Mutation::Register { account, parent_email } => {
                gateway::register(records, doing, account, parent_email.as_deref())
            }
            Mutation::RegisterFamily { parent, children } => gateway::register_family(records, doing, parent, children),
            Mutation::AddChildren { parent_sid, children } => {
                gateway::add_children(records, doing, parent_sid, children)
            }
            Mutation::ResendConsent { requester, approver } => {
                gateway::resend(records, doing, requester, approver.as_deref())
            }
            Mutation::DeleteAccount { service_id } => gateway::delete(records, doing, service_id),
            Mutation::DeleteByEmail { email } => gateway::delete_by_email(records, doing, email),
            Mutation::RequestConsent { granter, granter_sid, principal } => {
                consent::request(records, doing, granter, granter_sid.as_deref(), principal)
            }
            Mutation::SetAssurance { sid, attribute, ial } => {
                consent::set_assurance(records, doing, sid, attribute, ial)
            }
            Mutation::RevokeFeatures { sid, granter_sid, features } => {
                consent::revoke(records, doing, sid, granter_sid, features)
            }
            Mutation::DeleteByEid { eid } => consent::delete_by_eid(records, doing, eid),
            Mutation::SetConsent { child, on, features } => {
                gateway::set_consent(records, doing, child, *on, features.as_deref())
            }
            Mutation::OpenSession { consent } => consent::open_session(records, doing, consent),
        };
        if let Err(refusal) = &outcome {
            let why = refusal.body["message"].as_str().unwrap_or_default();
            records.journal.blocked(doing, self.name(), why);
        }
        outcome
    }
}

/// The JSON object of a body; no body is an empty object.
pub(super) fn fields(body: &[u8]) -> Result<Map<String, Value>, Answer> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(Answer::message(400, "Malformed JSON request")),
    }
}

/// The first of these spellings that holds a text with anything in it, or a number.
pub(super) fn text(fields: &Map<String, Value>, spellings: &[&str]) -> Option<String> {
    let texts = spellings.iter().filter_map(|name| match fields.get(*name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    let mut texts = texts.filter(|text| !text.trim().is_empty());
    texts.next()
}

/// A date as `yyyyMMdd`, by the first of these spellings that is there.
pub(super) fn date(fields: &Map<String, Value>, spellings: &[&str]) -> Result<Option<String>, Answer> {
    let found = spellings.iter().find_map(|name| fields.get(*name));
    let bad = || Answer::message(400, "Bad Date format");
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
            let real = digits && NaiveDate::parse_from_str(text, "%Y%m%d").is_ok();
            if real { Ok(Some(text.clone())) } else { Err(bad()) }
        }
        Some(_) => Err(bad()),
    }
}

/// An email; one without an `@` is a content error.
pub(super) fn email(fields: &Map<String, Value>, spellings: &[&str]) -> Result<Option<String>, Answer> {
    match text(fields, spellings) {
        Some(email) if !email.contains('@') => Err(Answer::message(400, "Bad Email format")),
        found => Ok(found),
    }
}

/// A list of names, each a string or an object that bears its identifier.
pub(super) fn names(fields: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let list = fields.get(name)?.as_array()?;
    let named = |item: &Value| match item {
        Value::String(name) => Some(name.clone()),
        Value::Object(fields) => text(fields, &["feature_identifier", "featureIdentifier", "identifier", "name"]),
        _ => None,
    };
    Some(list.iter().filter_map(named).collect())
}

/// Features by their names, all in one state.
pub(super) fn features_in(names: &[String], state: &str) -> Vec<Feature> {
    let feature = |name: &String| Feature { identifier: name.clone(), state: state.to_owned() };
    names.iter().map(feature).collect()
}

/// The list `attributes`, whose entries are named in one of four ways.
pub(super) fn attributes(fields: &Map<String, Value>) -> Vec<Attribute> {
    let list = fields.get("attributes").and_then(Value::as_array);
    let read = |item: &Value| {
        let fields = item.as_object()?;
        Some(Attribute {
            identifier: text(fields, &["name", "attributeName", "attribute_identifier", "identifier"])?,
            value: fields.get("value").cloned().unwrap_or(Value::Null),
            ial: text(fields, &["ial"]),
        })
    };
    list.into_iter().flatten().filter_map(read).collect()
}

pub(super) fn missing(name: &str) -> Answer {
    Answer::message(400, &format!("{name} is required"))
}
