//! The small parts that plans are written in: JSON paths, names of headers, normalisations. Each is checked where it is
//! read, so that a mistake is told with its line.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;
use unicode_normalization::UnicodeNormalization;

use crate::clock::Moment;

/// A JSON path (RFC 9535).
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Path(JsonPath);

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Brackets within brackets of a path, at the most: with each filter within a filter its parser takes twice the time.
const DEEPEST: usize = 8;

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Path, String> {
        // What the parser itself would not survive, or not in time.
        parsable(&text).map_err(|why| format!("`{text}` is not a JSON path that can be used ({why})"))?;
        JsonPath::parse(&text).map(Path).map_err(|error| {
            format!("`{text}` is not a JSON path ({error}); write it as in RFC 9535, like `$.principal.email`")
        })
    }
}

impl Path {
    /// Whether it names one place, and not each of several: no wildcard, filter, slice, list of names or descent in it.
    pub fn names_one_place(&self) -> bool {
        let (bare, _) = outside_quotes(&self.to_string());
        !bare.contains(['*', '?', ':', ',']) && !bare.contains("..")
    }

    /// The values at the path; null counts as not there.
    pub fn all<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        self.0.query(document).all().into_iter().filter(|value| !value.is_null()).collect()
    }

    /// It is the document itself.
    pub fn is_root(&self) -> bool {
        self.0.to_string() == "$"
    }

    /// Where the values stand, as JSON pointers.
    pub fn places(&self, document: &Value) -> Vec<String> {
        let located = self.0.query_located(document);
        let there = located.into_iter().filter(|node| !node.node().is_null());
        there.map(|node| node.location().to_json_pointer()).collect()
    }

    /// The first value at the path.
    pub fn first<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.all(document).into_iter().next()
    }

    /// The text or number at the path, as text.
    pub fn text(&self, document: &Value) -> Option<String> {
        self.first(document).and_then(scalar)
    }

    /// The id or key at the path.
    ///
    /// # Errors
    /// As [`identifier`].
    pub fn identifier(&self, document: &Value) -> Result<Option<String>, &'static str> {
        self.first(document).map_or(Ok(None), identifier)
    }
}

/// A text or a whole number that names a record. An empty text, an array or an object is as good as none.
///
/// # Errors
/// What the value is instead, when servers write it in more than one way, so that another record may bear the same text.
pub fn identifier(value: &Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Number(number) if !is_whole(number) => Err("a number with a fraction or an exponent"),
        Value::Bool(_) => Err("true or false"),
        _ => Ok(scalar(value)),
    }
}

/// Written with digits alone, so that every reader sees the same number. Of -0 some make 0.
pub fn is_whole(number: &serde_json::Number) -> bool {
    let text = number.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    text != "-0" && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Refuses a text that ends within quotes, where the parser panics in the midst of an escape, and one that nests so deep
/// that it takes all the time (filters within filters) or the stack.
fn parsable(path: &str) -> Result<(), String> {
    let (bare, ends_within) = outside_quotes(path);
    let mut depth = 0_usize;
    for letter in bare.chars() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("its brackets nest deeper than {DEEPEST}"));
        }
    }
    if ends_within { Err("it ends within quotes".to_owned()) } else { Ok(()) }
}

/// A path without what stands within quotes, and whether it ends within them.
fn outside_quotes(path: &str) -> (String, bool) {
    let (mut quote, mut bare) = (None, String::new());
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => {
                quote = None;
                bare.push(letter);
            }
            (Some(_), '\\') => drop(letters.next()),
            (Some(_), _) => {}
            (None, _) => {
                quote = matches!(letter, '\'' | '"').then_some(letter);
                bare.push(letter);
            }
        }
    }
    (bare, quote.is_some())
}

/// A scalar as text; an empty text is as good as none.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Writes a value into a single-quoted JSON path literal.
pub fn path_literal(value: &str) -> String {
    value.chars().fold(String::new(), |mut text, c| {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
        text
    })
}

/// Headers that the client writes by itself, or that change what an answer means.
const OF_THE_CLIENT: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "range",
    "if-none-match",
];

/// Whether a configuration or a plan may give a header of this name (RFC 9110, 5.6.2).
///
/// # Errors
/// Why not, in words.
pub fn header_name(name: &str) -> Result<(), String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(letter) {
        return Err(format!("`{name}` is not the name of a header"));
    }
    match OF_THE_CLIENT.contains(&name.to_ascii_lowercase().as_str()) {
        true => {
            Err(format!("`{name}` cannot be given: the client writes it by itself, or it changes what answers mean"))
        }
        false => Ok(()),
    }
}

/// Whether a text can stand in a header: visible ASCII, spaces and tabs.
pub fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

/// How a value is made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// Without white space at both ends.
    Trim,
    /// Unicode NFC and full case folding.
    Casefold,
    /// Without dots and without `+…` in the local part of a Gmail address.
    Gmail,
}

/// Applies a plan's normalisation to a key.
pub fn normalise(steps: &[Normalisation], value: &str) -> String {
    steps.iter().fold(value.to_owned(), |value, step| match step {
        Normalisation::Trim => value.trim().to_owned(),
        Normalisation::Casefold => casefold(&value),
        Normalisation::Gmail => gmail(value),
    })
}

fn casefold(value: &str) -> String {
    if value.is_ascii() {
        return value.to_ascii_lowercase();
    }
    let nfc: String = value.nfc().collect();
    unicase::UniCase::unicode(nfc.as_str()).to_folded_case().nfc().collect()
}

fn gmail(value: String) -> String {
    match value.rsplit_once('@') {
        Some((local, domain)) if ["gmail.com", "googlemail.com"].contains(&domain.to_ascii_lowercase().as_str()) => {
            let local = local.split('+').next().unwrap_or(local).replace('.', "");
            format!("{local}@gmail.com")
        }
        _ => value,
    }
}

/// A time as servers write it: RFC 3339, or milliseconds or seconds since 1970.
pub fn moment(value: &Value) -> Option<Moment> {
    match value {
        Value::String(text) => Moment::parse(text),
        Value::Number(number) => {
            let number = number.as_i64()?;
            // Seconds until the year 5138, milliseconds from 1973 on.
            Some(Moment(if number < 100_000_000_000 { number.checked_mul(1000)? } else { number }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_that_its_parser_would_not_survive_is_a_mistake() {
        for path in ["$[?\"2n\\u", "$['\\ud83d", "$['\\", "$['a", "$[\"\\ud83d\\u", "$['a\\'"] {
            let said = Path::try_from(path.to_owned()).unwrap_err();
            assert!(said.contains("ends within quotes"), "{said}");
        }
        let deep = |open: &str, close: &str, times| format!("$[?{}@.a{}]", open.repeat(times), close.repeat(times));
        for (open, close) in [("(", ")"), ("!(", ")"), ("@[?", "]"), ("length(", ")")] {
            let said = Path::try_from(deep(open, close, 10_000)).unwrap_err();
            assert!(said.contains("nest deeper than 8"), "{open}");
        }
        assert!(Path::try_from(deep("@[?", "]", 7)).is_ok());
        for path in ["$['a\\'b']", "$[\"a'b\"]", "$['a\"b']", "$['\\\\']", "$['\\uD83D\\uDE00']"] {
            assert!(Path::try_from(path.to_owned()).is_ok(), "{path}");
        }
    }

    #[test]
    fn keys_are_normalised_as_the_plan_says() {
        use Normalisation::*;
        assert_eq!(normalise(&[Trim, Casefold], "  Ann@Example.COM "), "ann@example.com");
        assert_eq!(normalise(&[Casefold], "STRASSE"), normalise(&[Casefold], "straße"));
        assert_eq!(normalise(&[Casefold, Gmail], "A.n.n+kid@GoogleMail.com"), "ann@gmail.com");
        assert_eq!(normalise(&[Gmail], "a.b@example.com"), "a.b@example.com");
    }

    #[test]
    fn a_literal_cannot_leave_its_quotes() {
        let hostile = "x'] | $..[?@.a=='\\";
        let path = format!("$.features[?@.identifier=='{}'].state", path_literal(hostile));
        assert!(Path::try_from(path).unwrap().all(&json!({"features": [{"identifier": "y", "state": 1}]})).is_empty());
    }
}
