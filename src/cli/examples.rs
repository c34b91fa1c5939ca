//! What `--help` shows below a command's options, and its man page under EXAMPLES.

pub(super) const INIT: &str = "\
Examples:
  privo-reconcile init                        # writes ./privo-reconcile.toml where no configuration is found
  privo-reconcile init --plan privo-consent
  umask 0007; privo-reconcile --config /etc/privo-reconcile/config.toml init   # a group of writers

Nothing that is there is ever replaced. A plan is the partner's error-handling plan: privo-gateway, privo-consent, or a file.";
pub(super) const CONFIG: &str = "\
Example:
  privo-reconcile config --plan privo-consent > privo-reconcile.toml";
pub(super) const CHECK: &str = "\
Examples:
  privo-reconcile check
  privo-reconcile check | grep -v '^ok'   # only what is not as it should be
  privo-reconcile check --assumptions     # against the integration environment: what of the plan is borne out

Findings begin with ok, note or BAD. Exit code 0: none is BAD; 2: one is a mistake in the configuration, or credentials
are refused; 1: anything else is BAD. Nothing is written, and it may run beside a run and its writers.";
pub(super) const PLAN_TRY: &str = r#"Examples:
  privo-reconcile plan try mine.toml --url https://api.example/users --body '{"email":"kim@example.com"}'
  privo-reconcile plan try --url https://api.example/users/7 --method DELETE --send

Without --send nothing is sent. What is shown holds the values that you give: try it with made-up ones."#;
pub(super) const RUN: &str = "\
Examples:
  privo-reconcile run                                  # from cron or a timer
  privo-reconcile run --wait 30m --report report.csv   # by hand, after an outage
  privo-reconcile run --dry-run                        # what would be decided
  privo-reconcile run --success 3,4                    # a scheduler that knows only success and failure";
pub(super) const SCHEDULE: &str = r#"Examples:
  privo-reconcile schedule --check   # in words, and the next starts
  privo-reconcile schedule           # as a service, until it is stopped

The configuration says when, in crontab's words:

  [schedule]
  at = ["*/15 * * * *", "@hourly"]     # one line or several
  time_zone = "America/New_York"       # default "UTC"
  jitter = "30s"                       # each start is put off by a random time up to this; default "0s"
  wait = "10m"                         # as run --wait; default "0s"
  stop_timeout = "30s"                 # how long a stop waits for what is in flight

SIGTERM and SIGINT finish what is in flight and end with 143 and 130, a second one at once. SIGHUP reads the configuration
again and keeps the old one if the new is bad. No failed run ends it. systemd is notified (Type=notify, WatchdogSec)."#;
pub(super) const REPORT: &str = "\
Examples:
  privo-reconcile report report.csv    # and report.csv.meta.json beside it
  privo-reconcile report report.html   # one page for people
  privo-reconcile report | head
  privo-reconcile report --reveal full.csv";
pub(super) const STATUS: &str = "\
Examples:
  privo-reconcile status
  privo-reconcile status --json | jq .duplicate_risk";
pub(super) const HEALTH: &str = "\
Examples:
  privo-reconcile health                # of a job that runs every hour or more often
  privo-reconcile health --within 26h   # of one that runs once a day

Exit code 0: the ledger can be opened, and a run that did its work ended so lately; 1: not so, and why; 2: a mistake in the
usage or the configuration.";
pub(super) const SHOW: &str = "\
Example:
  privo-reconcile show 7b0c/1";
pub(super) const PRUNE: &str = "\
Examples:
  privo-reconcile prune --dry-run            # how many entries, by operation and status
  privo-reconcile prune                      # as retention.settled of the configuration says
  privo-reconcile prune --older-than 90d
  privo-reconcile prune --wait-lock 30m      # nightly: a run that goes on is waited for
  privo-reconcile prune --compact            # at a quiet time: rewrites the file, and holds it meanwhile";
pub(super) const FORGET: &str = "\
Examples:
  privo-reconcile forget - --dry-run --who 'Dana' --why 'erasure request 4711' < subject
  privo-reconcile forget - --who 'Dana' --why 'erasure request 4711' < subject";
pub(super) const BACKUP: &str = "\
Example:
  privo-reconcile backup \"ledger-$(date +%F).db\"";
pub(super) const MOVE: &str = "\
Example:
  privo-reconcile init && privo-reconcile move /var/lib/partner/ledger.db   # [ledger] postgres = …

Stop the writers before, or have them record in PostgreSQL right afterwards: the file refuses whoever records into it once
it has moved. All of it moves or nothing; killed and done again it goes on. docs/POSTGRESQL.md says more.";
pub(super) const VERIFY: &str = "\
Example:
  privo-reconcile verify";
pub(super) const IMPORT: &str = "\
Examples:
  privo-reconcile import --dry-run outage.har
  privo-reconcile import --format nginx access.log access.log.1
  privo-reconcile import --map gateway requests.csv   # as [import.gateway] of the configuration says";
pub(super) const RECORD_BEGIN: &str = r#"Example:
  echo '{"method":"POST","url":"https://…","body":{…}}' | privo-reconcile record begin"#;
pub(super) const RECORD_END: &str = r#"Examples:
  echo '{"answered":201}' | privo-reconcile record end "$ID"
  echo '{"failure":"timeout"}' | privo-reconcile record end "$ID""#;
pub(super) const CLOSE: &str = "\
Examples:
  privo-reconcile close 7b0c/1 --who ann --why 'PRIVO ticket 4711: applied' --outcome applied
  privo-reconcile close --reason unobservable --who ann --why 'asked the parents'";
pub(super) const DEMO: &str = "\
Examples:
  privo-reconcile demo
  privo-reconcile demo --registrations 200 --seed 7";
pub(super) const SANDBOX: &str = "\
Examples:
  privo-reconcile sandbox
  privo-reconcile sandbox --listen 127.0.0.1:0 --faults faults.toml > sandbox.url";
pub(super) const MAN: &str = "\
Example:
  privo-reconcile man /usr/local/share/man/man1";
pub(super) const COMPLETIONS: &str = "\
Example:
  privo-reconcile completions bash > /etc/bash_completion.d/privo-reconcile";
