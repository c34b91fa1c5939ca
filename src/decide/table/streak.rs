//! When a group is settled and an absence is confirmed.

use super::*;

fn create() -> Attempt {
    attempt(Kind::Create)
}

const UNSETTLED: &str = "pending unsettled wait";
const UNCONFIRMED: &str = "pending unconfirmed wait";
const CONFIRMED: &str = "resolved not-applied confirmed-absent resend";

fn verdict(looks: &[Look]) -> String {
    said([create().with(|a| a.looks = looks.to_vec())])[0].clone()
}

/// The first minute (of whole minutes) in which an absence counts.
fn settles(windows: &Windows, attempts: &[Attempt]) -> i64 {
    let counts = |minute: &i64| {
        let mut attempts = attempts.to_vec();
        attempts[0].looks = vec![absent_at(*minute)];
        let case = Case { windows: windows.clone(), attempts, removals: vec![] };
        text(&decide(&case)[0]) == UNCONFIRMED
    };
    (0..3 * DAY).find(counts).unwrap()
}

#[test]
fn windows_network_server_error_and_intent() {
    let windows = Windows::default();
    assert_eq!(settles(&windows, &[create()]), 16);
    assert_eq!(settles(&windows, &[create().http()]), DAY + 1);
    let given_up_later = create().with(|a| a.facts.ended = at(3));
    assert_eq!(settles(&windows, &[given_up_later]), 19);
}

#[test]
fn windows_an_intent_is_a_timeout_that_ended_later() {
    let windows = Windows { intent: Span::seconds(20 * 60), ..Windows::default() };
    assert_eq!(settles(&windows, &[create().intent()]), 20 + 15 + 1);
    let lookup = |minute| said([attempt(Kind::Member).intent().saw([absent_at(minute)])])[0].clone();
    assert_eq!(lookup(DAY + 15), UNSETTLED);
    assert_eq!(lookup(DAY + 16), UNCONFIRMED);
}

#[test]
fn windows_replica_lag_is_added_to_each() {
    let windows = Windows { replica_lag: Span::seconds(5 * 60), ..Windows::default() };
    assert_eq!(settles(&windows, &[create()]), 21);
    assert_eq!(settles(&windows, &[create().http()]), DAY + 6);
    assert_eq!(settles(&windows, &[create().intent()]), 36);
}

#[test]
fn windows_of_every_maybe_sent_attempt_of_the_group() {
    let windows = Windows::default();
    assert_eq!(settles(&windows, &[create(), create().sent(30)]), 46);
    assert_eq!(settles(&windows, &[create(), create().op(2).sent(30)]), 46);
    assert_eq!(settles(&windows, &[create(), create().op(2).http()]), DAY + 1);
    assert_eq!(settles(&windows, &[create(), create().class(Class::NoPlan).sent(30)]), 46);
    assert_eq!(settles(&windows, &[create(), create().sent(30).not_sent()]), 16);
    assert_eq!(settles(&windows, &[create(), create().sent(30).answered(400)]), 16);
    assert_eq!(settles(&windows, &[create(), create().sent(30).class(Class::OtherEnvironment)]), 16);
}

#[test]
fn confirmed_takes_two_absences_and_the_time_between() {
    assert_eq!(verdict(&[absent_at(16)]), UNCONFIRMED);
    assert_eq!(verdict(&[absent_at(16), absent_at(25)]), UNCONFIRMED);
    assert_eq!(verdict(&[absent_at(16), absent_at(26)]), UNCONFIRMED, "less than ten minutes after the first answer");
    assert_eq!(verdict(&[absent_at(16), absent_at(27)]), CONFIRMED);
    assert_eq!(verdict(&[absent_at(16), absent_at(20), absent_at(27)]), CONFIRMED);
    assert_eq!(verdict(&[absent_at(9), absent_at(27)]), UNCONFIRMED, "both after the group was settled");
    assert_eq!(verdict(&[absent_at(16), absent_at(16)]), UNCONFIRMED);
}

#[test]
fn the_streak_is_broken_by_anything_else() {
    let between = [
        inconclusive_at(20),
        present_at(20, undated("a")),
        absent_at(20).known(Control::Missing),
        absent_at(20).known(Control::Unanswered),
        absent_at(20).random(Control::Unanswered),
        absent_at(20).known(Control::Contradicted),
    ];
    for look in between {
        assert_eq!(verdict(&[absent_at(16), look.clone(), absent_at(27)]), UNCONFIRMED, "{look:?}");
    }
    let begun_again = [absent_at(16), inconclusive_at(20), absent_at(27), absent_at(38)];
    assert_eq!(verdict(&begun_again), CONFIRMED);
}

#[test]
fn looks_under_another_plan_do_not_count() {
    let old = |minute| absent_at(minute).seeing(|l| l.current = false);
    assert_eq!(verdict(&[old(16), absent_at(27)]), UNCONFIRMED);
    assert!(verdict(&[old(16), old(27)]).starts_with("pending "));
    assert_eq!(verdict(&[old(16), absent_at(27), absent_at(38)]), CONFIRMED);
}

#[test]
fn a_job_clock_that_ran_ahead_does_not_count() {
    let ahead = |minute, truly| absent_at(minute).seeing(|l| l.server = Some(at(truly)));
    assert_eq!(verdict(&[ahead(16, 3), ahead(27, 4)]), UNSETTLED);
    assert_eq!(verdict(&[absent_at(16), ahead(27, 17)]), UNCONFIRMED);
    assert_eq!(verdict(&[absent_at(16), absent_at(27)]), CONFIRMED);
}

#[test]
fn a_job_clock_that_was_set_back_confirms_nothing() {
    assert_eq!(verdict(&[absent_at(40), absent_at(17)]), UNCONFIRMED);
}

#[test]
fn without_a_date_the_jobs_clock_counts() {
    let undated = |minute| absent_at(minute).seeing(|l| l.server = None);
    assert_eq!(verdict(&[undated(16), undated(27)]), CONFIRMED);
}

#[test]
fn looks_at_another_effect_do_not_count() {
    assert_eq!(verdict(&[absent_at(16), absent_at(27).of(1)]), UNCONFIRMED);
}

/// The job's clock was an hour ahead. What one answer lacks, the other answers of the run said.
#[test]
fn a_clock_that_ran_ahead_has_not_waited_though_the_answer_bore_no_date() {
    let hour = 60 * 60_000;
    let ahead =
        |minute: i64| Look { server: None, skew: Some((Span(-hour - 1000), Span(-hour + 1000))), ..absent_at(minute) };
    let intent = || create().intent();
    assert_eq!(said([intent().saw([ahead(70), ahead(81)])]), [UNSETTLED]);
    assert_eq!(said([intent().saw([ahead(92), ahead(103)])]), [CONFIRMED]);
    // Its clock was set forward between two looks: only the one by the job's clock is ten minutes later.
    let first = Look { server: None, skew: Some((Span(-1000), Span(1000))), ..absent_at(40) };
    let last = Look { skew: Some((Span(-10 * 60_000), Span(-9 * 60_000))), ..ahead(51) };
    assert_eq!(said([intent().saw([first, last])]), [UNCONFIRMED]);
}

/// The host's clock was an hour behind when the row was written, as a look at it then showed, and is right now.
#[test]
fn a_clock_that_was_set_forward_ends_no_window() {
    let hour = 60 * 60_000;
    let behind = Look { server: None, skew: Some((Span(hour - 500), Span(hour + 500))), ..absent_at(1) };
    let right = |minute: i64| Look { server: None, skew: Some((Span(-500), Span(500))), ..absent_at(minute) };
    for (attempt, window) in [(create(), 15), (create().intent(), 30)] {
        let said = |looks: [Look; 3]| said([attempt.clone().saw(looks)])[0].clone();
        assert_eq!(said([behind.clone(), right(62), right(73)]), if window > 12 { UNSETTLED } else { CONFIRMED });
        assert_eq!(said([behind.clone(), right(60 + window + 1), right(60 + window + 12)]), CONFIRMED);
    }
}

/// A writer whose clock is behind writes its intent before it sends.
#[test]
fn the_window_of_an_intent_begins_when_it_came() {
    let came = |minute: i64| create().intent().with(|attempt| attempt.facts.arrived = Some(at(minute)));
    assert_eq!(settles(&Windows::default(), &[came(120)]), 120 + 30 + 1);
    assert_eq!(settles(&Windows::default(), &[came(-10)]), 30 + 1);
    let imported = came(120).with(|attempt| attempt.facts.clock_error = Some(Span::seconds(60)));
    assert_eq!(settles(&Windows::default(), &[imported]), 30 + 1, "it came long after");
}
