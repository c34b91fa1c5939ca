//! Moments and durations, and the one place where the clock and the timer are read.
//!
//! All of the crate counts in milliseconds of UTC since 1970. A [`Moment`] comes in from the edge; nothing below the
//! commands asks for the time itself, so every decision can be made again from what is stored.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, Utc};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub i64);

/// A span of time in milliseconds; never negative in configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

/// The longest span that the configuration takes: a hundred years, so that sums of spans and moments cannot overflow.
const LONGEST: i64 = 100 * 366 * 86_400_000;

/// The timer's time, for pauses, deadlines and how long something took: nobody sets it.
pub type Tick = tokio::time::Instant;

/// The timer.
#[expect(clippy::disallowed_methods, reason = "this is the edge; a timer, not a time")]
pub fn tick() -> Tick {
    Tick::now()
}

/// The time since boot, sleep included: nobody sets it, and a host that was suspended knows that it was.
#[cfg(feature = "postgres")]
pub fn since_boot() -> Span {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    Span(time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000))
}

/// How far the clock of the ledger's store is ahead of this host's, in milliseconds.
static STORE_AHEAD: AtomicI64 = AtomicI64::new(0);

/// Notes how far the clock of the ledger's store is ahead of this host's.
pub fn store_is_ahead(by: Span) {
    STORE_AHEAD.store(by.0, Ordering::Relaxed);
}

impl From<std::time::SystemTime> for Moment {
    fn from(time: std::time::SystemTime) -> Moment {
        Moment(DateTime::<Utc>::from(time).timestamp_millis())
    }
}

impl Moment {
    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "this is the edge")]
    pub fn now() -> Moment {
        Moment(Utc::now().timestamp_millis())
    }

    /// Now, by the clock of the ledger's store, which stamps the rows: what is compared with their times goes by it. In a file
    /// it is the wall clock.
    pub fn by_the_store() -> Moment {
        Moment::now() + Span(STORE_AHEAD.load(Ordering::Relaxed))
    }

    /// Reads RFC 3339 with an offset. `None` for anything else, for years outside 1970 to 9999 and for impossible dates.
    pub fn parse(text: &str) -> Option<Moment> {
        let time = DateTime::parse_from_rfc3339(text.trim()).ok()?.with_timezone(&Utc);
        let ms = time.timestamp_millis();
        (0..=253_402_300_799_999).contains(&ms).then_some(Moment(ms))
    }

    /// Reads a date in a header of an HTTP answer, in any of the three forms of RFC 9110; its precision is one second.
    /// `now` says which century a year of two digits is of.
    pub fn parse_http_date(text: &str, now: Moment) -> Option<Moment> {
        let text = text.trim();
        let imf = || DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc());
        let asctime = || NaiveDateTime::parse_from_str(text, "%a %b %e %H:%M:%S %Y").ok().map(|time| time.and_utc());
        let time = imf().or_else(asctime).or_else(|| rfc_850(text, now))?;
        Some(Moment(time.timestamp_millis()))
    }

    /// The time since `earlier`; negative when a clock was set back.
    pub fn since(self, earlier: Moment) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// So much earlier; the end of time stays what it is.
    pub fn before(self, span: Span) -> Moment {
        if self.0 == i64::MAX { self } else { self - span }
    }
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. What would be more than fifty years ahead is of the century before.
fn rfc_850(text: &str, now: Moment) -> Option<DateTime<Utc>> {
    const AHEAD: Span = Span(50 * 365 * 86_400_000 + 12 * 86_400_000);
    let (weekday, rest) = text.split_once(", ")?;
    let (day, rest) = rest.rsplit_once('-')?;
    let (year, time) = rest.split_once(' ')?;
    if year.len() != 2 || !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let century = DateTime::<Utc>::from_timestamp_millis(now.0)?.year().div_euclid(100);
    let of = |century: i32| {
        let time = NaiveDateTime::parse_from_str(&format!("{day}-{century}{year} {time}"), "%d-%b-%Y %H:%M:%S GMT");
        time.ok().map(|time| time.and_utc()).filter(|time| time.timestamp_millis() <= (now + AHEAD).0)
    };
    let time = [century + 1, century, century - 1].into_iter().find_map(of)?;
    (weekday.parse() == Ok(time.weekday())).then_some(time)
}

impl std::ops::Add<Span> for Moment {
    type Output = Moment;

    fn add(self, span: Span) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }
}

impl std::ops::Sub<Span> for Moment {
    type Output = Moment;

    fn sub(self, span: Span) -> Moment {
        Moment(self.0.saturating_sub(span.0))
    }
}

/// RFC 3339 in UTC with milliseconds, the only form in which times leave the program.
impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(time) => f.pad(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => f.pad("beyond the calendar"),
        }
    }
}

impl std::ops::Add for Span {
    type Output = Span;

    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// A span of whole seconds.
    pub const fn seconds(seconds: i64) -> Span {
        Span(seconds * 1000)
    }

    /// Reads `<integer>s|m|h|d`, the form of every duration in the configuration.
    pub fn parse(text: &str) -> Option<Span> {
        let unit = text.chars().last()?;
        let number = &text[..text.len() - unit.len_utf8()];
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let unit_ms = match unit {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        let ms = number.parse::<i64>().ok()?.checked_mul(unit_ms)?;
        (ms <= LONGEST).then_some(Span(ms))
    }

    /// For timers; a negative span is no wait.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

/// The configuration's form, in the largest unit that is exact.
impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0;
        let text = match ms {
            0 => "0s".to_owned(),
            _ if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
            _ if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
            _ if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
            _ if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
            _ => format!("{ms}ms"),
        };
        f.pad(&text)
    }
}

/// A span as configurations and plans write it: `<integer>s|m|h|d`.
#[derive(Clone, Copy, Debug)]
pub struct Length(pub Span);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Length, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Length;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a duration (write <integer>s, m, h or d, like \"15m\")")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Length, E> {
                let length = Span::parse(text).map(Length);
                length.ok_or_else(|| E::custom("not a duration (write <integer>s, m, h or d, like \"15m\")"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_an_offset_and_shown_in_utc() {
        let moment = Moment::parse("2026-03-01T12:00:00.5+02:00").unwrap();
        assert_eq!(moment.to_string(), "2026-03-01T10:00:00.500Z");
        for bad in ["2026-03-01T12:00:00", "2026-02-30T12:00:00Z", "yesterday", "", "1890-01-01T00:00:00Z"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn http_dates_are_read() {
        let now = Moment::parse("2026-03-01T12:00:00Z").unwrap();
        for form in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(Moment::parse_http_date(form, now), Some(Moment(784_111_777_000)), "{form}");
        }
        let asctime = Moment::parse_http_date("Wed Nov 16 08:49:37 1994", now);
        assert_eq!(asctime, Moment::parse("1994-11-16T08:49:37Z"));
        for bad in [
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-094 08:49:37 GMT",
            "Sunday, 31-Feb-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 CET",
            "Sunday, -94 ",
            "Mon Nov  6 08:49:37 1994",
            "Sun Nov 31 08:49:37 1994",
            "",
        ] {
            assert_eq!(Moment::parse_http_date(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        let read = |text: &str, now: &str| {
            Moment::parse_http_date(text, Moment::parse(now).unwrap()).map(|moment| moment.to_string())
        };
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(read("Sunday, 01-Mar-26 12:00:01 GMT", "2026-03-01T12:00:00Z"), of("2026-03-01T12:00:01.000Z"));
        assert_eq!(read("Saturday, 29-Feb-76 12:00:00 GMT", "2026-03-01T12:00:00Z"), of("2076-02-29T12:00:00.000Z"));
        assert_eq!(read("Friday, 31-Dec-76 12:00:00 GMT", "2026-03-01T12:00:00Z"), of("1976-12-31T12:00:00.000Z"));
        assert_eq!(read("Friday, 01-Jan-00 00:00:00 GMT", "2099-12-31T23:59:00Z"), of("2100-01-01T00:00:00.000Z"));
        assert_eq!(read("Thursday, 31-Dec-99 23:59:59 GMT", "2100-01-01T00:00:00Z"), of("2099-12-31T23:59:59.000Z"));
    }

    #[test]
    fn spans_are_read_and_shown_in_the_configured_form() {
        for text in ["0s", "90s", "15m", "24h", "30d"] {
            let span = Span::parse(text).unwrap();
            assert_eq!(Span::parse(&span.to_string()), Some(span));
        }
        for bad in ["", "s", "-1s", "1.5h", "1 m", "1w", "99999999999999d", "١s"] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
    }
}
