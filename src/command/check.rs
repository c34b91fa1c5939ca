//! `check`: whether a run would do its work, each finding with its remedy.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, of_error};
use crate::ledger::Ledger;
use crate::lookup::{Lookups, Stop};
use crate::words::Control;

pub async fn check(config: &Config, json: bool) -> Result<u8> {
    let mut findings = Findings { json: json.then(Vec::new), code: exit::DONE };
    look_around(config, &mut findings).await?;
    findings.end()
}

async fn look_around(config: &Config, findings: &mut Findings) -> Result<()> {
    findings.good(&format!(
        "configuration {}: plan {}, server {}",
        config.file.display(),
        config.plan.name,
        config.server.base_url
    ))?;
    match Ledger::open(&config.ledger).and_then(|ledger| ledger.check_integrity()) {
        Ok(()) => findings.good(&format!("ledger {}", config.ledger.display()))?,
        Err(error) => findings.bad(&error)?,
    }
    let lookups = match Lookups::new(config, Moment::now) {
        Ok(lookups) => lookups,
        Err(error) => {
            findings.bad(&error)?;
            return Ok(());
        }
    };
    match lookups.check_credentials().await {
        Ok(()) => findings.good("credentials")?,
        Err(error) => {
            findings.bad(&error)?;
            return Ok(());
        }
    }
    for name in config.plan.lookups.keys() {
        let configured = config.controls.iter().any(|control| control.lookup == *name);
        match lookups.controls(name).await {
            Err(Stop::Fatal(error)) => findings.bad(&error)?,
            Err(Stop::Alone(why) | Stop::Failed(why)) => findings.bad(&anyhow::anyhow!("controls of {name}: {why}"))?,
            Ok(controls) if controls.usable() && configured => findings.good(&format!("controls of {name}"))?,
            Ok(controls) if controls.usable() => findings.note(&format!(
                "{name} has no control: its absences prove nothing (add a [[control]] with a known key)"
            ))?,
            Ok(controls) => {
                let why = match (controls.known, controls.random) {
                    (_, Control::Contradicted) => {
                        "a random key was found; check base_url and the plan's present answer".to_owned()
                    }
                    (Control::Contradicted, _) => {
                        "the known key was not found; check base_url and the control's key".to_owned()
                    }
                    _ => format!(
                        "no answer to rely on ({}); if the server answers an unknown key differently, change `absent` in the plan",
                        controls.cause.as_deref().unwrap_or("none came")
                    ),
                };
                findings.bad(&anyhow::anyhow!("controls of {name}: {why}"))?;
            }
        }
    }
    Ok(())
}

/// What was found: printed as it comes, or kept for one JSON document.
struct Findings {
    json: Option<Vec<Value>>,
    code: u8,
}

impl Findings {
    fn good(&mut self, what: &str) -> Result<()> {
        self.tell("ok", what)
    }

    fn note(&mut self, what: &str) -> Result<()> {
        self.tell("note", what)
    }

    fn bad(&mut self, error: &anyhow::Error) -> Result<()> {
        self.code = self.code.max(of_error(error)).max(exit::FAILED);
        self.tell("BAD", &format!("{error:#}"))
    }

    fn tell(&mut self, level: &str, what: &str) -> Result<()> {
        match &mut self.json {
            Some(findings) => findings.push(json!({ "level": level.to_lowercase(), "message": what })),
            None => writeln!(std::io::stdout(), "{level:<5} {what}")?,
        }
        Ok(())
    }

    fn end(self) -> Result<u8> {
        if let Some(findings) = self.json {
            document::print("check", self.code, &json!({ "findings": findings }))?;
        }
        Ok(self.code)
    }
}
