//! Read after others that may concern the same record had been sealed: nothing is said that only their absence proves.

use super::*;

fn overtaken(attempt: Attempt) -> Attempt {
    attempt.with(|a| a.facts.overtaken = true)
}

const CONFIRMED: [i64; 2] = [16, 27];

#[test]
fn overtaken_what_is_there_is_never_surely_its_own() {
    let entry = overtaken(attempt(Kind::Create)).saw([present_at(20, record("a", 7))]);
    assert_eq!(said([entry]), ["resolved satisfied present store-id"]);
    let member = overtaken(attempt(Kind::Member)).saw([list_at(DAY + 60, [record("a", 7)])]);
    assert_eq!(said([member]), ["duplicate-risk unknown ambiguous-match review"]);
}

#[test]
fn overtaken_what_is_absent_may_have_been_removed() {
    let entry = overtaken(attempt(Kind::Create)).saw(CONFIRMED.map(absent_at));
    assert_eq!(said([entry]), ["duplicate-risk unknown removed-since review"]);
}

#[test]
fn overtaken_one_attempt_counts_for_its_operation() {
    let two = [attempt(Kind::Create).saw([present_at(20, record("a", 7))]), overtaken(attempt(Kind::Create)).sent(1)];
    assert_eq!(said(two)[0], "resolved satisfied present store-id");
}

#[test]
fn overtaken_what_was_made_before_is_still_preexisting() {
    let entry = overtaken(attempt(Kind::Create)).saw([present_at(20, record("a", -60))]);
    assert_eq!(said([entry]), ["resolved not-applied preexisting do-not-resend"]);
}

#[test]
fn overtaken_an_update_is_neither_proved_nor_disproved() {
    let changed = Record { changed: Some(at(3)), ..record("a", -99) };
    let entry = overtaken(attempt(Kind::Update)).saw([present_at(16, changed)]);
    assert_eq!(said([entry]), ["resolved satisfied equivalent none"]);
    let before = Record { as_before: true, ..with_field(record("a", -99), Compared::Differs) };
    let entry = overtaken(attempt(Kind::Update)).saw(CONFIRMED.map(|m| present_at(m, before.clone())));
    assert_eq!(said([entry]), ["duplicate-risk unknown overwritten review"]);
}

fn sealed(attempt: Attempt) -> Attempt {
    attempt.with(|a| a.facts.sealed = Some(at(40)))
}

/// Who else asked for the same is known no more once the fields of an attempt are gone, and another comes.
#[test]
fn overtaken_by_its_own_attempt_it_is_never_surely_its_own() {
    let first = || attempt(Kind::Create).saw([present_at(20, record("a", 7))]);
    let again = || attempt(Kind::Create).sent(60).saw([present_at(80, record("a", 7))]);
    assert_eq!(said([first(), again()])[1], "resolved applied created store-id");
    assert_eq!(said([sealed(first()), again()])[1], "resolved satisfied present store-id");
    // What was decided together is decided again so.
    assert_eq!(said([sealed(first()), sealed(again())])[1], "resolved applied created store-id");
}

/// What it found once, and another attempt looked for later and did not find, was removed.
#[test]
fn overtaken_what_it_found_and_its_retry_did_not_was_removed() {
    let found = attempt(Kind::Create).saw([present_at(20, record("a", 7))]).settled(
        20,
        Outcome::Applied,
        Reason::Created,
        Some("a"),
    );
    let renamed = sealed(found).changed(|effect| effect.key = Some(link(90)));
    let again = attempt(Kind::Create).sent(60).saw([absent_at(80), absent_at(91)]);
    assert_eq!(said([renamed, again]), ["duplicate-risk unknown removed-since review"; 2]);
}

/// What was settled as not applied, and lost its fields, waits for nothing: its retries are looked for, or were answered.
#[test]
fn overtaken_what_was_not_applied_waits_for_nothing_when_it_is_tried_again() {
    for kind in [Kind::Create, Kind::Member] {
        let again = 9 * DAY;
        let lost = || attempt(kind).saw([DAY + 60, DAY + 90].map(absent_at));
        let verdict = Settled {
            decided: at(DAY + 90),
            status: Status::Resolved,
            outcome: Outcome::NotApplied,
            reason: Reason::ConfirmedAbsent,
            action: Action::Resend,
            server_id: None,
            looks: 2,
        };
        let first = || {
            let renamed = sealed(lost()).changed(|effect| {
                effect.key = Some(link(90));
                effect.values = vec![("email".into(), link(91))];
            });
            renamed.with(|a| a.prior = Some(verdict.clone()))
        };
        let answered = said([first(), attempt(kind).sent(again).answered(201)]);
        assert_eq!(answered[0], "resolved satisfied present none", "{kind:?}");
        let doubtful = attempt(kind).sent(again).saw([list_at(again + DAY + 60, [undated("a")])]);
        assert_eq!(said([first(), doubtful]), ["resolved satisfied present store-id"; 2], "{kind:?}");
        let refused = said([first(), attempt(kind).sent(again).answered(400)]);
        assert_eq!(refused[0], "resolved not-applied never-sent review", "{kind:?}");
    }
}
