//! How the pace adapts: which share of the configured limits the server bears. Pure: outcomes and times in, a share out.
//!
//! # One share for both limits
//! With four connections and five requests a second it is the rate that binds, with 64 and ten thousand the connections,
//! so an easing that touched only one of them would often change nothing. The share is taken of both.
//!
//! # Round trips
//! What was sent before the last easing tells of the pace from before it, and is not heard again: the many failures of one
//! moment ease once, and no old answer brings the pace back.
//!
//! # What does not ease
//! A stray 5xx among hundreds of good answers: halving at each would keep a run at a twentieth of its limits for one error
//! in a hundred. One slow answer. A stall of our own disk or process, which makes all answers in flight seem slow once.

use std::time::Duration;

/// From the least share to the limits in so many seconds of good answers, whatever the limits are.
pub const COMES_BACK_IN: f64 = 30.0;

/// A good answer brings back what belongs to the time since the one before, but not for a longer silence than this.
const LONGEST_CREDIT: Duration = Duration::from_secs(1);

/// What is left after a 429, or while requests fail.
const HALF: f64 = 0.5;

/// What is left when answers become slow: they still are answers.
const LESS: f64 = 0.75;

/// But slowness alone eases no further than to this share: a server that becomes worse than slow also fails.
const LEAST_WHEN_SLOW: f64 = 0.25;

/// Failures ease when more than this share of the latest requests failed.
const MANY_FAIL: f64 = 0.1;

/// Shares and latencies are smoothed over about so many answers.
const SMOOTHED_OVER: u32 = 32;

/// Slow is both: so many times the best of late, for a server of 100 ms may well answer in 250.
const SLOW_TIMES: f64 = 3.0;

/// And so many seconds above it, for a queue of a few milliseconds is nobody's trouble.
const SLOW_ABOVE: f64 = 0.25;

/// It is slow only after so long, in which answers kept being slow.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// One answer counts as at most so many seconds above the smoothed latency.
const OUTLIER_ABOVE: f64 = 1.0;

/// The best of late is the best of this time and of as much before it; then it is forgotten.
const BEST_OF: Duration = Duration::from_secs(30);

/// The pace is never less than this many requests a second, or the limit if that is less, so that every run ends.
const LEAST_RATE: f64 = 1.0;

/// The least share of the limits, if one request in flight is not less.
const LEAST_SHARE: f64 = 0.125;

/// The limits of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests in flight, at least one.
    pub concurrency: usize,
    /// More than 0.
    pub requests_per_second: f64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A definite answer, whatever it says.
    Answered,
    /// 5xx, timeout, no connection.
    Failed,
    /// 429.
    Refused,
}

/// What an outcome did to the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is less now, because of this.
    Eased(&'static str),
    /// It is back at the limits.
    Restored,
}

/// The share of the limits that a server bears, as far as its answers tell. All times are since any one moment, by a
/// clock that never steps.
#[derive(Clone, Debug)]
pub struct Adapt {
    limits: Limits,
    least: f64,
    share: f64,
    eased_at: Option<Duration>,
    credited_at: Duration,
    failing: f64,
    latency: Latency,
}

impl Adapt {
    /// Begins at the limits.
    pub fn new(limits: Limits) -> Adapt {
        let least = LEAST_SHARE.min(1.0 / limits.concurrency.max(1) as f64);
        Adapt {
            limits,
            least,
            share: 1.0,
            eased_at: None,
            credited_at: Duration::ZERO,
            failing: 0.0,
            latency: Latency::default(),
        }
    }

    /// Requests that may be in flight.
    pub fn in_flight(&self) -> usize {
        ((self.limits.concurrency as f64 * self.share) as usize).clamp(1, self.limits.concurrency.max(1))
    }

    /// The time between one request and the next.
    pub fn spacing(&self) -> Duration {
        let limit = self.limits.requests_per_second;
        Duration::from_secs_f64(1.0 / (limit * self.share).max(LEAST_RATE.min(limit)))
    }

    /// The share of the limits, more than 0 and at most 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Hears what became of the request that was sent at `sent`; it is `now`.
    pub fn hear(&mut self, outcome: Outcome, sent: Duration, now: Duration) -> Option<Change> {
        let tells = self.eased_at.is_none_or(|eased| sent > eased);
        match outcome {
            Outcome::Refused => {
                tells.then(|| self.ease(HALF, self.least, now, "the server asked for fewer requests (429)"))
            }
            Outcome::Failed => {
                self.failing += (1.0 - self.failing) / f64::from(SMOOTHED_OVER);
                let many = self.failing > MANY_FAIL;
                (tells && many)
                    .then(|| self.ease(HALF, self.least, now, "requests failed (5xx, timeout or no connection)"))
            }
            Outcome::Answered => {
                self.failing -= self.failing / f64::from(SMOOTHED_OVER);
                let slow = self.latency.hear(now.saturating_sub(sent).as_secs_f64(), now);
                let since = self.credited_at.max(self.eased_at.unwrap_or_default());
                self.credited_at = now;
                match slow {
                    _ if !tells => None,
                    Some(since) if now.saturating_sub(since) >= SLOW_FOR => {
                        self.latency.slow_since = Some(now);
                        Some(self.ease(LESS, LEAST_WHEN_SLOW, now, "answers became slow"))
                    }
                    Some(_) => None,
                    None => self.credit(now.saturating_sub(since).min(LONGEST_CREDIT)),
                }
            }
        }
    }

    /// Leaves this much of the share, but no less than `least`, where it is not less already.
    fn ease(&mut self, left: f64, least: f64, now: Duration, why: &'static str) -> Change {
        self.share = (self.share * left).max(least.min(self.share));
        self.eased_at = Some(now);
        Change::Eased(why)
    }

    fn credit(&mut self, time: Duration) -> Option<Change> {
        if self.share >= 1.0 {
            return None;
        }
        self.share = (self.share + time.as_secs_f64() / COMES_BACK_IN).min(1.0);
        (self.share >= 1.0).then_some(Change::Restored)
    }
}

/// How long answers take, in seconds, and the best of late.
#[derive(Clone, Debug)]
struct Latency {
    smoothed: f64,
    /// Until there were enough of them.
    answers: u32,
    /// The least smoothed latency of the time that began at `best_since`, and of as much before it.
    best: f64,
    best_before: f64,
    best_since: Duration,
    slow_since: Option<Duration>,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            smoothed: 0.0,
            answers: 0,
            best: f64::INFINITY,
            best_before: f64::INFINITY,
            best_since: Duration::ZERO,
            slow_since: None,
        }
    }
}

impl Latency {
    /// Hears of one more answer. Gives since when answers have been slow, if they are.
    fn hear(&mut self, latency: f64, now: Duration) -> Option<Duration> {
        let first = self.answers == 0;
        self.answers = (self.answers + 1).min(SMOOTHED_OVER);
        let counted = if first { latency } else { latency.min(self.smoothed + OUTLIER_ABOVE) };
        self.smoothed += (counted - self.smoothed) / f64::from(self.answers);
        if self.answers < SMOOTHED_OVER {
            // The first answers set up connections, and are too few for a best.
            return None;
        }
        let age = now.saturating_sub(self.best_since);
        if age >= BEST_OF {
            self.best_before = if age >= 2 * BEST_OF { f64::INFINITY } else { self.best };
            self.best = f64::INFINITY;
            self.best_since = now;
        }
        self.best = self.best.min(self.smoothed);
        let best = self.best.min(self.best_before);
        let slow = self.smoothed > best * SLOW_TIMES && self.smoothed > best + SLOW_ABOVE;
        self.slow_since = if slow { self.slow_since.or(Some(now)) } else { None };
        self.slow_since
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { concurrency: 64, requests_per_second: 10_000.0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A server and the clock: requests go out one round after the other, as many at once as are allowed.
    struct Played {
        adapt: Adapt,
        now: Duration,
    }

    impl Played {
        fn new() -> Played {
            Played { adapt: Adapt::new(LIMITS), now: ms(1) }
        }

        /// Rounds until so much time is over; `outcome` says what becomes of each, by its number, and after how long.
        fn play(&mut self, time: Duration, outcome: impl Fn(u64) -> (Outcome, Duration)) -> Vec<Change> {
            let (end, mut number, mut changes) = (self.now + time, 0, Vec::new());
            while self.now < end {
                let sent = self.now;
                let mut round: Vec<_> = (0..self.adapt.in_flight())
                    .map(|_| {
                        number += 1;
                        outcome(number)
                    })
                    .collect();
                round.sort_by_key(|(_, latency)| *latency);
                for (outcome, latency) in round {
                    self.now = sent + latency;
                    changes.extend(self.adapt.hear(outcome, sent, self.now));
                }
            }
            changes
        }

        fn well(&mut self, time: Duration) -> Vec<Change> {
            self.play(time, |n| (Outcome::Answered, ms(20 + n * 7 % 11)))
        }
    }

    #[test]
    fn it_starts_at_the_limits() {
        let adapt = Adapt::new(Limits { concurrency: 4, requests_per_second: 5.0 });
        assert_eq!((adapt.in_flight(), adapt.spacing()), (4, ms(200)));
    }

    #[test]
    fn many_failures_of_one_moment_are_one() {
        let mut adapt = Adapt::new(LIMITS);
        for outcome in [Outcome::Refused, Outcome::Failed].repeat(64) {
            adapt.hear(outcome, ms(1), ms(20));
        }
        assert_eq!(adapt.in_flight(), 32);
        adapt.hear(Outcome::Failed, ms(21), ms(40));
        assert_eq!(adapt.in_flight(), 16);
    }

    #[test]
    fn a_stray_failure_eases_nothing_and_one_in_three_eases_to_the_least() {
        let mut played = Played::new();
        let failing = |every: u64| {
            move |n: u64| {
                (if n.is_multiple_of(every) { Outcome::Failed } else { Outcome::Answered }, ms(20 + n * 7 % 11))
            }
        };
        assert_eq!(played.play(ms(60_000), failing(100)), []);
        played.play(ms(3_000), failing(3));
        assert!(played.adapt.in_flight() <= 2, "{}", played.adapt.in_flight());
    }

    #[test]
    fn a_server_that_fails_at_once_is_eased_before_the_breaker_opens() {
        let mut adapt = Adapt::new(LIMITS);
        let eased = (1..10).find(|n| adapt.hear(Outcome::Failed, ms(n * 100), ms(n * 100 + 20)).is_some());
        assert!(eased.is_some_and(|n| n <= 5), "{eased:?}");
    }

    #[test]
    fn it_comes_back_within_half_a_minute() {
        let mut played = Played::new();
        played.play(ms(2_000), |_| (Outcome::Refused, ms(20)));
        assert_eq!(played.adapt.in_flight(), 1);
        assert_eq!(played.well(ms(15_000)), []);
        assert!((28..=36).contains(&played.adapt.in_flight()), "{}", played.adapt.in_flight());
        assert_eq!(played.well(ms(17_000)), [Change::Restored]);
        assert_eq!(played.adapt.in_flight(), 64);
    }

    #[test]
    fn silence_brings_nothing_back() {
        let mut adapt = Adapt::new(LIMITS);
        adapt.hear(Outcome::Refused, ms(1), ms(20));
        adapt.hear(Outcome::Answered, ms(3_600_000), ms(3_600_020));
        assert!(adapt.share() < 0.54, "{}", adapt.share());
    }

    #[test]
    fn queues_of_loopback_jitter_and_a_few_slow_answers_are_no_rising_latency() {
        let mut played = Played::new();
        for latency in [1, 3, 20, 30, 90, 240] {
            let changes = played.play(ms(10_000), |n| (Outcome::Answered, ms(latency + n * 7 % 11)));
            assert_eq!(changes, [], "{latency}");
        }
        played.well(ms(70_000));
        let slow_one = |n: u64| (Outcome::Answered, ms(if n.is_multiple_of(2_000) { 9_000 } else { 20 + n * 7 % 11 }));
        assert_eq!(played.play(ms(60_000), slow_one), []);
        // Our own process stood still for five seconds.
        assert_eq!(played.play(ms(1), |_| (Outcome::Answered, ms(5_000))), []);
        assert_eq!(played.well(ms(10_000)), []);
    }

    #[test]
    fn rising_latency_eases_by_less_and_is_the_new_best_after_a_minute() {
        let mut played = Played::new();
        played.well(ms(40_000));
        let slow = |n: u64| (Outcome::Answered, ms(950 + n * 7 % 100));
        played.play(ms(3_000), slow);
        assert!((32..=48).contains(&played.adapt.in_flight()), "{}", played.adapt.in_flight());
        played.play(ms(20_000), slow);
        assert_eq!(played.adapt.in_flight(), 16);
        let changes = played.play(ms(75_000), slow);
        assert_eq!(changes.last(), Some(&Change::Restored), "{}", played.adapt.share());
        assert_eq!(played.play(ms(60_000), slow), []);
    }

    #[test]
    fn a_queue_of_our_own_making_is_kept_short() {
        // Two hundred answers a second, however many ask: 64 in flight would wait 320 ms, 256 more than a second.
        let mut adapt = Adapt::new(Limits { concurrency: 256, requests_per_second: 10_000.0 });
        let mut queue = std::collections::VecDeque::new();
        let (mut waited, mut answers) = (0.0, 0);
        for tick in 1..=25u64 * 200 {
            let now = ms(tick * 5);
            // A few clients at first.
            let most = if tick < 200 { 4 } else { adapt.in_flight() };
            while queue.len() < most {
                queue.push_back(now);
            }
            let sent = queue.pop_front().unwrap();
            adapt.hear(Outcome::Answered, sent, now + ms(5));
            if tick > 20 * 200 {
                waited += (now + ms(5) - sent).as_secs_f64();
                answers += 1;
            }
        }
        let mean = waited / f64::from(answers);
        assert!(mean < 0.6, "{mean}");
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![4 => Just(Outcome::Answered), 1 => Just(Outcome::Failed), 1 => Just(Outcome::Refused)]
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let rate = prop_oneof![Just(0.01), 0.1..10.0, 10.0..1e6];
        (1usize..=1024, rate).prop_map(|(concurrency, requests_per_second)| Limits { concurrency, requests_per_second })
    }

    fn spacing_of(rate: f64) -> Duration {
        Duration::from_secs_f64(1.0 / rate)
    }

    proptest! {
        #![proptest_config(crate::decide::soak::config(200))]
        #[test]
        fn never_above_the_limits_never_below_the_least_and_always_back(
            limits in limits(),
            heard in proptest::collection::vec((outcome(), 0u64..20_000, 0u64..5_000), 0..400),
        ) {
            let mut adapt = Adapt::new(limits);
            let parts = limits.concurrency.max(8) as f64;
            let least = spacing_of((limits.requests_per_second / parts).max(LEAST_RATE.min(limits.requests_per_second)));
            let (mut now, mut eased) = (ms(20_000), None);
            for (outcome, latency, gap) in heard {
                now += ms(gap);
                let (before, sent) = (adapt.share(), now - ms(latency));
                let change = adapt.hear(outcome, sent, now);
                prop_assert!((1..=limits.concurrency).contains(&adapt.in_flight()));
                prop_assert!(adapt.spacing() >= spacing_of(limits.requests_per_second));
                prop_assert!(adapt.spacing() <= least + Duration::from_micros(1));
                prop_assert!(adapt.share() >= before * HALF);
                match change {
                    Some(Change::Eased(_)) => {
                        prop_assert!(eased.is_none_or(|eased| sent > eased), "once in a round trip");
                        eased = Some(now);
                    }
                    Some(Change::Restored) => prop_assert!(adapt.share() == 1.0 && before < 1.0),
                    None => prop_assert!(adapt.share() >= before),
                }
            }
            // Whatever was before: good answers, even at the slowest pace, bring it back.
            for _ in 0..2_000 {
                now += adapt.spacing().max(ms(100));
                adapt.hear(Outcome::Answered, now - ms(100), now);
            }
            prop_assert_eq!(adapt.in_flight(), limits.concurrency);
            prop_assert_eq!(adapt.spacing(), spacing_of(limits.requests_per_second));
        }
    }
}
