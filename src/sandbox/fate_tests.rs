//! Each fate: what the partner sees, against the truth.

use serde_json::{Value, json};

use super::bench::{Bench, NOON, adult, body, consent_request, family};
use super::{Delivery, Fate, Faults, Flapping, Hostile, Repair, Way};

const REGISTER: &str = "POST /api/v1.0/account";
const FAMILY: &str = "POST /api/v1.0/account/parent";
const ASK: &str = "POST /s2s/api/v1.0/acme/requests";
const LOOKUP: &str = "/api/v1.0/account/lookup?email=a@example.com";

fn bench() -> Bench {
    Bench::new(Faults::default())
}

#[test]
fn forced_fates_of_a_mutation() {
    let whole = Delivery::Whole;
    let hang = Delivery::Hang { ms: 30_000 };
    for (fate, delivery, status, applied) in [
        ("plain", whole, 201, 1),
        ("lost-before", Delivery::Lost, 500, 0),
        ("lost-after", Delivery::Lost, 500, 1),
        ("hang-before", hang, 500, 0),
        ("hang-after", hang, 500, 1),
        ("error-before", whole, 503, 0),
        ("error-after", whole, 500, 1),
        ("late:1000", whole, 502, 0),
        ("late-lost:1000", Delivery::Lost, 500, 0),
        ("repaired:1000", whole, 500, 0),
        ("twice", Delivery::Lost, 500, 1),
        ("refused", whole, 400, 0),
        ("too-many", whole, 429, 0),
        ("unauthorised", whole, 401, 0),
        ("cut", Delivery::Cut, 201, 1),
        ("hostile:html", whole, 200, 1),
        ("partial", whole, 400, 0),
        ("lag:5", whole, 400, 0),
        ("nonsense", whole, 400, 0),
    ] {
        let mut bench = bench();
        let reply = bench.fated("r1", fate, REGISTER, adult("a@example.com"));
        assert_eq!(reply.delivery, delivery, "{fate}");
        assert_eq!(reply.status, status, "{fate}");
        bench.sign_in();
        assert_eq!(bench.alive(), applied, "{fate}");
        assert_eq!(bench.world.applied_by("r1").len(), applied, "{fate}");
        let found = if applied == 1 { 200 } else { 404 };
        assert_eq!(bench.get(LOOKUP).0, found, "{fate}");
    }
}

#[test]
fn forced_fates_of_a_read() {
    let mut bench = bench();
    bench.world.seed_canary(NOON, "a@example.com").unwrap();
    let call = format!("GET {LOOKUP}");
    let mut look = |fate: &str| bench.fated("r", fate, &call, Value::Null);
    assert_eq!(look("plain").status, 200);
    assert_eq!(look("lag:1").status, 404);
    assert_eq!(look("lost-before").delivery, Delivery::Lost);
    assert!(look("error-before").status >= 500);
    assert_eq!(look("cut").delivery, Delivery::Cut);
    assert_eq!(look("twice").status, 400);
    let limited = look("too-many");
    let pause = ("retry-after".to_owned(), "1".to_owned());
    assert!(limited.status == 429 && limited.headers.contains(&pause));
    assert_eq!(look("unauthorised").status, 401);
    assert_eq!(look("plain").status, 401, "the token is forgotten");
}

#[test]
fn hostile_answers_are_none_of_the_documented_ones() {
    let mut bench = bench();
    bench.world.seed_canary(NOON, "a@example.com").unwrap();
    for kind in Hostile::ALL {
        let name = json!(kind).as_str().unwrap().to_owned();
        assert_eq!(Fate::parse(&format!("hostile:{name}")), Ok(Fate::Hostile(kind)));
        let fate = format!("hostile:{name}");
        let reply = bench.fated("r", &fate, &format!("GET {LOOKUP}"), Value::Null);
        let json = ("content-type".to_owned(), "application/json".to_owned());
        let honest = reply.delivery == Delivery::Whole
            && reply.headers.contains(&json)
            && body(&reply)["sid"].as_str().is_some_and(|sid| sid.len() < 100);
        assert!(!honest, "{name}");
        let documented_absence = reply.status == 404 && reply.headers.contains(&json);
        assert!(!documented_absence, "{name}");
    }
    let big = bench.fated("r", "hostile:big", &format!("GET {LOOKUP}"), Value::Null);
    assert_eq!(big.body.len(), 1024 * 1024);
}

#[test]
fn late_application_goes_by_timestamps() {
    let mut bench = bench();
    let register = adult("a@example.com");
    bench.fated("r1", "late:60000", REGISTER, register.clone());
    assert_eq!(bench.truth()["scheduled"][0]["apply_at_ms"], NOON + 60_000);
    bench.now_ms = NOON + 59_999;
    assert_eq!(bench.get(LOOKUP).0, 404);
    bench.now_ms = NOON + 200_000;
    assert_eq!(bench.get(LOOKUP).0, 200);
    let truth = bench.world.truth(bench.now_ms);
    assert_eq!(truth.per_request["r1"][0].applied_ms, NOON + 60_000);
    assert_eq!(truth.per_request["r1"][0].way, Way::Late);
    assert_eq!(truth.accounts[0].made_ms, NOON + 60_000);
    assert!(truth.scheduled.is_empty());
}

#[test]
fn a_late_application_is_blocked_by_what_came_before_it() {
    let mut bench = bench();
    bench.fated("r1", "repaired:60000", REGISTER, adult("a@example.com"));
    bench.fated("r2", "late:50000", REGISTER, adult("A@example.com"));
    bench.now_ms = NOON + 70_000;
    let truth = bench.world.truth(bench.now_ms);
    assert_eq!(truth.accounts.len(), 1);
    assert_eq!(truth.accounts[0].cause, "r2");
    let blocked = &truth.blocked[0];
    assert_eq!((blocked.cause.as_str(), blocked.at_ms), ("r1", NOON + 60_000));
    assert_eq!(blocked.why, "email exists");
    assert_eq!(blocked.way, Way::Repaired);
    assert!(!truth.per_request.contains_key("r1"));
}

#[test]
fn twice_makes_two_where_nothing_is_unique() {
    let mut bench = bench();
    bench.send(REGISTER, adult("p@example.com"));
    let child = json!({ "first_name": "Tim", "parent_email": "p@example.com" });
    bench.fated("r1", "twice", REGISTER, child);
    bench.fated("r2", "twice", ASK, consent_request(None));
    bench.fated("r3", "twice", ASK, consent_request(Some("e1")));
    bench.fated("r4", "twice", REGISTER, adult("a@example.com"));
    let truth = bench.world.truth(NOON);
    let made_by = |cause: &str| {
        let accounts = truth.accounts.iter();
        accounts.filter(|account| account.cause == cause).count()
    };
    assert_eq!(made_by("r1"), 2);
    assert_eq!(made_by("r2"), 3, "a granter and two principals");
    assert_eq!(made_by("r3"), 1);
    assert_eq!(truth.mails.by_cause["r3"], 2);
    assert_eq!(made_by("r4"), 1);
    assert_eq!(truth.blocked[0].way, Way::Twice);
}

#[test]
fn a_partial_family_can_be_completed_by_repair() {
    let mut bench = bench();
    let both = family("p@example.com", &["Tim", "Zoe", "Kim"]);
    let reply = bench.fated("r1", "partial:1", FAMILY, both);
    assert_eq!(reply.status, 500);
    assert_eq!(bench.alive(), 2);
    let repaired = bench.world.repair(NOON + 5, "r1");
    assert_eq!(repaired, Repair { applied: 1, blocked: 0 });
    bench.now_ms += 5;
    assert_eq!(bench.alive(), 4);
    let sid = bench.world.accounts()[0].service_id.clone();
    let (_, info) = bench.get(&format!("/userinfo?service_id={sid}"));
    assert_eq!(info["connected_profiles"].as_array().unwrap().len(), 3);
    let other = family("q@example.com", &["Tim", "Zoe"]);
    bench.fated("r2", "partial", FAMILY, other);
    assert!((5..=6).contains(&bench.alive()), "never all of the children");
}

#[test]
fn repair_applies_what_was_lost_or_is_to_come_once() {
    let mut bench = bench();
    bench.fated("r1", "lost-before", REGISTER, adult("a@example.com"));
    bench.fated("r2", "repaired:9000", REGISTER, adult("b@example.com"));
    bench.fated("r3", "lost-before", REGISTER, adult("b@example.com"));
    let one = Repair { applied: 1, blocked: 0 };
    assert_eq!(bench.world.repair(NOON, "r1"), one);
    assert_eq!(bench.world.repair(NOON, "r1"), Repair::default());
    assert_eq!(bench.world.repair(NOON, "r2"), one);
    assert_eq!(bench.world.repair(NOON, "r3").blocked, 1);
    bench.now_ms += 10_000;
    assert_eq!(bench.alive(), 2);
    assert_eq!(bench.world.applied_by("r2")[0].way, Way::Repaired);
}

#[test]
fn lagging_reads_see_a_past_state() {
    let lag = |replica_lag_ms| Faults { replica_lag_ms, ..Faults::default() };
    let mut bench = Bench::new(lag(1000));
    bench.fated("r1", "plain", REGISTER, adult("a@example.com"));
    bench.now_ms += 500;
    let seen: Vec<u16> = (0..40).map(|_| bench.get(LOOKUP).0).collect();
    assert!(seen.contains(&200) && seen.contains(&404));
    bench.now_ms += 500;
    assert!((0..40).all(|_| bench.get(LOOKUP).0 == 200));
    let sid = bench.world.accounts()[0].service_id.clone();
    bench.send(&format!("DELETE /api/v1.0/account/{sid}"), Value::Null);
    let seen: Vec<u16> = (0..40).map(|_| bench.get(LOOKUP).0).collect();
    assert!(seen.contains(&200), "a deleted account is still seen");
}

#[test]
fn updates_lag_too() {
    let mut bench = bench();
    let (_, asked) = bench.send(ASK, consent_request(Some("e1")));
    let sid = asked["principal_identifiers"]["sid"].as_str().unwrap();
    let account = format!("/s2s/api/v1.0/acme/accounts/sid/{sid}");
    bench.now_ms += 10;
    let patch = format!("PATCH {account}/attributes/nick/ial");
    bench.send(&patch, json!({ "ial": "IAL2" }));
    let before = bench.fated("r", "lag:5", &format!("GET {account}"), Value::Null);
    assert_eq!(body(&before)["attributes"][0].get("ial"), None);
    assert_eq!(bench.get(&account).1["attributes"][0]["ial"], "IAL2");
}

#[test]
fn probabilities_of_one_always_strike() {
    let faults = |text: &str| -> Faults { serde_json::from_str(text).unwrap() };
    for (text, delivery, status, applied) in [
        (r#"{"lost_before":1}"#, Delivery::Lost, 500, 0),
        (r#"{"lost_after":1}"#, Delivery::Lost, 500, 1),
        (r#"{"lost_after":1,"hang":1,"hang_ms":9}"#, Delivery::Hang { ms: 9 }, 500, 1),
        (r#"{"error_before":1}"#, Delivery::Whole, 503, 0),
        (r#"{"error_after":1}"#, Delivery::Whole, 500, 1),
        (r#"{"repaired":1}"#, Delivery::Whole, 500, 0),
        (r#"{"twice":1}"#, Delivery::Lost, 500, 1),
        (r#"{"partial":1}"#, Delivery::Whole, 201, 1),
        (r#"{"too_many":1}"#, Delivery::Whole, 429, 0),
        (r#"{"token_dropped":1}"#, Delivery::Whole, 401, 0),
    ] {
        let mut bench = Bench::new(faults(text));
        let reply = bench.raw(REGISTER, &adult("a@example.com"), &[]);
        assert_eq!((reply.delivery, reply.status), (delivery, status), "{text}");
        assert_eq!(bench.alive(), applied, "{text}");
    }
    let mut bench = Bench::new(faults(r#"{"late":1,"late_ms_min":10,"late_ms_max":20}"#));
    bench.send(REGISTER, adult("a@example.com"));
    assert_eq!(bench.alive(), 0);
    bench.now_ms += 20;
    assert_eq!(bench.alive(), 1);
    let mut bench = Bench::new(faults(r#"{"hostile":1,"hostile_only":"envelope"}"#));
    assert_eq!(bench.get(LOOKUP).1["status"], "ERROR");
    bench.world.set_faults(faults(r#"{"read_errors":1}"#));
    assert!(bench.get(LOOKUP).0 >= 500);
    bench.world.set_faults(faults(r#"{"read_lost":1}"#));
    let lost = bench.raw(&format!("GET {LOOKUP}"), &Value::Null, &[]);
    assert_eq!(lost.delivery, Delivery::Lost);
    bench.world.set_faults(faults(r#"{"latency_ms":5,"jitter_ms":2}"#));
    let slow = bench.raw(&format!("GET {LOOKUP}"), &Value::Null, &[]);
    assert!((5..=7).contains(&slow.delay_ms));
}

#[test]
fn flapping_leaves_only_the_control_endpoints() {
    let flapping = Some(Flapping { period_ms: 1000, down_fraction: 0.25 });
    let mut bench = Bench::new(Faults { flapping, ..Faults::default() });
    bench.now_ms = NOON + 749;
    assert_eq!(bench.send(REGISTER, adult("a@example.com")).0, 201);
    bench.now_ms = NOON + 750;
    for _ in 0..20 {
        let reply = bench.raw(REGISTER, &adult("b@example.com"), &[]);
        assert!(reply.status == 503 || reply.delivery == Delivery::Lost);
    }
    assert_eq!(bench.get("/_sandbox/faults").0, 200);
    bench.now_ms = NOON + 1000;
    assert_eq!(bench.get(LOOKUP).0, 200);
    assert_eq!(bench.alive(), 1);
}

/// Everything at once, and what is left of it.
fn stormy(seed: u64, order: &[usize]) -> (Vec<(usize, u16)>, String) {
    let storm = Faults {
        lost_before: 0.1,
        lost_after: 0.1,
        error_before: 0.1,
        error_after: 0.1,
        late: 0.1,
        repaired: 0.1,
        twice: 0.1,
        partial: 0.1,
        too_many: 0.1,
        ..Faults::default()
    };
    let mut bench = Bench::seeded(seed, storm);
    let mut statuses = Vec::new();
    for number in order {
        let sent = family(&format!("p{number}@example.com"), &["Tim", "Zoe"]);
        let reply = bench.raw(FAMILY, &sent, &[("x-sandbox-request", &number.to_string())]);
        statuses.push((*number, reply.status));
    }
    statuses.sort_unstable();
    bench.now_ms += 72_000_000;
    let mut truth = bench.world.truth(bench.now_ms);
    truth.accounts.sort_by(|a, b| a.service_id.cmp(&b.service_id));
    (statuses, json!([truth.accounts, truth.per_request]).to_string())
}

#[test]
fn the_seed_decides_and_the_order_does_not() {
    let forward: Vec<usize> = (0..60).collect();
    let backward: Vec<usize> = (0..60).rev().collect();
    assert_eq!(stormy(1, &forward), stormy(1, &forward));
    assert_eq!(stormy(1, &forward), stormy(1, &backward));
    assert_ne!(stormy(1, &forward), stormy(2, &forward));
}
