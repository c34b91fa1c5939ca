//! Logs: what the job says to standard error or to journald, as lines for people, as JSON, or as journal entries.
//!
//! # Silence
//! At the usual level only what a person must hear of is said, as `privo-reconcile: …`; cron mails it.
//!
//! # Personal data
//! Only events of this crate pass. Those of the HTTP client hold URLs, and a URL may hold an email.
//!
//! # One place for all
//! A process has one log, so its settings stand in statics: whatever was logged before the configuration was read, and
//! whatever is logged after it was read again, goes where the settings say at that moment.

mod journal;
mod line;

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Moment;
use crate::exit::Refused;
use journal::Journal;
use line::{Line, RunField};

/// What a line looks like and where it goes: lines for people or JSON objects on standard error, or entries of the systemd
/// journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Json,
    Journald,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Why a command failed.
    Error,
    /// What a person must hear of.
    Warn,
    /// Runs too, as they begin and end.
    Info,
    /// Every pass and every transaction too.
    Debug,
}

/// `[log]` of the configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub format: Option<Format>,
    pub level: Option<Level>,
}

impl Settings {
    /// These, and where they say nothing, those.
    pub fn or(self, other: Settings) -> Settings {
        Settings { format: self.format.or(other.format), level: self.level.or(other.level) }
    }
}

/// Where journald listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

const FORMATS: [Format; 3] = [Format::Text, Format::Json, Format::Journald];
const LEVELS: [Level; 4] = [Level::Warn, Level::Info, Level::Debug, Level::Error];

/// Places in the lists above.
static FORMAT: AtomicU8 = AtomicU8::new(0);
static LEVEL: AtomicU8 = AtomicU8::new(0);
static JOURNALD: OnceLock<Journal> = OnceLock::new();

/// Begins to log, as text and what a person must hear of, until [`adjust`] says otherwise.
pub fn start() {
    // Only a second call fails, and then there is a log already.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Log));
}

/// Logs as the settings say from now on; what they do not name is as usual.
///
/// # Errors
/// [`Refused`] when journald is asked for and is not there.
pub fn adjust(settings: Settings) -> Result<()> {
    let format = settings.format.unwrap_or(Format::Text);
    if format == Format::Journald && JOURNALD.get().is_none() {
        let journal = Journal::open(Path::new(JOURNAL)).map_err(|error| {
            let remedy = "log.format or --log: use text or json where systemd does not run";
            Refused(format!("failed to reach journald at {JOURNAL}: {error} ({remedy})"))
        })?;
        let _ = JOURNALD.set(journal);
    }
    FORMAT.store(place(&FORMATS, format), Ordering::Relaxed);
    LEVEL.store(place(&LEVELS, settings.level.unwrap_or(Level::Warn)), Ordering::Relaxed);
    Ok(())
}

/// Whether standard error is for people alone: text, and no more than what they must hear of. Only then may a progress
/// bar or a summary stand there.
pub fn is_plain() -> bool {
    format() == Format::Text && level() == Level::Warn
}

/// Whether runs are logged as they begin and end.
pub fn tells_runs() -> bool {
    matches!(level(), Level::Info | Level::Debug)
}

fn place<T: PartialEq>(list: &[T], item: T) -> u8 {
    list.iter().position(|other| *other == item).unwrap_or(0) as u8
}

fn format() -> Format {
    FORMATS[usize::from(FORMAT.load(Ordering::Relaxed))]
}

fn level() -> Level {
    LEVELS[usize::from(LEVEL.load(Ordering::Relaxed))]
}

fn is_ours(metadata: &Metadata) -> bool {
    metadata.target().starts_with("privo_reconcile")
}

/// Takes every event of this crate and writes it.
struct Log;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The level may change while the program runs, so it is asked for each time.
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let most = match level() {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        };
        // A span is not said: it tells the run of what is said within it.
        is_ours(metadata) && (metadata.is_span() || *metadata.level() <= most)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut field = RunField::default();
        attributes.record(&mut field);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(field);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(field) = span.extensions_mut().get_mut::<RunField>()
        {
            values.record(field);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let run = context
            .event_scope(event)
            .into_iter()
            .flatten()
            .find_map(|span| span.extensions().get::<RunField>().and_then(|field| field.run));
        let line = Line::new(event, run, Moment::now());
        let text = match (format(), JOURNALD.get()) {
            (Format::Journald, Some(journal)) => return journal.send(&line),
            (Format::Json, _) => line.json(),
            _ if !tells_runs() => line.plain(),
            _ => line.text(),
        };
        // Nobody can be told that nobody listens.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}
