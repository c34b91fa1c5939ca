//! Masks: what may be shown of a value that may be a child's or a parent's.

/// Shows so much of a subject that its owner can recognise it: `s***@e***.com` of an email, else the first character.
pub fn subject(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((local, domain)) => {
            let (name, top) = domain.rsplit_once('.').unwrap_or((domain, ""));
            // What is no top level domain was no email, and may be anything.
            let top = if top_level(top) { top.to_owned() } else { start(top) };
            let dot = if top.is_empty() { "" } else { "." };
            [&start(local), "@", &start(name), dot, &top].concat()
        }
        None => start(value),
    }
}

/// Whether an email may end so: few letters in one word.
fn top_level(text: &str) -> bool {
    text.chars().count() <= 13 && text.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
}

/// An `@` as it stands in texts that were copied out of a URL, JSON or a page.
const WRITTEN_AT: &[&str] = &[
    "%252540",
    "%2540",
    "%40",
    "\\u0040",
    "\\x40",
    "&amp;#64;",
    "&#64;",
    "&#064;",
    "&#x40;",
    "&#X40;",
    "&commat;",
    "\u{ff20}",
];

/// A text as it is, but for the words that are emails, in whichever way their `@` is written.
pub fn words(text: &str) -> String {
    let text = &WRITTEN_AT.iter().fold(text.to_owned(), |text, written| text.replace(written, "@"));
    let part = |c: char| c.is_alphanumeric() || "@._+-%".contains(c);
    let word = |word: &str| if word.contains('@') { subject(word) } else { word.to_owned() };
    let mut shown = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        // A full stop ends the sentence, not the email.
        let last = rest[..end].trim_end_matches('.').len();
        shown.push_str(&word(&rest[..last]));
        let next = end + rest[end..].chars().next().map_or(0, char::len_utf8);
        shown.push_str(&rest[last..next]);
        rest = &rest[next..];
    }
    shown
}

/// An id as it is, unless it holds an `@`: then somebody used an email as an id.
pub fn id(value: &str) -> String {
    if value.contains('@') { value.split("; ").map(id_part).collect::<Vec<_>>().join("; ") } else { value.to_owned() }
}

fn id_part(part: &str) -> String {
    match part.split_once('=') {
        Some((name, id)) if id.contains('@') && !name.contains('@') => format!("{name}={}", subject(id)),
        _ if part.contains('@') => subject(part),
        _ => part.to_owned(),
    }
}

/// What stands where a value must not be shown.
pub const HIDDEN: &str = "***";

/// The path of a URL without query, with every segment masked that may identify somebody.
pub fn path(url_path: &str) -> String {
    let path = url_path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A segment of a path as it is, or masked when it may identify somebody: one with a digit, an `@`, a percent sign or more
/// than twenty characters, unless it is a version like `v1.0`.
pub fn segment(segment: &str) -> &str {
    if identifies(segment) { HIDDEN } else { segment }
}

fn identifies(segment: &str) -> bool {
    let version = segment.strip_prefix('v').is_some_and(|rest| {
        !rest.is_empty() && rest.len() <= 4 && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    });
    let plain =
        segment.len() <= 20 && segment.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'_' | b'.'));
    !(version || plain || segment == "s2s")
}

fn start(text: &str) -> String {
    let first = text.chars().next().map_or(0, char::len_utf8);
    if first == 0 { String::new() } else { [&text[..first], "***"].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_show_their_first_letters() {
        assert_eq!(subject("sue@example.com"), "s***@e***.com");
        assert_eq!(subject("sue"), "s***");
        assert_eq!(subject("a@b@c"), "a***@c***");
        assert_eq!(subject("sue@example.xn--p1ai"), "s***@e***.xn--p1ai");
        assert_eq!(subject("a@b.Sue, 12 Main Street"), "a***@b***.S***");
        assert_eq!(subject("a@b.sue\"smith"), "a***@b***.s***");
        assert_eq!(subject(""), "");
    }

    #[test]
    fn texts_keep_all_but_emails() {
        assert_eq!(
            words("ask sue@example.com. Or <bob@example.org>, now"),
            "ask s***@e***.com. Or <b***@e***.org>, now"
        );
        for encoded in [
            "sue%40example.com",
            "sue%2540example.com",
            "s%75e%40example%2Ecom",
            "sue\\u0040example.com",
            "sue&#64;example.com",
        ] {
            let masked = words(&format!("see https://x.example/?email={encoded}&a=1"));
            assert!(
                masked.contains("email=s***@e***") && !masked.contains("xample%") && !masked.contains("sue"),
                "{masked}"
            );
        }
        for text in ["", ".", "closed: nothing to see. ", "a.b, c"] {
            assert_eq!(words(text), text);
        }
    }

    #[test]
    fn ids_are_masked_only_with_an_at_sign() {
        assert_eq!(id("4711-abc"), "4711-abc");
        assert_eq!(id("sue@example.com"), "s***@e***.com");
        assert_eq!(id("parent=1; child 1=sue@example.com"), "parent=1; child 1=s***@e***.com");
    }

    #[test]
    fn paths_lose_identifiers_and_queries() {
        assert_eq!(path("/api/v1.0/account/4711?email=a@b.c"), "/api/v1.0/account/***");
        assert_eq!(path("/s2s/api/v1.0/acme/accounts/eid/kid%401"), "/s2s/api/v1.0/acme/accounts/eid/***");
        assert_eq!(path("/x/sue@example.com/y"), "/x/***/y");
    }
}
