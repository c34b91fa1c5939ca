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
    File(PathBuf),
    /// A file in the folder that the service manager gives to a service with `LoadCredential=`.
    Given(PathBuf),
    /// An identifier only, never a secret.
    Written(SecretString),
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

/// A name that no secret is: what was pasted into the wrong place by mistake is not told on.
struct Name<'a> {
    what: &'static str,
    text: &'a str,
    is_name: bool,
}

impl<'a> Name<'a> {
    fn of_variable(name: &'a str) -> Name<'a> {
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = name.len() <= 64 && name.bytes().all(upper) && !name.starts_with(|c: char| c.is_ascii_digit());
        Name { what: "that is named there", text: name, is_name }
    }

    fn of_file(file: &'a Path) -> Name<'a> {
        let text = file.to_str().unwrap_or_default();
        let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let last = text.rsplit('/').next().unwrap_or_default();
        Name { what: "file", text, is_name: last.len() <= 64 && text.bytes().all(of_path) }
    }
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
                Err(_) => CredentialSource::File(folder.join(file)),
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
            CredentialSource::File(file) => self.read_file(file),
            CredentialSource::Given(name) => {
                let folder = environment("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    anyhow!(
                        "{}: {CREDENTIALS_DIRECTORY} is not set (systemd sets it for a service with LoadCredential=; elsewhere set it to the folder of the credentials)",
                        self.place
                    )
                })?;
                self.read_file(&Path::new(&folder).join(name))
            }
            CredentialSource::Written(value) => Ok(value.clone()),
        }
    }

    fn read_file(&self, file: &Path) -> Result<SecretString> {
        let text = inputs::read_text(file, inputs::LARGEST_CREDENTIAL).with_context(|| {
            let remedy = "is the path right, and may this user read it?";
            format!("{}: failed to read the credential {} ({remedy})", self.place, Name::of_file(file))
        })?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            bail!("{}: the credential {} is empty (write it into the file)", self.place, Name::of_file(file));
        }
        Ok(SecretString::from(text.to_owned()))
    }

    /// The file that it comes from; `None` when it comes from elsewhere, or from a folder that is not given here.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.source {
            CredentialSource::File(file) => Some(file.clone()),
            CredentialSource::Given(name) => Some(Path::new(&environment("CREDENTIALS_DIRECTORY")?).join(name)),
            CredentialSource::Environment(_) | CredentialSource::Written(_) => None,
        }
    }
}
