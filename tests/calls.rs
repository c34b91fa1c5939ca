//! Proves that the shipped plans know every call and webhook of the platform, in both spellings of its path, and what each
//! ends as: applied, not applied, or lost without a trace. docs/PRIVO.md is the same as a table for people.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{CANARY, Dir, Entry, Platform, Setup};
use privo_reconcile::clock::Moment;
use privo_reconcile::sandbox::{Attribute, Feature, Generation, NewAccount};
use serde_json::json;

/// Without the time at which it was made, who made it is not known.
const MADE: &str = "resolved satisfied present store-id";
const ABSENT: &str = "resolved not-applied confirmed-absent resend";
const READ: &str = "resolved not-applied no-effect none";
const UNSEEN: &str = "duplicate-risk unknown unobservable ask-privo";
const GONE: &str = "resolved satisfied deleted none";
const THERE: &str = "resolved not-applied not-deleted resend";
/// By an email, which another account may have got meanwhile.
const SOMEBODY_THERE: &str = "resolved not-applied not-deleted review";
const WRITTEN: &str = "resolved satisfied equivalent none";
const AS_BEFORE: &str = "resolved not-applied not-updated resend";
/// Nothing tells what the value was before.
const OVERWRITTEN: &str = "duplicate-risk unknown overwritten review";

/// A call of the platform: method, path, body, what it ends as when it was applied and its answer lost, and when it never
/// arrived. `#` is a number of its own, `MUM` an email of a parent who is there, `SID`, `EID`, `GRANTER` and `CONSENT` belong to
/// a user of the consent service, `ADULT` and `ADULT_ID` to an account.
struct Call(&'static str, &'static str, &'static str, &'static str, &'static str);

const GATEWAY: &[Call] = &[
    Call("POST", "/oauth/token", "", READ, READ),
    Call("POST", "/token", "", READ, READ),
    Call("POST", "/api/v1.0/account", r##"{"email":"an#@b.example","first_name":"Ann"}"##, MADE, ABSENT),
    Call(
        "POST",
        "/api/account",
        r##"{"userName":"ann#","firstName":"Ann","birthDate_YYYYMMDD":"19900102"}"##,
        MADE,
        ABSENT,
    ),
    Call("POST", "/api/v1.0/account", r##"{"external_user_identifier":"e-#","first_name":"Ann"}"##, MADE, ABSENT),
    Call(
        "POST",
        "/api/account",
        r##"{"firstName":"A","attributes":[{"attributeName":"displayName","value":"d#"}]}"##,
        MADE,
        ABSENT,
    ),
    Call("POST", "/api/account", r##"{"parentEmail":"MUM","firstName":"Kid#"}"##, MADE, ABSENT),
    Call(
        "POST",
        "/api/v1.0/account",
        r##"{"parent_email":"MUM","first_name":"Kid#","user_name":"kid#"}"##,
        MADE,
        ABSENT,
    ),
    Call(
        "POST",
        "/api/v1.0/account/parent",
        r##"{"email":"p#@b.example","minor_registrations":[{"first_name":"K"},{"first_name":"L","email":"l#@b.example"}]}"##,
        MADE,
        ABSENT,
    ),
    Call(
        "POST",
        "/api/account/parent",
        r##"{"email":"q#@b.example","minorRegistrations":[{"firstName":"K"}]}"##,
        MADE,
        ABSENT,
    ),
    Call("POST", "/api/account/shadow", r##"{"roleIdentifier":"x"}"##, UNSEEN, UNSEEN),
    Call("POST", "/api/v1.0/account/shadow", r##"{"role_identifier":"x"}"##, UNSEEN, UNSEEN),
    Call("GET", "/api/v1.0/account/lookup?email=an#%40b.example", "", READ, READ),
    Call("HEAD", "/api/account", "", READ, READ),
    Call("POST", "/api/v1.0/account/check/email", r##"{"email":"an#@b.example"}"##, READ, READ),
    Call("POST", "/api/v1.0/account/check/display-name", r##"{"display_name":"k"}"##, READ, READ),
    Call("GET", "/userinfo?service_id=1", "", READ, READ),
    Call("GET", "/api/consent?siteId=1", "", READ, READ),
    Call("GET", "/api/verification/4711", "", READ, READ),
    Call("POST", "/api/v1.0/consent/resend", r##"{"requester_service_id":"ADULT_ID"}"##, UNSEEN, UNSEEN),
    Call("GET", "/api/consent/resend?requesterServiceId=ADULT_ID", "", UNSEEN, UNSEEN),
    Call("PUT", "/api/consent/ADULT_ID", r##"{"features":[{"featureId":1}]}"##, UNSEEN, UNSEEN),
    Call("DELETE", "/api/consent/ADULT_ID", "", UNSEEN, UNSEEN),
    Call("DELETE", "/api/v1.0/account/ADULT_ID", "", GONE, THERE),
    Call("DELETE", "/api/v1.0/account?email=ADULT", "", GONE, SOMEBODY_THERE),
    Call("DELETE", "/api/v1.0/account?service_id=ADULT_ID", "", GONE, THERE),
];

const CONSENT: &[Call] = &[
    Call("POST", "/token", "", READ, READ),
    Call(
        "POST",
        "/s2s/api/v1.0/sandbox/requests",
        r##"{"granter":{"email":"g@b.example"},"principal":{"eid":"#"}}"##,
        MADE,
        ABSENT,
    ),
    Call(
        "POST",
        "/s2s/api/v1.0/sandbox/requests",
        r##"{"granter":{"email":"g@b.example"},"principal":{}}"##,
        UNSEEN,
        UNSEEN,
    ),
    Call("GET", "/s2s/api/v1.0/sandbox/accounts/eid/EID", "", READ, READ),
    Call("GET", "/s2s/api/v1.0/sandbox/accounts/sid/SID", "", READ, READ),
    Call("GET", "/s2s/api/v1.0/sandbox/consents/CONSENT", "", READ, READ),
    Call("PATCH", "/s2s/api/v1.0/sandbox/accounts/sid/SID/attributes/nick/ial", r##"{"ial":2}"##, WRITTEN, OVERWRITTEN),
    Call(
        "POST",
        "/s2s/api/v1.0/sandbox/accounts/sid/SID/GRANTER/features/revoke",
        r##"{"features":["chat","photos"]}"##,
        WRITTEN,
        AS_BEFORE,
    ),
    Call("POST", "/s2s/api/v1.0/sandbox/accounts/sid/SID/GRANTER/features/revoke", r#"["chat"]"#, WRITTEN, AS_BEFORE),
    Call("POST", "/s2s/api/v1.0/sandbox/consents/CONSENT/verification/session", "", UNSEEN, UNSEEN),
    Call("DELETE", "/s2s/api/v1.0/sandbox/accounts/eid/EID", "", GONE, SOMEBODY_THERE),
];

/// Everybody whom a call may be about, made for it alone.
struct About {
    number: usize,
    adult: String,
    adult_id: String,
    member: [String; 4],
}

impl About {
    fn new(platform: &Platform, generation: Generation, number: usize) -> About {
        let made_ms = Some(Moment::now().0 - 86_400_000);
        let adult = format!("leaver{number}@b.example");
        let mut about = About { number, adult: adult.clone(), adult_id: String::new(), member: Default::default() };
        if generation == Generation::Gateway {
            about.adult_id = platform.add(NewAccount { email: Some(adult), made_ms, ..NewAccount::default() });
            return about;
        }
        let eid = format!("member-{number}");
        let feature = |name: &str| Feature { identifier: name.to_owned(), state: "on".to_owned() };
        let sid = platform.add(NewAccount {
            eid: Some(eid.clone()),
            parent_email: Some(format!("granter{number}@b.example")),
            features: Some(vec![feature("chat"), feature("photos")]),
            attributes: vec![Attribute { identifier: "nick".to_owned(), value: json!("kim"), ial: None }],
            made_ms,
            ..NewAccount::default()
        });
        let granter = platform.truth().accounts.iter().find(|a| a.service_id == sid).unwrap().parent.clone().unwrap();
        let body = format!(r#"{{"granter":{{"email":"g@b.example"}},"principal":{{"eid":"asked-{number}"}}}}"#);
        let answer = platform.send("asked", "POST", "/s2s/api/v1.0/sandbox/requests", &body, "plain").unwrap().1;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        about.member = [sid, eid, granter, answer["consent_identifier"].as_str().unwrap().to_owned()];
        about
    }

    fn filled(&self, text: &str) -> String {
        let [sid, eid, granter, consent] = &self.member;
        let names = [("ADULT_ID", &self.adult_id), ("ADULT", &self.adult), ("SID", sid), ("EID", eid)];
        let more = [("GRANTER", granter), ("CONSENT", consent)];
        let text = names.iter().chain(&more).fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        text.replace("MUM", CANARY).replace('#', &self.number.to_string())
    }
}

fn served(method: &str, path: &str) -> bool {
    method != "HEAD" && !path.starts_with("/api/consent?") && !path.starts_with("/api/consent/?")
}

/// Plays a call twice as it is written and twice with a slash at the end of its path: applied with its answer lost, and never
/// arrived. What it did not end as.
fn play(platform: &Platform, setup: &Setup, generation: Generation, call: &Call, first: usize) -> Vec<String> {
    let Call(method, path, body, applied, never) = call;
    let dir = Dir::new(setup);
    let cases = [
        ("lost-after", "", applied),
        ("lost-after", "/", applied),
        ("lost-before", "", never),
        ("lost-before", "/", never),
    ];
    let mut expected = Vec::new();
    for (number, (fate, slash, ends_as)) in cases.into_iter().enumerate() {
        let about = About::new(platform, generation, first + number);
        let (place, query) = path.split_once('?').map_or((*path, None), |(place, query)| (place, Some(query)));
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        // PRIVO's own samples have a slash at the end.
        let path = about.filled(&format!("{place}{slash}{query}"));
        let id = format!("r{number}");
        let entry = Entry::new(&id, method, &format!("{}{path}", platform.url));
        let entry = if body.is_empty() { entry } else { entry.body(&about.filled(body)) };
        // What the sandbox does not serve timed out, as far as the ledger knows.
        match served(method, &path) {
            true => dir.attempt(platform, entry, fate),
            false => dir.insert(&entry),
        }
        expected.push((id, format!("{method} {path} {fate}"), *ends_as));
    }
    dir.run(&["run"]);
    dir.due();
    dir.run(&["run"]);
    let report = dir.report();
    let other = |(id, call, ends_as): &(String, String, &str)| {
        let Some(row) = report.iter().find(|row| row["request_id"] == *id) else {
            return Some(format!("{call}: missing"));
        };
        let said = util::said(row);
        (said != *ends_as).then(|| format!("{call}: {said}, not {ends_as}: {}", row["explanation"]))
    };
    expected.iter().filter_map(other).collect()
}

fn play_all(setup: impl Fn(&Platform) -> Setup, generation: Generation, calls: &[Call]) {
    let platform = Platform::start();
    let setup = setup(&platform);
    let played = calls.iter().enumerate().flat_map(|(n, call)| play(&platform, &setup, generation, call, 4 * n));
    let wrong: Vec<String> = played.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_call_of_the_gateway_ends_as_the_docs_say() {
    let setup = |platform: &Platform| {
        let by_id = format!("[[control]]\nlookup = \"account-by-service-id\"\nkey = \"{}\"\n", platform.canary_child);
        let setup = Setup::of(platform);
        Setup { controls: setup.controls.clone() + &by_id, ..setup }
    };
    play_all(setup, Generation::Gateway, GATEWAY);
}

#[test]
fn every_call_of_the_consent_service_ends_as_the_docs_say() {
    play_all(Setup::consent, Generation::Consent, CONSENT);
}

/// What PRIVO sends to the partner, and how it ends when the partner could not take it.
#[test]
fn every_webhook_ends_as_the_docs_say() {
    let platform = Platform::start();
    platform.world().verify(Moment::now().0, "known", "Pass");
    let attempt = platform.world().verify(Moment::now().0, "v-1", "Declined");
    let verification = "[[control]]\nlookup = \"verification\"\nkey = \"known\"\n";
    let hub = format!("[hosts.hub]\nbase_url = \"{}\"\n", platform.url);
    let setup = Setup::of(&platform);
    let dir = Dir::new(&Setup { controls: setup.controls.clone() + verification, rest: hub, ..setup });
    let hook = |id: &str, method: &str, body: &str| {
        let entry = Entry::new(id, method, "/webhooks/privo").with("direction", "inbound".to_owned()).http(503);
        dir.insert(&if body.is_empty() { entry } else { entry.body(body) });
    };
    let event = |request: &str| {
        json!({ "webhookId": 1234, "event": "VERIFY_FAILED", "data": { "attemptId": attempt, "requestID": request } })
            .to_string()
    };
    hook("verified", "POST", &event("v-1"));
    hook("unknown", "POST", &event("v-2").replace(&attempt, "another"));
    hook("decided", "POST", r#"{"event":"CONSENT_ALL","type":"APPROVED"}"#);
    hook("probe", "HEAD", "");
    hook("foreign", "POST", r#"{"hello":"world"}"#);
    dir.run(&["run"]);
    let fetched = "resolved satisfied state-fetched apply-state";
    assert_eq!(dir.says("verified"), fetched);
    assert!(dir.row("verified")["explanation"].contains(&format!("{attempt}=Declined")), "{:?}", dir.row("verified"));
    // That there is none is a state, too.
    assert_eq!(dir.says("unknown"), fetched);
    assert_eq!(dir.says("decided"), UNSEEN);
    assert_eq!(dir.says("probe"), READ);
    assert_eq!(dir.says("foreign"), "duplicate-risk unknown no-plan review");
}

/// Without the hub's address its state cannot be fetched, and the report and `check` say what is missing.
#[test]
fn a_host_that_the_configuration_does_not_name_is_asked_for() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let body = r#"{"event":"VERIFY_FAILED","data":{"attemptId":"a","requestID":"v-1"}}"#;
    dir.insert(&Entry::new("r1", "POST", "/hook").with("direction", "inbound".to_owned()).body(body).http(503));
    dir.runs(4);
    assert_eq!(dir.says("r1"), "pending . inconclusive wait");
    assert!(dir.row("r1")["explanation"].contains("[hosts.hub]"), "{:?}", dir.row("r1"));
    let check = dir.run(&["check"]);
    assert!(check.code == 1 && check.out.contains("[hosts.hub]"), "{check:?}");
}

/// The hub is down for the whole run: what is looked up at the server is settled all the same.
#[test]
fn another_host_that_is_down_ends_no_run() {
    let platform = Platform::start();
    let setup = Setup::of(&platform);
    let hub = "[hosts.hub]\nbase_url = \"http://127.0.0.1:1\"\n".to_owned();
    let dir = Dir::new(&Setup { rest: hub, ..setup });
    for n in 0..15 {
        let body = format!(r#"{{"event":"VERIFY_FAILED","data":{{"attemptId":"a{n}","requestID":"v-{n}"}}}}"#);
        let hook = Entry::new(&format!("h{n}"), "POST", "/hook").with("direction", "inbound".to_owned());
        dir.insert(&hook.body(&body).http(503));
    }
    dir.attempt(&platform, Entry::register("made", &platform.url, "ann@example.com"), "lost-after");
    dir.runs(4);
    assert_eq!(dir.says("made"), "resolved satisfied present store-id");
    assert_eq!(dir.says("h7"), "pending . inconclusive wait");
}

/// The page that says what becomes of each call names every operation of the shipped plans.
#[test]
fn every_operation_has_its_line_in_the_docs() {
    let page = include_str!("../docs/PRIVO.md");
    for plan in [include_str!("../plans/privo-gateway.toml"), include_str!("../plans/privo-consent.toml")] {
        let operations = plan.split("[[operation]]\n").skip(1).map(|text| text.lines().next().unwrap());
        for name in operations.filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')) {
            let changes_nothing = name.starts_with("check-") || name == "token";
            assert!(changes_nothing || page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
