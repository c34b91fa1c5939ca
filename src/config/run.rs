//! The `[run]` of the configuration.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::exit;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [run]")]
pub(super) struct RunFile {
    #[serde(default)]
    success: Vec<Code>,
}

/// An exit code that may be given as 0.
struct Code(u8);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        exit::nameable(i64::deserialize(deserializer)?).map(Code).map_err(D::Error::custom)
    }
}

impl RunFile {
    /// The exit codes that `run` gives as 0.
    pub(super) fn success(self) -> Vec<u8> {
        self.success.into_iter().map(|code| code.0).collect()
    }
}
