//! The small parts that plans are written in: JSON paths, templates, normalisations. Each is checked where it is read, so
//! that a mistake is told with its line.

use std::borrow::Cow;
use std::collections::BTreeMap;
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
    /// The values at the path; null counts as not there.
    pub fn all<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        self.0.query(document).all().into_iter().filter(|value| !value.is_null()).collect()
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
    let (mut quote, mut depth) = (None, 0_usize);
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), '\\') => drop(letters.next()),
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        if depth > DEEPEST {
            return Err(format!("its brackets nest deeper than {DEEPEST}"));
        }
    }
    if quote.is_some() { Err("it ends within quotes".to_owned()) } else { Ok(()) }
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

/// The variables of one entry or lookup: of the plan's parameters, of the URL, `key`, `id`, `element`, `random`.
pub type Vars = BTreeMap<String, String>;

/// A text with `{variables}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            let close =
                rest[open..].find('}').ok_or_else(|| format!("`{text}` opens a variable and does not close it"))?
                    + open;
            let name = &rest[open + 1..close];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("`{{{name}}}` is not a variable; use letters, digits and underscores"));
            }
            pieces.extend((open > 0).then(|| Piece::Text(rest[..open].to_owned())));
            pieces.push(Piece::Variable(name.to_owned()));
            rest = &rest[close + 1..];
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
        Ok(Template(pieces))
    }
}

impl Template {
    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Fills the variables in, each written by `write`. `None` when one is not known.
    pub fn fill(&self, vars: &Vars, write: impl Fn(&str) -> String) -> Option<String> {
        self.0.iter().try_fold(String::new(), |text, piece| match piece {
            Piece::Text(piece) => Some(text + piece),
            Piece::Variable(name) => Some(text + &write(vars.get(name)?)),
        })
    }

    /// As it is written in the plan, with the given parameters filled in.
    pub fn shown(&self, params: &Vars) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Variable(name) => params.get(name).cloned().unwrap_or_else(|| format!("{{{name}}}")),
            })
            .collect()
    }

    /// Matches a URL's path segment by segment and captures its variables, percent-decoded. A parameter must be equal. A
    /// slash at the end, or one doubled, is no segment, here and there.
    pub fn captures(&self, path: &str, params: &Vars) -> Option<Vars> {
        let plain = |path: &str| !path.contains("//") && !path.ends_with('/');
        if !path.contains('%') && plain(path) {
            // Most templates are told apart by their first piece, without taking anything to pieces.
            match &self.0[..] {
                [Piece::Text(text)] if plain(text) => return (path == text).then(|| params.clone()),
                [Piece::Text(text), ..]
                    if !text.contains("//") && !path.starts_with(&text[..text.rfind('/').unwrap_or(0)]) =>
                {
                    return None;
                }
                _ => {}
            }
        }
        let template = self.shown(params);
        let segments = |path| str::split(path, '/').filter(|segment: &&str| !segment.is_empty());
        let (mut ours, mut theirs) = (segments(&template), segments(path));
        let mut vars = params.clone();
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Some(vars),
                (Some(ours), Some(theirs)) => match ours.strip_prefix('{').and_then(|v| v.strip_suffix('}')) {
                    Some(name) => {
                        let value = percent_decode(theirs)?;
                        vars.insert(name.to_owned(), Some(value).filter(|v| !v.is_empty())?);
                    }
                    None if percent_decode(theirs)? == ours => {}
                    None => return None,
                },
                _ => return None,
            }
        }
    }
}

/// A path in which no slash stands twice.
pub fn single_slashes(path: &str) -> Cow<'_, str> {
    let mut path = Cow::Borrowed(path);
    while path.contains("//") {
        path = Cow::Owned(path.replace("//", "/"));
    }
    path
}

/// Decodes `%XX`; `None` when it is not UTF-8 then.
pub fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = || u8::from_str_radix(std::str::from_utf8(bytes.get(i + 1..i + 3)?).ok()?, 16).ok();
        match (bytes[i], hex()) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                i += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

/// Encodes a value for a path segment or a query: everything but RFC 3986's unreserved characters.
pub fn percent_encode(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
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

    fn template(text: &str) -> Template {
        Template::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn templates_capture_decoded_segments_and_compare_parameters() {
        let params = Vars::from([("service".into(), "acme".into())]);
        let path = template("/s2s/{service}/accounts/eid/{eid}");
        let vars = path.captures("/s2s/acme/accounts/eid/kid%201", &params).unwrap();
        assert_eq!(vars["eid"], "kid 1");
        assert_eq!(path.captures("/s2s/other/accounts/eid/1", &params), None);
        assert_eq!(path.captures("/s2s/acme/accounts/eid/", &params), None);
        assert_eq!(path.captures("/s2s/acme/accounts/eid/1/x", &params), None);
    }

    #[test]
    fn a_path_matches_with_and_without_a_slash_at_its_end() {
        let none = Vars::new();
        for ours in ["/api/account", "/api/account/", "/api//account"] {
            let ours = template(ours);
            for theirs in ["/api/account", "/api/account/", "/api//account", "//api/account//", "/api/acc%6Funt"] {
                assert!(ours.captures(theirs, &none).is_some(), "{theirs}");
            }
            for other in ["/api/accounts", "/api/account/x", "/api", "/api/Account", "/api%2Faccount", "/"] {
                assert_eq!(ours.captures(other, &none), None, "{other}");
            }
        }
        let by_id = template("/api/account/{id}/");
        assert_eq!(by_id.captures("/api//account/7/", &none).unwrap()["id"], "7");
        assert_eq!(by_id.captures("/api/account//", &none), None);
    }

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
    fn templates_reject_what_is_no_variable() {
        assert!(Template::try_from("/a/{b".to_owned()).is_err());
        assert!(Template::try_from("/a/{}".to_owned()).is_err());
    }

    #[test]
    fn encoding_comes_back() {
        for text in ["a@b.c", "ä/ö?#&=+ %", "x"] {
            assert_eq!(percent_decode(&percent_encode(text)).as_deref(), Some(text));
        }
        assert_eq!(percent_decode("100%"), Some("100%".into()));
        assert_eq!(percent_decode("%ff"), None);
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
