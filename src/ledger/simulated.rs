//! Ledgers of simulated worlds: in memory, the same for the same seed, written by simulated writers of any kind.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::Ledger;
use super::history::{Histories, History, PastLook};
use crate::clock::Moment;
use crate::plan::Cell;
use crate::store::memory::MemoryStore;
use crate::store::sqlite::Simulated;
use crate::store::{Written, WrittenRow};
use crate::words::{Seen, Status};

/// Looks at entries, and what they found after an absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LooksCounted {
    /// The first at an effect of an entry.
    pub first: u64,
    /// Further ones, before the entry's first verdict.
    pub before: u64,
    /// Those after it: the watch, and what else makes an entry due again.
    pub after: u64,
    /// Looks that found what the one before did not.
    pub turned_up: u64,
    /// Those of them that an untiring schedule may have made in an earlier run: one that asks again after a quarter of the time
    /// that was looked for so far, and under watch after half of the time since the verdict, but not within a minute nor later
    /// than after six hours.
    pub later: u64,
    /// How much sooner at the most, in milliseconds, together.
    pub later_ms: u64,
}

impl Ledger {
    /// A ledger in memory whose salt follows from a seed, so that a simulation replays exactly; `clock` stamps its rows.
    pub fn simulated(seed: u64, clock: fn() -> Moment) -> Ledger {
        Ledger::over(Box::new(MemoryStore::seeded(seed, clock)))
    }

    /// One that others can have open, too: a writer, while the job works.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn simulated_for_several(simulated: &Simulated) -> Result<Ledger> {
        Ok(Ledger::over(Box::new(simulated.open()?)))
    }

    /// What every opening of a ledger does.
    ///
    /// # Errors
    /// When the table cannot be put back, or the ledger cannot be written.
    pub fn reopen(&mut self) -> Result<()> {
        self.store.heal()
    }

    /// A writer's plain INSERT.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn write_row(&mut self, row: &WrittenRow) -> Result<()> {
        self.store.write(row).map(|_| ())
    }

    /// A writer's news of an `intent`: an UPDATE of how it ended, and of nothing else.
    ///
    /// # Errors
    /// When the ledger cannot be written, or refuses it.
    pub fn write_news(&mut self, news: &WrittenRow) -> Result<()> {
        let entry = self.store.entry_of(&news.request_id)?.context("the intent is not there")?;
        let row = self.store.rows(&[entry])?.into_iter().next().context("the intent is not there")?;
        let text = |cell: Cell| cell.ok().flatten();
        let written = self.store.change(&WrittenRow {
            request_id: row.request_id,
            operation_id: text(row.operation_id),
            direction: text(row.direction),
            method: text(row.method).unwrap_or_default(),
            url: text(row.url).unwrap_or_default(),
            body: text(row.body),
            sent_at: text(row.sent_at).unwrap_or_default(),
            ended_at: news.ended_at.clone(),
            failure: news.failure.clone(),
            http_status: news.http_status,
            error: None,
        })?;
        if written != Written::Done {
            bail!("the ledger refuses the news of an intent: {written:?}");
        }
        Ok(())
    }

    /// A writer's DELETE of an `intent`; false when the ledger keeps it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn delete_intent(&mut self, request_id: &str) -> Result<bool> {
        Ok(self.store.withdraw(request_id)? != Written::Refused)
    }

    /// The looks at all entries, counted.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count_looks(&self) -> Result<LooksCounted> {
        let mut runs = BTreeMap::new();
        self.store.each_run(&mut |run| {
            runs.insert(run.id, run.started);
            Ok(true)
        })?;
        let mut histories = Histories::default();
        self.store.each_evidence(&mut |evidence| {
            let turn = self.turn_of(&evidence)?;
            histories.add(&evidence, turn);
            Ok(())
        })?;
        let mut counted = LooksCounted::default();
        histories.0.values().for_each(|history| counted.add(history, &runs));
        Ok(counted)
    }
}

impl LooksCounted {
    fn add(&mut self, history: &History, runs: &BTreeMap<i64, Moment>) {
        let settled = history.verdicts.iter().filter(|past| past.verdict.status != Status::Pending);
        let decided = settled.map(|past| past.at).min();
        let mut of_effect: BTreeMap<usize, Vec<&PastLook>> = BTreeMap::new();
        for past in &history.looks {
            of_effect.entry(past.made.look.effect).or_default().push(past);
        }
        for looks in of_effect.values() {
            self.first += 1;
            for pair in looks.windows(2) {
                let is_after = decided.is_some_and(|decided| pair[1].made.look.asked > decided);
                *(if is_after { &mut self.after } else { &mut self.before }) += 1;
                if (pair[0].made.look.seen, pair[1].made.look.seen) == (Seen::Absent, Seen::Present) {
                    self.turned_up += 1;
                    self.note_later(looks[0], (pair[0], pair[1]), decided, runs);
                }
            }
        }
    }

    /// Whether an untiring schedule may have found it in an earlier run.
    fn note_later(
        &mut self,
        first: &PastLook,
        (last, found): (&PastLook, &PastLook),
        decided: Option<Moment>,
        runs: &BTreeMap<i64, Moment>,
    ) {
        let (first, last) = (first.made.look.asked, last.made.look.asked);
        let pause = match decided.filter(|decided| last > *decided) {
            Some(decided) => (last.0 - decided.0) / 2,
            None => (last.0 - first.0) / 4,
        };
        let sooner = Moment(last.0 + pause.clamp(60_000, 21_600_000));
        let earliest = runs.range(..=found.run).map(|(_, started)| *started).filter(|started| *started >= sooner).min();
        let later = runs.get(&found.run).zip(earliest).map_or(0, |(run, earliest)| (run.0 - earliest.0).max(0));
        self.later += u64::from(later > 0);
        self.later_ms += later.unsigned_abs();
    }
}
