//! Recording: what a writer of ours puts into the ledger, by the same rules as any other writer's.

use anyhow::{Context, Result};

use super::Ledger;
use crate::clock::Moment;
use crate::words::{Direction, Failure};

pub use crate::store::{End, Ended, NewEntry};

/// [`NewEntry`], owned: one that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEntry {
    pub request_id: String,
    pub operation_id: Option<String>,
    pub direction: Direction,
    pub method: String,
    pub url: String,
    pub body: Option<String>,
    pub sent_at: Moment,
    pub ended_at: Option<Moment>,
    pub failure: Failure,
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

impl OwnedEntry {
    /// As the ledger takes it.
    pub fn entry(&self) -> NewEntry<'_> {
        NewEntry {
            request_id: &self.request_id,
            operation_id: self.operation_id.as_deref(),
            direction: self.direction,
            method: &self.method,
            url: &self.url,
            body: self.body.as_deref(),
            sent_at: self.sent_at,
            ended_at: self.ended_at,
            failure: self.failure,
            http_status: self.http_status,
            error: self.error.as_deref(),
        }
    }
}

impl Ledger {
    /// Records attempts, all or none. One that is recorded already stays as it is.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn record(&mut self, entries: &[NewEntry]) -> Result<()> {
        self.in_turn(|store| {
            for entry in entries {
                store.record(entry, None).context("failed to record an entry")?;
            }
            Ok(())
        })
    }
}
