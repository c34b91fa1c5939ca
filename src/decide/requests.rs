//! Which rows under one operation id are attempts of one operation.
//!
//! Retries are the same request: the same operation of the plan, no kind of key with two values, no compared or written
//! field that both show with two values, as many children or features where both name some; a key or field more or less is
//! still a retry. An id that was given to several requests (a trace id, `undefined`) holds several operations, and what one of them was answered proves nothing for
//! another. A row that fits several of them (it has no body) counts as an attempt of each.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::evidence::{Attempt, Case, Class, KeyDigest};
use crate::words::Direction;

/// A case in which every operation has an identity of its own.
pub struct Requests<'a> {
    pub case: Cow<'a, Case>,
    /// Operations that share their id with another.
    pub sharing: BTreeMap<KeyDigest, KeyDigest>,
    /// Attempts, by their place, that count for another operation than their own, too.
    pub also: Vec<(usize, KeyDigest)>,
}

/// What a row is told from others by. Of a row that cannot be read nothing is known, and it fits all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Signature<'a> {
    call: Option<(bool, Option<&'a str>)>,
    /// Of each name of a key or field what it says; several where its URL can be read in several ways.
    values: BTreeMap<(&'a str, &'a str), BTreeSet<KeyDigest>>,
    /// How many there are of what a request may hold several of: `child 1`, `child 2`.
    parts: BTreeMap<&'a str, usize>,
    sealed: Option<Moment>,
}

impl<'a> Signature<'a> {
    fn of(attempt: &'a Attempt) -> Signature<'a> {
        let facts = &attempt.facts;
        let call = match facts.class {
            Class::BadRow { .. } => None,
            Class::Planned | Class::NoPlan | Class::Read | Class::OtherEnvironment => {
                Some((facts.class == Class::Read, facts.operation.as_deref()))
            }
        };
        // Deliveries of one event are one operation, whatever else they say.
        let told_by_values = facts.direction == Direction::Outbound;
        let mut values: BTreeMap<(&str, &str), BTreeSet<KeyDigest>> = BTreeMap::new();
        let mut parts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for effect in facts.effects.iter().filter(|_| told_by_values) {
            let numbered = effect.name.rsplit_once(' ').filter(|(_, number)| number.parse::<usize>().is_ok());
            if let Some((kind, number)) = numbered {
                parts.entry(kind).or_default().insert(number);
            }
            // Two that write nothing in common are no retries of each other.
            if !effect.targets.is_empty() {
                values.entry((effect.name.as_str(), "")).or_default().extend(&effect.targets);
            }
            for (name, value) in &effect.values {
                values.entry((effect.name.as_str(), name.as_str())).or_default().insert(*value);
            }
        }
        let parts = parts.into_iter().map(|(kind, numbers)| (kind, numbers.len())).collect();
        Signature { call, values, parts, sealed: facts.sealed }
    }

    fn fits(&self, other: &Signature) -> bool {
        let calls = match (&self.call, &other.call) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        if self.sealed != other.sealed {
            return calls;
        }
        let parts = self.parts.iter().all(|(kind, count)| other.parts.get(kind).is_none_or(|other| other == count));
        let (few, many) = if self.values.len() <= other.values.len() { (self, other) } else { (other, self) };
        let values =
            few.values.iter().all(|(name, said)| many.values.get(name).is_none_or(|other| !said.is_disjoint(other)));
        calls && parts && values
    }
}

/// Gives every operation an identity of its own.
pub fn apart(case: &Case) -> Requests<'_> {
    let mut requests = Requests { case: Cow::Borrowed(case), sharing: BTreeMap::new(), also: Vec::new() };
    let mut by_id: BTreeMap<KeyDigest, Vec<usize>> = BTreeMap::new();
    for (place, attempt) in case.attempts.iter().enumerate() {
        by_id.entry(attempt.facts.identity).or_default().push(place);
    }
    for (id, places) in by_id.into_iter().filter(|(_, places)| places.len() > 1) {
        requests.divide(case, id, &places);
    }
    requests
}

impl Requests<'_> {
    fn divide(&mut self, case: &Case, id: KeyDigest, places: &[usize]) {
        let mut of: BTreeMap<Signature, Vec<usize>> = BTreeMap::new();
        for &place in places {
            of.entry(Signature::of(&case.attempts[place])).or_default().push(place);
        }
        let signatures: Vec<&Signature> = of.keys().collect();
        let fitting = fitting(&signatures);
        let all = signatures.len();
        if fitting.iter().all(|others| others.len() == all) {
            return;
        }
        // Rows that fit the same others are attempts of one operation.
        let mut operations: BTreeMap<&BTreeSet<usize>, KeyDigest> = BTreeMap::new();
        for others in &fitting {
            let number = operations.len() as u32;
            operations.entry(others).or_insert_with(|| numbered(id, number));
        }
        for (signature, members) in of.values().enumerate() {
            let own = operations[&fitting[signature]];
            self.sharing.insert(own, id);
            for &place in members {
                self.case.to_mut().attempts[place].facts.identity = own;
                let others = operations.iter().filter(|(others, other)| others.contains(&signature) && **other != own);
                self.also.extend(others.map(|(_, other)| (place, *other)));
            }
        }
    }
}

/// Of each signature those that fit it, itself among them. Signatures that show another value of the name that most of
/// them show never fit, so that they need not be held against each other.
fn fitting(signatures: &[&Signature]) -> Vec<BTreeSet<usize>> {
    let mut names: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for name in signatures.iter().flat_map(|signature| signature.values.keys()) {
        *names.entry(*name).or_default() += 1;
    }
    let common = names.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name);
    let value = |signature: &Signature| {
        let said = common.filter(|_| signature.sealed.is_none()).and_then(|name| signature.values.get(&name))?;
        said.first().filter(|_| said.len() == 1).copied()
    };
    let mut alike: BTreeMap<Option<KeyDigest>, Vec<usize>> = BTreeMap::new();
    for (place, signature) in signatures.iter().enumerate() {
        alike.entry(value(signature)).or_default().push(place);
    }
    let without = alike.remove(&None).unwrap_or_default();
    let mut fitting = vec![BTreeSet::new(); signatures.len()];
    for (place, signature) in signatures.iter().enumerate() {
        let near: Box<dyn Iterator<Item = usize>> = match value(signature) {
            Some(value) => Box::new(alike.get(&Some(value)).into_iter().flatten().chain(&without).copied()),
            None => Box::new(0..signatures.len()),
        };
        fitting[place] = near.filter(|other| signature.fits(signatures[*other])).collect();
    }
    fitting
}

/// The identity of one of several operations under an id; the first one keeps it.
fn numbered(id: KeyDigest, number: u32) -> KeyDigest {
    let mut bytes = id.0;
    for (byte, other) in bytes[12..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= other;
    }
    KeyDigest(bytes)
}
