//! A person as somebody names them, and whether a text speaks of that person, in whichever way it was written.
//!
//! Texts are read as they stand, percent-decoded once and twice, with `+` for a space, and with JSON's escapes undone, in
//! any letters. What stands directly beside a name says whether it is another, longer one: docs/CHILDREN.md has the rule.

use std::collections::BTreeSet;

use serde_json::Value;

use super::parts::{normalise, scalar};
use super::{Reader, strict};
use crate::evidence::KeyDigest;
use crate::mask::HIDDEN;

/// Shorter names that are no addresses stand in other words by chance, in letters.
const SHORTEST_WITHIN: usize = 8;

/// So often a text is decoded, one way upon the other.
const DECODED: usize = 2;

/// A person as somebody names them: an email, a user name, an id of the partner's or of PRIVO's.
pub struct Subject<'a> {
    reader: &'a Reader<'a>,
    /// As it was given, without white space at both ends.
    given: String,
    small: String,
}

impl<'a> Subject<'a> {
    /// Of a text that somebody typed; `None` when it is empty.
    pub fn new(reader: &'a Reader<'a>, given: &str) -> Option<Subject<'a>> {
        let given = given.trim().to_owned();
        let small = given.to_lowercase();
        (!given.is_empty()).then_some(Subject { reader, given, small })
    }

    /// The links of the keys that it may be.
    pub fn group_keys(&self) -> BTreeSet<KeyDigest> {
        self.reader.links_of(&self.given)
    }

    /// The forms in which the plan knows it as a key.
    pub fn spellings(&self) -> BTreeSet<String> {
        let forms = self.reader.plan.lookups.values().map(|lookup| normalise(&lookup.normalise, &self.given));
        forms.chain([self.given.clone()]).collect()
    }

    /// Whether a value names it: is it, in any of its written forms, or holds it beside other text.
    pub fn is_named_by(&self, value: &str) -> bool {
        readings(value).iter().any(|text| self.is(text) || self.stands_within(text))
    }

    /// Whether a text that people or programs wrote names it: as [`Subject::is_named_by`], and a short one as a word of its
    /// own.
    pub fn is_named_in(&self, text: &str) -> bool {
        self.is_named_by(text)
            || readings(text).iter().any(|text| text.split_whitespace().any(|word| word.to_lowercase() == self.small))
    }

    /// Whether a request with this URL and this body names it: in a part of the URL, in a value or a name of the body.
    pub fn in_request(&self, url: &str, body: &str) -> bool {
        let user = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()?.rsplit_once('@'));
        let user = user.is_some_and(|(user, _)| user.split(':').any(|part| self.is_named_by(part)));
        let of_form = |text: &str| text.split(['?', '#', '&', '=', '/']).any(|part| self.is_named_by(part));
        user || self.is_named_by(url)
            || of_form(url)
            || match strict::every_value(body.as_bytes()) {
                Some(body) => self.in_value(&body),
                None => self.is_named_in(body) || of_form(body),
            }
    }

    fn in_value(&self, value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| self.in_value(item)),
            Value::Object(fields) => fields.iter().any(|(name, item)| self.is_named_by(name) || self.in_value(item)),
            _ => scalar(value).is_some_and(|text| self.is_named_by(&text)),
        }
    }

    /// A text without the words that name it; without any word where they do so only together.
    pub fn removed_from(&self, text: &str) -> String {
        let word = |word| if self.is_named_in(word) { HIDDEN } else { word };
        let left = text.split(' ').map(word).collect::<Vec<_>>().join(" ");
        if self.is_named_in(&left) { HIDDEN.to_owned() } else { left }
    }

    /// Whether a value is this subject under any of the plan's normalisations.
    fn is(&self, value: &str) -> bool {
        let same = |lookup: &super::Lookup| {
            let ours = normalise(&lookup.normalise, &self.given);
            !ours.is_empty() && ours == normalise(&lookup.normalise, value)
        };
        value.trim().to_lowercase() == self.small || self.reader.plan.lookups.values().any(same)
    }

    /// Whether a text holds it and not a longer name. A short one that is no address says too little for that.
    fn stands_within(&self, text: &str) -> bool {
        let address = self.small.contains('@');
        if !address && self.small.chars().count() < SHORTEST_WITHIN {
            return false;
        }
        let text = text.to_lowercase();
        // Within an address these often join what a program put beside it; within other names they join the name.
        let joins = |c: char| part_of_a_name(c) || (!address && "_-+%".contains(c));
        text.match_indices(&self.small).any(|(at, found)| {
            let (mut before, mut after) = (text[..at].chars().rev(), text[at + found.len()..].chars());
            let longer_before = match before.next() {
                Some('.') => before.next().is_some_and(part_of_a_name),
                next => next.is_some_and(joins),
            };
            // No top level domain is a number.
            let longer_after = match after.next() {
                Some('.') => after.next().is_some_and(|c| if address { c.is_alphabetic() } else { part_of_a_name(c) }),
                next => next.is_some_and(joins),
            };
            !longer_before && !longer_after
        })
    }
}

/// A letter or a digit: directly beside a name it makes another one. Not in writings without capitals, which have no space
/// between words.
fn part_of_a_name(c: char) -> bool {
    c.is_numeric() || c.is_lowercase() || c.is_uppercase()
}

/// A text in every way in which it may be meant: as it is, and with what was encoded in it, once and twice.
pub fn readings(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([text.to_owned()]);
    for _ in 0..DECODED {
        let more: Vec<String> = all
            .iter()
            .filter(|text| text.contains(['%', '+', '\\']))
            .flat_map(|text| [decoded(text), decoded(&text.replace('+', " ")), unescaped(text)])
            .collect();
        all.extend(more);
    }
    all
}

/// Percent-decoded; what makes no text stays unreadable by itself.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// With the escapes of JSON undone, as far as they are any.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut left = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let code =
            part.strip_prefix('u').and_then(|rest| rest.get(..4)).and_then(|four| u32::from_str_radix(four, 16).ok());
        if let Some(letter) = code.and_then(char::from_u32) {
            left.push(letter);
            left.push_str(&part[5..]);
        } else if part.is_empty() {
            // An escaped backslash; what follows it is text.
            left.push('\\');
            left.push_str(parts.next().unwrap_or_default());
        } else if part.starts_with(['n', 'r', 't', 'b', 'f']) {
            left.push(' ');
            left.push_str(&part[1..]);
        } else {
            left.push_str(part);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::plan::{Plan, SHIPPED};

    fn with(given: &str, holds: impl Fn(&Subject)) {
        let plan = Plan::load("test", SHIPPED[0].1, &super::super::template::Vars::new()).unwrap();
        let server = Url::parse("http://127.0.0.1:9").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        holds(&Subject::new(&reader, given).unwrap());
    }

    #[test]
    fn an_address_is_found_in_every_written_form() {
        with(" Ann@Example.com ", |ann| {
            for text in [
                "ann@example.com",
                "ANN@EXAMPLE.COM",
                "mail ann@example.com, please",
                "<ann@example.com>",
                "mailto:ann@example.com",
                "reg-ann@example.com",
                "reg_ann@example.com",
                "ann@example.com_1",
                "ann@example.com-1",
                "ann@example.com.1",
                "ann@example.com/7",
                "email=ann@example.com",
                "ann%40example.com",
                "reg-ann%40example%2Ecom_1",
                "ann%2540example.com",
                "x%20ann%40example.com",
                "to+ann%40example.com+now",
                r"ann\u0040example.com",
                r"ann\\u0040example.com",
                r#"{\"email\":\"ann@example.com\"}"#,
                "no answer for ann@example.com.",
                "...ann@example.com...",
                "邮箱ann@example.com不存在",
            ] {
                assert!(ann.is_named_by(text) && ann.is_named_in(text), "{text}");
            }
        });
    }

    #[test]
    fn a_longer_address_is_another_persons() {
        with("ann@example.com", |ann| {
            for text in [
                "joann@example.com",
                "jo.ann@example.com",
                "2ann@example.com",
                "éann@example.com",
                "jo%61nn@example.com",
                "ann@example.com.au",
                "ann@example.community",
                "ann@example.com2",
                "ann@example.org",
                "ann",
            ] {
                assert!(!ann.is_named_by(text) && !ann.is_named_in(text), "{text}");
            }
        });
    }

    #[test]
    fn a_request_names_it_wherever_it_stands() {
        with("ann@example.com", |ann| {
            for (url, body) in [
                ("http://h/a?email=ann%40example.com", ""),
                ("http://h/a/ANN@example.com/b", ""),
                ("http://ann%40example.com:x@h/a", ""),
                ("http://x:ann%40example.com@h/a", ""),
                ("http://h", r#"{"minors":[{"parent":"ANN@EXAMPLE.COM"}]}"#),
                ("http://h", r#"{"ann@example.com":{"consent":true}}"#),
                ("http://h", r#"{"of:ann%40example.com":1}"#),
                ("http://h", r#"{"note":"mail ann@example.com, please"}"#),
                ("http://h", r#"{"email":"ann\u0040example.com","email":"bob@example.com"}"#),
                ("http://h", r#"{"nested":"{\"email\":\"ann\\u0040example.com\"}"}"#),
                ("http://h", "email=ann%40example.com&name=Ann"),
                ("http://h", "not JSON ann@example.com"),
            ] {
                assert!(ann.in_request(url, body), "{url} {body}");
            }
            for (url, body) in [
                ("http://h/ann", r#"{"email":"joann@example.com.au"}"#),
                ("http://joann%40example.com:x@h/a", "email=joann%40example.com"),
            ] {
                assert!(!ann.in_request(url, body), "{url} {body}");
            }
        });
    }

    #[test]
    fn a_name_that_is_no_address_is_found_alone() {
        with("42", |short| {
            assert!(short.in_request("http://h/eid/42", "") && short.in_request("http://h", r#"{"eid":42}"#));
            assert!(short.in_request("http://42:x@h/", "") && short.in_request("http://h", "eid=42&x=1"));
            assert!(!short.in_request("http://h/eid/142", r#"{"note":"call 42 times","birth":"19420101"}"#));
            assert!(short.is_named_in("closed, is 42") && !short.is_named_in("id-42"));
        });
        with("annabelle", |name| {
            assert!(name.is_named_by("user:annabelle:1") && name.is_named_in("that is Annabelle."));
            for other in ["annabelle-smith", "annabelle.smith", "my_annabelle", "annabelles"] {
                assert!(!name.is_named_in(other), "{other}");
            }
        });
    }

    #[test]
    fn a_text_loses_the_words_that_name_it() {
        with("ann@example.com", |ann| {
            let left = ann.removed_from("spoke with ann%40example.com, who is joann@example.org's mother");
            assert_eq!(left, format!("spoke with {HIDDEN} who is joann@example.org's mother"));
        });
        with("Ann Lee", |ann| assert_eq!(ann.removed_from("that is ann+lee%20"), format!("that is {HIDDEN}")));
    }
}
