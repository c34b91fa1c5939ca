//! `[ledger]`: where the ledger lives, a SQLite file or a PostgreSQL database.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Deserialize;
use toml::Spanned;

use super::credential::{Credential, Secret};

/// The schema in PostgreSQL when none is named.
const USUAL_SCHEMA: &str = "privo_reconcile";

/// Where the ledger lives.
#[derive(Clone, Debug)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(Database),
}

/// A PostgreSQL database, and how the job gets in.
#[derive(Clone, Debug)]
pub struct Database {
    /// Without a password; whoever opens it refuses one.
    pub address: String,
    pub schema: String,
    /// Certificates that the server's may be signed by, in PEM; else those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// `None`: the server asks for none.
    pub password: Option<Credential>,
}

impl Place {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Place::File(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }

    /// The password that it takes to get in.
    pub(super) fn credential(&self) -> Option<&Credential> {
        match self {
            Place::File(_) => None,
            Place::Postgres(database) => database.password.as_ref(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            // Not the address: by mistake it may hold a password.
            Place::Postgres(database) => write!(f, "in PostgreSQL (schema {})", database.schema),
        }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Place {
        Place::File(path.to_owned())
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Place {
        Place::File(path.clone())
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Place {
        place.clone()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [ledger]")]
pub(super) struct LedgerFile {
    path: Option<PathBuf>,
    postgres: Option<String>,
    password: Option<Spanned<Secret>>,
    schema: Option<String>,
    ca_file: Option<PathBuf>,
}

impl LedgerFile {
    pub(super) fn checked(
        self,
        folder: &Path,
        at: &impl Fn(Range<usize>) -> String,
        span: Range<usize>,
    ) -> Result<Place> {
        let only_there = self.password.is_some() || self.schema.is_some() || self.ca_file.is_some();
        match (self.path, self.postgres) {
            (Some(path), None) if !only_there => Ok(Place::File(folder.join(path))),
            (Some(_), None) => {
                let what = "password, schema and ca_file are for a ledger in PostgreSQL";
                bail!("{}: {what} (leave them out, or write postgres in place of path)", at(span))
            }
            (None, Some(address)) => {
                let password =
                    self.password.map(|secret| Credential::of(secret.as_ref(), folder, false, at(secret.span())));
                Ok(Place::Postgres(Database {
                    address,
                    schema: self.schema.unwrap_or_else(|| USUAL_SCHEMA.to_owned()),
                    ca_file: self.ca_file.map(|file| folder.join(file)),
                    password: password.transpose()?,
                }))
            }
            _ => bail!("{}: [ledger] needs one of path and postgres (path = \"ledger.db\" is a SQLite file)", at(span)),
        }
    }
}
