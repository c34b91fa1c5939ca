//! Which rows under one operation id are attempts of one operation, and what an id that was given to several says.

use super::*;
use crate::decide::operations;

const RESEND: &str = "resolved not-applied confirmed-absent resend";
const REVIEW: &str = "resolved not-applied confirmed-absent review";
const REMOVED: &str = "duplicate-risk unknown removed-since review";
const CONFIRMED: [i64; 2] = [16, 27];

/// A create of this person, whose request shows these values; a person's key is the first of them.
fn person(kind: Kind, values: &[(&str, u8)]) -> Attempt {
    let key = values.iter().find(|(name, _)| *name == "email").map_or(link(99), |(_, value)| link(*value));
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), link(*value))).collect();
    attempt(kind).changed(|effect| {
        effect.values = values;
        if kind == Kind::Create {
            effect.key = Some(key);
        }
    })
}

fn ann() -> Attempt {
    person(Kind::Create, &[("email", 1), ("name", 11)])
}

fn bob() -> Attempt {
    person(Kind::Create, &[("email", 2), ("name", 12)])
}

fn lost(attempt: Attempt) -> Attempt {
    attempt.saw(CONFIRMED.map(absent_at))
}

fn bare() -> Attempt {
    attempt(Kind::Create).class(Class::BadRow { why: "body".into() }).effects([])
}

/// The operation of each attempt, by the place of its first one.
fn parted<const N: usize>(attempts: [Attempt; N]) -> Vec<usize> {
    operations(&Case { windows: Windows::default(), attempts: attempts.into(), removals: vec![] })
}

#[test]
fn requests_that_show_two_values_of_one_name_are_two_operations() {
    assert_eq!(parted([ann(), bob(), ann(), bob()]), [0, 1, 0, 1]);
    let corrected = person(Kind::Create, &[("email", 1), ("name", 13)]);
    assert_eq!(parted([ann(), corrected]), [0, 1]);
    assert_eq!(said([lost(ann()), lost(bob())]), [RESEND, RESEND]);
}

#[test]
fn requests_with_a_key_or_a_field_more_or_less_are_one_operation() {
    let fewer = || person(Kind::Create, &[("email", 1)]);
    let more = || person(Kind::Create, &[("email", 1), ("name", 11), ("user name", 21)]);
    assert_eq!(parted([ann(), fewer(), more()]), [0, 0, 0]);
    assert_eq!(parted([ann(), ann().not_sent(), ann().answered(412)]), [0, 0, 0]);
    // Another operation of the plan is another request.
    assert_eq!(parted([ann(), ann().with(|a| a.facts.operation = Some("another".into()))]), [0, 1]);
}

#[test]
fn requests_an_answer_is_evidence_for_its_own_alone() {
    for status in [200, 201, 204] {
        let said = said([lost(ann()), bob().sent(1).answered(status), lost(bob())]);
        assert_eq!([&said[0], &said[2]], [REVIEW, REMOVED], "{status}");
    }
    for status in [400, 412, 422] {
        assert_eq!(said([lost(ann()), bob().sent(1).answered(status)])[0], RESEND, "{status}");
    }
    assert_eq!(said([ann().not_sent(), bob().answered(201)])[0], "resolved not-applied never-sent review");
    assert_eq!(said([ann().not_sent(), bob().answered(400)])[0], "resolved not-applied never-sent resend");
}

#[test]
fn requests_one_applied_makes_the_others_of_its_id_a_persons_to_review() {
    let found = ann().saw([present_at(20, record("a", 2))]);
    assert_eq!(said([found, lost(bob())]), ["resolved applied created store-id", REVIEW]);
}

/// What may have been applied may be a correction, too; and what is not decided yet is waited for.
#[test]
fn requests_one_that_may_be_applied_keeps_the_others_of_its_id_from_being_sent_again() {
    let taken = || bob().saw([present_at(20, with_field(record("b", 2), Compared::Differs))]);
    assert_eq!(said([lost(ann()), taken()]), [REVIEW, "duplicate-risk unknown key-taken review"]);
    assert_eq!(said([ann().not_sent(), taken()])[0], "resolved not-applied never-sent review");
    let blind = || bob().changed(|effect| (effect.kind, effect.key) = (Kind::Blind, None));
    assert_eq!(said([lost(ann()), blind()])[0], REVIEW);
    let waits = [bob().saw([inconclusive_at(20)]), bob().sent(9).http().saw([absent_at(20)]), bob()];
    for waiting in waits {
        let decisions = decided(&Windows::default(), [ann().not_sent(), waiting.clone()]);
        assert_eq!(text(&decisions[0]), "pending unsettled wait", "{waiting:?}");
        assert_eq!(not_before(&decisions[0]), not_before(&decisions[1]));
    }
    // Under ids of their own they do not wait for each other.
    assert_eq!(said([ann().not_sent(), bob().op(2)])[0], "resolved not-applied never-sent resend");
    // What was lost for sure corrects nothing.
    let preexisting = bob().saw([present_at(20, record("b", -2))]);
    assert_eq!(said([lost(ann()), preexisting])[0], RESEND);
}

/// Under an id of its own nothing could be its correction.
#[test]
fn requests_under_ids_of_their_own_say_nothing_of_each_other() {
    assert_eq!(said([lost(ann()), bob().op(2).sent(1).answered(201)])[0], RESEND);
}

#[test]
fn requests_for_what_is_not_unique_are_reviewed_under_a_shared_id() {
    let child = |name: u8| {
        let looks = [DAY + 1, DAY + 12].map(|minute| list_at(minute, []));
        person(Kind::Member, &[("name", name)]).saw(looks)
    };
    assert_eq!(said([child(11), child(12)]), [REVIEW, REVIEW]);
    assert_eq!(said([child(11), child(11)]), [RESEND, RESEND], "retries of one operation");
    assert_eq!(said([child(11), child(12).op(2)]), [RESEND, RESEND]);
}

#[test]
fn requests_a_bare_row_is_an_attempt_of_each() {
    let verdict = said([lost(ann()), lost(bob()), bare().answered(201)]);
    assert_eq!(verdict[..2], [REMOVED, REMOVED]);
    // In doubt, its window counts for each.
    let verdict = said([lost(ann()), lost(bob()), bare().sent(DAY)]);
    assert_eq!(verdict[..2], ["pending unsettled wait", "pending unsettled wait"]);
    // It was in doubt, so it is not the case that no byte of either left.
    let verdict = said([ann().not_sent(), bob().not_sent(), bare()]);
    assert!(verdict[..2].iter().all(|said| said != "resolved not-applied never-sent resend"), "{verdict:?}");
}

/// Rows that each fit a third one and not each other.
#[test]
fn requests_the_order_of_rows_does_not_matter() {
    let rows = [
        lost(person(Kind::Create, &[("email", 1)])),
        lost(person(Kind::Create, &[("email", 1), ("name", 11)])),
        lost(person(Kind::Create, &[("email", 1), ("name", 12)])),
        lost(bob()),
        bare().answered(201),
    ];
    let decide_in = |order: &[usize]| {
        let attempts = order.iter().map(|place| {
            let mut row = rows[*place].clone();
            row.entry = *place as i64 + 1;
            row
        });
        let case = Case { windows: Windows::default(), attempts: attempts.collect(), removals: vec![] };
        let mut said: Vec<(usize, String)> = order.iter().copied().zip(decide(&case).iter().map(text)).collect();
        said.sort();
        said
    };
    let first = decide_in(&[0, 1, 2, 3, 4]);
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        let mut order = [0, 1, 2, 3, 4];
        rng.shuffle(&mut order);
        assert_eq!(decide_in(&order), first, "{order:?}");
    }
}

#[test]
fn requests_that_write_nothing_in_common_or_hold_another_number_of_parts_are_two_operations() {
    let feature = |number: u8, target: u8| Effect {
        name: format!("feature {number}"),
        targets: vec![link(target)],
        ..effect(Kind::Update)
    };
    let revoke = |effects: Vec<Effect>| attempt(Kind::Update).with(|a| a.facts.effects = effects);
    let chat = || revoke(vec![feature(1, 1)]);
    assert_eq!(parted([chat(), revoke(vec![feature(1, 2)]), chat()]), [0, 1, 0]);
    assert_eq!(parted([chat(), revoke(vec![feature(1, 1), feature(2, 2)])]), [0, 1]);
    // A field more or less that is written is still a retry.
    let fields = |targets: &[u8]| {
        attempt(Kind::Update).changed(|effect| effect.targets = targets.iter().map(|n| link(*n)).collect())
    };
    assert_eq!(parted([fields(&[1, 2]), fields(&[2])]), [0, 0]);
    assert_eq!(parted([fields(&[1]), fields(&[2])]), [0, 1]);
}

/// What a URL says in two ways is told from what neither of them says.
#[test]
fn requests_read_in_two_ways_are_told_from_a_third() {
    let email = |value: u8, alternative: bool| Effect {
        values: vec![("email".into(), link(value))],
        key: Some(link(value)),
        alternative,
        ..effect(Kind::Delete)
    };
    let either = || attempt(Kind::Delete).effects([email(1, false), email(2, true)]);
    let delete = |value: u8| attempt(Kind::Delete).effects([email(value, false)]);
    assert_eq!(parted([either(), delete(3)]), [0, 1]);
    assert_eq!(parted([either(), delete(2)]), [0, 0]);
}

/// A row that may be an attempt of several says of none of them that it was sent when that row was.
#[test]
fn requests_made_after_a_row_that_may_be_anybodys_is_not_made_by_each() {
    let made = || [present_at(20, record("a", 3))];
    let before = bare().with(|a| (a.facts.sent, a.facts.ended) = (Some(at(-2)), at(-2)));
    let late = ann().sent(9);
    assert_eq!(said([before.clone(), late.clone().saw(made()), bob()])[1], "resolved satisfied present store-id");
    assert_eq!(said([before.clone(), late.clone().saw(made())])[1], "resolved satisfied present store-id");
    // Its own attempts do; and one that is there before all of them is older.
    assert_eq!(said([before.clone(), ann().saw(made()), bob()])[1], "resolved applied created store-id");
    let older = late.saw([present_at(20, record("a", -30))]);
    assert_eq!(said([before, older, bob()])[1], "resolved not-applied preexisting do-not-resend");
}
