//! From a wall's time in a time zone to the instant, when clocks change.
//!
//! What crontab's users expect, and Vixie's cron does:
//! - A line that names its hour and minute runs once a day. A time that the spring change leaves out comes at the first
//!   instant after the gap; several that fall together run once. A time that comes twice in autumn runs the first time.
//! - A line whose minute or hour begins with `*` is about how often, not about when: `*/15 * * * *` goes on every
//!   quarter of an hour that really passes. It runs in both of the two hours in autumn, and what the gap leaves out is
//!   not made up for: no quarter of an hour passed in it.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use super::crontab::Line;
use super::{Shift, Start};
use crate::clock::Moment;

/// Walls that are tried for one start, at the most: every minute of the longest change of a clock, a day.
const MOST_WALLS: usize = 2 * 24 * 60;

/// The line's first start after `after`. `None` when it never comes again.
pub fn next(line: &Line, zone: Tz, after: Moment) -> Option<Start> {
    let after = DateTime::from_timestamp(after.0.div_euclid(1000), 0)?.naive_utc();
    let place = Place { line, zone };
    let (at, shift) = if line.elapses() { place.next_elapsed(after)? } else { place.next_named(after)? };
    Some(Start { at: Moment(at.and_utc().timestamp_millis()), shift })
}

/// The wall's time of an instant.
pub fn local(zone: Tz, at: Moment) -> Option<DateTime<Tz>> {
    Some(DateTime::from_timestamp_millis(at.0)?.with_timezone(&zone))
}

/// A line in a zone. Instants are in UTC.
struct Place<'a> {
    line: &'a Line,
    zone: Tz,
}

impl Place<'_> {
    fn wall(&self, instant: NaiveDateTime) -> NaiveDateTime {
        instant + TimeDelta::seconds(self.offset(instant))
    }

    /// Seconds east of Greenwich.
    fn offset(&self, instant: NaiveDateTime) -> i64 {
        i64::from(self.zone.offset_from_utc_datetime(&instant).fix().local_minus_utc())
    }

    /// The matching walls after this one.
    fn walls(&self, after: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        let walls = std::iter::successors(self.line.next_wall(after), |wall| self.line.next_wall(*wall));
        walls.take(MOST_WALLS)
    }

    fn instants(&self, wall: NaiveDateTime) -> MappedLocalTime<NaiveDateTime> {
        self.zone.from_local_datetime(&wall).map(|time| time.naive_utc())
    }

    /// Of a line that names its hour: each wall's time once. A later wall never comes earlier, so the first that comes
    /// after `after` is the next.
    fn next_named(&self, after: NaiveDateTime) -> Option<(NaiveDateTime, Shift)> {
        let instant = |wall| match self.instants(wall) {
            MappedLocalTime::Single(at) => Some((at, Shift::None)),
            MappedLocalTime::Ambiguous(first, _) => Some((first, Shift::FirstOfTwo)),
            MappedLocalTime::None => {
                let end = GapInfo::new(&wall, &self.zone)?.end?;
                Some((end.with_timezone(&Utc).naive_utc(), Shift::Gap(wall)))
            }
        };
        self.walls(self.wall(after)).filter_map(instant).find(|(at, _)| *at > after)
    }

    /// Of a line that goes by the time that passes: each wall's time as often as it comes.
    fn next_elapsed(&self, after: NaiveDateTime) -> Option<(NaiveDateTime, Shift)> {
        let here = self.wall(after);
        let from_here = self.walls(here).find_map(|wall| match self.instants(wall) {
            MappedLocalTime::Single(at) => (at > after).then_some((at, Shift::None)),
            MappedLocalTime::Ambiguous(first, _) if first > after => Some((first, Shift::FirstOfTwo)),
            MappedLocalTime::Ambiguous(_, second) => (second > after).then_some((second, Shift::SecondOfTwo)),
            MappedLocalTime::None => None,
        });
        let again = match self.instants(here) {
            MappedLocalTime::Ambiguous(first, second) if after < second => self.second_time(first, second),
            _ => None,
        };
        [from_here, again].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The first start after a clock was set back, which it is between these two instants of one wall's time.
    fn second_time(&self, first: NaiveDateTime, second: NaiveDateTime) -> Option<(NaiveDateTime, Shift)> {
        let (mut before, mut change) = (first, second);
        while change - before > TimeDelta::seconds(1) {
            let middle = before + (change - before) / 2;
            if self.offset(middle) == self.offset(first) { before = middle } else { change = middle }
        }
        let wall = self.walls(self.wall(change) - TimeDelta::seconds(1)).next()?;
        match self.instants(wall) {
            MappedLocalTime::Ambiguous(_, second) => Some((second, Shift::SecondOfTwo)),
            MappedLocalTime::Single(at) => Some((at, Shift::None)),
            MappedLocalTime::None => None,
        }
    }
}
