//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::clock::{Moment, Span};
use crate::import::Format;
use crate::log;
use crate::words::{Outcome, Reason, Status};

const EXIT_CODES: &str = "\
Exit codes:
  0    all settled, no duplicate-risk that a person has not closed
  1    the job itself failed; nothing is lost, run again
  2    usage, configuration, or credentials refused
  3    some entries are duplicate-risk and not yet closed by a person
  4    some entries are still pending (also when the server could not be reached)
  5    `run`: an alert of the configuration fired
  11   another run holds the ledger
  130, 143  interrupted
3 wins over 4, 5 over both, every other over all three. `import`, `status`, `report` and `show` end 0 unless they fail.";

const RECORD_HELP: &str = r#"begin takes {"method":"POST","url":"https://…","body":{…}} and may be given request_id, operation_id, direction, sent_at.
end takes {"answered":201}, or {"failure":"timeout"|"network"|"not_sent"|"http","http_status":503,"error":"…"}, and
may be given ended_at, "keep":true (keep a trace of a clean answer) and "direction":"inbound".

--stdin takes a line for each: {"begin":{…}}, {"end":{"request_id":"…",…}}, or {"entry":{…}} for a whole row of the
ledger, and answers each in order: {"ok":true,"request_id":"…","became":"recorded"|"forgotten"|"unchanged"}, or
{"ok":false,"error":"…"}. An answer says that the line is durable; lines that are there already share one sync.
Nothing is in doubt any more about what became `forgotten`; what became `unchanged` was there, or had ended, before."#;

const SCHEDULE_HELP: &str = r#"The configuration says when, in crontab's words:

  [schedule]
  at = ["*/15 * * * *", "@hourly"]     # one line or several
  time_zone = "America/New_York"       # default "UTC"
  jitter = "30s"                       # each start is put off by a random time up to this; default "0s"
  wait = "10m"                         # as run --wait; default "0s"
  stop_timeout = "30s"                 # how long a stop waits for what is in flight

SIGTERM and SIGINT finish what is in flight and end with 143 and 130, a second one at once. SIGHUP reads the configuration
again and keeps the old one if the new is bad. No failed run ends it. systemd is notified (Type=notify-reload, WatchdogSec)."#;

/// Finds out what became of PRIVO requests that ended in a network error or a 5xx.
#[derive(Debug, Parser)]
#[command(name = "privo-reconcile", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration [default: ./privo-reconcile.toml, then the user's, then /etc/privo-reconcile/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document on standard output; errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// How warnings and events are told [default: text, or what [log] says]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub log: Option<log::Format>,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the ledger that the configuration names
    Init,
    /// Check configuration, ledger, credentials and controls
    Check,
    /// Record a request in the ledger, before sending it and after
    Record(RecordArgs),
    /// Take requests in doubt out of CSV, JSON lines, HAR or access logs into the ledger
    Import(ImportArgs),
    /// Look at what is due, settle what can be
    Run(RunArgs),
    /// Run by the configuration's own schedule, until stopped
    #[command(after_help = SCHEDULE_HELP)]
    Schedule(ScheduleArgs),
    /// Write the report of the whole ledger as CSV
    Report(ReportArgs),
    /// Say how many entries stand where
    Status,
    /// Tell the story of one entry
    Show {
        /// The writer's id of the attempt
        request_id: String,
    },
    /// Decide the whole ledger again from its stored evidence; exit 1 on any difference
    Verify,
    /// Settle entries by a person's word
    Close(CloseArgs),
    /// Play an outage against an embedded sandbox and reconcile it
    Demo(DemoArgs),
    /// Serve a look-alike of PRIVO's APIs on this machine, for rehearsals
    Sandbox(SandboxArgs),
}

impl Command {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Init => "init",
            Command::Check => "check",
            Command::Record(_) => "record",
            Command::Import(_) => "import",
            Command::Run(_) => "run",
            Command::Schedule(_) => "schedule",
            Command::Report(_) => "report",
            Command::Status => "status",
            Command::Show { .. } => "show",
            Command::Verify => "verify",
            Command::Close(_) => "close",
            Command::Demo(_) => "demo",
            Command::Sandbox(_) => "sandbox",
        }
    }
}

/// Options of `record`.
#[derive(Debug, Args)]
#[command(subcommand_required = false, arg_required_else_help = true, after_help = RECORD_HELP)]
pub struct RecordArgs {
    /// Take JSON lines until standard input ends, and answer each with one
    #[arg(long)]
    pub stdin: bool,
    /// Keep bodies whole; without it, only what the plan reads of them
    #[arg(long, global = true)]
    pub full_body: bool,
    #[command(subcommand)]
    pub form: Option<RecordForm>,
}

/// One record by one command.
#[derive(Debug, Subcommand)]
pub enum RecordForm {
    /// Before sending: JSON on standard input; prints the request's id once it is durable
    Begin,
    /// After: JSON on standard input says how it ended
    End {
        /// The id that `begin` printed
        request_id: String,
    },
}

/// Options of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What was written during the outage; what was rejected is told in FILE.rejected.jsonl
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What the files are written in [default: told by name and content]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
    /// Where the columns stand: [import.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub map: Option<String>,
    /// Say what would be imported; write neither ledger nor quarantine
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `run`.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// Then report on every entry of the ledger (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Look again at everything that was found not applied, whatever the watch says
    #[arg(long)]
    pub recheck: bool,
    /// Say what would be decided; write neither ledger nor report
    #[arg(long)]
    pub dry_run: bool,
    /// Go on until waiting can decide nothing more or the time is up, like 30m
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub wait: Option<Span>,
}

/// Options of `schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// Say the schedule in words and when the next runs begin; run nothing
    #[arg(long)]
    pub check: bool,
    /// How many of them
    #[arg(long, value_name = "NUMBER", default_value_t = 10, requires = "check")]
    pub count: usize,
    /// For tests: the schedule's clock goes so many times faster than the job's
    #[arg(long, value_name = "NUMBER", default_value_t = 1, hide = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub speed: u32,
    /// For tests: when that clock was right [default: now]
    #[arg(long, value_name = "TIME", hide = true, value_parser = moment)]
    pub speed_from: Option<Moment>,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Where it goes (`-`: standard output)
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// The same, as `run` takes it
    #[arg(long, alias = "output", short = 'o', value_name = "FILE", hide = true, conflicts_with = "file")]
    pub report: Option<PathBuf>,
    /// Show subjects and ids in full: personal data
    #[arg(long)]
    pub reveal: bool,
}

/// Options of `close`.
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The entries; or none, with filters
    #[arg(value_name = "REQUEST_ID")]
    pub request_ids: Vec<String>,
    /// Who says so
    #[arg(long, alias = "by", value_name = "NAME")]
    pub who: String,
    /// Why: what was found out and how
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// What became of it, if the person knows
    #[arg(long, value_name = "OUTCOME", default_value = "unknown")]
    pub outcome: Outcome,
    /// All entries of this status (with other filters: those that fit all)
    #[arg(long, value_name = "STATUS")]
    pub status: Option<Status>,
    /// All entries of this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<Reason>,
    /// All entries of this operation of the plan
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
    /// All attempts of this operation id
    #[arg(long, value_name = "ID")]
    pub operation_id: Option<String>,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Registrations that the partner makes
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    pub registrations: u32,
    /// What is random follows from this
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// Options of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Address and port (0: a free one); this machine only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    pub listen: SocketAddr,
    /// What is random follows from this
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Which faults it has (TOML; none without)
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
}

fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "not a duration (write <integer>s, m, h or d, like 30m)".to_owned())
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text)
        .ok_or_else(|| "not a time (write RFC 3339 with an offset, like 2026-03-01T12:00:00Z)".to_owned())
}
