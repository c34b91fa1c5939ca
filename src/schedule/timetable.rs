//! Whose turn it is: to wait, or to begin a run. Every start up to now is accounted for by one run, however many there
//! were while the machine slept or a run went on; a clock that is set back makes the schedule go by the new time.

use fastrand::Rng;

use super::Schedule;
use crate::clock::{Moment, Span};

/// A clock that goes back no further has been corrected, not set.
const CORRECTION: Span = Span::seconds(60);

/// Starts that are counted as missed, at the most.
const MOST_MISSED: usize = 1000;

/// The turns of one job.
#[derive(Debug)]
pub struct Timetable {
    schedule: Schedule,
    /// Starts up to then were made, or made up for.
    accounted: Moment,
    /// The clock, as it was seen last.
    seen: Moment,
    planned: Option<Planned>,
    random: Rng,
}

/// The next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    /// By the schedule.
    due: Moment,
    /// With its jitter.
    at: Moment,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing until then (`None`: the schedule has no more starts).
    Wait(Option<Moment>),
    /// Begin a run.
    Begin {
        /// When it was due by the schedule.
        due: Moment,
        /// How much later than planned it is.
        late: Span,
        /// Further starts that this run makes up for.
        missed: usize,
    },
    /// The clock was set back by so much. Ask again.
    SetBack(Span),
}

impl Timetable {
    /// The turns from `now` on. Starts after `accounted`, if it is earlier, are made up for by one run.
    pub fn new(schedule: Schedule, accounted: Moment, now: Moment, random: Rng) -> Timetable {
        let accounted = accounted.min(now);
        let mut timetable = Timetable { schedule, accounted, seen: now, planned: None, random };
        timetable.plan();
        timetable
    }

    /// When the next run begins, with its jitter.
    pub fn next(&self) -> Option<Moment> {
        self.planned.map(|planned| planned.at)
    }

    /// Whose turn it is.
    pub fn turn(&mut self, now: Moment) -> Turn {
        let back = self.seen.since(now);
        self.seen = now;
        if back > CORRECTION {
            self.accounted = now;
            self.plan();
            return Turn::SetBack(back);
        }
        match self.planned {
            Some(planned) if planned.at <= now => {
                let missed = self.schedule.starts(planned.due).take_while(|start| start.at <= now);
                let missed = missed.take(MOST_MISSED).count();
                self.accounted = now;
                self.plan();
                Turn::Begin { due: planned.due, late: now.since(planned.at), missed }
            }
            planned => Turn::Wait(planned.map(|planned| planned.at)),
        }
    }

    /// From now on another schedule. A start that is due already is still made.
    pub fn change(&mut self, schedule: Schedule, now: Moment) {
        if schedule == self.schedule {
            return;
        }
        self.schedule = schedule;
        if self.planned.is_none_or(|planned| planned.due > now) {
            self.accounted = now;
            self.plan();
        }
    }

    fn plan(&mut self) {
        let next = self.schedule.next(self.accounted);
        let jitter = Span(self.random.i64(0..=self.schedule.jitter.0));
        self.planned = next.map(|start| Planned { due: start.at, at: start.at + jitter });
    }
}

#[cfg(test)]
mod tests {
    use super::super::crontab::Line;
    use super::*;

    fn schedule(line: &str, jitter: Span) -> Schedule {
        Schedule { lines: vec![Line::parse(line).unwrap()], zone: chrono_tz::UTC, jitter }
    }

    fn at(text: &str) -> Moment {
        Moment::parse(&format!("2026-03-02T{text}Z")).unwrap()
    }

    fn begin(due: &str, late: Span, missed: usize) -> Turn {
        Turn::Begin { due: at(due), late, missed }
    }

    fn quarters(now: &str) -> Timetable {
        let now = at(now);
        Timetable::new(schedule("*/15 * * * *", Span::ZERO), now, now, Rng::with_seed(1))
    }

    #[test]
    fn a_start_is_waited_for_and_made_once() {
        let mut timetable = quarters("10:01:00");
        assert_eq!(timetable.turn(at("10:01:00")), Turn::Wait(Some(at("10:15:00"))));
        assert_eq!(timetable.turn(at("10:14:59")), Turn::Wait(Some(at("10:15:00"))));
        assert_eq!(timetable.turn(at("10:15:00")), begin("10:15:00", Span::ZERO, 0));
        assert_eq!(timetable.turn(at("10:15:00")), Turn::Wait(Some(at("10:30:00"))));
    }

    #[test]
    fn one_run_makes_up_for_all_that_was_slept_through() {
        let mut timetable = quarters("10:01:00");
        assert_eq!(timetable.turn(at("14:02:00")), begin("10:15:00", Span(13_620_000), 15));
        assert_eq!(timetable.turn(at("14:02:01")), Turn::Wait(Some(at("14:15:00"))));
    }

    #[test]
    fn one_run_makes_up_for_what_a_long_run_missed() {
        let mut timetable = quarters("10:01:00");
        assert_eq!(timetable.turn(at("10:15:00")), begin("10:15:00", Span::ZERO, 0));
        // The run took 40 minutes.
        assert_eq!(timetable.turn(at("10:55:00")), begin("10:30:00", Span::seconds(25 * 60), 1));
        assert_eq!(timetable.turn(at("10:56:00")), Turn::Wait(Some(at("11:00:00"))));
    }

    #[test]
    fn a_job_that_did_not_run_at_its_time_runs_when_it_is_back() {
        let daily = schedule("@daily", Span::ZERO);
        let mut timetable =
            Timetable::new(daily.clone(), at("00:00:01") + Span(-86_400_000), at("10:00:00"), Rng::new());
        assert_eq!(timetable.turn(at("10:00:00")), begin("00:00:00", Span::seconds(36_000), 0));
        let mut timetable = Timetable::new(daily, at("00:00:01"), at("10:00:00"), Rng::new());
        assert!(matches!(timetable.turn(at("10:00:00")), Turn::Wait(_)));
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_and_a_corrected_one_repeats_nothing() {
        let mut timetable = quarters("10:01:00");
        assert_eq!(timetable.turn(at("10:15:00")), begin("10:15:00", Span::ZERO, 0));
        assert_eq!(timetable.turn(at("10:14:30")), Turn::Wait(Some(at("10:30:00"))));
        assert_eq!(timetable.turn(at("10:15:10")), Turn::Wait(Some(at("10:30:00"))));
        assert_eq!(timetable.turn(at("08:00:00")), Turn::SetBack(Span(8_110_000)));
        assert_eq!(timetable.turn(at("08:00:00")), Turn::Wait(Some(at("08:15:00"))));
    }

    #[test]
    fn jitter_is_spread_over_its_span_and_never_more_and_no_start_is_missed_by_it() {
        let (now, jitter) = (at("10:00:00"), Span::seconds(30));
        let mut timetable = Timetable::new(schedule("*/15 * * * *", jitter), now, now, Rng::with_seed(7));
        let mut drawn = Vec::new();
        let mut due = at("10:15:00");
        for _ in 0..400 {
            let planned = timetable.next().unwrap();
            drawn.push(planned.since(due).0);
            assert_eq!(timetable.turn(planned), Turn::Begin { due, late: Span::ZERO, missed: 0 });
            due = due + Span::seconds(900);
        }
        assert!(drawn.iter().all(|ms| (0..=30_000).contains(ms)), "{drawn:?}");
        for tenth in 0..10 {
            let range = tenth * 3_000..=(tenth + 1) * 3_000;
            assert!(drawn.iter().any(|ms| range.contains(ms)), "{range:?}: {drawn:?}");
        }
    }

    #[test]
    fn a_changed_schedule_begins_now_and_keeps_a_start_that_is_due() {
        let hourly = schedule("@hourly", Span::ZERO);
        let mut timetable = quarters("10:01:00");
        timetable.change(hourly.clone(), at("10:14:00"));
        assert_eq!(timetable.turn(at("10:15:00")), Turn::Wait(Some(at("11:00:00"))));
        let mut timetable = quarters("10:01:00");
        timetable.change(hourly, at("10:16:00"));
        assert_eq!(timetable.turn(at("10:16:00")), begin("10:15:00", Span::seconds(60), 0));
        assert_eq!(timetable.turn(at("10:17:00")), Turn::Wait(Some(at("11:00:00"))));
        // From once a year to every quarter of an hour: the year is nothing to make up for.
        let mut timetable = Timetable::new(
            schedule("@yearly", Span::ZERO),
            at("10:00:00") + Span(-86_400_000),
            at("10:01:00"),
            Rng::new(),
        );
        timetable.change(schedule("*/15 * * * *", Span::ZERO), at("10:02:00"));
        assert_eq!(timetable.turn(at("10:02:00")), Turn::Wait(Some(at("10:15:00"))));
    }
}
