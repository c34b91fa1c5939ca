//! The sandbox without sockets and clocks: a request and a moment in, a reply out.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use serde_json::json;

use super::fated::misfit;
use super::faults::{Fate, Faults};
use super::mutation::Mutation;
use super::records::{Account, Doing, Records, Way};
use super::routes::Route;
use super::tokens::Tokens;
use super::truth::{Applied, Truth, Upcoming};
use super::wire::{Answer, CAUSE_HEADER, Delivery, FATE_HEADER, Reply, Request, Target, http_date};
use super::{consent, control, gateway};

/// Who may talk to the sandbox.
#[derive(Clone)]
pub struct Partner {
    /// The OAuth client id.
    pub client_id: String,
    /// The OAuth client secret.
    pub client_secret: String,
    /// The service identifier in the paths of the consent service.
    pub service: String,
}

/// The platform's whole state. Deterministic: the same seed and the same requests
/// give the same ids, fates and answers, in whatever order different requests come.
pub struct World {
    pub(super) faults: Faults,
    pub(super) records: Records,
    /// What was asked for and not applied, by cause, for a repair by hand.
    pub(super) unapplied: BTreeMap<String, Vec<Mutation>>,
    /// By `apply_at_ms` and the order of scheduling.
    pub(super) scheduled: BTreeMap<(i64, u64), Scheduled>,
    seed: u64,
    partner: Partner,
    tokens: Tokens,
    requests: BTreeMap<String, u64>,
    /// How often a request with these bytes was seen.
    seen: HashMap<u64, u32>,
    pub(super) untagged: u64,
    pub(super) schedulings: u64,
    pub(super) acts_by_hand: u64,
}

/// A mutation that is applied when its time has come.
pub(super) struct Scheduled {
    pub mutation: Mutation,
    pub cause: String,
    pub way: Way,
    pub rng: Rng,
}

/// One request on its way through the world.
pub(super) struct Call<'a> {
    pub now_ms: i64,
    pub request: &'a Request,
    pub target: Target,
    /// The fate that the request itself asks for.
    pub forced: Option<Fate>,
    pub rng: Rng,
}

impl World {
    /// An empty platform that knows one partner.
    pub fn new(seed: u64, faults: Faults, partner: Partner) -> World {
        let mut records = Records::default();
        records.set_habits(faults.habits.clone());
        World {
            faults,
            records,
            unapplied: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            seed,
            partner,
            tokens: Tokens::default(),
            requests: BTreeMap::new(),
            seen: HashMap::new(),
            untagged: 0,
            schedulings: 0,
            acts_by_hand: 0,
        }
    }

    /// The faults in force.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Replaces the faults from the next request on.
    pub fn set_faults(&mut self, faults: Faults) {
        if self.faults.habits != faults.habits {
            self.records.set_habits(faults.habits.clone());
        }
        self.faults = faults;
    }

    /// Answers one request that arrives at `now_ms` (milliseconds since the epoch).
    pub fn answer(&mut self, now_ms: i64, request: &Request) -> Reply {
        self.apply_due(now_ms);
        let habits = &self.faults.habits;
        let (no_date, date_ahead_ms) = (habits.no_date, habits.date_ahead_ms);
        let target = Target::read(&request.path_and_query, habits.plus_is_plus);
        let reply = if target.segments.first().is_some_and(|first| first == "_sandbox") {
            control::answer(self, now_ms, request, &target.segments[1..])
        } else {
            self.answer_partner(now_ms, request, target)
        };
        match no_date {
            true => reply,
            false => reply.with_header("date", http_date(now_ms.saturating_add(date_ahead_ms))),
        }
    }

    /// Everything that is known at `now_ms`, after what is due by then was applied.
    pub fn truth(&mut self, now_ms: i64) -> Truth {
        self.apply_due(now_ms);
        let upcoming = self.scheduled.iter().map(|((apply_at_ms, _), scheduled)| Upcoming {
            cause: scheduled.cause.clone(),
            what: scheduled.mutation.name(),
            apply_at_ms: *apply_at_ms,
            way: scheduled.way,
        });
        Truth {
            now_ms,
            accounts: self.records.accounts.clone(),
            consents: self.records.consents.clone(),
            mails: self.records.journal.mails.clone(),
            tokens_issued: self.tokens.issued,
            requests: self.requests.clone(),
            per_request: self.records.journal.per_request.clone(),
            blocked: self.records.journal.blocked.clone(),
            scheduled: upcoming.collect(),
        }
    }

    /// Every account ever made, without copying; up to date as of the last request or truth.
    pub fn accounts(&self) -> &[Account] {
        &self.records.accounts
    }

    /// What one request made true, without copying; as of the last request or truth.
    pub fn applied_by(&self, cause: &str) -> &[Applied] {
        let applied = self.records.journal.per_request.get(cause);
        applied.map_or(&[], Vec::as_slice)
    }

    /// Applies, in order of time, every scheduled mutation whose time has come.
    pub(super) fn apply_due(&mut self, now_ms: i64) {
        while let Some(next) = self.scheduled.first_entry() {
            let (apply_at_ms, _) = *next.key();
            if apply_at_ms > now_ms {
                return;
            }
            let mut due = next.remove();
            let mut doing = Doing { at_ms: apply_at_ms, cause: &due.cause, way: due.way, rng: &mut due.rng };
            // A refusal is noted in the journal; nobody waits for the answer.
            let _ = due.mutation.apply(&mut self.records, &mut doing);
        }
    }

    fn answer_partner(&mut self, now_ms: i64, request: &Request, target: Target) -> Reply {
        let found = Route::find(&request.method, &target.segments);
        let template = found.as_ref().map_or("unknown", |(_, template)| template);
        match self.requests.get_mut(template) {
            Some(count) => *count += 1,
            None => {
                self.requests.insert(template.to_owned(), 1);
            }
        }
        let forced = match request.header(FATE_HEADER).map(Fate::parse).transpose() {
            Ok(forced) => forced,
            Err(message) => return misfit(&message),
        };
        let mut call = Call { now_ms, request, target, forced, rng: self.draws_for(request) };
        let delay_ms = self.faults.throw_delay_ms(&mut call.rng);
        let reply = match found {
            Some((route, _)) => self.answer_route(&mut call, &route),
            None => Reply::message(404, "no such path"),
        };
        Reply { delay_ms, ..reply }
    }

    fn answer_route(&mut self, call: &mut Call, route: &Route) -> Reply {
        let forced = call.forced;
        if forced.is_none() && self.faults.is_down(call.now_ms) {
            return match call.rng.bool() {
                true => Reply::html(503, "503 Service Unavailable"),
                false => Reply::undelivered(Delivery::Lost),
            };
        }
        if *route == Route::Token {
            let fate = forced.unwrap_or(Fate::Plain);
            return self.fated_read(call, fate, |world, call, _| {
                let lifetime_s = world.faults.token_lifetime_s;
                world.tokens.issue(call, &world.partner, lifetime_s)
            });
        }
        let crowded = call.rng.f64() < self.faults.too_many && forced.is_none();
        if crowded || forced == Some(Fate::TooMany) {
            return self.too_many();
        }
        if !self.tokens.accepts(call, self.faults.token_dropped) {
            return Reply::json(401, &json!({ "error": "invalid_token" }));
        }
        if let Route::Service(service, _) = route
            && *service != self.partner.service
        {
            return Reply::message(404, "unknown service");
        }
        if route.is_read() {
            let fate = forced.unwrap_or_else(|| self.faults.throw_read(&mut call.rng));
            return self.fated_read(call, fate, |world, call, view_ms| world.read(call, route, view_ms));
        }
        let read = Mutation::read(route, &call.target, &call.request.body);
        let reply = self.fated_mutation(call, read);
        match call.target.is_of_hub() {
            true => reply.in_envelope(call.now_ms),
            false => reply,
        }
    }

    pub(super) fn too_many(&self) -> Reply {
        let pause = self.faults.retry_after_s.to_string();
        Reply::message(429, "too many requests").with_header("retry-after", pause)
    }

    fn read(&self, call: &Call, route: &Route, view_ms: i64) -> Answer {
        let (records, dated) = (&self.records, self.faults.shows_created_at);
        match route {
            Route::Service(_, route) => consent::answer_read(records, view_ms, dated, route),
            _ => {
                let body = &call.request.body;
                gateway::answer_read(records, view_ms, dated, route, &call.target, body)
            }
        }
    }

    /// The draws for one request: they depend on the seed, the request's own bytes and
    /// how often it was seen, so that concurrency cannot change them.
    fn draws_for(&mut self, request: &Request) -> Rng {
        let cause = request.header(CAUSE_HEADER).unwrap_or_default();
        let parts = [&request.method, &request.path_and_query, cause];
        let parts = parts.map(str::as_bytes);
        let digest = digest(parts.into_iter().chain([request.body.as_slice()]));
        let times = self.seen.entry(digest).or_default();
        *times += 1;
        let times = u64::from(*times);
        self.draws(digest, times)
    }

    pub(super) fn draws(&self, digest: u64, times: u64) -> Rng {
        Rng::with_seed(mixed(self.seed ^ mixed(digest ^ mixed(times))))
    }
}

/// FNV-1a over the parts, with their borders. The standard hasher may change
/// between releases of Rust, and seeds are quoted in tests and bug reports.
fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    digest
}

/// The finishing step of SplitMix64: near seeds give far numbers.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
