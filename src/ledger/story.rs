//! The story of one entry: its row, how it was read, every look and every verdict.

use anyhow::Result;

use super::Ledger;
use super::history::{History, PastVerdict};
use crate::clock::Moment;
use crate::decide::distinct_requests;
use crate::evidence::Facts;
use crate::plan::Reader;
use crate::store::{NoteKind, State};
use crate::views::{Story, StoryLook, StoryVerdict};

impl Ledger {
    /// The story of one request. `None` when there is none, or it is an `answered` one.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn story(&self, request_id: &str, reader: &Reader, now: Moment) -> Result<Option<Story>> {
        let Some(row) = self.row_of_request(request_id)? else { return Ok(None) };
        let Some(state) = self.store.states(&[row.entry])?.into_iter().next() else { return Ok(None) };
        let histories = self.histories(state.head)?;
        let history = histories.of(row.entry).cloned().unwrap_or_default();
        let reading = history.reading().filter(|_| state.read.is_some());
        let fingerprint = reading.map_or_else(|| reader.fingerprint(), |reading| reading.fingerprint.clone());
        let facts = match reading {
            Some(reading) => Some(reading.facts.clone()),
            None => row.row.as_ref().filter(|_| state.group.is_some()).map(|row| reader.read(row, now).facts),
        };
        let runs: Vec<i64> = history.looks.iter().map(|past| past.run).collect();
        let looks = runs.into_iter().zip(history.looks(&fingerprint)).map(|(run, look)| StoryLook { run, look });
        let shares_id_with = self.others_of_its_id(&state, facts.as_ref(), reader, now)?;
        Ok(Some(Story {
            looks: looks.collect(),
            verdicts: history.verdicts.iter().map(verdict).collect(),
            blanked: self.erasure_of(&state)?,
            row,
            facts,
            shares_id_with,
        }))
    }

    /// Every verdict of one request, the last one last.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn verdicts_of(&self, request_id: &str) -> Result<Vec<StoryVerdict>> {
        let entry = self.store.entry_of(request_id)?;
        let Some(state) = self.store.states(entry.as_slice())?.into_iter().next() else { return Ok(Vec::new()) };
        let histories = self.histories(state.head)?;
        Ok(histories.of(state.entry).into_iter().flat_map(|history| &history.verdicts).map(verdict).collect())
    }

    /// When the personal fields of an entry were removed, and by which command.
    fn erasure_of(&self, state: &State) -> Result<Option<(Moment, String)>> {
        let Some(erasure) = state.erased else { return Ok(None) };
        let note = self.store.notes(NoteKind::Erasure, Moment(i64::MIN))?.into_iter().find(|note| note.id == erasure);
        let command = |doc: &str| {
            let doc: serde_json::Value = serde_json::from_str(doc).unwrap_or_default();
            doc["command"].as_str().unwrap_or_default().to_owned()
        };
        Ok(note.map(|note| (note.at, command(&note.doc))))
    }

    /// The requests that bear an entry's operation id and are another operation than it.
    fn others_of_its_id(
        &self,
        state: &State,
        facts: Option<&Facts>,
        reader: &Reader,
        now: Moment,
    ) -> Result<Vec<String>> {
        let (Some(identity), Some(group)) = (facts.map(|facts| facts.identity), state.group) else {
            return Ok(Vec::new());
        };
        let members = self.store.members(&[group])?;
        let histories = self.histories(members.iter().filter_map(|member| member.head))?;
        let mut same: Vec<(i64, Facts)> = Vec::new();
        for member in &members {
            let read = histories.of(member.entry).and_then(History::reading).filter(|_| member.read.is_some());
            let facts = match read {
                Some(reading) => Some(reading.facts.clone()),
                None => self.store.rows(&[member.entry])?.first().map(|row| reader.read(row, now).facts),
            };
            same.extend(facts.filter(|facts| facts.identity == identity).map(|facts| (member.entry, facts)));
        }
        let entries: Vec<i64> = same.iter().map(|(entry, _)| *entry).collect();
        let operations = distinct_requests(same.into_iter().map(|(_, facts)| facts));
        let own = entries.iter().position(|entry| *entry == state.entry).map(|place| operations[place]);
        let others = entries.iter().zip(&operations).filter(|(_, operation)| own.is_some_and(|own| own != **operation));
        let others: Vec<i64> = others.map(|(entry, _)| *entry).collect();
        Ok(self.store.ids(&others)?.into_iter().map(|(_, request, _)| request).collect())
    }
}

fn verdict(past: &PastVerdict) -> StoryVerdict {
    let verdict = &past.verdict;
    StoryVerdict {
        run: past.run,
        decided: past.at,
        status: verdict.status.to_string(),
        outcome: verdict.outcome.to_string(),
        reason: verdict.reason.to_string(),
        action: verdict.action.to_string(),
        explanation: verdict.explanation.clone(),
        correction: verdict.correction,
    }
}
