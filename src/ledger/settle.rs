//! Settling: evidence, verdict and standing of many groups in one short transaction.
//!
//! Guarded: when a writer changed an entry of the group since it was loaded, or recorded another one that belongs to
//! it, nothing of the group is written and it is looked at again.

use std::collections::BTreeMap;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension};

use super::fellows::{self, Fellows};
use super::intake::take_in_few;
use super::server;
use super::writing::Writing;
use super::{Group, Ledger, Member, RunId};
use crate::clock::Moment;
use crate::decide::{Deferral, Verdict, operations};
use crate::evidence::{Attempt, Effect, Link, Look};
use crate::mask;
use crate::plan::Reader;
use crate::words::{Action, Control, Outcome, Reason, Seen, Status};

/// What is written of a group, and no more of it: hundreds of them wait for the next transaction.
#[derive(Debug)]
pub struct Stored {
    /// In the order of arrival.
    pub members: Vec<StoredMember>,
    /// As [`Case::removals`].
    pub(super) removals: Vec<(Moment, Moment)>,
}

/// What is written of one member.
#[derive(Debug)]
pub struct StoredMember {
    /// `entries.id`.
    pub entry: i64,
    /// How it stood when it was loaded.
    pub status: Option<Status>,
    /// What is said of it.
    pub told: Told,
    /// Of one that is corrected: `entries.request_id`.
    pub corrected: Option<String>,
    /// What was seen of it since it was loaded.
    pub looks: Vec<NewLook>,
    pub(super) answered: bool,
    pub(super) revision: i64,
    pub(super) reading: i64,
    pub(super) verdict_id: Option<i64>,
    pub(super) links: Vec<Link>,
    /// The first attempt of its operation, where another one is stored.
    pub(super) lead: Option<i64>,
    /// Its verdict names a record, and rests on the looks that found it.
    pub(super) names_one: bool,
    /// Of one whose verdict names a record: whether a look did not find it any more, and when.
    pub(super) vanished: Option<Option<Moment>>,
}

fn names_one(attempt: &Attempt) -> bool {
    attempt.verdict.as_ref().is_some_and(|verdict| verdict.server_id.is_some())
}

/// What the last look says of a record that a verdict names, if that verdict stands and there is a new look.
fn vanished(attempt: &Attempt, told: &Told) -> Option<Option<Moment>> {
    let stands = matches!(told, Told::Nothing | Told::Stands { .. });
    let last = attempt.looks.last().filter(|look| stands && names_one(attempt) && look.current)?;
    match (last.seen, last.known, last.random) {
        (Seen::Absent, Control::Held, Control::Held) => Some(Some(last.asked)),
        (Seen::Present | Seen::Several, ..) => Some(None),
        _ => None,
    }
}

/// A look that is not in the ledger yet.
#[derive(Debug)]
pub struct NewLook {
    /// Its records are JSON already.
    pub look: Look,
    pub(super) lookup: String,
    pub(super) records: Option<String>,
}

impl Stored {
    /// What is written of a group, of whose members this is told.
    ///
    /// # Errors
    /// Never, in practice: when a record is no JSON.
    pub fn of(group: Group, told: Vec<Told>) -> Result<Stored> {
        let leads = leads(&group);
        let members = group.members.into_iter().zip(group.case.attempts).zip(told).zip(leads);
        let members = members.map(|(((member, attempt), told), lead)| StoredMember::of(member, attempt, told, lead));
        Ok(Stored { members: members.collect::<Result<_>>()?, removals: group.case.removals })
    }
}

/// Of each member the first attempt of its operation that is examined, by when it was sent and by its id.
fn leads(group: &Group) -> Vec<i64> {
    let order = |place: usize| {
        let (member, attempt) = (&group.members[place], &group.case.attempts[place]);
        (attempt.answered(), attempt.facts.sent, &member.row.request_id)
    };
    let operations = if group.members.len() > 1 { operations(&group.case) } else { vec![0] };
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for (place, operation) in operations.iter().enumerate() {
        let lead = first.entry(*operation).or_insert(place);
        if order(place) < order(*lead) {
            *lead = place;
        }
    }
    operations.iter().map(|operation| group.members[first[operation]].row.entry).collect()
}

impl StoredMember {
    fn of(member: Member, attempt: Attempt, told: Told, lead: i64) -> Result<StoredMember> {
        let answered = attempt.answered();
        let names_one = names_one(&attempt);
        let vanished = vanished(&attempt, &told);
        let links = attempt.facts.links();
        let effects = attempt.facts.effects;
        let new = attempt.looks.into_iter().skip(member.stored_looks);
        let looks = new.map(|look| NewLook::of(look, &effects)).collect::<Result<_>>()?;
        let corrected = matches!(&told, Told::Verdict { verdict, .. } if verdict.correction);
        Ok(StoredMember {
            entry: attempt.entry,
            status: member.status,
            told,
            corrected: corrected.then_some(member.row.request_id),
            looks,
            answered,
            revision: member.row.revision,
            reading: member.reading,
            verdict_id: member.verdict_id,
            links,
            lead: (lead != member.lead.unwrap_or(attempt.entry)).then_some(lead),
            names_one,
            vanished,
        })
    }
}

impl StoredMember {
    /// Whether the server's answer to one of the new looks could be read.
    fn was_looked_at(&self) -> bool {
        self.looks.iter().any(|new| new.look.seen != Seen::Inconclusive)
    }
}

impl NewLook {
    fn of(mut look: Look, effects: &[Effect]) -> Result<NewLook> {
        let lookup = effects.get(look.effect).and_then(|effect| effect.lookup.clone()).unwrap_or_default();
        let records = std::mem::take(&mut look.records);
        let records = if records.is_empty() { None } else { Some(serde_json::to_string(&records)?) };
        Ok(NewLook { look, lookup, records })
    }
}

/// What is said of one member, and when it is looked at again.
#[derive(Clone, Debug)]
pub enum Told {
    /// Evidence only, or not examined this time.
    Nothing,
    /// A verdict; `due` while it is watched.
    Verdict { verdict: Verdict, due: Option<Moment> },
    /// Still pending, or pending again.
    Deferral { deferral: Deferral, due: Moment },
    /// Its verdict stands; it is looked at again then, if ever. `open`: it is still to be decided again, for another entry
    /// joined its group.
    Stands { due: Option<Moment>, open: bool },
}

/// What a person says of an entry.
#[derive(Clone, Debug)]
pub struct Close {
    pub who: String,
    pub why: String,
    pub outcome: Outcome,
    pub at: Moment,
}

impl Ledger {
    /// Writes what is said of many groups, each whole, in as many turns as it takes. Gives those that were not written
    /// because a writer was there first.
    ///
    /// # Errors
    /// When the ledger cannot be written; what is written of a group then is whole.
    pub fn store(
        &mut self,
        run: RunId,
        batch: &[Stored],
        reader: &Reader,
        fellows: &mut Fellows,
        now: Moment,
    ) -> Result<Vec<usize>> {
        let basis = reader.basis();
        let mut passed_over = Vec::new();
        let mut groups = batch.iter().enumerate().peekable();
        while groups.peek().is_some() {
            let turn = self.turn()?;
            let Some(news) = take_in_few(&turn, reader, now)? else {
                drop(turn);
                let (news, _) = self.take_in_part(reader, now)?;
                fellows::note(&self.connection, fellows, news)?;
                continue;
            };
            fellows::note(&turn, fellows, news)?;
            let mut writing = Writing::prepare(&turn, run, now)?;
            let mut looked = false;
            for (index, stored) in groups.by_ref() {
                if writing.changed(stored, fellows)? {
                    passed_over.push(index);
                } else {
                    writing.group(stored, &basis)?;
                    looked |= stored.members.iter().any(StoredMember::was_looked_at);
                }
                if turn.is_over() {
                    break;
                }
            }
            drop(writing);
            if looked {
                server::bind(&turn, run)?;
            }
            turn.commit()?;
        }
        Ok(passed_over)
    }

    /// Closes entries by a person's word, in as many turns as it takes. Gives how many of them there are.
    ///
    /// # Errors
    /// When the ledger cannot be written; those that are closed by then are closed whole.
    pub fn close(&mut self, run: RunId, entries: &[i64], close: &Close) -> Result<usize> {
        let mut rest = entries.iter();
        while !rest.as_slice().is_empty() {
            let turn = self.turn()?;
            let mut writing = Writing::prepare(&turn, run, close.at)?;
            for entry in rest.by_ref() {
                close_entry(&turn, &mut writing, *entry, close)?;
                if turn.is_over() {
                    break;
                }
            }
            drop(writing);
            turn.commit()?;
        }
        Ok(entries.len())
    }
}

/// Closes one entry by a person's word; an `answered` one has nothing to close.
pub(super) fn close_entry(connection: &Connection, writing: &mut Writing, entry: i64, close: &Close) -> Result<()> {
    let before: Option<(Option<String>, Option<String>)> = connection
        .prepare_cached("SELECT status, reason FROM standings WHERE entry_id = ?")?
        .query_row([entry], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((Some(status), reason)) = before else { return Ok(()) };
    let reason = reason.unwrap_or_else(|| "not looked at yet".to_owned());
    let verdict = Verdict {
        status: Status::Resolved,
        outcome: close.outcome,
        reason: Reason::Closed,
        action: Action::None,
        server_id: None,
        matched_on: None,
        // Reports show it.
        explanation: format!("closed by {}: {} (was {status}, {reason})", close.who, mask::words(&close.why)),
        correction: false,
    };
    writing.settle(entry, None, &verdict, (None, None))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use url::Url;

    use super::*;
    use crate::evidence::{Case, Windows};
    use crate::ledger::{RunStart, WrittenRow};
    use crate::plan::{Plan, SHIPPED};

    /// How many groups are passed over, of one entry with this body, when one with that body is recorded before it is stored.
    fn passed_over(body: &str, came: &str) -> usize {
        let (name, text) = SHIPPED[0];
        let plan = Plan::load(name, text, &BTreeMap::new()).unwrap();
        let server = Url::parse("http://127.0.0.1:9").unwrap();
        let mut ledger = Ledger::simulated(1).unwrap();
        let salt = ledger.salt().to_vec();
        let reader = Reader { plan: &plan, server: &server, salt: &salt, also: &[] };
        let row = |id: &str, body: &str| WrittenRow {
            request_id: id.to_owned(),
            method: "POST".to_owned(),
            url: "http://127.0.0.1:9/api/account".to_owned(),
            body: Some(body.to_owned()),
            sent_at: "2026-11-23T12:00:00Z".to_owned(),
            failure: Some("timeout".to_owned()),
            ..WrittenRow::default()
        };
        let (now, windows) = (Moment(0), Windows::default());
        let start = RunStart { command: "run", started: now, plan: "", plan_digest: "", server: "", windows: &windows };
        let run = ledger.begin_run(&start).unwrap();
        ledger.write_row(&row("r1", body)).unwrap();
        while ledger.take_in(&reader, now).unwrap() {}
        let mut fellows = ledger.fellows(1).unwrap();
        let due = ledger.due(now, false, None, 1).unwrap();
        let blank = Case { windows, attempts: Vec::new(), removals: Vec::new() };
        let group = ledger.groups_of(&due, now, (&fellows, &blank), &mut HashSet::new()).unwrap().remove(0);
        ledger.write_row(&row("r2", came)).unwrap();
        let stored = Stored::of(group, vec![Told::Nothing]).unwrap();
        ledger.store(run, &[stored], &reader, &mut fellows, now).unwrap().len()
    }

    #[test]
    fn whoever_came_meanwhile_by_any_link_passes_the_group_over() {
        let both = r#"{"email":"ann@example.com","userName":"ann1"}"#;
        assert_eq!(passed_over(both, r#"{"email":"ann@example.com"}"#), 1, "the key that it is looked up by");
        assert_eq!(passed_over(both, r#"{"userName":"ann1"}"#), 1, "another key");
        let child = r#"{"parentEmail":"mum@example.com","userName":"kit1","firstName":"Kit"}"#;
        assert_eq!(passed_over(child, r#"{"parentEmail":"mum@example.com","firstName":"Kit"}"#), 1, "its owner");
        assert_eq!(passed_over(both, r#"{"userName":"bob1"}"#), 0);
    }
}
