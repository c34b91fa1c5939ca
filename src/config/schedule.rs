//! The `[schedule]` of the configuration.

use std::fmt;
use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use chrono_tz::Tz;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use toml::Spanned;

use super::Length;
use crate::clock::Span;
use crate::schedule::Schedule;
use crate::schedule::crontab::Line;

/// How long a stop waits for what is in flight when nothing else is configured.
pub const STOP_TIMEOUT: Span = Span::seconds(30);

/// Lines of one schedule, at the most.
const MOST_LINES: usize = 100;

/// The job's own schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    pub starts: Schedule,
    /// As `run --wait`.
    pub wait: Option<Span>,
    /// How long a stop may take to finish what is in flight.
    pub stop_timeout: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleFile {
    at: Spanned<Lines>,
    time_zone: Option<Spanned<String>>,
    jitter: Option<Length>,
    wait: Option<Length>,
    stop_timeout: Option<Length>,
}

/// One crontab line, or a list of them.
enum Lines {
    One(String),
    Several(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Lines, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Lines;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a crontab line, or a list of them")
            }

            fn visit_str<E>(self, line: &str) -> Result<Lines, E> {
                Ok(Lines::One(line.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Lines, A::Error> {
                let mut several = Vec::new();
                while let Some(line) = lines.next_element()? {
                    several.push(line);
                }
                Ok(Lines::Several(several))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl ScheduleFile {
    /// Checks it; `at` tells the place of a mistake.
    pub(super) fn check(self, at: &dyn Fn(Range<usize>) -> String) -> Result<Scheduled> {
        let span = self.at.span();
        let lines = match self.at.into_inner() {
            Lines::One(line) => vec![(span.clone(), line)],
            Lines::Several(lines) => lines.into_iter().map(|line| (line.span(), line.into_inner())).collect(),
        };
        if lines.is_empty() || lines.len() > MOST_LINES {
            bail!("{}, `schedule.at`: {} lines (write 1 to {MOST_LINES})", at(span), lines.len());
        }
        let read = |(span, line): (Range<usize>, String)| {
            Line::parse(&line).map_err(|why| anyhow!("{}, `schedule.at`: {why}", at(span)))
        };
        let lines = lines.into_iter().map(read).collect::<Result<Vec<Line>>>()?;
        let zone = self.time_zone.as_ref().map_or(Ok(Tz::UTC), |zone| {
            super::zone(zone.as_ref()).map_err(|why| anyhow!("{}, `schedule.time_zone`: {why}", at(zone.span())))
        })?;
        Ok(Scheduled {
            starts: Schedule { lines, zone, jitter: self.jitter.map_or(Span::ZERO, |length| length.0) },
            wait: self.wait.map(|length| length.0).filter(|wait| *wait > Span::ZERO),
            stop_timeout: self.stop_timeout.map_or(STOP_TIMEOUT, |length| length.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn read(schedule: &str) -> Result<Config> {
        let rest = "plan = \"privo-gateway\"\n[ledger]\npath = \"l\"\n[server]\nbase_url = \"http://127.0.0.1:1\"\n";
        Config::parse(Path::new("c.toml"), &format!("{rest}[schedule]\n{schedule}"))
    }

    #[test]
    fn one_line_or_several_are_taken_with_what_is_usual() {
        let one = read("at = \"*/15 * * * *\"").unwrap().schedule.unwrap();
        assert_eq!((one.starts.lines.len(), one.starts.zone, one.starts.jitter), (1, Tz::UTC, Span::ZERO));
        assert_eq!((one.wait, one.stop_timeout), (None, Span::seconds(30)));
        let all = "at = [\"*/15 * * * *\", \"@hourly\"]\ntime_zone = \"America/New_York\"\njitter = \"30s\"\nwait = \"5m\"\nstop_timeout = \"1m\"";
        let several = read(all).unwrap().schedule.unwrap();
        assert_eq!((several.starts.lines.len(), several.starts.zone), (2, Tz::America__New_York));
        assert_eq!(several.starts.jitter, Span::seconds(30));
        assert_eq!((several.wait, several.stop_timeout), (Some(Span::seconds(300)), Span::seconds(60)));
        assert_eq!(read("at = \"@daily\"\nwait = \"0s\"").unwrap().schedule.unwrap().wait, None);
    }

    #[test]
    fn mistakes_are_told_with_line_and_remedy() {
        for (schedule, said) in [
            ("at = \"*/15 * * *\"", "c.toml, line 7, `schedule.at`: `*/15 * * *` has 4 fields and not 5 (minute"),
            ("at = [\n  \"@hourly\",\n  \"61 * * * *\",\n]", "c.toml, line 9, `schedule.at`: minute `61`"),
            ("at = \"30 2 31 2 *\"", "line 7, `schedule.at`: `30 2 31 2 *` never comes"),
            ("at = []", "line 7, `schedule.at`: 0 lines"),
            ("at = 5", "line 7, `schedule.at`: invalid type: integer, expected a crontab line, or a list of them"),
            ("at = [5]", "line 7, `schedule.at"),
            ("jitter = \"1s\"", "missing field `at`"),
            ("at = \"@daily\"\ntime_zone = \"EST5\"", "line 8, `schedule.time_zone`: unknown time zone (write an IANA"),
            ("at = \"@daily\"\njitter = \"soon\"", "line 8, `schedule.jitter`: not a duration"),
            ("at = \"@daily\"\nevery = \"5m\"", "line 8, `schedule.every`: unknown field"),
        ] {
            let error = format!("{:#}", read(schedule).unwrap_err());
            assert!(error.contains(said), "{schedule}: {error}");
        }
    }
}
