//! Alerts: rules of the configuration held against how the ledger stands. Pure; the time comes from the caller.

use serde::Serialize;

use crate::clock::{Moment, Span};
use crate::views::LedgerState;
use crate::words::Status;

/// A rule: `[[alert]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub condition: Condition,
}

/// When a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The oldest pending entry was sent longer ago than this.
    PendingOlderThan(Span),
    /// So many entries are pending, and more.
    PendingMoreThan(u64),
    /// So many entries are duplicate-risk, not yet closed by a person, and more.
    DuplicateRiskMoreThan(u64),
    /// No run ended without trouble for longer than this; before the first that did, since the first run.
    NoSuccessFor(Span),
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    pub name: String,
    /// The condition's key in the configuration.
    pub condition: &'static str,
    /// The condition's value in the configuration's form: `3d`, `10`.
    pub limit: String,
    /// What was found, in words.
    pub message: String,
}

impl Condition {
    /// Its key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Condition::PendingOlderThan(_) => "pending_older_than",
            Condition::PendingMoreThan(_) => "pending_more_than",
            Condition::DuplicateRiskMoreThan(_) => "duplicate_risk_more_than",
            Condition::NoSuccessFor(_) => "no_success_for",
        }
    }

    /// Its value in the configuration's form.
    pub fn limit(self) -> String {
        match self {
            Condition::PendingOlderThan(span) | Condition::NoSuccessFor(span) => span.to_string(),
            Condition::PendingMoreThan(count) | Condition::DuplicateRiskMoreThan(count) => count.to_string(),
        }
    }

    /// What was found, when that is more than the limit.
    fn found(self, ledger_state: &LedgerState, now: Moment) -> Option<String> {
        let limit = self.limit();
        let count = |status: Status, limit: u64| Some(ledger_state.counts.of(status)).filter(|count| *count > limit);
        match self {
            Condition::PendingOlderThan(span) => {
                let oldest = ledger_state.counts.oldest_pending.filter(|oldest| now.since(*oldest) > span)?;
                Some(format!("the oldest pending entry was sent at {oldest}, more than {limit} ago"))
            }
            Condition::PendingMoreThan(most) => {
                Some(format!("{} entries are pending, more than {limit}", count(Status::Pending, most)?))
            }
            Condition::DuplicateRiskMoreThan(most) => {
                let count = count(Status::DuplicateRisk, most)?;
                Some(format!("{count} entries are duplicate-risk and not closed, more than {limit}"))
            }
            Condition::NoSuccessFor(span) => {
                let since =
                    ledger_state.last_success.or(ledger_state.first_run).filter(|since| now.since(*since) > span)?;
                Some(match ledger_state.last_success {
                    Some(_) => format!("the last run without trouble ended at {since}, more than {limit} ago"),
                    None => format!("no run ended without trouble since the first at {since}, more than {limit} ago"),
                })
            }
        }
    }
}

/// The rules that fire, in the configuration's order.
pub fn fired(rules: &[Rule], ledger_state: &LedgerState, now: Moment) -> Vec<Alert> {
    let alert = |rule: &Rule| {
        Some(Alert {
            name: rule.name.clone(),
            condition: rule.condition.key(),
            limit: rule.condition.limit(),
            message: rule.condition.found(ledger_state, now)?,
        })
    };
    rules.iter().filter_map(alert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::Counts;
    use crate::words::Reason;

    fn ledger_state(pending: u64, risk: u64, oldest: i64) -> LedgerState {
        let rows = vec![(Status::Pending, None, pending), (Status::DuplicateRisk, Some(Reason::NoPlan), risk)];
        let counts = Counts { rows, oldest_pending: Some(Moment(oldest)) };
        LedgerState { counts, last_success: Some(Moment(500)), first_run: Some(Moment(0)) }
    }

    fn names(condition: Condition, ledger_state: &LedgerState, now: i64) -> usize {
        let rule = Rule { name: "rule".to_owned(), condition };
        fired(&[rule], ledger_state, Moment(now)).len()
    }

    #[test]
    fn a_rule_fires_above_its_limit_and_not_at_it() {
        let ledger_state = ledger_state(3, 2, 1_000);
        let second = Span::seconds(1);
        for (condition, now, fires) in [
            (Condition::PendingOlderThan(second), 2_000, 0),
            (Condition::PendingOlderThan(second), 2_001, 1),
            (Condition::PendingMoreThan(3), 0, 0),
            (Condition::PendingMoreThan(2), 0, 1),
            (Condition::DuplicateRiskMoreThan(2), 0, 0),
            (Condition::DuplicateRiskMoreThan(0), 0, 1),
            (Condition::NoSuccessFor(second), 1_500, 0),
            (Condition::NoSuccessFor(second), 1_501, 1),
        ] {
            assert_eq!(names(condition, &ledger_state, now), fires, "{condition:?} at {now}");
        }
    }

    #[test]
    fn before_the_first_success_time_counts_from_the_first_run() {
        let never = LedgerState { last_success: None, ..ledger_state(0, 0, 0) };
        assert_eq!(names(Condition::NoSuccessFor(Span(400)), &never, 401), 1);
        assert_eq!(names(Condition::NoSuccessFor(Span(0)), &LedgerState::default(), i64::MAX), 0);
    }

    #[test]
    fn an_empty_ledger_and_a_clock_set_back_fire_nothing() {
        assert_eq!(names(Condition::PendingOlderThan(Span(0)), &LedgerState::default(), 1), 0);
        assert_eq!(names(Condition::PendingOlderThan(Span(0)), &ledger_state(1, 0, 1_000), 1), 0);
    }

    #[test]
    fn what_fired_is_told_with_key_limit_and_finding() {
        let rule = Rule { name: "old".to_owned(), condition: Condition::PendingOlderThan(Span::seconds(60)) };
        let alerts = fired(&[rule], &ledger_state(1, 0, 0), Moment(60_001));
        assert_eq!((alerts[0].condition, alerts[0].limit.as_str()), ("pending_older_than", "1m"));
        assert!(alerts[0].message.contains("1970-01-01T00:00:00.000Z"), "{}", alerts[0].message);
    }
}
