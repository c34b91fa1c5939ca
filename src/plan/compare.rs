//! Comparing what was sent with what a record shows.
//!
//! Servers show a value otherwise than it was sent: trimmed, in another case or Unicode form, with `&#39;` for an apostrophe or
//! a no-break space for a space. So "differs" is said only of two values that both can be read, and that differ in more
//! than that. What cannot be read (a date that is none, a number with a fraction) is not shown.

use chrono::{DateTime, Datelike, NaiveDate};
use serde::Deserialize;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::parts::{is_whole, scalar};
use crate::words::Compared;

/// What kind of value a compared field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As it is.
    #[default]
    Text,
    /// A person's name: without regard to spaces, case, Unicode form and HTML's escapes.
    Name,
    /// A calendar date, `yyyyMMdd` or `yyyy-MM-dd`, also as the midnight that begins it.
    Date,
    /// A date that the record shows as seconds since 1970.
    EpochDate,
    /// An email or another key: as a name.
    Key,
    /// A list whose order does not matter.
    Set,
}

/// Births and other dates of a person are between these years: servers write year 1 or 9999 for "none".
const YEARS: std::ops::RangeInclusive<i32> = 1850..=2199;

/// Text that was escaped for HTML more often than this stays as it is.
const UNESCAPED_AT_MOST: usize = 3;

impl Form {
    /// A value in comparable form; `None` when there is nothing to compare, or it cannot be read.
    pub fn of(self, value: &Value) -> Option<String> {
        if let (Form::Set, Value::Array(items)) = (self, value) {
            let mut items: Vec<&Value> = items.iter().collect();
            if items.iter().any(|item| !is_readable(item)) {
                return None;
            }
            items.sort_by_cached_key(|item| item.to_string());
            items.dedup();
            return serde_json::to_string(&items).ok();
        }
        let text = match value {
            Value::Array(_) | Value::Object(_) if self == Form::Text => value.to_string(),
            Value::Array(_) | Value::Object(_) => return None,
            _ => scalar(value).filter(|_| is_readable(value))?,
        };
        match self {
            Form::Text | Form::Set => Some(text),
            Form::Name => Some(plain(&text)).filter(|name| name.chars().any(char::is_alphanumeric)),
            Form::Key => Some(plain(&text)).filter(|key| !key.is_empty()),
            Form::Date | Form::EpochDate => date(&text).map(|date| date.format("%Y%m%d").to_string()),
        }
    }

    /// How what was sent compares with what is shown.
    pub fn compare(self, sent: Option<&Value>, shown: Option<&Value>) -> Compared {
        let of = |value: Option<&Value>| value.and_then(|value| self.of(value));
        if self == Form::EpochDate {
            return of(sent).zip(shown).map_or(Compared::NotShown, |(sent, shown)| compare_epoch(&sent, shown));
        }
        let (Some(sent), Some(shown)) = (of(sent), of(shown)) else { return Compared::NotShown };
        let alike = || match self {
            Form::Text => plain(&sent) == plain(&shown),
            Form::Set => plain_items(&sent) == plain_items(&shown),
            Form::Name | Form::Date | Form::EpochDate | Form::Key => false,
        };
        match sent == shown {
            true => Compared::Equal,
            // Whether the server wrote it otherwise or kept what was there before, nothing says.
            false if alike() => Compared::NotShown,
            false => Compared::Differs,
        }
    }
}

/// A date, `yyyyMMdd`, against seconds since 1970. At midnight in UTC they are that day; at another time they are the midnight of
/// some time zone, and which day that is cannot be said if it may be the one that was sent.
fn compare_epoch(sent: &str, shown: &Value) -> Compared {
    let seconds = scalar(shown).filter(|_| is_readable(shown)).and_then(|text| text.trim().parse::<i64>().ok());
    let day = |seconds: i64| Some(DateTime::from_timestamp(seconds, 0)?.date_naive());
    let in_years = |day: &NaiveDate| YEARS.contains(&day.year());
    let days = seconds.and_then(|seconds| {
        let zones = if seconds.rem_euclid(DAY) == 0 { (0, 0) } else { (-12 * HOUR, 14 * HOUR) };
        Some((day(seconds.checked_add(zones.0)?)?, day(seconds.checked_add(zones.1)?)?))
    });
    let days = days.filter(|(first, last)| in_years(first) && in_years(last));
    match (days, NaiveDate::parse_from_str(sent, "%Y%m%d")) {
        (Some((first, last)), Ok(sent)) if !(first..=last).contains(&sent) => Compared::Differs,
        (Some((first, last)), Ok(_)) if first == last => Compared::Equal,
        _ => Compared::NotShown,
    }
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A number with a fraction or an exponent may be any number near it, and what stands where a letter was lost any letter.
fn is_readable(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_whole(number),
        Value::String(text) => !text.contains('\u{fffd}'),
        _ => true,
    }
}

/// Without spaces, case, Unicode form, HTML's escapes and the ways to write an apostrophe or a hyphen.
fn plain(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return text.to_ascii_lowercase();
    }
    let one_form: String = unescaped(text).nfkc().filter(|letter| !is_space(*letter)).map(one_mark).collect();
    unicase::UniCase::unicode(one_form.as_str()).to_folded_case().nfkc().filter(|letter| !is_space(*letter)).collect()
}

/// A set's items, each plain, in order.
fn plain_items(set: &str) -> Vec<String> {
    let items: Vec<Value> = serde_json::from_str(set).unwrap_or_default();
    let mut items: Vec<String> = items.iter().map(|item| plain(&item.to_string())).collect();
    items.sort_unstable();
    items.dedup();
    items
}

/// White space as Unicode has it, and what takes no space at all.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

fn one_mark(letter: char) -> char {
    match letter {
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '\u{b4}' | '`' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        letter => letter,
    }
}

/// Without HTML's escapes, also where a text was escaped twice.
fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..UNESCAPED_AT_MOST {
        let once = unescaped_once(&text);
        if once == text {
            break;
        }
        text = once;
    }
    text
}

fn unescaped_once(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((letter, end)) => {
                plain.push(letter);
                rest = &rest[end + 1..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain + rest
}

fn entity(name: &str) -> Option<char> {
    let code = name.strip_prefix('#').map(|number| match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    });
    match (code, name) {
        (Some(code), _) => char::from_u32(code.ok()?),
        (None, "amp") => Some('&'),
        (None, "lt") => Some('<'),
        (None, "gt") => Some('>'),
        (None, "quot") => Some('"'),
        (None, "apos" | "rsquo" | "lsquo") => Some('\''),
        (None, "nbsp") => Some(' '),
        _ => None,
    }
}

/// A date that there is. A time of day other than midnight may be the day before or after by another zone: that is none.
fn date(text: &str) -> Option<NaiveDate> {
    let text: String = text.nfkc().collect();
    let text = text.trim_matches(is_space);
    let day = text.get(..10).filter(|day| day.as_bytes()[4] == b'-').unwrap_or(text);
    let midnight = text[day.len()..].strip_prefix(['T', 't', ' ']).is_none_or(is_midnight);
    let form = if day.len() == 8 { "%Y%m%d" } else { "%Y-%m-%d" };
    let digits = day.bytes().filter(u8::is_ascii_digit).count() == 8 && matches!(day.len(), 8 | 10);
    let whole = day.len() == text.len() || text.len() > 11;
    let date = NaiveDate::parse_from_str(day, form).ok().filter(|_| midnight && digits && whole)?;
    YEARS.contains(&date.year()).then_some(date)
}

/// `00:00`, `00:00:00` or `00:00:00.000`, and a zone or none.
fn is_midnight(time: &str) -> bool {
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let hours = time.len() >= 5 && time.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.'));
    let offset = zone.len() >= 3 && zone[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    hours && (zone.is_empty() || matches!(zone, "Z" | "z") || offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compared(form: Form, sent: Value, shown: Value) -> Compared {
        let one = form.compare(Some(&sent), Some(&shown));
        assert_eq!(one, form.compare(Some(&shown), Some(&sent)), "{form:?} {sent} {shown}");
        one
    }

    #[test]
    fn seconds_are_the_day_that_they_begin_or_nothing_where_a_time_zone_may_have_moved_it() {
        // 2016-05-04T00:00:00Z
        let midnight = 1_462_320_000_i64;
        let compared = |sent: &str, shown: Value| Form::EpochDate.compare(Some(&json!(sent)), Some(&shown));
        assert_eq!(compared("20160504", json!(midnight)), Compared::Equal);
        assert_eq!(compared("2016-05-04", json!(midnight.to_string())), Compared::Equal);
        assert_eq!(compared("20160503", json!(midnight)), Compared::Differs);
        for hours in [-14, -5, 1, 12] {
            let shown = json!(midnight + hours * 3600);
            assert_eq!(compared("20160504", shown.clone()), Compared::NotShown, "{hours}");
            assert_eq!(compared("20160510", shown), Compared::Differs, "{hours}");
        }
        for unreadable in [json!("soon"), json!(1.5), json!(i64::MAX), json!(""), json!([midnight]), Value::Null] {
            assert_eq!(compared("20160504", unreadable.clone()), Compared::NotShown, "{unreadable}");
        }
        assert_eq!(compared("soon", json!(midnight)), Compared::NotShown);
    }

    #[test]
    fn dates_agree_across_their_spellings() {
        for shown in [
            json!("2015-03-14"),
            json!(20150314),
            json!(" 2015-03-14T00:00:00Z"),
            json!("2015-03-14T00:00:00.000+00:00"),
            json!("2015-03-14 00:00"),
            json!("2015-03-14T00:00-0500"),
            json!("２０１５０３１４"),
            json!("\u{a0}2015-03-14\u{200b}"),
        ] {
            assert_eq!(compared(Form::Date, json!("20150314"), shown.clone()), Compared::Equal, "{shown}");
        }
        assert_eq!(compared(Form::Date, json!("20150314"), json!("2015-03-15")), Compared::Differs);
    }

    #[test]
    fn a_date_that_is_none_never_differs() {
        for none in [
            json!("02.01.1990"),
            json!("19900102.0"),
            json!(19900102.0),
            json!("00000000"),
            json!("0001-01-01T00:00:00"),
            json!("9999-12-31"),
            json!("20150231"),
            json!("2015-3-14"),
            json!("2015-03-14T23:00:00Z"),
            json!("2015-03-14T05:00:00Z"),
            json!("2015-03-14x"),
            json!("2015-03-14T"),
            json!("2015-03-1４"),
            json!("201503"),
            json!("+2015031"),
            json!("1990/01/02"),
            json!(636249600),
            json!(-20150314),
            json!(["20150314"]),
            json!({"year": 2015}),
            json!("••••0314"),
            json!("20é50314é"),
            json!(true),
            json!(""),
            Value::Null,
        ] {
            let expected = if none == json!("2015-03-1４") { Compared::Equal } else { Compared::NotShown };
            assert_eq!(compared(Form::Date, json!("20150314"), none.clone()), expected, "{none}");
        }
    }

    #[test]
    fn names_agree_across_spaces_case_form_and_escapes() {
        for (sent, shown) in [
            ("Mary Ann", "mary\u{a0}ann"),
            ("Mary Ann", "  Mary \t Ann\u{3000}"),
            ("Mary Ann", "MaryAnn"),
            ("Mary Ann", "Mary&nbsp;Ann"),
            ("O'Neil", "O&#39;Neil"),
            ("O'Neil", "o&#x27;neil"),
            ("O'Neil", "O&apos;Neil"),
            ("O'Neil", "O&amp;#39;Neil"),
            ("O'Neil", "O\u{2019}Neil"),
            ("Tom & \"Jo\"", "Tom &amp; &quot;Jo&quot;"),
            ("Zoe\u{301}", "zoé"),
            ("STRASSE", "straße"),
            ("ﬁona", "Fiona"),
            ("Ann\u{200b}a", "Anna"),
            ("Jean\u{2011}Luc", "Jean-Luc"),
        ] {
            assert_eq!(compared(Form::Name, json!(sent), json!(shown)), Compared::Equal, "{sent} {shown}");
            assert_eq!(compared(Form::Key, json!(sent), json!(shown)), Compared::Equal, "{sent} {shown}");
            // As a text it is not the same, and may be what stood there before.
            assert_eq!(compared(Form::Text, json!(sent), json!(shown)), Compared::NotShown, "{sent} {shown}");
        }
        for other in ["Mary", "Mary Anne", "Mary & Ann", "&#;", "&unknown;", "&#x110000;"] {
            assert_eq!(compared(Form::Name, json!("Mary Ann"), json!(other)), expected(other), "{other}");
        }
        for none in
            [json!("***"), json!("-"), json!("Jos\u{fffd}"), json!(1.5), json!("\u{a0}"), json!([]), Value::Null]
        {
            assert_eq!(compared(Form::Name, json!("José"), none.clone()), Compared::NotShown, "{none}");
        }
    }

    fn expected(other: &str) -> Compared {
        if other == "&#;" { Compared::NotShown } else { Compared::Differs }
    }

    #[test]
    fn texts_and_sets_differ_by_more_than_how_they_are_written() {
        for (sent, shown, expected) in [
            (json!("Foo"), json!("Foo"), Compared::Equal),
            (json!("Foo"), json!("foo "), Compared::NotShown),
            (json!("Foo"), json!("bar"), Compared::Differs),
            (json!(2), json!(2), Compared::Equal),
            (json!(2), json!("2"), Compared::Equal),
            (json!(2), json!(2.0), Compared::NotShown),
            (json!(2), json!(3), Compared::Differs),
            (json!(0.5), json!(0.75), Compared::NotShown),
            (json!(true), json!(false), Compared::Differs),
            (json!({"a": 1}), json!({"a": 1}), Compared::Equal),
        ] {
            assert_eq!(compared(Form::Text, sent.clone(), shown.clone()), expected, "{sent} {shown}");
        }
        for (sent, shown, expected) in [
            (json!(["b", "a"]), json!(["a", "b", "b"]), Compared::Equal),
            (json!(["B", "a"]), json!(["b", "A"]), Compared::NotShown),
            (json!(["a"]), json!(["a", "b"]), Compared::Differs),
            (json!([1, 2]), json!([2.0, 1]), Compared::NotShown),
            (json!([]), json!(["a"]), Compared::Differs),
        ] {
            assert_eq!(compared(Form::Set, sent.clone(), shown.clone()), expected, "{sent} {shown}");
        }
    }

    #[test]
    fn what_is_not_there_on_one_side_is_not_shown() {
        for form in [Form::Text, Form::Name, Form::Date, Form::Key, Form::Set] {
            assert_eq!(form.compare(None, Some(&json!("20150314"))), Compared::NotShown);
            assert_eq!(form.compare(Some(&json!("20150314")), None), Compared::NotShown);
        }
    }
}
