//! One operation has one verdict and one advice, whatever its rows come to by themselves.

use super::*;

const RESEND: &str = "resolved not-applied confirmed-absent resend";
const CONFIRMED: [i64; 2] = [16, 27];

fn create() -> Attempt {
    attempt(Kind::Create)
}

/// The same request with another key of the operation: its looks are its own.
fn by_another_key() -> Attempt {
    create().changed(|effect| (effect.key, effect.also) = (Some(link(201)), vec![link(200)]))
}

#[test]
fn together_what_waits_lets_all_of_the_operation_wait() {
    let settled = create().saw(CONFIRMED.map(absent_at));
    for later in [create().sent(40), create().sent(40).http(), create().sent(40).intent()] {
        let said = said([settled.clone(), later]);
        assert_eq!(said[0], said[1]);
        assert!(said[0].starts_with("pending"), "{said:?}");
    }
}

#[test]
fn together_a_row_that_was_settled_waits_with_the_one_that_joined() {
    let settled =
        create().saw(CONFIRMED.map(absent_at)).settled(27, Outcome::NotApplied, Reason::ConfirmedAbsent, None);
    let said = said([settled, create().sent(40).saw([absent_at(41)])]);
    assert_eq!(said, ["pending unsettled wait", "pending unsettled wait"]);
}

#[test]
fn together_what_one_row_found_is_the_operations() {
    let found = by_another_key().sent(1).saw([present_at(30, record("a", 2))]);
    let absent = create().saw([absent_at(31), absent_at(42)]);
    let decisions = decided(&Windows::default(), [absent, found]);
    assert_eq!(text(&decisions[0]), text(&decisions[1]));
    assert!(!decisions.iter().any(|decision| decision.action() == Action::Resend), "{decisions:?}");
}

#[test]
fn together_two_records_of_one_operation_are_never_one_of_them() {
    let first = create().saw([present_at(30, record("a", 1))]);
    let second = by_another_key().sent(1).saw([present_at(30, record("b", 2))]);
    let decisions = decided(&Windows::default(), [first, second]);
    assert_eq!(text(&decisions[0]), text(&decisions[1]));
    assert!(text(&decisions[0]).starts_with("duplicate-risk"), "{decisions:?}");
}

#[test]
fn together_a_row_that_cannot_be_read_stands_for_itself() {
    let bad = create().class(Class::BadRow { why: "body".into() }).effects([]);
    let said = said([create().saw([present_at(20, record("a", 2))]), bad]);
    assert_eq!(said, ["resolved applied created store-id", "duplicate-risk unknown bad-row review"]);
}

#[test]
fn together_another_environment_stands_for_itself() {
    let elsewhere = create().class(Class::OtherEnvironment);
    let said = said([create().saw(CONFIRMED.map(absent_at)), elsewhere]);
    assert_eq!(said, [RESEND, "pending other-environment review"]);
}

/// Every attempt that left was answered: with success it is there, with a content error it is to be corrected.
#[test]
fn together_the_answers_of_all_that_left_say_it() {
    let not_sent = || create().not_sent();
    let shadow = |attempt: Attempt| attempt.changed(|e| (e.kind, e.key, e.lookup) = (Kind::Blind, None, None));
    assert_eq!(
        said([shadow(not_sent()), shadow(create()).sent(1).answered(201)])[0],
        "resolved satisfied present none"
    );
    assert_eq!(
        said([shadow(not_sent()), shadow(create()).sent(1).answered(400)])[0],
        "resolved not-applied never-sent review"
    );
    let refused_and_done = [not_sent(), create().sent(1).answered(400), create().sent(2).answered(201)];
    assert_eq!(said(refused_and_done)[0], "resolved satisfied present none");
    // One that left and was not answered is in doubt.
    let doubt = [shadow(not_sent()), shadow(create()).sent(1).answered(400), shadow(create()).sent(2)];
    assert_eq!(said(doubt)[0], "duplicate-risk unknown unobservable ask-privo");
}

/// What stands before the server may have sent it twice: the second answer says that something is there already.
#[test]
fn together_what_is_said_to_be_there_is_looked_up() {
    let there = || create().sent(1).answered(412).with(|a| a.facts.already_there = true);
    let saw = |looks: &[Look]| {
        let seen = |attempt: Attempt| attempt.with(|a| a.looks = looks.to_vec());
        said([seen(create().not_sent()), seen(there())])[0].clone()
    };
    assert_eq!(saw(&[present_at(3, record("a", 1))]), "resolved satisfied present store-id");
    assert_eq!(saw(&CONFIRMED.map(absent_at)), "resolved not-applied never-sent review");
    assert_eq!(saw(&[absent_at(3)]), "pending unconfirmed wait");
}

/// Of one delivery a later one that was taken is known, of the other not: the state is to be applied.
#[test]
fn together_a_state_that_was_fetched_is_applied() {
    let event = |minute| attempt(Kind::Inbound).sent(minute);
    let state = |minute| present_at(minute, undated("c")).seeing(|look| look.state = Some("state on".into()));
    let verdict = said([event(0).saw([state(20)]), event(9).saw([state(20)]), event(5).answered(200)]);
    assert_eq!([&verdict[0], &verdict[1]], ["resolved satisfied state-fetched apply-state"; 2]);
}

/// Another operation with the same key that is not decided yet may change the advice: whoever followed it would act on half
/// of what is asked.
#[test]
fn together_what_is_to_be_sent_again_waits_for_another_operation_with_its_key() {
    let settled = create().saw(CONFIRMED.map(absent_at));
    let once = create().op(2).saw([absent_at(27)]);
    let decisions = decided(&Windows::default(), [settled.clone(), once.clone()]);
    assert_eq!(text(&decisions[0]), "pending unsettled wait");
    let Decision::Defer(waits) = &decisions[0] else { panic!("{decisions:?}") };
    let Decision::Defer(other) = &decisions[1] else { panic!("{decisions:?}") };
    assert_eq!((waits.waits_for.is_some(), waits.not_before), (true, other.not_before));
    let twice = create().op(2).saw([absent_at(27), absent_at(38)]);
    assert_eq!(said([settled.clone(), twice]), [RESEND, RESEND]);
    let apart = once.changed(|effect| effect.key = Some(link(201)));
    assert_eq!(said([settled, apart])[0], RESEND, "it asks for something else");
}
