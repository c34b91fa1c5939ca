//! The judge: from the truth alone, and independent of the decision, what was wrong about each verdict.
//!
//! # What counts as wrong
//! - `false_not_applied`: the verdict says not-applied, and an attempt that was sent before it has been applied by then
//!   or will be. Not counted, but `unknowable`: what was made and then removed by somebody whom the ledger does not know,
//!   for every not-applied states that assumption; and what an attempt made that was not in the ledger yet, or never came
//!   into it because its client was told a definite answer.
//! - `false_applied`: the verdict says applied or satisfied, and the state did not hold when the server was asked; or the
//!   id to store is another record's; or it says applied, and an operation that the ledger knew of by then made it; or it
//!   names a child, and passes over another one that the operation made and the list showed.
//!   Where somebody made it whom the ledger does not know (another system with the same key and fields), nothing that
//!   can be asked tells: that is `unknowable`.
//! - `unsafe_resend`: the advice is to resend, and that would make a second record or consent.
//! - `undecided`: pending or duplicate-risk at the end, although what can be looked up decides it; see [`super::excuse`].
//!
//! In a world that breaks the windows an application after them is `late`, and `missed` if the verdict still stands when
//! its watch has ended.

use anyhow::Result;
use privo_reconcile::sandbox::{Account, Applied, BY_HAND, State};
use privo_reconcile::standing::{Entries, Filter};
use privo_reconcile::words::{Action, Outcome, Reason, Status};

use super::excuse;
use super::figures::Figures;
use super::ops::{Attempt, Kind, Op, Person};
use super::play::told_of;
use super::stage::{Stage, Told};
use super::time;
use super::truth::{Truth, same_fields, same_key, what};

/// What the judge says of one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Right,
    /// Wrong, by nothing that could have been known.
    Unknowable,
    Wrong(&'static str),
}

/// Judges a world that has come to its end.
///
/// # Errors
/// When the ledger cannot be read.
pub fn judge(stage: &mut Stage) -> Result<Figures> {
    let truth = Truth::of(stage.server.world.borrow_mut().truth(time::true_ms()), &stage.story.windows);
    let mut figures = Figures {
        worlds: 1,
        requests: stage.server.requests.get(),
        broken: stage.story.breaks_windows,
        ..Figures::default()
    };
    figures.by_trouble.insert(format!("{:?}", stage.story.trouble), 1);
    let mut finals = Vec::new();
    let of_request = &stage.of_request;
    let now = time::true_ms();
    let mut last_told = std::collections::HashMap::new();
    for told in &stage.told {
        last_told.insert(told.request_id.as_str(), (told.from, told.to));
    }
    stage.ledger.each_row(&Filter::default(), Entries::Unread, |row| {
        if let Some(op) = of_request.get(&row.request_id) {
            let (from, to) = last_told.get(row.request_id.as_str()).copied().unwrap_or((now, now));
            finals.push(told_of(*op, row, from, to));
        }
        Ok(())
    })?;
    let verified = stage.ledger.verify()?;
    let mut bench = Bench { stage, truth: &truth, figures };
    for (request, what) in &verified.differences {
        bench.wrong("verify differs", request, what);
    }
    bench.figures.differing = verified.differing;
    bench.figures.verdicts = verified.verdicts;
    for told in &bench.stage.told.clone() {
        bench.verdict(told, &finals);
    }
    for told in &finals {
        bench.end(told);
    }
    let figures = bench.figures;
    for wrong in &figures.wrongs {
        stage.note(|| wrong.clone());
    }
    Ok(figures)
}

struct Bench<'a> {
    stage: &'a Stage,
    truth: &'a Truth,
    figures: Figures,
}

impl Bench<'_> {
    fn wrong(&mut self, figure: &str, request: &str, why: &str) {
        let seed = self.stage.story.seed;
        let why: String = why.chars().take(400).collect();
        self.figures.wrongs.push(format!("{figure}: seed {seed}, {request}: {why}"));
    }

    /// One verdict, or an advice while pending, at the time it was given.
    fn verdict(&mut self, told: &Told, finals: &[Told]) {
        let op = &self.stage.ops[told.op];
        self.figures.corrections += u64::from(told.correction);
        let describe = |why: &str| {
            let words = (told.status, told.outcome, told.reason, told.action);
            format!("{why}: {:?} {words:?} {:?}", op.kind, told.server_id)
        };
        if told.action == Some(Action::MayResend) && !op.kind.repeat_blocked() {
            self.figures.unsafe_resend += 1;
            self.wrong("unsafe_resend", &told.request_id, &describe("may-resend where nothing blocks a repeat"));
        }
        if told.status != Status::Resolved {
            return;
        }
        match told.outcome {
            Some(Outcome::NotApplied) => match self.not_applied(op, told) {
                Ruling::Right => {}
                Ruling::Unknowable => self.figures.unknowable += 1,
                Ruling::Wrong(why) if self.stage.story.breaks_windows => {
                    self.figures.late += 1;
                    let last = finals.iter().find(|last| last.request_id == told.request_id);
                    let stands = last.is_some_and(|last| last.outcome == Some(Outcome::NotApplied));
                    if stands && watched(told) {
                        self.figures.missed += 1;
                        self.wrong("missed by the watch", &told.request_id, &describe(why));
                    }
                }
                Ruling::Wrong(why) => {
                    self.figures.false_not_applied += 1;
                    self.wrong("false_not_applied", &told.request_id, &describe(why));
                    if told.action == Some(Action::Resend) && op.kind.creates() && !op.kind.repeat_blocked() {
                        self.figures.unsafe_resend += 1;
                        self.wrong("unsafe_resend", &told.request_id, &describe(why));
                    }
                }
            },
            Some(Outcome::Applied | Outcome::Satisfied) => match self.applied(op, told) {
                Ruling::Right => {}
                Ruling::Unknowable => self.figures.unknowable += 1,
                Ruling::Wrong(why) => {
                    self.figures.false_applied += 1;
                    self.wrong("false_applied", &told.request_id, &describe(why));
                }
            },
            _ => {}
        }
        if told.action == Some(Action::Resend) && op.kind.blind() && told.reason != Some(Reason::NeverSent) {
            self.figures.unsafe_resend += 1;
            self.wrong("unsafe_resend", &told.request_id, &describe("nothing can tell whether it was applied"));
        }
    }

    /// The attempts that were sent before a verdict.
    fn sent_before<'a>(&self, op: &'a Op, told: &Told) -> Vec<&'a Attempt> {
        op.attempts.iter().filter(|attempt| attempt.sent_ms <= told.to).collect()
    }

    fn not_applied(&self, op: &Op, told: &Told) -> Ruling {
        let attempts = self.sent_before(op, told);
        if !op.kind.creates() {
            let known = attempts.iter().filter(|attempt| self.known(&attempt.request_id, told));
            let applied = known.flat_map(|attempt| self.truth.applied(&attempt.request_id));
            // A change that came to pass before the account was deleted left no trace that could be looked up.
            let applied: Vec<&Applied> = applied.filter(|applied| applied.what == what(op.kind)).collect();
            return match applied.iter().all(|applied| self.written_over(op, applied, told)) {
                true if applied.is_empty() => Ruling::Right,
                true => Ruling::Unknowable,
                false => Ruling::Wrong("an attempt was or will be applied"),
            };
        }
        let mut ruling = Ruling::Right;
        for account in self.truth.made_by(&attempts) {
            if !self.known(&account.cause, told) {
                // Made by an attempt that its writer had not recorded yet, or never did because it was told so.
                ruling = Ruling::Unknowable;
                continue;
            }
            // Found older than the request, which it blocks; somebody removed it before the request was applied late.
            let found = told.server_id.as_deref().and_then(|id| self.truth.account(id));
            if told.reason == Some(Reason::Preexisting)
                && found.is_some_and(|found| found.cause != account.cause && self.removed_unknown(found, told))
            {
                ruling = Ruling::Unknowable;
                continue;
            }
            if account.deleted_ms.is_none_or(|deleted| deleted >= told.from) {
                return Ruling::Wrong("an attempt was or will be applied");
            }
            match self.truth.deleter(&account.service_id) {
                Some(deleter) if self.known(deleter, told) => {
                    return Ruling::Wrong("made, and deleted as the ledger knows");
                }
                _ => ruling = Ruling::Unknowable,
            }
        }
        ruling
    }

    /// The level that it set was set otherwise by a request that the ledger does not know, as if it had never been there.
    fn written_over(&self, op: &Op, applied: &Applied, told: &Told) -> bool {
        let since = |other: &Applied| {
            let after = (applied.applied_ms..=told.to).contains(&other.applied_ms);
            after && other.record == applied.record && other.what == "assurance set"
        };
        let mut others = self.truth.journal.per_request.iter().filter(|(cause, _)| !self.known(cause, told));
        let account = self.truth.account(&applied.record).filter(|_| op.kind == Kind::Ial);
        let shown = account.map(|account| account.state_at(told.to));
        shown.is_some_and(|state| !shows_level(state, op)) && others.any(|(_, done)| done.iter().any(since))
    }

    fn removed_unknown(&self, account: &Account, told: &Told) -> bool {
        self.truth.deleter(&account.service_id).is_some_and(|deleter| !self.known(deleter, told))
    }

    /// The ledger knew of this request when the verdict was given.
    fn known(&self, request_id: &str, told: &Told) -> bool {
        self.stage.recorded_at.get(request_id).is_some_and(|at| *at <= told.from)
    }

    fn applied(&self, op: &Op, told: &Told) -> Ruling {
        match op.kind {
            kind if kind.creates() => self.made(op, told),
            kind if kind.deletes() => self.deleted(op, told),
            Kind::Ial | Kind::Revoke => self.written(op, told),
            Kind::Webhook => self.fetched(op, told),
            _ => Ruling::Wrong("nothing can have shown that"),
        }
    }

    fn made(&self, op: &Op, told: &Told) -> Ruling {
        let ids = told.server_id.as_deref().unwrap_or_default();
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
            match self.made_one(op, person, account, told) {
                Ruling::Right => {}
                Ruling::Unknowable => ruling = Ruling::Unknowable,
                wrong => return wrong,
            }
        }
        ruling
    }

    fn made_one(&self, op: &Op, person: &Person, account: &Account, told: &Told) -> Ruling {
        let attempts = self.sent_before(op, told);
        if !self.truth.seen_alive(account, told.from, told.to) {
            return Ruling::Wrong("the record was not there");
        }
        let same = if person.keyed() { same_key(person, account) } else { self.listed(op, account) };
        if !same || !same_fields(person, account) {
            return Ruling::Wrong("the record is somebody else's");
        }
        if attempts.iter().any(|attempt| attempt.request_id == account.cause) {
            return match self.hides_another(op, person, account, told) {
                true => Ruling::Wrong("the operation made another record as well, which is there and is not told"),
                false => Ruling::Right,
            };
        }
        // Somebody else made it. With a key of its own the state holds all the same, and only "applied" is too much; a
        // child without one is another child.
        let claims = told.outcome == Some(Outcome::Applied) && told.reason == Some(Reason::Created);
        if person.keyed() && (!claims || op.kind == Kind::Family) {
            return Ruling::Right;
        }
        // A record of somebody whom the ledger does not know stands in the list for another's.
        let likenesses = self.truth.likenesses(op, person);
        let stranger = !person.keyed() && likenesses.iter().any(|one| !self.known(&one.cause, told));
        if account.cause != BY_HAND && self.known(&account.cause, told) && !stranger {
            return Ruling::Wrong("another operation that the ledger knows made the record");
        }
        Ruling::Unknowable
    }

    /// Another attempt made another record that the list showed, and the ledger knows of both attempts.
    fn hides_another(&self, op: &Op, person: &Person, account: &Account, told: &Told) -> bool {
        let attempts = self.sent_before(op, told);
        let shown = |other: &&Account| {
            other.cause != account.cause
                && self.known(&other.cause, told)
                && self.listed(op, other)
                && same_fields(person, other)
                && !self.truth.seen_absent(other, told.from, told.to)
        };
        !person.keyed() && self.known(&account.cause, told) && self.truth.made_by(&attempts).any(|other| shown(&other))
    }

    fn listed(&self, op: &Op, account: &Account) -> bool {
        let parent = account.parent.as_deref().and_then(|id| self.truth.account(id));
        let email = parent.and_then(|parent| parent.details.email.as_deref()).unwrap_or_default();
        op.owner.as_deref().is_some_and(|owner| owner.eq_ignore_ascii_case(email.trim()))
    }

    fn deleted(&self, op: &Op, told: &Told) -> Ruling {
        let target = op.target.as_deref().unwrap_or_default();
        let of_key = |account: &&Account| match op.kind {
            Kind::DeleteEid => account.details.eid.as_deref() == Some(target),
            _ => account.service_id == target,
        };
        let accounts: Vec<&Account> = self.truth.journal.accounts.iter().filter(of_key).collect();
        match told.reason {
            Some(Reason::Deleted) if accounts.iter().all(|a| self.truth.seen_absent(a, told.from, told.to)) => {
                Ruling::Right
            }
            Some(Reason::Recreated) if accounts.iter().filter(|a| a.made_ms <= told.to).count() > 1 => Ruling::Right,
            _ => Ruling::Wrong("the account was there"),
        }
    }

    fn written(&self, op: &Op, told: &Told) -> Ruling {
        let target = op.target.as_deref().unwrap_or_default();
        let Some(account) = self.truth.account(target) else { return Ruling::Wrong("no such account") };
        let holds = |at: i64| {
            let state = account.state_at(at);
            let off = |name: &String| state.features.iter().any(|f| f.identifier == *name && f.state == "off");
            if op.kind == Kind::Ial { shows_level(state, op) } else { op.features.iter().all(off) }
        };
        let seen = self.truth.seen_alive(account, told.from, told.to);
        let changes = account.states.iter().map(|state| state.since_ms).filter(|at| (told.from..=told.to).contains(at));
        let lag = self.stage.story.windows.replica_lag;
        let mut moments = changes.chain([told.from - lag, told.from, told.to]);
        if seen && moments.any(holds) { Ruling::Right } else { Ruling::Wrong("the state does not hold") }
    }

    fn fetched(&self, op: &Op, told: &Told) -> Ruling {
        if told.reason == Some(Reason::Present) {
            let taken = op.attempts.iter().any(|a| a.answer == Some(200) && a.sent_ms <= told.to);
            return if taken { Ruling::Right } else { Ruling::Wrong("no later delivery was taken") };
        }
        let target = op.target.as_deref().unwrap_or_default();
        let consent = self.truth.journal.consents.iter().find(|consent| consent.consent_identifier == target);
        let lag = self.stage.story.windows.replica_lag;
        let state = |at: i64| consent.and_then(|consent| consent.state_at(at)).unwrap_or("missing");
        let changes = consent.iter().flat_map(|c| &c.states).map(|(at, _)| *at);
        let changes = changes.filter(|at| (told.from - lag..=told.to).contains(at));
        let mut moments = changes.chain([told.from - lag, told.from, told.to]);
        match moments.any(|at| told.explanation.contains(state(at))) {
            true => Ruling::Right,
            false => Ruling::Wrong("the state was another"),
        }
    }

    /// Where an entry stands in the end.
    fn end(&mut self, told: &Told) {
        let op = &self.stage.ops[told.op];
        self.figures.entries += 1;
        let of_kind = self.figures.by_kind.entry(format!("{:?}", op.kind)).or_default();
        of_kind.entries += 1;
        match (told.status, told.outcome) {
            (Status::Pending, _) => of_kind.pending += 1,
            (Status::DuplicateRisk, _) => of_kind.duplicate_risk += 1,
            (_, Some(Outcome::Applied)) => of_kind.applied += 1,
            (_, Some(Outcome::Satisfied)) => of_kind.satisfied += 1,
            _ => of_kind.not_applied += 1,
        }
        if told.status == Status::Resolved {
            return;
        }
        let reason = told.reason.map_or("none".to_owned(), |reason| reason.to_string());
        if excuse::undecidable(self.stage, self.truth, op, told) {
            *self.figures.by_reason.entry(format!("{} {reason}", told.status)).or_default() += 1;
        } else if !self.stage.story.breaks_windows {
            self.figures.undecided += 1;
            let line = format!("{:?} {} {reason} {:?}: {}", op.kind, told.status, told.server_id, told.explanation);
            self.wrong("undecided", &told.request_id, &line);
        }
    }
}

/// It shows the level that the operation sets.
fn shows_level(state: &State, op: &Op) -> bool {
    state.attributes.iter().any(|a| a.ial.as_ref() == op.features.first())
}

/// The watch looks at it again.
fn watched(told: &Told) -> bool {
    use Reason::{ConfirmedAbsent, NeverSent, NotDeleted, NotUpdated};
    matches!(told.reason, Some(ConfirmedAbsent | NeverSent | NotDeleted | NotUpdated))
}
