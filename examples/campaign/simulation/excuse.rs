//! What nobody could decide: for each reason to stay undecided, the truth that justifies it. Independent of the
//! decision; whatever is not justified here counts as `undecided`.

use privo_reconcile::sandbox::{Account, Search, ShownDate};
use privo_reconcile::words::{Reason, Status};

use super::ops::{Attempt, Kind, Op, Person};
use super::stage::{Listed, Stage};
use super::story::{HOUR, MINUTE, Trouble};
use super::truth::{Truth, folded, same_fields, what};
use super::twist::{SHOWN, Twist};

/// One entry that is not resolved, and all that the truth says about it.
pub struct Undecided<'a> {
    pub stage: &'a Stage,
    pub truth: &'a Truth,
    pub op: &'a Op,
    pub listed: &'a Listed,
}

impl Undecided<'_> {
    /// Whether it could not be decided.
    pub fn is_excused(&self) -> bool {
        let (op, listed) = (self.op, self.listed);
        let Some(reason) = listed.reason else { return false };
        if listed.status == Status::Pending {
            return self.pending(reason);
        }
        match reason {
            // A body that says a name twice, or a URL that can be read in two ways.
            Reason::BadRow => op.kind == Kind::BadRow || op.doubled.is_some() || op.raw_plus,
            Reason::NoPlan => op.kind == Kind::NoPlan,
            Reason::Unobservable => op.kind.blind() || self.account_of_before(),
            Reason::KeyTaken => self.any(|person| self.taken(person)) || self.turned_away_for_another(),
            Reason::RemovedSince => {
                self.any(|person| self.removed(person)) || self.told_there() || self.shares_its_id_with_anything()
            }
            Reason::AmbiguousMatch if op.kind.deletes() => self.made_meanwhile() || self.shares_its_id_with_anything(),
            Reason::AmbiguousMatch if self.any(|person| self.replicas_differed(person) || self.nearly(person)) => true,
            Reason::Duplicated | Reason::ForeignRecords | Reason::Underdetermined | Reason::AmbiguousMatch => {
                self.any(|person| self.rivals(person))
            }
            Reason::PartlyApplied if op.kind == Kind::Revoke => self.revoked_in_part(),
            Reason::PartlyApplied if self.never_heard_of() => true,
            Reason::PartlyApplied => self.in_part() || self.any(|person| self.rivals(person)),
            Reason::Overwritten => self.overwritten(),
            // A search by parts gives one record of several that have the key within theirs, and never the right one.
            Reason::Expired => {
                self.stage.story.habits.search != Search::Exact && listed.explanation.contains("shows another key")
            }
            _ => false,
        }
    }

    /// It waits for another operation that asks for the same and lacks a control.
    fn waits_for_the_uncontrolled(&self) -> bool {
        let other = self.listed.explanation.split_once("(request ").and_then(|(_, rest)| rest.split_once(')'));
        let is_other = |row: &&Listed| other.is_some_and(|(id, _)| row.request_id == id);
        let rows = self.stage.reports.last().map_or(&[][..], |report| &report.rows);
        let other = rows.iter().find(is_other).and_then(|row| row.reason);
        other == Some(Reason::Uncontrolled) && self.pending(Reason::Uncontrolled)
    }

    fn pending(&self, reason: Reason) -> bool {
        let (habits, op) = (&self.stage.story.habits, self.op);
        match reason {
            // Nobody configured a control that can be believed; or the lookup is a search, which a control shows.
            Reason::Uncontrolled => {
                self.stage.story.trouble == Trouble::WrongControls || habits.search != Search::Exact
            }
            Reason::OtherEnvironment => op.kind == Kind::OtherEnvironment,
            // What has its id may be its correction, and cannot be decided.
            Reason::Unsettled => {
                op.shared_id.is_some() && (self.pending(Reason::Uncontrolled) || habits.folds_keys)
                    || self.waits_for_the_uncontrolled()
            }
            // Another record is answered for this key; or there is no owner any more whose list could be read.
            // Until it goes, when the last look found nothing; or the clock was set within the look before.
            Reason::Unconfirmed => self.answered_for() || self.stage.story.steps,
            // Every key finds the same record, which shows another key.
            Reason::Inconclusive if habits.search == Search::Ignored => true,
            Reason::Inconclusive if self.stage.story.steps && self.listed.explanation.contains("clock was set") => true,
            Reason::Inconclusive => self.answered_for() || self.waits_for_sibling() || self.owner_gone(),
            _ => false,
        }
    }

    fn any(&self, holds: impl Fn(&Person) -> bool) -> bool {
        self.op.persons.iter().any(holds)
    }

    fn ours(&self, account: &Account) -> bool {
        self.op.attempts.iter().any(|attempt| attempt.request_id == account.cause)
    }

    /// The ledger knew of it when that was said.
    fn known(&self, attempt: &Attempt) -> bool {
        self.stage.recorded_at.get(&attempt.request_id).is_some_and(|at| *at <= self.listed.from)
    }

    /// A row that cannot be read has its id, and may be an attempt of it.
    fn shares_its_id_with_anything(&self) -> bool {
        let (id, own) = (&self.op.shared_id, &self.op.operation_id);
        let other = |other: &Op| other.shared_id == *id && other.operation_id != *own && unreadable(other);
        id.is_some() && self.stage.ops.iter().any(other)
    }

    /// The ledger can read the request that made the account.
    fn explains(&self, account: &Account) -> bool {
        let maker = self.stage.of_request.get(&account.cause).map(|op| &self.stage.ops[*op]);
        let recorded = self.stage.recorded_at.get(&account.cause).is_some_and(|at| *at <= self.listed.from);
        recorded && maker.is_some_and(|maker| !unreadable(maker))
    }

    /// A request for several records, or one in a list, was answered 208: that may be the answer to what was made. Of this
    /// operation, or of another one that asks for one of the same.
    fn told_there(&self) -> bool {
        let several = |op: &Op| op.kind == Kind::Family || op.owner.is_some();
        let listed = |op: &Op| op.attempts.iter().any(|attempt| attempt.answer == Some(208) && self.known(attempt));
        let same = |one: &Person, other: &Person| {
            let keys: Vec<String> = one.keys().into_iter().map(folded).collect();
            other.keys().into_iter().any(|key| keys.contains(&folded(key)))
        };
        let asks = |op: &Op| op.persons.iter().any(|one| self.any(|other| same(one, other)));
        self.stage
            .ops
            .iter()
            .any(|op| (op.operation_id == self.op.operation_id || asks(op)) && several(op) && listed(op))
    }

    /// Somebody else bears the key, with other fields; or the record shows another date than it was made with.
    fn taken(&self, person: &Person) -> bool {
        let likenesses = self.truth.likenesses(self.op, person);
        let other = |account: &&Account| !self.ours(account) && !same_fields(person, account);
        person.keyed() && likenesses.iter().any(|account| other(account) || self.truth.shows_another_day(account))
    }

    /// A record in the owner's list is equal in one field and not in the other, and no operation of the ledger explains it: it
    /// may be this one written otherwise. Or it shows another day than it was made with.
    fn nearly(&self, person: &Person) -> bool {
        let listed = self.truth.listed(self.op);
        let near = |account: &&Account| {
            let name = account.details.given_name.as_deref().map(folded) == Some(folded(&person.given_name));
            let date = account.details.birth_date.as_ref() == Some(&person.birth_date);
            let another_day = self.truth.shows_another_day(account);
            // What is shown on another day than it was made with no operation explains.
            let other = (self.explains(account) && !another_day) || self.is_older(account);
            ((name != date || another_day) && !other) || (name && another_day)
        };
        !person.keyed() && listed.iter().any(near)
    }

    /// The record shows that it was made before the operation was first sent.
    fn is_older(&self, account: &Account) -> bool {
        let first = self.op.attempts.iter().map(|attempt| attempt.sent_ms).min();
        let known = !self.shares_its_id_with_anything() && !self.sent_nobody_knows_when();
        let bound = first.filter(|_| self.stage.story.dated && known);
        bound.is_some_and(|first| account.made_ms + self.uncertain() < first)
    }

    /// A record that may be this one was there and is not any more, or a delete of it, or of its owner, may have been applied.
    fn removed(&self, person: &Person) -> bool {
        let likenesses = self.truth.likenesses(self.op, person);
        let owners = self.truth.owners(self.op);
        let gone = likenesses.iter().any(|account| account.deleted_ms.is_some());
        let targets = |other: &Op| {
            let target = other.target.as_deref();
            let is = |key: &Option<String>| {
                key.as_deref().is_some_and(|key| target.is_some_and(|t| folded(t) == folded(key)))
            };
            let of = |account: &&Account| target == Some(account.service_id.as_str());
            match other.kind {
                Kind::DeleteEid => is(&person.eid),
                // With an owner what belonged to it may have gone, also what has a key of its own.
                Kind::DeleteByEmail => is(&person.email) || is(&self.op.owner),
                Kind::DeleteById | Kind::DeleteByQuery => likenesses.iter().any(of) || owners.iter().any(of),
                _ => false,
            }
        };
        let otherwise = !person.keyed() && likenesses.iter().any(|account| self.truth.shows_another_day(account));
        gone || otherwise
            || (!person.keyed() && self.owner_gone())
            || self.stage.ops.iter().any(|other| targets(other) || self.of_nobody_knows(other))
    }

    /// A delete by the server's own id, which may have been applied after this was first sent: whose id it was, nothing in the
    /// ledger tells.
    fn of_nobody_knows(&self, other: &Op) -> bool {
        let Some(first) = self.op.attempts.iter().map(|attempt| attempt.sent_ms).min() else { return false };
        // The clocks of the writers may be off, and the job's may be an hour off when it reads the row.
        let writers = self.stage.story.hosts.iter().map(|off| off.abs()).max().unwrap_or(0);
        let off = self.uncertain().max(writers + MINUTE);
        let first = if self.sent_nobody_knows_when() { i64::MIN } else { first };
        let after = |attempt: &&Attempt| attempt.open_until.max(attempt.sent_ms) + off >= first;
        let may_be_applied = |attempt: &&Attempt| {
            attempt.open_until > i64::MIN || attempt.answer.is_some_and(|status| (200..300).contains(&status))
        };
        other.kind.deletes_by_id()
            && other
                .attempts
                .iter()
                .filter(|attempt| attempt.recorded && may_be_applied(attempt))
                .any(|attempt| after(&attempt))
    }

    /// A row that was dated later than it came, or than it was read (by a clock that was set back), says nothing of when it
    /// was sent.
    fn sent_nobody_knows_when(&self) -> bool {
        self.stage.story.steps || self.op.host_ms >= SHOWN || self.op.attempts.iter().any(|attempt| attempt.jumped)
    }

    fn owner_gone(&self) -> bool {
        let owners = self.truth.owners(self.op);
        !owners.is_empty() && owners.iter().all(|owner| owner.deleted_ms.is_some())
    }

    /// A search, or a server that folds keys of which the plan says nothing, answers with another record.
    fn answered_for(&self) -> bool {
        let target = self.op.target.as_deref().filter(|_| self.op.kind.deletes());
        self.any(|person| self.truth.answered_for(&person.keys()))
            || target.is_some_and(|target| self.truth.answered_for(&[target]))
    }

    /// In the noise every key that is nearly a known one was answered 4xx, which counts as not found; so a search was not told.
    fn turned_away_for_another(&self) -> bool {
        self.stage.story.trouble == Trouble::Noise
            && self.stage.story.habits.search != Search::Exact
            && self.answered_for()
    }

    /// Another operation under the same owner names a key that the server searches for by parts, so that what it made cannot
    /// be told from what this one made.
    fn waits_for_sibling(&self) -> bool {
        let sibling = |other: &Op| other.owner == self.op.owner && other.persons.iter().any(Person::keyed);
        self.stage.story.habits.search != Search::Exact && self.op.owner.is_some() && self.stage.ops.iter().any(sibling)
    }

    /// The account was there before consent was asked for, so that it does not show whether it was.
    fn account_of_before(&self) -> bool {
        let first = self.op.attempts.iter().map(|attempt| attempt.sent_ms).min();
        let before = |account: &&Account| first.is_none_or(|first| account.made_ms <= first);
        self.op.kind == Kind::Consent && self.any(|person| self.truth.likenesses(self.op, person).iter().any(&before))
    }

    /// A record was made under the key of a delete since it was sent, or a request in the ledger may have made it.
    fn made_meanwhile(&self) -> bool {
        let Some(began) = self.op.attempts.iter().map(|attempt| attempt.sent_ms).min() else { return false };
        let accounts = self.truth.under_key(self.op);
        let last = self.op.attempts.iter().map(|attempt| attempt.sent_ms).max().unwrap_or(began);
        // A record that shows when it was made says whether that was before or after, but for the clocks; and what was made
        // between two attempts of the delete is there for the second one to delete.
        let near = began - self.uncertain()..=last + self.uncertain();
        let apart = |account: &&Account| !near.contains(&account.made_ms);
        if self.sent_nobody_knows_when() {
            return true;
        }
        if self.seen_absent_since() {
            return false;
        }
        // Another one was seen under the key once: which of them the delete was about, neither of their ages tells.
        let runs = || self.stage.reports.iter().filter(|report| report.after_run);
        // A look of the run was before its end, and a replica shows what was there.
        let earlier = |at: i64| at - self.stage.story.windows.replica_lag - MINUTE;
        let was_seen = |account: &&&Account| {
            let there = |at: i64| account.made_ms <= at && account.deleted_ms.is_none_or(|gone| gone > earlier(at));
            runs().any(|report| there(report.at))
        };
        if accounts.iter().filter(was_seen).count() > 1 {
            return true;
        }
        if self.stage.story.dated && accounts.iter().all(apart) {
            return false;
        }
        let made = accounts.iter().any(|account| account.made_ms >= began);
        let target = self.op.target.as_deref().map(folded);
        let asks = |other: &Op| {
            let keys = other.persons.iter().flat_map(|person| [&person.email, &person.eid]);
            other.kind.creates() && keys.flatten().any(|key| Some(folded(key)) == target)
        };
        let later = |attempt: &Attempt| attempt.sent_ms >= began || attempt.open_until >= began || attempt.jumped;
        let of_any_time = |other: &Op| other.host_ms >= SHOWN || other.attempts.iter().any(later);
        made || self.stage.ops.iter().any(|other| asks(other) && of_any_time(other))
    }

    /// Times within so much of each other cannot be put in order.
    fn uncertain(&self) -> i64 {
        let story = &self.stage.story;
        // A clock that is far off was set, or will be: whether before or after a row was written, nothing says.
        let far_off = story.steps || story.skew.abs() >= MINUTE || story.has(Twist::ServerHour);
        match (far_off, story.has(Twist::NoDate)) {
            (true, _) => 3 * HOUR,
            (false, true) => 11 * MINUTE,
            (false, false) => MINUTE,
        }
    }

    /// A look after every attempt of the delete was sent found nothing, or another record than is there now.
    fn seen_absent_since(&self) -> bool {
        let (story, op) = (&self.stage.story, self.op);
        let Some(last) = op.attempts.iter().map(|attempt| attempt.sent_ms).max() else { return false };
        let accounts = self.truth.under_key(op);
        let nobody = |from: i64, to: i64| {
            accounts.iter().all(|account| account.made_ms > to || account.deleted_ms.is_some_and(|gone| gone < from))
        };
        let there = |account: &Account| self.listed.server_id.as_ref() == Some(&account.service_id);
        let another = |from: i64, to: i64| {
            let then = |account: &&&Account| account.made_ms < from && account.deleted_ms.is_none_or(|gone| gone > to);
            accounts.iter().filter(then).any(|account| !there(account))
        };
        let looks = self.stage.reports.iter().filter(|report| report.after_run).flat_map(|report| &report.rows);
        let mut looks = looks.filter(|row| row.request_id == self.listed.request_id).filter_map(|row| row.last_checked);
        // A clock that is far off tells no order of what was sent and what was seen.
        !story.steps
            && story.skew.abs() < MINUTE
            && !story.has(Twist::ServerHour)
            && story.trouble == Trouble::None
            && looks.any(|checked| {
                let at = checked - story.skew;
                let from = at - story.windows.replica_lag - MINUTE;
                from > last && (nobody(from, at + MINUTE) || another(from, at + MINUTE))
            })
    }

    /// More than one record, or more than one operation, looks the same: which is whose cannot be seen.
    fn rivals(&self, person: &Person) -> bool {
        if person.keyed() {
            return false;
        }
        let same = |other: &&Op| {
            let twins = other.persons.iter().filter(|twin| !twin.keyed() && *twin == person).count();
            other.owner == self.op.owner && twins > usize::from(other.operation_id == self.op.operation_id)
        };
        // What was sent, or is shown, without a date of birth that can be read is any of that name.
        let unread =
            matches!(self.stage.story.habits.dates, ShownDate::Dotted | ShownDate::Fraction | ShownDate::Zeros);
        let lean = unread || self.op.attempts.iter().any(|attempt| attempt.lean);
        let like = if lean { self.truth.namesakes(self.op, person) } else { self.truth.likenesses(self.op, person) };
        // One of that name that shows another day than it was made with may show this one's.
        let mut namesakes = self.truth.namesakes(self.op, person).into_iter();
        let another_day = namesakes.any(|account| self.truth.shows_another_day(account));
        like.len() > 1 || another_day || self.stage.ops.iter().any(|other| same(&other))
    }

    /// The record came or went just before the look, so that two spellings asked of lagging replicas got different answers.
    fn replicas_differed(&self, person: &Person) -> bool {
        let near = |ms: i64| (self.listed.from - self.stage.story.windows.replica_lag..=self.listed.to).contains(&ms);
        let came_or_went = |account: &&Account| near(account.made_ms) || account.deleted_ms.is_some_and(near);
        person.keyed() && self.truth.likenesses(self.op, person).iter().any(came_or_went)
    }

    /// Some of it is there and some is not.
    fn in_part(&self) -> bool {
        // By the contract a part is fulfilled, too, by a record that was there before the first attempt, whatever it shows.
        let (from, to) = (self.listed.from, self.listed.to);
        let there = |person: &&Person| {
            let accounts = self.truth.likenesses(self.op, person);
            let fits = |account: &&Account| person.keyed() || same_fields(person, account);
            accounts.iter().any(|account| self.truth.seen_alive(account, from, to) && fits(account))
        };
        let count = self.op.persons.iter().filter(there).count();
        count > 0 && count < self.op.persons.len()
    }

    /// As far as the ledger knew nothing was applied: what is there was made by an attempt that was answered so and was not, or
    /// not yet, recorded. Unique records show; the others are nobody's that the ledger knows.
    fn never_heard_of(&self) -> bool {
        let made = |attempt: &Attempt| !self.truth.applied(&attempt.request_id).is_empty();
        !self.op.attempts.iter().filter(|attempt| self.known(attempt)).any(made) && self.op.attempts.iter().any(made)
    }

    /// Another write, the granter's too, had turned off some of the features.
    fn revoked_in_part(&self) -> bool {
        let Some(account) = self.op.target.as_deref().and_then(|id| self.truth.account(id)) else { return false };
        let features = &account.state_at(self.listed.to).features;
        let off =
            |name: &&String| features.iter().any(|feature| feature.identifier == **name && feature.state == "off");
        let count = self.op.features.iter().filter(off).count();
        count > 0 && count < self.op.features.len()
    }

    /// Another write, or a deletion, of what this one writes; or a value whose state from before nobody knew.
    fn overwritten(&self) -> bool {
        let op = self.op;
        // What came into the ledger later does not open a verdict again.
        let applied = |op: &Op| {
            let attempts = op.attempts.iter().filter(|attempt| self.known(attempt));
            attempts
                .flat_map(|attempt| self.truth.applied(&attempt.request_id))
                .any(|applied| applied.what == what(op.kind))
        };
        let target = op.target.as_deref().and_then(|id| self.truth.account(id));
        let deleted = target.is_none_or(|account| account.deleted_ms.is_some());
        let same = |other: &&Op| {
            other.operation_id != op.operation_id
                && other.kind.updates()
                && other.target == op.target
                && (other.kind == Kind::Ial) == (op.kind == Kind::Ial)
        };
        // Deletes name the account by its eid; one in doubt may have been applied as far as the ledger knows.
        let eid = target.and_then(|account| account.details.eid.clone());
        let deletes = |other: &Op| other.kind == Kind::DeleteEid && other.target.is_some() && other.target == eid;
        deleted
            || self.stage.ops.iter().any(|other| same(&other) || deletes(other))
            || (op.kind == Kind::Ial && !applied(op))
            || self.shares_its_id_with_anything()
    }
}

/// Its rows cannot be read.
fn unreadable(op: &Op) -> bool {
    op.doubled.is_some() || op.kind == Kind::BadRow
}
