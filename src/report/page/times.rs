//! Failures over time: from instants to the columns of a picture, and the outages that they show.
//!
//! Nothing here knows what was *not* in doubt, so an outage is only as good as the requests that failed in it. One is
//! marked where at least half the picture's average failed, column after column, with pauses of at most two columns; it
//! reaches from the first request of such a stretch to its last, and a stretch that holds less than a tenth of all (or
//! fewer than five) is none.

use crate::clock::{Moment, Span};

use super::totals::{KINDS, Kind};

/// At most so many columns are drawn.
const COLUMNS: i64 = 60;
/// At most so many outages are marked: those with the most requests.
const OUTAGES: usize = 3;
/// A stretch may pause for so many columns.
const PAUSE: usize = 2;
/// Nine in ten requests decide which part of a long time is drawn.
const DRAWN_PER_MILLE: usize = 900;
/// The part is drawn alone when it is so many times shorter than the whole.
const SHORTER: i64 = 8;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How wide a column may be, in milliseconds.
pub const STEPS: [i64; 34] = [
    10,
    20,
    50,
    100,
    200,
    500,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    30 * DAY,
    60 * DAY,
    180 * DAY,
    360 * DAY,
    720 * DAY,
    3_600 * DAY,
    36_000 * DAY,
];

/// One column: how many of each of [`KINDS`] were sent in it.
pub type Column = [u64; KINDS.len()];

/// What is drawn.
#[derive(Debug, PartialEq, Eq)]
pub struct Times {
    /// Where the first column begins.
    pub begin: Moment,
    /// How long a column is.
    pub step: Span,
    pub columns: Vec<Column>,
    pub outages: Vec<Outage>,
    /// Requests that were sent before and after what is drawn.
    pub before: u64,
    pub after: u64,
}

/// A stretch in which request after request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When its first and its last request were sent.
    pub from: Moment,
    pub to: Moment,
    pub requests: u64,
}

impl Times {
    /// Sorts what was sent into columns. `None` when nothing was.
    pub fn of(sent: &[(Moment, Kind)]) -> Option<Times> {
        let mut sent = sent.to_vec();
        sent.sort();
        let drawn = crowded(&sent);
        let (before, after) = (drawn.start as u64, (sent.len() - drawn.end) as u64);
        let sent = &sent[drawn];
        let (first, last) = (sent.first()?.0.0, sent.last()?.0.0);
        let fits = |step: &&i64| last.div_euclid(**step) - first.div_euclid(**step) < COLUMNS;
        let step = STEPS.iter().find(fits).copied().unwrap_or(STEPS[STEPS.len() - 1]);
        let begin = first.div_euclid(step);
        let mut columns = vec![Column::default(); usize::try_from(last.div_euclid(step) - begin).unwrap_or(0) + 1];
        for (at, kind) in sent {
            let column = usize::try_from(at.0.div_euclid(step) - begin).unwrap_or(0);
            let kind = KINDS.iter().position(|of| of == kind).unwrap_or(KINDS.len() - 1);
            columns[column][kind] += 1;
        }
        let begin = Moment(begin * step);
        let mut times = Times { begin, step: Span(step), columns, outages: Vec::new(), before, after };
        times.outages = times.find_outages(sent);
        Some(times)
    }

    /// When a column begins; one past the last: when the last one ends.
    pub fn begins(&self, column: usize) -> Moment {
        self.begin + Span(self.step.0 * i64::try_from(column).unwrap_or(0))
    }

    /// The most requests in one column.
    pub fn highest(&self) -> u64 {
        self.columns.iter().map(total).max().unwrap_or(0)
    }

    fn find_outages(&self, sent: &[(Moment, Kind)]) -> Vec<Outage> {
        let all = sent.len() as u64;
        let dense = |column: &Column| total(column) * self.columns.len() as u64 * 2 >= all && total(column) > 0;
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        for (at, _) in self.columns.iter().enumerate().filter(|(_, column)| dense(column)) {
            match stretches.last_mut() {
                Some((_, end)) if at - *end <= PAUSE + 1 => *end = at,
                _ => stretches.push((at, at)),
            }
        }
        let mut outages: Vec<Outage> = stretches
            .into_iter()
            .filter_map(|(first, last)| {
                let (from, to) = (self.begins(first), self.begins(last + 1));
                let within =
                    &sent[sent.partition_point(|(at, _)| *at < from)..sent.partition_point(|(at, _)| *at < to)];
                let requests = within.len() as u64;
                let enough = requests >= 5 && requests * 10 >= all;
                enough.then_some(Outage { from: within.first()?.0, to: within.last()?.0, requests })
            })
            .collect();
        outages.sort_by_key(|outage| (std::cmp::Reverse(outage.requests), outage.from));
        outages.truncate(OUTAGES);
        outages.sort_by_key(|outage| outage.from);
        outages
    }
}

/// How many requests a column holds.
pub fn total(column: &Column) -> u64 {
    column.iter().sum()
}

/// Which of the sorted requests are drawn: all, or, when nearly all of them were sent in a small part of the time, that
/// part with as much again before and after. A ledger of a year would else show last night's outage as one line.
fn crowded(sent: &[(Moment, Kind)]) -> std::ops::Range<usize> {
    let all = 0..sent.len();
    let most = (sent.len() * DRAWN_PER_MILLE).div_ceil(1000);
    let (Some(first), Some(last), true) = (sent.first(), sent.last(), most >= 10) else { return all };
    let long = |(from, to): (usize, usize)| sent[to].0.0 - sent[from].0.0;
    let Some(part) = (0..=sent.len() - most).map(|from| (from, from + most - 1)).min_by_key(|part| long(*part)) else {
        return all;
    };
    let length = long(part).max(1);
    if length * SHORTER > last.0.0 - first.0.0 {
        return all;
    }
    let (from, to) = (Moment(sent[part.0].0.0 - length), Moment(sent[part.1].0.0 + length));
    sent.partition_point(|(at, _)| *at < from)..sent.partition_point(|(at, _)| *at <= to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Failure;

    fn at(times: impl IntoIterator<Item = i64>) -> Vec<(Moment, Kind)> {
        times.into_iter().map(|ms| (Moment(ms), Some(Failure::Http))).collect()
    }

    #[test]
    fn every_request_stands_in_one_column_or_is_told_to_lie_outside() {
        fastrand::seed(7);
        for round in 0..200 {
            let spread = 1 << (round % 45);
            let sent = at((0..round).map(|_| 1_700_000_000_000 + fastrand::i64(0..=spread)));
            let Some(times) = Times::of(&sent) else {
                assert!(sent.is_empty());
                continue;
            };
            let drawn: u64 = times.columns.iter().map(total).sum();
            assert_eq!(drawn + times.before + times.after, sent.len() as u64);
            assert!(times.columns.len() as i64 <= COLUMNS, "{}", times.columns.len());
            assert!(total(&times.columns[0]) > 0 && total(times.columns.last().unwrap()) > 0);
            assert!(times.outages.windows(2).all(|pair| pair[0].to < pair[1].from));
        }
    }

    #[test]
    fn an_outage_reaches_from_its_first_request_to_its_last() {
        let noise = (0..24).map(|hour| hour * HOUR);
        let outage = (0..200).map(|n| 10 * HOUR + 7 * MINUTE + n * 30 * SECOND);
        let times = Times::of(&at(noise.chain(outage))).unwrap();
        let [found] = times.outages.try_into().unwrap();
        let (from, to) = (10 * HOUR + 7 * MINUTE, 11 * HOUR + 46 * MINUTE + 30 * SECOND);
        assert_eq!((found.from, found.to, found.requests), (Moment(from), Moment(to), 201));
    }

    #[test]
    fn two_outages_are_two() {
        let sent = at((0..100).map(|n| n * MINUTE).chain((0..50).map(|n| 10 * HOUR + n * MINUTE)));
        let requests: Vec<u64> = Times::of(&sent).unwrap().outages.iter().map(|outage| outage.requests).collect();
        assert_eq!(requests, [100, 50]);
    }

    #[test]
    fn a_few_scattered_failures_are_none() {
        assert_eq!(Times::of(&at([0, HOUR, 9 * HOUR, 17 * HOUR])).unwrap().outages, []);
    }

    #[test]
    fn a_year_of_single_failures_does_not_hide_last_nights_outage() {
        let year = (0..20).map(|n| n * 15 * DAY);
        let outage = (0..1000).map(|n| 300 * DAY + n * 6 * SECOND);
        let times = Times::of(&at(year.chain(outage))).unwrap();
        assert!(times.step.0 <= 10 * MINUTE, "{times:?}");
        assert_eq!((times.before, times.after), (20, 0));
    }
}
