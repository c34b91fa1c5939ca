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

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, layer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{self, Handle};

use crate::exit::Refused;

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

const FORMATS: [Format; 3] = [Format::Text, Format::Json, Format::Journald];
const LEVELS: [LevelFilter; 4] = [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::ERROR];

/// Places in the lists above.
static FORMAT: AtomicU8 = AtomicU8::new(0);
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// journald, once it is asked for.
static JOURNALD: OnceLock<Handle<Option<tracing_journald::Layer>, Registry>> = OnceLock::new();

/// Begins to log, as text and what a person must hear of, until [`adjust`] says otherwise.
pub fn start() {
    let (journald, handle) = reload::Layer::new(None);
    let _ = JOURNALD.set(handle);
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        // A word for programs, and a whole document.
        "event" | "summary" => Ok(()),
        name if tells_runs() => write!(writer, " {name}={value:?}"),
        _ => Ok(()),
    });
    let text = layer().event_format(Lines).fmt_fields(fields).with_writer(std::io::stderr);
    let json = layer().json().flatten_event(true).with_span_list(false).with_target(false).with_writer(std::io::stderr);
    let log = tracing_subscriber::registry()
        .with(journald.with_filter(filter_fn(|event| is_said(event, Format::Journald))))
        .with(json.log_internal_errors(false).with_filter(filter_fn(|event| is_said(event, Format::Json))))
        .with(text.log_internal_errors(false).with_filter(filter_fn(|event| is_said(event, Format::Text))));
    // Only a second call fails, and then there is a log already.
    let _ = tracing::subscriber::set_global_default(log);
}

/// Logs as the settings say from now on; what they do not name is as usual.
///
/// # Errors
/// [`Refused`] when journald is asked for and is not there.
pub fn adjust(settings: Settings) -> Result<()> {
    let format = settings.format.unwrap_or(Format::Text);
    if format == Format::Journald {
        let journald = journald().map_err(|error| {
            let remedy = "log.format or --log: use text or json where systemd does not run";
            Refused(format!("failed to reach journald: {error} ({remedy})"))
        })?;
        // Without a handle nothing is logged at all.
        let _ = JOURNALD.get().map(|handle| handle.reload(journald));
    }
    let level = match settings.level.unwrap_or(Level::Warn) {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    FORMAT.store(place(&FORMATS, format), Ordering::Relaxed);
    LEVEL.store(place(&LEVELS, level), Ordering::Relaxed);
    // Which events are said is remembered for each place that says one.
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// Whether standard error is for people alone: text, and no more than what they must hear of. Only then may a progress
/// bar or a summary stand there.
pub fn is_plain() -> bool {
    format() == Format::Text && level() == LevelFilter::WARN
}

/// Whether runs are logged as they begin and end.
pub fn tells_runs() -> bool {
    level() >= LevelFilter::INFO
}

fn place<T: PartialEq>(list: &[T], item: T) -> u8 {
    list.iter().position(|other| *other == item).unwrap_or(0) as u8
}

fn format() -> Format {
    FORMATS[usize::from(FORMAT.load(Ordering::Relaxed))]
}

fn level() -> LevelFilter {
    LEVELS[usize::from(LEVEL.load(Ordering::Relaxed))]
}

/// Whether an event of this crate is said in this format, or a span, which tells the run of what is said within it. A
/// format that comes up in the midst of a span does without it.
fn is_said(metadata: &Metadata, to: Format) -> bool {
    let is_ours = metadata.target().starts_with("privo_reconcile");
    is_ours && to == format() && (metadata.is_span() || *metadata.level() <= level())
}

/// journald, with the job's name at each entry and at each field of its own.
fn journald() -> std::io::Result<tracing_journald::Layer> {
    let (info, debug) = (Priority::Informational, Priority::Debug);
    Ok(tracing_journald::layer()?
        .with_syslog_identifier("privo-reconcile".to_owned())
        .with_field_prefix(Some("PRIVO".to_owned()))
        .with_priority_mappings(PriorityMappings { info, debug, ..PriorityMappings::new() }))
}

/// Lines for people: the message, and where runs are told the time and level before it and the fields behind it.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if tells_runs() {
            SystemTime.format_time(&mut writer)?;
            write!(writer, " {:<5} ", event.metadata().level())?;
        }
        writer.write_str("privo-reconcile: ")?;
        context.format_fields(writer.by_ref(), event)?;
        if let Some(span) = context.lookup_current()
            && let Some(run) = span.extensions().get::<FormattedFields<N>>()
        {
            writer.write_str(run)?;
        }
        writeln!(writer)
    }
}
