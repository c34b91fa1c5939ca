//! What every attempt asks of its group, found out once: a hundred thousand entries may share a key, and each of them
//! looking through all the others would take hours.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{alone_settled, alone_settled_longest, in_doubt, maybe_applied, maybe_succeeded, own_id};
use super::view;
use crate::clock::Moment;
use crate::evidence::{Attempt, Kind, Link, Windows};
use crate::words::{Failure, Seen};

/// When something was sent; unknown is earlier than all that is known.
type Sent = Option<Moment>;

/// A time in which an attempt can have been applied: from when it was sent until its window was over.
pub type Able = (Moment, Moment);

/// What is known of one operation.
#[derive(Default)]
pub struct Operation<'a> {
    pub attempts: Vec<&'a Attempt>,
    /// No byte of any attempt left its sender.
    pub never_sent: bool,
    /// When what can have been applied was first sent, by the writer's clock; `None` when that of any such attempt cannot be
    /// believed.
    pub first_sent: Sent,
    /// When the last attempt was sent, by the writer's clock; `None` when that of none can be believed.
    pub last_sent: Sent,
    /// When its attempts can have been applied, in order and apart from each other.
    pub spans: Vec<Able>,
    /// The same when each attempt waits for the longest window.
    pub spans_longest: Vec<Able>,
    /// An attempt was told that it succeeded, or perhaps.
    pub answered_success: bool,
    /// Others that have its key may be known no more.
    pub overtaken: bool,
}

impl<'a> Operation<'a> {
    fn of(attempts: Vec<&'a Attempt>, windows: &Windows) -> Operation<'a> {
        let not_sent = |attempt: &&&Attempt| attempt.facts.failure == Some(Failure::NotSent);
        Operation {
            never_sent: attempts.iter().all(|attempt| not_sent(&attempt)),
            first_sent: first_sent(&attempts),
            last_sent: attempts.iter().map(|attempt| attempt.facts.sent()).max().flatten(),
            spans: spans(&attempts, |attempt| alone_settled(windows, attempt)),
            spans_longest: spans(&attempts, |attempt| alone_settled_longest(windows, attempt)),
            answered_success: attempts.iter().any(|attempt| maybe_succeeded(attempt)),
            overtaken: attempts.iter().any(|attempt| attempt.facts.overtaken),
            attempts,
        }
    }
}

/// What was refused or turned away can have made nothing; where all was, the first of what reached the server counts.
fn first_sent(attempts: &[&Attempt]) -> Sent {
    let sent = |attempt: &&Attempt| attempt.facts.sent();
    let reached = |attempt: &&&Attempt| attempt.facts.failure != Some(Failure::NotSent);
    let able = attempts.iter().filter(|attempt| maybe_applied(attempt)).map(sent).min();
    able.or_else(|| attempts.iter().filter(reached).map(sent).min()).flatten()
}

/// Each from when it was sent until `over`; those that meet are one.
fn spans(attempts: &[&Attempt], over: impl Fn(&Attempt) -> Moment) -> Vec<Able> {
    let able = attempts.iter().filter(|attempt| maybe_applied(attempt));
    let mut apart: Vec<Able> = able.map(|a| (a.facts.sent().unwrap_or(Moment(i64::MIN)), over(a))).collect();
    apart.sort_unstable();
    apart.dedup_by(|next, before| {
        let meet = next.0 <= before.1;
        before.1 = if meet { before.1.max(next.1) } else { before.1 };
        meet
    });
    apart
}

/// The operations of a group.
pub fn operations<'a>(attempts: &'a [Attempt], windows: &Windows) -> BTreeMap<Link, Operation<'a>> {
    let mut of: BTreeMap<Link, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        of.entry(attempt.facts.identity).or_default().push(attempt);
    }
    of.into_iter().map(|(identity, attempts)| (identity, Operation::of(attempts, windows))).collect()
}

/// What is known of one record's key.
#[derive(Default)]
pub struct OfKey<'a> {
    /// Deletes that may have been applied.
    pub deletes: Vec<&'a Attempt>,
    pub delete_in_doubt: bool,
    /// Creates that may have been applied.
    pub creates: Vec<&'a Attempt>,
    pub create_in_doubt: bool,
    /// It was found once under its own spelling, by whichever attempt's look.
    pub found: bool,
    /// Each time that it was seen so under this plan, with controls, in order: when for sure, when by the job's clock, and
    /// under which id.
    seen: Vec<(Moment, Moment, &'a str)>,
    /// Each verdict of this plan that names it, and when it was decided.
    named: Vec<(Moment, &'a str)>,
    /// A retry was told that it is there, and nothing else that the retry made explains the word.
    pub told_there: bool,
    /// When each operation that may have made it did so first.
    made: BTreeMap<Link, Sent>,
    /// The same in order of time.
    makers: Vec<(Sent, Link)>,
    /// When each operation that was told so made it first.
    told: BTreeMap<Link, Sent>,
    /// Until when an operation that was told so may have made it last; `None` within: at an unknown time.
    told_last: Option<Sent>,
    told_at_unknown: bool,
}

impl<'a> OfKey<'a> {
    /// Whether an answer to this operation, or another operation, may have made it until `made`.
    pub fn otherwise_made(&self, identity: Link, made: Moment) -> bool {
        let until = |sent: Sent| sent.is_none_or(|sent| sent <= made);
        self.told.get(&identity).is_some_and(|sent| until(*sent))
            || self.makers.iter().find(|(_, maker)| *maker != identity).is_some_and(|(sent, _)| until(*sent))
    }

    /// An operation was told that it made it, under way at or after `from`.
    pub fn made_since(&self, from: Sent) -> bool {
        match (self.told_last, from) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(last), Some(from)) => self.told_at_unknown || last >= Some(from),
        }
    }

    /// The id that it had before `moment`, and when it was known to.
    pub fn known_id(&self, moment: Moment) -> Option<(Moment, &'a str)> {
        let before = &self.seen[..self.seen.partition_point(|(answered, ..)| *answered < moment)];
        let seen = before.iter().map(|(_, answered, id)| (*answered, *id)).max();
        seen.or_else(|| self.named.iter().filter(|(decided, _)| *decided < moment).max().copied())
    }

    /// When it was seen under this id first.
    pub fn first_seen(&self, id: &str) -> Option<Moment> {
        self.seen.iter().find(|(.., seen)| *seen == id).map(|(answered, ..)| *answered)
    }

    fn create(&mut self, attempt: &'a Attempt) {
        let (identity, sent) = (attempt.facts.identity, attempt.facts.sent());
        self.create_in_doubt |= in_doubt(attempt);
        if maybe_applied(attempt) {
            let first = self.made.entry(identity).or_insert(sent);
            *first = (*first).min(sent);
            self.creates.push(attempt);
        }
        if maybe_succeeded(attempt) {
            let first = self.told.entry(identity).or_insert(sent);
            *first = (*first).min(sent);
            self.told_last = self.told_last.max(Some(sent.map(|sent| sent.max(attempt.facts.ended))));
            self.told_at_unknown |= sent.is_none();
        }
    }
}

/// The keys of a group.
pub fn keys(attempts: &[Attempt]) -> BTreeMap<Link, OfKey<'_>> {
    let mut keys: BTreeMap<Link, OfKey> = BTreeMap::new();
    for attempt in attempts {
        for look in attempt.looks.iter().filter(|look| look.seen == Seen::Present && look.records.iter().any(|r| r.own))
        {
            if let Some(key) = attempt.facts.effects.get(look.effect).and_then(|effect| effect.key) {
                let of = keys.entry(key).or_default();
                of.found = true;
                // Another plan may call the same record by another id.
                let id = own_id(look).filter(|_| look.current && view::sound(look));
                of.seen.extend(id.map(|id| (look.surely_answered(), look.answered, id)));
            }
        }
        if let Some((key, named)) = named(attempt) {
            keys.entry(key).or_default().named.push(named);
        }
        for (kind, key) in writes(attempt) {
            let of = keys.entry(key).or_default();
            match kind {
                Kind::Create => of.create(attempt),
                Kind::Delete => {
                    of.delete_in_doubt |= in_doubt(attempt);
                    of.deletes.extend(maybe_applied(attempt).then_some(attempt));
                }
                Kind::Member | Kind::Blind | Kind::Update | Kind::Inbound => {}
            }
        }
    }
    for of in keys.values_mut() {
        of.makers = of.made.iter().map(|(identity, sent)| (*sent, *identity)).collect();
        of.makers.sort_unstable();
        of.seen.sort_unstable();
    }
    tell_there(attempts, &mut keys);
    keys
}

/// Of several records a "there already" does not say which is there; one that was found explains it.
fn tell_there(attempts: &[Attempt], keys: &mut BTreeMap<Link, OfKey<'_>>) {
    for attempt in attempts.iter().filter(|attempt| attempt.facts.told_there) {
        let own = writes(attempt).filter(|(kind, _)| *kind == Kind::Create).map(|(_, key)| key);
        let own: BTreeSet<Link> = own.collect();
        let found: BTreeSet<Link> =
            own.iter().copied().filter(|key| keys.get(key).is_some_and(|of| of.found)).collect();
        for key in own {
            if found.iter().all(|other| *other == key) {
                keys.entry(key).or_default().told_there = true;
            }
        }
    }
}

/// The id that the verdict of a create names, and when it was decided. Another plan may call the same record by another id.
fn named(attempt: &Attempt) -> Option<(Link, (Moment, &str))> {
    let [effect] = &attempt.facts.effects[..] else { return None };
    let verdict = attempt.verdict.as_ref().filter(|_| effect.kind == Kind::Create)?;
    let one_plan = attempt.looks.iter().all(|look| look.current);
    Some((effect.key.filter(|_| one_plan)?, (verdict.decided, verdict.server_id.as_deref()?)))
}

/// What an attempt writes to, by each of its keys.
fn writes(attempt: &Attempt) -> impl Iterator<Item = (Kind, Link)> + '_ {
    attempt.facts.effects.iter().flat_map(|effect| effect.keys().map(|key| (effect.kind, key)))
}
