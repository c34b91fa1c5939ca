//! One group's turn: what must be looked at, the looks, and what is said of each entry then.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::decide::{Decision, Deferral, Verdict, decide, lists_settled, operations};
use crate::evidence::{Attempt, Class, Effect, KeyDigest, Kind, Look, Settled, Windows};
use crate::http::Transport;
use crate::ledger::{Group, Member, Ruling, Stored};
use crate::lookup::{Controls, Lookups, Shared, Stop};
use crate::mask;
use crate::plan::observe::{self, Sighting};
use crate::plan::{Probe, Reader};
use crate::run::due;
use crate::words::{Action, Failure, Outcome, Reason, Seen, Status};

/// Which effects are looked up under one key.
struct Wanted<'a> {
    lookup: &'a str,
    /// Member, effect and probe.
    effects: Vec<(usize, usize, &'a Probe)>,
}

/// What a key's lookups came to.
enum Sight {
    Sightings(BTreeMap<String, Sighting>),
    /// The controls stand against every answer, so nothing was asked.
    Unusable(Controls),
}

/// The plan of one group's turn: which members want which looks.
pub struct Turn {
    group: Group,
    /// Per member: its effects as they are read now, and what they are looked up by.
    probes: Vec<Vec<(Effect, Option<Probe>)>>,
    /// Per member: it is decided this time.
    open: Vec<bool>,
    /// Lists are looked at later than this.
    lists_settled: Moment,
    now: Moment,
}

impl Turn {
    /// Prepares a group: reads the raw keys of its rows and finds out who is to be decided.
    pub fn prepare(group: Group, reader: &Reader, now: Moment) -> Turn {
        let open = group.members.iter().map(|m| m.pending() || m.watched(now) || m.reopened()).collect();
        let lists_settled = lists_settled(&group.case);
        let mut turn = Turn { group, probes: Vec::new(), open, lists_settled, now };
        // Where all that is open can be said without a look, no key is wanted.
        if !turn.settles_unseen() {
            turn.probes = turn.group.members.iter().map(|member| reader.probes(&member.row, now)).collect();
        }
        // What was read of the bodies is enough from here on; many groups are held until they are written.
        turn.group.members.iter_mut().for_each(|member| member.row.body = Ok(None));
        turn
    }

    /// Prepares a group of which some members are looked at, whenever their next look is due; `wanted` says by which effects.
    pub fn of(group: Group, open: Vec<bool>, reader: &Reader, now: Moment, wanted: impl Fn(&Effect) -> bool) -> Turn {
        let lists_settled = lists_settled(&group.case);
        let probes = |member: &Member| {
            let probes = reader.probes(&member.row, now).into_iter();
            let only_wanted = |(effect, probe): (Effect, Option<Probe>)| {
                let probe = probe.filter(|_| wanted(&effect));
                (effect, probe)
            };
            probes.map(only_wanted).collect()
        };
        let probes = group.members.iter().map(probes).collect();
        Turn { group, probes, open, lists_settled, now }
    }

    /// Whether every open member is pending and can be settled from what is known, and could be without any look. What was
    /// seen before and settled nothing then (a control got no answer) is old by now: it is looked at again.
    fn settles_unseen(&mut self) -> bool {
        if self.knows_nothing() || !self.settles() {
            return false;
        }
        let attempts = &mut self.group.case.attempts;
        let looks: Vec<Vec<Look>> = attempts.iter_mut().map(|attempt| std::mem::take(&mut attempt.looks)).collect();
        let settles = looks.iter().all(Vec::is_empty) || self.settles();
        self.group.case.attempts.iter_mut().zip(looks).for_each(|(attempt, looks)| attempt.looks = looks);
        settles
    }

    /// Whether every open member is pending and what is known settles it.
    fn settles(&self) -> bool {
        let mut open =
            self.group.members.iter().zip(decide(&self.group.case)).zip(&self.open).filter(|(_, open)| **open);
        open.all(|((member, decision), _)| {
            member.pending()
                && match decision {
                    Decision::Settle(verdict) => verdict.reason != Reason::Expired,
                    Decision::Defer(deferral) => deferral.reason == Reason::OtherEnvironment,
                }
        })
    }

    /// The usual case: one entry that may have been sent, something to look it up by, and no evidence at all.
    fn knows_nothing(&self) -> bool {
        let ([member], [attempt]) = (&self.group.members[..], &self.group.case.attempts[..]) else { return false };
        let facts = &attempt.facts;
        member.pending()
            && facts.class == Class::Planned
            && !matches!(facts.failure, None | Some(Failure::NotSent | Failure::Answered))
            && attempt.looks.is_empty()
            && facts.effects.iter().any(|effect| effect.key.is_some())
    }

    /// The keys to look up, each with the effects that want it. Settled and answered members of a list are compared too,
    /// for they may have made the records; of those with a key of their own it is asked which record they made.
    fn wanted(&self) -> BTreeMap<KeyDigest, Wanted<'_>> {
        let mut wanted: BTreeMap<KeyDigest, Wanted> = BTreeMap::new();
        for open in [true, false] {
            for (m, (attempt, probes)) in self.group.case.attempts.iter().zip(&self.probes).enumerate() {
                // One settled under another plan may have had other effects.
                if self.open[m] != open || !probes.iter().map(|(effect, _)| effect).eq(&attempt.facts.effects) {
                    continue;
                }
                for (e, (effect, probe)) in probes.iter().enumerate() {
                    let (Some(key), Some(probe)) = (effect.key, probe) else { continue };
                    if self.too_early(attempt, effect) {
                        continue;
                    }
                    let listed = effect.owner.is_some_and(|owner| wanted.contains_key(&owner));
                    let beside = listed && !names_its_record(attempt, e);
                    if open || beside {
                        let new = || Wanted { lookup: &probe.lookup, effects: Vec::new() };
                        wanted.entry(key).or_insert_with(new).effects.push((m, e, probe));
                    } else if let (Some(wanted), Kind::Member) = (wanted.get_mut(&key), effect.kind) {
                        wanted.effects.push((m, e, probe));
                    }
                }
            }
        }
        wanted
    }

    /// Whatever a look would show decides nothing yet.
    fn too_early(&self, attempt: &Attempt, effect: &Effect) -> bool {
        match effect.kind {
            Kind::Member => self.now <= self.lists_settled,
            Kind::Inbound => self.now <= attempt.facts.ended + self.group.case.windows.webhook,
            Kind::Create | Kind::Delete | Kind::Update | Kind::Upsert | Kind::Blind => false,
        }
    }

    /// Makes the looks.
    ///
    /// # Errors
    /// [`Stop::Alone`]: the server is left alone and the group stays as it is; [`Stop::Fatal`].
    pub async fn look<T: Transport>(mut self, lookups: &Lookups<'_, T>, reader: &Reader<'_>) -> Result<Looked, Stop> {
        let shared = Shared::default();
        let mut looks: Vec<Vec<Look>> = vec![Vec::new(); self.group.members.len()];
        let mut unusable = Vec::new();
        for (_, wanted) in self.wanted() {
            let controls = lookups.controls(wanted.lookup).await?;
            match sight(lookups, reader, &wanted, &controls, &shared).await? {
                Sight::Unusable(controls) => unusable.push((wanted.lookup.to_owned(), controls)),
                Sight::Sightings(sightings) => {
                    for (member, effect, probe) in wanted.effects {
                        let kind = self.group.case.attempts[member].facts.effects[effect].kind;
                        let spelled: Vec<(&str, &Sighting)> =
                            sightings.iter().map(|(key, s)| (key.as_str(), s)).collect();
                        let controls = [controls.known, controls.random, controls.near, controls.fields];
                        looks[member].push(observe::look(reader, effect, kind, probe, &spelled, controls));
                    }
                }
            }
        }
        for (attempt, mut looks) in self.group.case.attempts.iter_mut().zip(looks) {
            looks.sort_by_key(|look| look.effect);
            attempt.looks.append(&mut looks);
        }
        Ok(Looked { group: self.group, open: self.open, unusable })
    }
}

async fn sight<T: Transport>(
    lookups: &Lookups<'_, T>,
    reader: &Reader<'_>,
    wanted: &Wanted<'_>,
    controls: &Controls,
    shared: &Shared,
) -> Result<Sight, Stop> {
    if !controls.usable() {
        return Ok(Sight::Unusable(controls.clone()));
    }
    let lookup = &reader.plan.lookups[wanted.lookup];
    let mut sightings = BTreeMap::new();
    for spelling in observe::spellings(lookup, wanted.effects.iter().map(|(_, _, probe)| *probe)) {
        let sighting = lookups.look_up(wanted.lookup, &spelling, shared).await?;
        sightings.insert(spelling, sighting);
    }
    Ok(Sight::Sightings(sightings))
}

/// A group that has been looked at.
pub struct Looked {
    pub(super) group: Group,
    pub(super) open: Vec<bool>,
    /// The lookups that were not asked, for their controls stand against them.
    pub(super) unusable: Vec<(String, Controls)>,
}

impl Looked {
    /// Says of each member what becomes of it.
    pub fn tell(self, now: Moment) -> Stored {
        let windows = &self.group.case.windows;
        let ended = self.group.case.attempts.iter().map(|attempt| attempt.facts.ended).max().unwrap_or(now);
        let times = Times { windows, ended, now };
        let beside: BTreeSet<(&str, KeyDigest)> = self.unusable.iter().flat_map(|(l, _)| self.owners(l)).collect();
        let beside = |attempt: &Attempt, lookup: &str| {
            let effects = attempt.facts.effects.iter().filter(|effect| effect.kind == Kind::Member);
            effects.filter_map(|effect| effect.key).any(|owner| beside.contains(&(lookup, owner)))
        };
        let operations = operations(&self.group.case);
        let places = self.group.members.iter().zip(&operations).filter(|(member, _)| member.pending());
        let waiting: BTreeSet<usize> = places.map(|(_, operation)| *operation).collect();
        let of: BTreeMap<i64, usize> =
            self.group.case.attempts.iter().map(|attempt| attempt.entry).zip(operations).collect();
        let answered = self.group.case.attempts.iter().filter(|attempt| attempt.answered());
        let answered: BTreeSet<usize> = answered.filter_map(|attempt| of.get(&attempt.entry).copied()).collect();
        let among = |operations: &BTreeSet<usize>, attempt: &Attempt| {
            of.get(&attempt.entry).is_some_and(|operation| operations.contains(operation))
        };
        let decisions = naming(&self.group, decide(&self.group.case));
        let ruling = self.group.each().zip(&decisions).zip(&self.open);
        let ruling = ruling.map(|(((member, attempt), decision), open)| {
            // An answer is evidence: nothing is said of it, whoever looks at its operation.
            if !open || attempt.answered() {
                return Ruling::Nothing;
            }
            let needs = |lookup: &str| needs(attempt, lookup) || (in_doubt(decision) && beside(attempt, lookup));
            let decision = match self.unusable.iter().find(|(lookup, _)| needs(lookup)) {
                Some((lookup, controls)) => held_back(decision.clone(), lookup, controls),
                None => decision.clone(),
            };
            match member.pending() {
                true => of_pending(decision, attempt, &times),
                false if member.reopened() => {
                    let others = Others { wait: among(&waiting, attempt), answered: among(&answered, attempt) };
                    of_reopened(attempt, decision, others, &times)
                }
                false => of_watched((member, attempt), decision, &times),
            }
        });
        let mut ruling: Vec<Ruling> = ruling.collect();
        let fell =
            ruling.iter().zip(&self.group.case.attempts).filter(|(ruling, _)| matches!(ruling, Ruling::Verdict { .. }));
        let fell: BTreeSet<usize> = fell.filter_map(|(_, attempt)| of.get(&attempt.entry).copied()).collect();
        for (((ruling, attempt), decision), open) in
            ruling.iter_mut().zip(&self.group.case.attempts).zip(decisions).zip(&self.open)
        {
            if !open && of.get(&attempt.entry).is_some_and(|operation| fell.contains(operation)) {
                *ruling = with_its_operation(attempt, decision);
            }
        }
        Stored::of(self.group, ruling)
    }

    /// The lists in which records stand that are looked up by this.
    fn owners<'a>(&'a self, lookup: &'a str) -> impl Iterator<Item = (&'a str, KeyDigest)> {
        let effects = self.group.case.attempts.iter().flat_map(|attempt| &attempt.facts.effects);
        let by_it = effects.filter(move |effect| effect.lookup.as_deref() == Some(lookup));
        by_it.filter_map(move |effect| Some((lookup, effect.owner?)))
    }
}

/// Names the rows that others wait for, as people know them.
fn naming(group: &Group, mut decisions: Vec<Decision>) -> Vec<Decision> {
    for decision in &mut decisions {
        let Decision::Defer(deferral) = decision else { continue };
        let Some(entry) = deferral.waits_for else { continue };
        let of = group.members.iter().find(|member| member.row.entry == entry);
        if let Some(member) = of {
            deferral.explanation = format!("{} (request {})", deferral.explanation, mask::id(&member.row.request_id));
        }
    }
    decisions
}

/// What is not looked at any more (its fields are gone, its watch is over) falls with its operation.
fn with_its_operation(attempt: &Attempt, decision: Decision) -> Ruling {
    match (&attempt.verdict, decision) {
        (Some(before), Decision::Settle(verdict))
            if before.reason != Reason::Closed && !says_the_same(before, &verdict) =>
        {
            Ruling::Verdict { verdict, due: None }
        }
        _ => Ruling::Nothing,
    }
}

/// It was settled by a look at this effect that found a record. Another plan may call that one by another id.
fn names_its_record(attempt: &Attempt, effect: usize) -> bool {
    let found = |look: &Look| look.effect == effect && look.current && look.seen == Seen::Present;
    attempt.verdict.as_ref().is_some_and(|verdict| verdict.server_id.is_some()) && attempt.looks.iter().any(found)
}

fn needs(attempt: &Attempt, lookup: &str) -> bool {
    attempt.facts.effects.iter().any(|effect| effect.lookup.as_deref() == Some(lookup))
}

/// A person is asked to find out; a sibling's look may have told.
fn in_doubt(decision: &Decision) -> bool {
    matches!(decision, Decision::Settle(verdict) if verdict.status == Status::DuplicateRisk)
}

/// Nothing was asked because of the controls: what would be decided from older looks alone must wait.
fn held_back(decision: Decision, lookup: &str, controls: &Controls) -> Decision {
    let by_the_rows = matches!(
        decision.reason(),
        Reason::BadRow | Reason::OtherEnvironment | Reason::NoEffect | Reason::NoPlan | Reason::NeverSent
    );
    // What its answers alone say names no record.
    let by_answers = matches!(&decision, Decision::Settle(v) if v.reason == Reason::Present && v.server_id.is_none());
    if by_the_rows || by_answers {
        return decision;
    }
    let (reason, action, explanation) = match controls.contradiction() {
        Some(what) => (Reason::Uncontrolled, Action::Review, format!("lookup {lookup}: {what}")),
        None => {
            let why = controls.cause.as_deref().unwrap_or("no answer");
            let explanation = format!("lookup {lookup}: a control got no answer to rely on ({why})");
            (Reason::Inconclusive, Action::Wait, explanation)
        }
    };
    Decision::Defer(Deferral { reason, action, not_before: None, explanation, waits_for: None })
}

/// What the next look depends on beside the entry itself.
struct Times<'a> {
    windows: &'a Windows,
    /// When the last request of the group had ended.
    ended: Moment,
    now: Moment,
}

impl Times<'_> {
    fn of_watched(&self, before: &Settled) -> Option<Moment> {
        due::of_watched(before.outcome, before.reason, before.decided, self.windows.watch, self.now)
    }

    fn of_pending(&self, deferral: &Deferral, attempt: &Attempt) -> Moment {
        due::of_pending(deferral, attempt, self.ended, self.windows, self.now)
    }
}

fn of_pending(decision: Decision, attempt: &Attempt, times: &Times) -> Ruling {
    match decision {
        Decision::Settle(verdict) => {
            let due = due::of_watched(verdict.outcome, verdict.reason, times.now, times.windows.watch, times.now);
            Ruling::Verdict { verdict, due }
        }
        Decision::Defer(deferral) => {
            let due = times.of_pending(&deferral, attempt);
            Ruling::Deferral { deferral, due }
        }
    }
}

/// The other attempts of an operation.
#[derive(Clone, Copy)]
struct Others {
    /// One of them is pending.
    wait: bool,
    /// One of them was answered, and may have applied what was not applied before.
    answered: bool,
}

/// A verdict whose group another entry joined is decided again. Where it cannot be said yet, what was to be sent again waits;
/// what was not applied, if another attempt of it was answered; what is of one operation with an attempt that waits; and
/// `preexisting`, which was said before the request's window was over. All else stands until more is known.
fn of_reopened(attempt: &Attempt, decision: Decision, others: Others, times: &Times) -> Ruling {
    let Some(before) = &attempt.verdict else { return of_pending(decision, attempt, times) };
    let answered = others.answered && before.outcome == Outcome::NotApplied;
    let falls = before.action == Action::Resend || before.reason == Reason::Preexisting || others.wait || answered;
    match decision {
        // An attempt of the operation that has no verdict yet gets this one, and all of an operation get the same.
        Decision::Settle(verdict)
            if says_the_same(before, &verdict) || (!others.wait && only_vanished(before, &verdict)) =>
        {
            Ruling::Stands { due: times.of_watched(before), open: false }
        }
        Decision::Defer(deferral) if !falls => {
            let due = times.of_pending(&deferral, attempt);
            Ruling::Stands { due: Some(due), open: true }
        }
        decision => of_pending(decision, attempt, times),
    }
}

fn says_the_same(before: &Settled, verdict: &Verdict) -> bool {
    before.status == verdict.status
        && before.outcome == verdict.outcome
        && before.reason == verdict.reason
        && before.action == verdict.action
        && before.server_id == verdict.server_id
}

/// What was there was there: that it is gone now is no other end of the request, and is noted beside the verdict.
fn only_vanished(before: &Settled, verdict: &Verdict) -> bool {
    let fulfilled = matches!(before.outcome, Outcome::Applied | Outcome::Satisfied) && before.server_id.is_some();
    fulfilled && matches!(verdict.reason, Reason::RemovedSince | Reason::ConfirmedAbsent)
}

/// A watched verdict falls only to a record that turned up (or, for a webhook, to another state).
fn of_watched((member, attempt): (&Member, &Attempt), decision: Decision, times: &Times) -> Ruling {
    let Some(before) = &attempt.verdict else {
        return of_pending(decision, attempt, times);
    };
    let due = times.of_watched(before);
    let stands = Ruling::Stands { due, open: false };
    let Decision::Settle(verdict) = decision else {
        // Nothing was learned by this look: the watch does not end with it.
        let (watch, now) = (times.windows.watch, times.now);
        let next = due::of_watched_in_vain(before.outcome, before.reason, before.decided, watch, now);
        // Its own configuration is to look at it: it stays due.
        let elsewhere = attempt.facts.class == Class::OtherEnvironment;
        return Ruling::Stands { due: if elsewhere { next.and(member.state.due) } else { next }, open: false };
    };
    if before.reason == Reason::StateFetched && verdict.reason == Reason::StateFetched {
        return if state_changed(&attempt.looks, before.looks) { Ruling::Verdict { verdict, due } } else { stands };
    }
    if before.outcome == Outcome::NotApplied && verdict.turned_up() {
        return Ruling::Verdict { verdict, due: None };
    }
    stands
}

/// Whether a webhook's consent or account shows another state than when its state was told: the first `known` looks were
/// stored by then.
fn state_changed(looks: &[Look], known: usize) -> bool {
    let mut ruling = BTreeMap::new();
    let mut now = BTreeMap::new();
    for (place, look) in looks.iter().enumerate().filter(|(_, look)| look.seen != Seen::Inconclusive) {
        let state = (look.seen, &look.state);
        now.insert(look.effect, state);
        if place < known {
            ruling.insert(look.effect, state);
        }
    }
    now.iter().any(|(effect, state)| ruling.get(effect).is_some_and(|ruling| ruling != state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Control;

    fn state(asked: i64, state: &str) -> Look {
        Look {
            effect: 0,
            current: true,
            asked: Moment(asked),
            answered: Moment(asked + 1),
            server: None,
            seen: Seen::Present,
            cause: None,
            records: Vec::new(),
            state: Some(state.to_owned()),
            known: Control::Held,
            random: Control::Held,
            ..Look::default()
        }
    }

    /// Told at 12:00 by a clock that was an hour ahead; looked at again at 11:30 and at 12:30 by the right clock.
    #[test]
    fn a_state_that_changed_is_told_though_the_clock_was_set_back() {
        let half = 1_800_000;
        let looks = [state(24 * half - 5, "granted"), state(23 * half, "denied"), state(25 * half, "denied")];
        assert!(state_changed(&looks[..2], 1), "at 11:30");
        assert!(state_changed(&looks, 1), "at 12:30");
        assert!(!state_changed(&looks, 2), "once it was told");
    }
}
