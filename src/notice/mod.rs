//! Being heard: who is told that a run begins and how it ended, without anybody reading logs.
//!
//! # The story
//! 1. A run begins: the ping goes to `…/start`, so that a run which never ends is missed.
//! 2. It ends, however it does: what it did and how the ledger stands then is one [`Summary`], and the [`alert`] rules are
//!    held against it. Each alert that fires is said, and makes the exit code [`crate::exit::ALERTED`].
//! 3. The summary becomes a [`metrics`] file, a [`ping`] with the exit code, and the standard input of a [`hook`].
//!
//! # Failures
//! Whoever cannot be told is a warning. It never changes what the run did, nor its exit code.
//!
//! # Personal data
//! There is none in a [`Summary`], and nothing else goes out.

pub mod alert;
mod config;
mod hook;
mod metrics;
mod ping;
mod summary;

use std::path::PathBuf;

use crate::clock::Span;
use crate::config::Credential;

pub use config::{AlertFile, HookFile, MetricsFile, PingFile, Sections};
pub use summary::{Settled, Summary};

/// Who is to be told, as the configuration says; nobody without its sections.
#[derive(Debug, Default)]
pub struct Notices {
    pub ping: Option<Ping>,
    pub metrics: Option<PathBuf>,
    pub hook: Option<Hook>,
    pub rules: Vec<alert::Rule>,
}

/// `[ping]`: an address that is asked for when a run begins and ends.
#[derive(Debug)]
pub struct Ping {
    /// Whoever knows it can ping, so it is a secret.
    pub url: Credential,
    /// Exit codes that are told as 0.
    pub success: Vec<u8>,
}

/// `[hook]`: a command that is given the summary.
#[derive(Debug)]
pub struct Hook {
    /// Program and arguments; no shell comes between.
    pub command: Vec<String>,
    pub on: On,
    /// Then it is killed.
    pub timeout: Span,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// After every run.
    Always,
    /// After a run that settled something, or failed.
    Change,
    /// After a run that failed, left the server alone, corrected a verdict or ended with duplicate-risk or an alert.
    Trouble,
}

impl Notices {
    /// Whether anybody must know how the ledger stands when a run ends.
    pub fn want_ledger_state(&self) -> bool {
        self.metrics.is_some() || self.hook.is_some() || !self.rules.is_empty()
    }

    /// Tells that a run begins.
    pub async fn begins(&self) {
        if let Some(ping) = &self.ping {
            said(ping::tell(ping, "start").await, "ping-failed", "[ping] start");
        }
    }

    /// Tells how a run ended. `secrets` are environment variables that no hook gets to see.
    pub async fn ended(&self, summary: &Summary, secrets: &[&str]) {
        if let Some(file) = &self.metrics {
            said(metrics::write(file, summary, &self.rules), "metrics-failed", "[metrics]");
        }
        if let Some(ping) = &self.ping {
            let code = if ping.success.contains(&summary.exit) { 0 } else { summary.exit };
            said(ping::tell(ping, &code.to_string()).await, "ping-failed", &format!("[ping] {code}"));
        }
        if let Some(hook) = self.hook.as_ref().filter(|hook| summary.concerns(hook.on)) {
            said(hook::call(hook, summary, secrets).await, "hook-failed", "[hook]");
        }
    }
}

fn said(result: anyhow::Result<()>, event: &'static str, what: &str) {
    if let Err(error) = result {
        tracing::warn!(event, "warning: {what}: {error:#}");
    }
}
