//! Pseudonyms: names under which partner and support speak of the same child, without its own.
//!
//! A pseudonym is a keyed HMAC of whom an entry is about, as the plan normalises it. Whoever has the key and a subject can
//! make it again; from the pseudonym alone nobody gets back to the subject, not even by trying every email there is.
//! Equal subjects have equal pseudonyms under one key. The key's id is part of it, so that after a rotation it shows
//! which key it was made with.

use std::fmt;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// A key shorter than this many bytes could be found by trying.
pub const SHORTEST_KEY: usize = 16;

/// How every pseudonym of this form begins. Another form (another digest, another alphabet) will have another number.
const FORM: &str = "psn1";

/// Without letters that are taken for others when read aloud (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A key of pseudonyms, with the id that its pseudonyms bear.
#[derive(Clone)]
pub struct Key {
    secret: SecretString,
    id: String,
}

/// Never the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The key in use, and those before it, by which older pseudonyms are still found.
#[derive(Clone, Debug)]
pub struct Keys {
    pub current: Key,
    pub previous: Vec<Key>,
}

impl Key {
    /// A key of at least [`SHORTEST_KEY`] bytes; `None` when it is shorter.
    pub fn new(secret: SecretString) -> Option<Key> {
        if secret.expose_secret().len() < SHORTEST_KEY {
            return None;
        }
        let id = letters(&digest(&secret, &["key id"]), 4);
        Some(Key { secret, id })
    }

    /// The four letters that its pseudonyms bear. They say nothing of the key but which one it is.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Keys {
    /// The key that a pseudonym was made with, if it is one of these.
    pub fn of(&self, pseudonym: &str) -> Option<&Key> {
        let id = key_id(pseudonym)?;
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.id == id)
    }
}

/// The pseudonym of a subject, as the plan normalises it: `psn1-KEYID-` and 16 letters (80 bits).
pub fn of(key: &Key, subject: &str) -> String {
    format!("{FORM}-{}-{}", key.id, letters(&digest(&key.secret, &["subject", subject]), 16))
}

/// The id of the key that a pseudonym was made with. `None`: it is no pseudonym.
pub fn key_id(pseudonym: &str) -> Option<&str> {
    let (id, letters) = pseudonym.strip_prefix(FORM)?.strip_prefix('-')?.split_once('-')?;
    let plain = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| ALPHABET.contains(&b));
    (plain(id, 4) && plain(letters, 16)).then_some(id)
}

fn digest(secret: &SecretString, parts: &[&str]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        // HMAC takes keys of every length.
        return Vec::new();
    };
    mac.update(b"privo-reconcile pseudonym");
    for part in parts {
        mac.update(&[0]);
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().to_vec()
}

/// So many letters of a digest, five bits each.
fn letters(digest: &[u8], count: usize) -> String {
    let bit = |at: usize| digest.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let letter = |n: usize| (0..5).fold(0, |value, at| value << 1 | usize::from(bit(n * 5 + at)));
    (0..count).map(|n| char::from(ALPHABET[letter(n)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(SecretString::from(text.to_owned())).unwrap()
    }

    #[test]
    fn equal_subjects_have_equal_pseudonyms_under_one_key_only() {
        let (one, two) = (key("0123456789abcdef"), key("0123456789abcdeg"));
        assert_eq!(of(&one, "sue@example.com"), of(&one, "sue@example.com"));
        assert_ne!(of(&one, "sue@example.com"), of(&one, "sue@example.org"));
        assert_ne!(of(&one, "sue@example.com"), of(&two, "sue@example.com"));
        assert_ne!(one.id(), two.id());
    }

    /// Worked out by another program (Python's hmac), so that it stays the same for ever.
    #[test]
    fn a_pseudonym_stays_what_it_is() {
        assert_eq!(of(&key("0123456789abcdef"), "sue@example.com"), "psn1-yr22-nhxrevdhzcaj2mwq");
    }

    #[test]
    fn the_key_of_a_pseudonym_is_told_by_its_id() {
        let keys = Keys { current: key("the key of this year"), previous: vec![key("the key of last year")] };
        let old = of(&keys.previous[0], "sue");
        assert_eq!(keys.of(&old).unwrap().id(), keys.previous[0].id());
        assert!(keys.of(&of(&key("somebody else's key"), "sue")).is_none());
        for none in ["", "psn1", "psn1-abcd", "psn1-abcd-short", "psn2-abcd-0123456789abcdef", "sue@example.com"] {
            assert_eq!(key_id(none), None, "{none}");
        }
    }

    #[test]
    fn a_short_key_is_none_and_no_key_is_ever_shown() {
        assert!(Key::new(SecretString::from("fifteen letters".to_owned())).is_none());
        assert!(!format!("{:?}", key("very secret indeed")).contains("secret"));
    }
}
