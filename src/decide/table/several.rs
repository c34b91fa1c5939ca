//! Several effects of one request, and what is said after a verdict.

use super::*;

fn named(name: &str, kind: Kind, key: u8) -> Effect {
    Effect { name: name.into(), key: Some(link(key)), ..effect(kind) }
}

/// Two creates with a unique key each.
fn two() -> Attempt {
    attempt(Kind::Create).effects([named("parent", Kind::Create, 201), named("child", Kind::Create, 202)])
}

fn applied(effect: usize, id: &str) -> [Look; 1] {
    [present_at(20, record(id, 2)).of(effect)]
}

fn preexisting(effect: usize) -> [Look; 1] {
    [present_at(20, record("old", -2)).of(effect)]
}

fn satisfied(effect: usize) -> [Look; 1] {
    [present_at(20, undated("there")).of(effect)]
}

fn taken(effect: usize) -> [Look; 1] {
    [present_at(20, with_field(record("x", 2), Compared::Differs)).of(effect)]
}

fn gone(effect: usize) -> [Look; 2] {
    [absent_at(20).of(effect), absent_at(31).of(effect)]
}

#[test]
fn several_all_applied() {
    let decision = &decided(&Windows::default(), [two().saw(applied(0, "p")).saw(applied(1, "c"))])[0];
    assert_eq!(text(decision), "resolved applied created store-id");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert_eq!(verdict.server_id.as_deref(), Some("parent=p; child=c"));
}

#[test]
fn several_all_fulfilled_is_satisfied() {
    let verdict = |first: [Look; 1], second: [Look; 1]| said([two().saw(first).saw(second)])[0].clone();
    assert_eq!(verdict(applied(0, "p"), satisfied(1)), "resolved satisfied present store-id");
    assert!(verdict(applied(0, "p"), preexisting(1)).starts_with("resolved satisfied "));
    assert!(verdict(preexisting(0), satisfied(1)).starts_with("resolved satisfied "));
    assert_eq!(verdict(preexisting(0), preexisting(1)), "resolved satisfied preexisting do-not-resend");
}

#[test]
fn several_any_pending() {
    let verdict = |looks: [Look; 1]| said([two().blocked().saw(applied(0, "p")).saw(looks)])[0].clone();
    assert_eq!(verdict([absent_at(9).of(1)]), "pending unsettled wait");
    assert_eq!(verdict([absent_at(20).of(1)]), "pending unconfirmed wait");
    assert_eq!(verdict([inconclusive_at(20).of(1)]), "pending inconclusive wait");
    assert_eq!(said([two().saw(taken(0))]), ["pending inconclusive wait"]);
}

#[test]
fn several_any_duplicate_risk() {
    let risk = "duplicate-risk unknown key-taken review";
    assert_eq!(said([two().saw(applied(0, "p")).saw(taken(1))]), [risk]);
    assert_eq!(said([two().saw(taken(0)).saw(gone(1))]), [risk]);
    let blind = attempt(Kind::Create).effects([named("account", Kind::Create, 201), named("mail", Kind::Blind, 202)]);
    assert_eq!(said([blind.saw(applied(0, "p"))]), ["duplicate-risk unknown unobservable review"]);
}

#[test]
fn several_none_fulfilled() {
    assert_eq!(said([two().saw(gone(0)).saw(gone(1))]), ["resolved not-applied confirmed-absent resend"]);
}

#[test]
fn several_mixed_names_the_parts_and_their_ids() {
    let decision = &decided(&Windows::default(), [two().saw(applied(0, "p")).saw(gone(1))])[0];
    assert_eq!(text(decision), "duplicate-risk partly-applied partly-applied review");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert_eq!(verdict.server_id.as_deref(), Some("parent=p"));
    assert!(verdict.explanation.contains("parent: applied") && verdict.explanation.contains("child: not-applied"));
    // A part that was there before is not its work.
    let old = said([two().saw(gone(0)).saw(preexisting(1))]);
    assert_eq!(old, ["duplicate-risk unknown partly-applied review"]);
}

#[test]
fn several_states_of_a_webhook_are_one_state() {
    let state =
        |effect, minute| present_at(minute, record("c", -9)).of(effect).seeing(|l| l.state = Some("GRANTED".into()));
    let entry = attempt(Kind::Inbound)
        .effects([named("consent 1", Kind::Inbound, 201), named("account", Kind::Inbound, 202)])
        .saw([state(0, 7), absent_at(6).of(1)]);
    let decision = &decided(&Windows::default(), [entry])[0];
    assert_eq!(text(decision), "resolved satisfied state-fetched apply-state");
    let Decision::Settle(verdict) = decision else { unreachable!() };
    assert!(verdict.explanation.starts_with("as of 2026-01-01T00:06"), "{}", verdict.explanation);
    assert!(verdict.explanation.contains("consent 1: GRANTED") && verdict.explanation.contains("account: missing"));
}

#[test]
fn an_operation_without_effects_is_unobservable() {
    assert_eq!(said([attempt(Kind::Create).effects([])]), ["duplicate-risk unknown unobservable ask-privo"]);
}

// After the verdict.

/// A create that was settled as not applied at minute 40.
fn not_applied() -> Attempt {
    let absences = [absent_at(20), absent_at(31)];
    attempt(Kind::Create).saw(absences).settled(40, Outcome::NotApplied, Reason::ConfirmedAbsent, None)
}

fn one(attempts: [Attempt; 2]) -> Decision {
    decided(&Windows::default(), attempts).remove(0)
}

fn alone(attempt: Attempt) -> Decision {
    decided(&Windows::default(), [attempt]).remove(0)
}

#[test]
fn after_not_applied_a_record_from_before_the_verdict_is_a_loud_correction() {
    for made in [2, 18, 39] {
        let decision = alone(not_applied().saw([present_at(99, record("a", made))]));
        assert!(is_loud(&decision), "{}", text(&decision));
        let Decision::Settle(verdict) = decision else { unreachable!() };
        assert!(matches!(verdict.outcome, Outcome::Applied | Outcome::Satisfied));
        assert!(verdict.explanation.contains("correction"), "{}", verdict.explanation);
    }
}

#[test]
fn after_not_applied_a_record_of_unknown_age_is_a_loud_correction() {
    assert!(is_loud(&alone(not_applied().saw([present_at(99, undated("a"))]))));
}

#[test]
fn after_not_applied_a_record_made_after_the_verdict_is_quiet() {
    let decision = alone(not_applied().saw([present_at(99, record("a", 50))]));
    assert_eq!((text(&decision).as_str(), is_loud(&decision)), ("resolved satisfied present store-id", false));
}

#[test]
fn after_not_applied_an_answered_resend_explains_a_record_of_unknown_age() {
    let resend = || attempt(Kind::Create).sent(50).answered(201);
    let decision = one([not_applied().saw([present_at(99, undated("a"))]), resend()]);
    assert_eq!((text(&decision).as_str(), is_loud(&decision)), ("resolved satisfied present store-id", false));
    let from_before = one([not_applied().saw([present_at(99, record("a", 2))]), resend()]);
    assert!(is_loud(&from_before), "made before the verdict: the resend did not make it");
    let told_before = attempt(Kind::Create).sent(35).answered(201);
    assert!(is_loud(&one([not_applied().saw([present_at(99, undated("a"))]), told_before])));
}

/// Within the uncertainty of clocks a record's time does not say whether it is older than the verdict.
#[test]
fn after_not_applied_an_answered_resend_explains_a_record_as_old_as_the_verdict() {
    let made = |ms: i64| {
        let record = Record { made: Some(at(40) + Span(ms)), ..record("a", 0) };
        let look = Look { made_error: Span(2000), ..present_at(99, record) };
        let verdict = |attempts| is_loud(&one(attempts));
        let found = || not_applied().saw([look.clone()]);
        (is_loud(&alone(found())), verdict([found(), attempt(Kind::Create).sent(40).answered(201)]))
    };
    assert_eq!(made(500), (true, false));
    assert_eq!(made(-60_000), (true, true));
    assert_eq!(made(60_000), (false, false));
}

#[test]
fn after_not_deleted_an_answered_resend_explains_the_absence() {
    let delete = attempt(Kind::Delete).saw([absent_at(99)]).settled(40, Outcome::NotApplied, Reason::NotDeleted, None);
    assert!(is_loud(&alone(delete.clone())));
    assert!(!is_loud(&one([delete, attempt(Kind::Delete).sent(50).answered(204)])));
}

#[test]
fn after_not_updated_an_answered_resend_explains_the_values() {
    let update = attempt(Kind::Update).saw([present_at(99, record("a", -99))]).settled(
        40,
        Outcome::NotApplied,
        Reason::NotUpdated,
        None,
    );
    assert!(is_loud(&alone(update.clone())));
    assert!(!is_loud(&one([update, attempt(Kind::Update).sent(50).answered(200)])));
}

/// Each effect's latest look is asked, not only the last one stored.
#[test]
fn after_not_applied_one_effect_from_before_the_verdict_is_loud() {
    let entry = two()
        .settled(40, Outcome::NotApplied, Reason::ConfirmedAbsent, None)
        .saw([present_at(99, record("p", 2)).of(0), present_at(99, record("c", 50)).of(1)]);
    assert!(is_loud(&alone(entry)));
}

#[test]
fn after_another_verdict_nothing_is_loud() {
    let before = attempt(Kind::Create).settled(5, Outcome::Satisfied, Reason::Present, Some("a"));
    assert!(!is_loud(&alone(before.saw([present_at(99, record("a", 2))]))));
    assert!(!is_loud(&alone(not_applied())));
}

/// A record that turns up after `not-applied`, made before the verdict, supersedes it; loudly, also where it cannot be
/// said whose it is.
#[test]
fn after_not_applied_what_turned_up_is_loud_whatever_is_said_of_it() {
    let none = |minute| list_at(minute, []);
    let entry = attempt(Kind::Member)
        .saw([none(DAY + 20), none(DAY + 40)])
        .settled(DAY + 40, Outcome::NotApplied, Reason::ConfirmedAbsent, None)
        .saw([list_at(2 * DAY, [record("a", 3), record("b", 3)])]);
    let decision = &decided(&Windows::default(), [entry])[0];
    assert!(is_loud(decision), "{}", text(decision));
}

/// `not-deleted` was said; it is gone now. A create of the same key is no resend of the delete and explains no absence.
#[test]
fn after_not_deleted_a_create_explains_no_absence() {
    let delete = attempt(Kind::Delete).saw([absent_at(99)]).settled(40, Outcome::NotApplied, Reason::NotDeleted, None);
    let decision = &decided(&Windows::default(), [delete, attempt(Kind::Create).op(2).sent(50).answered(201)])[0];
    assert!(is_loud(decision), "{}", text(decision));
}

/// The one child has a key of its own and was found by it; what the list shows is that child, and not the other one too.
#[test]
fn several_a_childs_record_is_not_its_siblings() {
    let end = DAY + 10;
    let two = || {
        let with_key = Effect { key: Some(link(230)), ..effect(Kind::Create) };
        attempt(Kind::Create).effects([with_key, effect(Kind::Member)])
    };
    let silent = || with_field(record("sue", 2), Compared::NotShown);
    let other = || with_field(record("tim", 3), Compared::NotShown);
    let looks = |minute| [present_at(minute, silent()), list_at(minute, [silent()]).of(1)];
    let verdict = said([two().saw(looks(end)).saw(looks(end + 11))]);
    assert_eq!(verdict, ["duplicate-risk partly-applied partly-applied review"]);
    let both = [present_at(end, silent()), list_at(end, [silent(), other()]).of(1)];
    let decision = &decided(&Windows::default(), [two().saw(both)])[0];
    assert!(matches!(decision, Decision::Settle(v) if v.server_id.as_deref() == Some("account=sue; account=tim")));
}

/// `not-updated, resend` was said; then the record shows a third value. To send it again would undo what somebody wrote.
#[test]
fn after_not_updated_another_value_is_loud() {
    let third = || with_field(record("a", -99), Compared::Differs);
    let before = || Record { as_before: true, ..third() };
    let update = || {
        let entry = attempt(Kind::Update).saw([16, 27].map(|minute| present_at(minute, before())));
        entry.settled(40, Outcome::NotApplied, Reason::NotUpdated, Some("a")).saw([present_at(99, third())])
    };
    let decision = alone(update());
    assert_eq!((text(&decision).as_str(), is_loud(&decision)), ("duplicate-risk unknown overwritten review", true));
    assert!(!is_loud(&one([update(), attempt(Kind::Update).op(2).sent(50).answered(200)])));
}

/// The key is another record's now, or the effect's with other fields.
#[test]
fn after_not_applied_a_taken_key_is_loud() {
    let taken = |made| with_field(record("a", made), Compared::Differs);
    let decision = alone(not_applied().saw([present_at(99, taken(2))]));
    assert_eq!((text(&decision).as_str(), is_loud(&decision)), ("duplicate-risk unknown key-taken review", true));
    assert!(!is_loud(&alone(not_applied().saw([present_at(99, taken(50))]))), "made after the verdict");
}
