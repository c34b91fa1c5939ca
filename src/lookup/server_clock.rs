//! The server's clock, as a run's answers bound it.
//!
//! An answer's `Date` was stamped between our sending and our receiving of it, and is cut to the second: so it is an interval
//! for what the server's clock shows more than our timer. The timer is never set, so the intervals of a run bound one and the
//! same thing, and together more narrowly than one does. Where two contradict, the server has several clocks, or its
//! clock was set: then any time between them may be meant, for the rest of the run.

use std::cell::Cell;

use crate::clock::{Moment, Span};

/// `Date` is cut to the second.
const CUT: Span = Span(1000);

/// Timers are read in whole milliseconds.
const READING: Span = Span(1);

/// In this time of the timer two clocks may drift apart by a millisecond: a hundred parts in a million.
const DRIFT: i64 = 10_000;

/// What the server's clock shows more than the timer, as far as the answers so far tell.
#[derive(Debug, Default)]
pub struct ServerClock {
    known: Cell<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    bounds: Bounds,
    /// By the timer.
    at: Span,
    /// Two answers contradicted each other.
    apart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: Moment,
    most: Moment,
}

impl Bounds {
    /// Later by so much, the clocks may have drifted apart.
    fn after(self, time: Span) -> Bounds {
        let drift = Span(time.0.saturating_abs() / DRIFT + i64::from(time.0 != 0));
        Bounds { least: self.least - drift, most: self.most + drift }
    }
}

impl ServerClock {
    /// Hears of an answer's `Date`; when it was sent for and when it was there, by the timer.
    pub fn hear(&self, date: Moment, sent: Span, received: Span) {
        let heard = Bounds { least: date - received - READING, most: date - sent + CUT + READING };
        let known = match self.known.get() {
            None => Known { bounds: heard, at: received, apart: false },
            Some(known) => {
                let before = known.bounds.after(Span(received.0 - known.at.0));
                let common = Bounds { least: before.least.max(heard.least), most: before.most.min(heard.most) };
                let hull = Bounds { least: before.least.min(heard.least), most: before.most.max(heard.most) };
                let contradicts = common.least > common.most;
                let bounds = match (contradicts, known.apart) {
                    (true, _) => hull,
                    (false, true) => before,
                    (false, false) => common,
                };
                Known { bounds, at: received, apart: known.apart || contradicts }
            }
        };
        self.known.set(Some(known));
    }

    /// What to add to a time of the job's clock to have the server's, at least and at most. `ahead` is what the job's clock
    /// showed more than the timer, at least and at most. `None`: no answer had a `Date`.
    pub fn skew(&self, (least, most): (Span, Span)) -> Option<(Span, Span)> {
        let bounds = self.known.get()?.bounds;
        Some((bounds.least.since(Moment(most.0 + READING.0)), bounds.most.since(Moment(least.0 - READING.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known after answers, each by when it was sent for, when it was there, and the server's true time then, of
    /// which its `Date` shows the second.
    fn heard(answers: &[(i64, i64, i64)]) -> (i64, i64) {
        let clock = ServerClock::default();
        for (sent, received, stamped) in answers {
            let date = Moment(stamped.div_euclid(1000) * 1000);
            clock.hear(date, Span(*sent), Span(*received));
        }
        let (least, most) = clock.skew((Span(0), Span(0))).unwrap();
        (least.0, most.0)
    }

    #[test]
    fn one_answer_bounds_the_clock_by_its_way_and_the_second() {
        let (least, most) = heard(&[(100, 150, 5_000_120)]);
        // 5,000,120 less 120, within 50 ms of way and the second that is cut.
        assert!(least <= 5_000_000 && 5_000_000 <= most);
        assert!(most - least <= 1_000 + 50 + 4, "{least} {most}");
        assert_eq!(ServerClock::default().skew((Span(0), Span(0))), None);
    }

    #[test]
    fn the_answers_of_a_run_bound_it_together() {
        let offset = 5_000_000;
        let answers: Vec<(i64, i64, i64)> = (0..40).map(|n| n * 137).map(|at| (at, at + 20, offset + at + 7)).collect();
        let (least, most) = heard(&answers);
        assert!(least <= offset && offset <= most && most - least < 200, "{least} {most}");
        // A slow answer, as one that waited behind others, takes nothing of that away.
        let slow = [&answers[..], &[(6_000, 21_000, offset + 20_900)]].concat();
        let (least, most) = heard(&slow);
        assert!(least <= offset && offset <= most && most - least < 210, "{least} {most}");
    }

    #[test]
    fn clocks_that_contradict_each_other_leave_what_lies_between() {
        let two = [(0, 20, 5_000_010), (100, 120, 5_007_110), (200, 220, 5_000_210), (300, 320, 5_007_310)];
        let (least, most) = heard(&two);
        assert!(least <= 5_000_000 && most >= 5_007_000, "{least} {most}");
        // For the rest of the run.
        let rest: Vec<(i64, i64, i64)> =
            (4..400).map(|n| n * 100).map(|at| (at, at + 20, 5_000_000 + at + 10)).collect();
        let (least, most) = heard(&[&two[..], &rest].concat());
        assert!(least <= 5_000_000 && most >= 5_007_000, "{least} {most}");
        // A third clock widens it once more.
        let (least, _) = heard(&[&two[..], &[(500, 520, 4_990_510)]].concat());
        assert!(least <= 4_990_000, "{least}");
    }

    #[test]
    fn what_is_known_fades_as_clocks_drift() {
        let hour = 3_600_000;
        // The server's clock goes 50 parts in a million too fast, for a day.
        let true_offset = |at: i64| 5_000_000 + at / 20_000;
        for every in [1_000, 60_000, hour] {
            let times = std::iter::successors(Some(0), |at| Some(at + every)).take_while(|at| *at < 24 * hour);
            let clock = ServerClock::default();
            for at in times {
                let stamped = at + 10 + true_offset(at);
                clock.hear(Moment(stamped.div_euclid(1000) * 1000), Span(at), Span(at + 20));
                let (least, most) = clock.skew((Span(0), Span(0))).unwrap();
                let offset = true_offset(at);
                assert!(least.0 <= offset && offset <= most.0, "every {every} at {at}: {least} {most} {offset}");
                assert!(most.0 - least.0 <= 1_100, "every {every} at {at}: {least} {most}");
            }
        }
    }

    #[test]
    fn the_jobs_clock_may_show_anything() {
        let clock = ServerClock::default();
        clock.hear(Moment(5_000_000), Span(0), Span(20));
        // It shows 4,000,000 more than the timer, give or take the 100 ms by which it was set.
        let (least, most) = clock.skew((Span(3_999_900), Span(4_000_000))).unwrap();
        assert!(least.0 <= 1_000_000 - 20 && most.0 >= 1_001_000 + 100, "{least} {most}");
        assert!(most.0 - least.0 <= 1_000 + 20 + 100 + 4);
    }
}
