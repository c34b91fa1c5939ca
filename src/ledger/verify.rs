//! Verifying: every verdict decided again from its evidence, and where each entry stands held against it. What is compared is
//! the end that it came to, by the rules of the version that its evidence bears; never prose.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::history::{Histories, History};
use super::turn::{EntryTurn, Said, Turn, TurnReading};
use super::{Ledger, key_of};
use crate::decide::{Decision, RULES, Verdict, decide};
use crate::evidence::{Case, Class, Facts, Windows};
use crate::store::{Evidence, State};
use crate::views::Verified;
use crate::words::{Failure, Status};

/// States that are gone through at once.
const AT_ONCE: usize = 500;

impl Ledger {
    /// Decides the whole ledger again, and compares; where entries stand must not contradict their evidence. What differs
    /// is told by request id.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn verify(&self) -> Result<Verified> {
        let mut verifying = Verifying { ledger: self, runs: BTreeMap::new(), verified: Verified::default() };
        let mut from = Some(i64::MIN);
        while let Some(start) = from {
            let (mut page, mut full) = (Vec::new(), false);
            self.store.each_state(start, &mut |state| {
                page.push(state);
                full = page.len() >= AT_ONCE;
                Ok(!full)
            })?;
            from = page.last().filter(|_| full).and_then(|last| last.entry.checked_add(1));
            // A group is verified with its first member.
            let groups: BTreeSet<i64> = page.iter().filter_map(|state| state.group).collect();
            let groups: Vec<i64> = groups.into_iter().collect();
            let mut members = self.store.members(&groups)?;
            let mut first: BTreeMap<i64, i64> = BTreeMap::new();
            for state in &members {
                let group = state.group.unwrap_or(state.entry);
                first.entry(group).or_insert(state.entry);
            }
            let here: BTreeSet<i64> = page.iter().map(|state| state.entry).collect();
            members.retain(|state| {
                state.group.and_then(|group| first.get(&group)).is_some_and(|first| here.contains(first))
            });
            members.extend(page.into_iter().filter(|state| state.group.is_none()));
            verifying.groups(&members)?;
        }
        verifying.entries_that_are_gone()?;
        Ok(verifying.verified)
    }
}

struct Verifying<'a> {
    ledger: &'a Ledger,
    runs: BTreeMap<i64, Option<Windows>>,
    verified: Verified,
}

impl Verifying<'_> {
    /// Verifies groups, of which all members are here.
    fn groups(&mut self, members: &[State]) -> Result<()> {
        let mut histories = Histories::default();
        for evidence in self.ledger.evidence_up_to(members.iter().filter_map(|state| state.head))? {
            let mut turn = self.ledger.turn_of(&evidence)?;
            histories.see(&evidence, &mut turn);
            self.decide_again(&evidence, &turn, &histories)?;
            histories.say(&evidence, turn);
        }
        for state in members {
            if let Some(what) = self.contradiction(state, histories.of(state.entry))? {
                self.differ(state.entry, what.to_owned())?;
            }
        }
        Ok(())
    }

    /// Evidence of an entry that is not there. A writer may take back an intent that was never looked up, and a row that could
    /// not be read.
    fn entries_that_are_gone(&mut self) -> Result<()> {
        let (ledger, mut page) = (self.ledger, Vec::new());
        let mut gone = BTreeSet::new();
        let mut find = |page: &mut Vec<EntryTurn>| {
            let entries: BTreeSet<i64> = page.iter().map(|turn| turn.entry).collect();
            let entries: Vec<i64> = entries.into_iter().collect();
            let there: BTreeSet<i64> = ledger.store.states(&entries)?.iter().map(|state| state.entry).collect();
            gone.extend(
                page.drain(..).filter(|turn| !there.contains(&turn.entry) && !may_be_gone(turn)).map(|turn| turn.entry),
            );
            Ok::<(), anyhow::Error>(())
        };
        ledger.store.each_evidence(&mut |evidence| {
            page.extend(ledger.turn_of(&evidence)?.entries);
            if page.len() >= AT_ONCE { find(&mut page) } else { Ok(()) }
        })?;
        find(&mut page)?;
        gone.into_iter().try_for_each(|entry| self.differ(entry, "the entry is not there".to_owned()))
    }

    /// Makes the decision of a turn again, and compares it with what was said.
    fn decide_again(&mut self, evidence: &Evidence, turn: &Turn, histories: &Histories) -> Result<()> {
        let verdict =
            |said: &Option<Said>| if let Some(Said::Verdict(said)) = said { Some(said.clone()) } else { None };
        let stored: Vec<(usize, i64, Verdict)> = turn
            .entries
            .iter()
            .enumerate()
            .filter_map(|(place, entry)| Some((place, entry.entry, verdict(&entry.said)?)))
            .collect();
        if stored.is_empty() {
            return Ok(());
        }
        if evidence.row.rules != RULES {
            *self.verified.by_other_rules.entry(evidence.row.rules).or_default() += stored.len() as u64;
            return Ok(());
        }
        let Some(windows) = self.windows(evidence.row.run.0)? else {
            return self.all_differ(&stored, "the run that decided it is not there");
        };
        let attempt = |entry: &EntryTurn| histories.of(entry.entry)?.attempt(entry.entry, entry.held);
        let attempts: Option<Vec<_>> = turn.entries.iter().map(attempt).collect();
        let Some(attempts) = attempts else {
            return self.all_differ(&stored, "it cannot be decided again: how a row was read is missing");
        };
        let decisions = decide(&Case { windows, attempts, removals: turn.removals.clone() });
        for (place, entry, stored) in stored {
            self.verified.verdicts += 1;
            match &decisions[place] {
                Decision::Settle(again) if again.same_end(&stored) => {}
                again => self.differ(entry, difference(&stored, again))?,
            }
        }
        Ok(())
    }

    fn windows(&mut self, run: i64) -> Result<Option<Windows>> {
        if let Some(windows) = self.runs.get(&run) {
            return Ok(windows.clone());
        }
        let windows = self.ledger.store.run(run)?.map(|run| run.windows);
        self.runs.insert(run, windows.clone());
        Ok(windows)
    }

    fn all_differ(&mut self, stored: &[(usize, i64, Verdict)], what: &str) -> Result<()> {
        for (_, entry, stored) in stored {
            self.differ(*entry, format!("stored {}, and {what}", stored.reason))?;
        }
        Ok(())
    }

    fn differ(&mut self, entry: i64, what: String) -> Result<()> {
        let id = self.ledger.store.ids(&[entry])?.into_iter().next();
        self.verified.differ(id.map_or_else(|| format!("entry {entry}"), |(_, id, _)| id), what);
        Ok(())
    }

    /// What an honest ledger has none of, whatever writers may do, in the midst of a run, and after a kill, another plan, a
    /// `prune` or a `forget`.
    fn contradiction(&self, state: &State, history: Option<&History>) -> Result<Option<&'static str>> {
        let row = self.ledger.store.ids(&[state.entry])?;
        if row.is_empty() && !state.unread {
            return Ok(Some("the entry is not there"));
        }
        if state.status == Some(Status::Pending) && state.due.is_none() && !state.unread {
            return Ok(Some("it is pending, and no look is due"));
        }
        if state.holds != matches!(state.status, Some(Status::Resolved | Status::DuplicateRisk)) {
            return Ok(Some("whether it is settled does not follow from whether a verdict holds"));
        }
        let last = history.and_then(|history| history.verdicts.last());
        if state.holds {
            let Some(last) = last else { return Ok(Some("its verdict is in no evidence")) };
            let verdict = &last.verdict;
            let stands = (state.status, state.outcome, state.reason, state.action, state.correction);
            let said = (
                Some(verdict.status),
                Some(verdict.outcome),
                Some(verdict.reason),
                Some(verdict.action),
                verdict.correction,
            );
            if stands != said || state.said != Some(last.evidence) || state.decided != Some(last.at) {
                return Ok(Some("where it stands does not follow from its last verdict"));
            }
        }
        if state.read.is_some() && history.and_then(History::reading).is_none() {
            return Ok(Some("how it was read is in no evidence"));
        }
        if state.looks != history.map_or(0, |history| history.looks.len() as u64) || state.checks > state.looks {
            return Ok(Some("it was looked at more or less often than there are looks"));
        }
        self.unfound(state, history)
    }

    /// Whether a key of it leads elsewhere. Of an erased one they may be gone.
    fn unfound(&self, state: &State, history: Option<&History>) -> Result<Option<&'static str>> {
        let Some(reading) = history.and_then(History::reading).filter(|_| state.erased.is_none() && !state.unread)
        else {
            return Ok(None);
        };
        let keys: Vec<i64> = reading.facts.group_keys().iter().map(key_of).collect();
        let found = self.ledger.store.groups(&keys)?;
        let elsewhere = state.read.is_some() && found.iter().any(|group| *group != state.group);
        Ok(elsewhere.then_some("a key of it leads to another group"))
    }
}

/// Whether what a turn says of an entry leaves its writer free to take it back.
fn may_be_gone(turn: &EntryTurn) -> bool {
    let free = |facts: &Facts| facts.failure == Some(Failure::Intent) || matches!(facts.class, Class::BadRow { .. });
    let reading = match &turn.reading {
        Some(TurnReading::New(reading)) => free(&reading.facts),
        Some(TurnReading::Again(_)) | None => true,
    };
    turn.looks.is_empty() && reading
}

/// What differs.
fn difference(stored: &Verdict, again: &Decision) -> String {
    match again {
        Decision::Settle(again) if again.reason == stored.reason => {
            format!("stored {}, decided again {}", end(stored), end(again))
        }
        decision => format!("stored {}, decided again {}", stored.reason, decision.reason()),
    }
}

/// The end that a verdict comes to, in words; the record's id may be anybody's.
fn end(verdict: &Verdict) -> String {
    let record = if verdict.server_id.is_some() { ", a record" } else { "" };
    let correction = if verdict.correction { ", a correction" } else { "" };
    let Verdict { status, outcome, reason, action, .. } = verdict;
    format!("{reason} ({status}, {outcome}, {action}{record}{correction})")
}
