//! The control endpoints below `/_sandbox`, for tests in other languages. No token is
//! needed and no fault applies.

use serde::de::DeserializeOwned;
use serde_json::json;

use super::by_hand::NewAccount;
use super::faults::Faults;
use super::wire::{Reply, Request};
use super::world::World;

pub(super) fn answer(world: &mut World, now_ms: i64, request: &Request, segments: &[String]) -> Reply {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["truth"]) => Reply::json(200, &json!(world.truth(now_ms))),
        ("GET", ["faults"]) => Reply::json(200, &json!(world.faults())),
        ("PUT", ["faults"]) => set_faults(world, request),
        ("POST", ["accounts"]) => add_account(world, now_ms, request),
        ("DELETE", ["accounts", sid]) => match world.remove(now_ms, sid) {
            true => Reply::json(200, &json!({ "sid": sid })),
            false => Reply::message(404, "not found"),
        },
        ("POST", ["repair", cause]) => {
            let repair = world.repair(now_ms, cause);
            let body = json!({ "applied": repair.applied, "blocked": repair.blocked });
            Reply::json(200, &body)
        }
        ("POST", ["consents", identifier, state]) => match world.decide_consent(now_ms, identifier, state) {
            true => Reply::json(200, &json!({ "state": state })),
            false => Reply::message(404, "not found"),
        },
        ("POST", ["verifications", request, outcome]) => {
            let attempt_id = world.verify(now_ms, request, outcome);
            Reply::json(201, &json!({ "attemptId": attempt_id }))
        }
        _ => Reply::message(404, "no such control endpoint"),
    }
}

fn set_faults(world: &mut World, request: &Request) -> Reply {
    let faults = match read::<Faults>(request) {
        Ok(faults) => faults,
        Err(reply) => return reply,
    };
    match faults.check() {
        Ok(()) => {
            world.set_faults(faults);
            Reply::json(200, &json!(world.faults()))
        }
        Err(message) => Reply::message(400, &message),
    }
}

fn add_account(world: &mut World, now_ms: i64, request: &Request) -> Reply {
    let account = match read::<NewAccount>(request) {
        Ok(account) => account,
        Err(reply) => return reply,
    };
    let eid = account.eid.clone();
    match world.add_account(now_ms, account) {
        Ok(sid) => Reply::json(201, &json!({ "service_id": sid, "sid": sid, "eid": eid })),
        Err(message) => Reply::message(412, &message),
    }
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Reply> {
    serde_json::from_slice(&request.body).map_err(|error| Reply::message(400, &error.to_string()))
}
