//! HAR: one JSON document, of which one entry at a time is held, and of an entry nothing that belongs to the answer's
//! content or to the headers.

use std::fmt;
use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{Result, bail};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Found;
use super::file::{Bounded, Source};
use crate::ledger::import::Mark;
use crate::plan::strict::NUMBER;

/// The longest an entry may be in the file, with the content that is not kept.
const LONGEST_ENTRY: u64 = 512 << 20;

/// What is never read of an entry.
const LEFT: &[&str] = &["headers", "cookies", "content", "cache", "timings", "queryString", "params"];

/// Reads all entries. Their marks count entries; the bytes are known at the end only.
pub fn read(source: &Source, take: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let mut file = source.handle(0)?;
    let mut mark = [0; 3];
    let bom = file.read_exact(&mut mark).is_ok() && mark == *b"\xef\xbb\xbf";
    file.seek(SeekFrom::Start(if bom { 3 } else { 0 }))?;
    let (input, left) = Bounded::new(BufReader::with_capacity(1 << 18, file), LONGEST_ENTRY);
    let mut count = 0;
    let mut failed = None;
    let mut each = |value: Value| {
        left.set(LONGEST_ENTRY);
        count += 1;
        let found = Found { line: count, record: Ok(value), after: Some(Mark { bytes: 0, lines: count }) };
        take(found).map_err(|error| failed = Some(error)).is_ok()
    };
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, input));
    let read = At { keys: &["log", "entries"], each: &mut each }.deserialize(&mut parser).and_then(|()| parser.end());
    if let Some(error) = failed {
        return Err(error);
    }
    if let Err(error) = read {
        // Its own message may quote what was read.
        bail!(
            "failed to read {}: it is no whole HAR document (line {}, column {}, after {count} entries; what stands before is imported)",
            source.path.display(),
            error.line(),
            error.column()
        );
    }
    Ok(())
}

/// Goes down an object's keys to the list of entries.
struct At<'a> {
    keys: &'a [&'a str],
    each: &'a mut dyn FnMut(Value) -> bool,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keys.is_empty() { deserializer.deserialize_seq(self) } else { deserializer.deserialize_map(self) }
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a HAR document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.keys.split_first() else { return Err(A::Error::custom("an object")) };
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted && !found {
                found = true;
                map.next_value_seed(At { keys: rest, each: &mut *self.each })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::custom("log.entries is missing")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element_seed(Pruned)? {
            if !(self.each)(value) {
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// A value without what is never read.
struct Pruned;

impl<'de> DeserializeSeed<'de> for Pruned {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pruned {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Pruned)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == NUMBER && object.is_empty() {
                let digits: String = map.next_value()?;
                return digits.parse().map(Value::Number).map_err(A::Error::custom);
            }
            if LEFT.contains(&key.as_str()) {
                map.next_value::<IgnoredAny>()?;
            } else {
                let value = map.next_value_seed(Pruned)?;
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}
