//! When something was made, seen from attempts: before, after or within only outside the whole uncertainty (I10).

use super::*;
use crate::decide::age::{Active, Age, Made};
use crate::evidence::Sending;

/// Some milliseconds after the first attempt.
fn ms(time: i64) -> Moment {
    at(0) + Span(time)
}

/// A look under which the server's clock shows between so much more and so much more than the job's.
fn skewed(least: i64, most: i64, made_error: i64) -> Look {
    Look { skew: Some((Span(least), Span(most))), made_error: Span(made_error), ..present_at(20, record("a", 0)) }
}

const WINDOW: i64 = 15 * 60_000;

/// Of a record with this time, seen from an attempt that was sent at minute 0 by a clock that may be so far off.
fn age(time: i64, look: &Look, writer_error: i64) -> Age {
    let first = Sending { earliest: ms(-writer_error), latest: ms(writer_error) };
    Made::said(Some(ms(time)), look).age(first, &[Active { sent: first, over: ms(WINDOW) }])
}

/// Everything that may be uncertain counts, for "before" and for "after" alike.
#[test]
fn age_is_known_outside_the_whole_uncertainty_only() {
    for (least, most) in [(0, 0), (-700, 300), (-200, 16_000), (5_000, 5_900), (-40_000, 41_000)] {
        for made_error in [0, 2_000, 90_000] {
            for writer_error in [0, 2_000, 60_000] {
                let look = skewed(least, most, made_error);
                let of = |time: i64| age(if time % 1000 == 0 { time + 1 } else { time }, &look, writer_error);
                let what = format!("skew {least} to {most}, made {made_error}, writer {writer_error}");
                // The latest moment at which it can have been made is before the earliest sending, or the earliest one not
                // before the latest sending.
                let (before, after) = (least - made_error - writer_error, most + made_error + writer_error);
                assert_eq!(of(before - 2), Age::Before, "{what}");
                assert!(matches!(of(after + 1), Age::Within(_)), "{what}");
                if after - before > 4 {
                    assert_eq!([of(before + 1), of(after - 2)], [Age::Unknown; 2], "{what}");
                }
                // The latest one is within the window, or the earliest one not.
                let (over, later) = (WINDOW + least - made_error, WINDOW + most + made_error);
                assert!(matches!(of(over - 2), Age::Within(_)), "{what}");
                assert_eq!(of(later + 2), Age::After, "{what}");
                if later - over > 4 {
                    assert_eq!([of(over + 1), of(later - 2)], [Age::Unknown; 2], "{what}");
                }
            }
        }
    }
}

#[test]
fn age_of_a_time_in_whole_seconds_may_be_cut() {
    let look = skewed(0, 0, 0);
    assert_eq!(
        [age(-1000, &look, 0), age(-999, &look, 0)],
        [Age::Before, Age::Before],
        "a second is 999 ms at the most"
    );
    assert_eq!(age(-1, &look, 0), Age::Before);
    assert_eq!(age(-1000, &look, 1), Age::Unknown);
    assert_eq!(age(-1000, &look, 2000), Age::Unknown);
    assert_eq!(age(-3000, &look, 2000), Age::Before);
}

/// A 429 was waited for, answers took seconds, no answer had a `Date`: a record of somebody else's, older than the request.
#[test]
fn age_of_an_older_record_in_a_slow_look_is_unknown() {
    let slow = |seconds: i64, server: Option<i64>| {
        let look = present_at(20, record("a", 0));
        let server = server.map(|s| look.asked + Span::seconds(s));
        Look { answered: look.asked + Span::seconds(seconds), server, made_error: Span::ZERO, ..look }
    };
    for (older, look) in [
        (12, slow(15, Some(0))),
        (12, slow(15, Some(7))),
        (12, slow(15, Some(15))),
        (3, slow(4, Some(0))),
        (3, slow(4, Some(4))),
        (200, slow(0, None)),
        (290, slow(0, None)),
    ] {
        let made = Some(at(0) - Span::seconds(older) + Span(1));
        let found = Look { records: vec![Record { made, ..record("a", 0) }], ..look.clone() };
        let entry = attempt(Kind::Create).saw([found]);
        let said = said([entry])[0].clone();
        // Before, or unknown: never after.
        assert_ne!(said, "resolved applied created store-id", "{older} s older: {look:?}");
        let bounds = look.skew();
        if bounds.0 < Span::seconds(-older) {
            assert_eq!(said, "resolved satisfied present store-id", "{older} s older: {look:?}");
        }
    }
    // Much older than all of that, it is known.
    for look in [slow(15, Some(7)), slow(4, Some(4)), slow(0, None)] {
        let found = Look { records: vec![record("a", -9)], ..look };
        assert_eq!(said([attempt(Kind::Create).saw([found])]), ["resolved not-applied preexisting do-not-resend"]);
    }
}

/// What was absent after an attempt was sent, and is there later, was made after it: no clock is needed for that.
#[test]
fn age_by_looks_needs_no_clock() {
    let verdict = |looks: [Look; 2]| said([attempt(Kind::Create).saw(looks)])[0].clone();
    for server in [Some(at(9)), None] {
        let found = |minute| Look { server: server.map(|_| at(minute)), ..present_at(minute, undated("a")) };
        assert_eq!(verdict([absent_at(1), found(14)]), "resolved applied created store-id");
        // There only after its window.
        assert_eq!(verdict([absent_at(1), found(16)]), "resolved satisfied present store-id");
    }
    // Absent before it was sent, or without a control, says nothing of that.
    assert_eq!(verdict([absent_at(-1), present_at(14, undated("a"))]), "resolved satisfied present store-id");
    let void = absent_at(1).known(Control::Missing);
    assert_eq!(verdict([void, present_at(14, undated("a"))]), "resolved satisfied present store-id");
    // A replica may not have shown it yet.
    let lag = Windows { replica_lag: Span::seconds(120), ..Windows::default() };
    let entry = || attempt(Kind::Create).saw([absent_at(1), present_at(14, undated("a"))]);
    assert_eq!(said_under(&lag, [entry()]), ["resolved satisfied present store-id"]);
}

/// A look that did not find what was there by its own time went to an older state, or the time is not that of the making:
/// nobody knows which, so neither says when it was made.
#[test]
fn age_is_unknown_when_an_absence_contradicts_the_time() {
    let verdict =
        |made: i64| said([attempt(Kind::Create).saw([absent_at(6), present_at(14, record("a", made))])])[0].clone();
    assert_eq!(verdict(7), "resolved applied created store-id");
    for made in [-9, 1, 4] {
        assert_eq!(verdict(made), "resolved satisfied present store-id", "made in minute {made}");
    }
    // Not there yet before it was sent, and older by its time, too: before in either case.
    let older = [absent_at(-3), present_at(14, record("a", -9))];
    assert_eq!(said([attempt(Kind::Create).saw(older)])[0], "resolved not-applied preexisting do-not-resend");
}

/// Two clocks that contradict each other, or one that is far off, date nothing within their difference.
#[test]
fn age_by_a_clock_that_is_far_off_is_known_under_every_reading_or_not_at_all() {
    let hour = 3_600_000;
    let look = skewed(-hour, -hour + 900, 2_000);
    for time in [10_000 - hour, 10_000] {
        assert_eq!(age(time + 1, &look, 2_000), Age::Unknown, "{time}");
    }
    assert_eq!(age(-2 * hour + 1, &look, 2_000), Age::Before);
}

/// When something was sent: by the row, its clock's error and the stamp of its arrival, in milliseconds after minute 0.
fn sending(sent: i64, ended: i64, arrived: Option<i64>, error: Option<i64>) -> (Option<i64>, Option<i64>) {
    let mut facts = attempt(Kind::Create).facts;
    (facts.sent, facts.ended) = (Some(ms(sent)), ms(ended));
    (facts.arrived, facts.clock_error) = (arrived.map(ms), error.map(Span));
    let Sending { earliest, latest } = facts.sending(&Windows::default());
    let since = |moment: Moment, unknown: i64| (moment.0 != unknown).then(|| moment.since(at(0)).0);
    (since(earliest, i64::MIN), since(latest, i64::MAX))
}

#[test]
fn a_stamp_narrows_only_what_it_surely_bounds() {
    // Without a stamp: the row's own time, give or take the writer's error of two seconds.
    assert_eq!(sending(0, 0, None, None), (Some(-2_000), Some(2_000)));
    assert_eq!(sending(0, 0, None, Some(60_000)), (Some(-60_000), Some(60_000)));
    // It was sent before it came, and before its attempt had lasted.
    assert_eq!(sending(0, 0, Some(500), None), (Some(-2_000), Some(502)), "a stamp may be off by 2 ms");
    assert_eq!(sending(0, 10_000, Some(10_500), None), (Some(-2_000), Some(502)));
    assert_eq!(sending(0, 0, Some(90_000), None), (Some(-2_000), Some(2_000)), "recorded late");
    // Dated later than it came, within the error and beyond it.
    assert_eq!(sending(0, 0, Some(-1_500), None), (Some(-2_000), Some(-1_498)));
    assert_eq!(sending(0, 0, Some(-2_002), None), (Some(-2_000), Some(-2_000)));
    assert_eq!(sending(0, 0, Some(-2_003), None), (None, Some(-2_001)));
    assert_eq!(sending(0, 0, Some(-5_000), Some(60_000)), (Some(-60_000), Some(-4_998)));
    // What ended an hour after it came lasted nobody knows how long.
    assert_eq!(sending(0, 3_600_000, Some(60_000), None), (None, Some(60_002)));
}

/// Its stamp bounds nothing from above; dated later than it came, it shows that its writer's clock is off.
#[test]
fn an_intent_without_news_may_have_been_sent_at_any_later_time() {
    let sending = |sent: i64, arrived: i64| {
        let facts = attempt(Kind::Create).intent().facts;
        let facts = Facts { sent: Some(ms(sent)), ended: ms(sent), arrived: Some(ms(arrived)), ..facts };
        (facts.sending(&Windows::default()), facts.surely_ended(&Windows::default()))
    };
    let bounded = (Sending { earliest: ms(-2_000), latest: ms(2_000) }, ms(2_000));
    assert_eq!(sending(0, 100), bounded);
    assert_eq!(sending(0, -1_500), bounded, "within the writer's error");
    assert_eq!(sending(2_280_000, 0).0, Sending::UNKNOWN);
    let mut facts = attempt(Kind::Create).facts;
    (facts.sent, facts.sent_ahead, facts.arrived) = (Some(ms(9_000)), true, Some(ms(0)));
    assert_eq!(facts.sending(&Windows::default()), Sending { latest: ms(2), ..Sending::UNKNOWN });
    facts.arrived = None;
    assert_eq!(facts.sending(&Windows::default()), Sending::UNKNOWN);
}
