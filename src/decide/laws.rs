//! Laws that hold for every case, however odd: properties over random groups, shrunk to the smallest that breaks one.
//!
//! The cases are not histories of a world (those are the oracle's); they are any evidence that the types allow, so that
//! deciding is shown to be total, fair to the order of things, and never bolder for knowing less.

use proptest::prelude::*;

use super::table::*;
use super::{Decision, decide};
use crate::clock::{Moment, Span};
use crate::evidence::{Attempt, Case, Class, Effect, KeyDigest, Kind, Look, Record, Settled, Window, Windows};
use crate::words::{Action, Compared, Control, Failure, Outcome, Reason, Seen, Status};

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop_oneof![4 => Just(Create), 4 => Just(Member), 1 => Just(Blind), 2 => Just(Delete), 2 => Just(Update), 1 => Just(Upsert), 1 => Just(Inbound)]
}

fn an_effect() -> impl Strategy<Value = Effect> {
    let key = prop_oneof![6 => Just(Some(200)), 1 => Just(Some(201)), 1 => Just(None)];
    let also = prop_oneof![3 => Just(vec![]), 1 => Just(vec![link(201)]), 1 => Just(vec![link(200)]), 1 => Just(vec![link(202)])];
    let owner = prop_oneof![2 => Just(None), 3 => Just(Some(link(200))), 1 => Just(Some(link(203)))];
    (kind(), key, any::<bool>(), any::<bool>(), 220u8..222, also, owner, values()).prop_map(
        |(kind, key, own_key, comparable, target, also, owner, values)| {
            let create = kind == Kind::Create && key.is_some();
            // A keyed child's key is never its owner's list.
            let key = if create && owner.is_some() { Some(key.unwrap() + 10) } else { key };
            Effect {
                key: key.map(link),
                own_key,
                comparable,
                targets: vec![link(target)],
                also: if create { also } else { vec![] },
                owner: owner.filter(|_| create),
                values,
                ..effect(kind)
            }
        },
    )
}

/// What a request shows, by which it is told from others under its operation id.
fn values() -> impl Strategy<Value = Vec<(String, KeyDigest)>> {
    let of = |name: &'static str| {
        let value = prop_oneof![2 => Just(None), 3 => Just(Some(240u8)), 1 => Just(Some(241))];
        value.prop_map(move |value| value.map(|value| (name.to_owned(), link(value))))
    };
    (of("email"), of("name")).prop_map(|(email, name)| email.into_iter().chain(name).collect())
}

/// Minutes that fall before, into and after the windows.
fn minute() -> impl Strategy<Value = i64> {
    prop_oneof![3 => -20i64..60, 2 => (DAY - 5)..(DAY + 60), 1 => 0i64..(40 * DAY)]
}

fn a_record() -> impl Strategy<Value = Record> {
    let compared = proptest::sample::select(Compared::ALL);
    let when = || proptest::option::weighted(0.7, minute());
    (
        0u8..3,
        when(),
        when(),
        proptest::collection::vec(compared, 0..2),
        any::<[bool; 3]>(),
        proptest::option::of(230u8..232),
    )
        .prop_map(|(id, made, changed, fields, [own, as_before, is_key], values)| Record {
            id: (id > 0).then(|| id.to_string()),
            made: made.map(at),
            changed: changed.map(at),
            own,
            fields: fields.into_iter().map(|compared| ("name".to_owned(), compared)).collect(),
            as_before,
            is_key,
            shows_more: false,
            values: values.map(link),
        })
}

fn control() -> impl Strategy<Value = Control> {
    use Control::*;
    prop_oneof![12 => Just(Held), 1 => Just(Contradicted), 1 => Just(Unanswered), 1 => Just(Missing)]
}

fn a_look() -> impl Strategy<Value = Look> {
    let seen = prop_oneof![4 => Just(Seen::Absent), 3 => Just(Seen::Present), 1 => Just(Seen::Several), 1 => Just(Seen::Inconclusive)];
    let server = prop_oneof![6 => Just(Some(0)), 1 => Just(None), 1 => (-30i64..30).prop_map(Some)];
    let effect = prop_oneof![8 => Just(0usize), 2 => Just(1), 1 => Just(9)];
    (
        minute(),
        seen,
        server,
        effect,
        prop::bool::weighted(0.9),
        proptest::collection::vec(a_record(), 0..3),
        control(),
        control(),
    )
        .prop_map(|(minute, seen, server, effect, current, mut records, known, random)| {
            if matches!(seen, Seen::Absent | Seen::Inconclusive) {
                records.clear();
            }
            let server = server.map(|ahead: i64| at(minute + ahead));
            Look { effect, current, server, known, random, ..look(minute, seen, records) }
        })
}

fn an_attempt() -> impl Strategy<Value = Attempt> {
    let class = prop_oneof![
        20 => Just(Class::Planned),
        1 => Just(Class::Read),
        1 => Just(Class::NoPlan),
        1 => Just(Class::OtherEnvironment),
        1 => Just(Class::BadRow { why: "body".into() }),
    ];
    let failed = prop_oneof![
        4 => Just((Some(Failure::Timeout), Window::Network, None)),
        2 => Just((Some(Failure::Http), Window::ServerError, Some(503))),
        1 => Just((Some(Failure::Intent), Window::Intent, None)),
        1 => Just((Some(Failure::NotSent), Window::None, None)),
        1 => Just((Some(Failure::Answered), Window::None, Some(201))),
        1 => Just((Some(Failure::Answered), Window::None, Some(412))),
        1 => Just((None, Window::ServerError, None)),
    ];
    let sent = prop_oneof![4 => (0i64..10).prop_map(Some), 1 => minute().prop_map(Some), 1 => Just(None)];
    let verdict = (minute(), proptest::sample::select(Outcome::ALL), proptest::option::of(0u8..3), any::<bool>());
    (
        (class, failed, sent, 1u8..4),
        proptest::collection::vec(an_effect(), 0..3),
        proptest::collection::vec(a_look(), 0..5),
        proptest::option::weighted(0.25, verdict),
        any::<bool>(),
        prop::bool::weighted(0.05),
    )
        .prop_map(
            |(
                (class, (failure, window, status), sent, op),
                effects,
                mut looks,
                verdict,
                repeat_blocked,
                sent_ahead,
            )| {
                looks.sort_by_key(|look| look.asked);
                let mut attempted = attempt(Kind::Create).op(op).class(class).sent(sent.unwrap_or(0));
                let facts = &mut attempted.facts;
                (facts.failure, facts.window, facts.http_status) = (failure, window, status);
                (facts.sent, facts.sent_ahead) = (sent.map(at), sent_ahead);
                (facts.effects, facts.repeat_blocked) = (effects, repeat_blocked);
                let held = verdict.as_ref().is_some_and(|v| v.3);
                let verdict = verdict.map(|(decided, outcome, id, _)| Settled {
                    decided: at(decided),
                    status: Status::Resolved,
                    outcome,
                    reason: Reason::ConfirmedAbsent,
                    action: Action::Resend,
                    server_id: id.map(|id| id.to_string()),
                    looks: 0,
                });
                if held {
                    attempted.verdict = verdict
                } else {
                    attempted.prior = verdict
                }
                attempted.looks = looks;
                attempted
            },
        )
}

fn a_case() -> impl Strategy<Value = Case> {
    let lag = prop_oneof![3 => Just(0i64), 1 => 0i64..30];
    (proptest::collection::vec(an_attempt(), 1..4), lag).prop_map(|(mut attempts, lag)| {
        for (entry, attempt) in (1..).zip(&mut attempts) {
            attempt.entry = entry;
        }
        Case { windows: Windows { replica_lag: Span(lag * 60_000), ..Windows::default() }, attempts, removals: vec![] }
    })
}

/// A case in which one operation's attempts share their effects, as they do when one plan reads them.
fn a_kept_case() -> impl Strategy<Value = Case> {
    a_case().prop_map(|mut case| {
        for i in 1..case.attempts.len() {
            let identity = case.attempts[i].facts.identity;
            if let Some(first) = (0..i).find(|first| case.attempts[*first].facts.identity == identity) {
                case.attempts[i].facts.effects = case.attempts[first].facts.effects.clone();
            }
        }
        case
    })
}

fn outcome(decision: &Decision) -> Option<Outcome> {
    match decision {
        Decision::Settle(verdict) => Some(verdict.outcome),
        Decision::Defer(_) => None,
    }
}

/// What a decision comes to, with the records it names called otherwise.
fn end(decision: &Decision, rename: impl Fn(&str) -> String) -> (String, Option<String>, bool, Option<Moment>) {
    match decision {
        Decision::Settle(v) => (text(decision), v.server_id.as_deref().map(rename), v.correction, None),
        Decision::Defer(_) => (text(decision), None, false, not_before(decision)),
    }
}

/// What records may be called: in another order than before, by numbers and as texts, and no longer one as the other.
fn names() -> impl Strategy<Value = [&'static str; 2]> {
    proptest::sample::select(vec![["y", "x"], ["2", "1"], ["10", "9"], ["x", "xx"], ["a@b", "0"], ["é", "Z"]])
}

/// The generated records are called 1 and 2; no name of an effect has a digit.
fn renamed(id: &str, names: [&str; 2]) -> String {
    let other = |letter| match letter {
        '1' => names[0].to_owned(),
        '2' => names[1].to_owned(),
        other => String::from(other),
    };
    id.chars().map(other).collect()
}

/// The same case with other digests, in another order among themselves, and other ids of records.
fn rename(case: &Case, digests: &[u8], names: [&str; 2]) -> Case {
    let mut case = case.clone();
    let other = |link: &mut KeyDigest| *link = KeyDigest(link.0.map(|byte| digests[usize::from(byte)]));
    for attempt in &mut case.attempts {
        other(&mut attempt.facts.identity);
        attempt.facts.effects.iter_mut().flat_map(Effect::digests_mut).for_each(other);
        for record in attempt.looks.iter_mut().flat_map(|look| &mut look.records) {
            record.id = record.id.as_deref().map(|id| renamed(id, names));
            record.values.iter_mut().for_each(other);
        }
        for before in attempt.verdict.iter_mut().chain(&mut attempt.prior) {
            before.server_id = before.server_id.as_deref().map(|id| renamed(id, names));
        }
    }
    case
}

/// The last moment at which an attempt of the operation, or another that shares a key with it, may still become applied, for
/// all the row says.
fn windows_end(case: &Case, of: &Attempt) -> Moment {
    let keys = |attempt: &Attempt| attempt.facts.effects.iter().flat_map(Effect::keys).collect::<Vec<_>>();
    let shares = |attempt: &&Attempt| {
        attempt.facts.identity == of.facts.identity || keys(attempt).iter().any(|key| keys(of).contains(key))
    };
    let ends = case.attempts.iter().filter(shares).filter_map(|attempt| {
        let windows = &case.windows;
        let window = match (&attempt.facts.class, attempt.facts.window) {
            (Class::Read | Class::OtherEnvironment, _) | (_, Window::None) => return None,
            (_, Window::Network) => windows.network,
            (_, Window::ServerError) => windows.server_error,
            (_, Window::Intent) => windows.intent + windows.network,
        };
        Some(attempt.facts.ended + window)
    });
    ends.max().unwrap_or(Moment(i64::MIN))
}

const STRETCH: Span = Span(60 * 60_000);

proptest! {
    #![proptest_config(super::soak::config(1000))]

    #[test]
    fn deciding_is_total(
        case in a_case(),
        odd in proptest::collection::vec(any::<(i64, i64, Option<i64>)>(), 0..4),
        windows in any::<[i64; 9]>(),
    ) {
        let mut case = case;
        let w = windows.map(|ms| Span(ms.saturating_abs()));
        case.windows = Windows {
            network: w[0], server_error: w[1], intent: w[2], replica_lag: w[3],
            confirm_after: w[4], expire_after: w[5], webhook: w[6], watch: w[7], writer_error: w[8],
        };
        let looks = case.attempts.iter_mut().flat_map(|attempt| &mut attempt.looks);
        for (look, (asked, answered, server)) in looks.zip(odd) {
            (look.asked, look.answered, look.server) = (Moment(asked), Moment(answered), server.map(Moment));
        }
        prop_assert_eq!(decide(&case).len(), case.attempts.len());
    }

    #[test]
    fn an_inconclusive_answer_settles_nothing(case in a_case(), which in any::<prop::sample::Index>(), effect in 0usize..2) {
        let before = decide(&case);
        let mut after = case.clone();
        let attempt = &mut after.attempts[which.index(case.attempts.len())];
        let last = attempt.looks.last().map_or(at(0), |look| look.asked);
        attempt.looks.push(Look { effect, asked: last + STRETCH, answered: last + STRETCH, ..inconclusive_at(0) });
        for (before, after) in before.iter().zip(decide(&after)) {
            let was_pending = outcome(before).is_none();
            if was_pending && outcome(&after).is_some() {
                // What nothing shows waited for another row of its operation, until that expired.
                let over = matches!(after.reason(), Reason::Expired | Reason::Unobservable);
                prop_assert!(over, "{after:?}");
            }
        }
    }

    #[test]
    fn time_alone_reverses_nothing(case in a_kept_case(), which in any::<prop::sample::Index>(), times in 1usize..4) {
        let mut later = case.clone();
        let attempt = &mut later.attempts[which.index(case.attempts.len())];
        for _ in 0..times {
            let Some(last) = attempt.looks.last().cloned() else { break };
            let server = last.server.map(|server| server + STRETCH);
            attempt.looks.push(Look { asked: last.asked + STRETCH, answered: last.answered + STRETCH, server, ..last });
        }
        for (before, after) in decide(&case).iter().zip(decide(&later)) {
            let (Some(before), Some(after)) = (outcome(before), outcome(&after)) else { continue };
            let done = |outcome| matches!(outcome, Outcome::Applied | Outcome::Satisfied);
            prop_assert!(!(done(before) && after == Outcome::NotApplied), "{before} became {after}");
            prop_assert!(!(before == Outcome::NotApplied && done(after)), "{before} became {after}");
        }
    }

    #[test]
    fn the_order_of_looks_at_one_instant_does_not_matter(
        case in a_case(),
        which in any::<prop::sample::Index>(),
        minute in minute(),
        seed in any::<u64>(),
    ) {
        let mut case = case;
        let which = which.index(case.attempts.len());
        let end = case.attempts[which].looks.last().map_or(at(0), |look| look.asked).max(at(minute));
        for look in &mut case.attempts[which].looks {
            (look.asked, look.answered) = (end, end + Span(200));
        }
        let mut shuffled = case.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled.attempts[which].looks);
        prop_assert_eq!(decide(&case), decide(&shuffled));
    }

    #[test]
    fn swapped_entries_have_swapped_verdicts(case in a_kept_case()) {
        let mut swapped = case.clone();
        swapped.attempts.reverse();
        let mut decisions = decide(&swapped);
        decisions.reverse();
        prop_assert_eq!(decide(&case), decisions);
    }

    /// I9: what is said does not hang on the order in which the rows are read.
    #[test]
    fn the_order_of_rows_does_not_matter(case in a_case(), seed in any::<u64>()) {
        let mut shuffled = case.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled.attempts);
        let by_entry = |case: &Case| {
            let decisions = decide(case);
            let mut said: Vec<_> = case.attempts.iter().map(|attempt| attempt.entry).zip(decisions).collect();
            said.sort_by_key(|(entry, _)| *entry);
            said
        };
        prop_assert_eq!(by_entry(&case), by_entry(&shuffled));
    }

    /// Nor on the order in which they came, as far as their stamps are the same.
    #[test]
    fn the_order_of_arrival_does_not_matter(case in a_case(), seed in any::<u64>()) {
        let mut other = case.clone();
        let mut entries: Vec<i64> = case.attempts.iter().map(|attempt| attempt.entry).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut entries);
        for (attempt, entry) in other.attempts.iter_mut().zip(entries) {
            attempt.entry = entry;
        }
        let ends = |case: &Case| decide(case).iter().map(|decision| end(decision, str::to_owned)).collect::<Vec<_>>();
        prop_assert_eq!(ends(&case), ends(&other));
    }

    /// Digests and the server's ids are names: whatever other names they get, each its own, nothing changes but what is
    /// named. So an erasure may drop names and leave the evidence alone.
    #[test]
    fn names_of_keys_and_records_do_not_matter(case in a_case(), seed in any::<u64>(), names in names()) {
        let mut digests: Vec<u8> = (0..=255).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut digests);
        let before = decide(&case);
        let after = decide(&rename(&case, &digests, names));
        for ((before, after), attempt) in before.iter().zip(&after).zip(&case.attempts) {
            // What is decided of an answered row is dropped.
            if attempt.facts.failure != Some(Failure::Answered) {
                prop_assert_eq!(end(before, |id| renamed(id, names)), end(after, str::to_owned));
            }
        }
    }

    /// One operation has one verdict and one advice.
    #[test]
    fn the_rows_of_an_operation_say_the_same(case in a_case()) {
        let decisions = decide(&case);
        let of = super::operations(&case);
        for (place, first) in of.iter().enumerate() {
            let facts = |place: usize| &case.attempts[place].facts;
            let counts = |place| facts(place).class == Class::Planned && facts(place).failure != Some(Failure::Answered);
            if counts(place) && counts(*first) {
                let said = |place: usize| (text(&decisions[place]), not_before(&decisions[place]));
                prop_assert_eq!(said(place), said(*first));
            }
        }
    }

    #[test]
    fn dropping_controls_adds_no_verdict(
        case in a_case(),
        drop in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 15),
    ) {
        let mut without = case.clone();
        let looks = without.attempts.iter_mut().flat_map(|attempt| &mut attempt.looks);
        for (look, (known, random, missing)) in looks.zip(drop) {
            let to = if missing { Control::Missing } else { Control::Unanswered };
            for (control, dropped) in [(&mut look.known, known), (&mut look.random, random)] {
                if dropped && *control == Control::Held {
                    *control = to;
                }
            }
        }
        for (before, after) in decide(&case).iter().zip(decide(&without)) {
            if let Decision::Settle(verdict) = &after && outcome(before).is_none() {
                prop_assert_eq!(verdict.reason, Reason::Expired);
            }
        }
    }

    #[test]
    fn no_resend_of_what_is_not_unique_inside_a_window(case in a_case()) {
        let not_unique = |effect: &Effect| match effect.kind {
            Kind::Member | Kind::Blind => true,
            Kind::Create => effect.own_key,
            Kind::Delete | Kind::Update | Kind::Upsert | Kind::Inbound => false,
        };
        for (attempt, decision) in case.attempts.iter().zip(decide(&case)) {
            let alone = matches!(decision.reason(), Reason::NeverSent | Reason::NoEffect);
            if alone || decision.action() != Action::Resend || !attempt.facts.effects.iter().any(not_unique) {
                continue;
            }
            let last = attempt.looks.iter().map(|look| look.asked).max();
            let end = windows_end(&case, attempt);
            prop_assert!(last.is_some_and(|last| last > end), "resend inside a window: {decision:?}");
        }
    }

    #[test]
    fn stored_evidence_decides_the_same(case in a_case()) {
        let stored = serde_json::to_string(&case).unwrap();
        let read: Case = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&read, &case);
        prop_assert_eq!(decide(&read), decide(&case));
    }
}
