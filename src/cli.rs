//! The command line.

mod examples;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

mod resend;

use crate::clock::{Moment, Span};
use crate::import;
use crate::log;
use crate::report::Format;
use crate::views::Audience;
use crate::words::{Outcome, Reason, Status};
pub use resend::ResendArgs;

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
3 wins over 4, 5 over both, every other over all three. `run --success 3,4` ends 0 instead of them.
`import`, `status`, `report`, `show`, `prune`, `forget`, `backup`, `move` and the list of `resend` end 0 unless they fail.";

const RECORD_HELP: &str = r#"Examples:
  ID=$(privo-reconcile record begin < request.json) || exit
  echo '{"answered":201}' | privo-reconcile record end "$ID"
  privo-reconcile record --stdin < records.jsonl

begin takes {"method":"POST","url":"https://…","body":{…}} and may be given request_id, operation_id, direction, sent_at.
end takes {"answered":201}, or {"failure":"timeout"|"network"|"not_sent"|"http","http_status":503,"error":"…"}, and
may be given ended_at, "keep":true (keep a trace of a clean answer) and "direction":"inbound".

--stdin takes a line for each: {"begin":{…}}, {"end":{"request_id":"…",…}}, or {"entry":{…}} for a whole row of the
ledger, and answers each in order: {"ok":true,"request_id":"…","became":"recorded"|"forgotten"|"unchanged"}, or
{"ok":false,"error":"…"}. An answer says that the line is durable; lines that are there already share one sync.
Nothing is in doubt any more about what became `forgotten`; what became `unchanged` was there, or had ended, before."#;

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
    /// How warnings and events are written [default: log.format of the configuration, else text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub log: Option<log::Format>,
    /// Say more: runs as they begin and end; given twice, every pass and transaction too
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show times in this time zone beside UTC, like Europe/Berlin [default: report.time_zone]
    #[arg(long, global = true, value_name = "ZONE", value_parser = crate::config::zone)]
    pub time_zone: Option<chrono_tz::Tz>,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What the command line says of the log.
    pub fn log_settings(&self) -> log::Settings {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some(log::Level::Error),
            (false, 0) => None,
            (false, 1) => Some(log::Level::Info),
            (false, _) => Some(log::Level::Debug),
        };
        log::Settings { format: self.log, level }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the ledger, and a commented configuration where there is none
    #[command(after_help = examples::INIT)]
    Init(InitArgs),
    /// Print a commented configuration: every key, and its default
    #[command(after_help = examples::CONFIG)]
    Config(ConfigArgs),
    /// Say whether a run would do its work, each finding with its remedy
    Check(CheckArgs),
    /// Help to write a plan: try it on one request
    Plan(PlanArgs),
    /// Record a request in the ledger, before sending it and after
    Record(RecordArgs),
    /// Take requests in doubt out of CSV, JSON lines, HAR or access logs into the ledger
    Import(ImportArgs),
    /// Ask the server about what is due, and settle what can be
    Run(RunArgs),
    /// Run by the configuration's own schedule, until stopped
    #[command(after_help = examples::SCHEDULE)]
    Schedule(ScheduleArgs),
    /// Write the report: of every entry, for PRIVO support, or for sending again
    Report(ReportArgs),
    /// List what may be sent again, approve it, and let your own code send it, once each
    Resend(ResendArgs),
    /// Count the entries by status and reason, and say what to do now
    #[command(after_help = examples::STATUS)]
    Status,
    /// For probes of containers: whether a run did its work lately; no network, exit 0 or 1
    #[command(after_help = examples::HEALTH)]
    Health(HealthArgs),
    /// Show one entry: every look at it and every verdict
    #[command(after_help = examples::SHOW)]
    Show(ShowArgs),
    /// Decide the whole ledger again from its stored evidence; exit 1 on any difference
    #[command(after_help = examples::VERIFY)]
    Verify,
    /// Settle entries by hand, with who says so and why
    Close(CloseArgs),
    /// Remove the personal fields of what was settled long ago
    Prune(PruneArgs),
    /// Remove the personal fields of whatever names a person: an erasure request
    Forget(ForgetArgs),
    /// Copy the ledger into a new file while writers go on
    #[command(after_help = examples::BACKUP)]
    Backup {
        /// The copy; the file must not exist yet
        file: PathBuf,
    },
    /// Move the ledger of a file into the empty PostgreSQL ledger of the configuration
    #[command(after_help = examples::MOVE)]
    Move {
        /// The file: it is read, refuses its writers afterwards, and stays
        #[arg(value_name = "FILE")]
        from: PathBuf,
    },
    /// Play an outage against an embedded sandbox and reconcile it
    Demo(DemoArgs),
    /// Serve a look-alike of PRIVO's APIs on this machine, for rehearsals
    Sandbox(SandboxArgs),
    /// Write the man pages
    #[command(after_help = examples::MAN)]
    Man {
        /// The folder, which must exist
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Print a shell's completions
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// Whose
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Config(_) => "config",
            Command::Check(_) => "check",
            Command::Plan(_) => "plan",
            Command::Record(_) => "record",
            Command::Import(_) => "import",
            Command::Run(_) => "run",
            Command::Schedule(_) => "schedule",
            Command::Report(_) => "report",
            Command::Resend(_) => "resend",
            Command::Status => "status",
            Command::Health(_) => "health",
            Command::Show(_) => "show",
            Command::Verify => "verify",
            Command::Close(_) => "close",
            Command::Prune(_) => "prune",
            Command::Forget(_) => "forget",
            Command::Backup { .. } => "backup",
            Command::Move { .. } => "move",
            Command::Demo(_) => "demo",
            Command::Sandbox(_) => "sandbox",
            Command::Man { .. } => "man",
            Command::Completions { .. } => "completions",
        }
    }
}

/// Options of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The plan of the configuration that is written: a shipped one, or a file [default: privo-gateway]
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<String>,
    /// Make nothing: print the statements that make the configuration's ledger, for whoever may run them
    #[arg(long, conflicts_with = "plan")]
    pub print: bool,
}

/// Options of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The plan that it is for: a shipped one, or a file [default: privo-gateway]
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<String>,
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
    #[command(after_help = examples::RECORD_BEGIN)]
    Begin,
    /// After: JSON on standard input says how it ended
    #[command(after_help = examples::RECORD_END)]
    End {
        /// The id that `begin` printed
        request_id: String,
    },
}

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = examples::CHECK)]
pub struct CheckArgs {
    /// Say of each assumption of the plan whether the answers bear it out, and what to ask for the rest
    #[arg(long)]
    pub assumptions: bool,
}

/// Options of `plan`.
#[derive(Debug, Args)]
#[command(after_help = examples::PLAN_TRY)]
pub struct PlanArgs {
    #[command(subcommand)]
    pub command: PlanCommand,
}

/// What is done with a plan.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Say how one request is read: operation, effects, keys, and the requests that its lookups would make
    #[command(after_help = examples::PLAN_TRY)]
    Try(TryArgs),
}

/// Options of `plan try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// The plan; without it, the configuration's
    #[arg(value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    /// The request's absolute URL; of a webhook anything
    #[arg(long)]
    pub url: String,
    #[arg(long, default_value = "POST")]
    pub method: String,
    /// The JSON body; `-` reads it from standard input
    #[arg(long)]
    pub body: Option<String>,
    /// It is a webhook that PRIVO sent
    #[arg(long)]
    pub inbound: bool,
    /// A parameter of the plan, NAME=VALUE
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Make the lookups, with the configuration's server and credentials, and say how the answers were read
    #[arg(long)]
    pub send: bool,
}

/// Options of `import`.
#[derive(Debug, Args)]
#[command(after_help = examples::IMPORT)]
pub struct ImportArgs {
    /// What was written during the outage (`-`: standard input); FILE.rejected.jsonl lists what was rejected
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The format of the files [default: by name and content]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<import::Format>,
    /// The mapping of columns: [import.NAME] of the configuration
    #[arg(long, value_name = "NAME")]
    pub map: Option<String>,
    /// Say what would be imported; write neither ledger nor quarantine
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `run`.
#[derive(Debug, Default, Args)]
#[command(after_help = examples::RUN)]
pub struct RunArgs {
    /// Then report on every entry of the ledger (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Look again at everything that was found not applied, whatever the watch says; decide anew what the plan reads otherwise
    #[arg(long)]
    pub recheck: bool,
    /// Say what would be decided; write neither ledger nor report
    #[arg(long)]
    pub dry_run: bool,
    /// Go on until waiting can decide nothing more or the time is up, like 30m
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub wait: Option<Span>,
    /// End with 0 instead of these exit codes, of 3, 4 and 11 [default: run.success of the configuration]
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = success)]
    pub success: Vec<u8>,
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
#[command(after_help = examples::REPORT)]
pub struct ReportArgs {
    /// Where it goes (`-`: standard output)
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// The same, as `run` takes it
    #[arg(long, alias = "output", short = 'o', value_name = "FILE", hide = true, conflicts_with = "file")]
    pub report: Option<PathBuf>,
    /// csv, jsonl, html or table [default: by the file's extension, else csv]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// For whom: `support` (what only PRIVO can answer, without personal data), `resend` (what to send again, then what may be, one
    /// row per operation)
    #[arg(long = "for", value_name = "READER", value_enum, hide_possible_values = true)]
    pub audience: Option<Audience>,
    /// Sent at or after this time: RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub since: Option<When>,
    /// Sent before this time
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub until: Option<When>,
    /// Of this operation of the plan
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
    /// Of this status (may be repeated: of any of them)
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// Of this reason (may be repeated: of any of them)
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<Reason>,
    /// Settled in this run
    #[arg(long, value_name = "ID")]
    pub run: Option<i64>,
    /// About the person with this pseudonym
    #[arg(long, value_name = "PSEUDONYM")]
    pub pseudonym: Option<String>,
    /// Settled since the last report with --new, for the same reader and filters
    #[arg(long, conflicts_with_all = ["until", "run", "pseudonym"])]
    pub new: bool,
    /// Begin with the byte order mark that Excel needs to read UTF-8
    #[arg(long)]
    pub excel: bool,
    /// Show subjects and ids in full: personal data; noted in the ledger
    #[arg(long)]
    pub reveal: bool,
    /// Why they are shown; required with --for support
    #[arg(long, value_name = "TEXT", requires = "reveal")]
    pub purpose: Option<String>,
}

/// A moment on the command line.
#[derive(Clone, Debug)]
pub enum When {
    /// So long before now.
    Ago(Span),
    At(Moment),
}

impl When {
    /// The moment that is meant when it is now `now`.
    pub fn before(&self, now: Moment) -> Moment {
        match self {
            When::Ago(span) => now - *span,
            When::At(moment) => *moment,
        }
    }
}

/// As it was written.
impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            When::Ago(span) => span.fmt(f),
            When::At(moment) => moment.fmt(f),
        }
    }
}

/// Options of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The last run that ended with 0, 3 or 4 may be so old: more than the time between two runs
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = span)]
    pub within: Span,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The writer's id of the attempt
    #[arg(required_unless_present = "pseudonym")]
    pub request_id: Option<String>,
    /// Every entry about the person with this pseudonym
    #[arg(long, value_name = "PSEUDONYM", conflicts_with = "request_id")]
    pub pseudonym: Option<String>,
}

/// Options of `close`.
#[derive(Debug, Args)]
#[command(after_help = examples::CLOSE)]
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
    /// Wait at most this long for a run that holds the ledger, instead of ending with 11
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub wait_lock: Option<Span>,
}

/// Options of `prune`.
#[derive(Debug, Args)]
#[command(after_help = examples::PRUNE)]
pub struct PruneArgs {
    /// Say how many entries would lose their personal fields; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How long after the verdict personal fields are kept [default: retention.settled of the configuration]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub older_than: Option<Span>,
    /// Wait at most this long for a run that holds the ledger, instead of ending with 11
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub wait_lock: Option<Span>,
    /// Rewrite the file, so that nothing of older copies is left in it; those who record wait as long
    #[arg(long, conflicts_with = "dry_run")]
    pub compact: bool,
}

/// Options of `forget`.
#[derive(Debug, Args)]
#[command(after_help = examples::FORGET)]
pub struct ForgetArgs {
    /// An email, a user name, an id; better `-`: a line on standard input, which no shell keeps
    pub subject: String,
    /// Who says so
    #[arg(long, alias = "by", value_name = "NAME")]
    pub who: String,
    /// Why, without naming the subject: it is kept
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Also what is pending: it is closed, and nobody will know what became of it
    #[arg(long)]
    pub even_pending: bool,
    /// Say what would be forgotten; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait at most this long for a run that holds the ledger, instead of ending with 11
    #[arg(long, value_name = "DURATION", value_parser = span)]
    pub wait_lock: Option<Span>,
}

/// Options of `demo`.
#[derive(Debug, Args)]
#[command(after_help = examples::DEMO)]
pub struct DemoArgs {
    /// Registrations that the partner makes
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    pub registrations: u32,
    /// What is random follows from this
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Keep both ledgers in this PostgreSQL, as postgresql://user@host/database, in schemas of the demo's own
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
}

/// Options of `sandbox`.
#[derive(Debug, Args)]
#[command(after_help = examples::SANDBOX)]
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

fn success(text: &str) -> Result<u8, String> {
    crate::exit::nameable(text.trim().parse().unwrap_or(-1))
}

fn when(text: &str) -> Result<When, String> {
    let moment = || Moment::parse(text).map(When::At);
    let neither = "neither a time (RFC 3339 with an offset, like 2026-03-01T12:00:00Z) nor a duration (like 2h)";
    Span::parse(text).map(When::Ago).or_else(moment).ok_or_else(|| neither.to_owned())
}

fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text)
        .ok_or_else(|| "not a time (write RFC 3339 with an offset, like 2026-03-01T12:00:00Z)".to_owned())
}
