//! A sample of what stands in the ledger, for `check`.

use anyhow::Result;

use super::Ledger;
use crate::plan::Row;
use crate::words::{Reason, Status};

/// At most so many entries that the plan could make nothing of are in a sample.
const MOST_UNREAD: usize = 100_000;

/// Rows that are read at once.
const AT_ONCE: usize = 500;

impl Ledger {
    /// Gives the newest entries to `each`, and those that the plan could make nothing of (`no-plan`, `bad-row`), however
    /// old. `answered` ones and those that a person closed are left out.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn each_sampled(&self, newest: usize, mut each: impl FnMut(&Row)) -> Result<()> {
        let mut recent = std::collections::VecDeque::new();
        let mut unclear = std::collections::VecDeque::new();
        self.store.each_state(i64::MIN, &mut |state| {
            let examined = state.status.is_some() && state.reason != Some(Reason::Closed) && state.erased.is_none();
            recent.push_back(examined.then_some(state.entry));
            if recent.len() > newest {
                recent.pop_front();
            }
            let reason = matches!(state.reason, Some(Reason::NoPlan | Reason::BadRow));
            if examined && reason && state.status == Some(Status::DuplicateRisk) {
                unclear.push_back(state.entry);
                if unclear.len() > MOST_UNREAD {
                    unclear.pop_front();
                }
            }
            Ok(true)
        })?;
        let entries: std::collections::BTreeSet<i64> = recent.into_iter().flatten().chain(unclear).collect();
        let entries: Vec<i64> = entries.into_iter().collect();
        for part in entries.chunks(AT_ONCE) {
            self.store.rows(part)?.iter().for_each(&mut each);
        }
        Ok(())
    }
}
