//! Proves that crontab lines mean what crontab means, on the wall's clock of any time zone: against croner, an
//! implementation of its own, over random lines, zones and years; and line by line over the changes of clocks.
//!
//! Where croner differs, it is brought to crontab's meaning from outside:
//! - It calls `*/2` in a day field a restriction, so that either day will do. To Vixie's cron and cronie a field that
//!   *begins* with `*` is none, and both must match: croner is told so by its option `dom_and_dow`.
//! - It takes `30 1,13 * * *` as going by the time that passes, like `* * * * *`: skipped in spring, doubled in autumn.
//!   To Vixie's cron only a minute or hour that begins with `*` does. Croner is asked for each time of the day alone.
//! - It leaves out a start of a gap that ends on a day that does not match, and knows no gap longer than two hours. Such
//!   gaps have their own literal tests below, and their zones are not drawn: America/Nuuk, Pacific/Apia, and Antarctica.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::fmt::Write as _;

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::CronParser;
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::schedule::crontab::Line;
use privo_reconcile::schedule::{Schedule, Start};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// Random lines that are compared; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` say others.
const CASES: u32 = 3_000;

/// Starts of each line that are compared.
const STARTS: usize = 12;

const ZONES: [&str; 20] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Caracas",
    "America/Santiago",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Beirut",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Chatham",
    "Pacific/Norfolk",
];

fn config(cases: u32) -> Config {
    let asked = Config::default();
    /// What the library takes when nothing is asked for.
    const USUAL: u32 = 256;
    Config {
        cases: if asked.cases == USUAL { cases } else { asked.cases },
        rng_seed: if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(1) } else { asked.rng_seed },
        failure_persistence: None,
        ..asked
    }
}

/// A field: `*` as often as not, else a list of values, ranges and steps.
fn field(first: u32, last: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = (first..=last).prop_map(move |value| match names.get((value - first) as usize) {
        Some(name) if value % 2 == 0 => (*name).to_owned(),
        _ => value.to_string(),
    });
    let range = (first..=last, 0..6_u32).prop_map(move |(from, width)| format!("{from}-{}", (from + width).min(last)));
    let stepped = (first..=last, 4..30_u32, 3..9_u32)
        .prop_map(move |(from, width, step)| format!("{from}-{}/{step}", (from + width).min(last)));
    let item = prop_oneof![4 => value, 1 => range, 1 => stepped];
    let list = prop::collection::vec(item, 1..4).prop_map(|items| items.join(","));
    let step = (1..=last / 2).prop_map(|step| format!("*/{step}"));
    prop_oneof![3 => Just("*".to_owned()), 1 => step, 4 => list]
}

const MONTHS: [&str; 12] = ["JAN", "feb", "Mar", "APR", "May", "jun", "jul", "aug", "sep", "oct", "NOV", "dec"];
const WEEKDAYS: [&str; 7] = ["SUN", "mon", "Tue", "WED", "thu", "fri", "Sat"];

fn line() -> impl Strategy<Value = String> {
    let fields = (field(0, 59, &[]), field(0, 23, &[]), field(1, 31, &[]), field(1, 12, &MONTHS));
    (fields, field(0, 7, &WEEKDAYS))
        .prop_map(|((minute, hour, day, month), weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// An instant of the years 2000 to 2039: any, or half of the time one of the four days around a change of clocks.
fn instant(zone: Tz, year: i32, second: u32, near: bool) -> DateTime<Utc> {
    let any = Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap() + TimeDelta::seconds(i64::from(second));
    if !near {
        return any;
    }
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let days = (0..366).map(|day| any + TimeDelta::days(day));
    let change = days.into_iter().find(|day| offset(*day) != offset(*day + TimeDelta::days(1)));
    change.map_or(any, |day| day - TimeDelta::days(3) + TimeDelta::seconds(i64::from(second % (5 * 86_400))))
}

fn oracle(line: &str) -> Vec<Cron> {
    let fields: Vec<&str> = line.split(' ').collect();
    let both_days = fields[2].starts_with('*') || fields[4].starts_with('*');
    let parse = |line: &str| CronParser::builder().dom_and_dow(both_days).build().parse(line).unwrap();
    let whole = parse(line);
    if fields[0].starts_with('*') || fields[1].starts_with('*') {
        return vec![whole];
    }
    let days = fields[2..].join(" ");
    let (minutes, hours) = (whole.pattern.minutes.values(), whole.pattern.hours.values());
    let times = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (minute, hour)));
    times.map(|(minute, hour)| parse(&format!("{minute} {hour} {days}"))).collect()
}

/// The oracle's next start; `None` when it finds none before the year 2101, as far as the job looks.
fn expected(oracle: &[Cron], after: DateTime<Tz>) -> Option<DateTime<Tz>> {
    let next = oracle.iter().filter_map(|cron| cron.find_next_occurrence(&after, false).ok()).min()?;
    (next.naive_local().and_utc() < Utc.with_ymd_and_hms(2101, 1, 1, 0, 0, 0).unwrap()).then_some(next)
}

fn moment(at: &DateTime<impl TimeZone>) -> Moment {
    Moment(at.timestamp_millis())
}

fn schedule(line: &str, zone: &str) -> Schedule {
    Schedule { lines: vec![Line::parse(line).unwrap()], zone: zone.parse().unwrap(), jitter: Span::ZERO }
}

proptest! {
    #![proptest_config(config(CASES))]

    #[test]
    fn starts_are_those_of_an_independent_implementation(
        line in line(),
        zone in prop::sample::select(&ZONES[..]),
        year in 2000..2040,
        second in 0..31_536_000_u32,
        near in any::<bool>(),
    ) {
        let zone: Tz = zone.parse().unwrap();
        let oracle = oracle(&line);
        let mut at = instant(zone, year, second, near).with_timezone(&zone);
        let Ok(parsed) = Line::parse(&line) else {
            prop_assert_eq!(expected(&oracle, at), None, "{} never comes", line);
            return Ok(());
        };
        let schedule = Schedule { lines: vec![parsed], zone, jitter: Span::ZERO };
        for _ in 0..STARTS {
            let next = expected(&oracle, at);
            let found = schedule.next(moment(&at)).map(|start| start.at);
            prop_assert_eq!(found, next.as_ref().map(moment), "`{}` in {} after {}: {:?}", line, zone, at, next);
            let Some(next) = next else { break };
            at = next;
        }
    }

    #[test]
    fn a_start_does_not_depend_on_when_it_is_asked_for(
        line in line(),
        zone in prop::sample::select(&ZONES[..]),
        year in 2000..2040,
        second in 0..31_536_000_u32,
        share in 0.0..1.0,
    ) {
        let Ok(parsed) = Line::parse(&line) else { return Ok(()) };
        let zone: Tz = zone.parse().unwrap();
        let schedule = Schedule { lines: vec![parsed], zone, jitter: Span::ZERO };
        let after = moment(&instant(zone, year, second, true));
        if let Some(next) = schedule.next(after) {
            let between = Moment(after.0 + ((next.at.0 - after.0 - 1) as f64 * share) as i64);
            prop_assert_eq!(schedule.next(between), Some(next), "`{}` in {} between {} and {}", line, zone, after, next.at);
        }
    }
}

/// The starts within a span of local time, as `--check` shows them but for the year and UTC.
fn starts(line: &str, zone: &str, from: &str, to: &str) -> String {
    let schedule = schedule(line, zone);
    let [from, to] = [from, to].map(|time| Moment::parse(time).unwrap());
    let mut listing = String::new();
    for start in schedule.starts(from + Span(-1)).take_while(|start| start.at < to) {
        let shown = schedule.show(&start);
        let (day, rest) = shown.split_at(4);
        let utc = shown.find("  ").unwrap();
        let shift = shown[utc + 2..].split_once("  ").map_or("", |(_, shift)| shift);
        let shift = shift.rsplit(' ').next().unwrap_or_default();
        writeln!(listing, "{day}{} {shift}", &rest[5..utc - 4].trim()).unwrap();
    }
    listing.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_time_in_the_gap_of_spring_comes_once_after_it() {
    let spring = |line| starts(line, "America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-09T12:00:00-04:00");
    assert_eq!(spring("30 2 * * *"), "Sun 03-08 03:00:00 -04:00 02:30\nMon 03-09 02:30:00 -04:00");
    assert_eq!(spring("0,20,40 2 8 * *"), "Sun 03-08 03:00:00 -04:00 02:00");
    assert_eq!(spring("30 2,3 8 * *"), "Sun 03-08 03:00:00 -04:00 02:30\nSun 03-08 03:30:00 -04:00");
    assert_eq!(spring("0 3 8 * *"), "Sun 03-08 03:00:00 -04:00");
}

#[test]
fn a_time_that_comes_twice_in_autumn_is_run_the_first_time() {
    let autumn = |line| starts(line, "America/New_York", "2026-10-31T12:00:00-04:00", "2026-11-02T12:00:00-05:00");
    assert_eq!(autumn("30 1 * * *"), "Sun 11-01 01:30:00 -04:00 two\nMon 11-02 01:30:00 -05:00");
    assert_eq!(autumn("0,59 1 1 * *"), "Sun 11-01 01:00:00 -04:00 two\nSun 11-01 01:59:00 -04:00 two");
    assert_eq!(autumn("0 2 1 * *"), "Sun 11-01 02:00:00 -05:00");
}

#[test]
fn what_goes_by_the_time_that_passes_runs_through_both() {
    let spring = |line| starts(line, "Europe/Berlin", "2026-03-29T00:30:00+01:00", "2026-03-29T05:00:00+02:00");
    assert_eq!(spring("@hourly"), "Sun 03-29 01:00:00 +01:00\nSun 03-29 03:00:00 +02:00\nSun 03-29 04:00:00 +02:00");
    assert_eq!(spring("*/30 2 * * *"), "", "no half an hour of that hour passed");
    let autumn = |line| starts(line, "Europe/Berlin", "2026-10-25T01:30:00+02:00", "2026-10-25T03:30:00+01:00");
    assert_eq!(
        autumn("*/30 * * * *"),
        "Sun 10-25 01:30:00 +02:00\nSun 10-25 02:00:00 +02:00 two\nSun 10-25 02:30:00 +02:00 two\n\
         Sun 10-25 02:00:00 +01:00 two\nSun 10-25 02:30:00 +01:00 two\nSun 10-25 03:00:00 +01:00"
    );
    assert_eq!(
        autumn("@hourly"),
        "Sun 10-25 02:00:00 +02:00 two\nSun 10-25 02:00:00 +01:00 two\nSun 10-25 03:00:00 +01:00"
    );
}

#[test]
fn half_an_hour_is_a_change_too() {
    let spring = |line| starts(line, "Australia/Lord_Howe", "2026-10-04T00:00:00+10:30", "2026-10-04T04:00:00+11:00");
    assert_eq!(spring("15 2 * * *"), "Sun 10-04 02:30:00 +11:00 02:15");
    assert_eq!(spring("45 2 * * *"), "Sun 10-04 02:45:00 +11:00");
    let autumn = |line| starts(line, "Australia/Lord_Howe", "2026-04-05T01:00:00+11:00", "2026-04-05T03:00:00+10:30");
    assert_eq!(autumn("45 1 * * *"), "Sun 04-05 01:45:00 +11:00 two");
    assert_eq!(autumn("*/15 * * * *").lines().count(), 2 * 4 + 2, "eight quarters by the wall, and two of them twice");
}

#[test]
fn a_gap_that_ends_on_another_day_is_made_up_for_on_that_day() {
    let nuuk = |line| starts(line, "America/Nuuk", "2024-03-30T20:00:00-02:00", "2024-03-31T12:00:00-01:00");
    assert_eq!(nuuk("30 23 30 3 *"), "Sun 03-31 00:00:00 -01:00 23:30");
    // Samoa had no 30 December 2011.
    let apia = |line| starts(line, "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2012-01-01T00:00:00+14:00");
    assert_eq!(apia("0 5 * * *"), "Sat 12-31 00:00:00 +14:00 05:00\nSat 12-31 05:00:00 +14:00");
    let twice_a_day = "Thu 12-29 12:00:00 -10:00\nSat 12-31 00:00:00 +14:00\nSat 12-31 12:00:00 +14:00";
    assert_eq!(apia("0 */12 * * *"), twice_a_day);
}

#[test]
fn a_change_at_midnight_moves_the_day() {
    let havana = |line| starts(line, "America/Havana", "2026-03-07T12:00:00-05:00", "2026-03-08T12:00:00-04:00");
    assert_eq!(havana("@daily"), "Sun 03-08 01:00:00 -04:00 00:00");
}

#[test]
fn rare_days_come_in_their_years_and_no_more_after_2100() {
    let leap = starts("0 12 29 2 *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", "2034-01-01T00:00:00Z");
    assert_eq!(leap, "Tue 02-29 12:00:00 +05:45\nSun 02-29 12:00:00 +05:45");
    let long = starts("0 0 31 * *", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(long.lines().count(), 7);
    let end = Moment::parse("2100-12-31T23:59:30Z").unwrap();
    assert_eq!(schedule("* * * * *", "UTC").next(end), None);
}

#[test]
fn the_earliest_line_comes_first_and_equal_ones_once() {
    let lines = ["*/20 * * * *", "@hourly", "50 10 * * *"].map(|line| Line::parse(line).unwrap());
    let schedule = Schedule { lines: lines.to_vec(), zone: chrono_tz::UTC, jitter: Span::ZERO };
    let from = Moment::parse("2026-03-02T10:00:00Z").unwrap();
    let starts: Vec<Start> = schedule.starts(from).take(5).collect();
    let times: Vec<String> = starts.iter().map(|start| start.at.to_string()[11..16].to_owned()).collect();
    assert_eq!(times, ["10:20", "10:40", "10:50", "11:00", "11:20"]);
}
