//! The commands: each opens what it needs, does its one thing and says how the ledger stands.

mod backup;
mod changes;
mod check;
mod close;
mod demo;
mod forget;
mod health;
mod import;
mod init;
mod moving;
mod pages;
mod person;
mod plan;
mod prune;
mod record;
mod report;
mod resend;
mod run;
mod sandbox;
mod schedule;
mod signals;
mod tell;

use std::cell::OnceCell;
use std::time::Duration;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::clock::{Span, tick};
use crate::config::{Config, Place};
use crate::exit::{self, Refused};
use crate::ledger::{self, Ledger};
use crate::log;

/// Who waits for the lock asks for it so often.
const LOCK_ASKED_EVERY: Duration = Duration::from_millis(200);

/// Executes a command; gives its exit code.
///
/// # Errors
/// See [`exit::of_error`].
pub async fn execute(cli: Cli) -> Result<u8> {
    log::adjust(cli.log_settings())?;
    signals::outlive_file_limits()?;
    let json = cli.json;
    let ledger = OnceCell::new();
    let config = || load(&cli).inspect(|config| _ = ledger.set(config.ledger.clone()));
    let done = match &cli.command {
        Command::Init(args) => init::init(&cli, args, config),
        Command::Config(args) => init::config(args, json),
        Command::Check(args) => check::check(&cli, args).await,
        Command::Plan(args) => plan::plan(&cli, args, json).await,
        Command::Record(args) => record::record(&config()?, args, json),
        Command::Import(args) => import::import(&config()?, args, json),
        Command::Run(args) => run::run_for(&config()?, args, json, signals::halt()?).await,
        Command::Schedule(args) => schedule::schedule(config()?, args, cli.log_settings(), json).await,
        Command::Report(args) => report::report(&config()?, args, json),
        Command::Resend(args) => resend::resend(&config()?, args, json).await,
        Command::Status => tell::status(&config()?, json),
        Command::Health(args) => health::health(&config()?, args, json),
        Command::Show(args) => tell::show(&config()?, args, json),
        Command::Verify => tell::verify(&config()?, json),
        Command::Close(args) => close::close(&config()?, args, json),
        Command::Prune(args) => prune::prune(&config()?, args, json),
        Command::Forget(args) => forget::forget(&config()?, args, json),
        Command::Backup { file } => backup::backup(&config()?, file, json),
        Command::Move { from } => moving::move_in(&config()?, from, json),
        Command::Demo(args) => demo::demo(args, json).await,
        Command::Sandbox(args) => sandbox::serve(args, json).await,
        Command::Man { folder } => pages::man(folder),
        Command::Completions { shell } => pages::completions(*shell),
    };
    done.map_err(|error| match ledger.get() {
        Some(place) => ledger::explained(place, error),
        None => error,
    })
}

/// Says why a command failed.
pub fn say_error(error: &anyhow::Error) {
    tracing::error!(event = "failed", "{error:#}");
}

fn load(cli: &Cli) -> Result<Config> {
    let config = Config::load(cli.config.as_deref());
    let config = config.map_err(|error| anyhow::Error::new(Refused(format!("{error:#}"))))?;
    set_up_log(cli, &config)?;
    let time_zone = cli.time_zone.or(config.time_zone);
    Ok(Config { time_zone, ..config })
}

/// The log as the configuration wants it; the command line goes before.
fn set_up_log(cli: &Cli, config: &Config) -> Result<()> {
    log::adjust(cli.log_settings().or(config.log))
}

/// Opens the ledger of a configuration, in the way of the command; one of another server is refused.
fn opened(config: &Config, open: fn(Place) -> Result<Ledger>) -> Result<Ledger> {
    let ledger = open(config.ledger.clone())?;
    ledger.refuse_other_server(&config.server.base_url, &config.server.also)?;
    Ok(ledger)
}

/// Opens it to be written, with the lock of a run; one that is held is waited for, so long.
fn opened_alone(config: &Config, patience: Option<Span>) -> Result<Ledger> {
    let until = tick() + patience.unwrap_or(Span::ZERO).duration();
    loop {
        let ledger = opened(config, Ledger::open_locked);
        let held = ledger.as_ref().is_err_and(|error| exit::of_error(error) == exit::HELD);
        let left = until.saturating_duration_since(tick());
        if !held || left.is_zero() {
            return ledger;
        }
        std::thread::sleep(left.min(LOCK_ASKED_EVERY));
    }
}
