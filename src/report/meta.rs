//! What stands behind a report: enough for an auditor to decide again.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::Format;
use crate::views::{Audience, Filter, RunFacts};

/// What went into a report, known once it is written.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub rows: u64,
    /// The last verdict that the ledger had.
    pub last_verdict: i64,
    /// SHA-256 of the report's bytes, in hexadecimal.
    pub sha256: String,
    /// The runs that settled its rows.
    pub runs: std::collections::BTreeSet<i64>,
}

/// A writer that digests what goes through it.
pub struct Digesting<W> {
    inner: W,
    digest: Sha256,
}

impl<W: Write> Digesting<W> {
    /// Around another writer.
    pub fn new(inner: W) -> Digesting<W> {
        Digesting { inner, digest: Sha256::new() }
    }

    /// SHA-256 of all that went through, in hexadecimal.
    pub fn sha256(self) -> String {
        crate::plan::hex(&self.digest.finalize())
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The meta data of a report. No time of its own: the same ledger gives the same bytes.
#[derive(Debug, serde::Serialize)]
pub struct Meta<'a> {
    /// The version of this form.
    format: u32,
    tool: &'static str,
    version: &'static str,
    /// The ledger's name.
    ledger: &'a str,
    schema_version: i64,
    /// The last verdict that the ledger had: later ones were not there yet.
    last_verdict: i64,
    report: Report<'a>,
    rows: u64,
    /// Of the report's bytes.
    sha256: &'a str,
    /// Subjects and ids are shown in full.
    in_full: bool,
    /// What they are shown for.
    purpose: Option<&'a str>,
    /// The id of the key that the pseudonyms were made with.
    pseudonym_key: Option<&'a str>,
    /// The configured plan, under which new entries are read.
    plan: Plan<'a>,
    /// The run that the report follows.
    run: Option<&'a RunFacts>,
    /// The runs whose verdicts it shows, those together that decided under the same.
    decided_under: Vec<DecidedUnder<'a>>,
}

/// What was asked for.
#[derive(Debug, serde::Serialize)]
struct Report<'a> {
    #[serde(rename = "for")]
    audience: Audience,
    form: Format,
    columns: &'a [&'static str],
    filters: serde_json::Value,
}

#[derive(Debug, serde::Serialize)]
struct Plan<'a> {
    name: &'a str,
    digest: &'a str,
}

/// Everything that a decision assumes besides its evidence.
#[derive(Debug, serde::Serialize)]
struct DecidedUnder<'a> {
    version: &'a str,
    plan: &'a str,
    plan_digest: &'a str,
    server: &'a str,
    windows: &'a BTreeMap<String, String>,
    controls: &'a serde_json::Value,
    runs: Vec<i64>,
    first_started: &'a str,
    last_started: &'a str,
}

/// What the meta data are made of.
pub struct Sources<'a> {
    pub ledger: &'a str,
    pub schema_version: i64,
    pub contents: &'a Contents,
    pub filter: &'a Filter,
    pub form: Format,
    pub columns: &'a [&'static str],
    pub in_full: bool,
    pub purpose: Option<&'a str>,
    pub pseudonym_key: Option<&'a str>,
    /// Name and digest.
    pub plan: (&'a str, &'a str),
    pub run: Option<&'a RunFacts>,
    /// Those of [`Told::runs`].
    pub runs: &'a [RunFacts],
}

impl<'a> Meta<'a> {
    /// The meta data of a report.
    pub fn new(sources: &Sources<'a>) -> Meta<'a> {
        let Sources {
            ledger, schema_version, contents, form, columns, in_full, purpose, pseudonym_key, plan, run, ..
        } = *sources;
        Meta {
            format: 1,
            tool: "privo-reconcile",
            version: env!("CARGO_PKG_VERSION"),
            ledger,
            schema_version,
            last_verdict: contents.last_verdict,
            report: Report { audience: sources.filter.audience, form, columns, filters: filters(sources.filter) },
            rows: contents.rows,
            sha256: &contents.sha256,
            in_full,
            purpose,
            pseudonym_key,
            plan: Plan { name: plan.0, digest: plan.1 },
            run,
            decided_under: decided_under(sources.runs),
        }
    }

    /// As JSON text.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The filters that were set.
pub fn filters(filter: &Filter) -> serde_json::Value {
    let mut set = serde_json::Map::new();
    let mut note = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            set.insert(name.to_owned(), value);
        }
    };
    note("since", filter.since.map(|since| since.to_string().into()));
    note("until", filter.until.map(|until| until.to_string().into()));
    note("operation", filter.operation.clone().map(Into::into));
    note("status", (!filter.statuses.is_empty()).then(|| serde_json::json!(filter.statuses)));
    note("reason", (!filter.reasons.is_empty()).then(|| serde_json::json!(filter.reasons)));
    note("run", filter.run.map(Into::into));
    note("after_verdict", filter.after_verdict.map(Into::into));
    note("pseudonym", filter.pseudonym.clone().map(Into::into));
    set.into()
}

fn decided_under(runs: &[RunFacts]) -> Vec<DecidedUnder<'_>> {
    let mut all: Vec<DecidedUnder> = Vec::new();
    for run in runs {
        let same = |of: &&mut DecidedUnder| {
            (of.version, of.plan_digest, of.server) == (&run.version, &run.plan_digest, &run.server)
                && (of.windows, of.controls) == (&run.windows, &run.controls)
        };
        match all.iter_mut().find(same) {
            Some(of) => {
                of.runs.push(run.run);
                of.last_started = &run.started;
            }
            None => all.push(DecidedUnder {
                version: &run.version,
                plan: &run.plan,
                plan_digest: &run.plan_digest,
                server: &run.server,
                windows: &run.windows,
                controls: &run.controls,
                runs: vec![run.run],
                first_started: &run.started,
                last_started: &run.started,
            }),
        }
    }
    all
}
