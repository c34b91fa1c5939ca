//! What the partner wants of the platform. The judge goes by these, not by the plan.

use fastrand::Rng;

use crate::sandbox::{Account, Generation};

/// One operation: what is sent for it, and what it should make true.
#[derive(Clone, Debug)]
pub struct Task {
    /// `op-17`; its attempts are `op-17-1`, `op-17-2`, …
    pub operation: String,
    pub method: &'static str,
    pub path: String,
    pub body: Option<String>,
    /// What should become true, in the order of the body.
    pub wants: Vec<Want>,
    /// Which of the two APIs, and so which ledger.
    pub generation: Generation,
    /// The server blocks a repeat, or a repeat does no harm.
    pub repeatable: bool,
    /// What the sender does about failures follows from this.
    pub seed: u64,
}

/// Wishes of one person: one, or the same again because the first one seemed to fail.
#[derive(Clone, Debug)]
pub struct Series {
    pub first: Task,
    pub again: Option<Task>,
}

/// One thing that should become true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// There is an account.
    There(Person),
    /// Something happens that nobody can look up: as the sandbox's journal calls it.
    Unseen(&'static str),
    /// The account of this id is gone.
    Gone(String),
    /// A feature of an account is off.
    Off { sid: String, feature: String },
    /// An attribute of an account has this assurance level.
    Assured { sid: String, attribute: String, ial: String },
    /// A read: nothing changes.
    Nothing,
    /// The partner knows the state of this consent.
    ConsentKnown(String),
    /// The partner knows the state of this account.
    AccountKnown(String),
    /// The partner knows how this attempt of a verification ended.
    VerificationKnown { attempt: String, outcome: &'static str },
}

/// Somebody who should have an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub generation: Generation,
    /// What the server keeps unique of them.
    pub key: Option<(Key, String)>,
    /// The parent's email.
    pub under: Option<String>,
    pub name: String,
    pub birth: String,
}

/// A field that the server keeps unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Email,
    UserName,
    ExternalId,
    Eid,
}

impl Key {
    fn of(self, account: &Account) -> Option<&str> {
        let details = &account.details;
        match self {
            Key::Email => details.email.as_deref(),
            Key::UserName => details.user_name.as_deref(),
            Key::ExternalId => details.external_user_identifier.as_deref(),
            Key::Eid => details.eid.as_deref(),
        }
    }

    fn same(self, a: &str, b: &str) -> bool {
        match self {
            Key::Email | Key::UserName => a.trim().to_lowercase() == b.trim().to_lowercase(),
            Key::ExternalId | Key::Eid => a == b,
        }
    }
}

impl Person {
    /// The account bears this person's key.
    pub fn bears_key(&self, account: &Account) -> bool {
        let same = |(key, text): &(Key, String)| key.of(account).is_some_and(|held| key.same(held, text));
        account.generation == self.generation && self.key.as_ref().is_some_and(same)
    }

    /// The account shows this person's name and birth date.
    pub fn looks_like(&self, account: &Account) -> bool {
        let details = &account.details;
        account.generation == self.generation
            && details.given_name.as_deref() == Some(&self.name)
            && details.birth_date.as_deref() == Some(&self.birth)
    }

    /// The same person, whatever the spelling.
    pub fn is_the_same(&self, other: &Person) -> bool {
        let keys = match (&self.key, &other.key) {
            (Some((a, left)), Some((b, right))) => a == b && a.same(left, right),
            (None, None) => true,
            _ => false,
        };
        keys && (&self.under, &self.name, &self.birth) == (&other.under, &other.name, &other.birth)
    }
}

/// An email as people type it: now and then in capitals or with a blank.
pub fn typed(email: &str, rng: &mut Rng) -> String {
    match rng.u8(..20) {
        0 => email.to_uppercase(),
        1 => format!("{email} "),
        _ => email.to_owned(),
    }
}
