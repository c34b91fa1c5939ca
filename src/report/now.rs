//! What to do now: so many to send again, so many for PRIVO, so many that wait, each with the command that leads on. `run`,
//! `status` and the page end with it.

use chrono::{DateTime, Utc};

use crate::clock::{Moment, Span};
use crate::views::ToDo;

/// Something to do: what, and the command for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub says: String,
    pub command: &'static str,
}

/// What is to be done. Without `now` times are told with their date, so that the same ledger gives the same text.
pub fn steps(to_do: &ToDo, now: Option<Moment>, zone: Option<chrono_tz::Tz>) -> Vec<Step> {
    let operations = |count: u64| counted(count, "operation", "operations");
    let entries = |count: u64| counted(count, "entry", "entries");
    let mut steps = Vec::new();
    let mut step = |count: u64, says: String, command| {
        if count > 0 {
            steps.push(Step { says, command });
        }
    };
    let ToDo { resend, may_resend, privo, review, waiting, until } = to_do;
    step(*resend, format!("{} to send again", operations(*resend)), "privo-reconcile report --for resend");
    let may = format!("{} may be sent again, each on its condition", operations(*may_resend));
    step(*may_resend, may, "privo-reconcile report --for resend");
    step(*privo, format!("{} for PRIVO", entries(*privo)), "privo-reconcile report --for support support.csv");
    step(*review, format!("{} for a person to look at", entries(*review)), "privo-reconcile report report.html");
    let wait = if *waiting == 1 { "waits" } else { "wait" };
    let until = match until {
        Some(until) if now.is_none_or(|now| *until > now) => format!("until {}", clock_time(*until, now, zone)),
        _ => "for the next run".to_owned(),
    };
    step(*waiting, format!("{} {wait} {until}", entries(*waiting)), "privo-reconcile run");
    steps
}

/// The steps as lines of text.
pub fn lines(steps: &[Step]) -> Vec<String> {
    if steps.is_empty() {
        return vec!["what to do now: nothing".to_owned()];
    }
    let step = |step: &Step| format!("  {} \u{2192} {}", step.says, step.command);
    std::iter::once("what to do now:".to_owned()).chain(steps.iter().map(step)).collect()
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// A time to the minute, not before it: in UTC, without a date when that is today's, and beside it in a zone.
fn clock_time(moment: Moment, now: Option<Moment>, zone: Option<chrono_tz::Tz>) -> String {
    let minute = Span::seconds(60).0;
    let in_utc = |moment: Moment| DateTime::<Utc>::from_timestamp_millis(moment.0).unwrap_or_default();
    let at = in_utc(Moment(moment.0.saturating_add(minute - 1).div_euclid(minute).saturating_mul(minute)));
    let today = now.is_some_and(|now| in_utc(now).date_naive() == at.date_naive());
    let utc = at.format(if today { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" });
    match zone {
        Some(zone) => {
            let local = at.with_timezone(&zone);
            let same_day = local.date_naive() == at.date_naive();
            format!("{utc} ({} {zone})", local.format(if same_day { "%H:%M" } else { "%Y-%m-%d %H:%M" }))
        }
        None => utc.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    #[test]
    fn what_there_is_to_do_is_said_with_its_command_and_nothing_else() {
        assert_eq!(lines(&steps(&ToDo::default(), None, None)), ["what to do now: nothing"]);
        let until = Some(moment("2026-03-01T14:29:01Z"));
        let to_do = ToDo { resend: 1, may_resend: 2, privo: 3, review: 1, waiting: 1, until };
        let now = Some(moment("2026-03-01T00:00:00Z"));
        let said = lines(&steps(&to_do, now, None));
        assert_eq!(
            said[1..],
            [
                "  1 operation to send again \u{2192} privo-reconcile report --for resend",
                "  2 operations may be sent again, each on its condition \u{2192} privo-reconcile report --for resend",
                "  3 entries for PRIVO \u{2192} privo-reconcile report --for support support.csv",
                "  1 entry for a person to look at \u{2192} privo-reconcile report report.html",
                "  1 entry waits until 14:30 UTC \u{2192} privo-reconcile run",
            ]
        );
    }

    #[test]
    fn times_have_a_date_when_they_need_one_and_a_zone_where_one_is_wanted() {
        let at = moment("2026-07-01T22:30:00Z");
        let today = Some(moment("2026-07-01T01:00:00Z"));
        let berlin = Some(chrono_tz::Europe::Berlin);
        assert_eq!(clock_time(at, today, None), "22:30 UTC");
        assert_eq!(clock_time(at, None, None), "2026-07-01 22:30 UTC");
        assert_eq!(clock_time(at, today, berlin), "22:30 UTC (2026-07-02 00:30 Europe/Berlin)");
        let noon = moment("2026-07-01T12:00:00Z");
        assert_eq!(clock_time(noon, today, berlin), "12:00 UTC (14:00 Europe/Berlin)");
        let waiting = |until| ToDo { waiting: 2, until, ..ToDo::default() };
        let late = Some(moment("2026-07-03T00:00:00Z"));
        for to_do in [waiting(Some(at)), waiting(None)] {
            assert!(steps(&to_do, late, None)[0].says.ends_with("wait for the next run"));
        }
    }
}
