//! How much is asked of the server: at most so many requests at once and a second, nothing while it asks to be left alone,
//! and next to nothing while it is down.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{Moment, Span};

/// After so many failed looks in a row the breaker opens.
const FAILURES: u32 = 10;

/// While the breaker is open, one trial in this time.
pub const TRIAL_EVERY: Span = Span::seconds(10);

/// A pause that is longer than this ends the run instead; the next run goes on.
const LONGEST_PAUSE: Span = Span::seconds(120);

/// Without `Retry-After`, the first pause; it doubles with each refusal in a row.
const FIRST_PAUSE: Span = Span::seconds(1);

/// Refusals (429) in a row after which the run ends.
const REFUSALS: u32 = 12;

/// The server is left alone, and why. Nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone(pub String);

/// The pace of one server. Permit, then pause, then rate, in this order.
pub struct Pace {
    permits: Semaphore,
    spacing: Duration,
    clock: fn() -> Moment,
    next_slot: RefCell<Option<Slot>>,
    paused_until: Cell<Option<Moment>>,
    failures: Cell<u32>,
    refusals: Cell<u32>,
    trial: Cell<bool>,
    left_alone: RefCell<Option<LeftAlone>>,
    requests: Cell<u64>,
}

/// When the next request may leave, on the timer's own clock.
type Slot = tokio::time::Instant;

impl Pace {
    /// At most `concurrency` requests at once and `requests_per_second`.
    pub fn new(concurrency: usize, requests_per_second: f64, clock: fn() -> Moment) -> Pace {
        Pace {
            permits: Semaphore::new(concurrency),
            spacing: Duration::from_secs_f64(1.0 / requests_per_second),
            clock,
            next_slot: RefCell::new(None),
            paused_until: Cell::new(None),
            failures: Cell::new(0),
            refusals: Cell::new(0),
            trial: Cell::new(false),
            left_alone: RefCell::new(None),
            requests: Cell::new(0),
        }
    }

    /// Waits until one more request may be sent.
    ///
    /// # Errors
    /// When the server is left alone.
    pub async fn admit(&self) -> Result<SemaphorePermit<'_>, LeftAlone> {
        let permit = self.permits.acquire().await.map_err(|_| LeftAlone("shutting down".to_owned()))?;
        loop {
            self.may_ask()?;
            match self.paused_until.get().map(|until| until.since((self.clock)())) {
                Some(rest) if rest > Span::ZERO => tokio::time::sleep(rest.duration()).await,
                _ => break,
            }
        }
        let slot = self.take_slot();
        tokio::time::sleep_until(slot).await;
        self.may_ask()?;
        self.trial.set(false);
        self.requests.set(self.requests.get() + 1);
        Ok(permit)
    }

    /// The next free slot. The timer's clock is monotonic, so a step of the wall clock changes no rate.
    #[expect(clippy::disallowed_methods, reason = "a timer, not a time")]
    fn take_slot(&self) -> Slot {
        let now = Slot::now();
        let mut next = self.next_slot.borrow_mut();
        let slot = next.map_or(now, |next| next.max(now));
        *next = Some(slot + self.spacing);
        slot
    }

    fn may_ask(&self) -> Result<(), LeftAlone> {
        match &*self.left_alone.borrow() {
            Some(_) if self.trial.get() => Ok(()),
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// The server answered something.
    pub fn answered(&self) {
        if self.breaker_open() {
            *self.left_alone.borrow_mut() = None;
        }
        self.failures.set(0);
        self.refusals.set(0);
    }

    /// A look failed: 5xx, timeout, no connection.
    pub fn failed(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
        if self.breaker_open() && self.left_alone.borrow().is_none() {
            let why = format!(
                "{FAILURES} requests in a row got no answer or a server error; the server is left alone for now"
            );
            *self.left_alone.borrow_mut() = Some(LeftAlone(why));
        }
    }

    /// The server asks to be asked later (429). Everything waits; a wait that is too long ends the run.
    pub fn refused(&self, retry_after: Option<Span>) {
        let now = (self.clock)();
        if self.paused_until.get().is_none_or(|until| until <= now) {
            // Those that were under way when the pause began count as one.
            self.refusals.set(self.refusals.get().saturating_add(1));
        }
        let doubled = Span(FIRST_PAUSE.0 << self.refusals.get().min(8).saturating_sub(1));
        // Zero is no answer to "when": back off all the same.
        let pause = retry_after.filter(|span| *span > Span::ZERO).unwrap_or(doubled);
        if pause > LONGEST_PAUSE || self.refusals.get() >= REFUSALS {
            let why = format!("the server asks for no more requests (429) for {pause}; run again later");
            *self.left_alone.borrow_mut() = Some(LeftAlone(why));
            self.failures.set(0);
            return;
        }
        let until = now + pause;
        self.paused_until.set(self.paused_until.get().max(Some(until)));
    }

    /// Whether the breaker is open: too many failures in a row.
    pub fn breaker_open(&self) -> bool {
        self.failures.get() >= FAILURES
    }

    /// Lets one request through an open breaker.
    pub fn allow_trial(&self) {
        self.trial.set(true);
    }

    /// Why the server is left alone, if it is.
    pub fn left_alone(&self) -> Option<LeftAlone> {
        self.left_alone.borrow().clone()
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: f64) -> Pace {
        Pace::new(4, rate, Moment::now)
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_rate() {
        let pace = pace(10.0);
        #[expect(clippy::disallowed_methods, reason = "measures the pace")]
        let start = tokio::time::Instant::now();
        for _ in 0..21 {
            drop(pace.admit().await.unwrap());
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(2) && took < Duration::from_millis(2100), "{took:?}");
    }

    #[tokio::test]
    async fn the_breaker_opens_after_ten_failures_in_a_row_and_one_trial_closes_it() {
        let pace = pace(1e6);
        for _ in 0..9 {
            pace.failed();
        }
        pace.answered();
        for _ in 0..9 {
            pace.failed();
        }
        assert!(pace.admit().await.is_ok());
        pace.failed();
        assert!(pace.admit().await.is_err());
        pace.allow_trial();
        assert!(pace.admit().await.is_ok());
        assert!(pace.admit().await.is_err(), "one trial is one request");
        pace.answered();
        assert!(pace.admit().await.is_ok());
    }

    #[tokio::test]
    async fn many_refusals_of_one_moment_are_one() {
        let pace = pace(1e6);
        for _ in 0..64 {
            pace.refused(Some(Span::seconds(1)));
        }
        assert_eq!(pace.left_alone(), None);
    }

    #[tokio::test]
    async fn a_long_retry_after_ends_the_asking_and_is_never_cut() {
        let pace = pace(1e6);
        pace.refused(Some(Span::seconds(3600)));
        assert!(pace.admit().await.unwrap_err().0.contains("1h"));
        assert!(!pace.breaker_open());
    }
}
