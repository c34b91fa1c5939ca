//! Texts with `{variables}`, and how each is written into the place that it stands in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

/// The variables of one entry or lookup: of the plan's parameters, of the URL, `key`, `id`, `element`, `random`.
pub type Vars = BTreeMap<String, String>;

/// A text with `{variables}`, each with an escape where one is written: `{key|json}`. Literal braces are `{{` and `}}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String, Option<Escape>),
}

/// How a variable is written into the language that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Between the double quotes of JSON, or of a SCIM filter.
    Json,
    /// Between single quotes: `'` is doubled.
    Sql,
    /// As one segment of a path.
    Path,
    /// As it is, on purpose.
    Raw,
}

impl Escape {
    const ALL: [(&str, Escape); 4] =
        [("json", Escape::Json), ("sql", Escape::Sql), ("path", Escape::Path), ("raw", Escape::Raw)];

    fn write(self, value: &str) -> String {
        match self {
            Escape::Json => {
                let quoted = Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Escape::Sql => value.replace('\'', "''"),
            Escape::Path => percent_encode(value),
            Escape::Raw => value.to_owned(),
        }
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(literal) = ["{{", "}}"].iter().find(|literal| brace.starts_with(**literal)) {
                plain.push_str(&literal[..1]);
                rest = &brace[2..];
                continue;
            }
            if brace.starts_with('}') {
                return Err(format!(
                    "`{text}` closes a variable and does not open it (a brace itself is written twice)"
                ));
            }
            let close = brace.find('}').ok_or_else(|| {
                format!("`{text}` opens a variable and does not close it (a brace itself is written twice)")
            })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(variable(&brace[1..close])?);
            rest = &brace[close + 1..];
        }
        plain.push_str(rest);
        pieces.extend((!plain.is_empty()).then_some(Piece::Text(plain)));
        Ok(Template(pieces))
    }
}

/// What stands between braces: a name, and perhaps an escape behind a bar.
fn variable(text: &str) -> Result<Piece, String> {
    let (name, escape) = match text.split_once('|') {
        Some((name, escape)) => (name, Some(escape)),
        None => (text, None),
    };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(format!("`{{{name}}}` is not a variable; use letters, digits and underscores"));
    }
    let escape = escape.map(|written| {
        let known = Escape::ALL.into_iter().find(|(name, _)| *name == written);
        let unknown = || format!("`{{{text}}}` has an unknown escape (write json, sql, path or raw behind the bar)");
        known.map(|(_, escape)| escape).ok_or_else(unknown)
    });
    Ok(Piece::Variable(name.to_owned(), escape.transpose()?))
}

impl Template {
    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable(name, _) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// A variable with an escape, where none has a meaning.
    pub fn escaped(&self) -> Option<&str> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Variable(name, Some(_)) => Some(name.as_str()),
            Piece::Variable(_, None) | Piece::Text(_) => None,
        })
    }

    /// A variable that is a part of a longer text and is written into it as it is, without a word on how.
    pub fn unescaped_part(&self) -> Option<&str> {
        let bare = self.0.iter().find_map(|piece| match piece {
            Piece::Variable(name, None) => Some(name.as_str()),
            Piece::Variable(_, Some(_)) | Piece::Text(_) => None,
        });
        bare.filter(|_| self.0.len() > 1)
    }

    /// A variable between quotes that could close them.
    pub fn quoted(&self) -> Option<&str> {
        let mut open = None;
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => {
                    for quote in text.chars().filter(|letter| matches!(letter, '\'' | '"')) {
                        open = match open {
                            None => Some(quote),
                            Some(there) if there == quote => None,
                            there => there,
                        };
                    }
                }
                Piece::Variable(name, None) if open.is_some() => return Some(name.as_str()),
                Piece::Variable(..) => {}
            }
        }
        None
    }

    /// Fills the variables in, each by its escape, and then written by `write`. `None` when one is not known.
    pub fn fill(&self, vars: &Vars, write: impl Fn(&str) -> String) -> Option<String> {
        self.fill_by(vars, |value, escape| match escape {
            Some(escape) => write(&escape.write(value)),
            None => write(value),
        })
    }

    /// Fills the variables of a path in: each is a segment or a part of one, unless it says `raw`.
    pub fn fill_path(&self, vars: &Vars) -> Option<String> {
        self.fill_by(vars, |value, escape| match escape {
            Some(Escape::Raw) => value.to_owned(),
            None | Some(Escape::Path) => percent_encode(value),
            Some(escape) => percent_encode(&escape.write(value)),
        })
    }

    fn fill_by(&self, vars: &Vars, write: impl Fn(&str, Option<Escape>) -> String) -> Option<String> {
        self.0.iter().try_fold(String::new(), |text, piece| match piece {
            Piece::Text(piece) => Some(text + piece),
            Piece::Variable(name, escape) => Some(text + &write(vars.get(name)?, *escape)),
        })
    }

    /// As it is written in the plan, with the given parameters filled in.
    pub fn shown(&self, params: &Vars) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Variable(name, _) => params.get(name).cloned().unwrap_or_else(|| format!("{{{name}}}")),
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

/// JSON in which every text is a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Json {
    Text(Template),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
    /// A number, true or false.
    Constant(Value),
}

impl TryFrom<Value> for Json {
    type Error = String;

    fn try_from(value: Value) -> Result<Json, String> {
        Ok(match value {
            Value::String(text) => Json::Text(Template::try_from(text)?),
            Value::Array(items) => Json::List(items.into_iter().map(Json::try_from).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let field = |(name, value)| Ok((name, Json::try_from(value)?));
                Json::Object(fields.into_iter().map(field).collect::<Result<_, String>>()?)
            }
            constant => Json::Constant(constant),
        })
    }
}

impl Json {
    /// Fills the variables of all its texts in; one that is not known leaves an empty text.
    pub fn fill(&self, vars: &Vars) -> Value {
        match self {
            Json::Text(text) => Value::String(text.fill(vars, str::to_owned).unwrap_or_default()),
            Json::List(items) => items.iter().map(|item| item.fill(vars)).collect(),
            Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value.fill(vars))).collect(),
            Json::Constant(value) => value.clone(),
        }
    }

    /// All its texts.
    pub fn texts(&self) -> Vec<&Template> {
        match self {
            Json::Text(text) => vec![text],
            Json::List(items) => items.iter().flat_map(Json::texts).collect(),
            Json::Object(fields) => fields.values().flat_map(Json::texts).collect(),
            Json::Constant(_) => Vec::new(),
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

/// What a value may not stand for itself in a path segment or a query: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Decodes `%XX`; `None` when it is not UTF-8 then.
pub fn percent_decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// Encodes a value for a path segment or a query.
pub fn percent_encode(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn templates_reject_what_is_no_variable() {
        for wrong in ["/a/{b", "/a/{}", "/a/b}", "{a}}", "{a b}", "{a|}", "{a|xml}", "{|json}", "{a|json|sql}", "{"] {
            assert!(Template::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_variable_is_written_as_its_place_needs_it() {
        let key = r#"O'Hara "x" \ {é}"#;
        let vars = Vars::from([("key".to_owned(), key.to_owned())]);
        let filled = |text: &str| template(text).fill(&vars, str::to_owned).unwrap();
        assert_eq!(filled("name eq \"{key|json}\""), r#"name eq "O'Hara \"x\" \\ {é}""#);
        assert_eq!(filled("name = '{key|sql}'"), r#"name = 'O''Hara "x" \ {é}'"#);
        assert_eq!(filled("{key|raw}{{key}}{{{key}}}"), format!("{key}{{key}}{{{key}}}"));
        assert_eq!(filled("{key|path}"), percent_encode(key));
        let path = |text: &str| template(text).fill_path(&vars).unwrap();
        assert_eq!(path("/a/{key}/b"), format!("/a/{}/b", percent_encode(key)));
        assert_eq!(path("/a('{key|sql}')"), format!("/a('{}')", percent_encode(&key.replace('\'', "''"))));
        assert_eq!(path("/a/{key|raw}"), format!("/a/{key}"));
    }

    #[test]
    fn a_variable_that_could_leave_its_place_is_found() {
        for (text, part, quoted) in [
            ("{key}", false, false),
            ("a {key}", true, false),
            ("a eq \"{key}\"", true, true),
            ("a eq '{key}'", true, true),
            ("a eq 'x {key} y'", true, true),
            ("a eq 'x' or {key}", true, false),
            ("a eq \"{key|json}\"", false, false),
            ("{key|raw} {id}", true, false),
        ] {
            let template = template(text);
            assert_eq!((template.unescaped_part().is_some(), template.quoted().is_some()), (part, quoted), "{text}");
        }
    }

    #[test]
    fn encoding_comes_back() {
        for text in ["a@b.c", "ä/ö?#&=+ %", "x"] {
            assert_eq!(percent_decode(&percent_encode(text)).as_deref(), Some(text));
        }
        assert_eq!(percent_decode("100%"), Some("100%".into()));
        assert_eq!(percent_decode("%ff"), None);
    }
}
