//! Histories: what the evidence of a group says of each of its entries, gone through from its beginning.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Ledger;
use super::turn::{LookMade, Reading, Said, Turn, TurnReading};
use crate::clock::Moment;
use crate::decide::Verdict;
use crate::evidence::{Attempt, Look, Settled};
use crate::store::Evidence;

/// All that was read, seen and said of one entry, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub readings: Vec<Reading>,
    /// The row of evidence that each reading stands in.
    pub read_in: Vec<i64>,
    /// The reading that it is decided by.
    pub current: Option<usize>,
    pub looks: Vec<PastLook>,
    pub verdicts: Vec<PastVerdict>,
}

/// A look of a history.
#[derive(Clone, Debug)]
pub struct PastLook {
    pub run: i64,
    /// The reading under which it was made.
    reading: Option<usize>,
    pub made: LookMade,
}

/// A verdict of a history.
#[derive(Clone, Debug)]
pub struct PastVerdict {
    /// Its row of evidence.
    pub evidence: i64,
    pub run: i64,
    pub at: Moment,
    pub verdict: Verdict,
    /// So many looks were there by then.
    pub looks: usize,
}

impl History {
    /// The reading that it is decided by.
    pub fn reading(&self) -> Option<&Reading> {
        self.readings.get(self.current?)
    }

    /// What a decision sees of the entry; `held`: its last verdict holds. `None`: it was never read.
    pub fn attempt(&self, entry: i64, held: bool) -> Option<Attempt> {
        let reading = self.reading()?;
        let last = self.verdicts.last().map(PastVerdict::settled);
        let (verdict, prior) = if held { (last, None) } else { (None, last) };
        Some(Attempt { entry, facts: reading.facts.clone(), looks: self.looks(&reading.fingerprint), verdict, prior })
    }

    /// Its looks as they count under a plan and server.
    pub fn looks(&self, fingerprint: &str) -> Vec<Look> {
        let is_current = |look: &PastLook| look.reading.is_some_and(|at| self.readings[at].fingerprint == fingerprint);
        self.looks.iter().map(|past| Look { current: is_current(past), ..past.made.look.clone() }).collect()
    }

    /// It is decided by this reading from now on, which stands in that row of evidence.
    pub fn read(&mut self, reading: TurnReading, evidence: i64) {
        match reading {
            TurnReading::New(reading) => {
                self.readings.push(*reading);
                self.read_in.push(evidence);
                self.current = Some(self.readings.len() - 1);
            }
            TurnReading::Again(place) => self.current = Some(place),
        }
    }

    /// Adds how it was read and what was seen of it.
    fn see(&mut self, (evidence, run): (i64, i64), reading: Option<TurnReading>, looks: Vec<LookMade>) {
        if let Some(reading) = reading {
            self.read(reading, evidence);
        }
        self.looks.extend(looks.into_iter().map(|made| PastLook { run, reading: self.current, made }));
    }

    /// Adds what was said of it.
    fn say(&mut self, (evidence, run, at): (i64, i64, Moment), said: Said) {
        if let Said::Verdict(verdict) | Said::Closed(verdict) = said {
            self.verdicts.push(PastVerdict { evidence, run, at, verdict, looks: self.looks.len() });
        }
    }
}

impl PastVerdict {
    /// As a later decision sees it.
    pub fn settled(&self) -> Settled {
        let Verdict { status, outcome, reason, action, ref server_id, .. } = self.verdict;
        let server_id = server_id.clone();
        Settled { decided: self.at, status, outcome, reason, action, server_id, looks: self.looks }
    }
}

/// The histories of entries, by entry.
#[derive(Clone, Debug, Default)]
pub struct Histories(pub BTreeMap<i64, History>);

impl Histories {
    /// Adds a turn.
    pub fn add(&mut self, evidence: &Evidence, mut turn: Turn) {
        self.see(evidence, &mut turn);
        self.say(evidence, turn);
    }

    /// Adds how rows were read in a turn and what was seen, which is taken out of it.
    pub fn see(&mut self, evidence: &Evidence, turn: &mut Turn) {
        for entry in &mut turn.entries {
            let history = self.0.entry(entry.entry).or_default();
            history.see((evidence.id, evidence.row.run.0), entry.reading.take(), std::mem::take(&mut entry.looks));
        }
    }

    /// Adds what was said in a turn.
    pub fn say(&mut self, evidence: &Evidence, turn: Turn) {
        for entry in turn.entries {
            if let (Some(said), Some(history)) = (entry.said, self.0.get_mut(&entry.entry)) {
                history.say((evidence.id, evidence.row.run.0, evidence.row.at), said);
            }
        }
    }

    /// That of an entry.
    pub fn of(&self, entry: i64) -> Option<&History> {
        self.0.get(&entry)
    }
}

impl Ledger {
    /// Reads a row of evidence.
    pub(super) fn turn_of(&self, evidence: &Evidence) -> Result<Turn> {
        let fetch = |id| {
            let text = self.store.shared(&[id])?.into_iter().next();
            Ok(text.context("a text that evidence shares is missing")?.1)
        };
        let mut forms = self.forms.borrow_mut();
        let read = forms.read(&evidence.row.doc, &evidence.row.names, &fetch);
        read.with_context(|| format!("failed to read evidence {}", evidence.id))
    }

    /// The rows of evidence that lead to these, themselves among them, in order.
    pub(super) fn evidence_up_to(&self, heads: impl IntoIterator<Item = i64>) -> Result<Vec<Evidence>> {
        let mut found: BTreeMap<i64, Evidence> = BTreeMap::new();
        let mut open: BTreeSet<i64> = heads.into_iter().collect();
        while !open.is_empty() {
            let ids: Vec<i64> = std::mem::take(&mut open).into_iter().collect();
            for evidence in self.store.evidence(&ids)? {
                let before = evidence.row.after.iter().copied();
                open.extend(before.filter(|id| !found.contains_key(id)));
                found.insert(evidence.id, evidence);
            }
            open.retain(|id| !found.contains_key(id));
        }
        Ok(found.into_values().collect())
    }

    /// The histories that lead to these rows of evidence.
    pub(super) fn histories(&self, heads: impl IntoIterator<Item = i64>) -> Result<Histories> {
        let mut histories = Histories::default();
        for evidence in self.evidence_up_to(heads)? {
            let turn = self.turn_of(&evidence)?;
            histories.add(&evidence, turn);
        }
        Ok(histories)
    }
}
