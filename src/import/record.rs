//! A JSON object as it stands in a file, without a loss: numbers keep their digits, a body keeps its text, and a name that
//! is said twice is a fault and not whatever came last.
//!
//! # What is read although it is not JSON
//! Access logs hold what clients sent. Without `escape=json` nginx writes bytes as `\xHH`, and other logs let control
//! characters and bytes that are no UTF-8 through. Each stands within a string, so the record around it can be read; a
//! byte that is no UTF-8 becomes U+FFFD, and who reads a column with one is told.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Reject;
use crate::plan::faithful::Members;

/// Objects within objects, at the most.
const DEEPEST: usize = 100;

/// A record that was read.
#[derive(Debug)]
pub struct Record {
    pub value: Value,
    /// All of it, also what no column is mapped to: by this, records of the same second are told apart.
    pub whole: Vec<u8>,
    /// Some bytes were no UTF-8.
    pub lossy: bool,
    /// It had to be repaired first.
    pub repaired: bool,
}

/// Reads an object. What stands at one of `bodies`, each a path of names, stays the text that it is.
pub fn object(bytes: Vec<u8>, bodies: &[Vec<String>]) -> Result<Record, Reject> {
    let mut lossy = std::str::from_utf8(&bytes).is_err();
    let mut repaired = false;
    let mut read = parse(&String::from_utf8_lossy(&bytes), bodies);
    if matches!(read, Err(Reject::NoObject))
        && let Some(better) = repair(&bytes)
    {
        repaired = true;
        lossy |= std::str::from_utf8(&better).is_err();
        read = parse(&String::from_utf8_lossy(&better), bodies);
    }
    match read? {
        value @ Value::Object(_) => Ok(Record { value, whole: bytes, lossy, repaired }),
        _ => Err(Reject::NoObject),
    }
}

/// Reads a text that is JSON, as [`object`] does.
///
/// # Errors
/// [`Reject::NoObject`] when it is none; [`Reject::Twice`].
pub fn parse(text: &str, bodies: &[Vec<String>]) -> Result<Value, Reject> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| Reject::NoObject)?;
    value(raw.get(), &mut Vec::new(), bodies)
}

fn value<'a>(raw: &'a str, at: &mut Vec<String>, bodies: &[Vec<String>]) -> Result<Value, Reject> {
    if at.len() > DEEPEST {
        return Err(Reject::NoObject);
    }
    let is_body = || bodies.iter().any(|body| body == at);
    match raw.as_bytes().first() {
        Some(b'{' | b'[') if is_body() => Ok(Value::String(raw.to_owned())),
        Some(b'{') => {
            let members: Members<'a> = serde_json::from_str(raw).map_err(|_| Reject::NoObject)?;
            if members.twice {
                return Err(Reject::Twice);
            }
            let mut object = Map::new();
            for (name, member) in members.list {
                at.push(name);
                let member = value(member.get(), at, bodies)?;
                object.insert(at.pop().unwrap_or_default(), member);
            }
            Ok(Value::Object(object))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Reject::NoObject)?;
            at.push("[]".to_owned());
            let items = items.iter().map(|item| value(item.get(), at, bodies)).collect::<Result<_, _>>();
            at.pop();
            Ok(Value::Array(items?))
        }
        Some(b'-' | b'0'..=b'9') => Ok(number(raw)),
        _ => serde_json::from_str(raw).map_err(|_| Reject::NoObject),
    }
}

/// A number that is none of the machine's integers stays the text that it is.
fn number(raw: &str) -> Value {
    match (raw.parse::<i64>(), raw.parse::<u64>()) {
        (Ok(number), _) if number.to_string() == raw => number.into(),
        (_, Ok(number)) => number.into(),
        _ => Value::String(raw.to_owned()),
    }
}

/// Makes JSON of what nginx writes without `escape=json` (`\xHH`), of control characters within strings, and of halves of a
/// UTF-16 pair, as which Python's programs write bytes that are no UTF-8. `None`: there is nothing of that.
fn repair(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut better = Vec::with_capacity(bytes.len() + 16);
    let (mut within, mut changed) = (false, false);
    let mut rest = bytes;
    while let [byte, after @ ..] = rest {
        let length = if within { escape(rest) } else { 1 };
        match (within, byte, after) {
            (true, b'\\', [b'x', ..]) if length == 4 => escaped(&mut better, u8::try_from(hex(&rest[2..4])?).ok()?),
            // A byte that is no UTF-8 either: the record says so.
            (true, b'\\', [b'u', ..]) if length == 6 && matches!(hex(&rest[2..6])?, 0xd800..0xe000) => {
                better.push(0xff)
            }
            (true, 0..0x20, _) => escaped(&mut better, *byte),
            _ => {
                better.extend(&rest[..length]);
                within ^= *byte == b'"';
                rest = &rest[length..];
                continue;
            }
        }
        changed = true;
        rest = &rest[length..];
    }
    changed.then_some(better)
}

/// How long the character is that a text within a JSON string begins with, as it is written. A whole UTF-16 pair is one.
fn escape(text: &[u8]) -> usize {
    let unit =
        |at: usize| text.get(at..at + 6).filter(|text| text.starts_with(b"\\u")).and_then(|text| hex(&text[2..]));
    match text {
        [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => 4,
        [b'\\', b'u', ..] => match (unit(0), unit(6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(_), _) => 6,
            _ => 2,
        },
        [b'\\', _, ..] => 2,
        _ => 1,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// A byte of a text as it stands in JSON.
fn escaped(json: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => json.extend([b'\\', byte]),
        0..0x20 => json.extend(format!("\\u{byte:04x}").bytes()),
        _ => json.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, Reject> {
        object(text.as_bytes().to_vec(), &[vec!["body".to_owned()], vec!["a".to_owned(), "b".to_owned()]])
            .map(|record| record.value)
    }

    #[test]
    fn numbers_keep_their_digits_and_bodies_their_text() {
        let big = r#"{"id":123456789012345678901234567890,"n":7,"f":1.50,"e":1E5,"u":18446744073709551615,"m":-0}"#;
        let expected =
            json!({"id": "123456789012345678901234567890", "n": 7, "f": "1.50", "e": "1E5", "u": u64::MAX, "m": "-0"});
        assert_eq!(read(big).unwrap(), expected);
        let body = r#"{ "x": 1.0, "x": 99999999999999999999 }"#;
        assert_eq!(
            read(&format!(r#"{{"body":{body},"a":{{"b":[{body}]}}}}"#)).unwrap(),
            json!({"body": body, "a": {"b": format!("[{body}]")}})
        );
    }

    #[test]
    fn a_name_said_twice_is_a_fault() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#, r#"{"x":{"y":1,"y":2}}"#] {
            assert_eq!(read(text), Err(Reject::Twice), "{text}");
        }
        for text in
            ["{", "[1]", "7", "", r#"{"a":"\q"}"#, &format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200))]
        {
            assert_eq!(read(text), Err(Reject::NoObject), "{text}");
        }
    }

    #[test]
    fn what_logs_let_through_is_read() {
        for (bytes, expected, lossy, repaired) in [
            (b"{\"a\":\"F\\xfatbol \\x22q\\x22 \\x5C\\x0A\"}".as_slice(), "F\u{fffd}tbol \"q\" \\\n", true, true),
            (b"{\"a\":\"tab\there\"}", "tab\there", false, true),
            (b"{\"a\":\"\xfc\"}", "\u{fffd}", true, false),
            (b"{\"a\":\"\\\\x22\"}", "\\x22", false, false),
            (b"{\"a\":\"r\\udcff \\ud83d\\ude00 \\u00e9 \\ud83d\"}", "r\u{fffd} \u{1f600} \u{e9} \u{fffd}", true, true),
            (b"{\"a\":\"\\xC3\\xA9\"}", "\u{e9}", false, true),
        ] {
            let record = object(bytes.to_vec(), &[]).unwrap();
            assert_eq!((record.value, record.lossy, record.repaired), (json!({"a": expected}), lossy, repaired));
        }
    }
}
