//! Whose the records of an owner's list are: each operation claims what it can have made, and [`matching`](super::matching)
//! says what is the same in every feasible history.

use std::collections::BTreeMap;

use super::age::Age;
use super::group::{Group, maybe_applied};
use super::keyed;
use super::matching::{Claim, Fit, fits};
use super::view;
use crate::evidence::{Attempt, Effect, Kind, Link, Look, Record};
use crate::words::{Control, Failure, Outcome, Seen};

/// One thing to be made: an operation's effect.
type Item = (Link, usize);

/// What is known of each item. `None`: an item of the same list has not been looked at, so nothing can be said yet.
pub type Matchings = BTreeMap<Item, Option<Known>>;

/// What is known of one item.
#[derive(Clone, Debug)]
pub struct Known {
    pub fit: Fit,
    /// The server's id where it is exactly one record.
    pub id: Option<String>,
    /// It is so too when each record that may be older than all attempts is nobody's.
    pub proved: bool,
}

/// Answers once for every owner whose the records are.
pub fn matchings(group: &Group) -> Matchings {
    let mut owners: BTreeMap<Link, BTreeMap<Item, Vec<&Attempt>>> = BTreeMap::new();
    for attempt in group.attempts {
        for (index, effect) in attempt.facts.effects.iter().enumerate() {
            let Some(owner) = listed_under(effect) else { continue };
            owners.entry(owner).or_default().entry((attempt.facts.identity, index)).or_default().push(attempt);
        }
    }
    owners.into_values().flat_map(|items| matching(group, items)).collect()
}

/// The list that shows what it makes: of a record with a key of its own, one in which it is not looked for.
fn listed_under(effect: &Effect) -> Option<Link> {
    match effect.kind {
        Kind::Member => effect.key,
        Kind::Create => effect.owner,
        Kind::Blind | Kind::Delete | Kind::Update | Kind::Inbound => None,
    }
}

fn matching(group: &Group, items: BTreeMap<Item, Vec<&Attempt>>) -> Matchings {
    let list = List::of(group, items);
    if list.unseen() {
        return list.items.into_iter().map(|(item, _)| (item, None)).collect();
    }
    let surely_new = list.surely_new();
    let claims = list.claims(&surely_new);
    let said = fits(&claims, list.records.len());
    let without = |claim: &Claim| Claim {
        capacity: claim.capacity,
        records: claim.records.iter().copied().filter(|record| surely_new[*record]).collect(),
    };
    let proved = fits(&claims.iter().map(without).collect::<Vec<_>>(), list.records.len());
    let known = |(item, (fit, sure)): (usize, (Fit, Fit))| {
        let proved = match (exact(fit), exact(sure)) {
            (None, None) => fit == sure,
            (one, two) => one == two,
        };
        let fit = match fit {
            // One of the others may be older than all attempts; then this one may be another's.
            Fit::ExactlyAmongMore(_) if !proved => Fit::Ambiguous,
            fit if exact(fit).is_some_and(|record| list.others_may_have_made(&claims, item, record)) => Fit::Ambiguous,
            fit => fit,
        };
        Known { fit, id: exact(fit).map(|record| list.records[record].to_owned()), proved }
    };
    let known = said.into_iter().zip(proved).enumerate().map(known);
    list.items.iter().zip(known).map(|((item, _), known)| (*item, Some(known))).collect()
}

/// The one record that it made.
fn exact(fit: Fit) -> Option<usize> {
    match fit {
        Fit::Exactly(record) | Fit::ExactlyAmongMore(record) => Some(record),
        Fit::None | Fit::Duplicated | Fit::Foreign | Fit::Underdetermined | Fit::Ambiguous => None,
    }
}

/// One owner's list with those who may have made its records.
struct List<'a> {
    group: &'a Group<'a>,
    items: Vec<(Item, Vec<&'a Attempt>)>,
    /// Per item: the record that it is known to have made, nobody else's any more.
    pinned: Vec<Option<&'a str>>,
    /// Per item: the look that shows all that it can have made.
    latest: Vec<Option<&'a Look>>,
    /// The ids of what one of the items can have made, in order. An older record must not take up an operation that
    /// nobody has looked for.
    records: Vec<&'a str>,
}

impl<'a> List<'a> {
    fn of(group: &'a Group<'a>, items: BTreeMap<Item, Vec<&'a Attempt>>) -> List<'a> {
        let items: Vec<(Item, Vec<&Attempt>)> =
            items.into_iter().filter(|(_, attempts)| capacity(attempts) > 0).collect();
        let pinned = items.iter().map(|(_, attempts)| pinned(group, attempts)).collect();
        let latest: Vec<Option<&Look>> =
            items.iter().map(|((_, index), attempts)| latest_look(group, attempts, *index)).collect();
        let listed = items.iter().zip(&latest).filter(|(item, _)| !keyed(item));
        let looks = listed.filter_map(|(((identity, _), _), look)| Some((*identity, (*look)?)));
        let records = looks.flat_map(|(identity, look)| candidates(group, identity, look));
        let mut records: Vec<&str> = records.filter_map(|record| record.id.as_deref()).collect();
        records.sort_unstable();
        records.dedup();
        List { group, items, pinned, latest, records }
    }

    /// An operation in doubt has not been looked at yet.
    fn unseen(&self) -> bool {
        let in_doubt = |a: &&Attempt| a.verdict.is_none() && a.facts.failure != Some(Failure::Answered);
        let mut items = self.items.iter().zip(&self.latest);
        items.any(|((_, attempts), look)| look.is_none() && attempts.iter().any(in_doubt))
    }

    /// Whether each record was made by one of the items, by its time; all others may be older than every attempt, or
    /// somebody else's.
    fn surely_new(&self) -> Vec<bool> {
        let claims: Vec<Claim> = (0..self.items.len()).map(|item| self.claim(item)).collect();
        let mut new = vec![false; self.records.len()];
        for (item, claim) in claims.iter().enumerate() {
            for &record in &claim.records {
                new[record] = new[record] || matches!(self.age(item, record), Some(Age::Within(_)));
            }
        }
        new
    }

    /// What each item may have made. What another can have made within its windows is not the work of one whose windows
    /// were over.
    fn claims(&self, surely_new: &[bool]) -> Vec<Claim> {
        let claim = |item: usize| {
            let mut claim = self.claim(item);
            let looked_up = keyed(&self.items[item]) && self.latest[item].is_some();
            if self.pinned[item].is_none() && !looked_up {
                claim.records.retain(|&record| match self.age(item, record) {
                    Some(Age::Before) => false,
                    Some(Age::After) => !surely_new[record],
                    Some(Age::Within(_) | Age::Unknown) | None => true,
                });
            }
            claim
        };
        (0..self.items.len()).map(claim).collect()
    }

    fn claim(&self, item: usize) -> Claim {
        let ((identity, _), attempts) = &self.items[item];
        let index_of = |id: &str| self.records.binary_search(&id).ok();
        if keyed(&self.items[item]) {
            // Its record, if it was found, bears its key and is nobody else's; it can have made one at the most.
            let named = |attempt: &&Attempt| attempt.verdict.as_ref().is_some_and(|v| v.server_id.is_some());
            let records = match self.latest[item] {
                Some(look) => keyed::maybe_made(self.group, *identity, look).filter_map(index_of).collect(),
                None if attempts.iter().any(named) => Vec::new(),
                None => (0..self.records.len()).collect(),
            };
            return Claim { capacity: 1, records };
        }
        match (self.pinned[item], self.latest[item]) {
            (Some(id), _) => Claim { capacity: 1, records: index_of(id).into_iter().collect() },
            (None, Some(look)) => {
                let records = candidates(self.group, *identity, look);
                Claim {
                    capacity: capacity(attempts),
                    records: records.filter_map(|record| index_of(record.id.as_deref()?)).collect(),
                }
            }
            // Settled long ago and without its fields: it may have made any of them.
            (None, None) => Claim { capacity: capacity(attempts), records: (0..self.records.len()).collect() },
        }
    }

    /// A server that applies one attempt twice makes a record more than the attempts tell of: what the counts alone force
    /// upon one operation may be the double of another that can have made it, too.
    fn others_may_have_made(&self, claims: &[Claim], item: usize, record: usize) -> bool {
        let open = |other: usize| other != item && self.pinned[other].is_none();
        (0..claims.len()).any(|other| open(other) && claims[other].records.contains(&record))
    }

    /// When a record was made, seen from an item. For one that nobody has looked for, another's look tells the time.
    fn age(&self, item: usize, record: usize) -> Option<Age> {
        let id = self.records[record];
        let (look, record) = match self.latest[item] {
            Some(look) => shown(look, id)?,
            None => self.latest.iter().flatten().find_map(|look| shown(look, id))?,
        };
        Some(age_of(self.group, self.items[item].0.0, record, look))
    }
}

/// It is looked for by a key of its own, not in the list.
fn keyed(((_, index), attempts): &(Item, Vec<&Attempt>)) -> bool {
    attempts.iter().any(|attempt| attempt.facts.effects.get(*index).is_some_and(|e| e.kind == Kind::Create))
}

/// How many records these attempts can have made.
fn capacity(attempts: &[&Attempt]) -> usize {
    attempts.iter().filter(|attempt| maybe_applied(attempt)).count()
}

/// The latest look at an item, by any attempt of its operation, that shows all that it can have made: with controls, and
/// after its windows. What an earlier look did not show may have been made since.
fn latest_look<'a>(group: &Group, attempts: &[&'a Attempt], index: usize) -> Option<&'a Look> {
    let settled = group.own_settled_longest(attempts.first()?.facts.identity);
    let looks = attempts.iter().flat_map(|a| view::in_order(&a.looks, index));
    let sound = |look: &Look| view::sound(look) && (look.seen != Seen::Absent || look.known == Control::Held);
    let shows_all = |look: &&Look| sound(look) && look.surely_asked() > settled;
    // Of two asked at one instant any fixed choice does.
    let later = |a: &&Look, b: &&Look| a.asked.cmp(&b.asked).then_with(|| format!("{a:?}").cmp(&format!("{b:?}")));
    looks.filter(shows_all).max_by(later)
}

/// When a record was made, seen from an operation.
pub fn age_of(group: &Group, identity: Link, record: &Record, look: &Look) -> Age {
    Age::of_spans(record, look, group.first_sent(identity), group.spans_longest(identity))
}

/// The record of this id in a look, with the look.
fn shown<'a>(look: &'a Look, id: &str) -> Option<(&'a Look, &'a Record)> {
    look.records.iter().find(|record| record.id.as_deref() == Some(id)).map(|record| (look, record))
}

/// The record that a settled operation is known to have made, and no other: all that it tried was over by that verdict. Tried
/// again since, it may have made another.
fn pinned<'a>(group: &Group, attempts: &[&'a Attempt]) -> Option<&'a str> {
    let settled = attempts.iter().filter(|a| a.facts.effects.len() == 1).filter_map(|a| a.verdict.as_ref());
    let made = settled.filter(|v| matches!(v.outcome, Outcome::Applied | Outcome::Satisfied) && v.server_id.is_some());
    let last = made.max_by_key(|verdict| verdict.decided)?;
    let mut tried = attempts.iter().filter(|attempt| maybe_applied(attempt));
    let over = tried.all(|attempt| group.alone_settled_longest(attempt) < last.decided);
    // Another plan may call the same record by another id.
    let one_plan = attempts.iter().flat_map(|attempt| &attempt.looks).all(|look| look.current);
    (over && one_plan).then_some(last.server_id.as_deref())?
}

/// The records of a look that the operation can have made: one of its attempts may have been applied, their fields agree,
/// they are not older than it, and nobody who asked for their unique key can have made them.
pub fn candidates<'a>(group: &'a Group, identity: Link, look: &'a Look) -> impl Iterator<Item = &'a Record> {
    let first = group.first_sent(identity);
    let settled = group.own_settled_longest(identity);
    let able = group.operation(identity).any(maybe_applied);
    let can = move |r: &&Record| {
        able && !r.differs() && !group.is_keyed(r) && Age::of(r, look, first, settled) != Age::Before
    };
    look.records.iter().filter(can)
}

/// Whether a look came to any conclusion.
pub fn conclusive(look: &Look) -> bool {
    look.seen != Seen::Inconclusive
}
