//! When an entry is looked at again. docs/LOOKS.md has the rules, what each look that is left out costs, and the figures.

use crate::clock::{Moment, Span};
use crate::decide::Deferral;
use crate::evidence::{Attempt, Kind, Look, Windows};
use crate::words::{Outcome, Reason};

/// Between two looks that got no answer to rely on, at the least (or `confirm_after`, if that is less).
const SOON: Span = Span::seconds(60);

/// Between two looks that got no answer to rely on, at the most.
const LATE: Span = Span::seconds(6 * 3600);

const HOUR: Span = Span::seconds(3600);
const DAY: Span = Span::seconds(24 * 3600);

/// A wait that is longer than this is looked into in between: engineers repair within hours.
const LONG: Span = Span::seconds(4 * 3600);

/// When it is looked into, in hours after the request's end.
const REPAIRED: [i64; 5] = [1, 2, 4, 8, 16];

/// The next look at a pending entry: when more can be decided; before that only where a wait is long and what turns up decides
/// by itself. `ended` is when the last request of its group had ended.
pub fn of_pending(deferral: &Deferral, attempt: &Attempt, ended: Moment, windows: &Windows, now: Moment) -> Moment {
    if deferral.reason == Reason::OtherEnvironment {
        // Nothing but another configuration helps, and that reads it anew.
        return now + LATE;
    }
    let looks = &attempt.looks;
    match deferral.not_before {
        Some(moment) if moment >= now => in_between(attempt, ended, moment, now).unwrap_or(moment + Span(1)),
        // The second look of two may be made at once. When it was made and confirms nothing (the server's clock stands still,
        // or was set back), another one at once would not, either.
        Some(moment) if deferral.reason == Reason::Unconfirmed && !looked_again(looks, moment, windows) => now,
        _ => without_answer(looks, windows, now),
    }
}

/// A look before anything can be confirmed: what is there (or gone) by then is settled early.
fn in_between(attempt: &Attempt, ended: Moment, until: Moment, now: Moment) -> Option<Moment> {
    let decides = |kind: Kind| matches!(kind, Kind::Create | Kind::Delete);
    if until.since(ended) <= LONG || !attempt.facts.effects.iter().any(|effect| decides(effect.kind)) {
        return None;
    }
    let times = REPAIRED.map(|hours| ended + Span::seconds(hours * 3600));
    times.into_iter().find(|at| *at > now && *at < until)
}

/// After an answer of no use, at growing intervals.
fn without_answer(looks: &[Look], windows: &Windows, now: Moment) -> Moment {
    let soon = SOON.min(windows.confirm_after);
    let looked_for = match (looks.first(), looks.last()) {
        (Some(first), Some(last)) => last.asked.since(first.asked),
        _ => Span::ZERO,
    };
    now + Span(looked_for.0 / 4).max(soon).min(LATE)
}

/// Whether a look was made that could have confirmed an absence: at `moment` or later, which is `confirm_after` after the
/// first look's answer. The first look itself does not count, though it may have been asked and answered within the one
/// millisecond that `moment` is when `confirm_after` is zero.
fn looked_again(looks: &[Look], moment: Moment, windows: &Windows) -> bool {
    let first = looks.iter().position(|look| look.answered + windows.confirm_after == moment);
    let counts = |(place, look): (usize, &Look)| {
        let after_first = first.is_none_or(|first| place > first && look.effect == looks[first].effect);
        after_first && look.asked >= moment
    };
    looks.iter().enumerate().any(counts)
}

/// The next look at a settled entry under watch: after a day, if the watch is longer than two, and at its end, which finds
/// whatever stays. `None` when the watch is over or not due to it.
pub fn of_watched(outcome: Outcome, reason: Reason, decided: Moment, watch: Span, now: Moment) -> Option<Moment> {
    let watched = reason.watched() && (outcome == Outcome::NotApplied || reason == Reason::StateFetched);
    let (day, end) = (together(decided + DAY, watch), together(decided + watch, watch));
    if !watched || watch == Span::ZERO || now >= end {
        return None;
    }
    Some(if watch > DAY + DAY && now < day { day } else { end })
}

/// The next look under watch after one that got no answer to rely on. `None` when the watch is over twice.
pub fn of_watched_in_vain(
    outcome: Outcome,
    reason: Reason,
    decided: Moment,
    watch: Span,
    now: Moment,
) -> Option<Moment> {
    of_watched(outcome, reason, decided, watch + watch, now).map(|next| next.min(now + step(watch)))
}

/// Looks under watch fall together on such steps, so that one set of controls serves many.
fn step(watch: Span) -> Span {
    Span((watch.0 / 24).clamp(1, HOUR.0))
}

fn together(moment: Moment, watch: Span) -> Moment {
    let step = step(watch).0;
    Moment(moment.0.div_euclid(step).saturating_add(1).saturating_mul(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Action, Control, Seen};

    fn deferral(reason: Reason, not_before: Option<Moment>) -> Deferral {
        Deferral { reason, action: Action::Wait, not_before, explanation: String::new(), waits_for: None }
    }

    fn absent(asked: Moment) -> Look {
        Look {
            effect: 0,
            current: true,
            asked,
            answered: asked,
            server: None,
            seen: Seen::Absent,
            cause: None,
            records: Vec::new(),
            state: None,
            known: Control::Held,
            random: Control::Held,
            ..Look::default()
        }
    }

    /// The next look at an entry of one effect whose request ended at 0.
    fn next(kind: Kind, deferral: &Deferral, looks: &[Look], windows: &Windows, now: Moment) -> Moment {
        let mut attempt = crate::decide::attempt_of(kind);
        attempt.looks = looks.to_vec();
        of_pending(deferral, &attempt, Moment(0), windows, now)
    }

    const H: i64 = 3_600_000;

    #[test]
    fn a_pending_entry_is_looked_at_when_more_can_be_decided() {
        let windows = Windows::default();
        let until = |hours: i64| deferral(Reason::Unsettled, Some(Moment(hours * H)));
        for kind in [Kind::Create, Kind::Delete] {
            // In a long wait, for what engineers repair.
            let mut now = Moment(60_000);
            let mut looks = Vec::new();
            while now < Moment(24 * H) {
                now = next(kind, &until(24), &[], &windows, now);
                looks.push(now.0 / H);
            }
            assert_eq!(looks, [1, 2, 4, 8, 16, 24]);
            assert_eq!(next(kind, &until(4), &[], &windows, Moment(60_000)), Moment(4 * H + 1));
        }
        for kind in [Kind::Member, Kind::Update, Kind::Upsert, Kind::Inbound] {
            assert_eq!(next(kind, &until(24), &[], &windows, Moment(60_000)), Moment(24 * H + 1), "{kind:?}");
        }
        let confirming = deferral(Reason::Unconfirmed, Some(Moment(25 * H)));
        assert_eq!(next(Kind::Create, &confirming, &[], &windows, Moment(24 * H + 9)), Moment(25 * H + 1));
    }

    #[test]
    fn what_can_be_confirmed_already_is_due_now() {
        let windows = Windows::default();
        let now = Moment(1_000_000_000);
        let confirmed = deferral(Reason::Unconfirmed, Some(now - Span(1)));
        assert_eq!(next(Kind::Create, &confirmed, &[], &windows, now), now);
    }

    #[test]
    fn what_got_no_answer_is_asked_again_soon_and_then_less_often() {
        let windows = Windows::default();
        let inconclusive = deferral(Reason::Inconclusive, None);
        let now = Moment(1_000_000_000);
        assert_eq!(next(Kind::Create, &inconclusive, &[absent(now)], &windows, now), now + SOON);
        let long = [absent(Moment(0)), absent(now)];
        assert_eq!(next(Kind::Create, &inconclusive, &long, &windows, now), now + LATE);
    }

    /// With a `confirm_after` of zero and a server on the same host, a look may last less than a millisecond. Earlier looks,
    /// which had no control, say nothing of how soon the second one is made.
    #[test]
    fn a_first_look_within_one_millisecond_is_not_its_own_second_look() {
        let windows = Windows { confirm_after: Span::ZERO, ..Windows::default() };
        let uncontrolled = |asked| Look { known: Control::Missing, ..absent(asked) };
        let start = Moment(1_000_000_000);
        let first = start + Span::seconds(1);
        let looks = [uncontrolled(start), absent(first), Look { effect: 1, ..absent(first) }];
        let now = first + Span(2);
        assert_eq!(next(Kind::Create, &deferral(Reason::Unconfirmed, Some(first)), &looks, &windows, now), now);
        let again = [&looks[..], &[absent(first + Span(1))]].concat();
        assert!(next(Kind::Create, &deferral(Reason::Unconfirmed, Some(first)), &again, &windows, now) > now);
    }

    #[test]
    fn what_a_second_look_did_not_confirm_is_looked_at_at_growing_intervals() {
        let windows = Windows::default();
        let first = Moment(1_000_000_000);
        let mut asked = vec![first, first + windows.confirm_after + Span(1)];
        let mut last = Span::ZERO;
        for _ in 0..60 {
            let looks: Vec<Look> = asked.iter().map(|asked| absent(*asked)).collect();
            let now = asked[asked.len() - 1] + Span(200);
            let unconfirmed = deferral(Reason::Unconfirmed, Some(first + windows.confirm_after));
            let due = next(Kind::Create, &unconfirmed, &looks, &windows, now);
            assert!(due.since(now) >= last.max(SOON), "{:?} after {last:?}", due.since(now));
            last = due.since(now);
            asked.push(due);
        }
        assert_eq!(last, LATE);
    }

    #[test]
    fn a_watch_is_a_look_after_a_day_and_one_at_its_end() {
        let of = |watch: Span| {
            let (mut now, mut looks) = (Moment(17), Vec::new());
            while let Some(next) = of_watched(Outcome::NotApplied, Reason::ConfirmedAbsent, Moment(17), watch, now) {
                assert!(next > now);
                now = next;
                looks.push(now.0 / H);
            }
            looks
        };
        assert_eq!(of(Span::seconds(7 * 86_400)), [25, 7 * 24 + 1]);
        assert_eq!(of(Span::seconds(2 * 86_400)), [49]);
        assert_eq!(of(Span::seconds(3600)), [1]);
        assert_eq!(of(Span::ZERO), [0; 0]);
        let windows = Windows::default();
        assert_eq!(of_watched(Outcome::Applied, Reason::Created, Moment(0), windows.watch, Moment(0)), None);
        // One that got no answer does not end it.
        let vain =
            |now| of_watched_in_vain(Outcome::NotApplied, Reason::ConfirmedAbsent, Moment(0), windows.watch, now);
        let end = Moment(7 * 24 * H + H);
        assert_eq!(vain(end), Some(end + HOUR));
        assert_eq!(vain(Moment(15 * 24 * H)), None);
    }
}
