//! The commands: each opens what it needs, does its one thing and says how the ledger stands.

mod check;
mod close;
mod demo;
mod import;
mod record;
mod run;
mod sandbox;
mod schedule;
mod signals;
mod tell;

use std::io::IsTerminal;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::exit::{self, Refused};
use crate::ledger::Ledger;

/// Executes a command; gives its exit code.
///
/// # Errors
/// See [`exit::of_error`].
pub async fn execute(cli: Cli) -> Result<u8> {
    let config = || load(&cli);
    match &cli.command {
        Command::Init => init(&config()?),
        Command::Check => check::check(&config()?).await,
        Command::Record(args) => record::record(&config()?, args),
        Command::Import(args) => import::import(&config()?, args),
        Command::Run(args) => run::run(&config()?, args, signals::halt()?).await,
        Command::Schedule(args) => schedule::schedule(config()?, args).await,
        Command::Report(args) => tell::report(&config()?, args),
        Command::Status { json } => tell::status(&config()?, *json),
        Command::Show { request_id } => tell::show(&config()?, request_id),
        Command::Verify => tell::verify(&config()?),
        Command::Close(args) => close::close(&config()?, args),
        Command::Demo(args) => demo::demo(args).await,
        Command::Sandbox(args) => sandbox::serve(args).await,
    }
}

fn load(cli: &Cli) -> Result<Config> {
    Config::load(cli.config.as_deref()).map_err(|error| anyhow::Error::new(Refused(format!("{error:#}"))))
}

fn init(config: &Config) -> Result<u8> {
    let path = &config.ledger;
    let made = Ledger::create(path).context("failed to make the ledger")?;
    if std::io::stderr().is_terminal() {
        let what = if made { "made the ledger" } else { "the ledger is there already:" };
        eprintln!("{what} {}", path.display());
    }
    Ok(exit::DONE)
}
