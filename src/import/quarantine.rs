//! The quarantine: beside a file, which of its lines were rejected and why. No values, for they are a child's.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Reject;
use crate::outputs;

/// The rejected lines of one file.
pub struct Quarantine {
    path: PathBuf,
    output: Option<BufWriter<File>>,
}

#[derive(Serialize)]
struct Row {
    line: u64,
    reason: String,
}

#[derive(Deserialize)]
struct Numbered {
    line: u64,
}

/// Where the rejected lines of a file are listed.
pub fn path_of(file: &Path) -> PathBuf {
    outputs::with_suffix(file, ".rejected.jsonl")
}

impl Quarantine {
    /// That of a file which is read on after `lines`: what stands in it of later ones will be told again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn of(file: &Path, lines: u64) -> Result<Quarantine> {
        let quarantine = Quarantine { path: path_of(file), output: None };
        if quarantine.path.exists() {
            quarantine.keep(lines).with_context(|| quarantine.place())?;
        }
        Ok(quarantine)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds lines; they are on the disk afterwards.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, rejected: &[(u64, Reject)]) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let place = self.place();
        self.write(rejected).with_context(|| place)
    }

    fn write(&mut self, rejected: &[(u64, Reject)]) -> Result<()> {
        let output = match &mut self.output {
            Some(output) => output,
            None => {
                let file =
                    outputs::closed_to_others(&mut File::options()).create(true).append(true).open(&self.path)?;
                self.output.insert(BufWriter::new(file))
            }
        };
        for (line, reason) in rejected {
            serde_json::to_writer(&mut *output, &Row { line: *line, reason: reason.to_string() })?;
            output.write_all(b"\n")?;
        }
        output.flush()?;
        Ok(output.get_ref().sync_data()?)
    }

    /// Keeps what is told of the first `lines`.
    fn keep(&self, lines: u64) -> Result<()> {
        if lines == 0 {
            return Ok(std::fs::remove_file(&self.path)?);
        }
        let input = BufReader::new(File::open(&self.path)?);
        outputs::write_whole(&self.path, |output| {
            for shown in input.lines() {
                let shown = shown?;
                if serde_json::from_str::<Numbered>(&shown).is_ok_and(|row| row.line <= lines) {
                    writeln!(output, "{shown}")?;
                }
            }
            Ok(())
        })
    }

    fn place(&self) -> String {
        format!(
            "failed to write the quarantine {} (copy the file to a folder that you may write in)",
            self.path.display()
        )
    }
}
