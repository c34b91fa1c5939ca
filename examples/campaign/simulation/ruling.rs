//! Whether one verdict was right, by the truth.

use privo_reconcile::sandbox::{Account, Applied, BY_HAND, ShownDate, State};
use privo_reconcile::words::{Action, Outcome, Reason};

use super::judge::Bench;
use super::ops::{Attempt, Kind, Op, Person};
use super::stage::Listed;
use super::story::MINUTE;
use super::truth::{same_fields, what};

/// What the judge says of one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Right,
    /// Wrong, by nothing that could have been known.
    Unknowable,
    Wrong(&'static str),
}

impl Bench<'_> {
    /// The attempts that were sent before a verdict.
    fn sent_before<'a>(&self, op: &'a Op, listed: &Listed) -> Vec<&'a Attempt> {
        let until = listed.to.max(listed.knew);
        op.attempts.iter().filter(|attempt| attempt.sent_ms <= until).collect()
    }

    pub fn not_applied(&self, op: &Op, listed: &Listed) -> Ruling {
        let attempts = self.sent_before(op, listed);
        if !op.kind.creates() {
            if listed.reason == Some(Reason::NotDeleted) && listed.action == Some(Action::Resend) {
                let since =
                    |account: &&Account| account.made_ms > self.began(op, listed) && account.exists_at(listed.to);
                if self.truth.under_key(op).iter().any(since) {
                    return Ruling::Wrong("the record that would be deleted was made since");
                }
            }
            let known = attempts.iter().filter(|attempt| self.known(&attempt.request_id, listed));
            let applied = known.flat_map(|attempt| self.truth.applied(&attempt.request_id));
            // A change that came to pass before the account was deleted left no trace that could be looked up.
            let applied: Vec<&Applied> = applied.filter(|applied| applied.what == what(op.kind)).collect();
            let hidden =
                |applied: &&Applied| self.written_over(op, applied, listed) || self.made_anew(op, applied, listed);
            return match applied.iter().all(hidden) {
                true if applied.is_empty() => Ruling::Right,
                true => Ruling::Unknowable,
                false => Ruling::Wrong("an attempt was or will be applied"),
            };
        }
        let mut ruling = Ruling::Right;
        if op.kind == Kind::Consent {
            ruling = self.not_asked(op, &attempts, listed);
        }
        if matches!(ruling, Ruling::Wrong(_)) {
            return ruling;
        }
        for account in self.truth.made_by(&attempts) {
            if !self.known(&account.cause, listed) {
                // Made by an attempt that its writer had not recorded yet, or never did because it was answered so.
                ruling = Ruling::Unknowable;
                continue;
            }
            // Found older than the request, which it blocks; somebody removed it before the request was applied late.
            let found = listed.server_id.as_deref().and_then(|id| self.truth.account(id));
            if listed.reason == Some(Reason::Preexisting)
                && found.is_some_and(|found| found.cause != account.cause && self.removed_unknown(found, listed))
            {
                ruling = Ruling::Unknowable;
                continue;
            }
            if self.owner_was_gone(op, listed) {
                return Ruling::Wrong("made, and its owner was not there, which is no empty list");
            }
            let shows = |account: &&Account| account.deleted_ms.is_none_or(|deleted| deleted >= listed.from);
            // What belonged to a parent that is gone is in no list any more.
            let hidden = self.truth.parent(account).filter(|parent| shows(&account) && !shows(parent));
            let gone = hidden.unwrap_or(account);
            if shows(&gone) {
                return Ruling::Wrong("an attempt was or will be applied");
            }
            match self.truth.deleter(&gone.service_id) {
                Some(deleter) if self.knows_deleter(op, deleter, listed) => {
                    return Ruling::Wrong("made, and deleted as the ledger knows");
                }
                _ => ruling = Ruling::Unknowable,
            }
        }
        ruling
    }

    /// What it asked for is listed under an owner, and at the looks that it rests on nobody was there whose list could be read.
    fn owner_was_gone(&self, op: &Op, listed: &Listed) -> bool {
        let story = &self.stage.story;
        // A look under watch that does not find the owner any more changes no verdict.
        let checked = listed.last_checked.map(|checked| listed.decided.map_or(checked, |decided| decided.min(checked)));
        let at = checked.map(|checked| checked - story.skew).filter(|_| !story.steps);
        let before = at.map(|at| at - story.windows.replica_lag - MINUTE);
        let gone = |owner: &&Account| owner.deleted_ms.zip(before).is_some_and(|(deleted, before)| deleted < before);
        let owners = self.truth.owners(op);
        let listed = op.kind != Kind::Family && op.persons.iter().any(|person| !person.keyed());
        listed && !owners.is_empty() && owners.iter().all(gone)
    }

    /// A request for consent was made for an account that was there.
    fn not_asked(&self, op: &Op, attempts: &[&Attempt], listed: &Listed) -> Ruling {
        let mut ruling = Ruling::Right;
        for attempt in attempts {
            let asked =
                self.truth.applied(&attempt.request_id).iter().filter(|applied| applied.what == "consent requested");
            for account in asked.filter_map(|applied| self.truth.asked_of(&applied.record)) {
                let gone = account.deleted_ms.is_some_and(|deleted| deleted < listed.from);
                match self.truth.deleter(&account.service_id) {
                    // What became of an account of its own is ruled upon with the account.
                    _ if account.cause == attempt.request_id => {}
                    _ if !self.known(&attempt.request_id, listed) => ruling = Ruling::Unknowable,
                    Some(deleter) if gone && !self.knows_deleter(op, deleter, listed) => ruling = Ruling::Unknowable,
                    _ => return Ruling::Wrong("the consent was or will be asked for"),
                }
            }
        }
        ruling
    }

    /// When the first attempt that the ledger knows of may have been sent.
    fn began(&self, op: &Op, listed: &Listed) -> i64 {
        let may_have_left = |attempt: &&Attempt| attempt.sent || attempt.open_until > i64::MIN;
        let known = op.attempts.iter().filter(|attempt| self.known(&attempt.request_id, listed));
        known.filter(may_have_left).map(|attempt| attempt.sent_ms).min().unwrap_or(i64::MAX)
    }

    /// What it deleted was made anew by somebody whom the ledger does not know, as if it had never been deleted.
    fn made_anew(&self, op: &Op, applied: &Applied, listed: &Listed) -> bool {
        let since = |account: &&Account| account.made_ms >= applied.applied_ms && account.exists_at(listed.to);
        let accounts = self.truth.under_key(op);
        let anew: Vec<&&Account> = accounts.iter().filter(|account| since(account)).collect();
        let unknown = |account: &&&Account| account.cause == BY_HAND || !self.known(&account.cause, listed);
        op.kind.deletes() && !anew.is_empty() && anew.iter().all(unknown)
    }

    /// The level that it set was set otherwise by a request that the ledger does not know, as if it had never been there.
    fn written_over(&self, op: &Op, applied: &Applied, listed: &Listed) -> bool {
        let since = |other: &Applied| {
            let after = (applied.applied_ms..=listed.to).contains(&other.applied_ms);
            after && other.record == applied.record && other.what == "assurance set"
        };
        let mut others = self.truth.journal.per_request.iter().filter(|(cause, _)| !self.known(cause, listed));
        let account = self.truth.account(&applied.record).filter(|_| op.kind == Kind::Ial);
        let shown = account.map(|account| account.state_at(listed.to));
        shown.is_some_and(|state| !shows_level(state, op)) && others.any(|(_, done)| done.iter().any(since))
    }

    fn removed_unknown(&self, account: &Account, listed: &Listed) -> bool {
        self.truth.deleter(&account.service_id).is_some_and(|deleter| !self.known(deleter, listed))
    }

    /// The ledger knew of this delete, and that it is of the operation's record: not where the server folds a key of which the
    /// plan says nothing, and the delete names another spelling.
    fn knows_deleter(&self, op: &Op, deleter: &str, listed: &Listed) -> bool {
        let other = self.stage.of_request.get(deleter).map(|other| &self.stage.ops[*other]);
        let eid = other.filter(|other| other.kind == Kind::DeleteEid).and_then(|other| other.target.as_deref());
        let same = |eid: &str| op.persons.iter().any(|person| person.eid.as_deref().map(str::trim) == Some(eid.trim()));
        self.known(deleter, listed) && (!self.stage.story.habits.folds_keys || eid.is_none_or(same))
    }

    /// The ledger knew of this request when the verdict was given.
    pub fn known(&self, request_id: &str, listed: &Listed) -> bool {
        self.stage.recorded_at.get(request_id).is_some_and(|at| *at <= listed.knew)
    }

    pub fn applied(&self, op: &Op, listed: &Listed) -> Ruling {
        if listed.reason == Some(Reason::Present) && listed.server_id.is_none() && listed.action == Some(Action::None) {
            // Every attempt that left was answered with success. Writers write while a run goes on, and it reads that.
            let success = |attempt: &Attempt| attempt.answer.is_some_and(|status| status < 300);
            let recorded = |attempt: &Attempt| self.stage.recorded_at.get(&attempt.request_id);
            let answered = op.attempts.iter().any(|a| success(a) && recorded(a).is_some_and(|at| *at <= listed.to));
            return if answered { Ruling::Right } else { Ruling::Wrong("no attempt was answered with success") };
        }
        match op.kind {
            kind if kind.creates() => self.made(op, listed),
            kind if kind.deletes() => self.deleted(op, listed),
            Kind::Ial | Kind::Revoke => self.written(op, listed),
            Kind::Webhook => self.fetched(op, listed),
            _ => Ruling::Wrong("nothing can have shown that"),
        }
    }

    fn made(&self, op: &Op, listed: &Listed) -> Ruling {
        let ids = listed.server_id.as_deref().unwrap_or_default();
        let mut ruling = Ruling::Right;
        for (index, person) in op.persons.iter().enumerate() {
            let id = match op.persons.len() {
                1 => Some(ids),
                _ => ids.split("; ").find_map(|part| {
                    let name = if index == 0 { "parent".to_owned() } else { format!("child {index}") };
                    part.strip_prefix(&format!("{name}="))
                }),
            };
            let Some(account) = id.and_then(|id| self.truth.account(id)) else {
                return Ruling::Wrong("the id is nobody's");
            };
            match self.made_one(op, person, account, listed) {
                Ruling::Right => {}
                Ruling::Unknowable => ruling = Ruling::Unknowable,
                wrong => return wrong,
            }
        }
        ruling
    }

    fn made_one(&self, op: &Op, person: &Person, account: &Account, listed: &Listed) -> Ruling {
        let attempts = self.sent_before(op, listed);
        if !self.truth.seen_alive(account, listed.from, listed.to) {
            return Ruling::Wrong("the record was not there");
        }
        let same = if person.keyed() { self.truth.same_key(person, account) } else { self.listed(op, account) };
        let shown_otherwise = self.shows_no_day(account) || self.truth.shows_another_day(account);
        let cannot_tell = shown_otherwise || attempts.iter().all(|attempt| attempt.lean);
        let named_so = person.same_fields(account.details.given_name.as_deref(), None);
        if same && !same_fields(person, account) && named_so && cannot_tell && !self.known(&account.cause, listed) {
            return Ruling::Unknowable;
        }
        if !same || !same_fields(person, account) {
            return Ruling::Wrong("the record is somebody else's");
        }
        let claims = listed.outcome == Some(Outcome::Applied) && listed.reason == Some(Reason::Created);
        let before = account.made_ms < self.began(op, listed);
        if claims && before && op.persons.len() == 1 {
            return Ruling::Wrong("the record was made before the request was sent");
        }
        if op.kind == Kind::Consent && before && !self.consent_stands(op, account, listed) {
            return Ruling::Wrong("the account was there before, and the consent was not asked for");
        }
        if attempts.iter().any(|attempt| attempt.request_id == account.cause) {
            return match self.hides_another(op, person, account, listed) {
                true => Ruling::Wrong("the operation made another record as well, which is there and is not told"),
                false => Ruling::Right,
            };
        }
        // Somebody else made it. With a key of its own the state holds all the same, and only "applied" is too much; a
        // child without one is another child.
        if person.keyed() && (!claims || op.kind == Kind::Family) {
            return Ruling::Right;
        }
        // A record of somebody whom the ledger does not know stands in the list for another's.
        let likenesses = self.truth.likenesses(op, person);
        let stranger = !person.keyed() && likenesses.iter().any(|one| !self.known(&one.cause, listed));
        // A plan that does not know that the server folds this key cannot know who else asked for it.
        let folded = self.stage.story.habits.folds_keys && op.kind == Kind::External;
        if account.cause != BY_HAND && self.known(&account.cause, listed) && !stranger && !folded {
            return Ruling::Wrong("another operation that the ledger knows made the record");
        }
        Ruling::Unknowable
    }

    /// It shows its date of birth in a form that nobody can read.
    fn shows_no_day(&self, account: &Account) -> bool {
        let habits = &self.stage.story.habits;
        let unreadable = matches!(habits.dates, ShownDate::Dotted | ShownDate::Fraction | ShownDate::Zeros);
        unreadable && habits.shows_otherwise(&account.service_id)
    }

    /// Consent was asked for by one of its attempts, or the account shows that it was.
    fn consent_stands(&self, op: &Op, account: &Account, listed: &Listed) -> bool {
        let asked = |attempt: &Attempt| {
            let mut applied = self.truth.applied(&attempt.request_id).iter();
            applied.any(|applied| applied.what == "consent requested" && applied.applied_ms <= listed.to)
        };
        let shows = |at: i64| account.state_at(at).features.iter().any(|feature| feature.state != "off");
        let lag = self.stage.story.windows.replica_lag;
        op.attempts.iter().any(asked) || [listed.from - lag, listed.from, listed.to].into_iter().any(shows)
    }

    /// Another attempt made another record that the list showed, and the ledger knows of both attempts.
    fn hides_another(&self, op: &Op, person: &Person, account: &Account, listed: &Listed) -> bool {
        let attempts = self.sent_before(op, listed);
        let shown = |other: &&Account| {
            other.cause != account.cause
                && self.known(&other.cause, listed)
                && self.listed(op, other)
                && self.truth.parent(other).is_none_or(|parent| self.truth.seen_alive(parent, listed.from, listed.to))
                && same_fields(person, other)
                // One that the list shows with another day cannot be known to be the same.
                && !self.truth.shows_another_day(other)
                && !self.truth.seen_absent(other, listed.from, listed.to)
        };
        !person.keyed()
            && self.known(&account.cause, listed)
            && self.truth.made_by(&attempts).any(|other| shown(&other))
    }

    fn listed(&self, op: &Op, account: &Account) -> bool {
        let email = self.truth.parent(account).and_then(|parent| parent.details.email.as_deref()).unwrap_or_default();
        op.owner.as_deref().is_some_and(|owner| owner.eq_ignore_ascii_case(email.trim()))
    }

    fn deleted(&self, op: &Op, listed: &Listed) -> Ruling {
        let accounts = self.truth.under_key(op);
        let began = self.began(op, listed);
        // Those that the delete was about are gone, and another one is there.
        let replaced = || {
            let mut before = accounts.iter().filter(|account| account.made_ms <= began);
            let since = accounts.iter().any(|account| account.made_ms > began && account.made_ms <= listed.to);
            since && before.all(|account| self.truth.seen_absent(account, listed.from, listed.to))
        };
        match listed.reason {
            Some(Reason::Deleted) if accounts.iter().all(|a| self.truth.seen_absent(a, listed.from, listed.to)) => {
                Ruling::Right
            }
            Some(Reason::Recreated) if replaced() => Ruling::Right,
            _ => Ruling::Wrong("the account was there"),
        }
    }

    fn written(&self, op: &Op, listed: &Listed) -> Ruling {
        let target = op.target.as_deref().unwrap_or_default();
        let Some(account) = self.truth.account(target) else { return Ruling::Wrong("no such account") };
        let holds = |at: i64| {
            let state = account.state_at(at);
            let off = |name: &String| state.features.iter().any(|f| f.identifier == *name && f.state == "off");
            if op.kind == Kind::Ial { shows_level(state, op) } else { op.features.iter().all(off) }
        };
        let seen = self.truth.seen_alive(account, listed.from, listed.to);
        let changes =
            account.states.iter().map(|state| state.since_ms).filter(|at| (listed.from..=listed.to).contains(at));
        let lag = self.stage.story.windows.replica_lag;
        let mut moments = changes.chain([listed.from - lag, listed.from, listed.to]);
        if seen && moments.any(holds) { Ruling::Right } else { Ruling::Wrong("the state does not hold") }
    }

    fn fetched(&self, op: &Op, listed: &Listed) -> Ruling {
        if listed.reason == Some(Reason::Present) {
            let taken = op.attempts.iter().any(|a| a.answer == Some(200) && a.sent_ms <= listed.to);
            return if taken { Ruling::Right } else { Ruling::Wrong("no later delivery was taken") };
        }
        if listed.explanation.contains("(removed)") {
            // A prune took the state's words away; what it said was judged when it was told.
            return Ruling::Right;
        }
        let target = op.target.as_deref().unwrap_or_default();
        let consent = self.truth.journal.consents.iter().find(|consent| consent.consent_identifier == target);
        let lag = self.stage.story.windows.replica_lag;
        let state = |at: i64| consent.and_then(|consent| consent.state_at(at)).unwrap_or("missing");
        let changes = consent.iter().flat_map(|c| &c.states).map(|(at, _)| *at);
        let changes = changes.filter(|at| (listed.from - lag..=listed.to).contains(at));
        let mut moments = changes.chain([listed.from - lag, listed.from, listed.to]);
        match moments.any(|at| listed.explanation.contains(state(at))) {
            true => Ruling::Right,
            false => Ruling::Wrong("the state was another"),
        }
    }
}

/// It shows the level that the operation sets.
fn shows_level(state: &State, op: &Op) -> bool {
    state.attributes.iter().any(|a| a.ial.as_ref() == op.features.first())
}
