//! The files that a configuration names: which no command may write, also of other configurations, and the certificates.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Config, Database, Place, Server};
use crate::exit::Refused;
use crate::inputs;
use crate::outputs::{self, Protected};

/// So many other configurations in a folder are heeded; in one with more of them there are other things too.
const NEIGHBOURS: usize = 64;

impl Config {
    /// The files that no command writes over: the ledger, the configuration itself, and all that it reads.
    pub fn protected(&self) -> Protected {
        let mut protected = Protected::default();
        self.protect(&mut protected);
        protected
    }

    fn protect(&self, protected: &mut Protected) {
        self.ledger.file().into_iter().for_each(|file| protected.ledger(file));
        if let Place::Postgres(Database { ca_file: Some(file), .. }) = &self.ledger {
            protected.file(file, "ledger.ca_file");
        }
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
    }

    /// Refuses an output that a job reads, this one or another: one of the files that this configuration or one beside it
    /// names, a database, a configuration or a plan. What is there and is no plain file is written into, where it can be.
    ///
    /// # Errors
    /// [`Refused`], saying what it is.
    pub fn refuse_output(&self, output: &Path) -> Result<()> {
        let mut protected = self.protected();
        protected.refuse(output)?;
        for neighbour in self.neighbours() {
            neighbour.protect(&mut protected);
        }
        protected.refuse(output)?;
        outputs::refuse_foreign(output)?;
        match what_is_written_in(output) {
            Some(what) => {
                let place = output.display();
                bail!(Refused(format!("{place} is {what} and is never written over (name another file)")))
            }
            None => Ok(()),
        }
    }

    /// The other configurations in this one's folder: `production.toml` has `integration.toml` beside it.
    fn neighbours(&self) -> Vec<Config> {
        let folder = outputs::folder_of(&self.file);
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let is_toml = |file: &PathBuf| file.extension().is_some_and(|end| end == "toml") && file.is_file();
        let files = entries.flatten().map(|entry| folder.join(entry.file_name())).filter(is_toml).take(NEIGHBOURS);
        let read = |file: PathBuf| Config::parse(&file, &inputs::read_text(&file, inputs::LARGEST).ok()?).ok();
        files.filter_map(read).collect()
    }

    /// Refuses a ledger that is also something to be read: whoever closed it would take SQLite's locks away.
    ///
    /// # Errors
    /// [`Refused`], naming it.
    pub(super) fn refuse_ledger_as_input(&self) -> Result<()> {
        let mut ledger = Protected::default();
        self.ledger.file().into_iter().for_each(|file| ledger.ledger(file));
        let inputs = [Some(&self.file), self.plan_file.as_ref(), self.server.ca_file.as_ref()];
        inputs.into_iter().flatten().try_for_each(|file| ledger.refuse_to_read(file))?;
        self.credentials().filter_map(super::Credential::file).try_for_each(|file| ledger.refuse_to_read(&file))
    }

    /// Refuses outputs of the configuration itself that it also reads.
    ///
    /// # Errors
    /// [`Refused`], naming both.
    pub fn refuse_protected_outputs(&self) -> Result<()> {
        // Nothing can be written over a folder; that metrics cannot be written there is a warning.
        self.notices.metrics.iter().filter(|file| !file.is_dir()).try_for_each(|file| self.refuse_output(file))
    }
}

/// What a job has in a plain file, if that is what it looks like: also with mistakes in it.
fn what_is_written_in(file: &Path) -> Option<&'static str> {
    let small = file.metadata().is_ok_and(|about| about.is_file() && about.len() <= inputs::LARGEST);
    let text = small.then(|| inputs::read_text(file, inputs::LARGEST).ok()).flatten()?;
    let table: toml::Table = text.parse().ok()?;
    let is_table = |name: &str| table.get(name).is_some_and(toml::Value::is_table);
    if table.contains_key("plan") && (is_table("ledger") || is_table("server")) {
        return Some("a configuration of this job");
    }
    let has_operations = table.get("operation").is_some_and(toml::Value::is_array);
    (table.contains_key("name") && (has_operations || is_table("lookup"))).then_some("a plan of this job")
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
