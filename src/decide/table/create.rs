//! The rows "create, unique key".

use super::*;

fn create() -> Attempt {
    attempt(Kind::Create)
}

const CONFIRMED: [i64; 2] = [16, 27];

#[test]
fn create_unique_present_made_within_the_window_is_created() {
    for made in [0, 7, 14] {
        let decision = &decided(&Windows::default(), [create().saw([present_at(20, record("a", made))])])[0];
        assert_eq!(text(decision), "resolved applied created store-id");
        let Decision::Settle(verdict) = decision else { unreachable!() };
        assert_eq!(verdict.server_id.as_deref(), Some("a"));
        assert_eq!(verdict.matched_on.as_deref(), Some("email, given_name"));
    }
}

#[test]
fn create_unique_present_needs_no_settling() {
    assert_eq!(said([create().saw([present_at(1, record("a", 0))])]), ["resolved applied created store-id"]);
}

#[test]
fn create_unique_made_after_the_window_is_present() {
    let entry = create().saw([present_at(99, record("a", 17))]);
    assert_eq!(said([entry]), ["resolved satisfied present store-id"]);
}

#[test]
fn create_unique_made_at_an_unknown_time_is_present() {
    assert_eq!(said([create().saw([present_at(1, undated("a"))])]), ["resolved satisfied present store-id"]);
    let ahead = create().with(|a| a.facts.sent_ahead = true).saw([present_at(1, record("a", 0))]);
    assert_eq!(said([ahead]), ["resolved satisfied present store-id"]);
}

#[test]
fn create_unique_explained_by_another_operation_is_present_for_both() {
    let look = present_at(9, record("a", 2));
    let two = [create().saw([look.clone()]), create().op(2).sent(1).saw([look])];
    assert_eq!(said(two), ["resolved satisfied present store-id", "resolved satisfied present store-id"]);
}

#[test]
fn create_unique_another_operation_sent_after_it_was_made_explains_nothing() {
    let look = present_at(9, record("a", 2));
    let two = [create().saw([look.clone()]), create().op(2).sent(5).saw([look])];
    assert_eq!(said(two), ["resolved applied created store-id", "resolved not-applied preexisting do-not-resend"]);
}

#[test]
fn create_unique_explained_by_an_answer_is_present() {
    for status in [200, 201] {
        let two = [create().saw([present_at(9, record("a", 2))]), create().sent(1).answered(status)];
        assert_eq!(said(two)[0], "resolved satisfied present store-id");
    }
}

#[test]
fn create_unique_a_refusal_explains_nothing() {
    for status in [412, 409, 400] {
        let two = [create().saw([present_at(9, record("a", 2))]), create().sent(1).answered(status)];
        assert_eq!(said(two)[0], "resolved applied created store-id");
    }
}

#[test]
fn create_unique_a_retry_of_the_operation_is_no_other_cause() {
    let look = present_at(9, record("a", 2));
    let two = [create().saw([look.clone()]), create().sent(1).saw([look])];
    assert_eq!(said(two), ["resolved applied created store-id", "resolved applied created store-id"]);
}

/// The window that counts for "made by it" is the operation's, however long the group waits for others.
#[test]
fn create_unique_made_after_its_own_window_is_not_created_though_the_group_waits_longer() {
    let later = create().op(2).sent(3 * HOUR);
    let two = [create().saw([present_at(9 * HOUR, record("a", 2 * HOUR))]), later];
    assert_eq!(said(two)[0], "resolved satisfied present store-id");
}

#[test]
fn create_unique_preexisting() {
    let entry = create().saw([present_at(9, record("a", -2))]);
    assert_eq!(said([entry]), ["resolved not-applied preexisting do-not-resend"]);
}

#[test]
fn create_unique_preexisting_is_measured_from_the_first_attempt() {
    let look = present_at(9, record("a", 2));
    let two = [create().saw([look.clone()]), create().sent(5).saw([look])];
    assert_eq!(said(two), ["resolved applied created store-id", "resolved applied created store-id"]);
}

/// The delete may yet be applied, and then the create: before the windows are over nothing is sure.
#[test]
fn create_unique_preexisting_beside_a_delete_in_doubt_waits_for_the_windows() {
    let verdict = |minute| {
        let look = present_at(minute, record("a", -2));
        said([attempt(Kind::Delete).op(2).sent(-1), create().saw([look])])[1].clone()
    };
    assert_eq!(verdict(9), "pending unsettled wait");
    assert_eq!(verdict(16), "resolved not-applied preexisting do-not-resend");
}

#[test]
fn create_unique_the_servers_clock_is_allowed_for() {
    // The server is two hours behind the job: what it calls minute -115 is minute 5.
    let behind = |made| {
        let look = present_at(9, record("a", made)).seeing(|l| l.server = Some(at(9 - 2 * HOUR)));
        said([create().saw([look])])[0].clone()
    };
    // Whether the writer's clock was as far off as the job's is now cannot be known: it may have been set since.
    assert_eq!(behind(5 - 2 * HOUR), "resolved satisfied present store-id");
    assert_eq!(behind(-5 - 2 * HOUR), "resolved not-applied preexisting do-not-resend");
    assert_eq!(behind(-5), "resolved satisfied present store-id");
    // Nor does a retry of hours later make it so.
    let look = present_at(6 * HOUR, record("a", 5)).seeing(|l| l.server = Some(at(4 * HOUR)));
    assert_eq!(said([create().saw([look.clone()])]), ["resolved satisfied present store-id"]);
    assert_eq!(said([create().saw([look]), create().sent(5 * HOUR)])[0], "resolved satisfied present store-id");
    // Less than a minute off is believed.
    let slow = |made| {
        let look = present_at(9, record("a", 0)).seeing(|l| {
            l.server = Some(at(9) - Span(30_000));
            l.records[0].made = Some(at(0) + Span(made));
        });
        said([create().saw([look])])[0].clone()
    };
    assert_eq!(slow(-20_000), "resolved applied created store-id");
    assert_eq!(slow(-29_000), "resolved satisfied present store-id");
    assert_eq!(slow(-40_000), "resolved not-applied preexisting do-not-resend");
}

#[test]
fn create_unique_key_taken() {
    let other = with_field(record("a", 2), Compared::Differs);
    assert_eq!(said([create().saw([present_at(9, other)])]), ["duplicate-risk unknown key-taken review"]);
    let one_of_two = Record {
        fields: vec![("given_name".into(), Compared::Equal), ("birth_date".into(), Compared::Differs)],
        ..undated("a")
    };
    assert_eq!(said([create().saw([present_at(9, one_of_two)])]), ["duplicate-risk unknown key-taken review"]);
}

#[test]
fn create_unique_comparable_but_nothing_shown_is_for_review() {
    let silent = with_field(record("a", 2), Compared::NotShown);
    assert_eq!(said([create().saw([present_at(9, silent.clone())])]), ["resolved applied created review"]);
    let own_key = create().changed(|e| e.own_key = true).saw([present_at(9, silent.clone())]);
    assert_eq!(said([own_key]), ["resolved applied created store-id"]);
    let nothing_to_compare = create().changed(|e| e.comparable = false).saw([present_at(9, silent)]);
    assert_eq!(said([nothing_to_compare]), ["resolved applied created store-id"]);
}

#[test]
fn create_unique_found_under_another_spelling_only_is_not_said_to_be_its() {
    let other = Record { own: false, ..record("a", 2) };
    assert_eq!(said([create().saw([present_at(9, other.clone())])]), ["pending unsettled wait"]);
    let after = create().saw([present_at(16, other)]);
    assert_eq!(said([after]), ["duplicate-risk unknown ambiguous-match review"]);
    let several = create().saw([list_at(16, [record("a", 2), record("b", 3)])]);
    assert_eq!(said([several]), ["duplicate-risk unknown ambiguous-match review"]);
}

#[test]
fn create_unique_absent_unsettled_waits_or_may_resend() {
    assert_eq!(said([create().saw([absent_at(9)])]), ["pending unsettled wait"]);
    assert_eq!(said([create().blocked().saw([absent_at(9)])]), ["pending unsettled may-resend"]);
    let own_key = create().changed(|e| e.own_key = true).saw([absent_at(9)]);
    assert_eq!(said([own_key]), ["pending unsettled wait"]);
    let decision = &decided(&Windows::default(), [create().saw([absent_at(9)])])[0];
    assert_eq!(not_before(decision), Some(at(15)));
}

#[test]
fn create_unique_absent_unconfirmed_waits_or_may_resend() {
    assert_eq!(said([create().saw([absent_at(16)])]), ["pending unconfirmed wait"]);
    assert_eq!(said([create().blocked().saw([absent_at(16)])]), ["pending unconfirmed may-resend"]);
    let decision = &decided(&Windows::default(), [create().saw([absent_at(16)])])[0];
    assert_eq!(not_before(decision), Some(at(26) + Span(200)));
}

#[test]
fn create_unique_absent_confirmed() {
    let entry = create().saw(CONFIRMED.map(absent_at));
    assert_eq!(said([entry]), ["resolved not-applied confirmed-absent resend"]);
    let blocked = create().blocked().saw(CONFIRMED.map(absent_at));
    assert_eq!(said([blocked]), ["resolved not-applied confirmed-absent resend"]);
}

#[test]
fn create_unique_not_applied_states_its_assumptions() {
    let decision = &decided(&Windows::default(), [create().saw(CONFIRMED.map(absent_at))])[0];
    let Decision::Settle(verdict) = decision else { unreachable!() };
    for word in ["15m", "1d", "lag", "control", "removed"] {
        assert!(verdict.explanation.contains(word), "{word}: {}", verdict.explanation);
    }
}

#[test]
fn create_unique_removed_since_it_was_seen() {
    let entry = create().saw([present_at(9, undated("a")), absent_at(16), absent_at(27)]);
    assert_eq!(said([entry]), ["duplicate-risk unknown removed-since review"]);
    let seen_by_the_retry =
        [create().saw([absent_at(17), absent_at(28)]), create().sent(1).saw([present_at(9, undated("a"))])];
    assert_eq!(said(seen_by_the_retry)[0], "duplicate-risk unknown removed-since review");
}

#[test]
fn create_unique_removed_since_by_a_later_delete() {
    let removed = "duplicate-risk unknown removed-since review";
    let confirmed = "resolved not-applied confirmed-absent resend";
    for (delete, expected) in [
        (attempt(Kind::Delete).op(2).sent(3).answered(204), removed),
        (attempt(Kind::Delete).op(2).sent(3), removed),
        (attempt(Kind::Delete).op(2).sent(3).answered(403), confirmed),
        (attempt(Kind::Delete).op(2).sent(3).not_sent(), confirmed),
        (attempt(Kind::Delete).op(2).sent(-3).answered(204), confirmed),
    ] {
        let looks = [absent_at(19), absent_at(30)];
        assert_eq!(said([create().saw(looks), delete])[0], expected);
    }
}

#[test]
fn create_unique_removed_since_an_answered_success() {
    let two = [create().saw(CONFIRMED.map(absent_at)), create().sent(1).answered(201)];
    assert_eq!(said(two)[0], "duplicate-risk unknown removed-since review");
    let refused = [create().saw(CONFIRMED.map(absent_at)), create().sent(1).answered(400)];
    assert_eq!(said(refused)[0], "resolved not-applied confirmed-absent resend");
}

/// Another operation was answered that it made this key, so the key was there once.
#[test]
fn create_unique_removed_since_another_operations_success() {
    let two = [create().saw(CONFIRMED.map(absent_at)), create().op(2).sent(1).answered(201)];
    assert_eq!(said(two)[0], "duplicate-risk unknown removed-since review");
}

/// An answered success may not show on every replica yet.
#[test]
fn create_unique_absent_just_after_an_answered_success_waits_for_the_replicas() {
    let lag = Windows { replica_lag: Span::seconds(3600), ..Windows::default() };
    let verdict = |looks| said_under(&lag, [create().saw(looks), create().sent(120).answered(201)])[0].clone();
    assert_eq!(verdict([absent_at(121), absent_at(132)]), "pending unsettled wait");
    assert_eq!(verdict([absent_at(181), absent_at(192)]), "duplicate-risk unknown removed-since review");
}

/// Sent a minute before the create and answered two minutes after it.
#[test]
fn create_unique_an_answered_delete_that_was_under_way_may_have_removed_it() {
    let delete = attempt(Kind::Delete).op(2).sent(-1).answered(204).with(|a| a.facts.ended = at(2));
    let two = [create().saw(CONFIRMED.map(absent_at)), delete];
    assert_eq!(said(two)[0], "duplicate-risk unknown removed-since review");
}

#[test]
fn create_without_a_key_is_unobservable() {
    let entry = create().changed(|e| e.key = None).saw(CONFIRMED.map(absent_at));
    assert_eq!(said([entry]), ["duplicate-risk unknown unobservable ask-privo"]);
}

#[test]
fn create_with_nothing_to_look_up_by_is_unobservable() {
    let entry = attempt(Kind::Blind);
    assert_eq!(said([entry.clone()]), ["duplicate-risk unknown unobservable ask-privo"]);
    let looked_at = entry.saw(CONFIRMED.map(absent_at));
    assert_eq!(said([looked_at]), ["duplicate-risk unknown unobservable ask-privo"]);
}

/// The operation's first attempt was refused (400); the record was made by somebody half an hour before the one
/// attempt that can have made anything.
#[test]
fn create_a_refused_attempt_is_no_first_attempt() {
    let refused = create().sent(-60).answered(400);
    let said = said([create().saw([present_at(9, record("a", -30))]), refused])[0].clone();
    assert!(!said.starts_with("resolved applied"), "{said}");
}

/// The same with one that was turned away (429).
#[test]
fn create_an_attempt_that_was_turned_away_is_no_first_attempt() {
    let turned = create().sent(-60).failed(Failure::Http, Window::None, Some(429));
    let said = said([create().saw([present_at(9, record("a", -30))]), turned])[0].clone();
    assert!(!said.starts_with("resolved applied"), "{said}");
}

/// Two timeouts five hours apart; the record was made when the first one's window was long over and the second was not
/// sent yet.
#[test]
fn create_made_between_the_windows_of_two_attempts_is_not_created() {
    let look = || present_at(6 * HOUR, record("a", 2 * HOUR));
    let said = said([create().saw([look()]), create().sent(5 * HOUR).saw([look()])]);
    assert!(!said[0].starts_with("resolved applied") && !said[1].starts_with("resolved applied"), "{said:?}");
}

/// A delete was answered with success; the replica that answers may be an hour behind, and shows what was deleted.
#[test]
fn create_what_a_lagging_replica_shows_after_a_known_delete_is_not_preexisting() {
    let lag = Windows { replica_lag: Span::seconds(3600), ..Windows::default() };
    let deleted = attempt(Kind::Delete).op(2).sent(-1).answered(200);
    let said = said_under(&lag, [create().saw([present_at(9, record("a", -99))]), deleted])[0].clone();
    assert!(said.starts_with("pending"), "{said}");
}

/// The partner itself deleted it meanwhile: a resend would make it again, nothing blocks it.
#[test]
fn create_deleted_meanwhile_is_not_to_be_sent_again() {
    let deleted = attempt(Kind::Delete).op(2).sent(5).answered(200);
    let said = said([create().blocked().saw([absent_at(9)]), deleted])[0].clone();
    assert_eq!(said, "pending unsettled wait");
    let verdict = create().sent(3).answered(201);
    let said = super::said([create().blocked().saw([absent_at(9)]), verdict])[0].clone();
    assert_eq!(said, "pending unsettled wait");
}

/// As C4 without creation times: the id of a record that is known to be deleted is not to be stored.
#[test]
fn create_what_a_lagging_replica_shows_after_a_known_delete_is_not_present() {
    let lag = Windows { replica_lag: Span::seconds(3600), ..Windows::default() };
    let deleted = attempt(Kind::Delete).op(2).sent(-1).answered(200);
    let said = said_under(&lag, [create().saw([present_at(9, undated("a"))]), deleted])[0].clone();
    assert!(said.starts_with("pending"), "{said}");
}

/// As "preexisting beside a delete in doubt", on a server that shows no creation times.
#[test]
fn create_undated_beside_a_delete_in_doubt_waits_for_the_windows() {
    let said = said([create().saw([present_at(9, undated("a"))]), attempt(Kind::Delete).op(2).sent(-1)])[0].clone();
    assert!(said.starts_with("pending"), "{said}");
}
