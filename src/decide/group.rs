//! What a group knows as a whole: when it is settled, which attempts belong to one operation, what else could explain a
//! record.

use std::collections::{BTreeMap, BTreeSet};

use super::age::{Active, Age, Made};
use super::index::{self, OfKey, Operation};
use super::requests::Requests;
use super::{unique_key, view};
use crate::clock::{Moment, Span};
use crate::evidence::{Attempt, Case, Class, Effect, KeyDigest, Kind, Look, Record, Sending, Window, Windows};
use crate::words::{Direction, Failure, Outcome};

pub struct Group<'a> {
    pub windows: &'a Windows,
    pub attempts: &'a [Attempt],
    /// As [`Case::removals`].
    removals: &'a [(Moment, Moment)],
    /// Later than this, no attempt of the group can become applied any more (under the stated windows).
    settled: Moment,
    /// The same of each operation for itself and those with its keys, where the group hangs together by an owner's list,
    /// too: what has a key of its own does not wait for the rest of the list.
    settled_apart: BTreeMap<KeyDigest, Moment>,
    /// The same of the whole group when every attempt waits for the longest window: for creates that the server does not keep
    /// unique.
    pub settled_longest: Moment,
    /// Later than this, what the server has shows on every replica.
    pub replicated: Moment,
    operations: BTreeMap<KeyDigest, Operation<'a>>,
    keys: BTreeMap<KeyDigest, OfKey<'a>>,
    /// The ids of records that an operation which asked for their unique key can have made.
    unique_key: BTreeSet<&'a str>,
    /// When each record was first known to be there, by whichever look.
    first_seen_at_all: BTreeMap<&'a str, Moment>,
    /// Of each record what it matches and what may have been applied, by operation and effect, two at the most.
    matched: BTreeMap<&'a str, Vec<(KeyDigest, usize)>>,
}

impl<'a> Group<'a> {
    pub fn of(requests: &'a Requests<'a>) -> Group<'a> {
        let case: &Case = &requests.case;
        let windows = &case.windows;
        let all = || case.attempts.iter();
        let mut group = Group {
            windows,
            attempts: &case.attempts,
            removals: &case.removals,
            settled: settled(windows, all(), |attempt| window(windows, attempt)),
            settled_apart: settled_apart(case),
            settled_longest: settled_longest(case),
            replicated: settled(windows, all(), |attempt| match attempt.facts.window {
                Window::Intent => Some(windows.intent),
                _ => Some(Span::ZERO),
            }),
            operations: index::operations(requests, windows),
            keys: index::keys(requests, windows),
            unique_key: BTreeSet::new(),
            first_seen_at_all: BTreeMap::new(),
            matched: BTreeMap::new(),
        };
        let mut effects = case.attempts.iter().flat_map(|attempt| &attempt.facts.effects);
        if effects.any(|effect| effect.kind == Kind::Member) {
            group.first_seen_at_all = unique_key::first_seen(&case.attempts);
            group.matched = matched(&case.attempts);
            group.unique_key = unique_key::made(&group);
        }
        group
    }

    /// Later than this, no attempt of this operation, nor of any with one of its keys, can become applied any more.
    pub fn settled(&self, identity: KeyDigest) -> Moment {
        self.settled_apart.get(&identity).copied().unwrap_or(self.settled)
    }

    /// Later than this, no attempt of this operation can become applied any more, if each waits for the longest window.
    pub fn own_settled_longest(&self, identity: KeyDigest) -> Moment {
        over(self.spans_longest(identity))
    }

    /// When the attempts of this operation can have been applied.
    pub fn spans(&self, identity: KeyDigest) -> &[Active] {
        self.operations.get(&identity).map_or(&[], |operation| &operation.spans)
    }

    /// The same when every attempt waits for the longest window.
    pub fn spans_longest(&self, identity: KeyDigest) -> &[Active] {
        self.operations.get(&identity).map_or(&[], |operation| &operation.spans_longest)
    }

    /// Later than this, the attempt cannot become applied any more.
    pub fn alone_settled(&self, attempt: &Attempt) -> Moment {
        alone_settled(self.windows, attempt)
    }

    /// The same when it waits for the longest window.
    pub fn alone_settled_longest(&self, attempt: &Attempt) -> Moment {
        alone_settled_longest(self.windows, attempt)
    }

    /// The attempts of the same operation, this one among them.
    pub fn operation(&self, identity: KeyDigest) -> impl Iterator<Item = &'a Attempt> {
        self.operations.get(&identity).into_iter().flat_map(|operation| operation.attempts.iter().copied())
    }

    /// The looks at one effect of an attempt in the order in which they count: its own, and those of other attempts of the
    /// operation at the very same.
    pub fn looks(&self, attempt: &'a Attempt, index: usize) -> Vec<&'a Look> {
        let operation = self.operations.get(&attempt.facts.identity);
        operation.map_or_else(|| view::in_order(&attempt.looks, index), |operation| operation.looks(attempt, index))
    }

    /// No byte of any attempt of the operation left its sender.
    pub fn never_sent(&self, attempt: &Attempt) -> bool {
        self.operations.get(&attempt.facts.identity).is_none_or(|operation| operation.never_sent)
    }

    /// Every attempt of the operation that left its sender got a definite answer, one of them that it succeeded, and it was no
    /// webhook.
    pub fn all_were_answered(&self, attempt: &Attempt) -> bool {
        self.left(attempt, |other| other.answered()) && self.operation(attempt.facts.identity).any(succeeded)
    }

    /// Every attempt of the operation that left its sender was answered with a content error. What a delete is refused for
    /// may be that there is nothing to remove; and what is said to be there already, this very request may have made, when
    /// something on the way sent it twice.
    pub fn all_were_refused(&self, attempt: &Attempt) -> bool {
        let deletes = attempt.facts.effects.iter().any(|effect| effect.kind == Kind::Delete);
        let refused = |other: &Attempt| is_refused(other) && !is_said_to_be_there(other);
        !deletes && self.left(attempt, refused)
    }

    /// The same, whatever the content error was: nothing of it is to be sent again as it is.
    pub fn none_was_taken(&self, attempt: &Attempt) -> bool {
        self.left(attempt, is_refused)
    }

    fn left(&self, attempt: &Attempt, all: impl Fn(&Attempt) -> bool) -> bool {
        let outbound = attempt.facts.direction == Direction::Outbound;
        let identity = attempt.facts.identity;
        let not_sent = |other: &Attempt| other.facts.failure == Some(Failure::NotSent);
        let left = self.operation(identity).filter(|other| !not_sent(other) && !self.is_over(identity, other));
        let mut left = left.peekable();
        outbound && left.peek().is_some() && left.all(all)
    }

    /// It was settled as not applied and has lost its fields, and another attempt came since: it cannot be looked for again.
    fn is_over(&self, identity: KeyDigest, attempt: &Attempt) -> bool {
        let last = attempt.verdict.as_ref().or(attempt.prior.as_ref());
        let lost = last.is_some_and(|last| last.outcome == Outcome::NotApplied);
        lost && attempt.facts.sealed.is_some() && self.partly_sealed(identity)
    }

    /// When the operation was first sent, at the earliest; `None` when nothing bounds it.
    pub fn first_sent(&self, identity: KeyDigest) -> Option<Moment> {
        self.first(identity).earliest()
    }

    /// When the operation was first sent.
    pub fn first(&self, identity: KeyDigest) -> Sending {
        self.operations.get(&identity).and_then(|operation| operation.first).unwrap_or(Sending::UNKNOWN)
    }

    /// When a record of this key was made, seen from an operation: by the server's word, by when it was seen, and by when it
    /// was looked for and was not there yet.
    pub fn made(&self, key: KeyDigest, record: &Record, look: &Look) -> Made {
        let absent = self.keys.get(&key).and_then(|of| of.absent_before(look.asked));
        Made::said(record.made, look).looked_for(absent, look)
    }

    /// How old it is, seen from an operation.
    pub fn age(&self, identity: KeyDigest, key: KeyDigest, record: &Record, look: &Look) -> Age {
        self.made(key, record, look).age(self.first(identity), self.spans(identity))
    }

    /// When a record of a list was not there yet: by the last look of the operation at the same effect before the first one
    /// that shows it.
    pub fn unlisted_before(&self, identity: KeyDigest, record: &Record, look: &Look) -> Option<Moment> {
        self.operations.get(&identity)?.unlisted_before(look.effect, record.id.as_deref()?)
    }

    /// The key was looked for after this moment and nothing was there, whatever was seen later.
    pub fn absent_after(&self, key: KeyDigest, moment: Moment) -> bool {
        self.keys.get(&key).is_some_and(|of| of.absent_after(moment))
    }

    /// When the last of its attempts was sent.
    pub fn last_sent(&self, identity: KeyDigest) -> Option<Moment> {
        self.operations.get(&identity)?.last_sent
    }

    /// An attempt of the operation was answered with success, or perhaps.
    pub fn answered_success(&self, identity: KeyDigest) -> bool {
        self.operations.get(&identity).is_some_and(|operation| operation.answered_success)
    }

    /// Others that have its key may be known no more: their digests were replaced before it was read.
    pub fn overtaken(&self, identity: KeyDigest) -> bool {
        self.operations.get(&identity).is_some_and(|operation| operation.overtaken)
    }

    /// The fields of one of its attempts were gone when another came, and with them who else asked for the same.
    fn partly_sealed(&self, identity: KeyDigest) -> bool {
        self.operations.get(&identity).is_some_and(|operation| operation.partly_sealed)
    }

    /// Whether another operation sent by `made`, or an answer to this one, may have made the record of this key.
    pub fn otherwise_explained(&self, identity: KeyDigest, key: KeyDigest, made: Moment) -> bool {
        let known_no_more = self.overtaken(identity) || self.partly_sealed(identity);
        known_no_more || self.keys.get(&key).is_some_and(|of| of.otherwise_made(identity, made))
    }

    /// A delete of the record that may have been applied at or after `from`.
    pub fn deleted_since(&self, key: KeyDigest, from: Option<Moment>) -> bool {
        self.keys.get(&key).is_some_and(|of| of.deletes.iter().any(|other| self.may_follow(other, from)))
    }

    /// A delete that the ledger knows can have removed what was made at or after `from`: of the record, by one of its keys; of
    /// its owner; or by a server's own id, of which nothing tells whose it was. Nobody knows an id before the record is asked
    /// for, and what was not there at `absent` was not removed later.
    pub fn removable(&self, effect: &Effect, from: Option<Moment>, absent: Option<Moment>) -> bool {
        let by = absent.unwrap_or(Moment(i64::MAX));
        let elsewhere =
            |(earliest, latest): &(Moment, Moment)| from.is_none_or(|from| *latest >= from) && *earliest <= by;
        effect.keys().chain(effect.owner_record).any(|key| self.deleted_since(key, from))
            || self.removals.iter().any(elsewhere)
    }

    /// It may have been applied at or after `from`: it was under way then, or its window reached so far.
    fn may_follow(&self, other: &Attempt, from: Option<Moment>) -> bool {
        let (Some(sent), Some(from)) = (other.facts.sent(), from) else { return true };
        let ended = other.facts.surely_ended(self.windows).max(sent);
        ended >= from || (in_doubt(other) && self.alone_settled(other) >= from)
    }

    /// Until then what is shown may be a record that a delete takes away, or took away without that every replica knows it.
    pub fn deletes_settled(&self, key: KeyDigest) -> Option<Moment> {
        let of = self.keys.get(&key)?;
        let all = |delete: &&Attempt| match of.delete_in_doubt {
            true => self.settled(delete.facts.identity),
            false => self.alone_settled(delete),
        };
        of.deletes.iter().map(all).max()
    }

    /// Creates of the record that may have been applied at or after `from`.
    pub fn creates_since(&self, key: KeyDigest, from: Option<Moment>) -> impl Iterator<Item = &'a Attempt> {
        let creates = self.keys.get(&key).map_or(&[][..], |of| of.creates.as_slice());
        creates.iter().copied().filter(move |create| self.may_follow(create, from))
    }

    /// An operation was answered that it made the record, sent at or after `from`.
    pub fn made_since(&self, key: KeyDigest, from: Option<Moment>) -> bool {
        self.keys.get(&key).is_some_and(|of| of.made_since(from))
    }

    /// An operation that asked for the record's unique key can have made it: whoever sent no such key did not.
    pub fn is_keyed(&self, record: &Record) -> bool {
        record.id.as_deref().is_some_and(|id| self.unique_key.contains(id))
    }

    /// When a record was first known to be there, by whichever look.
    pub fn seen_by(&self, id: &str) -> Option<Moment> {
        self.first_seen_at_all.get(id).copied()
    }

    /// A record was there before the operation was sent, by whichever attempt's look.
    pub fn seen_before(&self, identity: KeyDigest, record: &Record) -> bool {
        let seen = record.id.as_deref().and_then(|id| self.first_seen_at_all.get(id));
        seen.is_some_and(|seen| *seen < self.first(identity).earliest)
    }

    /// What another operation asked for, or another effect of this one, matches the record, and it may have been applied.
    pub fn explained_by_another(&self, item: (KeyDigest, usize), record: &Record) -> bool {
        let claimants = record.id.as_deref().and_then(|id| self.matched.get(id));
        claimants.is_some_and(|claimants| claimants.iter().any(|claimant| *claimant != item))
    }

    /// A create of the record whose outcome is not known.
    pub fn create_in_doubt(&self, key: KeyDigest) -> bool {
        self.keys.get(&key).is_some_and(|of| of.create_in_doubt)
    }

    /// Another operation that writes one of the same fields, or deletes or makes the record, and may have been applied.
    /// With `from`, only one that may have been applied at or after it.
    pub fn also_written(&self, identity: KeyDigest, effect: &Effect, from: Option<Moment>) -> bool {
        let Some(key) = effect.key else { return true };
        let writes = |other: &Effect| match other.kind {
            Kind::Update => other.key == Some(key) && other.targets.iter().any(|t| effect.targets.contains(t)),
            // What replaces a record writes every field of it.
            Kind::Delete | Kind::Create | Kind::Upsert => other.key == Some(key),
            Kind::Member | Kind::Blind | Kind::Inbound => false,
        };
        self.attempts.iter().any(|other| {
            other.facts.identity != identity
                && maybe_applied(other)
                && other.facts.effects.iter().any(writes)
                && self.may_follow(other, from)
        })
    }

    /// Another operation that writes what this one would have, and may have been applied since it was to be sent.
    pub fn written_since(&self, attempt: &Attempt) -> bool {
        let identity = attempt.facts.identity;
        let writes = |effect: &&Effect| matches!(effect.kind, Kind::Update | Kind::Upsert);
        let first = self.first_sent(identity).or(attempt.facts.sent());
        attempt.facts.effects.iter().filter(writes).any(|effect| self.also_written(identity, effect, first))
    }

    /// A record of this key was seen under another id, by whichever attempt's look or verdict.
    pub fn seen_otherwise(&self, key: KeyDigest, id: Option<&str>) -> bool {
        self.keys.get(&key).is_some_and(|of| of.seen_otherwise(id))
    }

    /// The record of this key was another one at a moment after this one.
    pub fn seen_otherwise_after(&self, key: KeyDigest, id: Option<&str>, moment: Moment) -> bool {
        let of = id.and_then(|id| Some((id, self.keys.get(&key)?)));
        of.is_some_and(|(id, of)| of.seen_otherwise_after(id, moment))
    }

    /// When the record of this key was seen under this id first, by whichever attempt's look or verdict.
    pub fn first_seen(&self, key: KeyDigest, id: &str) -> Option<Moment> {
        self.keys.get(&key)?.first_seen(id)
    }

    /// After `moment`, the same was sent again: by an attempt of the operation, however it was answered, or by another that
    /// has one of its keys and may have been applied.
    pub fn sent_again_since(&self, attempt: &Attempt, moment: Moment) -> bool {
        let unique = |kind: Kind| matches!(kind, Kind::Create | Kind::Delete | Kind::Update | Kind::Upsert);
        let keys = attempt.facts.effects.iter().filter(|effect| unique(effect.kind));
        let keys: Vec<(Kind, KeyDigest)> = keys.filter_map(|effect| Some((effect.kind, effect.key?))).collect();
        self.attempts.iter().any(|other| {
            let of_it = other.facts.identity == attempt.facts.identity
                && reached_server(other)
                && other.facts.failure != Some(Failure::NotSent);
            let alike = maybe_applied(other) && keys.iter().any(|(kind, key)| has(other, *kind, *key));
            let sent = other.facts.sent().map(|_| other.facts.sending(self.windows).latest);
            (of_it || alike) && other.entry != attempt.entry && sent.is_some_and(|sent| sent >= moment)
        })
    }

    /// Every look at this key by any attempt of the group.
    pub fn looks_at(&self, key: KeyDigest) -> impl Iterator<Item = &'a Look> {
        self.attempts.iter().flat_map(move |attempt| {
            attempt.looks.iter().filter(move |look| {
                attempt.facts.effects.get(look.effect).is_some_and(|effect| effect.key == Some(key))
            })
        })
    }

    /// The record of this key was seen once, by whichever attempt's look, or a retry was answered that it is there.
    pub fn seen_present(&self, key: KeyDigest) -> bool {
        self.keys.get(&key).is_some_and(|of| of.found || of.said_to_be_there)
    }
}

/// What each record of a look matches, of that which may have been applied, by operation and effect.
fn matched(attempts: &[Attempt]) -> BTreeMap<&str, Vec<(KeyDigest, usize)>> {
    let mut matched: BTreeMap<&str, Vec<(KeyDigest, usize)>> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| maybe_applied(attempt)) {
        for look in attempt.looks.iter().filter(|look| look.current) {
            let item = (attempt.facts.identity, look.effect);
            let alike = look.records.iter().filter(|record| !record.differs());
            for id in alike.filter_map(|record| record.id.as_deref()) {
                let items = matched.entry(id).or_default();
                if items.len() < 2 && !items.contains(&item) {
                    items.push(item);
                }
            }
        }
    }
    matched
}

/// When each operation is settled with all that it shares a key with, directly or through others.
fn settled_apart(case: &Case) -> BTreeMap<KeyDigest, Moment> {
    let effects = |attempt: &'_ Attempt| attempt.facts.effects.iter().any(|effect| effect.owner.is_some());
    if !case.attempts.iter().any(effects) {
        return BTreeMap::new();
    }
    let mut by_link: BTreeMap<KeyDigest, Vec<usize>> = BTreeMap::new();
    for (index, attempt) in case.attempts.iter().enumerate() {
        for link in group_keys(attempt) {
            by_link.entry(link).or_default().push(index);
        }
    }
    let mut apart = BTreeMap::new();
    let mut seen = vec![false; case.attempts.len()];
    for start in 0..case.attempts.len() {
        let (mut open, mut together) = (vec![start], Vec::new());
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut seen[index], true) {
                let attempt = &case.attempts[index];
                together.push(attempt);
                // A link leads on once, however many share it.
                open.extend(group_keys(attempt).filter_map(|link| by_link.remove(&link)).flatten());
            }
        }
        let until = settled(&case.windows, together.iter().copied(), |attempt| window(&case.windows, attempt));
        apart.extend(together.iter().map(|attempt| (attempt.facts.identity, until)));
    }
    apart
}

/// What an attempt hangs together with others by, an owner's list that it has no place in by itself left out.
fn group_keys(attempt: &Attempt) -> impl Iterator<Item = KeyDigest> + '_ {
    attempt.facts.effects.iter().flat_map(Effect::keys).chain([attempt.facts.identity])
}

fn over(spans: &[Active]) -> Moment {
    spans.iter().map(|span| span.over).max().unwrap_or(Moment(i64::MIN))
}

/// Later than this, the attempt cannot become applied any more.
pub fn alone_settled(windows: &Windows, attempt: &Attempt) -> Moment {
    settled(windows, std::iter::once(attempt), |attempt| window(windows, attempt))
}

/// The same when it waits for the longest window.
pub fn alone_settled_longest(windows: &Windows, attempt: &Attempt) -> Moment {
    settled(windows, std::iter::once(attempt), |attempt| longest(windows, attempt))
}

/// Later than this, none of these attempts can do anything any more, and what they did shows on every replica.
/// Later than this, none of these attempts can become applied any more, if each waits for the longest window.
pub fn settled_longest(case: &Case) -> Moment {
    settled(&case.windows, case.attempts.iter(), |attempt| longest(&case.windows, attempt))
}

fn settled<'a>(
    windows: &Windows,
    attempts: impl Iterator<Item = &'a Attempt>,
    span: impl Fn(&Attempt) -> Option<Span>,
) -> Moment {
    // A webhook is nothing that the server still has to do.
    let here = attempts.filter(|a| reached_server(a) && a.facts.direction == Direction::Outbound);
    let ends = here.filter_map(|attempt| Some(attempt.facts.window_from(windows) + behind(attempt) + span(attempt)?));
    ends.max().unwrap_or(Moment(i64::MIN)) + windows.replica_lag
}

/// By how much the clock that dated an attempt may have been behind: so much it was when the job looked for it first, by the
/// server's word. When it is set forward, the window is not over earlier.
fn behind(attempt: &Attempt) -> Span {
    attempt.looks.iter().map(Look::behind).max().unwrap_or(Span::ZERO)
}

/// How long after its end an attempt may still become applied; `None` when it never can have been.
fn window(windows: &Windows, attempt: &Attempt) -> Option<Span> {
    match attempt.facts.window {
        Window::None => maybe_applied(attempt).then_some(Span::ZERO),
        Window::Network => Some(windows.network),
        Window::ServerError => Some(windows.server_error),
        Window::Intent => Some(windows.intent + windows.network),
    }
}

/// The same for creates that the server does not keep unique, which always wait for the longest window.
fn longest(windows: &Windows, attempt: &Attempt) -> Option<Span> {
    let longest = windows.network.max(windows.server_error);
    match attempt.facts.window {
        Window::None => window(windows, attempt),
        Window::Network | Window::ServerError => Some(longest),
        Window::Intent => Some(windows.intent + longest),
    }
}

/// Sent to the configured server, as far as the row says.
fn reached_server(attempt: &Attempt) -> bool {
    match attempt.facts.class {
        Class::Planned | Class::BadRow { .. } | Class::NoPlan => true,
        Class::Read | Class::OtherEnvironment => false,
    }
}

/// It left its sender and nobody knows what became of it.
pub fn in_doubt(attempt: &Attempt) -> bool {
    reached_server(attempt) && attempt.facts.window != Window::None
}

/// It was answered with success.
pub fn succeeded(attempt: &Attempt) -> bool {
    let success = |status: u16| (200..300).contains(&status);
    maybe_succeeded(attempt) && !attempt.facts.already_there && attempt.facts.http_status.is_some_and(success)
}

/// The same, or its answer may have said so: it has no status that can be read, or tells of a request for several records, or
/// for one in a list, that something is there already. What is not, it may have made.
pub fn maybe_succeeded(attempt: &Attempt) -> bool {
    // A record that stands alone was refused: one of its keys is taken.
    let refused = |one: &Effect| one.kind == Kind::Create && (one.owner.is_none() || attempt.facts.key_is_there);
    let is_there = || attempt.facts.already_there && matches!(&attempt.facts.effects[..], [one] if refused(one));
    let may_have_said_so = |status: u16| match status {
        200..300 => !is_there(),
        300..500 => false,
        _ => true,
    };
    attempt.facts.failure == Some(Failure::Answered)
        && reached_server(attempt)
        && attempt.facts.http_status.is_none_or(may_have_said_so)
}

/// In doubt, or perhaps answered with success; or answered that something is there already, which may be what it made itself, when
/// something on the way sent it twice.
pub fn maybe_applied(attempt: &Attempt) -> bool {
    in_doubt(attempt) || maybe_succeeded(attempt) || is_said_to_be_there(attempt)
}

/// It makes something, and was answered that it, or another of its keys, is there already.
fn is_said_to_be_there(attempt: &Attempt) -> bool {
    let makes = |effect: &Effect| matches!(effect.kind, Kind::Create | Kind::Member | Kind::Upsert);
    attempt.facts.already_there
        && attempt.facts.failure == Some(Failure::Answered)
        && reached_server(attempt)
        && attempt.facts.effects.iter().any(makes)
}

/// It was answered with a content error.
fn is_refused(attempt: &Attempt) -> bool {
    attempt.answered() && attempt.facts.http_status.is_some_and(|status| (400..500).contains(&status))
}

/// The id of what a look found under the entry's own spelling.
pub fn own_id(look: &Look) -> Option<&str> {
    look.records.first().filter(|record| record.own)?.id.as_deref()
}

fn has(attempt: &Attempt, kind: Kind, key: KeyDigest) -> bool {
    attempt.facts.effects.iter().any(|effect| effect.kind == kind && effect.key == Some(key))
}
