//! Whose ledger it is: one belongs to one server, by scheme, host and port, from its first completed look on.
//!
//! What was seen at one server says nothing of another. Under the configuration of another one, the next run would look there
//! for what was sent here, and settle it by that.

use anyhow::{Context, Result, bail};
use url::Url;

use super::Ledger;
use crate::exit::Refused;
use crate::store::Word;

impl Ledger {
    /// Refuses a ledger that belongs to another server than this one, or than one of the addresses that it had before.
    ///
    /// # Errors
    /// [`Refused`], naming both; when the ledger cannot be read.
    pub fn refuse_other_server(&self, server: &Url, also: &[Url]) -> Result<()> {
        match self.store.word(Word::Server).context("failed to read whose ledger it is")? {
            Some(whose) if !std::iter::once(server).chain(also).any(|one| origin(one) == whose) => {
                bail!(Refused(refusal(&self.place(), &whose, &origin(server))))
            }
            _ => Ok(()),
        }
    }
}

fn refusal(place: &str, whose: &str, other: &str) -> String {
    format!(
        "the ledger {place} belongs to the server {whose}, and the configuration names {other} (give each server a ledger.path of its own; if it is the same server under a new name, add also = [\"{whose}\"] to [server])"
    )
}

/// Scheme, host and port.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
