//! Creates of records that the server does not keep unique, but lists under a known owner: a parent's children.
//!
//! Who made which record is a question about the whole list, so it is answered once for each owner and asked for here.

use std::collections::BTreeMap;

use super::create::{Age, store_or_review};
use super::group::{Group, maybe_applied};
use super::matching::{Claim, Fit, fits};
use super::view::{self, View, matched_on};
use super::{Decision, defer, settle};
use crate::evidence::{Attempt, Effect, Kind, Link, Look, Record};
use crate::words::{Action, Failure, Outcome, Reason, Seen, Status};

/// One thing to be made: an operation's effect.
type Item = (Link, usize);

/// What is known of each item. `None`: an item of the same list has not been looked at, so nothing can be said yet.
pub type Matchings = BTreeMap<Item, Option<Known>>;

/// What is known of one item.
#[derive(Clone, Debug)]
pub struct Known {
    fit: Fit,
    /// The server's id where it is exactly one record.
    id: Option<String>,
    /// It is so too when each record that may be older than all attempts is nobody's.
    proved: bool,
}

/// The rows "create, not unique, listed under a known owner" of the verdict table.
pub fn decide(group: &Group, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let identity = attempt.facts.identity;
    if effect.key.is_none() {
        return super::unobservable();
    }
    let looks = view::in_order(&attempt.looks, index);
    let settled = group.settled_longest;
    let none = |look: &Look| conclusive(look) && candidates(group, identity, look).next().is_none();
    let look = match view::view(&looks, settled, group.windows, none) {
        View::Nothing(decision) => return decision,
        View::Present(look) | View::Several(look) => look,
        View::Absent(absence) => {
            let mut by_any = group.operation(identity).flat_map(|attempt| view::in_order(&attempt.looks, index));
            let once = by_any.any(|look| candidates(group, identity, look).next().is_some());
            return view::not_yet(absence, Action::Wait).unwrap_or_else(|| {
                if once || group.answered_success(identity) {
                    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::RemovedSince, Action::Review)
                        .because("none matches now, but one did once or the operation was told that it succeeded".into())
                } else {
                    settle(Status::Resolved, Outcome::NotApplied, Reason::ConfirmedAbsent, Action::Resend).because(format!(
                        "no record of the owner's list matches; resend once for this operation, not once for each attempt; {}",
                        view::assuming(group.windows, settled, absence)
                    ))
                }
            });
        }
    };
    if look.surely_asked() <= settled {
        return defer(Reason::Unsettled, Action::Wait)
            .because(format!("a record matches, but until {settled} another may still be made"))
            .not_before(settled);
    }
    match group.matchings.get(&(identity, index)) {
        Some(Some(known)) => fitted(group, identity, effect, look, known),
        _ => defer(Reason::Inconclusive, Action::Wait)
            .because("another operation under the same owner has not been looked at yet".into()),
    }
}

fn fitted(group: &Group, identity: Link, effect: &Effect, look: &Look, known: &Known) -> Decision {
    let review = |outcome, reason, action, why: &str| {
        settle(Status::DuplicateRisk, outcome, reason, action).because(why.to_owned())
    };
    match known.fit {
        Fit::Exactly(_) => match look.records.iter().find(|record| record.id == known.id) {
            Some(record) => one(group, identity, effect, look, record, known.proved),
            None => review(
                Outcome::Unknown,
                Reason::AmbiguousMatch,
                Action::Review,
                "the matching record was not seen by this look",
            ),
        },
        Fit::Duplicated => review(
            Outcome::Duplicated,
            Reason::Duplicated,
            Action::AskPrivo,
            "more records match than operations asked for, as many as attempts can have made; PRIVO must say which to keep",
        ),
        Fit::Foreign => review(
            Outcome::Unknown,
            Reason::ForeignRecords,
            Action::Review,
            "more records match than all attempts together can have made; somebody else made some of them",
        ),
        Fit::Underdetermined => review(
            Outcome::PartlyApplied,
            Reason::Underdetermined,
            Action::Review,
            "fewer records match than operations asked for, and which were applied differs between possible histories",
        ),
        Fit::Ambiguous | Fit::None => review(
            Outcome::Unknown,
            Reason::AmbiguousMatch,
            Action::Review,
            "enough records match, but which is whose differs between possible histories",
        ),
    }
}

fn one(group: &Group, identity: Link, effect: &Effect, look: &Look, record: &Record, proved: bool) -> Decision {
    let store = store_or_review(effect, record);
    let made_within = matches!(age_of(group, identity, record, look), Age::Within(_));
    let decision = if made_within && proved && !group.answered_success(identity) {
        settle(Status::Resolved, Outcome::Applied, Reason::Created, store).because(
            "this record is the operation's in every possible history, and it was made after the first attempt".into(),
        )
    } else {
        settle(Status::Resolved, Outcome::Satisfied, Reason::Present, store).because(
            "this record is the operation's in every possible history; it, or another that matches, may be older than the first attempt".into(),
        )
    };
    decision.found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record))
}

/// Answers once for every owner whose the records are.
pub fn matchings(group: &Group) -> Matchings {
    let mut owners: BTreeMap<Link, BTreeMap<Item, Vec<&Attempt>>> = BTreeMap::new();
    for attempt in group.attempts {
        for (index, effect) in attempt.facts.effects.iter().enumerate().filter(|(_, e)| e.kind == Kind::Member) {
            let Some(owner) = effect.key else { continue };
            owners.entry(owner).or_default().entry((attempt.facts.identity, index)).or_default().push(attempt);
        }
    }
    owners.into_values().flat_map(|items| matching(group, items)).collect()
}

fn matching(group: &Group, items: BTreeMap<Item, Vec<&Attempt>>) -> Matchings {
    let capacity = |attempts: &[&Attempt]| attempts.iter().filter(|a| maybe_applied(a)).count();
    let items: Vec<(Item, Vec<&Attempt>)> = items.into_iter().filter(|(_, attempts)| capacity(attempts) > 0).collect();
    let latest: Vec<Option<&Look>> =
        items.iter().map(|((_, index), attempts)| latest_look(group, attempts, *index)).collect();
    let unseen = items.iter().zip(&latest).any(|((_, attempts), look)| {
        look.is_none() && attempts.iter().any(|a| a.verdict.is_none() && a.facts.failure != Some(Failure::Answered))
    });
    if unseen {
        return items.into_iter().map(|(item, _)| (item, None)).collect();
    }
    // Only what one of them can have made: an older record must not take up an operation that nobody has looked for.
    let looks = items.iter().zip(&latest).filter_map(|(((identity, _), _), look)| Some((*identity, (*look)?)));
    let mut records: Vec<&str> =
        looks.flat_map(|(identity, look)| candidates(group, identity, look)).filter_map(|r| r.id.as_deref()).collect();
    records.sort_unstable();
    records.dedup();
    let index_of = |id: &str| records.binary_search(&id).ok();
    let claim =
        |(((identity, _), attempts), look): (&(Item, Vec<&Attempt>), &Option<&Look>)| match (pinned(attempts), look) {
            (Some(id), _) => Claim { capacity: 1, records: index_of(id).into_iter().collect() },
            (None, Some(look)) => Claim {
                capacity: capacity(attempts),
                records: candidates(group, *identity, look).filter_map(|r| index_of(r.id.as_deref()?)).collect(),
            },
            // Settled long ago and without its fields: it may have made any of them.
            (None, None) => Claim { capacity: capacity(attempts), records: (0..records.len()).collect() },
        };
    let mut claims: Vec<Claim> = items.iter().zip(&latest).map(claim).collect();
    let age = |item: usize, record: usize| {
        let id = records[record];
        // For an operation that nobody has looked for, another's look tells the time.
        let (look, record) = if latest[item].is_some() {
            shown(latest[item]?, id)?
        } else {
            latest.iter().flatten().find_map(|look| shown(look, id))?
        };
        Some(age_of(group, items[item].0.0, record, look))
    };
    // Made by one of them, by its time; all others may be older than every attempt, or somebody else's.
    let surely_new: Vec<bool> = (0..records.len())
        .map(|r| (0..items.len()).any(|i| claims[i].records.contains(&r) && matches!(age(i, r), Some(Age::Within(_)))))
        .collect();
    // What another can have made within its windows is not the work of one whose windows were over.
    for (i, claim) in claims.iter_mut().enumerate().filter(|(i, _)| pinned(&items[*i].1).is_none()) {
        claim.records.retain(|&r| match age(i, r) {
            Some(Age::Before) => false,
            Some(Age::After) => !surely_new[r],
            Some(Age::Within(_) | Age::Unknown) | None => true,
        });
    }
    let said = fits(&claims, records.len());
    let without = |claim: &Claim| Claim {
        capacity: claim.capacity,
        records: claim.records.iter().copied().filter(|record| surely_new[*record]).collect(),
    };
    let proved = fits(&claims.iter().map(without).collect::<Vec<_>>(), records.len());
    items
        .into_iter()
        .zip(said.into_iter().zip(proved))
        .map(|((item, _), (fit, sure))| {
            let id = if let Fit::Exactly(record) = fit { Some(records[record].to_owned()) } else { None };
            (item, Some(Known { fit, id, proved: fit == sure }))
        })
        .collect()
}

/// The latest look at an item, by any attempt of its operation, that shows all that it can have made: with controls, and
/// after its windows. What an earlier look did not show may have been made since.
fn latest_look<'a>(group: &Group, attempts: &[&'a Attempt], index: usize) -> Option<&'a Look> {
    let settled = group.own_settled_longest(attempts.first()?.facts.identity);
    let looks = attempts.iter().flat_map(|a| view::in_order(&a.looks, index));
    let shows_all = |look: &&Look| view::sound(look) && look.surely_asked() > settled;
    looks.filter(shows_all).max_by_key(|look| look.asked)
}

/// When a record was made, seen from an operation. Between the windows of two attempts counts as after them.
fn age_of(group: &Group, identity: Link, record: &Record, look: &Look) -> Age {
    let age = Age::of(record, look, group.first_sent(identity), group.own_settled_longest(identity));
    let mut attempts = group.operation(identity).filter(|attempt| maybe_applied(attempt));
    let within = |attempt: &Attempt| {
        let age = Age::of(record, look, attempt.facts.sent(), group.alone_settled_longest(attempt));
        matches!(age, Age::Within(_) | Age::Unknown)
    };
    match age {
        Age::Within(_) if !attempts.any(within) => Age::After,
        _ => age,
    }
}

/// The record of this id in a look, with the look.
fn shown<'a>(look: &'a Look, id: &str) -> Option<(&'a Look, &'a Record)> {
    look.records.iter().find(|record| record.id.as_deref() == Some(id)).map(|record| (look, record))
}

/// The record that a settled operation is known to have made: nobody else's any more.
fn pinned<'a>(attempts: &[&'a Attempt]) -> Option<&'a str> {
    let settled = attempts.iter().filter(|a| a.facts.effects.len() == 1).filter_map(|a| a.verdict.as_ref());
    settled
        .filter(|v| matches!(v.outcome, Outcome::Applied | Outcome::Satisfied))
        .filter_map(|v| v.server_id.as_deref())
        .next_back()
}

/// The records of a look that the operation can have made: one of its attempts may have been applied, their fields agree, and they are not older than it.
fn candidates<'a>(group: &'a Group, identity: Link, look: &'a Look) -> impl Iterator<Item = &'a Record> {
    let first = group.first_sent(identity);
    let settled = group.own_settled_longest(identity);
    let able = group.operation(identity).any(maybe_applied);
    look.records.iter().filter(move |r| able && !r.differs() && Age::of(r, look, first, settled) != Age::Before)
}

fn conclusive(look: &Look) -> bool {
    look.seen != Seen::Inconclusive
}
