//! Credentials: where one comes from, and reading it when it is needed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::environment;
use crate::inputs;

/// How a configuration names the folder that the service manager gives, at the beginning of a credential's file.
const CREDENTIALS_DIRECTORY: &str = "$CREDENTIALS_DIRECTORY";

/// Where a credential comes from. It is read when it is needed: `status` and `report` need none.
#[derive(Clone, Debug)]
pub struct Credential {
    source: CredentialSource,
    /// File and line that name it, for messages.
    place: String,
}

#[derive(Clone, Debug)]
enum CredentialSource {
    Environment(String),
    File(Named),
    /// A file in the folder that the service manager gives to a service with `LoadCredential=`.
    Given(PathBuf),
    /// An identifier only, never a secret.
    Written(SecretString),
}

/// A file, and how the configuration names it.
#[derive(Clone, Debug)]
struct Named {
    path: PathBuf,
    written: PathBuf,
}

/// Where a credential comes from: one of the three. A plain text is one that stands in the configuration itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "where it comes from, like { env = \"…\" } or { file = \"…\" }")]
pub(crate) struct Secret {
    env: Option<String>,
    file: Option<PathBuf>,
    value: Option<SecretString>,
}

impl Secret {
    /// One that stands in the configuration itself.
    pub(crate) fn written(text: String) -> Secret {
        Secret { env: None, file: None, value: Some(SecretString::from(text)) }
    }
}

/// What stands where the name of a variable or a file should. What was pasted there by mistake may be the secret itself, so
/// only what looks like a name is shown.
struct Name<'a> {
    what: &'static str,
    text: &'a str,
    is_name: bool,
}

/// The longest word of a name, in letters.
const LONGEST_WORD: usize = 20;

/// As many words a name has, at the most.
const MOST_WORDS: usize = 16;

/// So often all its words together change between small letters, capitals and digits, at the most.
const MOST_CHANGES: usize = 3;

impl<'a> Name<'a> {
    fn of_variable(name: &'a str) -> Name<'a> {
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let starts = name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_');
        let is_name = starts && name.bytes().all(upper) && is_of_words(name);
        Name { what: "that is named there", text: name, is_name }
    }

    /// `written` is what the configuration says, `file` what is opened.
    fn of_file(written: &Path, file: &'a Path) -> Name<'a> {
        let written = written.to_str().unwrap_or_default();
        let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let is_name = !written.is_empty() && written.bytes().all(of_path) && is_of_words(written);
        Name { what: "file", text: file.to_str().unwrap_or_default(), is_name }
    }
}

/// Whether a text consists of few words as people make them up, and of nothing that is drawn by chance.
fn is_of_words(text: &str) -> bool {
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words().count() <= MOST_WORDS && words().all(is_word) && words().map(changes).sum::<usize>() <= MOST_CHANGES
}

/// A word is short and no number in base 16.
fn is_word(word: &str) -> bool {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let long = word.len() >= 16 || word.len() >= 8 && has_digit;
    word.len() <= LONGEST_WORD && !(long && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// How often small letters, capitals and digits follow each other, but for a capital before small letters.
fn changes(word: &str) -> usize {
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_lowercase());
    let capital = |pair: &[u8]| pair[0].is_ascii_uppercase() && pair[1].is_ascii_lowercase();
    word.as_bytes().windows(2).filter(|pair| kind(pair[0]) != kind(pair[1]) && !capital(pair)).count()
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_name { self.text } else { self.what })
    }
}

/// A name: a text, or where it comes from.
pub(super) struct UserName(pub(super) Secret);

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<UserName, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = UserName;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name, or where it comes from, like { env = \"…\" }")
            }

            fn visit_str<E>(self, text: &str) -> Result<UserName, E> {
                Ok(UserName(Secret::written(text.to_owned())))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<UserName, A::Error> {
                Secret::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(UserName)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Credential {
    /// Checks where a credential is to come from; `place` is the file and line that name it.
    pub(crate) fn of(secret: &Secret, folder: &Path, may_be_written: bool, place: String) -> Result<Credential> {
        let Secret { env, file, value } = secret;
        let source = match (env, file, value) {
            (Some(name), None, None) => CredentialSource::Environment(name.clone()),
            (None, Some(file), None) => match file.strip_prefix(CREDENTIALS_DIRECTORY) {
                Ok(name) => CredentialSource::Given(name.to_owned()),
                Err(_) => CredentialSource::File(Named { path: folder.join(file), written: file.clone() }),
            },
            (None, None, Some(value)) if may_be_written => CredentialSource::Written(value.clone()),
            (None, None, Some(_)) => {
                bail!(
                    "{place}: a secret is never written into the configuration (use {{ env = \"…\" }} or {{ file = \"…\" }})"
                )
            }
            _ => bail!("{place}: a credential needs one of env, file or value"),
        };
        Ok(Credential { source, place })
    }

    /// File and line that name it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What stands in the configuration itself.
    pub(crate) fn written(&self) -> Option<&str> {
        match &self.source {
            CredentialSource::Written(value) => Some(value.expose_secret()),
            _ => None,
        }
    }

    /// The environment variable that it comes from.
    pub(crate) fn variable(&self) -> Option<&str> {
        match &self.source {
            CredentialSource::Environment(name) => Some(name),
            _ => None,
        }
    }

    /// Reads the credential. One from a file loses its line end.
    ///
    /// # Errors
    /// When the variable is not set, or the file is empty or cannot be read.
    pub fn read(&self) -> Result<SecretString> {
        match &self.source {
            CredentialSource::Environment(name) => environment(name).map(SecretString::from).ok_or_else(|| {
                let name = Name::of_variable(name);
                anyhow!(
                    "{}: the environment variable {name} is not set (set it, or use {{ file = \"…\" }})",
                    self.place
                )
            }),
            CredentialSource::File(file) => self.read_file(&file.written, &file.path),
            CredentialSource::Given(name) => {
                let folder = environment("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    anyhow!(
                        "{}: {CREDENTIALS_DIRECTORY} is not set (systemd sets it for a service with LoadCredential=; elsewhere set it to the folder of the credentials)",
                        self.place
                    )
                })?;
                self.read_file(name, &Path::new(&folder).join(name))
            }
            CredentialSource::Written(value) => Ok(value.clone()),
        }
    }

    fn read_file(&self, written: &Path, file: &Path) -> Result<SecretString> {
        let name = Name::of_file(written, file);
        let text = inputs::read_text(file, inputs::LARGEST_CREDENTIAL).with_context(|| {
            let remedy = "is the path right, and may this user read it?";
            format!("{}: failed to read the credential {name} ({remedy})", self.place)
        })?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            bail!("{}: the credential {name} is empty (write it into the file)", self.place);
        }
        Ok(SecretString::from(text.to_owned()))
    }

    /// The file that it comes from; `None` when it comes from elsewhere, or from a folder that is not given here.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.source {
            CredentialSource::File(file) => Some(file.path.clone()),
            CredentialSource::Given(name) => Some(Path::new(&environment("CREDENTIALS_DIRECTORY")?).join(name)),
            CredentialSource::Environment(_) | CredentialSource::Written(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_name_is_shown() {
        let variable = |name| Name::of_variable(name).to_string();
        for name in ["PRIVO_CLIENT_SECRET", "HOME", "_X", "PRIVO_CLIENT_SECRET_2026", "S3_KEY"] {
            assert_eq!(variable(name), name);
        }
        for pasted in [
            "hunter2",
            "",
            "DEADBEEF0123456789ABCDEF01234567",
            "A1B2C3D4E5F6",
            "8CE07E12F00DBEEF",
            "FACADEFACADEFACADE",
            "XKQZJWPLRTVBNMXKQZJWPLRTVB",
            "p4ss_w0rd",
            "EyJhbGciOiJIUzI1NiJ9",
        ] {
            assert_eq!(variable(pasted), "that is named there", "{pasted}");
        }
    }

    #[test]
    fn a_path_that_is_no_name_is_shown_by_what_it_is() {
        let file = |name: &str| Name::of_file(Path::new(name), &Path::new("/tmp/.tmpX1y2Z3a4").join(name)).to_string();
        for name in [
            "secret",
            "keys/client_secret",
            "/etc/privo-reconcile/integration.client_id",
            "pseudonym-key-2025",
            "clientSecret.txt",
        ] {
            assert!(file(name).ends_with(name), "{name}");
        }
        for pasted in [
            "8ce07e12f00dbeef8ce07e12f00dbeef",
            "8ce07e12",
            "12345678",
            "deadbeefdeadbeef",
            "a1/b2c3d4e5f6a7b8",
            "xK9q-3vP2-mN8r-T5wY",
            "aGVsbG8gd29ybGQ",
            "zqjxkvbzqjxkvbzqjxkvbzqj",
            "what a secret",
            "hash$2b$10",
        ] {
            assert_eq!(file(pasted), "file", "{pasted}");
        }
    }
}
