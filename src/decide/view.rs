//! What the looks at one effect may be believed for.
//!
//! The latest look counts, if its controls stand behind it. An absence counts only as part of a streak: absences in a
//! row, each asked after the group was settled, the first and the last `confirm_after` apart by the job's clock and by
//! the server's. Anything else breaks the streak.

use super::{Decision, defer};
use crate::clock::{Moment, Span};
use crate::evidence::{Effect, Look, Record, Windows};
use crate::words::{Action, Control, Reason, Seen};

/// The latest look, as far as it may be believed.
pub enum View<'a> {
    /// Nothing may be concluded; this is why.
    Nothing(Decision),
    Absent(Absence),
    Present(&'a Look),
    /// More than one record.
    Several(&'a Look),
}

/// How far an absence is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Asked before the group was settled: it proves nothing. By the server's clock it was asked `behind` earlier than by the
    /// job's.
    Unsettled {
        until: Moment,
        behind: Span,
    },
    /// Seen once; to be seen again not before `until`.
    Unconfirmed {
        until: Moment,
    },
    Confirmed {
        first: Moment,
        last: Moment,
    },
}

/// Clocks are never closer than some seconds.
const SECONDS: Span = Span(5000);

/// The looks at one effect in the order in which they count. Of looks asked at one instant the more cautious comes last,
/// so that their order in the ledger does not matter.
pub fn in_order(looks: &[Look], effect: usize) -> Vec<&Look> {
    cautious(looks.iter().filter(|look| look.effect == effect).collect())
}

/// The same of looks at one effect that several attempts of an operation have alike: each of them tells of all. `None`
/// where a clock that was set back leaves no one order.
pub fn in_one_order<'a>(each: &[&'a [Look]], effect: usize) -> Option<Vec<&'a Look>> {
    let of = |looks: &'a [Look]| looks.iter().filter(move |look| look.effect == effect);
    if !each.iter().all(|looks| of(looks).is_sorted_by_key(|look| look.asked)) {
        return None;
    }
    let mut looks: Vec<&Look> = each.iter().flat_map(|looks| of(looks)).collect();
    looks.sort_by_key(|look| look.asked);
    Some(cautious(looks))
}

fn cautious(mut looks: Vec<&Look>) -> Vec<&Look> {
    let caution = |look: &Look| {
        let doubt = match controls(look, look.seen == Seen::Absent) {
            Ok(()) => 0,
            Err(_) => 1,
        };
        let seen = match look.seen {
            Seen::Absent => 0,
            Seen::Present => 1,
            Seen::Several => 2,
            Seen::Inconclusive => 3,
        };
        (doubt, seen)
    };
    for instant in looks.chunk_by_mut(|a, b| a.asked == b.asked) {
        if instant.len() > 1 {
            // Any fixed order does for looks that are equally cautious.
            instant.sort_by_cached_key(|look| (caution(look), look.answered, look.server, format!("{look:?}")));
        }
    }
    looks
}

/// The view of one effect. `absent` says whether a conclusive look counts as an absence of what was looked for; `settled`
/// is the instant after which absences count.
pub fn view<'a>(looks: &[&'a Look], settled: Moment, windows: &Windows, absent: impl Fn(&Look) -> bool) -> View<'a> {
    let last = match believed(looks, &absent) {
        Ok(last) => last,
        Err(doubt) => return View::Nothing(doubt),
    };
    match last.seen {
        _ if absent(last) => View::Absent(absence(looks, settled, windows, true, absent)),
        Seen::Several => View::Several(last),
        Seen::Present | Seen::Absent | Seen::Inconclusive => View::Present(last),
    }
}

/// The latest look, if its controls stand behind it; else why nothing may be concluded.
pub fn believed<'a>(looks: &[&'a Look], absent: impl Fn(&Look) -> bool) -> Result<&'a Look, Decision> {
    let Some(last) = looks.last() else {
        return Err(defer(Reason::Inconclusive, Action::Wait).because("the server has not been asked yet".into()));
    };
    if !last.current {
        return Err(defer(Reason::Inconclusive, Action::Wait).because("not looked at under this plan yet".into()));
    }
    controls(last, absent(last)).map(|()| *last)
}

/// Whether a look that found something may be used as evidence of what was there then.
pub fn sound(look: &Look) -> bool {
    controls(look, false).is_ok()
}

/// Whether a look that found nothing may be used as evidence that nothing was there then.
pub fn sound_absence(look: &Look) -> bool {
    look.seen == Seen::Absent && controls(look, true).is_ok()
}

/// Whether the controls stand behind what a look saw; an absence needs the known key's, too.
fn controls(look: &Look, absent: bool) -> Result<(), Decision> {
    let wait = |why: String| Err(defer(Reason::Inconclusive, Action::Wait).because(why));
    let review = |why: &str| Err(defer(Reason::Uncontrolled, Action::Review).because(why.to_owned()));
    if look.seen == Seen::Inconclusive {
        return wait(format!(
            "the last look gave no answer to rely on: {}",
            look.cause.as_deref().unwrap_or("no answer")
        ));
    }
    if look.known == Control::Contradicted {
        return review(
            "the configured known key was not found, so this server's answers cannot be believed; check base_url and the control",
        );
    }
    if look.random == Control::Contradicted {
        return review(
            "a random key was found, so this server's answers cannot be believed; check base_url and the plan's present answer",
        );
    }
    if look.random != Control::Held {
        return wait("the control with a random key got no answer".into());
    }
    if look.near == Control::Contradicted {
        return review(
            "a key that is nearly the known one was found: this lookup finds by parts of the key; give the plan's lookup `record.key`, or an exact search",
        );
    }
    if look.near == Control::Unanswered {
        return wait("the control with a key that is nearly the known one got no answer".into());
    }
    if look.fields == Control::Contradicted {
        return review(
            "the known record shows another value than the control's `fields` say, so no comparison can be believed; check them, and `as` of the plan's fields",
        );
    }
    match look.known {
        Control::Missing if absent => {
            review("an absence proves nothing without a control; add a [[control]] with a known key for this lookup")
        }
        Control::Unanswered if absent => wait("the control with the known key got no answer".into()),
        _ => Ok(()),
    }
}

/// When a record was first found absent of the absences in a row that count; `None`: not yet.
pub fn first_absence(looks: &[&Look], settled: Moment) -> Option<Moment> {
    let counts = |look: &&&Look| look.current && sound_absence(look) && look.surely_asked() > settled;
    looks.iter().rev().take_while(counts).last().map(|look| look.asked)
}

/// How far a streak of looks that show the same is believed: absences, or for a delete and an update the state from
/// before. `missing` says that what was looked for was not found, so that each look needs the known key's control too.
pub fn absence(
    looks: &[&Look],
    settled: Moment,
    windows: &Windows,
    missing: bool,
    absent: impl Fn(&Look) -> bool,
) -> Absence {
    let counts = |look: &&&Look| {
        look.current && look.surely_asked() > settled && controls(look, missing).is_ok() && absent(look)
    };
    let streak: Vec<&&Look> = looks.iter().rev().take_while(counts).collect();
    let (Some(last), Some(first)) = (streak.first(), streak.last()) else {
        // A server whose clock is behind the job's lets it wait for longer: which of them is right, nothing says.
        let behind = looks.last().map_or(Span::ZERO, |last| last.asked.since(last.surely_asked()));
        let behind = if behind > SECONDS { behind } else { Span::ZERO };
        return Absence::Unsettled { until: settled + behind, behind };
    };
    let by_job = last.asked.since(first.answered) >= windows.confirm_after;
    let by_server = match (first.server, last.server) {
        // The header is cut to the second.
        (Some(first), Some(last)) => last.since(first) >= Span(windows.confirm_after.0 - 1000),
        _ => last.surely_asked().since(first.surely_asked()) >= Span(windows.confirm_after.0 - SECONDS.0),
    };
    if streak.len() >= 2 && by_job && by_server {
        Absence::Confirmed { first: first.asked, last: last.asked }
    } else {
        Absence::Unconfirmed { until: first.answered + windows.confirm_after }
    }
}

/// The rows of an absence (or a state from before) that does not count yet; `None` when it is confirmed.
pub fn not_yet(absence: Absence, action: Action) -> Option<Decision> {
    match absence {
        Absence::Unsettled { until, behind } => Some(
            defer(Reason::Unsettled, action)
                .because(format!("not applied so far, but until {until} it may still become so{}", lagging(behind)))
                .not_before(until),
        ),
        Absence::Unconfirmed { until } => Some(
            defer(Reason::Unconfirmed, action)
                .because(format!(
                    "not applied, seen once after the window; it is believed when seen again from {until}"
                ))
                .not_before(until),
        ),
        Absence::Confirmed { .. } => None,
    }
}

/// What is said of a server's clock that is behind the job's.
fn lagging(behind: Span) -> String {
    match behind {
        Span::ZERO => String::new(),
        _ => format!(
            " (the server's Date is {} s behind this host's clock, and the later of the two is waited for: correct the clock that is wrong)",
            behind.0 / 1000
        ),
    }
}

/// Store the id, unless nothing but a key that is not the partner's own says that it is the right record.
pub fn store_or_review(effect: &Effect, record: &Record) -> Action {
    if effect.comparable && !record.shows_any() && !effect.own_key { Action::Review } else { Action::StoreId }
}

/// What the record was recognised by: the key's name and the fields that are equal on both sides.
pub fn matched_on(found_by: Option<&str>, record: &Record) -> String {
    let equal =
        record.fields.iter().filter(|(_, c)| *c == crate::words::Compared::Equal).map(|(name, _)| name.as_str());
    found_by.into_iter().chain(equal).collect::<Vec<_>>().join(", ")
}

/// The assumption behind every `created`.
pub const ASSUMING_NO_OTHER: &str = "this assumes that no request unknown to the ledger made it, a request of the partner's own that succeeded included";

/// The assumptions behind every `not-applied`.
pub fn assuming(windows: &Windows, settled: Moment, absence: Absence) -> String {
    let Absence::Confirmed { first, last } = absence else { return String::new() };
    // What was turned away, or answered, leaves no window to wait for.
    let after = if settled.0 > 0 {
        format!(", both later than {settled} (the end of the waiting window)")
    } else {
        String::new()
    };
    format!(
        "not found at {first} nor at {last}{after}; the control lookups passed; this assumes that nothing is applied later than \
         {} after a network failure or {} after a server error, a replica lag of {}, and that nobody removed the record or changed its key meanwhile",
        windows.network, windows.server_error, windows.replica_lag
    )
}
