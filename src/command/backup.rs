//! `backup`: a copy of the ledger while writers go on.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::config::Config;
use crate::document;
use crate::exit;
use crate::ledger::Ledger;

pub fn backup(config: &Config, file: &Path, json: bool) -> Result<u8> {
    config.protected().refuse(file)?;
    // What is there is refused for being there.
    if file.symlink_metadata().is_err() {
        config.refuse_output(file)?;
    }
    let ledger = super::opened(config, Ledger::open)?;
    ledger.backup(file)?;
    if json {
        document::print(
            "backup",
            exit::DONE,
            &json!({ "ledger": ledger.identity(), "file": file.display().to_string() }),
        )?;
    } else if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "copied the ledger to {}", file.display());
    }
    Ok(exit::DONE)
}
