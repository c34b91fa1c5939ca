//! What really happened in a world, indexed for the judge. It rests on the sandbox's journal and records alone.

use std::collections::HashMap;

use privo_reconcile::sandbox::{Account, Applied, Habits, Kind as Role, Search, ShownDate, Truth as Journal};

use super::ops::{Attempt, Kind, Op, Person};
use super::story::Story;

pub struct Truth {
    pub journal: Journal,
    by_id: HashMap<String, usize>,
    /// Account id to the request that deleted it (or `by-hand`).
    deleted_by: HashMap<String, String>,
    by_cause: HashMap<String, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
    lag: i64,
    habits: Habits,
}

impl Truth {
    pub fn of(journal: Journal, story: &Story) -> Truth {
        let (mut by_id, mut by_cause, mut by_name) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (at, account) in journal.accounts.iter().enumerate() {
            by_id.insert(account.service_id.clone(), at);
            by_cause.entry(account.cause.clone()).or_insert_with(Vec::new).push(at);
            let name = account.details.given_name.as_deref().map(folded).unwrap_or_default();
            by_name.entry(name).or_insert_with(Vec::new).push(at);
        }
        let mut deleted_by = HashMap::new();
        for (cause, applied) in &journal.per_request {
            for one in applied.iter().filter(|one| one.what == "account deleted") {
                deleted_by.insert(one.record.clone(), cause.clone());
            }
        }
        let (lag, habits) = (story.windows.replica_lag, story.habits.clone());
        Truth { journal, by_id, deleted_by, by_cause, by_name, lag, habits }
    }

    pub fn account(&self, id: &str) -> Option<&Account> {
        Some(&self.journal.accounts[*self.by_id.get(id)?])
    }

    /// Whose child it is.
    pub fn parent(&self, account: &Account) -> Option<&Account> {
        self.account(account.parent.as_deref()?)
    }

    pub fn applied(&self, request_id: &str) -> &[Applied] {
        self.journal.per_request.get(request_id).map_or(&[], Vec::as_slice)
    }

    /// The account that a request for consent is about.
    pub fn asked_of(&self, consent: &str) -> Option<&Account> {
        let consent = self.journal.consents.iter().find(|one| one.consent_identifier == consent)?;
        self.account(&consent.sid)
    }

    /// The account shows another date of birth than it was made with, and one that can be read.
    pub fn shows_another_day(&self, account: &Account) -> bool {
        let moved = matches!(self.habits.dates, ShownDate::DayBefore | ShownDate::DayAfter);
        moved && self.habits.shows_otherwise(&account.service_id)
    }

    /// Who deleted an account.
    pub fn deleter(&self, id: &str) -> Option<&str> {
        self.deleted_by.get(id).map(String::as_str)
    }

    /// Whether a look between these moments may have seen the account, replicas lagging as they may.
    pub fn seen_alive(&self, account: &Account, from: i64, to: i64) -> bool {
        account.made_ms <= to && account.deleted_ms.is_none_or(|deleted| deleted > from - self.lag)
    }

    /// Whether a look between these moments may have missed it.
    pub fn seen_absent(&self, account: &Account, from: i64, to: i64) -> bool {
        account.made_ms > from - self.lag || account.deleted_ms.is_some_and(|deleted| deleted <= to)
    }

    /// The accounts that these attempts made of what the operation is about; granters aside.
    pub fn made_by<'a>(&'a self, attempts: &'a [&Attempt]) -> impl Iterator<Item = &'a Account> {
        let made = attempts.iter().filter_map(|attempt| self.by_cause.get(&attempt.request_id)).flatten();
        made.map(|at| &self.journal.accounts[*at]).filter(|account| account.details.kind != Role::Granter)
    }

    /// Every account that bears one of the person's keys, or, when it has none, is listed under the owner with the same
    /// fields. Whoever made it, and whether it is alive or not.
    pub fn likenesses<'a>(&'a self, op: &'a Op, person: &'a Person) -> Vec<&'a Account> {
        if person.keyed() {
            let all = self.journal.accounts.iter();
            return all
                .filter(|account| account.details.kind != Role::Granter && self.same_key(person, account))
                .collect();
        }
        let named = self.namesakes(op, person).into_iter();
        named.filter(|account| same_fields(person, account)).collect()
    }

    /// The accounts of this name under the operation's owner, whatever their date of birth.
    pub fn namesakes<'a>(&'a self, op: &'a Op, person: &'a Person) -> Vec<&'a Account> {
        let named = self.by_name.get(&folded(&person.given_name)).map_or(&[][..], Vec::as_slice);
        let accounts = named.iter().map(|at| &self.journal.accounts[*at]);
        accounts.filter(|account| self.listed_under(account, op)).collect()
    }

    /// Every account that is or was listed under the operation's owner.
    pub fn listed(&self, op: &Op) -> Vec<&Account> {
        self.journal.accounts.iter().filter(|account| self.listed_under(account, op)).collect()
    }

    /// The accounts that are or were the operation's owner.
    pub fn owners(&self, op: &Op) -> Vec<&Account> {
        let Some(owner) = op.owner.as_deref().map(folded) else { return Vec::new() };
        let is_owner = |account: &&Account| account.details.email.as_deref().map(folded).as_ref() == Some(&owner);
        self.journal.accounts.iter().filter(is_owner).collect()
    }

    /// The accounts under the key of a delete, of whatever time.
    pub fn under_key(&self, op: &Op) -> Vec<&Account> {
        let target = op.target.as_deref().unwrap_or_default();
        let of_key = |account: &&Account| match op.kind {
            Kind::DeleteEid => account.details.eid.as_deref().is_some_and(|eid| self.equal(eid, target)),
            Kind::DeleteByEmail => account.details.email.as_deref().map(folded) == Some(folded(target)),
            _ => account.service_id == target,
        };
        self.journal.accounts.iter().filter(of_key).collect()
    }

    /// The server takes both as one key, where it compares keys as they are unless it has the habit to fold them.
    fn equal(&self, one: &str, other: &str) -> bool {
        one == other || (self.habits.folds_keys && folded(one) == folded(other))
    }

    /// The server takes both keys as equal, by the key that the plan looks up first.
    pub fn same_key(&self, person: &Person, account: &Account) -> bool {
        let d = &account.details;
        let fold = |text: &Option<String>| text.as_deref().map(folded);
        if person.email.is_some() {
            return fold(&person.email) == fold(&d.email);
        }
        if person.user_name.is_some() {
            return fold(&person.user_name) == fold(&d.user_name);
        }
        let same = |one: &Option<String>, other: &Option<String>| {
            one.as_deref().zip(other.as_deref()).is_some_and(|(one, other)| self.equal(one, other))
        };
        same(&person.external, &d.external_user_identifier)
            || same(&person.display, &d.display_name)
            || same(&person.eid, &d.eid)
    }

    /// The server answers with another record when it is asked for one of these keys: by parts, or in another case.
    pub fn answered_for(&self, asked: &[&str]) -> bool {
        let found = |asked: &str, key: &str| {
            let (asked, key) = (folded(asked), folded(key));
            match self.habits.search {
                Search::Exact => self.habits.folds_keys && asked == key,
                Search::Prefix => key.starts_with(&asked),
                Search::Part => key.contains(&asked),
                Search::Ignored => true,
            }
        };
        let other = |asked: &str, key: &str| asked.trim() != key.trim() && found(asked, key);
        self.journal.accounts.iter().any(|account| {
            let d = &account.details;
            let keys = [&d.email, &d.user_name, &d.external_user_identifier, &d.display_name, &d.eid];
            keys.into_iter().flatten().any(|key| asked.iter().any(|asked| other(asked, key)))
        })
    }

    fn listed_under(&self, account: &Account, op: &Op) -> bool {
        let email = self.parent(account).and_then(|parent| parent.details.email.clone()).unwrap_or_default();
        op.owner.as_ref().is_some_and(|owner| owner.eq_ignore_ascii_case(email.trim()))
    }
}

/// Without the spaces around it and whatever its case.
pub fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

pub fn same_fields(person: &Person, account: &Account) -> bool {
    person.same_fields(account.details.given_name.as_deref(), account.details.birth_date.as_deref())
}

/// What an attempt of this kind writes into the journal when it is applied.
pub fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::DeleteById | Kind::DeleteByQuery | Kind::DeleteEid => "account deleted",
        Kind::Ial => "assurance set",
        Kind::Revoke => "features revoked",
        Kind::ResendMail => "mail sent",
        _ => "account made",
    }
}
