//! What a check found, said as soon as it is known: some answers take their time.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::document;
use crate::exit::{self, of_error};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Ok,
    /// Worth knowing; the job can do its work.
    Note,
    /// To be corrected.
    Bad,
}

/// What came of a check so far.
#[derive(Debug)]
pub struct Findings {
    /// All of them, when they are to be one document at the end.
    json: Option<Vec<Value>>,
    troubles: usize,
    bad: usize,
    code: u8,
}

impl Findings {
    /// None yet.
    pub fn new(json: bool) -> Findings {
        Findings { json: json.then(Vec::new), troubles: 0, bad: 0, code: exit::DONE }
    }

    /// As it should be.
    ///
    /// # Errors
    /// When standard output takes no more; so it is with the others.
    pub fn good(&mut self, text: impl Into<String>) -> Result<()> {
        self.add(Weight::Ok, &text.into())
    }

    /// Worth knowing.
    pub fn note(&mut self, text: impl Into<String>) -> Result<()> {
        self.add(Weight::Note, &text.into())
    }

    /// To be corrected.
    pub fn bad(&mut self, text: impl Into<String>) -> Result<()> {
        self.code = self.code.max(exit::FAILED);
        self.add(Weight::Bad, &text.into())
    }

    /// To be corrected; a mistake in the configuration or refused credentials make the exit code 2.
    pub fn failed(&mut self, error: &anyhow::Error) -> Result<()> {
        self.code = self.code.max(of_error(error));
        self.bad(format!("{error:#}"))
    }

    /// How many are not as they should be.
    pub fn troubles(&self) -> usize {
        self.troubles
    }

    /// The document, if one was asked for; gives the exit code, that of the worst.
    pub fn end(self) -> Result<u8> {
        if let Some(findings) = self.json {
            let shown = json!({ "findings": findings, "run_would_work": self.bad == 0 });
            document::print("check", self.code, &shown)?;
            return Ok(self.code);
        }
        match self.bad {
            0 => line("ok", "a run would do its work"),
            1 => line("BAD", "a run would not do its work as it should (correct what is BAD above)"),
            bad => {
                line("BAD", &format!("a run would not do its work as it should (correct the {bad} that are BAD above)"))
            }
        }?;
        Ok(self.code)
    }

    /// One line, with its remedy; never a personal value or a secret.
    fn add(&mut self, weight: Weight, text: &str) -> Result<()> {
        let word = match weight {
            Weight::Ok => "ok",
            Weight::Note => "note",
            Weight::Bad => "BAD",
        };
        self.troubles += usize::from(weight != Weight::Ok);
        self.bad += usize::from(weight == Weight::Bad);
        if let Some(findings) = &mut self.json {
            findings.push(json!({ "level": word.to_lowercase(), "message": text }));
            return Ok(());
        }
        line(word, text)
    }
}

fn line(word: &str, text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word:<5} {text}")?;
    Ok(out.flush()?)
}
