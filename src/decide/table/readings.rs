//! A request whose URL servers read in two ways.

use super::*;

/// A delete whose key is one of two.
fn either() -> Attempt {
    let other = Effect { key: Some(link(202)), alternative: true, ..effect(Kind::Delete) };
    attempt(Kind::Delete).effects([effect(Kind::Delete), other])
}

#[test]
fn readings_that_agree_are_believed() {
    let decision = &decided(&Windows::default(), [either().saw([absent_at(20)]).saw([absent_at(20).of(1)])])[0];
    assert_eq!(text(decision), "resolved satisfied deleted none");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert!(verdict.explanation.contains("whichever way the server read the URL"), "{}", verdict.explanation);
}

#[test]
fn while_one_reading_is_pending_so_is_the_entry() {
    assert_eq!(said([either().saw([absent_at(20)])]), ["pending inconclusive wait"]);
    assert_eq!(said([either().saw([absent_at(20)]).saw([inconclusive_at(20).of(1)])]), ["pending inconclusive wait"]);
    let there = || present_at(20, record("7", -2)).of(1);
    assert_eq!(said([either().saw([absent_at(20)]).saw([there()])]), ["pending unconfirmed wait"]);
}

#[test]
fn readings_that_come_to_different_ends_go_to_a_person() {
    let there = |minute| present_at(minute, record("7", -2)).of(1);
    let looks = either().saw([absent_at(20)]).saw([absent_at(31)]).saw([there(20)]).saw([there(31)]);
    assert_eq!(said([looks]), ["duplicate-risk unknown bad-row review"]);
    // Two records that both are there are two different ends, too.
    let both = either().saw([present_at(20, record("6", -2)), present_at(31, record("6", -2)), there(20), there(31)]);
    assert_eq!(said([both]), ["duplicate-risk unknown bad-row review"]);
}

#[test]
fn a_delete_that_may_have_meant_another_record_still_may_have_removed_it() {
    let create = attempt(Kind::Create).effects([Effect { key: Some(link(202)), ..effect(Kind::Create) }]).op(2);
    let looks = [absent_at(19), absent_at(30)];
    let delete = either().sent(3).saw(looks.clone()).saw(looks.clone().map(|look| look.of(1)));
    assert_eq!(said([create.saw(looks), delete])[0], "duplicate-risk unknown removed-since review");
}
