//! The outage: what goes wrong before, in and after it, and which webhooks the partner misses.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use serde_json::{Value, json};

use super::draw::Script;
use super::fixtures::{Asked, Fixtures, locked};
use super::partner::{Attempt, Partner, Played};
use super::task::{Task, Want};
use crate::clock::Moment;
use crate::sandbox::{Faults, Generation, World};
use crate::words::{Direction, Failure};

/// All is well. `dated`: records show when they were made, as they do in some partnerships.
pub fn calm(dated: bool) -> Faults {
    Faults { latency_ms: 3, jitter_ms: 6, shows_created_at: dated, ..Faults::default() }
}

/// The incident. What is applied late or by hand is so within the windows of the demo's configuration.
fn incident(dated: bool) -> Faults {
    Faults {
        lost_before: 0.10,
        lost_after: 0.10,
        error_before: 0.10,
        error_after: 0.08,
        late: 0.12,
        late_ms_min: 200,
        late_ms_max: 1_500,
        repaired: 0.08,
        repair_ms_min: 500,
        repair_ms_max: 3_000,
        twice: 0.06,
        partial: 0.08,
        hang: 0.1,
        hang_ms: 1_000,
        too_many: 0.04,
        read_errors: 0.3,
        read_lost: 0.3,
        ..calm(dated)
    }
}

/// Plays the story; gives everything that was sent and received.
pub async fn play(
    world: &Arc<Mutex<World>>,
    partner: &Partner,
    fixtures: &Fixtures,
    script: Script,
    dated: bool,
    rng: &mut Rng,
    did: &dyn Fn(),
) -> Vec<Played> {
    let mut all = partner.go(script.before, did).await;
    locked(world).set_faults(incident(dated));
    let in_outage = partner.go(script.outage, did).await;
    all.extend(missed_webhooks(world, &fixtures.asked, rng));
    all.extend(
        (0..fixtures.asked.len() / 4 + 1).flat_map(|n| [missed_verification(world, n, rng), missed_decision(n, rng)]),
    );
    locked(world).set_faults(calm(dated));
    let after = partner.go(script.after, did).await;
    all.extend(partner.go_on_with(in_outage).await);
    all.extend(after);
    all
}

/// Granters decide while the partner's own endpoint is down; a few events come through at last.
fn missed_webhooks(world: &Arc<Mutex<World>>, asked: &[Asked], rng: &mut Rng) -> Vec<Played> {
    asked.iter().enumerate().map(|(n, asked)| missed(world, n, asked, rng)).collect()
}

/// Somebody is verified while the partner's endpoint is down: the gateway's webhook, whose state the hub shows.
fn missed_verification(world: &Arc<Mutex<World>>, n: usize, rng: &mut Rng) -> Played {
    let outcome = ["Pass", "Fail", "Declined"][rng.usize(..3)];
    let request = format!("verification-{n}");
    let attempt = locked(world).verify(Moment::now().0, &request, outcome);
    let event = json!({
        "webhookId": 1234,
        "event": if outcome == "Pass" { "VERIFY_VERIFIED" } else { "VERIFY_FAILED" },
        "data": { "verified": outcome == "Pass", "matchOutcome": outcome, "requestID": request, "attemptId": attempt },
        "timestamp": Moment::now().0,
    });
    let want = Want::VerificationKnown { attempt, outcome };
    undelivered(format!("verify-{n}"), Generation::Gateway, event, vec![want], rng)
}

/// The gateway's webhook for a consent, whose body no source shows and whose state no answer.
fn missed_decision(n: usize, rng: &mut Rng) -> Played {
    let event = json!({ "event": "CONSENT_ALL", "id": format!("decision-{n}"), "type": "APPROVED" });
    undelivered(format!("decide-{n}"), Generation::Gateway, event, vec![Want::Unseen("consent decided")], rng)
}

fn missed(world: &Arc<Mutex<World>>, n: usize, asked: &Asked, rng: &mut Rng) -> Played {
    let state = if rng.u8(..4) == 0 { "denied" } else { "granted" };
    locked(world).decide_consent(Moment::now().0, &asked.consent, state);
    let event = json!({
        "id": format!("event-{n}"),
        "timestamp": Moment::now().to_string(),
        "sid": asked.sid,
        "event_types": ["consent_updated"],
        "granter_sid": [asked.granter],
        "consent_identifiers": [asked.consent],
    });
    let wants = vec![Want::ConsentKnown(asked.consent.clone()), Want::AccountKnown(asked.sid.clone())];
    undelivered(format!("hook-{n}"), Generation::Consent, event, wants, rng)
}

/// A webhook that the partner's endpoint answers with an error, up to three times; now and then it is taken at last.
fn undelivered(operation: String, generation: Generation, event: Value, wants: Vec<Want>, rng: &mut Rng) -> Played {
    let task = Task {
        operation: operation.clone(),
        method: "POST",
        path: "/webhooks/privo".to_owned(),
        body: Some(event.to_string()),
        wants,
        generation,
        repeatable: true,
        seed: 0,
    };
    let mut played = Played::new(task, Direction::Inbound);
    let deliveries = rng.usize(1..=3);
    let taken = rng.u8(..5) == 0;
    for delivery in 1..=deliveries {
        let (failure, status) = match taken && delivery == deliveries {
            true => (Failure::Answered, 200),
            false => (Failure::Http, 503),
        };
        let request_id = format!("{operation}-{delivery}");
        let now = Moment::now();
        played.attempts.push(Attempt {
            request_id,
            sent: now,
            ended: Some(now),
            failure,
            status: Some(status),
            error: None,
        });
    }
    played
}
