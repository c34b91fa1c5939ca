//! The rows "create, not unique, listed under a known owner". They always wait for the longest window: a day.

use super::*;
use crate::evidence::OWNER_ABSENT;

fn member() -> Attempt {
    attempt(Kind::Member)
}

const SETTLED: i64 = DAY + 1;
const CONFIRMED: [i64; 2] = [SETTLED, SETTLED + 11];

fn stranger() -> Record {
    with_field(record("s", 2), Compared::Differs)
}

#[test]
fn member_none_match_unsettled() {
    for minute in [1, 16, DAY] {
        let decision = &decided(&Windows::default(), [member().blocked().saw([absent_at(minute)])])[0];
        assert_eq!((text(decision).as_str(), not_before(decision)), ("pending unsettled wait", Some(at(DAY))));
    }
}

#[test]
fn member_none_match_unconfirmed() {
    assert_eq!(said([member().saw([absent_at(SETTLED)])]), ["pending unconfirmed wait"]);
    assert_eq!(said([member().saw([list_at(SETTLED, [stranger()])])]), ["pending unconfirmed wait"]);
}

#[test]
fn member_none_match_confirmed() {
    let confirmed = ["resolved not-applied confirmed-absent resend"];
    assert_eq!(said([member().saw(CONFIRMED.map(absent_at))]), confirmed);
    assert_eq!(said([member().saw(CONFIRMED.map(|m| list_at(m, [stranger()])))]), confirmed);
    assert_eq!(said([member().saw(CONFIRMED.map(|m| list_at(m, [record("old", -2)])))]), confirmed);
}

#[test]
fn member_none_match_an_uncontrolled_look_starts_no_streak() {
    for control in [Control::Missing, Control::Unanswered] {
        let [first, second] = CONFIRMED.map(|m| list_at(m, [stranger()]));
        assert_eq!(said([member().saw([first.known(control), second])]), ["pending unconfirmed wait"], "{control}");
    }
}

#[test]
fn member_none_match_but_one_did_once() {
    let removed = "duplicate-risk unknown removed-since review";
    let looks = [list_at(9, [record("a", 2)]), absent_at(SETTLED), absent_at(SETTLED + 11)];
    assert_eq!(said([member().saw(looks)]), [removed]);
    let verdict = [member().saw(CONFIRMED.map(absent_at)), member().sent(1).answered(201)];
    assert_eq!(said(verdict)[0], removed);
    let seen_by_the_retry = [
        member().saw([absent_at(SETTLED + 1), absent_at(SETTLED + 13)]),
        member().sent(1).saw([list_at(9, [record("a", 2)])]),
    ];
    assert_eq!(said(seen_by_the_retry)[0], removed);
}

#[test]
fn member_one_matches_waits_for_the_window() {
    assert_eq!(said([member().saw([list_at(DAY, [record("a", 2)])])]), ["pending unsettled wait"]);
}

#[test]
fn member_one_matches_one_operation() {
    let decision = &decided(&Windows::default(), [member().saw([list_at(SETTLED, [record("a", 2)])])])[0];
    assert_eq!(text(decision), "resolved applied created store-id");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert_eq!(verdict.server_id.as_deref(), Some("a"));
    let may_be_older = member().saw([list_at(SETTLED, [undated("a")])]);
    assert_eq!(said([may_be_older]), ["resolved satisfied present store-id"]);
    let with_strangers = member().saw([list_at(SETTLED, [record("old", -3), record("a", 2), stranger()])]);
    assert_eq!(said([with_strangers]), ["resolved applied created store-id"]);
}

#[test]
fn member_one_matches_an_operation_that_was_told_of_success() {
    let two = [member().saw([list_at(SETTLED + 1, [record("a", 2)])]), member().sent(1).answered(201)];
    assert_eq!(said(two)[0], "resolved satisfied present store-id");
}

#[test]
fn member_retries_of_one_operation_that_made_one_record() {
    let looks = [list_at(SETTLED + 1, [record("a", 1)])];
    let two = [member().saw(looks.clone()), member().sent(1).saw(looks)];
    assert_eq!(said(two), ["resolved applied created store-id", "resolved applied created store-id"]);
}

#[test]
fn member_siblings_each_with_its_record() {
    let equal = |id| record(id, 1);
    let differs = |id| with_field(record(id, 1), Compared::Differs);
    let two = [
        member().saw([list_at(SETTLED, [equal("a"), differs("b")])]),
        member().op(2).saw([list_at(SETTLED, [differs("a"), equal("b")])]),
    ];
    let decisions = decided(&Windows::default(), two);
    for (decision, id) in decisions.iter().zip(["a", "b"]) {
        assert_eq!(text(decision), "resolved applied created store-id");
        assert!(matches!(decision, Decision::Settle(v) if v.server_id.as_deref() == Some(id)));
    }
}

/// The counts force "a" upon the first. But a server that applied the second twice made both, and the first was not applied.
#[test]
fn member_a_choice_that_only_the_counts_force_is_ambiguous() {
    let only_a = [record("a", 1), with_field(record("b", 1), Compared::Differs)];
    let two = [
        member().saw([list_at(SETTLED, only_a)]),
        member().op(2).saw([list_at(SETTLED, [record("a", 1), record("b", 1)])]),
    ];
    assert_eq!(said(two), ["duplicate-risk unknown ambiguous-match review", "resolved applied created store-id"]);
}

/// The same by time: "a" was made before the twin was sent, and "b" may be the double of the first.
#[test]
fn member_what_may_be_the_double_of_a_twin_is_ambiguous() {
    let looks = [list_at(2 * DAY, [record("a", 1), record("b", 30)])];
    let two = [member().saw(looks.clone()), member().op(2).sent(20).saw(looks)];
    assert_eq!(said(two), ["resolved applied created store-id", "duplicate-risk unknown ambiguous-match review"]);
}

/// "b" may be older than both, and then the second operation may have made "a".
#[test]
fn member_a_forced_choice_is_no_proof_where_a_record_may_be_older() {
    let only_a = [record("a", 1), with_field(undated("b"), Compared::Differs)];
    let two = [
        member().saw([list_at(SETTLED, only_a)]),
        member().op(2).saw([list_at(SETTLED, [record("a", 1), undated("b")])]),
    ];
    assert_eq!(said(two), ["duplicate-risk unknown ambiguous-match review", "resolved satisfied present store-id"]);
}

#[test]
fn member_duplicated() {
    let looks = [list_at(SETTLED + 1, [record("a", 0), record("b", 1)])];
    let two = [member().saw(looks.clone()), member().sent(1).saw(looks)];
    let duplicated = "duplicate-risk duplicated duplicated ask-privo";
    assert_eq!(said(two), [duplicated, duplicated]);
}

#[test]
fn member_foreign_records() {
    let looks = [list_at(SETTLED, [record("a", 0), record("b", 1)])];
    assert_eq!(said([member().saw(looks)]), ["duplicate-risk unknown foreign-records ask-privo"]);
    let beside_not_sent =
        [member().saw([list_at(SETTLED + 1, [record("a", 0), record("b", 1)])]), member().sent(1).not_sent()];
    assert_eq!(said(beside_not_sent)[0], "duplicate-risk unknown foreign-records ask-privo");
}

#[test]
fn member_underdetermined() {
    let looks = [list_at(SETTLED, [record("a", 0)])];
    let twins = [member().saw(looks.clone()), member().op(2).saw(looks)];
    let underdetermined = "duplicate-risk unknown underdetermined review";
    assert_eq!(said(twins), [underdetermined, underdetermined]);
}

#[test]
fn member_ambiguous_match() {
    let looks = [list_at(SETTLED, [record("a", 0), record("b", 1)])];
    let twins = [member().saw(looks.clone()), member().op(2).saw(looks)];
    let ambiguous = "duplicate-risk unknown ambiguous-match review";
    assert_eq!(said(twins), [ambiguous, ambiguous]);
}

#[test]
fn member_waits_until_every_sibling_was_looked_at() {
    let two = [member().saw([list_at(SETTLED, [record("a", 0)])]), member().op(2)];
    assert_eq!(said(two), ["pending inconclusive wait", "pending unsettled wait"]);
}

/// What a twin saw before the record was made, or with a void control, does not say that the record is not its.
#[test]
fn member_an_old_or_void_look_of_a_sibling_excludes_nothing() {
    let found = || list_at(SETTLED + 20, [record("a", 0)]);
    let early = [list_at(9, []), inconclusive_at(SETTLED + 20)];
    let void = [absent_at(SETTLED + 20).known(Control::Contradicted)];
    let inconclusive_first = [absent_at(2), inconclusive_at(SETTLED + 20)];
    for twin in [member().op(2).saw(early), member().op(2).saw(void), member().op(2).saw(inconclusive_first)] {
        let verdict = said([member().saw([found()]), twin]);
        assert!(!verdict[0].starts_with("resolved"), "{verdict:?}");
    }
}

/// A sibling that was answered with success, and is never looked for, made one of the new records and not the old one.
#[test]
fn member_an_older_record_takes_up_no_answered_sibling() {
    let look = list_at(SETTLED, [record("old", -2), record("a", 0)]);
    let two = [member().saw([look]), member().op(2).answered(201).with(|a| a.facts.ended = at(1))];
    assert_eq!(said(two)[0], "duplicate-risk unknown underdetermined review");
}

/// Nothing that it sent was taken, so a sibling's record is not its.
#[test]
fn member_that_cannot_have_been_applied_is_confirmed_absent() {
    let looks = CONFIRMED.map(|m| list_at(m, [record("a", 0)]));
    let attempts = [member().not_sent().saw(looks.clone()), member().answered(400), member().op(2).saw(looks)];
    let verdict = said(attempts);
    assert_eq!(verdict[0], "resolved not-applied never-sent review");
    assert_eq!(verdict[2], "resolved applied created store-id");
}

/// Between the windows of its two attempts neither can have made the record, so it is the sibling's.
#[test]
fn member_made_between_the_windows_of_two_attempts_is_the_siblings() {
    let (made, late) = (DAY + 60, 2 * DAY);
    let new = || record("new", made);
    let end = 4 * DAY;
    let verdict = said([
        member().saw([list_at(end, [new()])]),
        member().sent(late).saw([list_at(end, [new()])]),
        member().op(2).sent(DAY).saw([list_at(end, [new(), undated("old")])]),
    ]);
    assert!(verdict[..2].iter().all(|verdict| !verdict.starts_with("resolved")), "{verdict:?}");
}

/// "b" may be the work of the retry that followed the verdict, so it is nobody else's for sure.
#[test]
fn member_tried_again_after_its_verdict_may_have_made_another() {
    let (again, end) = (SETTLED + 30, 3 * DAY);
    let seen = || [list_at(end, [record("a", 1), record("b", again + 10)])];
    let made = || member().saw(seen()).settled(SETTLED, Outcome::Applied, Reason::Created, Some("a"));
    let twin = || {
        let absent = member().op(2).sent(5).saw(seen());
        absent.settled(SETTLED, Outcome::NotApplied, Reason::ConfirmedAbsent, None)
    };
    let verdict = said([made(), member().sent(again).saw(seen()), twin()]);
    assert_eq!(verdict[1], "duplicate-risk duplicated duplicated ask-privo");
    assert_eq!(verdict[2], "duplicate-risk unknown ambiguous-match review");
    for retry in [member().sent(again).answered(201), member().sent(again).saw(seen()).closed(again + 60)] {
        assert_eq!(said([made(), retry, twin()])[2], "duplicate-risk unknown ambiguous-match review");
    }
}

/// What was over before the verdict has made "a" and nothing else.
#[test]
fn member_settled_by_a_record_leaves_the_others_to_its_siblings() {
    let end = 2 * DAY;
    let seen = || [list_at(end, [record("a", 1), record("b", 20)])];
    let made = member().saw(seen()).settled(SETTLED + 1, Outcome::Satisfied, Reason::Present, Some("a"));
    let retries = [member().sent(1).answered(201), member().sent(1).saw(seen()).closed(SETTLED + 2)];
    for retry in retries {
        let verdict = said([made.clone(), retry, member().op(2).sent(15).saw(seen())]);
        assert_eq!(verdict[2], "resolved applied created store-id");
    }
}

#[test]
fn member_with_another_owner_has_nothing_to_do_with_it() {
    let look = list_at(SETTLED, [record("a", 0)]);
    let other = member().op(2).changed(|e| e.key = Some(link(201)));
    assert_eq!(said([member().saw([look]), other])[0], "resolved applied created store-id");
}

#[test]
fn member_comparable_but_nothing_shown_is_for_review() {
    let silent = with_field(record("a", 0), Compared::NotShown);
    assert_eq!(said([member().saw([list_at(SETTLED, [silent])])]), ["resolved applied created review"]);
}

#[test]
fn member_without_an_owner_is_unobservable() {
    let entry = member().changed(|e| e.key = None).saw(CONFIRMED.map(absent_at));
    assert_eq!(said([entry]), ["duplicate-risk unknown unobservable ask-privo"]);
}

/// The worst case: everybody may have made everything.
#[test]
fn a_few_hundred_members_that_look_the_same_are_decided_at_once() {
    let many = 300;
    let attempts = (0..many).map(|n| {
        let records = (0..many).map(|r| record(&format!("id{r}"), 1)).collect();
        let mut attempt = member().saw([look(SETTLED, Seen::Several, records)]);
        attempt.entry = n;
        let n = u8::try_from(n % 256).unwrap();
        attempt.facts.identity =
            KeyDigest([n, n / 3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, u8::from(attempt.entry > 255)]);
        attempt
    });
    let case = Case { windows: Windows::default(), attempts: attempts.collect(), removals: vec![] };
    let decisions = decide(&case);
    assert!(decisions.iter().all(|decision| decision.reason() == Reason::AmbiguousMatch));
}

#[test]
fn member_forced_only_if_an_older_record_is_somebodys_is_ambiguous() {
    let end = DAY + 60;
    let unshown = |id: &str| with_field(record(id, 1), Compared::NotShown);
    let (one, two) = (unshown("new1"), unshown("new2"));
    let verdict = said([
        member().saw([list_at(end, [undated("a"), undated("older"), one.clone(), two.clone()])]),
        member().op(2).saw([list_at(end, [undated("b"), one.clone(), two.clone()])]),
        member().op(3).answered(201),
        member().op(4).saw([list_at(end, [one.clone(), two.clone()])]),
        member().op(4).sent(1).saw([list_at(end, [one, two])]),
    ]);
    assert_eq!(verdict[1], "duplicate-risk unknown ambiguous-match review");
}

/// Pinned by a verdict under a plan that named records otherwise: the record is the settled operation's all the same.
#[test]
fn member_a_record_of_a_settled_operation_is_nobody_elses_under_another_plan() {
    let list = |minute| list_at(minute, [record("new-1", 3)]);
    let old = list_at(DAY + 20, [record("old-1", 3)]).seeing(|l| l.current = false);
    let settled = attempt(Kind::Member).op(2).saw([old, list(2 * DAY)]).settled(
        DAY + 20,
        Outcome::Applied,
        Reason::Created,
        Some("old-1"),
    );
    let said = said([attempt(Kind::Member).saw([list(2 * DAY)]), settled])[0].clone();
    assert!(!said.starts_with("resolved"), "{said}");
}

/// A child of the same parent, with a user name.
fn child_with_key(n: u8) -> Attempt {
    attempt(Kind::Create).op(n).changed(|e| (e.key, e.owner) = (Some(link(210)), Some(link(200))))
}

/// What an operation that asked for its key can have made is not the work of one who sent none.
#[test]
fn member_a_record_that_a_keyed_create_can_have_made_is_not_the_keyless_ones() {
    for found in [record("a", 5), undated("a")] {
        let list = CONFIRMED.map(|m| list_at(m, [found.clone()]));
        let with_key = child_with_key(2).saw(CONFIRMED.map(|m| present_at(m, found.clone())));
        assert_eq!(said([member().saw(list), with_key])[0], "resolved not-applied confirmed-absent resend");
    }
}

/// The child took the user name later: whoever asked for that name did not make it before asking, and made nothing that
/// shows other fields.
#[test]
fn member_a_record_that_no_keyed_create_can_have_made_may_be_the_keyless_ones() {
    let end = 2 * DAY;
    let list = || member().saw([end, end + 11].map(|m| list_at(m, [record("a", 5)])));
    let older = child_with_key(2).sent(60).saw([end, end + 11].map(|m| present_at(m, record("a", 5))));
    let differs = with_field(record("a", 5), Compared::Differs);
    let taken = child_with_key(2).saw([end, end + 11].map(|m| present_at(m, differs.clone())));
    for (with_key, reason) in [(older, Reason::Preexisting), (taken, Reason::KeyTaken)] {
        assert_eq!(said([list(), with_key.clone()])[0], "resolved applied created store-id");
        let settled = with_key.settled(end, Outcome::Unknown, reason, Some("a"));
        assert_eq!(said([list(), settled])[0], "resolved applied created store-id");
    }
}

/// The server does not say when it was made, but it was seen before the keyed create was sent.
#[test]
fn member_a_record_that_was_seen_before_a_keyed_create_may_be_the_keyless_ones() {
    let end = 3 * DAY;
    let with_key = child_with_key(2).sent(60).saw([present_at(end, undated("a"))]);
    let member = member().saw([30, end].map(|m| list_at(m, [undated("a")])));
    assert_eq!(said([member, with_key])[0], "resolved satisfied present store-id");
}

/// Made after the windows of the keyed create: which of the two made it cannot be known.
#[test]
fn member_a_record_made_after_the_windows_of_a_keyed_create_is_nobodys_for_sure() {
    let list = member().saw([list_at(SETTLED, [record("a", 60)])]);
    let with_key = child_with_key(2).saw([present_at(SETTLED, record("a", 60))]);
    assert_eq!(said([list, with_key])[0], "duplicate-risk unknown underdetermined review");
}

/// It was not looked at again since the plan names records otherwise, so its old look says nothing of what it made.
#[test]
fn member_a_sibling_that_was_not_looked_at_under_this_plan_may_have_made_any_record() {
    let end = 2 * DAY;
    let old = list_at(DAY + 20, [record("old-1", 3)]).seeing(|l| l.current = false);
    let settled = member().op(2).saw([old]).settled(DAY + 20, Outcome::Applied, Reason::Created, Some("old-1"));
    let verdict = said([member().saw([list_at(end, [record("new-1", 3)])]), settled]);
    assert_eq!(verdict[0], "duplicate-risk unknown underdetermined review");
}

/// One operation's first attempt named no key, its retry did: the record in the list may be its, and is not the twin's for
/// sure.
#[test]
fn member_an_operation_whose_retry_named_a_key_may_have_made_it_without() {
    let end = [2 * DAY, 2 * DAY + 11];
    let a = || end.map(|minute| list_at(minute, [record("a", 5)]));
    let with_key = || child_with_key(1).sent(1).saw(end.map(absent_at));
    let underdetermined = "duplicate-risk unknown underdetermined review";
    assert_eq!(said([member().saw(a()), with_key(), member().op(3).saw(a())]), [underdetermined; 3]);
    assert_eq!(said([member().saw(a()), with_key()]), ["resolved applied created store-id"; 2]);
}

/// What one attempt did not make, another of the same operation did or may have done; what both made is there twice.
#[test]
fn member_an_operation_is_not_applied_only_if_no_body_of_it_was() {
    let end = [2 * DAY, 2 * DAY + 11];
    let list = |id: &str| member().saw(end.map(|m| list_at(m, [record(id, 5)])));
    let nothing = || member().saw(end.map(absent_at));
    let found = |id: &str| child_with_key(1).sent(1).saw(end.map(|m| present_at(m, record(id, 5))));
    let lost = || child_with_key(1).sent(1).saw(end.map(absent_at));
    assert_eq!(said([list("a"), lost()]), ["resolved applied created store-id"; 2]);
    assert_eq!(said([list("a"), found("a")]), ["resolved applied created store-id"; 2]);
    assert_eq!(said([nothing(), lost()]), ["resolved not-applied confirmed-absent resend"; 2]);
    assert_eq!(said([list("a"), found("b")]), ["duplicate-risk duplicated duplicated ask-privo"; 2]);
    let another_key = || child_with_key(1).changed(|e| e.key = Some(link(211)));
    let unknown = "duplicate-risk unknown ambiguous-match review";
    assert_eq!(said([another_key().closed(30), lost()])[1], unknown);
    assert_eq!(said([another_key(), lost()])[1], "pending inconclusive wait");
}

/// What a keyed child was found to have made before the plan changed says nothing of the ids of now: it may have made any.
#[test]
fn member_a_keyed_child_that_was_not_looked_at_under_this_plan_may_have_made_any_record() {
    let end = 2 * DAY;
    let list = member().saw([list_at(end, [record("a", 5)])]);
    let old = present_at(20, record("a", 5)).seeing(|l| l.current = false);
    let with_key = child_with_key(2).saw([old]).settled(20, Outcome::Applied, Reason::Created, Some("a"));
    assert_eq!(said([list.clone(), with_key.clone()])[0], "duplicate-risk unknown underdetermined review");
    let again = with_key.saw([present_at(end, record("b", 5))]);
    assert_eq!(said([list, again])[0], "resolved applied created store-id");
}

/// It was settled by a look within the windows, and is not looked at again: the server keeps its key unique.
#[test]
fn member_an_early_look_tells_what_a_keyed_child_made() {
    let early = child_with_key(2).saw([present_at(6, record("b", 5))]);
    let with_key = early.settled(6, Outcome::Applied, Reason::Created, Some("b"));
    let list = || member().saw([9, 2 * DAY].map(|m| list_at(m, [record("a", 5), record("b", 5)])));
    assert_eq!(said([list(), with_key.clone()])[0], "resolved applied created store-id");
    let dated_ahead = with_key.clone().with(|a| a.facts.ended = at(7));
    assert_eq!(said([list(), dated_ahead])[0], "resolved applied created store-id");
    let again = child_with_key(2).sent(30).answered(201);
    assert_eq!(said([list(), with_key, again])[0], "duplicate-risk unknown underdetermined review");
}

/// What it made may be told by its next look (I4). Once its fields are gone there is none, and nobody waits for it.
#[test]
fn member_waits_for_a_keyed_siblings_look_that_told_nothing() {
    let list = |minutes: [i64; 2]| member().saw(minutes.map(|m| list_at(m, [record("a", 0)])));
    let with_key = || child_with_key(2).answered(201).with(|a| a.facts.ended = at(1)).saw([inconclusive_at(SETTLED)]);
    assert_eq!(said([list([9, SETTLED]), with_key()])[0], "pending inconclusive wait");
    let verdict = with_key().saw([present_at(SETTLED + 9, record("b", 0))]);
    assert_eq!(said([list([SETTLED, SETTLED + 9]), verdict])[0], "resolved applied created store-id");
    let blank = said([list([SETTLED, SETTLED + 9]), with_key()]);
    assert_eq!(blank[0], "duplicate-risk unknown underdetermined review");
}

/// It is asked for under another spelling, and that answer told nothing: its next look may tell what it made.
#[test]
fn member_waits_for_an_answered_siblings_look_that_told_nothing() {
    let list = |minutes: [i64; 2]| member().saw(minutes.map(|m| list_at(m, [record("a", 0)])));
    let sibling = || member().op(2).answered(201).with(|a| a.facts.ended = at(1)).saw([inconclusive_at(SETTLED)]);
    assert_eq!(said([list([9, SETTLED]), sibling()])[0], "pending inconclusive wait");
    let verdict = sibling().saw([list_at(SETTLED + 9, [with_field(record("a", 0), Compared::Differs)])]);
    assert_eq!(said([list([SETTLED, SETTLED + 9]), verdict])[0], "resolved applied created store-id");
    let blank = said([list([SETTLED, SETTLED + 9]), sibling()]);
    assert_eq!(blank[0], "duplicate-risk unknown underdetermined review");
}

/// Equal in one field and not in another: it may be what was sent, written otherwise, unless something speaks against it.
#[test]
fn member_absent_beside_a_record_that_is_nearly_it_is_ambiguous() {
    let differing = vec![("given_name".into(), Compared::Equal), ("birth_date".into(), Compared::Differs)];
    let near = Record { fields: differing, ..undated("near") };
    let beside = |record: &Record| CONFIRMED.map(|minute| look(minute, Seen::Absent, vec![record.clone()]));
    let verdict = |looks: [Look; 2]| said([member().saw(looks)])[0].clone();
    let (ambiguous, absent) =
        ("duplicate-risk unknown ambiguous-match review", "resolved not-applied confirmed-absent resend");
    assert_eq!(verdict(beside(&near)), ambiguous);
    assert_eq!(verdict(beside(&Record { made: record("near", 2).made, ..near.clone() })), ambiguous);
    // It is surely older; or every comparison is proved; or it shows nothing in common.
    assert_eq!(verdict(beside(&Record { made: record("near", -2).made, ..near.clone() })), absent);
    assert_eq!(verdict(beside(&near).map(|look| Look { fields: Control::Held, ..look })), absent);
    assert_eq!(verdict(beside(&near).map(|look| Look { fields: Control::Unanswered, ..look })), ambiguous);
    assert_eq!(verdict(beside(&with_field(undated("near"), Compared::Differs))), absent);
    // It was listed before the request was sent; or another operation asked for just that.
    let earlier = member().op(2).answered(201).sent(-9).saw([look(-5, Seen::Absent, vec![near.clone()])]);
    assert_eq!(said([member().saw(beside(&near)), earlier])[0], absent);
    let sibling = member().op(2).saw(CONFIRMED.map(|minute| list_at(minute, [undated("near")])));
    assert_eq!(said([member().saw(beside(&near)), sibling])[0], absent);
}

/// An owner that is absent is no empty list, unless the same request was to make it.
#[test]
fn member_of_an_owner_that_is_not_there() {
    let gone = || CONFIRMED.map(|minute| absent_at(minute).seeing(|l| l.cause = Some(OWNER_ABSENT.into())));
    let owned = || member().changed(|e| e.owner_record = Some(link(190)));
    assert_eq!(said([owned().saw(gone())]), ["duplicate-risk unknown removed-since review"]);
    let parent = Effect { name: "parent".into(), key: Some(link(190)), ..effect(Kind::Create) };
    let child = Effect { owner_record: Some(link(190)), ..effect(Kind::Member) };
    let family = attempt(Kind::Create).effects([parent, child]);
    let looks = CONFIRMED.map(absent_at);
    let family = family.saw(looks).saw(gone().map(|look| look.of(1)));
    assert_eq!(said([family]), ["resolved not-applied confirmed-absent resend"]);
}

/// The partner's own deletes, of the owner by its key or by an id that tells nobody's, may have removed what was made.
#[test]
fn member_absent_after_a_recorded_delete_of_its_owner_or_by_an_id_is_removed_since() {
    let owned = || member().changed(|e| e.owner_record = Some(link(190))).saw(CONFIRMED.map(absent_at));
    let delete = |minute| attempt(Kind::Delete).op(2).changed(|e| e.key = Some(link(190))).sent(minute);
    let removed = "duplicate-risk unknown removed-since review";
    assert_eq!(said([owned(), delete(5).answered(200)])[0], removed);
    assert_eq!(said([owned(), delete(-5).answered(200)])[0], "resolved not-applied confirmed-absent resend");
    let verdict = |from: i64, until: i64| {
        let mut attempt = owned();
        attempt.entry = 1;
        let removals = vec![(at(from), at(until))];
        text(&decide(&Case { windows: Windows::default(), attempts: vec![attempt], removals })[0])
    };
    assert_eq!(verdict(5, 20), removed);
    assert_eq!(verdict(-20, -5), "resolved not-applied confirmed-absent resend", "nobody knew its id yet");
    assert_eq!(
        verdict(SETTLED + 5, SETTLED + 6),
        "resolved not-applied confirmed-absent resend",
        "it was absent before"
    );
}

/// "There already" says something only of a request for one record with one key of its own: of a child without one it may be
/// the answer to what was made. PRIVO answers 208 "when a parent registers a second child".
#[test]
fn member_there_already_may_be_the_answer_to_what_was_made() {
    let there = |attempt: Attempt| {
        attempt
            .answered(208)
            .with(|a| (a.facts.already_there, a.facts.key_is_there) = (true, a.facts.effects[0].kind == Kind::Create))
    };
    let absent = [member().saw(CONFIRMED.map(absent_at)), there(member().sent(1))];
    assert_eq!(said(absent)[0], "duplicate-risk unknown removed-since review");
    // Nor does it say that all is well.
    let alone = [member().not_sent().saw(CONFIRMED.map(absent_at)), there(member().sent(1))];
    assert_eq!(said(alone)[0], "duplicate-risk unknown removed-since review");
    let made = record("a", 2);
    let found = [member().not_sent().saw([list_at(SETTLED + 1, [made.clone()])]), there(member().sent(1))];
    assert_eq!(said(found)[0], "resolved satisfied present store-id");
    // What it may have made is not another's.
    let sibling = there(member().op(2)).with(|a| a.facts.ended = at(3));
    let sibling = [member().saw([list_at(SETTLED + 1, [made])]), sibling];
    assert_eq!(said(sibling)[0], "duplicate-risk unknown underdetermined review");
    // With one key of its own, it is there.
    let with_key = [attempt(Kind::Create).saw([absent_at(16), absent_at(27)]), there(attempt(Kind::Create).sent(1))];
    assert_eq!(said(with_key)[0], "duplicate-risk unknown removed-since review");
}

/// An attempt that was recorded after the verdict may have made a record that the verdict did not count.
#[test]
fn member_an_attempt_that_came_after_the_verdict_may_have_made_another() {
    let end = 2 * DAY;
    let seen = || [list_at(end, [record("a", 1), record("b", 0)])];
    let settled = || member().sent(1).saw(seen()).settled(SETTLED + 3, Outcome::Satisfied, Reason::Present, Some("a"));
    let came = |minute: i64| member().saw(seen()).with(|a| a.facts.arrived = Some(at(minute)));
    assert_eq!(said([settled(), came(end - 1)])[0], "duplicate-risk duplicated duplicated ask-privo");
    let answered = member().answered(201).with(|a| a.facts.arrived = Some(at(end - 1)));
    assert_eq!(said([settled(), answered])[0], "duplicate-risk duplicated duplicated ask-privo");
}

/// Twins of one request: the one that was made is not the other, written otherwise.
#[test]
fn member_a_twin_that_the_same_request_made_explains_a_near_record() {
    let fields = |name: Compared| vec![("birth_date".into(), Compared::Equal), ("given_name".into(), name)];
    let made = |name| Record { fields: fields(name), ..record("a", 2) };
    let look = |minute, effect, name| Look {
        seen: if name == Compared::Equal { Seen::Present } else { Seen::Absent },
        ..list_at(minute, [made(name)]).of(effect)
    };
    let both = |minute| [look(minute, 0, Compared::Equal), look(minute, 1, Compared::Differs)];
    let twins = member().effects([effect(Kind::Member), effect(Kind::Member)]);
    let [first, second] = CONFIRMED.map(both);
    assert_eq!(said([twins.saw(first).saw(second)])[0], "duplicate-risk partly-applied partly-applied review");
    // A record that only the other child of nobody's request is like stays what it is, unless nothing can have made it.
    let near = || [CONFIRMED[0], CONFIRMED[1]].map(|minute| look(minute, 0, Compared::Differs));
    assert_eq!(said([member().saw(near())])[0], "duplicate-risk unknown ambiguous-match review");
    let turned_away = member().failed(Failure::Http, Window::None, Some(429)).saw(near());
    assert_eq!(said([turned_away])[0], "resolved not-applied confirmed-absent resend");
}
