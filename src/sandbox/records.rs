//! The records of the platform: accounts and consents with their history, so
//! that a read can see them as they were at any moment.

use std::collections::{HashMap, HashSet};

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::habits::{Habits, Search};
use super::truth::Journal;

/// Which generation of the API a record belongs to; they do not see each other's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// The platform gateway.
    #[default]
    Gateway,
    /// The consent service.
    Consent,
}

/// What an account is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Registered by itself, or as the parent of a family.
    #[default]
    Adult,
    /// Under a parent, or a minor without one.
    Child,
    /// Without credentials or personal data.
    Shadow,
    /// Consent service: the user a consent is asked for.
    Principal,
    /// Consent service: who is asked for consent.
    Granter,
}

/// What brought a record about or changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// While the request was being served.
    AtOnce,
    /// By the server, some time after the request had failed.
    Late,
    /// By an engineer, after the request had failed.
    Repaired,
    /// The second application of one request.
    Twice,
    /// Put in or taken out by a test.
    ByHand,
}

/// A feature of an account. `state` is `on`, `off` or `pending`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub identifier: String,
    pub state: String,
}

/// An attribute of an account with its assurance level, where one was set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    pub identifier: String,
    pub value: Value,
    /// A number on the wire, as PRIVO has it.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "as_number")]
    pub ial: Option<String>,
}

fn as_number<S: serde::Serializer>(ial: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match ial.as_deref().map(str::parse::<u64>) {
        Some(Ok(number)) => serializer.serialize_u64(number),
        _ => ial.serialize(serializer),
    }
}

/// What never changes about an account. Spelled as sent; keys are compared normalised.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Details {
    pub kind: Kind,
    pub email: Option<String>,
    pub user_name: Option<String>,
    pub display_name: Option<String>,
    pub external_user_identifier: Option<String>,
    pub phone: Option<String>,
    pub eid: Option<String>,
    pub given_name: Option<String>,
    /// `yyyyMMdd`, as sent.
    pub birth_date: Option<String>,
    pub role_identifier: Option<String>,
}

/// What may change about an account, from a moment on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct State {
    /// Milliseconds since the epoch.
    pub since_ms: i64,
    pub features: Vec<Feature>,
    pub attributes: Vec<Attribute>,
}

/// An account that is yet to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub details: Details,
    pub features: Vec<Feature>,
    pub attributes: Vec<Attribute>,
}

/// An account, alive or deleted.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// The gateway's `service_id`, the consent service's `sid`.
    pub service_id: String,
    pub generation: Generation,
    #[serde(flatten)]
    pub details: Details,
    /// The `service_id` of the parent or granter.
    pub parent: Option<String>,
    /// Milliseconds since the epoch.
    pub made_ms: i64,
    pub deleted_ms: Option<i64>,
    /// The request that made it, see [`super::CAUSE_HEADER`].
    pub cause: String,
    pub way: Way,
    /// In order of time; the last one is in force.
    pub states: Vec<State>,
}

impl Account {
    /// Whether it existed at this moment.
    pub fn exists_at(&self, ms: i64) -> bool {
        self.made_ms <= ms && self.deleted_ms.is_none_or(|deleted| ms < deleted)
    }

    /// The state that was in force at this moment.
    pub fn state_at(&self, ms: i64) -> &State {
        let past = self.states.iter().rev().find(|state| state.since_ms <= ms);
        past.unwrap_or(&self.states[0])
    }

    fn state(&self) -> &State {
        &self.states[self.states.len() - 1]
    }
}

/// A consent request and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Consent {
    pub consent_identifier: String,
    /// The account that the consent is about.
    pub sid: String,
    pub granter_sid: Option<String>,
    /// Milliseconds since the epoch.
    pub made_ms: i64,
    pub cause: String,
    /// `(since_ms, state)` in order of time; the first is `pending`.
    pub states: Vec<(i64, String)>,
}

impl Consent {
    /// The state at this moment; `None` before the consent was asked for.
    pub fn state_at(&self, ms: i64) -> Option<&str> {
        let past = self.states.iter().rev().find(|(since, _)| *since <= ms);
        past.map(|(_, state)| state.as_str())
    }
}

/// A field by which accounts are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Email,
    UserName,
    DisplayName,
    ExternalUserIdentifier,
    Phone,
    Eid,
}

/// Every key, and the message with which a repeat is refused (none: it is not unique).
const KEYS: [(Key, Option<&str>); 6] = [
    (Key::Email, Some("email exists")),
    (Key::UserName, Some("user_name exists")),
    (Key::DisplayName, Some("display_name exists")),
    (Key::ExternalUserIdentifier, Some("external_user_identifier exists")),
    (Key::Phone, None),
    (Key::Eid, None),
];

impl Key {
    /// Two spellings that the server takes as equal give the same text.
    fn normal(self, text: &str, habits: &Habits) -> String {
        match self {
            Key::Email => text.trim().to_lowercase(),
            Key::UserName => text.to_lowercase(),
            Key::DisplayName | Key::ExternalUserIdentifier | Key::Eid if habits.folds_keys => {
                text.trim().to_lowercase()
            }
            Key::DisplayName | Key::ExternalUserIdentifier | Key::Phone | Key::Eid => text.to_owned(),
        }
    }

    fn of(self, details: &Details, habits: &Habits) -> Option<String> {
        let text = match self {
            Key::Email => &details.email,
            Key::UserName => &details.user_name,
            Key::DisplayName => &details.display_name,
            Key::ExternalUserIdentifier => &details.external_user_identifier,
            Key::Phone => &details.phone,
            Key::Eid => &details.eid,
        };
        text.as_deref().map(|text| self.normal(text, habits))
    }
}

/// One application of a mutation: when, because of what, and with which draws.
pub(super) struct Doing<'a> {
    pub at_ms: i64,
    pub cause: &'a str,
    pub way: Way,
    pub rng: &'a mut Rng,
}

impl Doing<'_> {
    pub fn id(&mut self) -> String {
        format!("{:016x}", self.rng.u64(..))
    }
}

/// One attempt of a verification.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub at_ms: i64,
    pub attempt_id: String,
    /// `Pass`, `Fail`, `Pending`, `Declined` or `Purged`.
    pub outcome: String,
}

/// All records with their indexes. Accounts are never taken out, only marked as deleted.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub accounts: Vec<Account>,
    pub consents: Vec<Consent>,
    pub journal: Journal,
    /// The attempts of each verification, by the id of the request for it.
    pub verifications: HashMap<String, Vec<Verified>>,
    habits: Habits,
    by_id: HashMap<String, usize>,
    by_key: HashMap<(Generation, Key, String), Vec<usize>>,
    by_parent: HashMap<String, Vec<usize>>,
    consent_by_id: HashMap<String, usize>,
}

impl Records {
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// Gives the server these habits from now on.
    pub fn set_habits(&mut self, habits: Habits) {
        self.habits = habits;
        self.by_key.clear();
        for (at, account) in self.accounts.iter().enumerate() {
            for (key, _) in KEYS {
                if let Some(text) = key.of(&account.details, &self.habits) {
                    self.by_key.entry((account.generation, key, text)).or_default().push(at);
                }
            }
        }
    }

    /// The account with this id, if it existed at that moment.
    pub fn by_id(&self, generation: Generation, id: &str, ms: i64) -> Option<&Account> {
        let account = &self.accounts[*self.by_id.get(id)?];
        (account.generation == generation && account.exists_at(ms)).then_some(account)
    }

    /// The oldest account with this key that existed at that moment.
    pub fn by_key(&self, generation: Generation, key: Key, text: &str, ms: i64) -> Option<&Account> {
        self.all_by_key(generation, key, text, ms).next()
    }

    /// The accounts with this key that existed at that moment, oldest first.
    pub fn all_by_key(&self, generation: Generation, key: Key, text: &str, ms: i64) -> impl Iterator<Item = &Account> {
        let found = self.by_key.get(&(generation, key, key.normal(text, &self.habits)));
        let found = found.map_or(&[][..], Vec::as_slice);
        let accounts = found.iter().map(|at| &self.accounts[*at]);
        accounts.filter(move |account| account.exists_at(ms))
    }

    /// The account that a lookup by this key finds: its own, or another where the server searches by parts.
    pub fn looked_up(&self, generation: Generation, key: Key, text: &str, ms: i64) -> Option<&Account> {
        if self.habits.search == Search::Exact {
            return self.by_key(generation, key, text, ms);
        }
        let asked = key.normal(text, &self.habits);
        self.accounts.iter().filter(|account| account.generation == generation && account.exists_at(ms)).find(
            |account| {
                key.of(&account.details, &self.habits).is_some_and(|text| self.habits.search.finds(&text, &asked))
            },
        )
    }

    /// Whether a deleted account keeps this key for ever.
    pub fn is_kept(&self, generation: Generation, key: Key, text: &str) -> bool {
        self.habits.keeps_deleted_keys && self.is_taken(&(generation, key, key.normal(text, &self.habits)))
    }

    /// The accounts below this one that existed at that moment, oldest first.
    pub fn children_of(&self, id: &str, ms: i64) -> impl Iterator<Item = &Account> {
        let children = self.by_parent.get(id).map_or(&[][..], Vec::as_slice);
        let accounts = children.iter().map(|at| &self.accounts[*at]);
        accounts.filter(move |account| account.exists_at(ms))
    }

    /// The consent with this identifier, whatever its age.
    pub fn consent(&self, identifier: &str) -> Option<&Consent> {
        let at = self.consent_by_id.get(identifier)?;
        Some(&self.consents[*at])
    }

    /// Why these accounts cannot be made now, all at once: the first unique key that is
    /// taken by a living account or by another of them.
    pub fn conflict(&self, generation: Generation, drafts: &[&Draft]) -> Option<&'static str> {
        let mut claimed = HashSet::new();
        for draft in drafts {
            for (key, message) in KEYS {
                let (Some(message), Some(text)) = (message, key.of(&draft.details, &self.habits)) else {
                    continue;
                };
                let full = (generation, key, text);
                if self.is_taken(&full) || !claimed.insert(full) {
                    return Some(message);
                }
            }
        }
        None
    }

    fn is_taken(&self, full: &(Generation, Key, String)) -> bool {
        let holders = self.by_key.get(full).map_or(&[][..], Vec::as_slice);
        holders.iter().any(|at| self.habits.keeps_deleted_keys || self.accounts[*at].deleted_ms.is_none())
    }

    /// Makes an account. The caller has asked for [`Records::conflict`] before.
    pub fn insert(&mut self, doing: &mut Doing, generation: Generation, draft: &Draft, parent: Option<&str>) -> String {
        let mut id = doing.id();
        while self.by_id.contains_key(&id) {
            id = doing.id();
        }
        let at = self.accounts.len();
        self.by_id.insert(id.clone(), at);
        for (key, _) in KEYS {
            if let Some(text) = key.of(&draft.details, &self.habits) {
                self.by_key.entry((generation, key, text)).or_default().push(at);
            }
        }
        if let Some(parent) = parent {
            self.by_parent.entry(parent.to_owned()).or_default().push(at);
        }
        self.accounts.push(Account {
            service_id: id.clone(),
            generation,
            details: draft.details.clone(),
            parent: parent.map(str::to_owned),
            made_ms: doing.at_ms,
            deleted_ms: None,
            cause: doing.cause.to_owned(),
            way: doing.way,
            states: vec![State {
                since_ms: doing.at_ms,
                features: draft.features.clone(),
                attributes: draft.attributes.clone(),
            }],
        });
        self.journal.applied(doing, "account made", &id);
        id
    }

    /// Marks a living account as deleted; says whether there was one.
    pub fn delete(&mut self, doing: &Doing, id: &str) -> bool {
        let Some(at) = self.by_id.get(id) else {
            return false;
        };
        let account = &mut self.accounts[*at];
        if account.deleted_ms.is_some() {
            return false;
        }
        account.deleted_ms = Some(doing.at_ms);
        self.journal.applied(doing, "account deleted", id);
        if self.habits.deletes_children {
            let children: Vec<String> =
                self.children_of(id, doing.at_ms).map(|child| child.service_id.clone()).collect();
            for child in children {
                self.delete(doing, &child);
            }
        }
        true
    }

    /// Changes features or attributes from now on; says whether there was such an account.
    pub fn change(&mut self, doing: &Doing, id: &str, what: &'static str, change: impl FnOnce(&mut State)) -> bool {
        let Some(at) = self.by_id.get(id) else {
            return false;
        };
        let account = &mut self.accounts[*at];
        let mut state = account.state().clone();
        state.since_ms = doing.at_ms;
        change(&mut state);
        account.states.push(state);
        self.journal.applied(doing, what, id);
        true
    }

    /// Opens a consent request and mails the granter.
    pub fn open_consent(&mut self, doing: &mut Doing, sid: &str, granter: Option<&str>) -> String {
        let mut identifier = doing.id();
        while self.consent_by_id.contains_key(&identifier) {
            identifier = doing.id();
        }
        self.consent_by_id.insert(identifier.clone(), self.consents.len());
        self.consents.push(Consent {
            consent_identifier: identifier.clone(),
            sid: sid.to_owned(),
            granter_sid: granter.map(str::to_owned),
            made_ms: doing.at_ms,
            cause: doing.cause.to_owned(),
            states: vec![(doing.at_ms, "pending".to_owned())],
        });
        self.journal.applied(doing, "consent requested", &identifier);
        self.journal.mail(doing, &identifier);
        identifier
    }

    /// Sets a consent's state from now on; says which account it is about.
    pub fn set_consent(&mut self, doing: &Doing, identifier: &str, state: &str) -> Option<String> {
        let at = self.consent_by_id.get(identifier)?;
        let consent = &mut self.consents[*at];
        consent.states.push((doing.at_ms, state.to_owned()));
        self.journal.applied(doing, "consent decided", identifier);
        Some(consent.sid.clone())
    }
}
