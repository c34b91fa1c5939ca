//! Metrics for node_exporter's textfile collector: a file that is replaced after every run.
//!
//! All are gauges, since a file that is written anew cannot count on. The label `ledger` lets the files of several
//! ledgers stand side by side.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::Summary;
use super::alert::Rule;
use crate::clock::Moment;
use crate::outputs;
use crate::words::{Seen, Status};

/// Replaces the file, whole or not at all. A new one is closed to others; who lets the collector's user in by its mode
/// keeps that mode.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(file: &Path, summary: &Summary, rules: &[Rule]) -> Result<()> {
    let text = text(summary, rules);
    outputs::write_whole_keeping_mode(file, |output| Ok(output.write_all(text.as_bytes())?))
        .with_context(|| format!("failed to write {} (may the job's user write that folder?)", file.display()))
}

/// The file's text.
fn text(summary: &Summary, rules: &[Rule]) -> String {
    let mut page = Page { text: String::new(), ledger: escaped(summary.ledger.as_deref().unwrap_or_default()) };
    page.metric("build_info", "The version of privo-reconcile; always 1.");
    page.row("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    ledger_state(&mut page, summary);
    let single = [
        ("last_run_timestamp_seconds", "When the last run ended.", seconds(summary.ended)),
        ("last_run_duration_seconds", "How long the last run took.", summary.duration_seconds()),
        ("last_run_exit_code", "The exit code of the last run.", f64::from(summary.exit)),
        ("last_run_requests", "Requests of the last run to the server.", summary.requests as f64),
        ("last_run_deferred", "Entries that the last run looked at and could not settle.", summary.deferred as f64),
        ("last_run_corrections", "Verdicts that the last run superseded loudly.", summary.corrections as f64),
    ];
    for (name, help, value) in single {
        page.metric(name, help);
        page.row(name, &[], value);
    }
    page.metric("last_run_settled", "Verdicts of the last run by status.");
    page.row("last_run_settled", &[("status", Status::Resolved.text())], summary.settled.resolved as f64);
    page.row("last_run_settled", &[("status", Status::DuplicateRisk.text())], summary.settled.duplicate_risk as f64);
    page.metric("last_run_lookups", "Observations of the last run by result.");
    for seen in Seen::ALL {
        let count = summary.lookups.get(seen).copied().unwrap_or_default();
        page.row("last_run_lookups", &[("result", seen.text())], count as f64);
    }
    // A rule that could not be held against anything is left out.
    if summary.ledger_state.is_some() && !rules.is_empty() {
        page.metric("alerts", "Whether an alert of the configuration fires: 1, else 0.");
        for rule in rules {
            let fires = summary.alerts.iter().any(|alert| alert.name == rule.name);
            page.row("alerts", &[("name", &rule.name)], f64::from(u8::from(fires)));
        }
    }
    page.text
}

/// What is told of the ledger itself.
fn ledger_state(page: &mut Page, summary: &Summary) {
    let Some(ledger_state) = &summary.ledger_state else { return };
    page.metric("entries", "Entries of the ledger by status and reason; without a reason: not looked at yet, or none.");
    for status in Status::ALL {
        // A status that nothing has is there too: a rule on it must not find nothing.
        if !ledger_state.counts.rows.iter().any(|(of, reason, _)| of == status && reason.is_none()) {
            page.row("entries", &[("status", status.text()), ("reason", "")], 0.0);
        }
        for (_, reason, count) in ledger_state.counts.rows.iter().filter(|(of, ..)| of == status) {
            let reason = reason.map_or("", |reason| reason.text());
            page.row("entries", &[("status", status.text()), ("reason", reason)], *count as f64);
        }
    }
    let moments = [
        (
            "oldest_pending_sent_timestamp_seconds",
            "When the oldest pending entry was sent; absent: none is pending.",
            ledger_state.counts.oldest_pending,
        ),
        (
            "last_success_timestamp_seconds",
            "When the last run ended that ended without trouble; absent: none did yet.",
            ledger_state.last_success,
        ),
    ];
    for (name, help, moment) in moments {
        if let Some(moment) = moment {
            page.metric(name, help);
            page.row(name, &[], seconds(moment));
        }
    }
}

/// The text format of Prometheus, version 0.0.4.
struct Page {
    text: String,
    ledger: String,
}

impl Page {
    fn metric(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP privo_reconcile_{name} {help}\n# TYPE privo_reconcile_{name} gauge");
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "privo_reconcile_{name}{{ledger=\"{}\"", self.ledger);
        for (label, of) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(of));
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

fn seconds(moment: Moment) -> f64 {
    moment.0 as f64 / 1000.0
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::alert::Condition;
    use super::super::summary::tests::idle;
    use super::*;

    #[test]
    fn labels_are_escaped_and_every_status_is_there() {
        let rule = Rule { name: "a \"b\" \\".to_owned(), condition: Condition::PendingMoreThan(1) };
        let text = text(&idle(), &[rule]);
        assert!(text.contains("privo_reconcile_alerts{ledger=\"l\",name=\"a \\\"b\\\" \\\\\"} 0\n"), "{text}");
        for status in Status::ALL {
            let row = format!("privo_reconcile_entries{{ledger=\"l\",status=\"{status}\",reason=\"\"}} 0\n");
            assert!(text.contains(&row), "{text}");
        }
        assert!(text.contains("privo_reconcile_last_run_duration_seconds{ledger=\"l\"} 1.5\n"), "{text}");
        assert!(!text.contains("last_success"), "{text}");
    }

    #[test]
    fn of_a_ledger_that_cannot_be_read_nothing_is_told() {
        let text = text(&Summary { ledger_state: None, ledger: None, exit: 2, ..idle() }, &[]);
        assert!(text.contains("privo_reconcile_last_run_exit_code{ledger=\"\"} 2\n"), "{text}");
        assert!(!text.contains("privo_reconcile_entries"), "{text}");
    }
}
