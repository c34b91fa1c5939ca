//! Settling: what was read, seen and said of many groups is appended to their evidence, and where each entry stands now.
//!
//! Guarded: when a writer changed an entry of the group since it was loaded, or recorded another one that belongs to
//! it, nothing of the group is written and it is looked at again.

use std::collections::BTreeMap;

use anyhow::Result;

use super::ingest::News;
use super::turn::{EntryTurn, LookMade, Said, Turn, TurnReading};
use super::{Group, Ledger, Member};
use crate::clock::Moment;
use crate::decide::{Deferral, RULES, Verdict, operations};
use crate::evidence::{Attempt, Look};
use crate::mask;
use crate::plan::Reader;
use crate::store::{NewEvidence, RunId, State, Word};
use crate::words::{self, Action, Control, Reason, Seen, Status};

/// What is written of a group, and no more of it: hundreds of them wait for the next transaction.
#[derive(Debug)]
pub struct Stored {
    /// In the order of arrival.
    pub members: Vec<StoredMember>,
    /// As [`crate::evidence::Case::removals`].
    removals: Vec<(Moment, Moment)>,
}

/// What is written of one member.
#[derive(Debug)]
pub struct StoredMember {
    /// Where it stood when it was loaded.
    pub state: State,
    /// What is said of it.
    pub ruling: Ruling,
    /// Of one that is corrected: `entries.request_id`.
    pub corrected: Option<String>,
    /// What was seen of it since it was loaded.
    pub looks: Vec<LookMade>,
    reading: Option<TurnReading>,
    read_in: Option<i64>,
    sent: Option<Moment>,
    answered: bool,
    /// The first attempt of its operation.
    lead: i64,
    /// Its verdict names a record, and rests on the looks that found it.
    names_one: bool,
    /// Of one whose verdict names a record: whether a look did not find it any more, and when.
    vanished: Option<Option<Moment>>,
}

/// What is said of one member, and when it is looked at again.
#[derive(Clone, Debug)]
pub enum Ruling {
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
    pub outcome: words::Outcome,
    pub at: Moment,
}

fn names_one(attempt: &Attempt) -> bool {
    attempt.verdict.as_ref().is_some_and(|verdict| verdict.server_id.is_some())
}

/// What the last look says of a record that a verdict names, if that verdict stands and there is a new look.
fn vanished(attempt: &Attempt, ruling: &Ruling) -> Option<Option<Moment>> {
    let stands = matches!(ruling, Ruling::Nothing | Ruling::Stands { .. });
    let last = attempt.looks.last().filter(|look| stands && names_one(attempt) && look.current)?;
    match (last.seen, last.known, last.random) {
        (Seen::Absent, Control::Held, Control::Held) => Some(Some(last.asked)),
        (Seen::Present | Seen::Several, ..) => Some(None),
        _ => None,
    }
}

impl Stored {
    /// What is written of a group, of whose members this is told.
    pub fn of(group: Group, ruling: Vec<Ruling>) -> Stored {
        let leads = leads(&group);
        let members = group.members.into_iter().zip(group.case.attempts).zip(ruling).zip(leads);
        let members =
            members.map(|(((member, attempt), ruling), lead)| StoredMember::of(member, attempt, ruling, lead));
        Stored { members: members.collect(), removals: group.case.removals }
    }

    /// What is new of it. Where a verdict was reached, every member is named, for it rests on all of them.
    fn turn(&self) -> Turn {
        let settles = self.members.iter().any(|member| matches!(member.ruling, Ruling::Verdict { .. }));
        let mut turn = Turn { entries: self.members.iter().map(StoredMember::turn).collect(), removals: Vec::new() };
        if settles {
            turn.removals.clone_from(&self.removals);
        } else {
            turn.entries.retain(EntryTurn::says_something);
        }
        turn
    }

    /// Whether the server's answer to one of the new looks could be read.
    fn was_looked_at(&self) -> bool {
        let mut looks = self.members.iter().flat_map(|member| &member.looks);
        looks.any(|made| made.look.seen != Seen::Inconclusive)
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
    operations.iter().map(|operation| group.members[first[operation]].state.entry).collect()
}

impl StoredMember {
    fn of(member: Member, attempt: Attempt, ruling: Ruling, lead: i64) -> StoredMember {
        let (answered, names_one, vanished) = (attempt.answered(), names_one(&attempt), vanished(&attempt, &ruling));
        let Attempt { facts, looks, .. } = attempt;
        let new = looks.into_iter().skip(member.stored_looks);
        let made = |look: Look| {
            let lookup = facts.effects.get(look.effect).and_then(|effect| effect.lookup.clone()).unwrap_or_default();
            LookMade { lookup, look }
        };
        let looks = new.map(made).collect();
        let corrected = matches!(&ruling, Ruling::Verdict { verdict, .. } if verdict.correction);
        StoredMember {
            state: member.state,
            ruling,
            corrected: corrected.then_some(member.row.request_id),
            looks,
            reading: member.reading,
            read_in: member.read_in,
            sent: facts.sent,
            answered,
            lead,
            names_one,
            vanished,
        }
    }

    fn turn(&self) -> EntryTurn {
        let said = match &self.ruling {
            Ruling::Verdict { verdict, .. } => Some(Said::Verdict(verdict.clone())),
            Ruling::Deferral { deferral, .. } if self.is_news(deferral) => Some(Said::Deferral(deferral.clone())),
            _ => None,
        };
        let (entry, held) = (self.state.entry, self.state.holds);
        EntryTurn { entry, held, reading: self.reading.clone(), looks: self.looks.clone(), said }
    }

    /// What is said again in the same words, without any new look, is no evidence.
    fn is_news(&self, deferral: &Deferral) -> bool {
        let State { reason, action, not_before, said, .. } = &self.state;
        !self.looks.is_empty()
            || said.is_none()
            || (*reason, *action, *not_before) != (Some(deferral.reason), Some(deferral.action), deferral.not_before)
    }

    /// Where the entry stands from now on.
    fn state_after(&self, evidence: Option<i64>, turn: Option<&EntryTurn>, at: Moment) -> State {
        let mut state = self.state.clone();
        let checked = self.looks.first().filter(|_| !self.answered).map(|made| made.look.asked);
        if self.reading.is_some() {
            (state.read, state.sent) = (self.read_in.or(evidence), self.sent);
        }
        if turn.is_some_and(EntryTurn::says_something) {
            state.head = evidence;
        }
        state.looks += self.looks.len() as u64;
        state.lead = (self.lead != state.entry).then_some(self.lead);
        match &self.ruling {
            Ruling::Nothing if self.answered => (state.due, state.joined) = (None, None),
            // The looks that a verdict rests on are those that were made before it.
            Ruling::Nothing => {}
            Ruling::Verdict { verdict, due } => {
                settle(&mut state, verdict, evidence, at);
                state.due = *due;
                was_checked(&mut state, checked);
            }
            Ruling::Deferral { deferral, due } => {
                state.status = Some(Status::Pending);
                (state.reason, state.action) = (Some(deferral.reason), Some(deferral.action));
                (state.outcome, state.holds, state.correction, state.decided) = (None, false, false, None);
                (state.not_before, state.due) = (deferral.not_before, Some(*due));
                if turn.is_some_and(|turn| turn.said.is_some()) {
                    state.said = evidence;
                }
                was_checked(&mut state, checked);
            }
            Ruling::Stands { due, open } => {
                // A verdict that says what is not there rests on the looks that went on not finding it; one that names a
                // record on those that found it.
                was_checked(&mut state, checked.filter(|_| !self.names_one));
                state.due = *due;
                if !open {
                    state.joined = None;
                }
            }
        }
        if let Some(vanished) = self.vanished {
            state.vanished = vanished;
        }
        state
    }
}

/// A verdict holds from now on.
fn settle(state: &mut State, verdict: &Verdict, evidence: Option<i64>, at: Moment) {
    (state.status, state.outcome) = (Some(verdict.status), Some(verdict.outcome));
    (state.reason, state.action) = (Some(verdict.reason), Some(verdict.action));
    (state.holds, state.correction, state.said) = (true, verdict.correction, evidence);
    (state.not_before, state.joined, state.vanished, state.decided) = (None, None, None, Some(at));
}

/// It was looked at, with an answer or without.
fn was_checked(state: &mut State, checked: Option<Moment>) {
    if checked.is_some() {
        state.checks += 1;
        (state.first_checked, state.last_checked) = (state.first_checked.or(checked), checked);
    }
}

impl Ledger {
    /// Writes what is said of many groups, each whole, in as many turns as it takes. Gives those that were not written
    /// because a writer was there first.
    ///
    /// # Errors
    /// When the ledger cannot be written; what is written of a group then is whole.
    pub fn store_groups(
        &mut self,
        run: RunId,
        batch: &[Stored],
        reader: &Reader,
        news: &mut News,
        now: Moment,
    ) -> Result<Vec<usize>> {
        let mut passed_over = Vec::new();
        let mut groups = batch.iter().enumerate().peekable();
        while groups.peek().is_some() {
            self.store.begin()?;
            let few = self.ingest_few(reader, now);
            let few = match few {
                Ok(Some(few)) => few,
                Ok(None) => {
                    self.store.rollback();
                    let (part, _) = self.ingest_part(reader, now, super::ingest::AT_ONCE)?;
                    news.add(part);
                    continue;
                }
                Err(error) => return self.ended(Err(error)),
            };
            news.add(few);
            let written = self.store_some(run, &mut groups, news, &mut passed_over, now);
            self.ended(written)?;
        }
        Ok(passed_over)
    }

    fn store_some<'b>(
        &mut self,
        run: RunId,
        groups: &mut impl Iterator<Item = (usize, &'b Stored)>,
        news: &News,
        passed_over: &mut Vec<usize>,
        now: Moment,
    ) -> Result<()> {
        let mut looked = false;
        for (index, stored) in groups {
            if self.changed(stored, news)? {
                passed_over.push(index);
            } else {
                self.append_group(run, stored, now)?;
                looked |= stored.was_looked_at();
            }
            if self.store.is_over() {
                break;
            }
        }
        if looked { self.bind_server(run) } else { Ok(()) }
    }

    /// Whether a writer changed an entry of the group, or recorded another one that belongs to it.
    pub(super) fn changed(&self, stored: &Stored, news: &News) -> Result<bool> {
        let among = |entry| stored.members.iter().any(|member| member.state.entry == entry);
        let entries: Vec<i64> = stored.members.iter().map(|member| member.state.entry).collect();
        let now = self.store.states(&entries)?;
        let same = |(now, then): (&State, &StoredMember)| {
            let then = &then.state;
            now == then && !now.unread
        };
        let group = stored.members.first().and_then(|member| member.state.group);
        Ok(now.len() != stored.members.len()
            || !now.iter().zip(&stored.members).all(same)
            || group.is_some_and(|group| news.came(group, among)))
    }

    /// Appends what is new of a group, within the caller's transaction, and stores where its members stand.
    pub(super) fn append_group(&mut self, run: RunId, stored: &Stored, now: Moment) -> Result<()> {
        let turn = stored.turn();
        let heads = stored.members.iter().filter_map(|member| member.state.head);
        let evidence = self.append(run, now, &turn, heads)?;
        let mut said = turn.entries.iter().peekable();
        let mut states = Vec::with_capacity(stored.members.len());
        for member in &stored.members {
            let turn = said.next_if(|turn| turn.entry == member.state.entry);
            let state = member.state_after(evidence, turn, now);
            if state != member.state {
                states.push(state);
            }
        }
        self.store.put_states(&states)?;
        Ok(())
    }

    /// Appends a turn, within the caller's transaction. `None`: it says nothing.
    pub(super) fn append(
        &mut self,
        run: RunId,
        at: Moment,
        turn: &Turn,
        heads: impl Iterator<Item = i64>,
    ) -> Result<Option<i64>> {
        if !turn.entries.iter().any(EntryTurn::says_something) {
            return Ok(None);
        }
        let mut after: Vec<i64> = heads.collect();
        after.sort_unstable();
        after.dedup();
        let (doc, names) = self.form_of(turn)?;
        self.store.append(&NewEvidence { run, at, rules: RULES, after, doc, names }).map(Some)
    }

    /// From the first completed look on the ledger is that server's which the run asked.
    fn bind_server(&mut self, run: RunId) -> Result<()> {
        if self.store.word(Word::Server)?.is_none()
            && let Some(run) = self.store.run(run.0)?
        {
            self.store.set_word(Word::Server, &run.server)?;
        }
        Ok(())
    }

    /// Closes entries by a person's word, in as many turns as it takes. Gives how many of them there are.
    ///
    /// # Errors
    /// When the ledger cannot be written; those that are closed by then are closed whole.
    pub fn close(&mut self, run: RunId, entries: &[i64], close: &Close) -> Result<usize> {
        let mut rest = entries.iter();
        while !rest.as_slice().is_empty() {
            self.store.begin()?;
            let closed = self.close_some(run, &mut rest, close);
            self.ended(closed)?;
        }
        Ok(entries.len())
    }

    fn close_some(&mut self, run: RunId, rest: &mut std::slice::Iter<i64>, close: &Close) -> Result<()> {
        for entry in rest {
            self.close_entry(run, *entry, close)?;
            if self.store.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Closes one entry by a person's word, within the caller's transaction; an `answered` one has nothing to close.
    pub(super) fn close_entry(&mut self, run: RunId, entry: i64, close: &Close) -> Result<()> {
        let Some(mut state) = self.store.states(&[entry])?.into_iter().next() else { return Ok(()) };
        let Some(status) = state.status else { return Ok(()) };
        let reason = state.reason.map_or_else(|| "not looked at yet".to_owned(), |reason| reason.to_string());
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
        let said = Some(Said::Closed(verdict.clone()));
        let entry = EntryTurn { entry, held: state.holds, reading: None, looks: Vec::new(), said };
        let turn = Turn { entries: vec![entry], removals: Vec::new() };
        let evidence = self.append(run, close.at, &turn, state.head.into_iter())?;
        settle(&mut state, &verdict, evidence, close.at);
        (state.due, state.head) = (None, evidence);
        self.store.put_states(&[state])?;
        Ok(())
    }
}
