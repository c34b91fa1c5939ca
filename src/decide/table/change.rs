//! The rows "delete" and "update".

use super::*;

fn delete() -> Attempt {
    attempt(Kind::Delete)
}

fn update() -> Attempt {
    attempt(Kind::Update)
}

const CONFIRMED: [i64; 2] = [16, 27];
const DELETED: &str = "resolved satisfied deleted none";
const OVERWRITTEN: &str = "duplicate-risk unknown overwritten review";

#[test]
fn delete_absent_is_deleted() {
    assert_eq!(said([delete().saw([absent_at(1)])]), [DELETED]);
}

#[test]
fn delete_absent_beside_a_create_in_doubt_waits_for_it() {
    let verdict = |looks: &[i64]| {
        let deleting = delete().with(|a| a.looks = looks.iter().map(|m| absent_at(*m)).collect());
        said([deleting, attempt(Kind::Create).op(2)])[0].clone()
    };
    assert_eq!(verdict(&[1]), "pending unsettled wait");
    assert_eq!(verdict(&[16]), "pending unconfirmed wait");
    assert_eq!(verdict(&CONFIRMED), DELETED);
    let made_for_sure = [delete().saw([absent_at(1)]), attempt(Kind::Create).op(2).answered(201)];
    assert_eq!(said(made_for_sure)[0], DELETED);
}

#[test]
fn delete_absent_may_be_a_replica_that_lags() {
    let lag = Windows { replica_lag: Span::seconds(120), ..Windows::default() };
    assert_eq!(said_under(&lag, [delete().saw([absent_at(2)])]), ["pending unsettled wait"]);
    assert_eq!(said_under(&lag, [delete().saw([absent_at(3)])]), [DELETED]);
}

#[test]
fn delete_present_the_same_by_creation_time() {
    let verdict = |looks: &[i64]| {
        said([delete().with(|a| a.looks = looks.iter().map(|m| present_at(*m, record("a", -9))).collect())])[0].clone()
    };
    assert_eq!(verdict(&[15]), "pending unsettled wait");
    assert_eq!(verdict(&[16]), "pending unconfirmed wait");
    assert_eq!(verdict(&CONFIRMED), "resolved not-applied not-deleted resend");
}

#[test]
fn delete_present_the_same_by_id() {
    let known_by_a_look = [
        delete().saw(CONFIRMED.map(|m| present_at(m, undated("a")))),
        attempt(Kind::Update).op(2).saw([present_at(-5, undated("a"))]),
    ];
    assert_eq!(said(known_by_a_look)[0], "resolved not-applied not-deleted resend");
    let made_by_us = attempt(Kind::Create).op(2).sent(-99).settled(-60, Outcome::Applied, Reason::Created, Some("a"));
    let known_by_a_verdict = [delete().saw(CONFIRMED.map(|m| present_at(m, undated("a")))), made_by_us];
    assert_eq!(said(known_by_a_verdict)[0], "resolved not-applied not-deleted resend");
}

#[test]
fn delete_present_not_known_to_be_the_same() {
    let entry = delete().saw(CONFIRMED.map(|m| present_at(m, undated("a"))));
    assert_eq!(said([entry]), ["resolved not-applied not-deleted review"]);
}

/// What another entry's look saw before the delete was sent may have been replaced before it was sent, too.
#[test]
fn delete_present_with_another_id_than_before_it_was_sent_is_ambiguous() {
    let earlier = attempt(Kind::Update).op(2).saw([present_at(-5, undated("a"))]);
    let verdict = |minute| said([delete().saw([present_at(minute, undated("b"))]), earlier.clone()])[0].clone();
    assert_eq!(verdict(9), "pending unsettled wait");
    assert_eq!(verdict(16), "duplicate-risk unknown ambiguous-match review");
}

#[test]
fn delete_present_with_another_id_than_after_it_was_sent_is_recreated() {
    let verdict =
        |minute| said([delete().saw([present_at(2, undated("a")), present_at(minute, undated("b"))])])[0].clone();
    assert_eq!(verdict(9), "pending unsettled wait");
    assert_eq!(verdict(16), "resolved satisfied recreated do-not-resend");
}

#[test]
fn delete_present_and_absent_once_since_it_was_sent_is_recreated() {
    let verdict = |attempts: [Attempt; 2]| said(attempts)[0].clone();
    let created = attempt(Kind::Create).op(2).sent(-1).http();
    let seen = |minute| delete().saw([absent_at(1), present_at(minute, undated("b"))]);
    assert_eq!(verdict([seen(9), created.clone()]), "pending unsettled wait");
    assert_eq!(verdict([seen(DAY + 16), created.clone()]), "resolved satisfied recreated do-not-resend");
    // By another entry's look, too; but not by one from before it was sent.
    let other = |minute| created.clone().saw([absent_at(minute)]);
    let late = delete().saw([present_at(DAY + 16, undated("b"))]);
    assert_eq!(verdict([late.clone(), other(1)]), "resolved satisfied recreated do-not-resend");
    assert_eq!(verdict([late, other(-2)]), "duplicate-risk unknown ambiguous-match review");
}

/// A delete by the server's own id can be repeated while it waits: no other record ever bears the id.
#[test]
fn delete_by_the_servers_own_id_may_be_sent_again_while_it_waits() {
    let verdict = |looks: &[i64]| {
        let its = |minute: &i64| present_at(*minute, Record { is_key: true, ..undated("a") });
        said([delete().with(|a| a.looks = looks.iter().map(its).collect())])[0].clone()
    };
    assert_eq!(verdict(&[9]), "pending unsettled may-resend");
    assert_eq!(verdict(&[16]), "pending unconfirmed may-resend");
    assert_eq!(verdict(&CONFIRMED), "resolved not-applied not-deleted resend");
}

#[test]
fn delete_present_made_later_is_recreated() {
    let entry = delete().saw([present_at(16, record("b", 5))]);
    assert_eq!(said([entry]), ["resolved satisfied recreated do-not-resend"]);
}

/// The latest id from before counts, whatever order the entries stand in.
#[test]
fn delete_the_id_of_before_is_the_latest_by_time() {
    let old = attempt(Kind::Update).op(2).saw([present_at(-9, undated("old"))]);
    let new = attempt(Kind::Update).op(3).saw([present_at(-5, undated("new"))]);
    let looks = CONFIRMED.map(|m| present_at(m, undated("new")));
    let expected = "resolved not-applied not-deleted resend";
    assert_eq!(said([delete().saw(looks.clone()), old.clone(), new.clone()])[0], expected);
    assert_eq!(said([delete().saw(looks), new, old])[0], expected);
}

/// A look that its controls void names no id of before.
#[test]
fn delete_a_void_look_names_no_record() {
    let void = present_at(2, undated("elsewhere")).random(Control::Contradicted);
    let [first, second] = CONFIRMED.map(|m| present_at(m, undated("a")));
    assert_eq!(said([delete().saw([void, first, second])]), ["resolved not-applied not-deleted review"]);
}

/// More than one record is no absence.
#[test]
fn delete_several_is_not_deleted() {
    let several = |minute| delete().saw([list_at(minute, [record("a", -9), record("b", -9)])]);
    assert_eq!(said([several(9)]), ["pending unsettled wait"]);
    assert_eq!(said([several(16)]), ["duplicate-risk unknown ambiguous-match review"]);
}

fn changed(minute: i64) -> Record {
    Record { changed: Some(at(minute) + Span(500)), ..record("a", -99) }
}

fn before(record: Record) -> Record {
    Record { as_before: true, ..with_field(record, Compared::Differs) }
}

fn valued(values: u8, record: Record) -> Record {
    Record { values: Some(link(values)), ..record }
}

#[test]
fn update_equal_is_equivalent() {
    assert_eq!(said([update().saw([present_at(15, record("a", -99))])]), ["pending unsettled wait"]);
    let settled = update().saw([present_at(16, record("a", -99))]);
    assert_eq!(said([settled]), ["resolved satisfied equivalent none"]);
}

#[test]
fn update_equal_and_changed_within_the_window_is_updated() {
    assert_eq!(said([update().saw([present_at(16, changed(3))])]), ["resolved applied updated none"]);
    for minute in [-3, 20] {
        let entry = update().saw([present_at(30, changed(minute))]);
        assert_eq!(said([entry]), ["resolved satisfied equivalent none"]);
    }
}

#[test]
fn update_equal_beside_another_write_is_overwritten() {
    let verdict = |other: Attempt| said([update().saw([present_at(19, record("a", -99))]), other])[0].clone();
    assert_eq!(verdict(update().op(2).sent(3)), OVERWRITTEN);
    assert_eq!(verdict(update().op(2).sent(3).answered(200)), OVERWRITTEN);
    let equivalent = "resolved satisfied equivalent none";
    assert_eq!(verdict(update().op(2).sent(3).answered(400)), equivalent);
    assert_eq!(verdict(update().op(2).sent(3).not_sent()), equivalent);
    assert_eq!(verdict(update().op(2).sent(3).changed(|e| e.targets = vec![link(221)])), equivalent);
    assert_eq!(verdict(update().sent(3)), equivalent);
}

#[test]
fn update_still_the_values_of_before_by_a_field_of_two_states() {
    let verdict = |looks: &[i64]| {
        let looks = looks.iter().map(|m| present_at(*m, before(record("a", -99)))).collect();
        said([update().with(|a| a.looks = looks)])[0].clone()
    };
    assert_eq!(verdict(&[15]), "pending unsettled wait");
    assert_eq!(verdict(&[16]), "pending unconfirmed wait");
    assert_eq!(verdict(&CONFIRMED), "resolved not-applied not-updated resend");
}

/// Who changed it may have written over what was sent.
#[test]
fn update_values_of_before_in_a_record_changed_since_prove_nothing() {
    let verdict = |minute| {
        let record = || before(Record { changed: Some(at(minute) + Span(500)), ..record("a", -99) });
        said([update().with(|a| a.looks = CONFIRMED.map(|m| present_at(m, record())).into())])[0].clone()
    };
    assert_eq!(verdict(-3), "resolved not-applied not-updated resend");
    for since in [3, 12] {
        assert_eq!(verdict(since), OVERWRITTEN);
    }
}

#[test]
fn update_still_the_values_of_before_by_an_earlier_look() {
    let differing = |values| valued(values, with_field(record("a", -99), Compared::Differs));
    let earlier = |values| update().op(2).answered(400).saw([present_at(-5, differing(values))]);
    let looks = CONFIRMED.map(|m| present_at(m, differing(7)));
    assert_eq!(said([update().saw(looks.clone()), earlier(7)])[0], "resolved not-applied not-updated resend");
    assert_eq!(said([update().saw(looks.clone()), earlier(8)])[0], OVERWRITTEN);
    assert_eq!(said([update().saw(looks)]), [OVERWRITTEN]);
}

/// What a look with a contradicted control saw is no value of before.
#[test]
fn update_a_void_look_shows_no_values_of_before() {
    let differing = || valued(7, with_field(record("a", -99), Compared::Differs));
    let void = present_at(-5, differing()).random(Control::Contradicted);
    let looks = CONFIRMED.map(|m| present_at(m, differing()));
    assert_eq!(said([update().saw(looks), update().op(2).answered(400).saw([void])])[0], OVERWRITTEN);
}

#[test]
fn update_still_as_before_with_a_later_write_known_is_overwritten() {
    let verdict = |other: Attempt| {
        let looks = [19, 30].map(|m| present_at(m, before(record("a", -99))));
        said([update().saw(looks), other])[0].clone()
    };
    assert_eq!(verdict(update().op(2).sent(3)), OVERWRITTEN);
    assert_eq!(verdict(update().op(2).sent(-3).answered(200)), "resolved not-applied not-updated resend");
}

#[test]
fn update_else_is_overwritten_once_settled() {
    for record in [with_field(record("a", -99), Compared::Differs), with_field(record("a", -99), Compared::NotShown)] {
        assert_eq!(said([update().saw([present_at(15, record.clone())])]), ["pending unsettled wait"]);
        assert_eq!(said([update().saw([present_at(16, record)])]), [OVERWRITTEN]);
    }
    assert_eq!(said([update().saw([absent_at(16)])]), [OVERWRITTEN]);
}

#[test]
fn update_with_nothing_compared_is_not_equal() {
    let nothing = Record { fields: vec![], ..record("a", -99) };
    assert_eq!(said([update().saw([present_at(16, nothing)])]), [OVERWRITTEN]);
}

#[test]
fn changes_without_a_key_are_unobservable() {
    for kind in [Kind::Delete, Kind::Update] {
        let entry = attempt(kind).changed(|e| e.key = None).saw(CONFIRMED.map(absent_at));
        assert_eq!(said([entry]), ["duplicate-risk unknown unobservable ask-privo"]);
    }
}

/// Id `a` was seen at -50, and `b` was made at -20: it may have been given the key after the delete of minute 0 removed `a`.
#[test]
fn delete_an_older_record_is_no_proof_where_another_id_was_seen() {
    let earlier = attempt(Kind::Update).op(2).sent(-99).answered(200).saw([present_at(-50, record("a", -90))]);
    let looks = CONFIRMED.map(|m| present_at(m, record("b", -20)));
    assert_eq!(said([delete().saw(looks), earlier])[0], "duplicate-risk unknown ambiguous-match review");
}

/// The same without creation times: the ledger itself knows the create that made `b` (answered so at -20).
#[test]
fn delete_another_id_that_a_known_create_explains_is_not_recreated() {
    let earlier = attempt(Kind::Update).op(2).sent(-99).answered(200).saw([present_at(-50, undated("a"))]);
    let made = attempt(Kind::Create).op(3).sent(-20).answered(201);
    let looks = CONFIRMED.map(|m| present_at(m, undated("b")));
    assert_eq!(said([delete().saw(looks), earlier, made])[0], "duplicate-risk unknown ambiguous-match review");
}

/// An earlier look was made under another plan, which names records by another id.
#[test]
fn delete_an_id_of_another_plans_look_is_no_other_record() {
    let old = present_at(2, undated("sid-1")).seeing(|l| l.current = false);
    let [first, second] = CONFIRMED.map(|m| present_at(m, undated("sub-1")));
    assert_eq!(said([delete().saw([old, first, second])]), ["resolved not-applied not-deleted review"]);
}

/// Without creation times: the ledger knows that the key was made anew after the delete (201 says that it was free).
#[test]
fn delete_made_anew_by_a_known_create_is_not_said_to_be_not_applied() {
    for create in [attempt(Kind::Create).op(2).sent(5).answered(201), attempt(Kind::Create).op(2).sent(1)] {
        let looks = CONFIRMED.map(|m| present_at(m + 10, undated("b")));
        let said = said([delete().saw(looks), create])[0].clone();
        assert!(!said.starts_with("resolved not-applied"), "{said}");
    }
}

/// Found under the normalised spelling only: another person's record on a server that heeds case.
#[test]
fn delete_a_record_of_another_spelling_is_not_what_was_to_be_deleted() {
    let other = || Record { own: false, ..record("a", -99) };
    let said = said([delete().saw(CONFIRMED.map(|m| present_at(m, other())))])[0].clone();
    assert!(!said.starts_with("resolved not-applied"), "{said}");
}

/// The first attempt was turned away at -60; the record was made at -30; the second attempt, of minute 0, was lost.
#[test]
fn delete_made_after_a_refused_attempt_is_not_recreated() {
    let turned = delete().sent(-60).failed(Failure::Http, Window::None, Some(429));
    let looks = CONFIRMED.map(|m| present_at(m, record("a", -30)));
    assert_eq!(said([delete().saw(looks), turned])[0], "resolved not-applied not-deleted resend");
}

/// The retry was answered with success: it explains the change.
#[test]
fn update_an_answered_retry_explains_the_change() {
    let changed = Record { changed: Some(at(3)), ..record("a", -99) };
    let retry = attempt(Kind::Update).sent(2).answered(200);
    let said = said([attempt(Kind::Update).saw([present_at(16, changed)]), retry])[0].clone();
    assert_eq!(said, "resolved satisfied equivalent none");
}

/// The values of the look before were written over by a known write since, and before this update.
#[test]
fn update_values_of_before_that_a_known_write_replaced_prove_nothing() {
    let differing = |values| {
        let record = with_field(record("a", -99), Compared::Differs);
        Record { values: Some(link(values)), ..record }
    };
    let earlier = attempt(Kind::Update).op(2).sent(-90).answered(400).saw([present_at(-50, differing(7))]);
    let written = attempt(Kind::Update).op(3).sent(-20).answered(200);
    let looks = CONFIRMED.map(|m| present_at(m, differing(7)));
    let said = said([attempt(Kind::Update).saw(looks), earlier, written])[0].clone();
    assert_eq!(said, "duplicate-risk unknown overwritten review");
}

/// Found under another spelling only.
#[test]
fn update_a_record_of_another_spelling_is_not_equivalent() {
    let other = || Record { own: false, ..record("a", -99) };
    let said = said([attempt(Kind::Update).saw([present_at(16, other())])])[0].clone();
    assert!(!said.starts_with("resolved"), "{said}");
}

/// Changed half an hour before the only attempt that can have done it.
#[test]
fn update_a_refused_attempt_is_no_first_attempt() {
    let changed = Record { changed: Some(at(-30)), ..record("a", -99) };
    let refused = attempt(Kind::Update).sent(-60).answered(400);
    let said = said([attempt(Kind::Update).saw([present_at(16, changed)]), refused])[0].clone();
    assert_eq!(said, "resolved satisfied equivalent none");
}

/// A webhook that was not taken (500) is no attempt that may become applied at the server: an update of the same account
/// does not wait a day for it.
#[test]
fn update_a_webhook_of_the_same_account_has_no_window() {
    let webhook = attempt(Kind::Inbound).op(2).http();
    let said = said([attempt(Kind::Update).saw([present_at(16, record("a", -99))]), webhook])[0].clone();
    assert_eq!(said, "resolved satisfied equivalent none");
}

/// A success tells that the key was free only where the server blocks a repeat, of a request with one effect.
#[test]
fn delete_a_success_that_needs_no_free_key_does_not_say_that_it_was_made_anew() {
    let verdict =
        |create: Attempt| said([delete().saw(CONFIRMED.map(|m| present_at(m, undated("a")))), create])[0].clone();
    let create = || attempt(Kind::Create).op(2).sent(5).answered(201);
    let blocked = |attempt: Attempt| attempt.with(|a| a.facts.repeat_blocked = true);
    assert_eq!(verdict(blocked(create())), "resolved satisfied recreated do-not-resend");
    let family = create().effects([effect(Kind::Create), Effect { key: Some(link(202)), ..effect(Kind::Create) }]);
    let unreadable = blocked(create()).with(|a| a.facts.http_status = None);
    for create in [create(), blocked(family), unreadable] {
        assert_eq!(verdict(create), "duplicate-risk unknown ambiguous-match review");
    }
}

/// `not-deleted` was said: "a" was seen twice. Then a create of the key is sent, and "a" is there still.
#[test]
fn delete_what_was_seen_before_a_create_was_sent_is_not_its_work() {
    let a = |m| present_at(m, undated("a"));
    let watched = delete().saw(CONFIRMED.map(a)).settled(27, Outcome::NotApplied, Reason::NotDeleted, Some("a"));
    let create = attempt(Kind::Create).op(2).sent(100).saw([a(200)]);
    let verdict = |m| decided(&Windows::default(), [watched.clone().saw([a(m)]), create.clone()]).remove(0);
    assert!(!is_loud(&verdict(110)), "{:?}", verdict(110));
    let confirmed = delete().saw([16, 27, 200, 211].map(a));
    assert_eq!(said([confirmed, create.clone()])[0], "resolved not-applied not-deleted review");
}

/// As [`delete_another_id_that_a_known_create_explains_is_not_recreated`], and the delete's own looks saw the id change.
#[test]
fn delete_an_id_that_changed_between_its_own_looks_is_recreated() {
    let earlier = attempt(Kind::Update).op(2).sent(-99).answered(200).saw([present_at(-50, undated("a"))]);
    let made = attempt(Kind::Create).op(3).sent(-20).answered(201);
    let looks = [present_at(2, undated("x")), present_at(16, undated("y")), present_at(27, undated("y"))];
    let attempts = [delete().saw(looks), earlier, made];
    assert_eq!(said(attempts.clone())[0], "resolved satisfied recreated do-not-resend");
    // A replica may have shown what was gone before the delete.
    let lag = Windows { replica_lag: Span::seconds(300), ..Windows::default() };
    assert_eq!(said_under(&lag, attempts)[0], "duplicate-risk unknown ambiguous-match review");
}

/// The create's verdict is of another plan, which names records by another id.
#[test]
fn delete_an_id_of_another_plans_verdict_is_no_other_record() {
    let made = attempt(Kind::Create).op(2).sent(-99);
    let made = made.saw([present_at(-70, undated("sid-1")).seeing(|l| l.current = false)]);
    let made = made.settled(-60, Outcome::Applied, Reason::Created, Some("sid-1"));
    let looks = CONFIRMED.map(|m| present_at(m, undated("sub-1")));
    assert_eq!(said([delete().saw(looks), made])[0], "resolved not-applied not-deleted review");
}

/// An earlier look found a record under another spelling only, on a server that heeds case.
#[test]
fn delete_an_id_under_another_spelling_is_no_other_record() {
    let other = Record { own: false, ..undated("x") };
    let earlier = attempt(Kind::Update).op(2).sent(-99).answered(400).saw([present_at(-5, other)]);
    let looks = CONFIRMED.map(|m| present_at(m, undated("y")));
    assert_eq!(said([delete().saw(looks), earlier])[0], "resolved not-applied not-deleted review");
}

/// No other record ever bears the id that the delete names.
#[test]
fn delete_of_a_record_by_its_own_id_is_of_the_same_record() {
    let looks = CONFIRMED.map(|m| present_at(m, Record { is_key: true, ..undated("a") }));
    assert_eq!(said([delete().saw(looks)]), ["resolved not-applied not-deleted resend"]);
}

/// The retry was answered with success, and a record is there whose age nobody knows.
#[test]
fn delete_that_was_told_to_be_done_is_not_said_to_be_not_applied() {
    let looks = CONFIRMED.map(|m| present_at(m, undated("a")));
    let retry = delete().sent(2).answered(204);
    assert_eq!(said([delete().saw(looks), retry])[0], "duplicate-risk unknown ambiguous-match review");
}

/// A create was sent a minute before the delete and answered two minutes after it.
#[test]
fn delete_an_answered_create_that_was_under_way_may_have_made_it_since() {
    let create = attempt(Kind::Create).op(2).sent(-1).answered(201).with(|a| a.facts.ended = at(2));
    let looks = CONFIRMED.map(|m| present_at(m, undated("b")));
    assert_eq!(said([delete().saw(looks), create])[0], "duplicate-risk unknown ambiguous-match review");
}

/// The retry was answered with success; somebody switched it back since.
#[test]
fn update_that_was_told_to_be_done_is_not_said_to_be_not_applied() {
    let before = || Record { as_before: true, ..with_field(record("a", -99), Compared::Differs) };
    let retry = update().sent(2).answered(200);
    assert_eq!(said([update().saw(CONFIRMED.map(|m| present_at(m, before()))), retry])[0], OVERWRITTEN);
}

/// What was made before the delete is what was to go, whatever else may make one: the server keeps the key unique.
#[test]
fn delete_present_the_same_by_creation_time_beside_a_create_in_doubt() {
    let create = || attempt(Kind::Create).op(2).sent(-3).http();
    let looks = [DAY + 20, DAY + 31].map(|minute| present_at(minute, record("a", -9)));
    assert_eq!(said([delete().saw(looks), create()])[0], "resolved not-applied not-deleted resend");
    let undated = [DAY + 20, DAY + 31].map(|minute| present_at(minute, undated("a")));
    assert_eq!(said([delete().saw(undated), create()])[0], "duplicate-risk unknown ambiguous-match review");
}

/// A record that shows another value than was sent.
fn another(values: u8) -> Record {
    let fields = vec![("name".to_owned(), Compared::Differs)];
    Record { changed: None, fields, values: Some(link(values)), ..record("a", -99) }
}

/// A PUT that makes or replaces: absent as a create, present as an update.
#[test]
fn upsert_is_made_replaced_or_neither() {
    let upsert = || attempt(Kind::Upsert);
    let absent = |minutes: &[i64]| {
        said([upsert().with(|a| a.looks = minutes.iter().map(|m| absent_at(*m)).collect())])[0].clone()
    };
    assert_eq!(absent(&[1]), "pending unsettled wait");
    assert_eq!(absent(&[16]), "pending unconfirmed wait");
    assert_eq!(absent(&CONFIRMED), "resolved not-applied confirmed-absent resend");
    let equal = Record { changed: None, ..record("a", 1) };
    assert_eq!(said([upsert().saw([present_at(16, equal.clone())])]), ["resolved satisfied equivalent none"]);
    let changed = Record { changed: Some(at(2)), ..equal.clone() };
    assert_eq!(said([upsert().saw([present_at(16, changed)])]), ["resolved applied updated none"]);
    assert_eq!(said([upsert().saw([present_at(16, another(7))])]), [OVERWRITTEN]);
    // It was there once, or something known may have removed it.
    let gone = [present_at(3, equal), absent_at(16), absent_at(27)];
    assert_eq!(said([upsert().saw(gone)]), ["duplicate-risk unknown removed-since review"]);
    let deleted = [upsert().saw(CONFIRMED.map(absent_at)), attempt(Kind::Delete).op(2).sent(3).answered(200)];
    assert_eq!(said(deleted)[0], "duplicate-risk unknown removed-since review");
}

/// What replaces a record writes all of it, and makes it where there was none.
#[test]
fn upsert_explains_what_others_find() {
    let put = || attempt(Kind::Upsert).op(2).sent(1).answered(200);
    let created = [attempt(Kind::Create).saw([present_at(16, record("a", 2))]), put()];
    assert_eq!(said(created)[0], "resolved satisfied present store-id");
    let looks = CONFIRMED.map(|m| present_at(m, Record { as_before: true, ..another(7) }));
    assert_eq!(said([update().saw(looks.clone())])[0], "resolved not-applied not-updated resend");
    assert_eq!(said([update().saw(looks), put()])[0], OVERWRITTEN);
}

/// Nothing was written since before the update was sent, by the server's word.
#[test]
fn update_of_a_record_that_was_changed_last_before_it_was_sent_is_not_updated() {
    let looks = |changed: i64| CONFIRMED.map(|m| present_at(m, Record { changed: Some(at(changed)), ..another(7) }));
    assert_eq!(said([update().saw(looks(-9))]), ["resolved not-applied not-updated resend"]);
    assert_eq!(
        said([update().saw([present_at(16, Record { changed: Some(at(-9)), ..another(7) })])]),
        ["pending unconfirmed wait"]
    );
    assert_eq!(said([update().saw(looks(0))]), [OVERWRITTEN]);
    assert_eq!(said([update().saw(looks(2))]), [OVERWRITTEN]);
    let other = update().op(2).sent(3).answered(200);
    assert_eq!(said([update().saw(looks(-9)), other])[0], OVERWRITTEN);
}

/// It never left, and a later write of the same field did: sent now it would put the older value back.
#[test]
fn an_update_that_never_left_is_not_sent_over_a_later_one() {
    let never = || update().not_sent();
    assert_eq!(said([never()]), ["resolved not-applied never-sent resend"]);
    let review = "resolved not-applied never-sent review";
    assert_eq!(said([never(), update().op(2).sent(3)])[0], review);
    assert_eq!(said([never(), update().op(2).sent(3).answered(200)])[0], review);
    assert_eq!(said([never(), attempt(Kind::Upsert).op(2).sent(3)])[0], review);
    let refused = update().op(2).sent(3).answered(400);
    assert_eq!(said([never(), refused])[0], "resolved not-applied never-sent resend");
    let earlier = update().op(2).sent(-99).answered(200);
    assert_eq!(said([never(), earlier])[0], "resolved not-applied never-sent resend");
}
