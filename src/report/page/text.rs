//! How a page writes numbers, times and code.

use crate::clock::{Moment, Span};

/// A number with a comma between its thousands.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One or many: `1 entry`, `2 entries`.
pub fn count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// `2026-03-01 12:00:00`, in UTC.
pub fn second(moment: Moment) -> String {
    let text = moment.to_string();
    text.get(..19).map_or_else(|| text.clone(), |text| text.replace('T', " "))
}

/// A moment as exactly as columns of this width need it: the day, the minute, the second or its parts; without the day
/// unless `day` is asked for.
pub fn at(moment: Moment, step: Span, day: bool) -> String {
    let text = moment.to_string();
    let (from, to) = match step.0 {
        86_400_000.. => (0, 10),
        60_000.. => (11, 16),
        1_000.. => (11, 19),
        _ => (11, 23),
    };
    let from = if day { 0 } else { from };
    text.get(from..to).map_or_else(|| text.clone(), |text| text.replace('T', " "))
}

/// From one moment to another, as exactly as columns of this width need it; the second day only where it is another.
pub fn from_to(from: Moment, to: Moment, step: Span) -> String {
    let same_day = step.0 < 86_400_000 && from.0.div_euclid(86_400_000) == to.0.div_euclid(86_400_000);
    format!("{} – {}", at(from, step, true), at(to, step, !same_day))
}

/// How long it lasted, in its two largest units.
pub fn lasting(span: Span) -> String {
    const UNITS: [(i64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let ms = span.0.max(0);
    let Some(largest) = UNITS.iter().position(|(unit, _)| ms >= *unit) else { return "0 s".to_owned() };
    let (unit, name) = UNITS[largest];
    let text = format!("{} {name}", ms / unit);
    match UNITS.get(largest + 1) {
        Some((next, name)) if ms % unit / next > 0 && largest < 3 => format!("{text} {} {name}", ms % unit / next),
        _ => text,
    }
}

/// The sentence with a capital at its beginning and a full stop at its end; of nothing, nothing.
pub fn sentence(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("{}.", capital(text))
}

/// The text with a capital at its beginning.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

/// The parts of a sentence, each with whether it stands between backticks.
pub fn parts(text: &str) -> Vec<(bool, String)> {
    text.split('`')
        .enumerate()
        .map(|(at, part)| (at % 2 == 1, part.to_owned()))
        .filter(|(_, p)| !p.is_empty())
        .collect()
}

/// A value of the ledger as a person can see it: what controls a terminal or a line shows as its picture.
pub fn visible(value: &str) -> String {
    let picture = |letter: char| match letter {
        '\t' | '\n' => letter,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(letter)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}' => '\u{fffd}',
        _ if u32::from(letter) & 0xfffe == 0xfffe => '\u{fffd}',
        _ => letter,
    };
    value.chars().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        let day = 86_400_000;
        for (ms, text) in [
            (0, "0 s"),
            (950, "950 ms"),
            (1_500, "1 s"),
            (61_000, "1 min 1 s"),
            (3_600_000, "1 h"),
            (2 * day + 3_600_000, "2 d 1 h"),
        ] {
            assert_eq!(lasting(Span(ms)), text);
        }
    }

    #[test]
    fn times_are_as_exact_as_their_columns() {
        let moment = Moment::parse("2026-03-01T12:34:56.789Z").unwrap();
        for (step, text) in [(10, "12:34:56.789"), (1_000, "12:34:56"), (60_000, "12:34"), (86_400_000, "2026-03-01")] {
            assert_eq!(at(moment, Span(step), false), text);
        }
        assert_eq!(from_to(moment, moment + Span(60_000), Span(60_000)), "2026-03-01 12:34 – 12:35");
    }

    #[test]
    fn a_sentence_of_nothing_is_nothing() {
        assert_eq!(sentence("wait; then look"), "Wait; then look.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn what_cannot_be_seen_is_shown_as_its_picture() {
        assert_eq!(visible("a\0b\rc\u{7f}\u{85}\u{ffff}\n"), "a␀b␍c␡\u{fffd}\u{fffd}\n");
    }
}
