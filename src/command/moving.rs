//! `move`: the ledger of a file moves into the PostgreSQL that the configuration names.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::config::{Config, Place};
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger;
use crate::ledger::moving::{self, Moved};

pub fn move_in(config: &Config, from: &Path, json: bool) -> Result<u8> {
    let Place::Postgres(to) = &config.ledger else {
        let remedy = "write [ledger] postgres = \"postgresql://…\" in place of path, then run `init`";
        bail!(Refused(format!("the configuration names the file {} as its ledger ({remedy})", config.ledger)));
    };
    let is_shown = std::io::stderr().is_terminal();
    let moved = moving::move_file(from, to, &mut |table, rows| {
        if is_shown {
            // Nothing is to fail because nobody sees it.
            let _ = write!(std::io::stderr(), "\r\x1b[Kmoving {table}: {rows}");
        }
    });
    if is_shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let moved = moved.map_err(|error| ledger::explained(&Place::from(&from.to_owned()), error))?;
    if json {
        tell(&moved, from)?
    } else {
        say(&moved, from)?
    }
    Ok(exit::DONE)
}

fn tell(moved: &Moved, from: &Path) -> Result<()> {
    let altered = moved.altered.iter().map(|one| json!({ "entry": one.entry, "columns": one.columns }));
    document::print(
        "move",
        exit::DONE,
        &json!({
            "ledger": moved.ledger,
            "from": from.display().to_string(),
            "to": moved.place,
            "again": moved.again,
            "entries": moved.entries,
            "evidence": moved.evidence,
            "later": moved.later,
            "kept": moved.kept,
            "altered": altered.collect::<Vec<_>>(),
            "left": moved.left,
        }),
    )
}

fn say(moved: &Moved, from: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let Moved { ledger, place, entries, evidence, later, .. } = moved;
    if moved.again {
        writeln!(out, "{place} has the ledger {ledger} already")?;
    } else {
        writeln!(out, "moved the ledger {ledger} to {place}: {entries} entries, {evidence} rows of evidence")?;
    }
    if *later > 0 {
        writeln!(out, "{later} more that writers recorded, changed or deleted in the file since")?;
    }
    for one in &moved.altered {
        writeln!(out, "entry {}: {} moved as the nearest text", one.entry, one.columns.join(", "))?;
    }
    for entry in &moved.kept {
        writeln!(out, "entry {entry}: the database keeps it as it is, though the file has it otherwise since")?;
    }
    if !moved.left.is_empty() {
        writeln!(out, "not the ledger's, and not moved: {}", moved.left.join(", "))?;
    }
    writeln!(out, "{} refuses writers and runs from now on.", from.display())?;
    writeln!(
        out,
        "Next: point [ledger] of every writer and job to PostgreSQL; then keep the file or delete it by your own rules,"
    )?;
    writeln!(out, "for what it says of persons is still in it.")?;
    out.flush()?;
    Ok(())
}
