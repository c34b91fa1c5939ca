//! How much is asked of the server: at most so many requests at once and a second, half of that after a 429, nothing
//! while it asks to be left alone, and next to nothing while it is down. docs/PACE.md has the rules.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::adapt::{Adapt, Change, Limits};
use crate::clock::{Span, Tick, tick};

/// After so many failed looks in a row the breaker opens.
const FAILURES: u32 = 10;

/// While the breaker is open, one trial in this time.
pub const TRIAL_EVERY: Span = Span::seconds(10);

/// A pause that is longer than this ends a pass instead; the next run goes on, or this one when it may wait so long.
const LONGEST_PAUSE: Span = Span::seconds(120);

/// Without `Retry-After`, the first pause; it doubles with each refusal in a row.
const FIRST_PAUSE: Span = Span::seconds(1);

/// Refusals (429) in a row after which the pass ends.
const REFUSALS: u32 = 12;

/// The server is left alone, and why. Nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone(pub String);

/// The pace of one server. Permit, then pause, then rate, in this order, all by the timer: a step of the wall clock
/// changes no rate, is no latency and makes no pause longer.
pub struct Pace {
    permits: Semaphore,
    /// Requests that may be in flight now.
    places: Cell<usize>,
    /// Those in flight beyond that; their permits go as they end.
    surplus: Cell<usize>,
    spacing: Cell<Duration>,
    adapt: RefCell<Adapt>,
    /// Times of the timer's clock are counted from here.
    began: Tick,
    next_slot: RefCell<Option<Tick>>,
    paused_until: Cell<Option<Tick>>,
    failures: Cell<u32>,
    refusals: Cell<u32>,
    trial: Cell<bool>,
    left_alone: RefCell<Option<LeftAlone>>,
    /// The server said itself until when it wants to be left alone.
    alone_until: Cell<Option<Tick>>,
    requests: Cell<u64>,
}

/// Leave to send one request. Dropped, its place is free for the next one.
pub struct Permit<'a> {
    pace: &'a Pace,
    sent: Sent,
}

/// When a request was sent, for the pace to hear of with its answer.
#[derive(Clone, Copy, Debug)]
pub struct Sent(Duration);

impl Permit<'_> {
    /// The request has ended; the next one may go.
    pub fn done(self) -> Sent {
        self.sent
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        match self.pace.surplus.get() {
            0 => self.pace.permits.add_permits(1),
            surplus => self.pace.surplus.set(surplus - 1),
        }
    }
}

impl Pace {
    /// At most `concurrency` requests at once and `requests_per_second`.
    pub fn new(concurrency: usize, requests_per_second: f64) -> Pace {
        let adapt = Adapt::new(Limits { concurrency, requests_per_second });
        Pace {
            permits: Semaphore::new(concurrency),
            places: Cell::new(concurrency),
            surplus: Cell::new(0),
            spacing: Cell::new(adapt.spacing()),
            adapt: RefCell::new(adapt),
            began: tick(),
            next_slot: RefCell::new(None),
            paused_until: Cell::new(None),
            failures: Cell::new(0),
            refusals: Cell::new(0),
            trial: Cell::new(false),
            left_alone: RefCell::new(None),
            alone_until: Cell::new(None),
            requests: Cell::new(0),
        }
    }

    /// Waits until one more request may be sent.
    ///
    /// # Errors
    /// When the server is left alone.
    pub async fn admit(&self) -> Result<Permit<'_>, LeftAlone> {
        self.permits.acquire().await.map_err(|_| LeftAlone("shutting down".to_owned()))?.forget();
        let mut permit = Permit { pace: self, sent: Sent(Duration::ZERO) };
        loop {
            self.may_ask()?;
            match self.paused_until.get() {
                Some(until) if until > tick() => tokio::time::sleep_until(until).await,
                _ => break,
            }
        }
        let now = tick();
        let slot = self.take_slot(now);
        if slot > now {
            tokio::time::sleep_until(slot).await;
        }
        self.may_ask()?;
        self.trial.set(false);
        self.requests.set(self.requests.get() + 1);
        permit.sent.0 = slot.saturating_duration_since(self.began);
        Ok(permit)
    }

    /// The next free slot.
    fn take_slot(&self, now: Tick) -> Tick {
        let mut next = self.next_slot.borrow_mut();
        let slot = next.map_or(now, |next| next.max(now));
        *next = Some(slot + self.spacing.get());
        slot
    }

    fn may_ask(&self) -> Result<(), LeftAlone> {
        if self.alone_until.get().is_some_and(|until| until <= tick()) {
            self.alone_until.set(None);
            self.refusals.set(0);
            *self.left_alone.borrow_mut() = None;
        }
        match &*self.left_alone.borrow() {
            Some(_) if self.trial.get() => Ok(()),
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// The server answered something.
    pub fn answered(&self, sent: Sent) {
        self.adapts(|adapt, now| adapt.answered(sent.0, now));
        if self.breaker_open() {
            *self.left_alone.borrow_mut() = None;
        }
        self.failures.set(0);
        self.refusals.set(0);
    }

    /// A look failed: 5xx, timeout, no connection. `cause` says it in words for people.
    pub fn failed(&self, cause: &str) {
        self.failures.set(self.failures.get().saturating_add(1));
        if self.breaker_open() && self.left_alone.borrow().is_none() {
            let why = format!(
                "{FAILURES} requests in a row got no answer or a server error (the last: {cause}); the server is left alone for now"
            );
            *self.left_alone.borrow_mut() = Some(LeftAlone(why));
        }
    }

    /// The server asks to be asked later (429). Everything waits; a wait that is too long ends the pass.
    pub fn refused(&self, sent: Sent, retry_after: Option<Span>) {
        self.adapts(|adapt, now| adapt.refused(sent.0, now));
        let now = tick();
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
            self.alone_until.set(now.checked_add(pause.duration()));
            self.failures.set(0);
            return;
        }
        let until = now + pause.duration();
        self.paused_until.set(self.paused_until.get().max(Some(until)));
    }

    fn adapts(&self, hear: impl FnOnce(&mut Adapt, Duration) -> Option<Change>) {
        let mut adapt = self.adapt.borrow_mut();
        let change = hear(&mut adapt, tick().saturating_duration_since(self.began));
        self.set_places(adapt.in_flight());
        self.spacing.set(adapt.spacing());
        if let Some(change) = change {
            self.tell(change, &adapt);
        }
    }

    fn set_places(&self, places: usize) {
        let before = self.places.replace(places);
        if places < before {
            let fewer = before - places;
            self.surplus.set(self.surplus.get() + fewer - self.permits.forget_permits(fewer));
        } else if places > before {
            let more = places - before;
            let kept = more.min(self.surplus.get());
            self.surplus.set(self.surplus.get() - kept);
            self.permits.add_permits(more - kept);
        }
    }

    fn tell(&self, change: Change, adapt: &Adapt) {
        let in_flight = adapt.in_flight();
        match change {
            Change::Eased => {
                let percent = (adapt.share() * 100.0).round();
                tracing::debug!(
                    event = "pace-eased",
                    in_flight,
                    percent,
                    "the pace eases to {percent} % of its limits: the server asked for fewer requests (429)"
                );
            }
            Change::Restored => {
                tracing::debug!(event = "pace-restored", in_flight, "the pace is back at its limits");
            }
        }
    }

    /// Whether the breaker is open: too many failures in a row.
    pub fn breaker_open(&self) -> bool {
        self.failures.get() >= FAILURES
    }

    /// Lets one request through an open breaker.
    pub fn allow_trial(&self) {
        self.trial.set(true);
    }

    /// How long the server still wants to be left alone, where it said so itself and for longer than a pass waits.
    pub fn alone_for(&self) -> Option<Span> {
        let rest = self.alone_until.get()?.saturating_duration_since(tick());
        i64::try_from(rest.as_millis()).ok().map(Span)
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
        Pace::new(4, rate)
    }

    /// A request that is sent and ends now.
    async fn sent(pace: &Pace) -> Sent {
        pace.admit().await.unwrap().done()
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_the_rate() {
        let pace = pace(10.0);
        let start = tick();
        for _ in 0..21 {
            drop(pace.admit().await.unwrap());
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(2) && took < Duration::from_millis(2100), "{took:?}");
    }

    #[tokio::test]
    async fn the_breaker_opens_after_ten_failures_in_a_row_and_one_trial_closes_it() {
        let pace = pace(1e6);
        let sent = sent(&pace).await;
        for _ in 0..9 {
            pace.failed("timeout");
        }
        pace.answered(sent);
        for _ in 0..9 {
            pace.failed("timeout");
        }
        assert!(pace.admit().await.is_ok());
        pace.failed("timeout");
        assert!(pace.admit().await.is_err());
        pace.allow_trial();
        assert!(pace.admit().await.is_ok());
        assert!(pace.admit().await.is_err(), "one trial is one request");
        pace.answered(sent);
        assert!(pace.admit().await.is_ok());
    }

    #[tokio::test]
    async fn many_refusals_of_one_moment_are_one() {
        let pace = pace(1e6);
        let sent = sent(&pace).await;
        for _ in 0..64 {
            pace.refused(sent, Some(Span::seconds(1)));
        }
        assert_eq!(pace.left_alone(), None);
        assert_eq!(pace.places.get(), 2);
    }

    #[tokio::test]
    async fn a_long_retry_after_ends_the_asking_and_is_never_cut() {
        let pace = pace(1e6);
        pace.refused(sent(&pace).await, Some(Span::seconds(3600)));
        assert!(pace.admit().await.err().unwrap().0.contains("1h"));
        assert!(!pace.breaker_open());
    }

    #[tokio::test(start_paused = true)]
    async fn when_a_long_retry_after_is_over_the_server_is_asked_again() {
        let pace = pace(1e6);
        pace.refused(sent(&pace).await, Some(Span::seconds(3600)));
        assert_eq!(pace.alone_for(), Some(Span::seconds(3600)));
        tokio::time::sleep(Duration::from_secs(3599)).await;
        assert!(pace.admit().await.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(pace.admit().await.is_ok());
        assert_eq!((pace.alone_for(), pace.left_alone()), (None, None));
    }

    /// Those that fit into a pace at this moment.
    async fn fit(pace: &Pace) -> Vec<Permit<'_>> {
        let mut held = Vec::new();
        // Longer than any spacing, so what does not come waits for a place.
        while let Ok(permit) = tokio::time::timeout(Duration::from_secs(5), pace.admit()).await {
            held.push(permit.unwrap());
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_fit_in_as_are_allowed_while_it_eases_and_comes_back() {
        let pace = Pace::new(16, 1000.0);
        let (mut least, mut restored) = (16, false);
        for round in 0..400 {
            let held = fit(&pace).await;
            assert_eq!(held.len(), pace.places.get(), "round {round}");
            // Refusals at first, while the others are in flight, then good answers.
            for (n, permit) in held.into_iter().enumerate() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match (round, n) {
                    (0..6, 1) => pace.refused(permit.done(), Some(Span(100))),
                    _ => pace.answered(permit.done()),
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            least = least.min(pace.places.get());
            restored |= round > 6 && pace.places.get() == 16;
        }
        assert_eq!((least, restored), (1, true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_eased_pace_asks_less_often_but_never_less_than_once_a_second() {
        let pace = Pace::new(1, 8.0);
        let gap = async || {
            sent(&pace).await;
            let before = tick();
            sent(&pace).await;
            before.elapsed()
        };
        let about = |ms: u64, took: Duration| took.as_millis().abs_diff(u128::from(ms)) <= 1;
        assert!(about(125, gap().await));
        for ms in [250, 500, 1000, 1000] {
            let refused = sent(&pace).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            pace.refused(refused, Some(Span(1)));
            sent(&pace).await;
            let took = gap().await;
            assert!(about(ms, took), "{ms}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_leaves_its_place() {
        let pace = Pace::new(2, 1.0);
        drop(fit(&pace).await);
        {
            // Dropped while it waits for its turn.
            let _ = tokio::time::timeout(Duration::from_millis(1), pace.admit()).await;
        }
        assert_eq!(fit(&pace).await.len(), 2);
    }
}
