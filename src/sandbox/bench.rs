//! A client for the tests of the pure part.

use serde_json::{Value, json};

use super::{CAUSE_HEADER, FATE_HEADER, Faults, Partner, Reply, Request, World};

/// 2026-03-01T12:00:00Z in milliseconds since the epoch.
pub const NOON: i64 = 1_772_366_400_000;

pub struct Bench {
    pub world: World,
    pub now_ms: i64,
    pub token: String,
}

impl Bench {
    pub fn new(faults: Faults) -> Bench {
        Bench::seeded(7, faults)
    }

    /// A partner that has just got its token.
    pub fn seeded(seed: u64, faults: Faults) -> Bench {
        let partner =
            Partner { client_id: "partner".to_owned(), client_secret: "s3cret".to_owned(), service: "acme".to_owned() };
        let mut bench = Bench { world: World::new(seed, faults, partner), now_ms: NOON, token: String::new() };
        bench.sign_in();
        bench
    }

    pub fn sign_in(&mut self) {
        let request = Request {
            method: "POST".to_owned(),
            path_and_query: "/oauth/token?grant_type=client_credentials&client_id=partner\
                             &client_secret=s3cret&scope=PRIVOLOCK+TRUST"
                .to_owned(),
            headers: vec![(FATE_HEADER.to_owned(), "plain".to_owned())],
            body: Vec::new(),
        };
        let answer = body(&self.world.answer(self.now_ms, &request));
        self.token = answer["access_token"].as_str().unwrap().to_owned();
    }

    pub fn request(&self, call: &str, body: &Value, headers: &[(&str, &str)]) -> Request {
        let (method, path) = call.split_once(' ').unwrap();
        let bearer = ("authorization", format!("Bearer {}", self.token));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Request {
            method: method.to_owned(),
            path_and_query: path.to_owned(),
            headers: [owned((bearer.0, &bearer.1))]
                .into_iter()
                .chain(headers.iter().map(|header| owned(*header)))
                .collect(),
            body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        }
    }

    pub fn raw(&mut self, call: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
        let request = self.request(call, body, headers);
        self.world.answer(self.now_ms, &request)
    }

    /// Status and JSON of a request without a forced fate.
    pub fn send(&mut self, call: &str, sent: Value) -> (u16, Value) {
        let reply = self.raw(call, &sent, &[]);
        (reply.status, body(&reply))
    }

    pub fn get(&mut self, path: &str) -> (u16, Value) {
        self.send(&format!("GET {path}"), Value::Null)
    }

    /// A request named `cause` with a forced fate.
    pub fn fated(&mut self, cause: &str, fate: &str, call: &str, sent: Value) -> Reply {
        self.raw(call, &sent, &[(CAUSE_HEADER, cause), (FATE_HEADER, fate)])
    }

    pub fn truth(&mut self) -> Value {
        json!(self.world.truth(self.now_ms))
    }

    /// How many accounts are alive.
    pub fn alive(&mut self) -> usize {
        let truth = self.world.truth(self.now_ms);
        let alive = |account: &&super::Account| account.deleted_ms.is_none();
        truth.accounts.iter().filter(alive).count()
    }
}

pub fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}

pub fn adult(email: &str) -> Value {
    json!({ "role_identifier": "adult", "email": email, "first_name": "Ada" })
}

pub fn family(email: &str, names: &[&str]) -> Value {
    let child = |name: &&str| json!({ "first_name": name, "birth_date_yyyymmdd": "20160504" });
    json!({
        "role_identifier": "parent",
        "email": email,
        "minor_registrations": names.iter().map(child).collect::<Vec<_>>(),
    })
}

pub fn consent_request(eid: Option<&str>) -> Value {
    json!({
        "locale": "en_US",
        "granter": { "email": "mum@example.com", "notifications": [] },
        "principal": {
            "given_name": "Kim",
            "birthdate": "20160504",
            "birthdate_precision": "yyyymmdd",
            "eid": eid,
            "attributes": [{ "identifier": "nick", "value": "kimmy" }],
        },
    })
}
