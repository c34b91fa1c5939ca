//! The rows for any effect: what the row itself says, their order, controls, inconclusive, expired, inbound.

use super::*;

const KINDS: [Kind; 7] =
    [Kind::Create, Kind::Member, Kind::Blind, Kind::Delete, Kind::Update, Kind::Upsert, Kind::Inbound];

fn bad() -> Class {
    Class::BadRow { why: "body".into() }
}

#[test]
fn bad_row() {
    for kind in KINDS {
        assert_eq!(said([attempt(kind).class(bad())]), ["duplicate-risk unknown bad-row review"]);
    }
}

#[test]
fn other_environment() {
    for kind in KINDS {
        let entry = attempt(kind).class(Class::OtherEnvironment);
        assert_eq!(said([entry]), ["pending other-environment review"]);
    }
}

#[test]
fn a_read_has_no_effect() {
    assert_eq!(said([attempt(Kind::Create).class(Class::Read)]), ["resolved not-applied no-effect none"]);
}

#[test]
fn no_plan() {
    assert_eq!(said([attempt(Kind::Create).class(Class::NoPlan)]), ["duplicate-risk unknown no-plan review"]);
}

#[test]
fn the_rows_own_words_come_before_not_sent_and_before_any_look() {
    let verdict = |class| attempt(Kind::Create).not_sent().class(class).saw([present_at(1, record("a", 0))]);
    assert_eq!(said([verdict(bad())]), ["duplicate-risk unknown bad-row review"]);
    assert_eq!(said([verdict(Class::OtherEnvironment)]), ["pending other-environment review"]);
    assert_eq!(said([verdict(Class::Read)]), ["resolved not-applied no-effect none"]);
    assert_eq!(said([verdict(Class::NoPlan)]), ["duplicate-risk unknown no-plan review"]);
    assert_eq!(said([verdict(Class::Planned)]), ["resolved not-applied never-sent resend"]);
}

#[test]
fn not_sent_alone_is_never_sent() {
    for kind in KINDS {
        let both = [attempt(kind).not_sent(), attempt(kind).not_sent().sent(3)];
        assert_eq!(said(both), ["resolved not-applied never-sent resend", "resolved not-applied never-sent resend"]);
    }
}

#[test]
fn not_sent_beside_others_takes_the_operations_verdict() {
    let looks = [present_at(9, record("a", 2))];
    let both = [attempt(Kind::Create).not_sent().saw(looks.clone()), attempt(Kind::Create).sent(2).saw(looks)];
    assert_eq!(said(both), ["resolved applied created store-id", "resolved applied created store-id"]);
    let beside_an_answer = [attempt(Kind::Create).not_sent().saw([absent_at(1)]), attempt(Kind::Create).answered(201)];
    assert_ne!(said(beside_an_answer)[0], "resolved not-applied never-sent resend");
}

#[test]
fn not_sent_of_another_operation_says_nothing_of_this_one() {
    let looks = [absent_at(16), absent_at(27)];
    let two = [attempt(Kind::Create).saw(looks), attempt(Kind::Create).op(2).not_sent()];
    let expected = ["resolved not-applied confirmed-absent resend", "resolved not-applied never-sent resend"];
    assert_eq!(said(two), expected);
}

#[test]
fn inconclusive_or_never_looked_at() {
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Blind) {
        // Lists and webhooks are not looked at before they are settled.
        let waits = matches!(kind, Kind::Member | Kind::Inbound);
        let unseen = if waits { "pending unsettled wait" } else { "pending inconclusive wait" };
        assert_eq!(said([attempt(kind)]), [unseen]);
        assert_eq!(said([attempt(kind).saw([inconclusive_at(99)])]), ["pending inconclusive wait"]);
    }
}

#[test]
fn uncontrolled_an_absence_without_a_known_control() {
    for kind in [Kind::Create, Kind::Member, Kind::Delete] {
        let looks = [3, 3 * DAY, 4 * DAY].map(|m| absent_at(m).known(Control::Missing));
        assert_eq!(said([attempt(kind).saw(looks)]), ["pending uncontrolled review"], "{kind:?}");
    }
    let strangers =
        [2 * DAY, 3 * DAY].map(|m| list_at(m, [with_field(record("a", 1), Compared::Differs)]).known(Control::Missing));
    assert_eq!(said([attempt(Kind::Member).saw(strangers)]), ["pending uncontrolled review"]);
}

#[test]
fn a_presence_needs_no_known_control() {
    for control in [Control::Missing, Control::Unanswered] {
        let entry = attempt(Kind::Create).saw([present_at(3, record("a", 1)).known(control)]);
        assert_eq!(said([entry]), ["resolved applied created store-id"]);
    }
}

#[test]
fn uncontrolled_a_contradicted_control_voids_presence_too() {
    for kind in [Kind::Create, Kind::Member, Kind::Delete, Kind::Update, Kind::Inbound] {
        for seen in [absent_at(3 * DAY), present_at(3 * DAY, record("a", 1))] {
            let void = [seen.clone().known(Control::Contradicted), seen.random(Control::Contradicted)];
            for look in void {
                assert_eq!(said([attempt(kind).saw([look])]), ["pending uncontrolled review"], "{kind:?}");
            }
        }
    }
}

/// A search by parts of the key may have found somebody else's record, and missed the one that was asked for.
#[test]
fn uncontrolled_a_key_near_the_known_one_was_found() {
    for kind in [Kind::Create, Kind::Member, Kind::Delete, Kind::Update, Kind::Inbound] {
        for seen in [absent_at(3 * DAY), present_at(3 * DAY, record("a", 1))] {
            let said = |near| said([attempt(kind).saw([Look { near, ..seen.clone() }])])[0].clone();
            assert_eq!(said(Control::Contradicted), "pending uncontrolled review", "{kind:?}");
            assert_eq!(said(Control::Unanswered), "pending inconclusive wait", "{kind:?}");
            assert_eq!(said(Control::Held), said(Control::Missing), "{kind:?}");
        }
    }
    let near = Control::Contradicted;
    let decision = &decided(&Windows::default(), [attempt(Kind::Create).saw([Look { near, ..absent_at(3) }])])[0];
    let Decision::Defer(deferral) = decision else { unreachable!() };
    assert!(deferral.explanation.contains("finds by parts of the key") && deferral.explanation.contains("record.key"));
}

#[test]
fn an_unanswered_control_is_inconclusive() {
    let absent = absent_at(3 * DAY);
    let unanswered = [absent.clone().known(Control::Unanswered), absent.random(Control::Unanswered)];
    for look in unanswered {
        assert_eq!(said([attempt(Kind::Create).saw([look])]), ["pending inconclusive wait"]);
    }
    let present = present_at(3, record("a", 1)).random(Control::Unanswered);
    assert_eq!(said([attempt(Kind::Create).saw([present])]), ["pending inconclusive wait"]);
}

#[test]
fn expired_after_two_looks_only() {
    let once = attempt(Kind::Create).saw([inconclusive_at(40 * DAY)]);
    assert_eq!(said([once.clone()]), ["pending inconclusive wait"]);
    let too_soon = once.clone().saw([inconclusive_at(69 * DAY)]);
    assert_eq!(said([too_soon]), ["pending inconclusive wait"]);
    let twice = once.saw([inconclusive_at(70 * DAY)]);
    assert_eq!(said([twice]), ["duplicate-risk unknown expired ask-privo"]);
}

#[test]
fn an_answer_comes_before_expired() {
    let entry = attempt(Kind::Create).saw([inconclusive_at(1), present_at(31 * DAY, undated("a"))]);
    assert_eq!(said([entry]), ["resolved satisfied present store-id"]);
}

#[test]
fn never_expired_for_other_environment_or_uncontrolled() {
    let looks = [absent_at(1), absent_at(99 * DAY).known(Control::Missing)];
    let elsewhere = attempt(Kind::Create).class(Class::OtherEnvironment).saw(looks.clone());
    assert_eq!(said([elsewhere]), ["pending other-environment review"]);
    assert_eq!(said([attempt(Kind::Create).saw(looks)]), ["pending uncontrolled review"]);
}

fn state_at(minute: i64) -> Look {
    present_at(minute, record("consent-1", -9)).seeing(|l| l.state = Some("GRANTED".into()))
}

#[test]
fn inbound_within_the_webhook_window() {
    let entry = attempt(Kind::Inbound).saw([state_at(4)]);
    let decision = &decided(&Windows::default(), [entry])[0];
    assert_eq!((text(decision).as_str(), not_before(decision)), ("pending unsettled wait", Some(at(5))));
}

#[test]
fn inbound_afterwards_is_the_state() {
    let decision = &decided(&Windows::default(), [attempt(Kind::Inbound).saw([state_at(6)])])[0];
    assert_eq!(text(decision), "resolved satisfied state-fetched apply-state");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert!(verdict.explanation.starts_with("as of 2026-01-01T00:06:00.000Z"), "{}", verdict.explanation);
    assert!(verdict.explanation.contains("GRANTED"), "{}", verdict.explanation);
}

#[test]
fn inbound_a_missing_account_is_a_state_too() {
    let decision = &decided(&Windows::default(), [attempt(Kind::Inbound).saw([absent_at(6)])])[0];
    assert_eq!(text(decision), "resolved satisfied state-fetched apply-state");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert!(verdict.explanation.contains("missing"), "{}", verdict.explanation);
}

#[test]
fn inbound_taken_later() {
    let taken = [attempt(Kind::Inbound).saw([state_at(6)]), attempt(Kind::Inbound).sent(1).answered(200)];
    assert_eq!(said(taken)[0], "resolved satisfied present none");
}

/// What cannot be read is no delivery that was taken.
#[test]
fn inbound_an_unreadable_answer_says_nothing() {
    for status in [Some(503), None] {
        let bad = attempt(Kind::Inbound).sent(1).failed(Failure::Answered, Window::None, status);
        let bad = bad.class(Class::BadRow { why: "http_status".into() }).effects([]);
        assert_eq!(
            said([attempt(Kind::Inbound).saw([state_at(6)]), bad])[0],
            "resolved satisfied state-fetched apply-state"
        );
    }
}

#[test]
fn inbound_taken_earlier_or_another_event_says_nothing() {
    let earlier = [attempt(Kind::Inbound).saw([state_at(6)]), attempt(Kind::Inbound).sent(-1).answered(200)];
    assert_eq!(said(earlier)[0], "resolved satisfied state-fetched apply-state");
    let another = [attempt(Kind::Inbound).saw([state_at(6)]), attempt(Kind::Inbound).op(2).sent(1).answered(200)];
    assert_eq!(said(another)[0], "resolved satisfied state-fetched apply-state");
    let refused = [attempt(Kind::Inbound).saw([state_at(6)]), attempt(Kind::Inbound).sent(1).answered(404)];
    assert_eq!(said(refused)[0], "resolved satisfied state-fetched apply-state");
}
