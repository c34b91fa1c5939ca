//! Telling: what the ledger says, for status and report. Everything is read from the store, never from a run's memory.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Ledger;
use super::turn::{EntryTurn, Said, Turn};
use crate::clock::{Moment, Span};
use crate::decide::Verdict;
use crate::plan::{Cell, Row, operation};
use crate::store::State;
use crate::views::{Audience, Counts, Entries, Filter, Gist, LedgerState, NOT_PRIVOS, ReportRow, ToDo};
use crate::words::{Action, Outcome, Reason, Seen, Status};

/// Rows of a report that are read at once.
const AT_ONCE: usize = 500;

/// Rows of evidence in which the last measurement of the server's clock is looked for.
const RECENT: i64 = 200;

/// What a person reads of a wait whose reason is in no evidence.
struct Waits<'a>(&'a BTreeMap<i64, String>);

impl Waits<'_> {
    fn why(&self, state: &State) -> Option<&String> {
        self.0.get(&state.entry)
    }

    fn status(&self, state: &State) -> Option<Status> {
        if self.why(state).is_some() { Some(Status::Pending) } else { state.status }
    }

    /// Nothing is known of an entry that was not looked at yet: the report calls that inconclusive.
    fn reason(&self, state: &State) -> Reason {
        if self.why(state).is_some() { Reason::Unsettled } else { state.reason.unwrap_or(Reason::Inconclusive) }
    }
}

/// What PRIVO can answer: a correction, and a duplicate-risk that is not the partner's own mistake. What a person closed is
/// resolved, by a verdict that is no correction.
fn is_for_support(state: &State) -> bool {
    let asked = |reason: Reason| !NOT_PRIVOS.contains(&reason);
    (state.status == Some(Status::DuplicateRisk) && state.reason.is_some_and(asked))
        || (state.holds && state.correction)
}

/// What a later run will know more of, without anybody's doing.
fn waits_for_a_run(state: &State, waits: &Waits) -> bool {
    let waits_itself = state.status == Some(Status::Pending) && matches!(state.action, None | Some(Action::Wait));
    waits_itself || (state.status.is_some() && waits.why(state).is_some())
}

/// The attempts of operations that may be sent again, by the first of each.
#[derive(Default)]
struct Operations(BTreeMap<i64, Vec<State>>);

impl Operations {
    fn note(&mut self, state: &State) {
        let advised = matches!(state.action, Some(Action::Resend | Action::MayResend));
        if state.status.is_some() && (advised || state.lead.is_some()) {
            self.0.entry(state.lead.unwrap_or(state.entry)).or_default().push(state.clone());
        }
    }

    /// How the first attempt of an operation is advised: 0, proven not applied, of which no attempt stands otherwise and none
    /// waits for a row that came since; 1, what the server would refuse to do twice, of which no attempt says otherwise.
    fn pass(&self, first: &State, waits: &Waits) -> Option<u8> {
        if first.lead.is_some() || waits.why(first).is_some() {
            return None;
        }
        let others = || self.0.get(&first.entry).into_iter().flatten().filter(|state| state.entry != first.entry);
        let stands = |state: &State, status, action| state.status == Some(status) && state.action == Some(action);
        if stands(first, Status::Resolved, Action::Resend) && first.outcome == Some(Outcome::NotApplied) {
            return others().all(|state| stands(state, Status::Resolved, Action::Resend)).then_some(0);
        }
        let may = |state: &State| stands(state, Status::Pending, Action::MayResend) && waits.why(state).is_none();
        (may(first) && others().all(may)).then_some(1)
    }

    /// Something of the operation was settled since: its first attempt may have been settled long before.
    fn is_new(&self, first: &State, after: i64) -> bool {
        let newer = |state: &State| state.holds && state.said.is_some_and(|said| said > after);
        newer(first) || self.0.get(&first.entry).into_iter().flatten().any(newer)
    }
}

/// One row of a report before it is read: its pass, when it was sent, its entry.
type Place = (u8, Option<Moment>, i64);

impl Ledger {
    /// How many entries stand where.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn counts(&self) -> Result<Counts> {
        let mut sums: BTreeMap<(Status, Option<Reason>), i64> = BTreeMap::new();
        for (status, reason, count) in self.store.counts()? {
            *sums.entry((status, reason)).or_default() += i64::try_from(count)?;
        }
        let waits: Vec<i64> = self.waits.borrow().keys().copied().collect();
        for state in self.store.states(&waits)? {
            if let Some(status) = state.status {
                *sums.entry((status, state.reason)).or_default() -= 1;
                *sums.entry((Status::Pending, Some(Reason::Unsettled))).or_default() += 1;
            }
        }
        let sums = sums.into_iter().filter(|(_, count)| *count > 0);
        let rows = sums.map(|((status, reason), count)| (status, reason, count.unsigned_abs())).collect();
        Ok(Counts { rows, oldest_pending: self.store.stats()?.oldest_pending })
    }

    /// The counts, and when runs went well: what alerts and metrics are made of.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn ledger_state(&self) -> Result<LedgerState> {
        let mut ledger_state = LedgerState { counts: self.counts()?, ..LedgerState::default() };
        self.store.each_run(&mut |run| {
            if run.command == "run" {
                if run.end.trouble.is_none() && ledger_state.last_success.is_none() {
                    ledger_state.last_success = run.ended;
                }
                ledger_state.first_run = Some(run.started);
            }
            Ok(true)
        })?;
        Ok(ledger_state)
    }

    /// What is to be done now: as many as the reports for each reader have rows.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn to_do(&self) -> Result<ToDo> {
        let waits = self.waits.borrow();
        let waits = Waits(&waits);
        let (mut to_do, mut operations) = (ToDo::default(), Operations::default());
        self.store.each_state(i64::MIN, &mut |state| {
            operations.note(&state);
            if waits_for_a_run(&state, &waits) {
                to_do.waiting += 1;
                to_do.until = [to_do.until, state.due].into_iter().flatten().min();
            }
            to_do.privo += u64::from(is_for_support(&state));
            let reviewed = state.action == Some(Action::Review) && waits.why(&state).is_none();
            to_do.review += u64::from(reviewed && !is_for_support(&state));
            Ok(true)
        })?;
        for first in operations.0.iter().filter_map(|(first, all)| all.iter().find(|state| state.entry == *first)) {
            match operations.pass(first, &waits) {
                Some(0) => to_do.resend += 1,
                Some(_) => to_do.may_resend += 1,
                None => {}
            }
        }
        Ok(to_do)
    }

    /// How far the server's clock is behind this host's, at the least, by the last look that measured it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn server_behind(&self) -> Result<Span> {
        let last = self.store.last_evidence()?;
        let ids: Vec<i64> = ((last - RECENT).max(0)..=last).collect();
        for evidence in self.store.evidence(&ids)?.iter().rev() {
            let turn = self.turn_of(evidence)?;
            let looks = turn.entries.iter().flat_map(|entry| &entry.looks);
            if let Some((_, most)) = looks.filter_map(|made| made.look.skew).next_back() {
                return Ok(Span(most.0.saturating_neg().max(0)));
            }
        }
        Ok(Span::ZERO)
    }

    /// Whether there is a duplicate-risk that no person closed, and whether anything is pending: what exit codes tell.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn state(&mut self) -> Result<(bool, bool)> {
        // Rows that came while the command went on, and that nothing noted.
        self.store.heal()?;
        let stats = self.store.stats()?;
        Ok((stats.duplicate_risk, stats.pending))
    }

    /// Gives each row of the report to `each`: corrections first, then by the instant sent, then by the request's id in
    /// bytes; what is to be sent again in order of sending, and then what may be. All of it is read as of one instant; gives the id of the
    /// last verdict there was then.
    ///
    /// # Errors
    /// When the ledger cannot be read, or `each` fails.
    pub fn each_row(
        &self,
        filter: &Filter,
        entries: Entries,
        mut each: impl FnMut(ReportRow) -> Result<()>,
    ) -> Result<i64> {
        let mut last = 0;
        self.store.as_of_one_instant(&mut || {
            last = self.store.last_evidence()?;
            let (mut places, operations) = self.places(filter)?;
            places.sort_unstable();
            self.order_by_id(&mut places)?;
            for part in places.chunks(AT_ONCE) {
                let order: Vec<i64> = part.iter().map(|(.., entry)| *entry).collect();
                let mut rows = self.report_rows(&order, entries)?;
                for entry in &order {
                    let Some((mut row, run)) = rows.remove(entry) else { continue };
                    if !fits(filter, &row, run) {
                        continue;
                    }
                    self.beside(filter.audience, &mut row, &operations)?;
                    each(row)?;
                }
            }
            Ok(())
        })?;
        Ok(last)
    }

    /// Which entries a report has, as far as their states tell.
    fn places(&self, filter: &Filter) -> Result<(Vec<Place>, Operations)> {
        let waits = self.waits.borrow();
        let waits = Waits(&waits);
        let (mut found, mut operations, mut unread) = (Vec::new(), Operations::default(), Vec::new());
        self.store.each_state(i64::MIN, &mut |state| {
            if filter.audience == Audience::Resend {
                operations.note(&state);
            }
            let Some(status) = waits.status(&state) else { return Ok(true) };
            let fits = (filter.statuses.is_empty() || filter.statuses.contains(&status))
                && (filter.reasons.is_empty() || filter.reasons.contains(&waits.reason(&state)))
                && (filter.run.is_none() || state.holds && waits.why(&state).is_none())
                && match filter.audience {
                    Audience::All => true,
                    Audience::Support => is_for_support(&state),
                    Audience::Resend => state.lead.is_none(),
                };
            let newer = |after: i64| state.holds && state.said.is_some_and(|said| said > after);
            let new = filter.audience == Audience::Resend || filter.after_verdict.is_none_or(newer);
            if fits && new {
                if state.group.is_none() {
                    unread.push(state.entry);
                }
                found.push((u8::from(!(state.holds && state.correction)), state.sent, state.entry));
            }
            Ok(true)
        })?;
        if filter.audience == Audience::Resend {
            let firsts: BTreeSet<i64> = found.iter().map(|(.., entry)| *entry).collect();
            let is_first = |state: &&State| firsts.contains(&state.entry);
            let first = operations.0.values().flatten().filter(is_first);
            let new = |state: &&State| filter.after_verdict.is_none_or(|after| operations.is_new(state, after));
            let advised = first.filter(new).filter_map(|s| Some((operations.pass(s, &waits)?, s.sent, s.entry)));
            found = advised.collect();
        }
        self.date(&mut found, &unread)?;
        let within = |sent: Moment| {
            filter.since.is_none_or(|since| sent >= since) && filter.until.is_none_or(|until| sent < until)
        };
        // What has no time is in every range, so that it is not lost.
        found.retain(|(_, sent, _)| sent.is_none_or(within));
        Ok((found, operations))
    }

    /// When what no run has read yet was sent, by what its writer wrote.
    fn date(&self, found: &mut [Place], unread: &[i64]) -> Result<()> {
        let mut sent = BTreeMap::new();
        for part in unread.chunks(AT_ONCE) {
            for row in self.store.rows(part)? {
                let moment = row.sent_at.as_ref().ok().and_then(Option::as_ref).and_then(|text| Moment::parse(text));
                sent.insert(row.entry, moment);
            }
        }
        for (_, at, entry) in found {
            if let Some(moment) = sent.get(entry) {
                *at = *moment;
            }
        }
        Ok(())
    }

    /// What was sent at one instant is in the order of the requests' ids.
    fn order_by_id(&self, places: &mut [Place]) -> Result<()> {
        for same in places.chunk_by_mut(|one, other| (one.0, one.1) == (other.0, other.1)).filter(|same| same.len() > 1)
        {
            let entries: Vec<i64> = same.iter().map(|(.., entry)| *entry).collect();
            let mut ids = BTreeMap::new();
            for part in entries.chunks(AT_ONCE) {
                ids.extend(self.store.ids(part)?.into_iter().map(|(entry, id, _)| (entry, id)));
            }
            same.sort_by(|(.., one), (.., other)| (ids.get(one), one).cmp(&(ids.get(other), other)));
        }
        Ok(())
    }

    /// What a report for some reader shows beside.
    fn beside(&self, audience: Audience, row: &mut ReportRow, operations: &Operations) -> Result<()> {
        match audience {
            Audience::All => {}
            Audience::Support => row.found = self.found_by(row.entry)?,
            Audience::Resend => {
                let mut attempts: Vec<(Option<Moment>, i64)> =
                    operations.0.get(&row.entry).into_iter().flatten().map(|state| (state.sent, state.entry)).collect();
                attempts.sort_unstable();
                let entries: Vec<i64> =
                    attempts.iter().map(|(_, entry)| *entry).collect::<BTreeSet<_>>().into_iter().collect();
                let ids: BTreeMap<i64, String> =
                    self.store.ids(&entries)?.into_iter().map(|(entry, id, _)| (entry, id)).collect();
                let mut attempts: Vec<(Option<Moment>, &String)> =
                    attempts.iter().filter_map(|(sent, entry)| Some((*sent, ids.get(entry)?))).collect();
                attempts.sort_unstable();
                row.attempts = attempts.into_iter().map(|(_, id)| id.clone()).collect();
            }
        }
        Ok(())
    }

    /// The server's ids of the records that the last look at each effect of an entry found: what support must find.
    fn found_by(&self, entry: i64) -> Result<Vec<String>> {
        let Some(head) = self.store.states(&[entry])?.first().and_then(|state| state.head) else {
            return Ok(Vec::new());
        };
        let histories = self.histories([head])?;
        let mut last = BTreeMap::new();
        for past in histories.of(entry).into_iter().flat_map(|history| &history.looks) {
            if matches!(past.made.look.seen, Seen::Present | Seen::Several) {
                last.insert(past.made.look.effect, &past.made.look.records);
            }
        }
        let ids = last.into_values().flatten().filter_map(|record| record.id.clone()).filter(|id| !id.is_empty());
        let mut found: Vec<String> = ids.collect();
        found.dedup();
        Ok(found)
    }

    /// Rows of a report, each with the run that settled it.
    fn report_rows(&self, order: &[i64], entries: Entries) -> Result<BTreeMap<i64, (ReportRow, Option<i64>)>> {
        let sorted: Vec<i64> = order.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let states = self.store.states(&sorted)?;
        let ids: BTreeMap<i64, (String, Cell)> = self
            .store
            .ids(&sorted)?
            .into_iter()
            .map(|(entry, request, operation)| (entry, (request, operation)))
            .collect();
        let whole = |state: &&State| entries == Entries::All || state.read.is_none();
        let wanted: Vec<i64> = states.iter().filter(whole).map(|state| state.entry).collect();
        let mut rows: BTreeMap<i64, Row> = self.store.rows(&wanted)?.into_iter().map(|row| (row.entry, row)).collect();
        let current = self.turns(states.iter().flat_map(|state| [state.read, state.said]).flatten())?;
        let waits = self.waits.borrow();
        let waits = Waits(&waits);
        let mut found = BTreeMap::new();
        for state in states {
            let Some((request, operation)) = ids.get(&state.entry) else { continue };
            let row = rows.remove(&state.entry);
            let (entry, current) = (state.entry, Current::of(&state, &current));
            found.insert(entry, self.report_row(state, (request, operation), row, &current, &waits)?);
        }
        Ok(found)
    }

    /// Turns of these rows of evidence, with the run and the moment of each.
    pub(super) fn turns(&self, ids: impl Iterator<Item = i64>) -> Result<BTreeMap<i64, (i64, Moment, Turn)>> {
        let ids: Vec<i64> = ids.collect::<BTreeSet<_>>().into_iter().collect();
        let mut turns = BTreeMap::new();
        for evidence in self.store.evidence(&ids)? {
            turns.insert(evidence.id, (evidence.row.run.0, evidence.row.at, self.turn_of(&evidence)?));
        }
        Ok(turns)
    }

    fn report_row(
        &self,
        state: State,
        (request_id, operation_id): (&str, &Cell),
        row: Option<Row>,
        current: &Current,
        waits: &Waits,
    ) -> Result<(ReportRow, Option<i64>)> {
        let status = waits.status(&state).context("an answered row is in no report")?;
        let settled = status != Status::Pending;
        let verdict = current.verdict.filter(|_| settled);
        let waiting = waits.why(&state).cloned();
        let explanation = match (waiting, verdict) {
            (Some(why), _) => Some(why),
            (None, Some(verdict)) => Some(noting(&verdict.explanation, state.vanished)),
            (None, None) => match (&current.deferral, state.joined.filter(|_| state.reason.is_some())) {
                (Some(explanation), _) => Some((*explanation).to_owned()),
                (None, Some(newcomer)) => Some(self.why_it_waits(state.entry, newcomer)?),
                (None, None) => None,
            },
        };
        let waits = waits.why(&state).is_some();
        let row = ReportRow {
            entry: state.entry,
            operation_id: operation(operation_id, request_id).to_owned(),
            request_id: request_id.to_owned(),
            gist: current.gist.clone(),
            row,
            status,
            outcome: verdict.map(|verdict| verdict.outcome),
            reason: if waits { Some(Reason::Unsettled) } else { state.reason },
            action: if waits { Some(Action::Wait) } else { state.action },
            server_id: verdict.and_then(|verdict| verdict.server_id.clone()),
            matched_on: verdict.and_then(|verdict| verdict.matched_on.clone()),
            explanation,
            correction: verdict.is_some_and(|verdict| verdict.correction),
            checks: state.checks,
            first_checked: state.first_checked,
            last_checked: state.last_checked,
            not_before: state.not_before,
            run: current.run.filter(|_| settled),
            decided: current.decided.filter(|_| settled),
            pseudonym: state.pseudonym,
            attempts: Vec::new(),
            vanished: state.vanished.filter(|_| settled),
            found: Vec::new(),
        };
        let run = row.run;
        Ok((row, run))
    }

    /// The row of one request. `None` when there is none, or it is an `answered` one.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn row_of_request(&self, request_id: &str) -> Result<Option<ReportRow>> {
        let Some(entry) = self.store.entry_of(request_id)? else { return Ok(None) };
        if self.store.states(&[entry])?.first().is_none_or(|state| state.status.is_none()) {
            return Ok(None);
        }
        Ok(self.report_rows(&[entry], Entries::All)?.remove(&entry).map(|(row, _)| row))
    }
}

/// What evidence says of one entry now.
struct Current<'a> {
    gist: Option<Gist>,
    verdict: Option<&'a Verdict>,
    deferral: Option<&'a str>,
    run: Option<i64>,
    decided: Option<Moment>,
}

impl<'a> Current<'a> {
    fn of(state: &State, turns: &'a BTreeMap<i64, (i64, Moment, Turn)>) -> Current<'a> {
        let find = |id: Option<i64>| {
            let (run, at, turn) = turns.get(&id?)?;
            let place = turn.entries.binary_search_by_key(&state.entry, |entry| entry.entry).ok()?;
            Some((*run, *at, &turn.entries[place]))
        };
        let gist = find(state.read).and_then(|(.., entry)| entry.gist());
        let said = find(state.said);
        let (mut verdict, mut deferral) = (None, None);
        match said.and_then(|(.., entry)| entry.said.as_ref()) {
            Some(Said::Verdict(said) | Said::Closed(said)) if state.holds => verdict = Some(said),
            Some(Said::Deferral(said)) => deferral = Some(said.explanation.as_str()),
            _ => {}
        }
        let by = said.filter(|_| verdict.is_some());
        Current { gist, verdict, deferral, run: by.map(|(run, ..)| run), decided: by.map(|(_, at, _)| at) }
    }
}

impl EntryTurn {
    fn gist(&self) -> Option<Gist> {
        match &self.reading {
            Some(super::turn::TurnReading::New(reading)) => Some(reading.facts.clone().into()),
            _ => None,
        }
    }
}

/// What states alone do not tell.
fn fits(filter: &Filter, row: &ReportRow, run: Option<i64>) -> bool {
    let operation = |name: &String| row.gist.as_ref().is_none_or(|gist| gist.operation.as_ref() == Some(name));
    filter.run.is_none_or(|wanted| run == Some(wanted)) && filter.operation.as_ref().is_none_or(operation)
}

/// A verdict's explanation, and that its record was not found any more since.
fn noting(explanation: &str, vanished: Option<Moment>) -> String {
    match vanished {
        Some(moment) => format!("{explanation}; when it was looked for at {moment}, it was not there any more"),
        None => explanation.to_owned(),
    }
}
