//! What every attempt asks of its group, found out once: a hundred thousand entries may share a key, and each of them
//! looking through all the others would take hours.

use std::collections::BTreeMap;

use super::age::Active;
use super::group::{alone_settled, alone_settled_longest, in_doubt, maybe_applied, maybe_succeeded, own_id};
use super::requests::Requests;
use super::view;
use crate::clock::{Moment, Span};
use crate::evidence::{Attempt, Class, Effect, KeyDigest, Kind, Look, Sending, Windows};
use crate::words::{Control, Failure, Seen};

/// When something was sent; unknown is earlier than all that is known.
type Sent = Option<Moment>;

/// What is known of one operation.
#[derive(Default)]
pub struct Operation<'a> {
    pub attempts: Vec<&'a Attempt>,
    /// No byte of any attempt left its sender.
    pub never_sent: bool,
    /// When what can have been applied was first sent.
    pub first: Option<Sending>,
    /// When the last attempt was sent, at the latest; `None` when nothing bounds it.
    pub last_sent: Sent,
    /// When its attempts can have been applied, in order and apart from each other.
    pub spans: Vec<Active>,
    /// The same when each attempt waits for the longest window.
    pub spans_longest: Vec<Active>,
    /// An attempt was answered with success, or perhaps.
    pub answered_success: bool,
    /// Others that have its key may be known no more.
    pub overtaken: bool,
    /// The fields of an attempt were gone when another came, and with them who else asked for the same.
    pub partly_sealed: bool,
    /// Of each effect in a list, and each record that its looks showed: when it was not listed yet.
    unlisted: BTreeMap<(usize, &'a str), Moment>,
    /// The looks at an effect that several of its attempts have alike.
    shared: Vec<(usize, &'a Effect, Vec<&'a Look>)>,
}

impl<'a> Operation<'a> {
    /// When a record was not listed yet, by the last look at the effect before the first one that shows it.
    pub fn unlisted_before(&self, effect: usize, id: &str) -> Option<Moment> {
        self.unlisted.get(&(effect, id)).copied()
    }

    /// The looks at an effect, by whichever attempt that has the same.
    pub fn looks(&self, attempt: &'a Attempt, index: usize) -> Vec<&'a Look> {
        let effect = attempt.facts.effects.get(index);
        let shared = self.shared.iter().find(|(place, alike, _)| *place == index && Some(*alike) == effect);
        shared.map_or_else(|| view::in_order(&attempt.looks, index), |(.., looks)| looks.clone())
    }

    /// Of its own attempts, and of those that may be its as well as another's.
    fn of(own: Vec<&'a Attempt>, also: Vec<&'a Attempt>, windows: &Windows) -> Operation<'a> {
        // An attempt that may be another's bounds nothing from above by when it was sent; a row that cannot be read may be.
        let maybe = |attempt: &&Attempt| Sending { latest: Moment(i64::MAX), ..attempt.facts.sending(windows) };
        let unreadable = |attempt: &Attempt| matches!(attempt.facts.class, Class::BadRow { .. });
        let own_sending = |attempt: &&Attempt| match unreadable(attempt) {
            true => maybe(attempt),
            false => attempt.facts.sending(windows),
        };
        let sure = own.iter().map(|attempt| (*attempt, own_sending(attempt)));
        let sent: Vec<(&Attempt, Sending)> =
            sure.chain(also.iter().map(|attempt| (*attempt, maybe(attempt)))).collect();
        let attempts: Vec<&Attempt> = own.into_iter().chain(also).collect();
        let not_sent = |attempt: &&&Attempt| attempt.facts.failure == Some(Failure::NotSent);
        Operation {
            never_sent: attempts.iter().all(|attempt| not_sent(&attempt)),
            first: first(&sent),
            last_sent: attempts.iter().map(|a| a.facts.sent().map(|_| a.facts.sending(windows).latest)).max().flatten(),
            spans: spans(&sent, windows, |attempt| alone_settled(windows, attempt)),
            spans_longest: spans(&sent, windows, |attempt| alone_settled_longest(windows, attempt)),
            answered_success: attempts.iter().any(|attempt| maybe_succeeded(attempt)),
            overtaken: attempts.iter().any(|attempt| attempt.facts.overtaken),
            partly_sealed: attempts.windows(2).any(|pair| pair[0].facts.sealed != pair[1].facts.sealed),
            unlisted: unlisted(&attempts, windows),
            shared: shared_looks(&attempts),
            attempts,
        }
    }
}

/// When each record of a list was not listed yet, by the last usable look before the first one that shows it.
fn unlisted<'a>(attempts: &[&'a Attempt], windows: &Windows) -> BTreeMap<(usize, &'a str), Moment> {
    let listed = |attempt: &&Attempt| attempt.facts.effects.iter().any(|effect| effect.kind == Kind::Member);
    if !attempts.iter().any(listed) {
        return BTreeMap::new();
    }
    let usable =
        |look: &&Look| look.current && view::sound(look) && look.known == Control::Held && !look.clock_is_far_off();
    let mut looks: Vec<&Look> = attempts.iter().flat_map(|attempt| &attempt.looks).filter(usable).collect();
    looks.sort_by_key(|look| look.asked);
    let mut before: BTreeMap<usize, Moment> = BTreeMap::new();
    let mut seen: BTreeMap<(usize, &str), Option<Moment>> = BTreeMap::new();
    for same in looks.chunk_by(|a, b| a.asked == b.asked) {
        for look in same {
            for id in look.records.iter().filter_map(|record| record.id.as_deref()) {
                seen.entry((look.effect, id)).or_insert_with(|| before.get(&look.effect).copied());
            }
        }
        before.extend(same.iter().map(|look| (look.effect, look.surely_asked() - windows.replica_lag)));
    }
    seen.into_iter().filter_map(|(place, before)| Some((place, before?))).collect()
}

/// The looks at each effect that several attempts have alike.
fn shared_looks<'a>(attempts: &[&'a Attempt]) -> Vec<(usize, &'a Effect, Vec<&'a Look>)> {
    let mut alike: Vec<(usize, &Effect, Vec<&[Look]>)> = Vec::new();
    for attempt in attempts.iter().filter(|_| attempts.len() > 1) {
        for (index, effect) in attempt.facts.effects.iter().enumerate() {
            match alike.iter_mut().find(|(place, other, _)| *place == index && *other == effect) {
                Some((.., looks)) => looks.push(&attempt.looks),
                None => alike.push((index, effect, vec![&attempt.looks])),
            }
        }
    }
    let several = alike.into_iter().filter(|(.., looks)| looks.len() > 1);
    several.filter_map(|(index, effect, looks)| Some((index, effect, view::in_one_order(&looks, index)?))).collect()
}

/// What was refused or turned away can have made nothing; where all was, the first of what reached the server counts.
fn first(sent: &[(&Attempt, Sending)]) -> Option<Sending> {
    let reached = |attempt: &Attempt| attempt.facts.failure != Some(Failure::NotSent);
    let first = |of: &dyn Fn(&Attempt) -> bool| {
        sent.iter().filter(|(attempt, _)| of(attempt)).map(|(_, sending)| *sending).reduce(Sending::first)
    };
    first(&maybe_applied).or_else(|| first(&reached))
}

/// Each from when it was sent until `over`; those that surely meet are one.
fn spans(sent: &[(&Attempt, Sending)], windows: &Windows, over: impl Fn(&Attempt) -> Moment) -> Vec<Active> {
    let able = sent.iter().filter(|(attempt, _)| maybe_applied(attempt));
    // Its writer's clock may have been slow.
    let slow = |attempt: &Attempt| attempt.facts.surely_ended(windows).since(attempt.facts.ended).max(Span::ZERO);
    let latest = |attempt: &Attempt| over(attempt) + slow(attempt);
    let mut apart: Vec<Active> = able.map(|(attempt, sent)| Active { sent: *sent, over: latest(attempt) }).collect();
    apart.sort_unstable();
    apart.dedup_by(|next, before| {
        let meet = before.sent.latest < Moment(i64::MAX) && next.sent.latest <= before.over;
        if meet {
            *before = Active { sent: before.sent.first(next.sent), over: before.over.max(next.over) };
        }
        meet
    });
    apart
}

/// The operations of a group.
pub fn operations<'a>(requests: &'a Requests, windows: &Windows) -> BTreeMap<KeyDigest, Operation<'a>> {
    let attempts = &requests.case.attempts;
    let mut of: BTreeMap<KeyDigest, (Vec<&Attempt>, Vec<&Attempt>)> = BTreeMap::new();
    for attempt in attempts {
        of.entry(attempt.facts.identity).or_default().0.push(attempt);
    }
    for (place, identity) in &requests.also {
        of.entry(*identity).or_default().1.push(&attempts[*place]);
    }
    of.into_iter().map(|(identity, (own, also))| (identity, Operation::of(own, also, windows))).collect()
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
    /// Each look that did not find it, with both controls: when by the job's clock, and since when it was not there.
    absent: Vec<(Moment, Moment)>,
    /// Each time that it was seen so under this plan, with controls, in order: by when at the latest, since when at the
    /// earliest, and under which id.
    seen: Vec<(Moment, Moment, &'a str)>,
    /// Each verdict of this plan that names it, and when it was decided.
    named: Vec<(Moment, &'a str)>,
    /// A retry was answered that it is there.
    pub said_to_be_there: bool,
    /// When each operation that may have made it did so first.
    made: BTreeMap<KeyDigest, Sent>,
    /// The same in order of time.
    claimants: Vec<(Sent, KeyDigest)>,
    /// When each operation that was answered so made it first.
    succeeded: BTreeMap<KeyDigest, Sent>,
    /// Until when an operation that was answered so may have made it last; `None` within: at an unknown time.
    succeeded_last: Option<Sent>,
    succeeded_at_unknown: bool,
}

impl<'a> OfKey<'a> {
    /// Whether an answer to this operation, or another operation, may have made it until `made`.
    pub fn otherwise_made(&self, identity: KeyDigest, made: Moment) -> bool {
        let until = |sent: Sent| sent.is_none_or(|sent| sent <= made);
        self.succeeded.get(&identity).is_some_and(|sent| until(*sent))
            || self.claimants.iter().find(|(_, claimant)| *claimant != identity).is_some_and(|(sent, _)| until(*sent))
    }

    /// An operation was answered that it made it, under way at or after `from`.
    pub fn made_since(&self, from: Sent) -> bool {
        match (self.succeeded_last, from) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(last), Some(from)) => self.succeeded_at_unknown || last >= Some(from),
        }
    }

    /// It bore another id once, as far as looks and verdicts tell.
    pub fn seen_otherwise(&self, id: Option<&str>) -> bool {
        let seen = self.seen.iter().map(|(.., seen)| *seen);
        seen.chain(self.named.iter().map(|(_, named)| *named)).any(|seen| id != Some(seen))
    }

    /// It bore another id at a moment after this one.
    pub fn seen_otherwise_after(&self, id: &str, moment: Moment) -> bool {
        self.seen.iter().any(|(_, since, seen)| *since > moment && *seen != id)
    }

    /// When it was seen under this id first, or a verdict named it.
    pub fn first_seen(&self, id: &str) -> Option<Moment> {
        let seen = self.seen.iter().filter(|(.., seen)| *seen == id).map(|(answered, ..)| *answered);
        let named = self.named.iter().filter(|(_, named)| *named == id).map(|(decided, _)| *decided);
        seen.chain(named).min()
    }

    /// When it was not there yet, by the last look before this moment that did not find it.
    pub fn absent_before(&self, asked: Moment) -> Option<Moment> {
        self.absent.iter().filter(|(when, _)| *when < asked).map(|(_, absent)| *absent).max()
    }

    /// It was not there at a moment after this one, whatever was seen later.
    pub fn absent_after(&self, moment: Moment) -> bool {
        self.absent.iter().any(|(_, absent)| *absent > moment)
    }

    fn create(&mut self, attempt: &'a Attempt, windows: &Windows) {
        let (identity, sent) = (attempt.facts.identity, attempt.facts.sending(windows).earliest());
        self.create_in_doubt |= in_doubt(attempt);
        if maybe_applied(attempt) {
            let first = self.made.entry(identity).or_insert(sent);
            *first = (*first).min(sent);
            self.creates.push(attempt);
        }
        if maybe_succeeded(attempt) {
            let first = self.succeeded.entry(identity).or_insert(sent);
            *first = (*first).min(sent);
            self.succeeded_last =
                self.succeeded_last.max(Some(sent.map(|sent| sent.max(attempt.facts.surely_ended(windows)))));
            self.succeeded_at_unknown |= sent.is_none();
        }
    }
}

/// A look that shows by the job's clock that a key was not there.
fn usable_absence(look: &Look) -> bool {
    look.current && view::sound_absence(look) && !look.clock_is_far_off()
}

/// The keys of a group.
pub fn keys<'a>(requests: &'a Requests, windows: &Windows) -> BTreeMap<KeyDigest, OfKey<'a>> {
    let attempts = &requests.case.attempts;
    let mut keys: BTreeMap<KeyDigest, OfKey> = BTreeMap::new();
    for attempt in attempts {
        for look in attempt.looks.iter().filter(|look| usable_absence(look)) {
            let effect = attempt.facts.effects.get(look.effect).filter(|effect| effect.kind != Kind::Member);
            if let Some(key) = effect.and_then(|effect| effect.key) {
                let of = keys.entry(key).or_default();
                of.absent.push((look.asked, look.surely_asked() - windows.replica_lag));
            }
        }
        for look in attempt.looks.iter().filter(|look| look.seen == Seen::Present && look.records.iter().any(|r| r.own))
        {
            if let Some(key) = attempt.facts.effects.get(look.effect).and_then(|effect| effect.key) {
                let of = keys.entry(key).or_default();
                of.found = true;
                // Another plan may call the same record by another id.
                let id = own_id(look).filter(|_| look.current && view::sound(look));
                let since = look.surely_asked() - windows.replica_lag;
                of.seen.extend(id.map(|id| (look.surely_answered(), since, id)));
            }
        }
        if let Some((key, named)) = named(attempt) {
            keys.entry(key).or_default().named.push(named);
        }
        for (kind, key) in writes(attempt) {
            let of = keys.entry(key).or_default();
            match kind {
                Kind::Create | Kind::Upsert => of.create(attempt, windows),
                Kind::Delete => {
                    of.delete_in_doubt |= in_doubt(attempt);
                    of.deletes.extend(maybe_applied(attempt).then_some(attempt));
                }
                Kind::Member | Kind::Blind | Kind::Update | Kind::Inbound => {}
            }
        }
    }
    for of in keys.values_mut() {
        of.claimants = of.made.iter().map(|(identity, sent)| (*sent, *identity)).collect();
        of.claimants.sort_unstable();
        of.seen.sort_unstable();
    }
    note_answers(attempts, &mut keys);
    keys
}

/// What an answer says of the one unique key that its request has.
fn note_answers(attempts: &[Attempt], keys: &mut BTreeMap<KeyDigest, OfKey<'_>>) {
    for attempt in attempts.iter().filter(|attempt| attempt.facts.key_is_there) {
        let creates = attempt.facts.effects.iter().filter(|effect| effect.kind == Kind::Create);
        for key in creates.filter_map(|effect| effect.key) {
            keys.entry(key).or_default().said_to_be_there = true;
        }
    }
}

/// The id that the verdict of a create names, and when it was decided. Another plan may call the same record by another id.
fn named(attempt: &Attempt) -> Option<(KeyDigest, (Moment, &str))> {
    let [effect] = &attempt.facts.effects[..] else { return None };
    let verdict = attempt.verdict.as_ref().filter(|_| effect.kind == Kind::Create)?;
    let one_plan = attempt.looks.iter().all(|look| look.current);
    Some((effect.key.filter(|_| one_plan)?, (verdict.decided, verdict.server_id.as_deref()?)))
}

/// What an attempt writes to, by each of its keys.
fn writes(attempt: &Attempt) -> impl Iterator<Item = (Kind, KeyDigest)> + '_ {
    attempt.facts.effects.iter().flat_map(|effect| effect.keys().map(|key| (effect.kind, key)))
}
