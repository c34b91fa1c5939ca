//! A line in plain words.

use super::crontab::{Field, Line};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// More times of a day than these are told by hours and minutes.
const MOST_TIMES: usize = 6;

impl Line {
    /// What the line says, like "at 02:30 on Monday to Friday".
    pub fn in_words(&self) -> String {
        let months = named(&self.month, "in", |month| MONTHS[month as usize - 1].to_owned());
        [self.time(), self.days(), months].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn time(&self) -> String {
        let minute = if self.minute.all {
            "every minute".to_owned()
        } else {
            format!("at minute {}", list(&self.minute, "and", |minute| minute.to_string()))
        };
        if self.hour.all {
            return if self.minute.all { minute } else { format!("{minute} of every hour") };
        }
        if self.minute.values.len() * self.hour.values.len() <= MOST_TIMES {
            let times = self
                .hour
                .values
                .iter()
                .flat_map(|hour| self.minute.values.iter().map(move |minute| format!("{hour:02}:{minute:02}")));
            return format!("at {}", joined(&times.collect::<Vec<_>>(), "and"));
        }
        let plural = if self.hour.values.len() == 1 { "hour" } else { "hours" };
        format!("{minute} of the {plural} {}", list(&self.hour, "and", |hour| hour.to_string()))
    }

    fn days(&self) -> String {
        let days = named(&self.day, "on", |day| day.to_string()).replacen("on", "on day", 1);
        let days = if days.is_empty() { days } else { format!("{days} of the month") };
        let weekdays = named(&self.weekday, "on", |day| WEEKDAYS[day as usize].to_owned());
        match (days.is_empty(), weekdays.is_empty()) {
            // A field of all days that does not begin with `*` makes every day match.
            _ if self.either_day() && (self.day.all || self.weekday.all) => "every day".to_owned(),
            (true, true) if self.hour.all => String::new(),
            (true, true) => "every day".to_owned(),
            (false, true) => days,
            (true, false) => weekdays,
            (false, false) if self.either_day() => format!("{days} and {weekdays}"),
            (false, false) => {
                let weekdays = list(&self.weekday, "or", |day| WEEKDAYS[day as usize].to_owned());
                format!("{days} if that is {weekdays}")
            }
        }
    }
}

/// The field's names after a preposition; nothing for all of them.
fn named(field: &Field, preposition: &str, name: impl Fn(u32) -> String) -> String {
    if field.all { String::new() } else { format!("{preposition} {}", list(field, "and", name)) }
}

/// The field's values: three or more in a row as a range.
fn list(field: &Field, word: &str, name: impl Fn(u32) -> String) -> String {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    for &value in &field.values {
        match rows.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => rows.push((value, value)),
        }
    }
    let shown = rows.into_iter().flat_map(|(first, last)| match last - first {
        0 => vec![name(first)],
        1 => vec![name(first), name(last)],
        _ => vec![format!("{} to {}", name(first), name(last))],
    });
    joined(&shown.collect::<Vec<_>>(), word)
}

/// `a, b and c`.
fn joined(items: &[String], word: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {word} {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_in_plain_words() {
        for (line, words) in [
            ("* * * * *", "every minute"),
            ("*/15 * * * *", "at minute 0, 15, 30 and 45 of every hour"),
            ("@hourly", "at minute 0 of every hour"),
            ("@daily", "at 00:00 every day"),
            ("30 2,14 * * *", "at 02:30 and 14:30 every day"),
            ("*/10 8-18 * * mon-fri", "at minute 0, 10, 20, 30, 40 and 50 of the hours 8 to 18 on Monday to Friday"),
            ("* 3 * * *", "every minute of the hour 3 every day"),
            ("@weekly", "at 00:00 on Sunday"),
            ("@monthly", "at 00:00 on day 1 of the month"),
            ("@yearly", "at 00:00 on day 1 of the month in January"),
            ("0 6 1,15 * 5", "at 06:00 on day 1 and 15 of the month and on Friday"),
            (
                "0 6 */2 6-8 5-7",
                "at 06:00 on day 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of the month \
                 if that is Sunday, Friday or Saturday in June to August",
            ),
            ("0 * 1-7 * *", "at minute 0 of every hour on day 1 to 7 of the month"),
            ("0 6 1 * 0-6", "at 06:00 every day"),
            ("0 6 1 * *", "at 06:00 on day 1 of the month"),
        ] {
            assert_eq!(Line::parse(line).unwrap().in_words(), words, "{line}");
        }
    }
}
