//! When an entry is looked at again.

use crate::clock::{Moment, Span};
use crate::decide::Deferral;
use crate::evidence::{Look, Windows};
use crate::words::{Outcome, Reason};

/// Between two looks at a pending entry, at the least (or `confirm_after`, if that is less).
const SOON: Span = Span::seconds(60);

/// Between two looks at a pending entry, at the most.
const LATE: Span = Span::seconds(6 * 3600);

/// The next look at a pending entry: when more can be decided, and before that at growing intervals, for a record may
/// turn up at any time and settle it early.
pub fn of_pending(deferral: &Deferral, looks: &[Look], windows: &Windows, now: Moment) -> Moment {
    if deferral.reason == Reason::OtherEnvironment {
        // Nothing but another configuration helps, and that reads it anew.
        return now + LATE;
    }
    let soon = SOON.min(windows.confirm_after);
    let looked_for = match (looks.first(), looks.last()) {
        (Some(first), Some(last)) => last.asked.since(first.asked),
        _ => Span::ZERO,
    };
    let next = now + Span(looked_for.0 / 4).max(soon).min(LATE);
    match deferral.not_before {
        Some(moment) if moment >= now => next.min(moment + Span(1)),
        // The second look of two may be made at once. When it was made and confirms nothing (the server's clock stands still,
        // or was set back), another one at once would not, either.
        Some(moment) if deferral.reason == Reason::Unconfirmed && !looked_again(looks, moment, windows) => now,
        _ => next,
    }
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

/// The next look at a settled entry under watch, for `watch` from the verdict on and at growing intervals; `None` when the
/// watch is over or not due to it.
pub fn of_watched(outcome: Outcome, reason: Reason, decided: Moment, watch: Span, now: Moment) -> Option<Moment> {
    let watched = reason.watched() && (outcome == Outcome::NotApplied || reason == Reason::StateFetched);
    let end = decided + watch;
    if !watched || now >= end {
        return None;
    }
    let elapsed = now.since(decided).max(Span::ZERO);
    let interval = Span((watch.0 / 128).max(elapsed.0 / 2)).max(Span::seconds(1));
    Some((now + interval).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Action, Control, Seen};

    fn deferral(reason: Reason, not_before: Option<Moment>) -> Deferral {
        Deferral { reason, action: Action::Wait, not_before, explanation: String::new() }
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

    #[test]
    fn a_pending_entry_is_looked_at_when_more_can_be_decided_or_sooner() {
        let windows = Windows::default();
        let now = Moment(1_000_000_000);
        let soon = of_pending(&deferral(Reason::Unsettled, Some(now + Span::seconds(86_400))), &[], &windows, now);
        assert_eq!(soon, now + SOON);
        let exact = of_pending(&deferral(Reason::Unconfirmed, Some(now + Span::seconds(5))), &[], &windows, now);
        assert_eq!(exact, now + Span::seconds(5) + Span(1));
    }

    #[test]
    fn what_can_be_confirmed_already_is_due_now() {
        let windows = Windows::default();
        let now = Moment(1_000_000_000);
        assert_eq!(of_pending(&deferral(Reason::Unconfirmed, Some(now - Span(1))), &[], &windows, now), now);
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
        assert_eq!(of_pending(&deferral(Reason::Unconfirmed, Some(first)), &looks, &windows, now), now);
        let again = [&looks[..], &[absent(first + Span(1))]].concat();
        assert!(of_pending(&deferral(Reason::Unconfirmed, Some(first)), &again, &windows, now) > now);
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
            let next = of_pending(&unconfirmed, &looks, &windows, now);
            assert!(next.since(now) >= last.max(SOON), "{:?} after {last:?}", next.since(now));
            last = next.since(now);
            asked.push(next);
        }
        assert_eq!(last, LATE);
    }

    #[test]
    fn the_watch_grows_and_ends() {
        let windows = Windows::default();
        let decided = Moment(0);
        let mut now = decided;
        let mut looks = 0;
        let mut last = Span::ZERO;
        while let Some(next) = of_watched(Outcome::NotApplied, Reason::ConfirmedAbsent, decided, windows.watch, now) {
            assert!(next > now);
            last = next.since(now).max(last);
            now = next;
            looks += 1;
        }
        assert_eq!(now, decided + windows.watch);
        assert!((5..20).contains(&looks), "{looks}");
        assert_eq!(of_watched(Outcome::Applied, Reason::Created, decided, windows.watch, decided), None);
    }
}
