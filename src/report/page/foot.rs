//! What stands behind a page: enough for an auditor to decide again.

use crate::views::RunFacts;

use super::totals::Totals;
use super::view::asked_for;
use super::{Behind, text};

pub struct Fact {
    pub name: String,
    pub value: String,
}

pub struct ControlLine {
    pub lookup: String,
    pub known: String,
    pub random: String,
    pub near: String,
}

/// Tool, ledger, run, plan and windows.
pub fn facts(totals: &Totals, behind: &Behind) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| facts.push(Fact { name: name.to_owned(), value });
    fact("Tool", format!("privo-reconcile {}", env!("CARGO_PKG_VERSION")));
    fact("Ledger", behind.ledger.to_owned());
    fact("Entries", text::number(totals.rows));
    fact("Subjects and ids", if behind.in_full { "in full" } else { "masked" }.to_owned());
    if let Some(purpose) = behind.purpose {
        fact("Shown in full for", text::visible(purpose));
    }
    let asked_for = asked_for(behind.filter);
    fact("Asked for", if asked_for.is_empty() { "every entry".to_owned() } else { asked_for.join("; ") });
    let Some(run) = behind.run else { return facts };
    fact("Run", format!("{}, made by version {}", run.run, run.version));
    fact("Began", run.started.clone());
    fact("Ended", run.ended.clone().unwrap_or_else(|| "not yet".to_owned()));
    fact(
        "What it did",
        format!(
            "{}, {}, {} settled, {} put off",
            text::count(run.examined, "entry examined", "entries examined"),
            text::count(run.requests, "request", "requests"),
            text::number(run.settled),
            text::number(run.deferred)
        ),
    );
    fact("Server", run.server.clone());
    fact("Plan", run.plan.clone());
    fact("Plan digest (SHA-256)", run.plan_digest.clone());
    let windows: Vec<String> = run.windows.iter().map(|(name, span)| format!("{name} {span}")).collect();
    fact("Windows", windows.join(", "));
    facts
}

/// How the controls of a run went, as the ledger keeps it: `[[lookup, {known, random, near, cause}], …]`.
pub fn controls(run: &RunFacts) -> Vec<ControlLine> {
    let went = |of: &serde_json::Value, which: &str, expected: &str| {
        let word = of[which].as_str().unwrap_or("missing");
        match (word, of["cause"].as_str()) {
            ("held", _) => format!("{expected}, as it must be"),
            ("missing", None) if which == "known" => "not configured".to_owned(),
            ("missing", None) => "not asked".to_owned(),
            (word, Some(cause)) => format!("{word} ({})", text::visible(cause)),
            (word, None) => word.to_owned(),
        }
    };
    let line = |pair: &serde_json::Value| ControlLine {
        lookup: pair[0].as_str().unwrap_or_default().to_owned(),
        known: went(&pair[1], "known", "present"),
        random: went(&pair[1], "random", "absent"),
        near: went(&pair[1], "near", "absent"),
    };
    run.controls.as_array().map(|pairs| pairs.iter().map(line).collect()).unwrap_or_default()
}
