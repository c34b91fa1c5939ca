//! Times and durations as files have them. A time that is misread makes a window seem over that is not, so what is no time
//! is refused and never guessed: a spreadsheet's serial number, a bare date, a rounded number, a zero date.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, NaiveDateTime};
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::Value;

use super::config::{Places, Table, places_or_table};
use crate::clock::Moment;

/// No request of before 2000 or after 2199 is in doubt; what says so is no time (`0001-01-01`, `1970-01-01`, `1899-12-30`).
const PLAUSIBLE: std::ops::Range<i64> = 946_684_800_000..7_258_118_400_000;

/// The longest that a request may have taken, in milliseconds: a day.
const LONGEST: i64 = 86_400_000;

const NGINX_LOCAL: &str = "%d/%b/%Y:%H:%M:%S %z";

/// How a time is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Form {
    /// RFC 3339 and how databases write it, nginx's local time, or a number since 1970 whose digits tell its unit.
    #[default]
    Usual,
    /// A number of this unit since 1970.
    Since(Unit),
    /// As chrono and `strftime` write it, with the offset of times that have none.
    Pattern(String, Option<FixedOffset>),
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    fn parse(text: &str) -> Option<Unit> {
        Some(match text {
            "s" => Unit::Seconds,
            "ms" => Unit::Milliseconds,
            "us" => Unit::Microseconds,
            "ns" => Unit::Nanoseconds,
            _ => return None,
        })
    }

    /// Nanoseconds in one.
    fn nanoseconds(self) -> i128 {
        match self {
            Unit::Seconds => 1_000_000_000,
            Unit::Milliseconds => 1_000_000,
            Unit::Microseconds => 1000,
            Unit::Nanoseconds => 1,
        }
    }

    /// Nanoseconds in a plain decimal number of them. `None` for anything else: an exponent is a rounded number's.
    fn of(self, text: &str) -> Option<i128> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 20 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let (whole, fraction) = (whole.parse::<i128>().ok()?, fraction.parse::<i128>().ok()?);
        Some(whole * self.nanoseconds() + fraction * self.nanoseconds() / 1_000_000_000)
    }

    /// A moment, rounded down.
    fn since_1970(self, text: &str) -> Option<Moment> {
        i64::try_from(self.of(text)?.div_euclid(1_000_000)).ok().map(Moment)
    }
}

/// Where a time stands and how it is written.
#[derive(Clone, Debug, Default)]
pub struct Time {
    pub places: Places,
    form: Form,
}

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub at: Moment,
    /// It may be up to a second later.
    pub whole_seconds: bool,
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        places_or_table(deserializer, Time::usual, Time::of_table)
    }
}

impl Time {
    /// A time in one of the usual forms.
    pub fn usual(places: Places) -> Time {
        Time { places, form: Form::Usual }
    }

    fn of_table(table: Table) -> Result<Time, String> {
        if table.unit.is_some() {
            return Err("a time has no `unit` (it has `format` and `offset`)".to_owned());
        }
        let offset = table
            .offset
            .as_deref()
            .map(|text| text.parse::<FixedOffset>().map_err(|_| "not an offset (write it like \"+01:00\")".to_owned()));
        let offset = offset.transpose()?;
        let form = match table.format.as_deref() {
            None | Some("rfc3339") => Form::Usual,
            Some("unix") => Form::Since(Unit::Seconds),
            Some("unix_ms") => Form::Since(Unit::Milliseconds),
            Some("unix_us") => Form::Since(Unit::Microseconds),
            Some("unix_ns") => Form::Since(Unit::Nanoseconds),
            Some(pattern) => {
                let items: Vec<Item> = StrftimeItems::new(pattern).collect();
                if items.iter().any(|item| matches!(item, Item::Error)) {
                    return Err(
                        "not a time's format (rfc3339, unix, unix_ms, unix_us, unix_ns, or one as of strftime)"
                            .to_owned(),
                    );
                }
                let zoned = ["%z", "%:z", "%::z", "%#z", "%s", "%+"].iter().any(|part| pattern.contains(part));
                if !zoned && offset.is_none() {
                    return Err("the format has no offset (add %z, or give `offset = \"+01:00\"`)".to_owned());
                }
                Form::Pattern(pattern.to_owned(), offset)
            }
        };
        Ok(Time { places: table.field, form })
    }

    /// The time of a record: `None` when it has none, `Err` when it cannot be read.
    pub fn read(&self, record: &Value) -> Option<Result<Read, ()>> {
        self.places.text(record).map(|text| self.form.read(text.trim()).ok_or(()))
    }
}

impl Form {
    fn read(&self, text: &str) -> Option<Read> {
        let at = match self {
            Form::Since(unit) => unit.since_1970(text)?,
            Form::Pattern(pattern, offset) => {
                let zoned = DateTime::parse_from_str(text, pattern).ok();
                let local =
                    || NaiveDateTime::parse_from_str(text, pattern).ok()?.and_local_timezone((*offset)?).single();
                Moment(zoned.or_else(local)?.timestamp_millis())
            }
            Form::Usual => {
                let local = || Some(Moment(DateTime::parse_from_str(text, NGINX_LOCAL).ok()?.timestamp_millis()));
                database(text).or_else(local).or_else(|| by_digits(text))?
            }
        };
        PLAUSIBLE.contains(&at.0).then_some(Read { at, whole_seconds: at.0 % 1000 == 0 })
    }
}

/// RFC 3339, and as databases, pandas and loggers write it: with a space for the `T`, a comma before the fraction, an
/// offset of hours alone or without its colon, ` UTC`, ` +0000 UTC`, or U+2212 for the minus. Never without an offset.
fn database(text: &str) -> Option<Moment> {
    let text = text.replace('\u{2212}', "-");
    let date = text.get(..10)?;
    let rest = text.get(10..)?.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, ':' | '.' | ','))?;
    let (time, zone) = rest.split_at(end);
    let zone = zone.trim();
    let zone = zone.strip_suffix("UTC").map(str::trim_end).filter(|zone| !zone.is_empty()).unwrap_or(zone);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let offset = match (zone, zone.len()) {
        ("Z" | "z" | "UTC" | "GMT", _) => "Z".to_owned(),
        (_, 3) if zone.starts_with(['+', '-']) && digits(&zone[1..]) => format!("{zone}:00"),
        (_, 5) if zone.starts_with(['+', '-']) && digits(&zone[1..]) => format!("{}:{}", &zone[..3], &zone[3..]),
        _ => zone.to_owned(),
    };
    let time = DateTime::parse_from_rfc3339(&format!("{date}T{}{offset}", time.replace(',', "."))).ok()?;
    Some(Moment(time.timestamp_millis()))
}

/// Seconds since 1970 have ten digits (2001 to 2286), and so on by the thousand. Fewer or others are a date, a serial
/// number, or something else.
fn by_digits(text: &str) -> Option<Moment> {
    let unit = match text.split('.').next()?.len() {
        10 => Unit::Seconds,
        13 => Unit::Milliseconds,
        16 => Unit::Microseconds,
        19 => Unit::Nanoseconds,
        _ => return None,
    };
    unit.since_1970(text)
}

/// Where a duration stands, and its unit.
#[derive(Clone, Debug)]
pub struct Length {
    pub places: Places,
    unit: Unit,
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Length, D::Error> {
        places_or_table(deserializer, Length::milliseconds, Length::of_table)
    }
}

impl Length {
    /// A duration in milliseconds.
    pub fn milliseconds(places: Places) -> Length {
        Length { places, unit: Unit::Milliseconds }
    }

    /// A duration in seconds.
    pub fn seconds(places: Places) -> Length {
        Length { places, unit: Unit::Seconds }
    }

    fn of_table(table: Table) -> Result<Length, String> {
        let unit = Unit::parse(table.unit.as_deref().unwrap_or("ms"))
            .ok_or_else(|| "the unit of a duration is \"ns\", \"us\", \"ms\" or \"s\"".to_owned())?;
        if table.format.is_some() || table.offset.is_some() {
            return Err("a duration has neither `format` nor `offset` (it has `unit`)".to_owned());
        }
        Ok(Length { places: table.field, unit })
    }

    /// Milliseconds, rounded up. `None` when there is none, which exporters also write as a negative number; `Err` when it
    /// is longer than a day or cannot be read.
    pub fn read(&self, record: &Value) -> Option<Result<i64, ()>> {
        let text = self.places.text(record)?;
        let text = text.trim();
        if text.strip_prefix('-').is_some_and(|text| self.unit.of(text).is_some()) {
            return None;
        }
        let ms = self.unit.of(text).map(|nanoseconds| -(-nanoseconds).div_euclid(1_000_000));
        // Languages write very small numbers so, and only those.
        let tiny =
            || text.contains("e-").then(|| text.parse::<f64>().ok().filter(|n| (0.0..0.001).contains(n))).flatten();
        let ms = ms.or_else(|| tiny().map(|_| 1));
        Some(ms.and_then(|ms| i64::try_from(ms).ok()).filter(|ms| *ms <= LONGEST).ok_or(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time(text: &str) -> Result<Time, String> {
        #[derive(Deserialize)]
        struct Holder {
            time: Time,
        }
        toml::from_str::<Holder>(&format!("time = {text}"))
            .map(|holder| holder.time)
            .map_err(|e| e.message().to_owned())
    }

    fn read(time: &Time, value: Value) -> Option<String> {
        Some(time.read(&json!({"t": value}))?.ok()?.at.to_string())
    }

    #[test]
    fn times_are_read_in_their_usual_forms() {
        let usual = time("\"t\"").unwrap();
        let noon = "2025-03-01T11:00:00.500Z";
        for written in [
            "2025-03-01T12:00:00.5+01:00",
            "2025-03-01T12:00:00.5+0100",
            "2025-03-01 12:00:00.500+01",
            "2025-03-01 12:00:00.5 +01",
            "2025-03-01 11:00:00.5 UTC",
            "2025-03-01 11:00:00.5004 +0000 UTC",
            "2025-03-01t11:00:00.500z",
            "2025-03-01 11:00:00,500Z",
            "2025-03-01T10:00:00.5\u{2212}01:00",
            "1740826800.5",
            "1740826800500",
            "1740826800500.0",
            "1740826800500123",
            "1740826800500123456",
        ] {
            assert_eq!(read(&usual, json!(written)).as_deref(), Some(noon), "{written}");
        }
        assert_eq!(read(&usual, json!(1_740_826_800_500_i64)).as_deref(), Some(noon));
        let local = read(&usual, json!("01/Mar/2025:12:00:00 +0100"));
        assert_eq!(local.as_deref(), Some("2025-03-01T11:00:00.000Z"));
        assert_eq!(usual.read(&json!({"t": "-"})), None);
        assert_eq!(usual.read(&json!({"t": "NULL"})), None);
    }

    #[test]
    fn what_is_no_time_is_never_one() {
        let usual = time("\"t\"").unwrap();
        for bad in [
            "2025-03-01 12:00:00",
            "2025-03-01T12:00:00",
            "noon",
            "-5",
            "45717.5",
            "46341",
            "20250301",
            "2025",
            "20250301120000",
            "1.7E+09",
            "1.7408304e+09",
            "1.74083E+12",
            "0",
            "1",
            "1970-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "1899-12-30T00:00:00Z",
            "2025-03-01T24:00:00Z",
            "2025-3-1T12:00:00Z",
            "9999-12-31T23:59:59Z",
            "infinity",
            "2025-03-01",
            "2025-03-01 12:00:00 CET",
            "01.03.2025 13:00",
            "+1740826800",
            "1740826800,5",
            "174082680",
            "17408268000",
            "2025-03-01T12:00:00+1",
            "2025-03-01T12:00:00é",
        ] {
            assert_eq!(usual.read(&json!({"t": bad})), Some(Err(())), "{bad}");
        }
        // Said or not, a unit that makes it another century's is none.
        let of = |format: &str| time(&format!("{{ field = \"t\", format = \"{format}\" }}")).unwrap();
        assert_eq!(of("unix_ms").read(&json!({"t": 1_740_826_800})), Some(Err(())));
        assert_eq!(of("unix").read(&json!({"t": 1_740_826_800_500_i64})), Some(Err(())));
        assert_eq!(read(&of("unix_us"), json!(1_740_826_800_500_999_i64)).as_deref(), Some("2025-03-01T11:00:00.500Z"));
        assert_eq!(read(&of("unix_ns"), json!("1740826800500999999")).as_deref(), Some("2025-03-01T11:00:00.500Z"));
    }

    #[test]
    fn a_format_needs_an_offset_from_somewhere() {
        let local = "{ field = \"t\", format = \"%Y-%m-%d %H:%M:%S\" }";
        assert!(time(local).unwrap_err().contains("has no offset"));
        let given = time(&local.replace(" }", ", offset = \"+01:00\" }")).unwrap();
        assert_eq!(read(&given, json!("2025-03-01 12:00:00")).as_deref(), Some("2025-03-01T11:00:00.000Z"));
        assert!(time("{ field = \"t\", format = \"%Q %z\" }").unwrap_err().contains("not a time's format"));
        assert!(time("{ field = \"t\", unit = \"s\" }").unwrap_err().contains("no `unit`"));
        assert!(time("{ fild = \"t\" }").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn durations_have_a_unit_and_an_end() {
        for (unit, value, expected) in [
            ("ms", json!(1500), Some(Ok(1500))),
            ("s", json!("30.0012"), Some(Ok(30_002))),
            ("us", json!(1_500_001), Some(Ok(1501))),
            ("ns", json!(30_001_234_567_i64), Some(Ok(30_002))),
            ("ms", json!(0), Some(Ok(0))),
            ("ms", json!(-1), None),
            ("ms", json!(null), None),
            ("ms", json!("-"), None),
            ("ms", json!("-x"), Some(Err(()))),
            ("ms", json!(30_001_234_567_i64), Some(Err(()))),
            ("ms", json!("0,512"), Some(Err(()))),
            ("ms", json!("1e3"), Some(Err(()))),
            ("s", json!("9.5e-05"), Some(Ok(1))),
            ("s", json!(86_401), Some(Err(()))),
        ] {
            let unit = Unit::parse(unit).unwrap();
            let length = Length { places: time("\"t\"").unwrap().places, unit };
            assert_eq!(length.read(&json!({"t": value})), expected, "{value} {unit:?}");
        }
    }
}
