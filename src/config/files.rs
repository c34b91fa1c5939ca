//! The files that a configuration names: which no command may write, and the certificates.

use std::path::Path;

use anyhow::Result;

use super::{Config, Server};
use crate::exit::Refused;
use crate::inputs;
use crate::outputs::Protected;

impl Config {
    /// The files that no command writes over: the ledger, the configuration itself, and all that it reads.
    pub fn protected(&self) -> Protected {
        let mut protected = Protected::default();
        protected.ledger(&self.ledger);
        protected.file(&self.file, "the configuration");
        if let Some(plan) = &self.plan_file {
            protected.file(plan, "the plan");
        }
        if let Some(file) = &self.server.ca_file {
            protected.file(file, "server.ca_file");
        }
        for file in self.credentials().filter_map(super::Credential::file) {
            protected.file(&file, "the credential");
        }
        if let Some(program) = self.notices.hook.as_ref().and_then(|hook| hook.command.first()) {
            protected.file(Path::new(program), "the hook's program");
        }
        protected
    }

    /// Refuses outputs of the configuration itself that it also reads.
    ///
    /// # Errors
    /// [`Refused`], naming both.
    pub fn refuse_protected_outputs(&self) -> Result<()> {
        self.notices.metrics.iter().try_for_each(|file| self.protected().refuse(file))
    }
}

impl Server {
    /// The certificates to trust beside the system's.
    ///
    /// # Errors
    /// [`Refused`] when the file is missing, holds none, or does not end.
    pub fn ca_pem(&self) -> Result<Option<Vec<u8>>> {
        let Some(file) = &self.ca_file else { return Ok(None) };
        let refused = |why: String| {
            let remedy = "it must hold PEM certificates; correct it, or leave it out";
            Refused(format!("failed to read server.ca_file {}: {why} ({remedy})", file.display()))
        };
        let pem = inputs::read(file, inputs::LARGEST).map_err(|error| refused(error.to_string()))?;
        if !pem.windows(11).any(|text| text == b"-----BEGIN ") {
            return Err(refused("there is no certificate in it".to_owned()).into());
        }
        Ok(Some(pem))
    }
}
