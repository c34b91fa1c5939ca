//! `schedule`: the job as a service, which runs by its own schedule until it is stopped.
//!
//! Runs follow each other and never overlap; each is the very `run` of the command line. Whatever becomes of a run, the
//! schedule goes on: only a signal ends it.

mod check;
mod clock;
mod notify;

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use fastrand::Rng;
use serde_json::json;

use super::run::run;
use super::signals::{self, Reloads};
use crate::cli::{RunArgs, ScheduleArgs};
use crate::clock::{Moment, Span};
use crate::config::{Config, Scheduled};
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::Ledger;
use crate::log;
use crate::run::halt::Halt;
use crate::schedule::{Schedule, Timetable, Turn};
use clock::Clock;
use notify::Notify;

/// The clock is looked at this often, so that a machine that slept or a clock that was set is noticed soon.
const LONGEST_NAP: Duration = Duration::from_secs(15);

/// A start that comes later than this is said.
const LATE: Span = Span::seconds(60);

/// `log` is what the command line says of it.
pub async fn schedule(config: Config, args: &ScheduleArgs, log: log::Settings, json: bool) -> Result<u8> {
    let scheduled = scheduled(&config)?.clone();
    let clock = Clock::new(args);
    if args.check {
        return check::check(&config, &scheduled, clock.now(), args.count, json);
    }
    let mut service = Service::begin(config, &scheduled, clock, log)?;
    let code = service.serve().await;
    if json {
        document::print("schedule", code, &json!({ "check": false, "runs": service.runs }))?;
    }
    Ok(code)
}

fn scheduled(config: &Config) -> Result<&Scheduled> {
    config.schedule.as_ref().ok_or_else(|| {
        let remedy = "add a section [schedule] with a line like at = \"*/15 * * * *\"";
        anyhow!(Refused(format!("{}: there is no schedule in it ({remedy})", config.file.display())))
    })
}

/// The service.
struct Service {
    /// Used from the next run on when it is read again.
    config: Rc<Config>,
    timetable: Timetable,
    clock: Clock,
    halt: Halt,
    reloads: Reloads,
    notify: Notify,
    /// The last start found the ledger held by another run.
    held: bool,
    /// How the last run ended, for the service manager.
    last: String,
    /// Runs that were begun.
    runs: u64,
    log: log::Settings,
}

impl Service {
    /// What a mistyped path or a broken ledger would make of every run is found out at once.
    fn begin(config: Config, scheduled: &Scheduled, clock: Clock, log: log::Settings) -> Result<Service> {
        let halt = signals::halt()?;
        let reloads = Reloads::listen()?;
        let last = super::opened(&config, Ledger::open)?.last_ended_run()?;
        let now = clock.now();
        let accounted = last.map_or(now, |started| clock.at(started));
        let timetable = Timetable::new(scheduled.starts.clone(), accounted, now, Rng::new());
        Ok(Service {
            config: Rc::new(config),
            timetable,
            clock,
            halt,
            reloads,
            notify: Notify::begin(),
            held: false,
            last: "no run yet".to_owned(),
            runs: 0,
            log,
        })
    }

    /// Gives the exit code of the signal that ended it.
    async fn serve(&mut self) -> u8 {
        self.notify.ready();
        loop {
            if let Some(code) = self.halt.code() {
                self.notify.stopping();
                return code;
            }
            match self.timetable.turn(self.clock.now()) {
                Turn::SetBack(by) => {
                    say(
                        "clock",
                        &format!("the clock was set back by {}: the schedule goes by the new time", in_words(by)),
                    );
                }
                Turn::Wait(until) => self.wait(until).await,
                Turn::Begin { due, late, missed } => {
                    if late > LATE {
                        say("late", &late_words(due, late, missed));
                    }
                    self.run().await;
                }
            }
        }
    }

    /// Waits a while, or until something happens.
    async fn wait(&mut self, until: Option<Moment>) {
        let next = until.map_or("no further start".to_owned(), |until| format!("next start {until}"));
        self.notify.status(&format!("{next}; {}", self.last));
        let nap = until.map(|until| self.clock.real(until.since(self.clock.now())));
        let nap = nap.map_or(LONGEST_NAP, |nap| nap.min(LONGEST_NAP));
        tokio::select! {
            _ = self.halt.asked() => {}
            () = self.reloads.next() => self.reload(),
            () = self.notify.watchdog() => {}
            () = tokio::time::sleep(nap) => {}
        }
    }

    /// One run. Whatever becomes of it is told, and the schedule goes on.
    async fn run(&mut self) {
        let config = Rc::clone(&self.config);
        let wait = config.schedule.as_ref().and_then(|schedule| schedule.wait);
        let args = RunArgs { wait, ..RunArgs::default() };
        let started = Moment::now();
        self.notify.status(&format!("a run goes on since {started}"));
        let mut halt = self.halt.clone();
        self.runs += 1;
        let mut run = std::pin::pin!(run(&config, &args, false, self.halt.clone()));
        let ended = loop {
            tokio::select! {
                ended = run.as_mut() => break ended,
                () = self.reloads.next() => self.reload(),
                () = self.notify.watchdog() => {}
                _ = halt.asked(), if !self.notify.is_stopping() => self.notify.stopping(),
            }
        };
        let code = match &ended {
            Ok(code) => *code,
            Err(error) => exit::of_error(error),
        };
        self.last = format!("the run of {started} ended with {code}");
        self.tell(code, ended);
    }

    fn tell(&mut self, code: u8, ended: Result<u8>) {
        let held = code == exit::HELD;
        match ended {
            // How the ledger stands is no failure; `status` and the report tell it.
            Ok(_) => {}
            Err(_) if [exit::INTERRUPTED, exit::TERMINATED].contains(&code) => {}
            Err(_) if held && self.held => {}
            Err(error) if held => say("held", &format!("{error:#}; starts are skipped until then")),
            Err(error) => {
                say("run-failed", &format!("the run failed with exit code {code}, and the schedule goes on: {error:#}"))
            }
        }
        self.held = held;
    }

    /// Reads the configuration again; a bad one changes nothing.
    fn reload(&mut self) {
        self.notify.reloading();
        match self.read_again() {
            Ok((starts, config)) => {
                tracing::info!(event = "reload", "the configuration was read again");
                self.timetable.change(starts, self.clock.now());
                self.config = Rc::new(config);
            }
            Err(error) => say("reload", &format!("the old configuration is kept: {error:#}")),
        }
        self.notify.ready();
    }

    fn read_again(&self) -> Result<(Schedule, Config)> {
        let config = Config::load(Some(&self.config.file))?;
        let starts = scheduled(&config)?.starts.clone();
        log::adjust(self.log.or(config.log))?;
        Ok((starts, config))
    }
}

fn say(event: &'static str, what: &str) {
    tracing::warn!(event, "{what}");
}

fn late_words(due: Moment, late: Span, missed: usize) -> String {
    let more = match missed {
        0 => String::new(),
        1 => ", and makes up for the one after it".to_owned(),
        _ => format!(", and makes up for the {missed} after it"),
    };
    format!("the start of {due} is {} late{more}", in_words(late))
}

/// A span to the minute, or to the second when it is short.
fn in_words(span: Span) -> String {
    let seconds = span.0 / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0..5) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_as_people_tell_them() {
        for (seconds, words) in [(61, "61s"), (300, "5m"), (3_599, "59m"), (13_620, "3h 47m"), (180_000, "2d 2h")] {
            assert_eq!(in_words(Span::seconds(seconds)), words);
        }
    }
}
