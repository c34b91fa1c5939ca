//! JSON that says one thing only. Of a name that stands twice in an object one reader takes the first value and another
//! the last, so neither what a server answered nor what it made of a request can be known from such a text. Numbers keep
//! their digits: an id beyond 64 bits that was rounded is another record's id.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses JSON, refusing an object that says a name twice: which of the two holds cannot be known.
///
/// # Errors
/// What the bytes are instead, in words that follow "with".
pub fn parse(body: &[u8]) -> Result<Value, &'static str> {
    read::<true>(body).ok_or("a body that is no plain JSON")
}

/// Parses JSON as [`parse`] does, but keeps every value of a name that an object says twice, as an array: for those who
/// look for a personal value anywhere. `None` when it is no JSON.
pub fn every_value(body: &[u8]) -> Option<Value> {
    read::<false>(body)
}

fn read<const STRICT: bool>(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice::<Json<STRICT>>(body).ok().map(|json| json.0)
}

/// How serde_json hands a number over that 64 bits cannot hold: its digits in an object with this name alone. Every visitor
/// that makes values of its own must know it.
pub const NUMBER: &str = "$serde_json::private::Number";

struct Json<const STRICT: bool>(Value);

impl<'de, const STRICT: bool> Deserialize<'de> for Json<STRICT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor::<STRICT>).map(Json)
    }
}

struct JsonVisitor<const STRICT: bool>;

impl<'de, const STRICT: bool> Visitor<'de> for JsonVisitor<STRICT> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Json::<STRICT>(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == NUMBER && object.is_empty() {
                let digits: String = map.next_value()?;
                return digits.parse::<Number>().map(Value::Number).map_err(Error::custom);
            }
            let Json::<STRICT>(value) = map.next_value()?;
            match object.remove(&name) {
                Some(_) if STRICT => return Err(Error::custom("a name twice in one object")),
                Some(before) => object.insert(name, Value::Array(vec![before, value])),
                None => object.insert(name, value),
            };
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_keep_their_digits() {
        for digits in ["0", "-7", "9007199254740993", "18446744073709551617", "-9223372036854775809", "42.10"] {
            let read = parse(format!("{{\"a\":[{digits}]}}").as_bytes()).unwrap();
            assert_eq!(read["a"][0].to_string(), digits);
            assert_eq!(read.to_string(), format!("{{\"a\":[{digits}]}}"));
        }
        let long = "1".repeat(5000);
        assert_eq!(parse(long.as_bytes()).unwrap().to_string(), long);
    }

    #[test]
    fn a_name_twice_is_found_however_it_is_written_and_however_deep() {
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":{"c":[{"a":1,"b":2,"a":null}]}}]"#,
            "\u{feff}{\"a\":null,\"a\":null}",
            r#"{"$serde_json::private::Number":"1","a":2}"#,
            r#"{"a":2,"$serde_json::private::Number":"1","$serde_json::private::Number":"1"}"#,
            r#"{"$serde_json::private::Number":{"a":1}}"#,
            r#"{"$serde_json::private::Number":"x"}"#,
        ] {
            assert!(parse(twice.as_bytes()).is_err(), "{twice}");
        }
        assert!(parse(br#"{"a":{"a":1},"A":[{"a":1},{"a":2}]}"#).is_ok());
    }

    #[test]
    fn whoever_looks_for_a_value_sees_both_of_a_name_said_twice() {
        let read = every_value(br#"{"a":"x","b":{"a":1,"a":2,"a":3},"a":["y"]}"#).unwrap();
        assert_eq!(read, json!({"a": ["x", ["y"]], "b": {"a": [[1, 2], 3]}}));
        assert_eq!(every_value(b"{"), None);
    }
}
