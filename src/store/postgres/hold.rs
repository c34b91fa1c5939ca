//! One run at a time, on whichever host: a lease that its holder extends, with an epoch that every transaction checks.
//!
//! Until when it lasts is the database's business, by its clock. The holder has a clock of its own, which runs on while the
//! host sleeps and which nobody sets: it begins no request after the end that it reckons with, which is never later.

use anyhow::{Result, bail};

use super::wire::Broken;
use super::{PostgresStore, cell, number, text};
use crate::clock::{Moment, Span, since_boot};
use crate::exit::Held;

/// Now, by the database's clock.
const NOW: &str = "privo_reconcile.now_ms()";

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Hold {
    epoch: i64,
    token: String,
    length: Span,
    /// By the holder's clock since boot.
    ends: Span,
}

impl Hold {
    /// The statement that checks and extends the lease; it gives a row when it is still ours.
    pub fn extending(&self) -> String {
        let Hold { epoch, token, length, .. } = self;
        let ours = format!("epoch = {epoch} AND token = '{token}'");
        format!("UPDATE privo_reconcile.lease SET until_ms = {NOW} + {} WHERE {ours} RETURNING epoch", length.0)
    }

    /// It was extended; that was asked for at a time by the clock since boot.
    pub fn was_extended(&mut self, asked: Span) {
        self.ends = asked + self.length;
    }
}

impl PostgresStore {
    /// Takes the ledger for a run. `holder` says to people who has it, `length` for how long nobody else can take it unless it
    /// is extended: every transaction does so, and [`PostgresStore::extend`].
    ///
    /// # Errors
    /// [`Held`] when another one has it; when the ledger cannot be written.
    pub fn hold(&mut self, holder: &str, length: Span) -> Result<()> {
        let asked = since_boot();
        let taken = self.rows_of(
            "UPDATE privo_reconcile.lease SET epoch = epoch + 1, token = gen_random_uuid(), holder = $1,
               until_ms = privo_reconcile.now_ms() + $2
             WHERE until_ms <= privo_reconcile.now_ms() RETURNING epoch, token::text",
            vec![text(holder), number(length.0)],
        )?;
        if let Some(row) = taken.first() {
            self.hold = Some(Hold { epoch: cell(row, 0)?, token: cell(row, 1)?, length, ends: asked + length });
            return Ok(());
        }
        let row = self.row_of("SELECT coalesce(holder, ''), until_ms FROM privo_reconcile.lease", vec![])?;
        let (holder, until): (String, i64) = (cell(&row, 0)?, cell(&row, 1)?);
        let until = Moment(until);
        let remedy = "wait for it; what a run does not extend ends by itself";
        bail!(Held(format!("another run ({holder}) holds the ledger {} until {until} ({remedy})", self.place)))
    }

    /// Extends the lease, where no transaction does so for long. Without a lease, nothing happens.
    ///
    /// # Errors
    /// [`Held`] when another run has taken it over; when the ledger cannot be written.
    pub fn extend(&mut self) -> Result<()> {
        if self.hold.is_none() {
            return Ok(());
        }
        // A transaction of its own, which every one extends it in.
        self.within(|_| Ok(()))
    }

    /// Whether the lease lasts for so long still, by this host's own clock. Who begins a request asks before.
    pub fn holds_for(&self, span: Span) -> bool {
        self.hold.as_ref().is_some_and(|hold| since_boot() + span < hold.ends)
    }

    /// Whether three quarters of the lease are left, or there is none.
    pub(super) fn is_held_long_enough(&self) -> bool {
        self.hold.as_ref().is_none_or(|hold| self.holds_for(Span(hold.length.0 / 4 * 3)))
    }

    /// Gives the ledger back. What cannot be given back ends by itself.
    pub fn release(&mut self) {
        self.roll_back();
        self.give_back();
    }

    pub(super) fn give_back(&mut self) {
        if let Some(hold) = self.hold.take() {
            let sql =
                "UPDATE privo_reconcile.lease SET until_ms = 0, holder = NULL WHERE epoch = $1 AND token::text = $2";
            let given = self.count_of(sql, vec![number(hold.epoch), text(&hold.token)]);
            if let Err(error) = given {
                tracing::debug!("the lease could not be given back: {error:#}");
            }
        }
    }

    /// Whether the lease's row is free.
    pub(super) fn could_begin(&self) -> bool {
        let sql = "SELECT 1 FROM privo_reconcile.lease FOR UPDATE SKIP LOCKED";
        let reply = self.wire.query(super::in_schema(sql, &self.schema), vec![]);
        reply.wait().map_err(Broken::error).is_ok_and(|answer| !answer.rows.is_empty())
    }
}
