//! JSON that says one thing, and that is held without a loss: no name twice in an object, no number that loses its digits.
//! A body that is neither stays the text that it is, wherever it comes from, so that whoever reads the row sees it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

/// Objects within objects, at the most.
const DEEPEST: usize = 100;

/// Whether a text is JSON that every reader understands alike and that `serde_json::Value` holds without a loss.
pub fn is_faithful(text: &str) -> bool {
    fn holds(raw: &str, depth: usize) -> bool {
        match raw.as_bytes().first() {
            _ if depth > DEEPEST => false,
            Some(b'{') => serde_json::from_str::<Members>(raw)
                .is_ok_and(|members| !members.twice && members.list.iter().all(|(_, raw)| holds(raw.get(), depth + 1))),
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(raw)
                .is_ok_and(|items| items.iter().all(|raw| holds(raw.get(), depth + 1))),
            Some(b'-' | b'0'..=b'9') => {
                serde_json::from_str::<Number>(raw).is_ok_and(|number| number.to_string() == raw)
            }
            _ => true,
        }
    }
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| holds(raw.get(), 0))
}

/// The members of an object, in their order.
pub struct Members<'a> {
    pub list: Vec<(String, &'a RawValue)>,
    /// A name is said twice.
    pub twice: bool,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut list = Vec::new();
                let mut names = std::collections::BTreeSet::new();
                let mut twice = false;
                while let Some((name, member)) = map.next_entry::<String, &'de RawValue>()? {
                    twice |= !names.insert(name.clone());
                    list.push((name, member));
                }
                Ok(Members { list, twice })
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost_is_seen() {
        assert!(is_faithful(r#"{"a":[1,-2,0.5,{"b":"1e5"}],"c":null}"#));
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"c":1,"c":2}}]"#, "{"] {
            assert!(!is_faithful(text), "{text}");
        }
        // Numbers keep their digits, whatever their size.
        for text in [r#"{"a":123456789012345678901}"#, r#"{"a":1.0000000000000000001}"#] {
            assert!(is_faithful(text), "{text}");
        }
    }
}
