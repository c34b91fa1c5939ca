//! What a run did and how the ledger stands after it: one value for `run --json`, hooks, metrics and the log.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::On;
use super::alert::Alert;
use crate::clock::Moment;
use crate::exit;
use crate::views::LedgerState;
use crate::words::{Seen, Status};

/// A run's summary. Its JSON is described in `docs/JSON.md`; keys are only added.
#[derive(Clone, Debug)]
pub struct Summary {
    /// `None`: it failed before it had an id.
    pub run: Option<i64>,
    /// The ledger's name; `None`: it could not be opened.
    pub ledger: Option<String>,
    /// Scheme, host and port.
    pub server: String,
    pub plan: String,
    pub plan_digest: String,
    pub started: Moment,
    pub ended: Moment,
    pub exit: u8,
    /// Entries.
    pub examined: u64,
    /// To the server.
    pub requests: u64,
    pub settled: Settled,
    /// Entries.
    pub deferred: u64,
    pub corrections: u64,
    /// Observations by what was seen.
    pub lookups: BTreeMap<Seen, u64>,
    /// Why the server was left alone.
    pub trouble: Option<String>,
    /// Why the run failed.
    pub error: Option<String>,
    /// `None`: the ledger could not be read.
    pub ledger_state: Option<LedgerState>,
    pub alerts: Vec<Alert>,
}

/// Verdicts of a run, by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settled {
    pub resolved: u64,
    pub duplicate_risk: u64,
}

impl Settled {
    /// All of them.
    pub fn total(self) -> u64 {
        self.resolved + self.duplicate_risk
    }
}

impl Summary {
    /// How long it took, in seconds; none when the clock was set back.
    pub fn duration_seconds(&self) -> f64 {
        self.ended.since(self.started).duration().as_secs_f64()
    }

    /// Whether a hook that is called then is called.
    pub fn concerns(&self, on: On) -> bool {
        let stopped = matches!(self.exit, exit::INTERRUPTED | exit::TERMINATED);
        let failed = self.error.is_some() && !stopped;
        match on {
            On::Always => true,
            On::Change => failed || self.settled.total() > 0,
            On::Trouble => {
                let state = matches!(self.exit, exit::DUPLICATE_RISK | exit::ALERTED);
                failed || state || self.trouble.is_some() || self.corrections > 0
            }
        }
    }

    /// In one line, for the log.
    pub fn line(&self) -> String {
        format!(
            "run ends with exit code {}: {} examined with {} requests, {} settled, {} deferred, {} corrections",
            self.exit,
            self.examined,
            self.requests,
            self.settled.total(),
            self.deferred,
            self.corrections
        )
    }
}

/// The keys that are told, in their order.
#[derive(Serialize)]
struct Keys<'a> {
    dry_run: bool,
    version: &'static str,
    run: Option<i64>,
    ledger: Option<&'a str>,
    server: &'a str,
    plan: &'a str,
    plan_digest: &'a str,
    started: String,
    ended: String,
    duration_seconds: f64,
    examined: u64,
    requests: u64,
    settled: Settled,
    deferred: u64,
    corrections: u64,
    lookups: BTreeMap<&'static str, u64>,
    trouble: Option<&'a str>,
    error: Option<serde_json::Value>,
    pending: Option<u64>,
    resolved: Option<u64>,
    duplicate_risk: Option<u64>,
    rows: Option<Vec<serde_json::Value>>,
    oldest_pending_sent_at: Option<String>,
    last_success: Option<String>,
    alerts: &'a [Alert],
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = self.ledger_state.as_ref().map(|ledger_state| &ledger_state.counts);
        let of = |status: Status| counts.map(|counts| counts.of(status));
        Keys {
            dry_run: false,
            version: env!("CARGO_PKG_VERSION"),
            run: self.run,
            ledger: self.ledger.as_deref(),
            server: &self.server,
            plan: &self.plan,
            plan_digest: &self.plan_digest,
            started: self.started.to_string(),
            ended: self.ended.to_string(),
            duration_seconds: self.duration_seconds(),
            examined: self.examined,
            requests: self.requests,
            settled: self.settled,
            deferred: self.deferred,
            corrections: self.corrections,
            lookups: Seen::ALL
                .iter()
                .map(|seen| (seen.text(), self.lookups.get(seen).copied().unwrap_or_default()))
                .collect(),
            trouble: self.trouble.as_deref(),
            error: self.error.as_deref().map(|message| crate::document::error(self.exit, message)),
            pending: of(Status::Pending),
            resolved: of(Status::Resolved),
            duplicate_risk: of(Status::DuplicateRisk),
            rows: counts.map(|counts| counts.to_json()),
            oldest_pending_sent_at: counts.and_then(|counts| counts.oldest_pending).map(|sent| sent.to_string()),
            last_success: self.ledger_state.as_ref().and_then(|s| s.last_success).map(|ended| ended.to_string()),
            alerts: &self.alerts,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A run that did nothing.
    pub fn idle() -> Summary {
        Summary {
            run: Some(1),
            ledger: Some("l".to_owned()),
            server: "http://127.0.0.1:9".to_owned(),
            plan: "privo-gateway".to_owned(),
            plan_digest: "d".to_owned(),
            started: Moment(1_000),
            ended: Moment(2_500),
            exit: exit::DONE,
            examined: 0,
            requests: 0,
            settled: Settled::default(),
            deferred: 0,
            corrections: 0,
            lookups: BTreeMap::new(),
            trouble: None,
            error: None,
            ledger_state: Some(LedgerState::default()),
            alerts: Vec::new(),
        }
    }

    #[test]
    fn a_hook_hears_of_what_it_asked_for() {
        let failed = |exit| Summary { exit, error: Some("x".to_owned()), ..idle() };
        let settled = Settled { resolved: 1, duplicate_risk: 0 };
        for (what, summary, change, trouble) in [
            ("idle", idle(), false, false),
            ("settled", Summary { settled, ..idle() }, true, false),
            ("corrected", Summary { settled, corrections: 1, ..idle() }, true, true),
            ("pending", Summary { exit: exit::PENDING, ..idle() }, false, false),
            ("duplicate-risk", Summary { exit: exit::DUPLICATE_RISK, ..idle() }, false, true),
            ("alerted", Summary { exit: exit::ALERTED, ..idle() }, false, true),
            ("left alone", Summary { exit: exit::PENDING, trouble: Some("x".to_owned()), ..idle() }, false, true),
            ("failed", failed(exit::FAILED), true, true),
            ("held", failed(exit::HELD), true, true),
            ("stopped", failed(exit::TERMINATED), false, false),
        ] {
            assert!(summary.concerns(On::Always));
            assert_eq!((summary.concerns(On::Change), summary.concerns(On::Trouble)), (change, trouble), "{what}");
        }
    }
}
