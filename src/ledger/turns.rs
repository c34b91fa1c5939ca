//! Turns: write transactions that end soon, and a file that is free between them, so that no writer waits long.
//!
//! SQLite has no queue: who waits for the file asks again now and then, after a while only every 100 ms. So a transaction
//! that has lasted its time commits at its next chance, and before the next one the file is free for [`FREE`].
//! Transactions that follow each other sooner count as one, and only short ones do.
//!
//! The time that may pass in a turn before it ends is measured: what comes after that (digests in their order, the commit
//! with its sync) takes longer on one machine than on another. A ledger in memory has no other writer: its turns
//! last as long as there is work, and wait for nobody.
//!
//! The log goes into the file while the file is free. SQLite would do it in the commit of whoever finds the log long, and
//! for a writer's connection that is [1000 pages](https://sqlite.org/c3ref/wal_autocheckpoint.html).

use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

use anyhow::Result;
use rusqlite::Connection;

use super::Ledger;
use crate::clock::{Tick, tick};

/// A turn is meant to last so long, its commit included.
const LASTS: Duration = Duration::from_millis(120);

/// So long the file is free before the next turn.
const FREE: Duration = Duration::from_millis(100);

/// Turns that are over within this time of the first one's beginning count as one.
const TOGETHER: Duration = Duration::from_millis(50);

/// The work of the first turn, before it is known how long its end takes, and the least of any.
/// A commit that is slow by itself is none the quicker for less.
const FIRST: Duration = Duration::from_millis(20);
const LEAST: Duration = Duration::from_millis(15);

/// So many rows are changed before the log goes into the file: some hundred pages.
const CHECKPOINT_AFTER: u64 = 200;

/// The turns of one connection.
pub(super) struct Turns {
    /// How long a turn works before it ends; `None`: as long as there is work.
    work: Option<Duration>,
    /// When the first of the turns that count as one began, and the last one ended.
    last: Option<(Tick, Tick)>,
    /// The last one ended with its time, not with its work.
    full: bool,
    /// How long the last one lasted.
    lasted: Duration,
    /// How many were committed.
    taken: u64,
    /// Rows that were changed when the log last went into the file.
    checkpointed: u64,
    #[cfg(test)]
    stepwise: bool,
    /// Called while the file is free.
    #[cfg(test)]
    between: Option<Box<dyn FnMut(u64) + Send>>,
}

impl Turns {
    /// Of a ledger in a file, which others write too.
    pub fn shared() -> Turns {
        Turns { work: Some(FIRST), ..Turns::alone() }
    }

    /// Of a ledger in memory.
    pub fn alone() -> Turns {
        Turns {
            work: None,
            last: None,
            full: false,
            lasted: Duration::ZERO,
            taken: 0,
            checkpointed: 0,
            #[cfg(test)]
            stepwise: false,
            #[cfg(test)]
            between: None,
        }
    }

    /// How long the file must be left alone now.
    fn rest(&self, now: Tick) -> Duration {
        match self.last {
            Some((first, ended)) if self.work.is_some() && (self.full || now - first >= TOGETHER) => {
                FREE.saturating_sub(now - ended)
            }
            _ => Duration::ZERO,
        }
    }

    /// Waits until the file was free for long enough.
    fn wait(&mut self) {
        #[cfg(test)]
        if let Some(between) = &mut self.between {
            between(self.taken);
        }
        #[cfg(test)]
        if self.stepwise {
            return;
        }
        let rest = self.rest(tick());
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
    }

    /// When the turn that begins now counts from.
    fn first(&self, now: Tick) -> Tick {
        match self.last {
            Some((first, ended)) if now - ended < FREE && now - first < LASTS => first,
            _ => now,
        }
    }

    fn ended(&mut self, first: Tick, began: Tick, full: bool) {
        let now = tick();
        self.last = Some((first, now));
        self.full = full;
        self.lasted = now - began;
        let Some(work) = self.work.as_mut().filter(|work| full && !work.is_zero()) else { return };
        // Half of the way at once when it was too long, a little more next time when it was short.
        let fits = work.mul_f64(LASTS.as_secs_f64() / self.lasted.as_secs_f64().max(1e-3));
        *work = fits.min(work.mul_f64(1.5)).clamp(LEAST, LASTS);
    }
}

/// A write transaction under way. Dropped, it leaves nothing.
pub(super) struct Turn<'l> {
    connection: &'l Connection,
    turns: &'l mut Turns,
    first: Tick,
    began: Tick,
    full: Cell<bool>,
}

impl Turn<'_> {
    /// Whether its time is over: it is to be committed, and what is left is for the next one. Asked after some work, never
    /// before, so that every turn gets on.
    pub fn is_over(&self) -> bool {
        let over = self.turns.work.is_some_and(|work| tick() - self.began >= work);
        self.full.set(self.full.get() || over);
        over
    }

    /// Commits it, and moves the log into the file if there is much in it.
    pub fn commit(self) -> Result<()> {
        self.connection.execute_batch("COMMIT")?;
        let connection = self.connection;
        self.turns.taken += 1;
        let changes = connection.total_changes();
        let due = self.turns.work.is_some() && changes - self.turns.checkpointed >= CHECKPOINT_AFTER;
        if due {
            self.turns.checkpointed = changes;
        }
        drop(self);
        if due {
            // It waits for nobody; what readers keep in the log, or a full disk, goes with a later one. All is committed.
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // One that fails leaves what an open transaction leaves when its connection closes: nothing.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.turns.ended(self.first, self.began, self.full.get());
    }
}

impl Deref for Turn<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Ledger {
    /// Begins a write transaction, when the file was free for long enough.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub(super) fn turn(&mut self) -> Result<Turn<'_>> {
        self.turns.wait();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let began = tick();
        let first = self.turns.first(began);
        Ok(Turn { connection: &self.connection, turns: &mut self.turns, first, began, full: Cell::new(false) })
    }

    /// Whether a turn could begin at once. Who has other work meanwhile need not wait.
    pub fn is_free(&self) -> bool {
        self.turns.rest(tick()).is_zero()
    }

    /// How long the last turn lasted: for who chooses how much goes into the next one.
    pub fn last_turn(&self) -> Duration {
        self.turns.lasted
    }

    /// How long a turn is meant to last.
    pub fn turn_lasts(&self) -> Duration {
        LASTS
    }
}

#[cfg(test)]
impl Ledger {
    /// Every turn does the least that there is to do at once, without a pause; `between` is called before each, with how
    /// many there were.
    pub(super) fn step_by_step(&mut self, between: impl FnMut(u64) + Send + 'static) {
        self.turns = Turns { work: Some(Duration::ZERO), stepwise: true, ..Turns::alone() };
        self.turns.between = Some(Box::new(between));
    }

    /// How many turns were committed.
    pub(super) fn turns_taken(&self) -> u64 {
        self.turns.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn after_a_turn_the_file_is_free_unless_it_was_a_short_one() {
        let mut turns = Turns::shared();
        let now = tick();
        assert_eq!(turns.rest(now), Duration::ZERO, "there was none");
        turns.last = Some((now, now + ms(5)));
        assert_eq!(turns.rest(now + ms(10)), Duration::ZERO);
        assert_eq!(turns.first(now + ms(10)), now, "they count as one");
        turns.full = true;
        assert_eq!(turns.rest(now + ms(10)), ms(95), "it had more to do");
        turns.full = false;
        turns.last = Some((now, now + ms(60)));
        assert_eq!(turns.rest(now + ms(70)), ms(90));
        assert_eq!(turns.rest(now + ms(160)), Duration::ZERO);
        assert_eq!(turns.first(now + ms(160)), now + ms(160));
        let alone = Turns { last: turns.last, ..Turns::alone() };
        assert_eq!(alone.rest(now + ms(70)), Duration::ZERO, "in memory nobody waits");
    }

    #[test]
    fn many_short_turns_do_not_follow_each_other_for_ever() {
        let mut turns = Turns::shared();
        let began = tick();
        let mut now = began;
        while turns.rest(now).is_zero() {
            turns.last = Some((turns.first(now), now + ms(1)));
            now += ms(2);
            assert!(now - began < LASTS);
        }
    }

    #[test]
    fn a_turn_that_took_too_long_makes_the_next_one_shorter() {
        let mut turns = Turns::shared();
        let began = tick() - ms(600);
        turns.ended(began, began, true);
        let less = turns.work.unwrap();
        assert!(less < FIRST && less >= LEAST, "{less:?}");
        turns.ended(began, began, false);
        assert_eq!(turns.work, Some(less), "one that had no more to do says nothing");
        for _ in 0..40 {
            let began = tick() - ms(20);
            turns.ended(began, began, true);
        }
        assert!(turns.work.unwrap() > FIRST);
    }

    #[test]
    fn in_a_file_the_time_of_a_turn_ends_and_in_memory_it_does_not() {
        let mut ledger = Ledger::in_memory().unwrap();
        let turn = ledger.turn().unwrap();
        assert!(!turn.is_over());
        turn.commit().unwrap();
        ledger.step_by_step(|_| {});
        assert!(ledger.turn().unwrap().is_over());
        assert_eq!(ledger.turns_taken(), 0, "what was not committed is no turn");
    }
}
