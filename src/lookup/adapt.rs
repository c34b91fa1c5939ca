//! How the pace adapts: half of the limits after a 429, and back within half a minute of good answers. Pure: answers and times
//! in, a share of the limits out. docs/PACE.md says why no more is done.
//!
//! With four connections and five requests a second it is the rate that binds, with 64 and ten thousand the connections, so
//! the share is taken of both. What was sent before the last halving tells of the pace from before it, and is not heard again:
//! the many refusals of one moment halve it once, and no old answer brings it back.

use std::time::Duration;

/// From the least share to the limits in so many seconds of good answers, whatever the limits are.
const COMES_BACK_IN: f64 = 30.0;

/// A good answer brings back what belongs to the time since the one before, but not for a longer silence than this.
const LONGEST_CREDIT: Duration = Duration::from_secs(1);

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

/// What an answer did to the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is less now.
    Eased,
    /// It is back at the limits.
    Restored,
}

/// The share of the limits that is asked for. All times are since any one moment, by a clock that never steps.
#[derive(Clone, Debug)]
pub struct Adapt {
    limits: Limits,
    least: f64,
    share: f64,
    eased_at: Option<Duration>,
    credited_at: Duration,
}

impl Adapt {
    /// Begins at the limits.
    pub fn new(limits: Limits) -> Adapt {
        let least = LEAST_SHARE.min(1.0 / limits.concurrency.max(1) as f64);
        Adapt { limits, least, share: 1.0, eased_at: None, credited_at: Duration::ZERO }
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

    /// A request that was sent at `sent` was answered 429; it is `now`.
    pub fn refused(&mut self, sent: Duration, now: Duration) -> Option<Change> {
        if !self.is_news(sent) {
            return None;
        }
        self.share = (self.share / 2.0).max(self.least.min(self.share));
        self.eased_at = Some(now);
        Some(Change::Eased)
    }

    /// A request that was sent at `sent` got a definite answer; it is `now`.
    pub fn answered(&mut self, sent: Duration, now: Duration) -> Option<Change> {
        let since = self.credited_at.max(self.eased_at.unwrap_or_default());
        self.credited_at = now;
        if !self.is_news(sent) || self.share >= 1.0 {
            return None;
        }
        let time = now.saturating_sub(since).min(LONGEST_CREDIT);
        self.share = (self.share + time.as_secs_f64() / COMES_BACK_IN).min(1.0);
        (self.share >= 1.0).then_some(Change::Restored)
    }

    fn is_news(&self, sent: Duration) -> bool {
        self.eased_at.is_none_or(|eased| sent > eased)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_refusals_of_one_moment_halve_it_once() {
        let mut adapt = Adapt::new(Limits { concurrency: 64, requests_per_second: 10_000.0 });
        assert_eq!(adapt.refused(ms(1), ms(20)), Some(Change::Eased));
        for _ in 0..63 {
            assert_eq!(adapt.refused(ms(1), ms(21)), None);
        }
        assert_eq!((adapt.in_flight(), adapt.share()), (32, 0.5));
        assert_eq!(adapt.refused(ms(22), ms(40)), Some(Change::Eased));
        assert_eq!(adapt.in_flight(), 16);
        // An answer of before brings nothing back, nor does silence.
        assert_eq!(adapt.answered(ms(2), ms(60)), None);
        assert_eq!(adapt.in_flight(), 16);
        adapt.answered(ms(3_600_000), ms(3_600_020));
        assert!(adapt.share() < 0.29, "{}", adapt.share());
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
            heard in proptest::collection::vec((any::<bool>(), 0u64..20_000, 0u64..5_000), 0..400),
        ) {
            let mut adapt = Adapt::new(limits);
            let parts = limits.concurrency.max(8) as f64;
            let least = spacing_of((limits.requests_per_second / parts).max(LEAST_RATE.min(limits.requests_per_second)));
            let (mut now, mut eased) = (ms(20_000), None);
            for (refused, latency, gap) in heard {
                now += ms(gap);
                let (before, sent) = (adapt.share(), now - ms(latency));
                let change = if refused { adapt.refused(sent, now) } else { adapt.answered(sent, now) };
                prop_assert!((1..=limits.concurrency).contains(&adapt.in_flight()));
                prop_assert!(adapt.spacing() >= spacing_of(limits.requests_per_second));
                prop_assert!(adapt.spacing() <= least + Duration::from_micros(1));
                match change {
                    Some(Change::Eased) => {
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
                adapt.answered(now - ms(100), now);
            }
            prop_assert_eq!(adapt.in_flight(), limits.concurrency);
            prop_assert_eq!(adapt.spacing(), spacing_of(limits.requests_per_second));
        }
    }
}
