//! OAuth tokens by client credentials.

use std::collections::HashMap;

use serde_json::json;
use url::form_urlencoded;

use super::faults::Fate;
use super::wire::Answer;
use super::world::{Call, Partner};

/// The tokens that are valid.
#[derive(Default)]
pub(super) struct Tokens {
    /// Token and when it expires, in milliseconds since the epoch.
    alive: HashMap<String, i64>,
    /// How many were ever issued.
    pub issued: u64,
}

impl Tokens {
    /// Answers the token endpoint, whose parameters may stand in the query or in a form.
    pub fn issue(&mut self, call: &mut Call, partner: &Partner, lifetime_s: i64) -> Answer {
        let form = form_urlencoded::parse(&call.request.body).into_owned();
        let form: Vec<(String, String)> = form.collect();
        let given = |name: &str| {
            let in_form = form.iter().find(|(key, _)| key == name);
            let in_form = in_form.map(|(_, value)| value.as_str());
            call.target.query(name).or(in_form).unwrap_or_default()
        };
        let (id, secret) = (given("client_id"), given("client_secret"));
        if id != partner.client_id || secret != partner.client_secret {
            return Answer::new(401, json!({ "error": "invalid_client" }));
        }
        if given("grant_type") != "client_credentials" {
            return Answer::new(400, json!({ "error": "unsupported_grant_type" }));
        }
        let scope = given("scope").to_owned();
        let token = format!("{:016x}{:016x}", call.rng.u64(..), call.rng.u64(..));
        let expires_ms = call.now_ms.saturating_add(lifetime_s.saturating_mul(1000));
        self.alive.retain(|_, expires| *expires > call.now_ms);
        self.alive.insert(token.clone(), expires_ms);
        self.issued += 1;
        let body = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "scope": scope,
        });
        Answer::new(200, body)
    }

    /// Whether the request bears a valid token; one that is `dropped` is forgotten.
    pub fn accepts(&mut self, call: &mut Call, dropped: f64) -> bool {
        let header = call.request.header("authorization").unwrap_or_default();
        let (scheme, token) = header.split_once(' ').unwrap_or_default();
        let token = token.trim();
        let expires_ms = self.alive.get(token);
        let alive = expires_ms.is_some_and(|expires| call.now_ms < *expires);
        if !alive || !scheme.eq_ignore_ascii_case("bearer") {
            return false;
        }
        let drops = match call.forced {
            Some(fate) => fate == Fate::Unauthorised,
            None => call.rng.f64() < dropped,
        };
        if drops {
            self.alive.remove(token);
        }
        !drops
    }
}
