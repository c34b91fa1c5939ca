//! `init` makes the ledger, and a configuration to begin with where there is none; `config` prints that configuration.
//! Neither ever replaces anything.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cli::{Cli, ConfigArgs, InitArgs};
use crate::config::places::{Found, Places};
use crate::config::{Config, starter};
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Ledger, schema_of};
use crate::outputs;
use crate::plan::SHIPPED;

/// The plan of a configuration for which none is named.
const USUAL_PLAN: &str = "privo-gateway";

/// Where a configuration is written when none is named.
const HERE: &str = "privo-reconcile.toml";

/// `load` reads the configuration that is there then.
pub fn init(cli: &Cli, args: &InitArgs, load: impl Fn() -> Result<Config>) -> Result<u8> {
    if args.print {
        return print(cli, load);
    }
    let wrote = match missing(cli.config.as_deref()) {
        Some(file) => {
            write(&file, args.plan.as_deref().unwrap_or(USUAL_PLAN))?;
            true
        }
        None => false,
    };
    let config = load()?;
    if let Some(plan) = args.plan.as_deref().filter(|plan| !wrote && !names(&config, plan)) {
        bail!(Refused(format!(
            "the configuration {} is there already with another plan than {plan}, and is never replaced (edit it, or name another file with --config)",
            config.file.display()
        )));
    }
    let place = &config.ledger;
    let made = Ledger::create(place).context("failed to make the ledger")?;
    if cli.json {
        let identity = Ledger::open(place)?.identity().to_owned();
        let shown = json!({
            "ledger": identity, "path": place.to_string(), "made": made,
            "configuration": config.file, "configuration_made": wrote,
        });
        document::print("init", exit::DONE, &shown)?;
    } else if wrote {
        let mut out = std::io::stdout().lock();
        out.write_all(next_steps(&config, made, cli.config.is_some()).as_bytes())?;
        out.flush()?;
    } else if std::io::stderr().is_terminal() {
        let what = if made { "made the ledger" } else { "the ledger is there already:" };
        eprintln!("{what} {place}");
    }
    Ok(exit::DONE)
}

/// Prints what makes the ledger, for whoever may: it makes nothing.
fn print(cli: &Cli, load: impl Fn() -> Result<Config>) -> Result<u8> {
    let text = schema_of(&load()?.ledger);
    if cli.json {
        document::print("init", exit::DONE, &json!({ "schema": text }))?;
        return Ok(exit::DONE);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit::DONE)
}

/// Prints a configuration to begin with.
pub fn config(args: &ConfigArgs, json: bool) -> Result<u8> {
    let plan = args.plan.as_deref().unwrap_or(USUAL_PLAN);
    let text = starter::commented(plan);
    // What it lacks, its reader fills in; but there must be such a plan.
    if !SHIPPED.iter().any(|(name, _)| *name == plan) && !Path::new(plan).is_file() {
        bail!(Refused(format!("there is no plan {plan} (name {})", nameable())));
    }
    if json {
        document::print("config", exit::DONE, &json!({ "text": text }))?;
        return Ok(exit::DONE);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit::DONE)
}

/// Where a configuration is missing, if there is none in any place.
fn missing(named: Option<&Path>) -> Option<PathBuf> {
    let places = Places::look(named);
    let nowhere = places.looked.iter().all(|place| place.found == Found::Missing);
    nowhere.then(|| named.map_or_else(|| PathBuf::from(HERE), Path::to_owned))
}

/// Whether a configuration has this plan, under the name that `--plan` gives.
fn names(config: &Config, plan: &str) -> bool {
    match &config.plan_file {
        None => config.plan.name == plan,
        Some(file) => *file == outputs::folder_of(&config.file).join(plan) || file == Path::new(plan),
    }
}

/// Refuses a configuration for a plan that there is not, or that cannot be read.
fn readable(file: &Path, text: &str, plan: &str) -> Result<()> {
    Config::parse(file, text).map(|_| ()).map_err(|error| {
        let remedy = nameable();
        anyhow::Error::new(Refused(format!(
            "no configuration was written for --plan {plan} (name {remedy}): {error:#}"
        )))
    })
}

/// The plans that can be named.
fn nameable() -> String {
    let known: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    format!("{}, or the path of a plan of your own", known.join(" or "))
}

/// Writes a configuration where there is nothing, and only one that can be read.
fn write(file: &Path, plan: &str) -> Result<()> {
    let text = starter::commented(plan);
    readable(file, &text, plan)?;
    if !outputs::folder_of(file).is_dir() {
        let remedy = "make the folder, or name another file with --config";
        bail!(Refused(format!("there is no folder for the configuration {} ({remedy})", file.display())));
    }
    let place = || {
        let remedy = "may you write there, and is there room?";
        format!("failed to write the configuration {} ({remedy})", file.display())
    };
    let mut options = File::options();
    let mut made =
        outputs::closed_to_others(&mut options).write(true).create_new(true).open(file).with_context(place)?;
    let written = made.write_all(text.as_bytes()).and_then(|()| made.sync_all());
    if written.is_err() {
        // Half a configuration would be taken for a whole one.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(place)
}

/// What to do with a new configuration.
fn next_steps(config: &Config, made: bool, named: bool) -> String {
    let file = config.file.display();
    let command = if named { format!("privo-reconcile --config {file}") } else { "privo-reconcile".to_owned() };
    let ledger = if made { "made the ledger" } else { "the ledger is there already:" };
    let control = match config.controls.first() {
        Some(_) => "name under [[control]] an account of yours that exists",
        None => "add a [[control]] for each lookup of the plan",
    };
    let variables = config.secret_variables().join(" and ");
    format!(
        "wrote {file}, {ledger} {}. The next three steps:\n  \
         1. set {variables} in the environment; in {file}, {control}\n  \
         2. {command} check          # says whether a run would do its work\n  \
         3. {command} import FILE    # what failed, as CSV, JSON lines, HAR or an access log; then\n     \
         {command} run --wait 30m --report report.html\n",
        config.ledger
    )
}
