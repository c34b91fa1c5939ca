//! A permit: whether one operation may be sent again at this moment, decided on a fresh look, and written ahead.
//!
//! It is looked at and decided by the code of a run, and the run's lock is the caller's. What was seen is kept as evidence
//! either way: a record that turned up late corrects the verdict, as it does under watch.

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::look::{Looked, Turn};
use crate::clock::{Moment, Span, Tick, tick};
use crate::config::Config;
use crate::decide::{Decision, decide, operations};
use crate::evidence::{Attempt, Case, Effect, Facts, Kind, Record, Window};
use crate::http::Transport;
use crate::ledger::{Approved, Group, Intent, Ledger, Member, News, RunId};
use crate::lookup::{Lookups, Stop};
use crate::plan::Reader;
use crate::words::{Action, Control, Outcome, Reason, Seen, Status};

/// A permit is for now: what was looked at is not known for long. So long a look may take, and be old when it is decided upon,
/// and so long a permit may be used.
const LONGEST: Span = Span::seconds(60);

/// A clock and the timer that are further apart than this after a look were not left alone; adjusting a clock slowly is less.
const SET: Span = Span::seconds(1);

/// That one operation may be sent again now, once. It is written into the ledger as an intent before it leaves, and names
/// the partner's request by the partner's own ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permit {
    /// Of the new attempt.
    pub request_id: String,
    pub operation_id: String,
    /// In the plan's words.
    pub operation: Option<String>,
    pub method: String,
    /// The plan's template.
    pub path: String,
    /// The request ids of the attempts so far, in order of sending.
    pub attempts: Vec<String>,
    /// Who has not begun to send by then must not.
    #[serde(serialize_with = "as_text")]
    pub deadline: Moment,
}

fn as_text<S: Serializer>(moment: &Moment, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Permit(Permit),
    /// The look found something: what was approved is not so any more.
    Surprise(String),
    /// It cannot be said at this moment, or a writer came in between.
    NotNow(String),
    /// The server is left alone.
    NoAnswer(String),
}

/// What permits are decided with.
pub struct Permits<'a, T> {
    pub config: &'a Config,
    pub reader: &'a Reader<'a>,
    pub lookups: &'a Lookups<'a, T>,
    pub run: RunId,
    pub clock: fn() -> Moment,
    /// Makes the request id of a new attempt.
    pub fresh_id: fn(&Ledger) -> String,
}

/// How long after it was written a permit may be used at the latest: the rest of the window is the request's own.
pub fn deadline_after(config: &Config) -> Span {
    Span(config.windows.intent.0 / 2).min(LONGEST)
}

impl<T: Transport> Permits<'_, T> {
    /// Looks at an approved operation and decides its group anew. If it may still be sent again, the permit is in the ledger
    /// when this returns it.
    ///
    /// # Errors
    /// When the ledger cannot be read or written, or credentials are refused.
    pub async fn of(&self, ledger: &mut Ledger, approved: &Approved) -> Result<Answer> {
        let windows = &self.config.windows;
        let now = (self.clock)();
        let removals = ledger.removals(self.reader, windows, now)?;
        let blank = Case { windows: windows.clone(), attempts: Vec::new(), removals };
        let group = ledger.group_of(approved.entry, self.reader, now, &blank)?;
        let Some(open) = its_operation(&group, approved.entry) else { return Ok(not_as_shown()) };
        if !stands_as_shown(&group, &open, approved) {
            return Ok(not_as_shown());
        }
        let Some(like) = last_sent(&group, &open) else { return Ok(not_as_shown()) };
        let permit = Permit {
            request_id: (self.fresh_id)(ledger),
            operation_id: group.members[like].row.operation().to_owned(),
            operation: group.case.attempts[like].facts.operation.clone(),
            method: group.case.attempts[like].facts.method.clone(),
            path: group.case.attempts[like].facts.path.clone(),
            attempts: in_order(&group, &open).into_iter().map(|at| group.members[at].row.request_id.clone()).collect(),
            deadline: Moment(0),
        };
        let never_sent =
            group.case.attempts[like].verdict.as_ref().map(|verdict| verdict.reason) == Some(Reason::NeverSent);
        let like = group.case.attempts[like].entry;
        let began = ((self.clock)(), tick());
        let turn = Turn::of(group, open, self.reader, began.0, |effect| is_looked_at(effect, never_sent));
        let (looked, skew) = match tokio::time::timeout(LONGEST.duration(), self.look(turn, never_sent)).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(Stop::Alone(why) | Stop::Failed(why))) => return Ok(Answer::NoAnswer(why)),
            Ok(Err(Stop::Fatal(error))) => return Err(error),
            // A pause that the server asked for may last for hours, and a run waits for the lock.
            Err(_) => return Ok(Answer::NoAnswer(format!("it took longer than {LONGEST}"))),
        };
        let now = (self.clock)();
        let clock = if was_set(began, now) { Some(set_meanwhile()) } else { skew.and_then(far_off) };
        self.decided(ledger, approved, looked, (like, permit, now), clock)
    }

    /// Makes the looks. Where nothing is looked at the server is asked for its time all the same.
    async fn look(&self, turn: Turn, never_sent: bool) -> Result<(Looked, Option<(Span, Span)>), Stop> {
        let looked = turn.look(self.lookups, self.reader).await?;
        let skew = if never_sent { self.lookups.skew().await? } else { None };
        Ok((looked, skew))
    }

    /// Writes what was seen, and the permit if it may be given; `clock` is what this host's clock has against it.
    fn decided(
        &self,
        ledger: &mut Ledger,
        approved: &Approved,
        looked: Looked,
        (like, permit, now): (i64, Permit, Moment),
        clock: Option<Answer>,
    ) -> Result<Answer> {
        let still = still_advised(&looked, now).or(clock);
        let seen = looked.tell(now);
        if let Some(answer) = still {
            ledger.store_groups(self.run, &[seen], self.reader, &mut News::default(), now)?;
            if matches!(answer, Answer::Surprise(_)) {
                // Its verdict may stand all the same; what comes after it in the list is not to wait for it.
                ledger.disapprove(approved, now)?;
            }
            return Ok(answer);
        }
        let Permit { request_id, operation_id, .. } = &permit;
        let intent = Intent { approved: *approved, request_id, operation_id, like, sent: now };
        if !ledger.permit(self.run, &seen, self.reader, &intent)? {
            return Ok(not_as_shown());
        }
        Ok(Answer::Permit(Permit { deadline: now + deadline_after(self.config), ..permit }))
    }
}

fn not_as_shown() -> Answer {
    Answer::NotNow("something of it came or changed since it was approved (`run` decides it anew)".to_owned())
}

/// Which members of the group are attempts of the operation of this entry.
fn its_operation(group: &Group, entry: i64) -> Option<Vec<bool>> {
    let operations = operations(&group.case);
    let place = group.case.attempts.iter().position(|attempt| attempt.entry == entry)?;
    Some(operations.iter().map(|operation| *operation == operations[place]).collect())
}

/// The members that are open, each with its attempt.
fn each_open<'a>(group: &'a Group, open: &'a [bool]) -> impl Iterator<Item = (&'a Member, &'a Attempt)> {
    group.each().zip(open).filter(|(_, open)| **open).map(|(member, _)| member)
}

/// Whether every attempt of the operation stands as it was shown: by the verdict that was approved, and with nothing that
/// came since.
fn stands_as_shown(group: &Group, open: &[bool], approved: &Approved) -> bool {
    let advised = |attempt: &Attempt| {
        attempt.verdict.as_ref().is_some_and(|verdict| {
            verdict.status == Status::Resolved
                && verdict.outcome == Outcome::NotApplied
                && verdict.action == Action::Resend
        })
    };
    each_open(group, open).all(|(member, attempt)| {
        let same = attempt.entry != approved.entry || member.state.said == Some(approved.verdict);
        same && (attempt.answered() || advised(attempt) && !member.reopened())
    })
}

/// The attempts of the operation in order of sending.
fn in_order(group: &Group, open: &[bool]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..open.len()).filter(|place| open[*place]).collect();
    places.sort_by_key(|place| (group.case.attempts[*place].facts.sent, &group.members[*place].row.request_id));
    places
}

/// The last attempt of the operation that was not answered: what is sent again is like it.
fn last_sent(group: &Group, open: &[bool]) -> Option<usize> {
    in_order(group, open).into_iter().rev().find(|place| !group.case.attempts[*place].answered())
}

/// `None`: every attempt of the operation is still advised to be sent again, and the looks stand behind it; else why not. What
/// is not as expected is said before what is only not known.
fn still_advised(looked: &Looked, now: Moment) -> Option<Answer> {
    let group = &looked.group;
    let decisions = decide(&group.case);
    let examined = group.each().zip(&decisions).zip(&looked.open);
    let examined: Vec<_> =
        examined.filter(|((each, _), open)| **open && !each.1.answered()).map(|(examined, _)| examined).collect();
    // Nothing was sent, or what was sent was turned away: then what is there is another's.
    let made_nothing = examined.iter().all(|(each, _)| each.1.facts.window == Window::None);
    let mut answers: Vec<Answer> = examined
        .into_iter()
        .filter_map(|((member, attempt), decision)| {
            spoken_against(member, attempt, decision, now)
                .or_else(|| made_nothing.then(|| is_listed(attempt)).flatten())
        })
        .collect();
    answers.extend(looked.unusable.first().map(|(lookup, controls)| {
        let why = controls.contradiction().or(controls.cause.as_deref()).unwrap_or("no answer");
        Answer::NotNow(format!("lookup {lookup}: its controls do not stand behind it ({why})"))
    }));
    let surprise = answers.iter().position(|answer| matches!(answer, Answer::Surprise(_)));
    (!answers.is_empty()).then(|| answers.swap_remove(surprise.unwrap_or(0)))
}

/// What speaks against sending an attempt again.
fn spoken_against(member: &Member, attempt: &Attempt, decision: &Decision, now: Moment) -> Option<Answer> {
    match decision {
        // A clock that is wrong may be all that it waits for.
        Decision::Defer(_) if clock_is_off(member, attempt).is_some() => clock_is_off(member, attempt),
        Decision::Settle(verdict) if verdict.action == Action::Resend && verdict.status == Status::Resolved => {
            unseen(member, attempt, verdict.reason, now)
        }
        Decision::Settle(verdict) => Some(Answer::Surprise(format!("{} ({})", verdict.outcome, verdict.reason))),
        Decision::Defer(deferral) => Some(Answer::NotNow(format!("{}: {}", deferral.reason, deferral.explanation))),
    }
}

/// Nothing observes what never left its sender; but of a create that the server does not keep unique, the list is looked at.
fn is_looked_at(effect: &Effect, never_sent: bool) -> bool {
    !never_sent || effect.kind == Kind::Member
}

/// This host's clock is far from the server's, by the looks that were made just now.
fn clock_is_off(member: &Member, attempt: &Attempt) -> Option<Answer> {
    attempt.looks[member.stored_looks..].iter().filter_map(|look| look.skew).find_map(far_off)
}

/// What the looks that were made just now lack: one at every effect, with an answer to rely on. Of a create that the server
/// does not keep unique the list must be whole.
fn unseen(member: &Member, attempt: &Attempt, reason: Reason, now: Moment) -> Option<Answer> {
    let never_sent = reason == Reason::NeverSent;
    let not_now = |why: &str| Some(Answer::NotNow(why.to_owned()));
    let effects = attempt.facts.effects.iter().enumerate();
    for (index, effect) in effects.filter(|(_, effect)| is_looked_at(effect, never_sent)) {
        let look = attempt.looks[member.stored_looks..].iter().find(|look| look.effect == index);
        let Some(look) = look.filter(|look| look.seen != Seen::Inconclusive && look.random == Control::Held) else {
            return not_now("it could not be looked at just now, with an answer to rely on");
        };
        if let Some(off) = look.skew.and_then(far_off) {
            return Some(off);
        }
        if now.since(look.asked) > LONGEST {
            return not_now("what was seen of it is older than a minute by now");
        }
        if effect.kind != Kind::Member {
            continue;
        }
        let no_list = look.owner_is_absent() && !makes_owner(&attempt.facts, effect);
        if no_list || look.known != Control::Held {
            return not_now("its list could not be seen whole just now");
        }
    }
    None
}

/// The last look at an owner's list shows what the attempt would make, and can have been made since: somebody else did it, for
/// no attempt was taken. Nothing is said of it by the verdict.
fn is_listed(attempt: &Attempt) -> Option<Answer> {
    let since = |made: Moment| attempt.facts.sent().is_none_or(|sent| made + LONGEST >= sent);
    let like = |record: &Record| !record.differs() && record.made.is_none_or(since);
    let members = attempt.facts.effects.iter().enumerate().filter(|(_, effect)| effect.kind == Kind::Member);
    let mut last = members.filter_map(|(index, _)| attempt.looks.iter().rev().find(|look| look.effect == index));
    last.any(|look| look.records.iter().any(like))
        .then(|| Answer::Surprise("what it would make is listed, though no attempt was taken".to_owned()))
}

/// What is to be added to this host's clock, at least and at most, is too much: the permit's time would be in doubt.
fn far_off((least, most): (Span, Span)) -> Option<Answer> {
    let off = if least.0 > 0 { least } else { Span(-most.0) };
    (off.0 > LONGEST.0).then(|| {
        Answer::NotNow(format!(
            "this host's clock is {off} from the server's, and a permit's time would mean nothing (set it right)"
        ))
    })
}

/// The clock was set since then: the permit would be dated otherwise than what was seen, and the intent's window would end
/// too soon.
fn was_set((clock, timer): (Moment, Tick), now: Moment) -> bool {
    let passed = i64::try_from(timer.elapsed().as_millis()).unwrap_or(i64::MAX);
    now.since(clock).0.abs_diff(passed) > SET.0.unsigned_abs()
}

fn set_meanwhile() -> Answer {
    Answer::NotNow("this host's clock was set while it was looked at".to_owned())
}

/// The request makes the owner of the list, too: before that there is none.
fn makes_owner(facts: &Facts, member: &Effect) -> bool {
    let makes =
        |effect: &Effect| effect.kind == Kind::Create && effect.keys().any(|key| Some(key) == member.owner_record);
    facts.effects.iter().any(makes)
}
