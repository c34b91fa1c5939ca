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
use std::time::Duration;

use anyhow::Result;

use super::SqliteStore;
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
    /// When the turn under way began, and the first of those that it counts with.
    now: Option<(Tick, Tick)>,
    /// The last one, or the one under way, ended with its time, not with its work.
    full: Cell<bool>,
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
            now: None,
            full: Cell::new(false),
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
            Some((first, ended)) if self.work.is_some() && (self.full.get() || now - first >= TOGETHER) => {
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

    fn began(&mut self, now: Tick) {
        self.now = Some((self.first(now), now));
        self.full.set(false);
    }

    /// Whether the time of the turn under way is over.
    fn is_over(&self) -> bool {
        let over = self.work.zip(self.now).is_some_and(|(work, (_, began))| tick() - began >= work);
        self.full.set(self.full.get() || over);
        over
    }

    fn ended(&mut self) {
        let Some((first, began)) = self.now.take() else { return };
        let now = tick();
        self.last = Some((first, now));
        self.lasted = now - began;
        let full = self.full.get();
        let Some(work) = self.work.as_mut().filter(|work| full && !work.is_zero()) else { return };
        // Half of the way at once when it was too long, a little more next time when it was short.
        let fits = work.mul_f64(LASTS.as_secs_f64() / self.lasted.as_secs_f64().max(1e-3));
        *work = fits.min(work.mul_f64(1.5)).clamp(LEAST, LASTS);
    }
}

impl SqliteStore {
    /// Begins a write transaction, when the file was free for long enough.
    pub(super) fn begin_turn(&mut self) -> Result<()> {
        self.turns.wait();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.turns.began(tick());
        Ok(())
    }

    /// Whether its time is over: it is to be committed, and what is left is for the next one.
    pub(super) fn turn_is_over(&self) -> bool {
        self.turns.is_over()
    }

    /// Whether a turn could begin at once. Who has other work meanwhile need not wait.
    pub(super) fn turn_is_free(&self) -> bool {
        self.turns.rest(tick()).is_zero()
    }

    /// Commits it, and moves the log into the file if there is much in it.
    pub(super) fn commit_turn(&mut self) -> Result<()> {
        self.connection.execute_batch("COMMIT")?;
        self.turns.taken += 1;
        let changes = self.connection.total_changes();
        let due = self.turns.work.is_some() && changes - self.turns.checkpointed >= CHECKPOINT_AFTER;
        self.turns.ended();
        if due {
            self.turns.checkpointed = changes;
            // It waits for nobody; what readers keep in the log, or a full disk, goes with a later one. All is committed.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        Ok(())
    }

    /// Takes it back.
    pub(super) fn take_turn_back(&mut self) {
        if !self.connection.is_autocommit() {
            // One that fails leaves what an open transaction leaves when its connection closes: nothing.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.turns.ended();
    }

    /// How long the last turn lasted: for who chooses how much goes into the next one.
    pub fn turn_lasted(&self) -> Duration {
        self.turns.lasted
    }

    /// How long a turn is meant to last.
    pub fn turn_lasts(&self) -> Duration {
        LASTS
    }
}

#[cfg(test)]
impl SqliteStore {
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
        turns.full.set(true);
        assert_eq!(turns.rest(now + ms(10)), ms(95), "it had more to do");
        turns.full.set(false);
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
        let mut end = |ago: Duration, full: bool| {
            turns.began(tick() - ago);
            turns.full.set(full);
            turns.ended();
            turns.work.unwrap()
        };
        let less = end(ms(600), true);
        assert!(less < FIRST && less >= LEAST, "{less:?}");
        assert_eq!(end(ms(600), false), less, "one that had no more to do says nothing");
        let more = (0..40).map(|_| end(ms(20), true)).last();
        assert!(more.unwrap() > FIRST);
    }

    #[test]
    fn in_a_file_the_time_of_a_turn_ends_and_in_memory_it_does_not() {
        let mut store = SqliteStore::in_memory().unwrap();
        store.begin_turn().unwrap();
        assert!(!store.turn_is_over());
        store.commit_turn().unwrap();
        store.step_by_step(|_| {});
        store.begin_turn().unwrap();
        assert!(store.turn_is_over());
        store.take_turn_back();
        assert_eq!(store.turns_taken(), 0, "what was not committed is no turn");
    }
}
