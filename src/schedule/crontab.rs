//! Crontab lines, with crontab's meaning: five fields or a nickname.
//!
//! | field | values |
//! |---|---|
//! | minute | 0 to 59 |
//! | hour | 0 to 23 |
//! | day of the month | 1 to 31 |
//! | month | 1 to 12, or JAN to DEC |
//! | day of the week | 0 to 7 (0 and 7 are Sunday), or SUN to SAT |
//!
//! A field is `*`, or a list of values and ranges; `*` and ranges take a step. A day matches when *either* day field
//! matches, unless one of them begins with `*`: then both must match, as in Vixie's cron and cronie (`0 0 */2 * MON` is
//! every Monday with an odd date).
//!
//! # Why an adapter
//! The `cron` crate, which finds the matching times, speaks Quartz: a field of seconds, 1 is Sunday, both day fields must
//! match, and times are skipped or doubled when clocks change. So a line is read here, handed over as plain lists of
//! values (as two schedules when either day will do), and evaluated on the wall's time alone; `zone` maps it to instants.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::NaiveDateTime;

/// A line of a crontab, without its command.
#[derive(Clone, Debug)]
pub struct Line {
    text: String,
    pub(super) minute: Field,
    pub(super) hour: Field,
    pub(super) day: Field,
    pub(super) month: Field,
    pub(super) weekday: Field,
    /// A time matches when one of them does.
    quartz: Vec<cron::Schedule>,
}

impl PartialEq for Line {
    fn eq(&self, other: &Line) -> bool {
        self.text == other.text
    }
}

/// A field's values, in order and once each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub values: BTreeSet<u32>,
    /// It begins with `*`.
    pub star: bool,
    /// Every value that the field can have.
    pub all: bool,
}

/// What a field may hold.
struct Kind {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const MINUTE: Kind = Kind { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Kind = Kind { name: "hour", first: 0, last: 23, names: &[] };
const DAY: Kind = Kind { name: "day of the month", first: 1, last: 31, names: &[] };
const MONTH: Kind = Kind {
    name: "month",
    first: 1,
    last: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Kind =
    Kind { name: "day of the week", first: 0, last: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// The nicknames that name a time.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// No line is longer: 60 minutes, 24 hours, 31 days, 12 months and 8 weekdays with commas are shorter.
const LONGEST: usize = 1000;

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, with the remedy in parentheses; also when no day will ever match.
    pub fn parse(text: &str) -> Result<Line, String> {
        let text = text.trim_matches([' ', '\t']);
        if text.len() > LONGEST {
            return Err(format!("the line is longer than {LONGEST} characters"));
        }
        let fields = match text.strip_prefix('@') {
            None => text,
            Some("reboot") => {
                return Err("`@reboot` names no time (a schedule begins with its service)".to_owned());
            }
            Some(_) => {
                let known = NICKNAMES.map(|(name, _)| name).join(", ");
                let found = NICKNAMES.iter().find(|(name, _)| *name == text);
                found.ok_or_else(|| format!("`{text}` is no nickname of crontab's (write one of {known})"))?.1
            }
        };
        let fields: Vec<&str> = fields.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            let remedy =
                "minute, hour, day of the month, month, day of the week, like `*/15 * * * *`; no seconds, no command";
            return Err(format!("`{text}` has {} fields and not 5 ({remedy})", fields.len()));
        };
        let (minute, hour) = (read(&MINUTE, minute)?, read(&HOUR, hour)?);
        let (day, month, mut weekday) = (read(&DAY, day)?, read(&MONTH, month)?, read(&WEEKDAY, weekday)?);
        if weekday.values.remove(&7) {
            weekday.values.insert(0);
        }
        weekday.all = weekday.values.len() == 7;
        let quartz = quartz(&minute, &hour, &day, &month, &weekday)?;
        let line = Line { text: text.to_owned(), minute, hour, day, month, weekday, quartz };
        if line.next_wall(NaiveDateTime::default()).is_none() {
            return Err(format!("`{text}` never comes (no such month has that day)"));
        }
        Ok(line)
    }

    /// The line as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether minute or hour begin with `*`: then the line goes by the time that passes, not by the wall's clock, when
    /// clocks change.
    pub fn elapses(&self) -> bool {
        self.minute.star || self.hour.star
    }

    /// Whether either day field will do.
    pub(super) fn either_day(&self) -> bool {
        !self.day.star && !self.weekday.star
    }

    /// The first matching time after this one, on a wall whose clock never changes. `None` after the year 2100.
    pub fn next_wall(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc();
        self.quartz.iter().filter_map(|quartz| quartz.after(&after).next()).min().map(|time| time.naive_utc())
    }
}

/// The line as the crate takes it: one schedule, or one per day field when either will do.
fn quartz(
    minute: &Field,
    hour: &Field,
    day: &Field,
    month: &Field,
    weekday: &Field,
) -> Result<Vec<cron::Schedule>, String> {
    let (minute, hour, month) = (minute.list(0), hour.list(0), month.list(0));
    let schedule = |day: &str, weekday: &str| {
        let text = format!("0 {minute} {hour} {day} {month} {weekday} *");
        cron::Schedule::from_str(&text).map_err(|error| format!("the cron crate does not take `{text}`: {error}"))
    };
    if day.star || weekday.star {
        return Ok(vec![schedule(&day.list(0), &weekday.list(1))?]);
    }
    Ok(vec![schedule(&day.list(0), "*")?, schedule("*", &weekday.list(1))?])
}

impl Field {
    /// The values, each so much higher, as a list with commas.
    fn list(&self, higher: u32) -> String {
        if self.all {
            return "*".to_owned();
        }
        self.values.iter().map(|value| (value + higher).to_string()).collect::<Vec<_>>().join(",")
    }
}

/// Reads one field.
fn read(kind: &Kind, text: &str) -> Result<Field, String> {
    let wrong = |what: &str, remedy: &str| Err(format!("{} `{text}`: {what} ({remedy})", kind.name));
    let mut values = BTreeSet::new();
    for item in text.split(',') {
        let (span, step) = match item.split_once('/') {
            None => (item, 1),
            Some((span, step)) => match number(step) {
                Some(step) if step > 0 => (span, step),
                _ => return wrong("a step is a number from 1", "like */15"),
            },
        };
        let (first, last) = match span.split_once('-') {
            None if span == "*" => (kind.first, kind.last),
            None if item.contains('/') => return wrong("a step follows `*` or a range", "like 5-59/10"),
            None => (kind.value(text, span)?, kind.value(text, span)?),
            Some((first, last)) => (kind.value(text, first)?, kind.value(text, last)?),
        };
        if first > last {
            return wrong("the range runs backwards", "write two, like 22-23,0-5; Sunday is 7 at a range's end");
        }
        values.extend((first..=last).step_by(step as usize));
    }
    // Sunday has two numbers.
    let last = if kind.last == 7 { 6 } else { kind.last };
    let all = (kind.first..=last).all(|value| values.contains(&value));
    Ok(Field { values, star: text.starts_with('*'), all })
}

impl Kind {
    fn value(&self, field: &str, text: &str) -> Result<u32, String> {
        let name = self.names.iter().zip(self.first..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, value)) = name {
            return Ok(value);
        }
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(", or {} to {}", first.to_uppercase(), last.to_uppercase()),
            _ => String::new(),
        };
        let range = self.first..=self.last;
        number(text).filter(|value| range.contains(value)).ok_or_else(|| {
            format!("{} `{field}`: `{text}` is none (write {} to {}{names})", self.name, self.first, self.last)
        })
    }
}

/// A number of at most three digits, without a sign.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(field: &Field) -> Vec<u32> {
        field.values.iter().copied().collect()
    }

    /// The first times from 2024 on.
    fn times(line: &str, count: usize) -> Vec<String> {
        let line = Line::parse(line).unwrap();
        let mut at = "2023-12-31T23:59:00".parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            at = line.next_wall(at).unwrap();
            times.push(at.format("%a %F %R").to_string());
        }
        times
    }

    #[test]
    fn fields_are_read_as_crontab_reads_them() {
        let line = Line::parse(" 0,30-34/2\t*/6 1-5,31 jan,DEC 5-7 ").unwrap();
        assert_eq!(values(&line.minute), [0, 30, 32, 34]);
        assert_eq!(values(&line.hour), [0, 6, 12, 18]);
        assert_eq!(values(&line.day), [1, 2, 3, 4, 5, 31]);
        assert_eq!(values(&line.month), [1, 12]);
        assert_eq!(values(&line.weekday), [0, 5, 6]);
        for (weekdays, expected) in [
            ("0", &[0][..]),
            ("7", &[0]),
            ("mon-fri", &[1, 2, 3, 4, 5]),
            ("0-7", &[0, 1, 2, 3, 4, 5, 6]),
            ("6-7", &[0, 6]),
        ] {
            assert_eq!(values(&Line::parse(&format!("0 0 * * {weekdays}")).unwrap().weekday), expected, "{weekdays}");
        }
    }

    #[test]
    fn either_day_field_will_do_unless_one_begins_with_a_star() {
        assert_eq!(times("0 0 13 * 5", 3), ["Fri 2024-01-05 00:00", "Fri 2024-01-12 00:00", "Sat 2024-01-13 00:00"]);
        assert_eq!(times("0 0 13 * *", 2), ["Sat 2024-01-13 00:00", "Tue 2024-02-13 00:00"]);
        assert_eq!(times("0 0 * * 5", 2), ["Fri 2024-01-05 00:00", "Fri 2024-01-12 00:00"]);
        // Mondays with an odd date, and not every odd date and every Monday.
        assert_eq!(times("0 0 */2 * 1", 3), ["Mon 2024-01-01 00:00", "Mon 2024-01-15 00:00", "Mon 2024-01-29 00:00"]);
    }

    #[test]
    fn rare_days_come_when_they_come() {
        assert_eq!(times("0 12 29 2 *", 3), ["Thu 2024-02-29 12:00", "Tue 2028-02-29 12:00", "Sun 2032-02-29 12:00"]);
        assert_eq!(
            times("5 4 31 * *", 4),
            ["Wed 2024-01-31 04:05", "Sun 2024-03-31 04:05", "Fri 2024-05-31 04:05", "Wed 2024-07-31 04:05"]
        );
        // A Friday in February comes, though the day never does.
        assert_eq!(times("0 0 30 2 5", 1), ["Fri 2024-02-02 00:00"]);
    }

    #[test]
    fn nicknames_are_lines() {
        for (name, fields) in NICKNAMES {
            assert_eq!(times(name, 3), times(fields, 3), "{name}");
        }
    }

    #[test]
    fn anything_else_is_a_mistake_with_a_remedy() {
        for (line, said) in [
            ("", "has 0 fields and not 5"),
            ("* * * *", "has 4 fields"),
            ("0 * * * * *", "no seconds"),
            ("*/15 * * * * run", "no command"),
            ("60 * * * *", "minute `60`: `60` is none (write 0 to 59)"),
            ("* 24 * * *", "write 0 to 23"),
            ("* * 0 * *", "write 1 to 31"),
            ("* * * 13 *", "write 1 to 12, or JAN to DEC"),
            ("* * * * 8", "write 0 to 7, or SUN to SAT"),
            ("* * * January *", "`January` is none"),
            ("* * * * sat-sun", "runs backwards"),
            ("30-10 * * * *", "runs backwards"),
            ("5/10 * * * *", "a step follows `*` or a range"),
            ("*/0 * * * *", "a step is a number from 1"),
            ("*/x * * * *", "a step is a number from 1"),
            ("1,,2 * * * *", "`` is none"),
            ("-1 * * * *", "`` is none"),
            ("+1 * * * *", "`+1` is none"),
            ("٣ * * * *", "is none"),
            ("0 0 L * *", "`L` is none"),
            ("0 0 * * 5#2", "is none"),
            ("? * * * *", "is none"),
            ("0~30 * * * *", "is none"),
            ("30 2 31 2 *", "never comes"),
            ("0 0 31 4,6,9,11 *", "never comes"),
            ("@reboot", "names no time"),
            ("@Hourly", "is no nickname"),
            ("@every 5m", "is no nickname"),
        ] {
            let error = Line::parse(line).unwrap_err();
            assert!(error.contains(said) && error.contains('('), "{line}: {error}");
        }
        assert!(Line::parse(&"0,".repeat(600)).unwrap_err().contains("longer than"));
    }
}
