//! Whose the records of an owner's list are: each operation claims what it can have made, and [`matching`](super::matching)
//! says what is the same in every feasible history.

use std::collections::{BTreeMap, BTreeSet};

use super::age::{Age, Made};
use super::group::{Group, in_doubt, maybe_applied};
use super::matching::{Claim, Fit, fits};
use super::unique_key::{self, Asked};
use super::view;
use crate::clock::Moment;
use crate::evidence::{Attempt, Effect, KeyDigest, Kind, Look, Record};
use crate::words::{Control, Failure, Outcome, Seen};

/// One thing to be made: an operation's effect.
type Item = (KeyDigest, usize);

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
    let mut owners: BTreeMap<KeyDigest, BTreeMap<Item, Claimant>> = BTreeMap::new();
    for attempt in group.attempts {
        for (index, effect) in attempt.facts.effects.iter().enumerate() {
            let Some(owner) = listed_under(effect) else { continue };
            let item = (attempt.facts.identity, index);
            let claimant = owners.entry(owner).or_default().entry(item).or_insert_with(|| Claimant::of(item));
            claimant.add(attempt, effect);
        }
    }
    owners.into_values().flat_map(|claimants| matching(group, claimants.into_values())).collect()
}

/// The list that shows what it makes: of a record with a key of its own, one in which it is not looked for.
pub fn listed_under(effect: &Effect) -> Option<KeyDigest> {
    match effect.kind {
        Kind::Member => effect.key,
        Kind::Create => effect.owner,
        Kind::Blind | Kind::Delete | Kind::Update | Kind::Upsert | Kind::Inbound => None,
    }
}

fn matching<'a>(group: &'a Group<'a>, claimants: impl Iterator<Item = Claimant<'a>>) -> Matchings {
    let list = List::of(group, claimants);
    if list.unseen() {
        return list.claimants.into_iter().map(|claimant| (claimant.item, None)).collect();
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
    list.claimants.iter().zip(known).map(|(claimant, known)| (claimant.item, Some(known))).collect()
}

/// The one record that it made.
fn exact(fit: Fit) -> Option<usize> {
    match fit {
        Fit::Exactly(record) | Fit::ExactlyAmongMore(record) => Some(record),
        Fit::None | Fit::Duplicated | Fit::Foreign | Fit::Underdetermined | Fit::Ambiguous => None,
    }
}

/// The attempts at one item. A retry may have sent another body than the first attempt: one with a key of the record's own,
/// or one without.
struct Claimant<'a> {
    item: Item,
    /// They sent no key of its own: what they made is looked for in the list.
    keyless: Vec<&'a Attempt>,
    unique_key: Vec<&'a Attempt>,
}

impl<'a> Claimant<'a> {
    fn of(item: Item) -> Claimant<'a> {
        Claimant { item, keyless: Vec::new(), unique_key: Vec::new() }
    }

    fn add(&mut self, attempt: &'a Attempt, effect: &Effect) {
        let attempts = if effect.kind == Kind::Create { &mut self.unique_key } else { &mut self.keyless };
        attempts.push(attempt);
    }

    fn may_have_made_any(&self) -> bool {
        self.keyless.iter().chain(&self.unique_key).any(|attempt| maybe_applied(attempt))
    }
}

/// One owner's list with those who may have made its records.
struct List<'a> {
    group: &'a Group<'a>,
    claimants: Vec<Claimant<'a>>,
    /// Per item: the record that those who sent no key are known to have made, nobody else's any more.
    pinned: Vec<Option<&'a str>>,
    /// Per item: the looks at the list that show all that they can have made, one for each body that was sent. `None`: of one
    /// of them there is none.
    latest: Vec<Option<Vec<&'a Look>>>,
    /// Per item: what became of those who sent a key.
    asked: Vec<Vec<Asked<'a>>>,
    /// The ids of what one of the items can have made, in order. An older record must not take up an operation that
    /// nobody has looked for.
    records: Vec<&'a str>,
}

impl<'a> List<'a> {
    fn of(group: &'a Group<'a>, claimants: impl Iterator<Item = Claimant<'a>>) -> List<'a> {
        let claimants: Vec<Claimant> = claimants.filter(Claimant::may_have_made_any).collect();
        let pinned = claimants.iter().map(|claimant| pinned(group, &claimant.keyless)).collect();
        let latest: Vec<Option<Vec<&Look>>> =
            claimants.iter().map(|claimant| latest_looks(group, &claimant.keyless, claimant.item.1)).collect();
        let asked =
            claimants.iter().map(|claimant| unique_key::asked(group, &claimant.unique_key, claimant.item.1)).collect();
        let looks = claimants
            .iter()
            .zip(&latest)
            .flat_map(|(claimant, looks)| looks.iter().flatten().map(|look| (claimant.item.0, *look)));
        let records = looks.flat_map(|(identity, look)| candidates(group, identity, look));
        let mut records: Vec<&str> = records.filter_map(|record| record.id.as_deref()).collect();
        records.sort_unstable();
        records.dedup();
        List { group, claimants, pinned, latest, asked, records }
    }

    /// An operation in doubt has not been looked at yet; or any was now, and the look told nothing. One whose fields are gone
    /// is not looked at any more, and nobody waits for it.
    fn unseen(&self) -> bool {
        let before = self.looked_before();
        let may_tell = |attempts: &[&Attempt], index: usize| {
            let in_doubt = |a: &&Attempt| a.verdict.is_none() && a.facts.failure != Some(Failure::Answered);
            let looks = attempts.iter().flat_map(|attempt| &attempt.looks);
            let looks = looks.filter(|look| look.current && look.effect == index);
            attempts.iter().any(in_doubt) || looks.map(|look| look.asked).max() > before
        };
        let mut claimants = self.claimants.iter().zip(&self.latest).zip(&self.asked);
        claimants.any(|((claimant, look), asked)| {
            let index = claimant.item.1;
            let keyless = look.is_none() && capacity(&claimant.keyless) > 0 && may_tell(&claimant.keyless, index);
            keyless || asked.iter().any(|asked| asked.look.is_none() && may_tell(&asked.attempts, index))
        })
    }

    /// When the list was looked at the last time but one.
    fn looked_before(&self) -> Option<Moment> {
        let asked = |attempt: &&Attempt, index: usize| {
            let looks = attempt.looks.iter().filter(|look| look.effect == index);
            looks.map(|look| look.asked).rev().nth(1)
        };
        let claimants = self.claimants.iter();
        claimants.flat_map(|claimant| claimant.keyless.iter().filter_map(|a| asked(a, claimant.item.1))).max()
    }

    /// Whether each record was made by one of the items, by its time; all others may be older than every attempt, or
    /// somebody else's.
    fn surely_new(&self) -> Vec<bool> {
        let mut new = vec![false; self.records.len()];
        for item in 0..self.claimants.len() {
            for record in self.maybe_made(item) {
                new[record] = new[record] || matches!(self.age(item, record), Some(Age::Within(_)));
            }
        }
        new
    }

    /// What each item may have made. What another can have made within its windows is not the work of one whose windows
    /// were over.
    fn claims(&self, surely_new: &[bool]) -> Vec<Claim> {
        let in_time = |item: usize, record: usize| match self.age(item, record) {
            Some(Age::Before) => false,
            Some(Age::After) => !surely_new[record],
            Some(Age::Within(_) | Age::Unknown) | None => true,
        };
        let claim = |item: usize| {
            let pinned = |record: usize| self.pinned[item] == Some(self.records[record]);
            let mut records = self.maybe_made(item);
            records.retain(|&record| pinned(record) || in_time(item, record));
            let found: Vec<Vec<usize>> = self.asked[item].iter().map(|asked| self.found_by_key(item, asked)).collect();
            records.extend(found.iter().flatten());
            records.sort_unstable();
            records.dedup();
            let keyless = if self.pinned[item].is_some() { 1 } else { capacity(&self.claimants[item].keyless) };
            // Of what bears one key, it can have made one at the most.
            let asked = self.asked[item].iter().zip(&found);
            let unique_key = asked.filter(|(asked, found)| asked.look.is_none() || !found.is_empty()).count();
            Claim { capacity: keyless + unique_key, records }
        };
        (0..self.claimants.len()).map(claim).collect()
    }

    fn index_of(&self, id: &str) -> Option<usize> {
        self.records.binary_search(&id).ok()
    }

    /// What an item may have made for all that the looks at it say, whenever it was made.
    fn maybe_made(&self, item: usize) -> Vec<usize> {
        let claimant = &self.claimants[item];
        let all = || (0..self.records.len()).collect();
        if self.asked[item].iter().any(|asked| asked.look.is_none()) {
            return all();
        }
        match (self.pinned[item], &self.latest[item]) {
            (Some(id), _) => self.index_of(id).into_iter().collect(),
            (None, Some(looks)) => {
                let records = looks.iter().flat_map(|look| candidates(self.group, claimant.item.0, look));
                let places: BTreeSet<usize> = records.filter_map(|r| self.index_of(r.id.as_deref()?)).collect();
                places.into_iter().collect()
            }
            (None, None) if capacity(&claimant.keyless) == 0 => Vec::new(),
            // Settled long ago and without its fields: it may have made any of them.
            (None, None) => all(),
        }
    }

    /// What was found by its key is nobody else's, but for what others may have made, too.
    fn found_by_key(&self, item: usize, asked: &Asked) -> Vec<usize> {
        let identity = self.claimants[item].item.0;
        let found = asked.look.into_iter().flat_map(|look| unique_key::maybe_made(self.group, identity, look));
        found.filter_map(|id| self.index_of(id)).collect()
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
        let (look, record) = match &self.latest[item] {
            Some(looks) => looks.iter().find_map(|look| shown(look, id))?,
            None => self.latest.iter().flatten().flatten().find_map(|look| shown(look, id))?,
        };
        Some(age_of(self.group, self.claimants[item].item.0, record, look))
    }
}

/// How many records these attempts can have made.
fn capacity(attempts: &[&Attempt]) -> usize {
    attempts.iter().filter(|attempt| maybe_applied(attempt)).count()
}

/// For each body that was sent the latest look at an item that shows all that it can have made: with controls, and after its
/// windows. What an earlier look did not show may have been made since.
fn latest_looks<'a>(group: &Group, attempts: &[&'a Attempt], index: usize) -> Option<Vec<&'a Look>> {
    let settled = group.own_settled_longest(attempts.first()?.facts.identity);
    let mut alike: Vec<(&Effect, Vec<&Attempt>)> = Vec::new();
    for attempt in attempts {
        let Some(effect) = attempt.facts.effects.get(index) else { continue };
        match alike.iter_mut().find(|(other, _)| *other == effect) {
            Some((_, attempts)) => attempts.push(attempt),
            None => alike.push((effect, vec![attempt])),
        }
    }
    alike.retain(|(_, alike)| alike.iter().any(|attempt| maybe_applied(attempt)));
    // What has lost its fields cannot be looked for again; a retry that came since asks for the same.
    let sealed = |attempt: &Attempt| attempt.facts.sealed.unwrap_or(Moment(i64::MAX));
    let newest = attempts.iter().map(|attempt| sealed(attempt)).max();
    alike.retain(|(_, alike)| alike.iter().any(|attempt| Some(sealed(attempt)) == newest));
    let each = alike.iter().map(|(_, alike)| latest(alike, index, |l| l.current && l.surely_asked() > settled));
    each.collect::<Option<Vec<_>>>().filter(|looks| !looks.is_empty())
}

/// The latest of those looks at an effect which controls stand behind.
pub fn latest<'a>(attempts: &[&'a Attempt], index: usize, of: impl Fn(&Look) -> bool) -> Option<&'a Look> {
    let looks = attempts.iter().flat_map(|a| view::in_order(&a.looks, index));
    let sound = |look: &Look| view::sound(look) && (look.seen != Seen::Absent || look.known == Control::Held);
    // Of two asked at one instant any fixed choice does.
    let later = |a: &&Look, b: &&Look| a.asked.cmp(&b.asked).then_with(|| format!("{a:?}").cmp(&format!("{b:?}")));
    looks.filter(|look| sound(look) && of(look)).max_by(later)
}

/// When a record was made, seen from an operation.
pub fn age_of(group: &Group, identity: KeyDigest, record: &Record, look: &Look) -> Age {
    let unlisted = group.unlisted_before(identity, record, look);
    Made::said(record.made, look).looked_for(unlisted, look).age(group.first(identity), group.spans_longest(identity))
}

/// The record of this id in a look, with the look.
fn shown<'a>(look: &'a Look, id: &str) -> Option<(&'a Look, &'a Record)> {
    look.records.iter().find(|record| record.id.as_deref() == Some(id)).map(|record| (look, record))
}

/// The record that a settled operation is known to have made, and no other: all that it tried was known to that verdict, and
/// over by it. Tried again since, or before by a row that came later, it may have made another.
fn pinned<'a>(group: &Group, attempts: &[&'a Attempt]) -> Option<&'a str> {
    let settled = attempts.iter().filter(|a| a.facts.effects.len() == 1).filter_map(|a| a.verdict.as_ref());
    let made = settled.filter(|v| matches!(v.outcome, Outcome::Applied | Outcome::Satisfied) && v.server_id.is_some());
    let last = made.max_by_key(|verdict| verdict.decided)?;
    let mut tried = attempts.iter().filter(|attempt| maybe_applied(attempt));
    let known = |attempt: &Attempt| {
        (attempt.verdict.is_some() || !in_doubt(attempt)) && attempt.facts.arrived.is_none_or(|at| at <= last.decided)
    };
    let over = tried.all(|attempt| group.alone_settled_longest(attempt) < last.decided && known(attempt));
    // Another plan may call the same record by another id.
    let one_plan = attempts.iter().flat_map(|attempt| &attempt.looks).all(|look| look.current);
    (over && one_plan).then_some(last.server_id.as_deref())?
}

/// The records of a look that the operation can have made: one of its attempts may have been applied, their fields agree,
/// they are not older than it, and nobody who asked for their unique key can have made them.
pub fn candidates<'a>(group: &'a Group, identity: KeyDigest, look: &'a Look) -> impl Iterator<Item = &'a Record> {
    let able = group.operation(identity).any(maybe_applied);
    let can = move |r: &&Record| {
        able && !r.differs() && !group.is_keyed(r) && age_of(group, identity, r, look) != Age::Before
    };
    look.records.iter().filter(can)
}

/// Whether a look came to any conclusion.
pub fn conclusive(look: &Look) -> bool {
    look.seen != Seen::Inconclusive
}
