//! What creates by a unique key of their own have made in an owner's list.
//!
//! Who sent no such key did not make a record that bears one, as long as it can be the work of one who asked for that key. A
//! record may be given its key later, though: one that no such create can have made may be anybody's.

use std::collections::{BTreeMap, BTreeSet};

use super::age::{Age, Made};
use super::group::{Group, maybe_applied, succeeded};
use super::{ownership, view};
use crate::clock::Moment;
use crate::evidence::{Attempt, KeyDigest, Kind, Look, Record};
use crate::words::Seen;

/// The ids of records that an operation which asked for their unique key can have made.
pub fn made<'a>(group: &Group<'a>) -> BTreeSet<&'a str> {
    let unique = |attempt: &Attempt, look: &Look| {
        attempt.facts.effects.get(look.effect).is_some_and(|effect| effect.kind == Kind::Create)
    };
    let mut made = BTreeSet::new();
    for attempt in group.attempts {
        let first = group.first_sent(attempt.facts.identity);
        let mut older = BTreeSet::new();
        let mut able = BTreeSet::new();
        for look in attempt.looks.iter().filter(|look| unique(attempt, look) && shows(look)) {
            for (id, record) in look.records.iter().filter(|r| r.own).filter_map(|r| Some((r.id.as_deref()?, r))) {
                let seen_before = first.is_some_and(|first| group.seen_by(id).is_some_and(|seen| seen < first));
                match age(group, attempt.facts.identity, record, look) {
                    _ if seen_before => older.insert(id),
                    Age::Before => older.insert(id),
                    // Who was answered with success made a record of this key, whenever that was.
                    Age::After if !succeeded(attempt) => false,
                    Age::Within(_) | Age::Unknown | Age::After => !record.differs() && able.insert(id),
                };
            }
        }
        made.extend(able.difference(&older));
    }
    made
}

/// When a record was made, seen from an operation that asked for its key: it waits for its own windows.
fn age(group: &Group, identity: KeyDigest, record: &Record, look: &Look) -> Age {
    Made::said(record.made, look).age(group.first(identity), group.spans(identity))
}

/// Another plan may call the same record by another id.
fn shows(look: &Look) -> bool {
    look.current && view::sound(look)
}

/// When each record was first known to be there, by whichever look.
pub fn first_seen(attempts: &[Attempt]) -> BTreeMap<&str, Moment> {
    let mut first = BTreeMap::new();
    for look in attempts.iter().flat_map(|attempt| &attempt.looks).filter(|look| shows(look)) {
        for id in look.records.iter().filter_map(|record| record.id.as_deref()) {
            let seen = first.entry(id).or_insert(look.surely_answered());
            *seen = (*seen).min(look.surely_answered());
        }
    }
    first
}

/// What a look at its key shows that the operation may have made, though others may have, too: made after its windows, or
/// found under another spelling.
pub fn maybe_made<'a>(group: &Group, identity: KeyDigest, look: &'a Look) -> impl Iterator<Item = &'a str> {
    let able = move |record: &&Record| {
        !record.differs()
            && match age(group, identity, record, look) {
                Age::Before => false,
                Age::Within(_) | Age::Unknown => !record.own,
                Age::After => true,
            }
    };
    look.records.iter().filter(able).filter_map(|record| record.id.as_deref())
}

/// The attempts of one operation that asked for one key, and the look that tells what they made.
pub struct Asked<'a> {
    pub attempts: Vec<&'a Attempt>,
    /// `None`: no look tells it, so that any record may be theirs.
    pub look: Option<&'a Look>,
}

/// What became of an operation's attempts that sent a key and may have been applied, by key.
pub fn asked<'a>(group: &Group, attempts: &[&'a Attempt], index: usize) -> Vec<Asked<'a>> {
    let mut by_key: BTreeMap<Option<KeyDigest>, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        let key = attempt.facts.effects.get(index).and_then(|effect| effect.key);
        by_key.entry(key).or_default().push(attempt);
    }
    let by_key = by_key.into_values().filter(|attempts| attempts.iter().any(|attempt| maybe_applied(attempt)));
    by_key.map(|attempts| Asked { look: telling(group, &attempts, index), attempts }).collect()
}

/// The latest look at the key that tells what these attempts made: one after their windows, or one that found the record when
/// all of them were sent, for the server keeps its key unique. Another plan may call the same record by another id.
fn telling<'a>(group: &Group, attempts: &[&'a Attempt], index: usize) -> Option<&'a Look> {
    let settled = group.own_settled_longest(attempts.first()?.facts.identity);
    let found = |look: &Look| {
        let present = look.seen == Seen::Present && look.records.iter().any(|record| record.own);
        present && attempts.iter().all(|attempt| !maybe_applied(attempt) || was_sent(attempt, look.asked))
    };
    ownership::latest(attempts, index, |look| look.current && (look.surely_asked() > settled || found(look)))
}

/// It was sent by then: its row says so, or it had been recorded and was looked at.
fn was_sent(attempt: &Attempt, moment: Moment) -> bool {
    let looked_at = attempt.looks.iter().any(|look| look.asked <= moment);
    looked_at || attempt.facts.sent().is_some_and(|sent| sent <= moment)
}
