//! Each endpoint without faults.

use serde_json::{Value, json};

use super::bench::{Bench, NOON, adult, body, consent_request, family};
use super::{Faults, NewAccount, Request};

const REGISTER: &str = "POST /api/v1.0/account";
const FAMILY: &str = "POST /api/v1.0/account/parent";
const ASK: &str = "POST /s2s/api/v1.0/acme/requests";

fn bench() -> Bench {
    Bench::new(Faults::default())
}

#[test]
fn token_from_query_or_form_and_wrong_secret() {
    let mut bench = bench();
    let form = |secret: &str| Request {
        method: "POST".to_owned(),
        path_and_query: "/token".to_owned(),
        headers: Vec::new(),
        body: format!("grant_type=client_credentials&client_id=partner&client_secret={secret}&scope=openid")
            .into_bytes(),
    };
    let good = bench.world.answer(NOON, &form("s3cret"));
    assert_eq!(good.status, 200);
    assert_eq!(body(&good)["expires_in"], 599);
    assert_eq!(body(&good)["scope"], "openid");
    assert_eq!(body(&good)["token_type"], "Bearer");
    let bad = bench.world.answer(NOON, &form("guess"));
    assert_eq!((bad.status, body(&bad)), (401, json!({ "error": "invalid_client" })));
    assert_eq!(bench.truth()["tokens_issued"], 2);
}

#[test]
fn token_missing_or_expired_is_401() {
    let mut bench = bench();
    bench.now_ms += 598_999;
    assert_eq!(bench.get("/userinfo?service_id=x").0, 404);
    bench.now_ms += 1;
    assert_eq!(bench.get("/userinfo?service_id=x").0, 401);
    bench.token.clear();
    assert_eq!(bench.send(REGISTER, adult("a@example.com")).0, 401);
    assert_eq!(bench.alive(), 0);
}

#[test]
fn registration_and_every_lookup() {
    let mut bench = bench();
    let account = json!({
        "role_identifier": "adult", "email": " Sam+x@Example.com ", "first_name": "Sam",
        "user_name": "SamUser", "phone": "+1 555", "external_user_identifier": "ext/1",
        "birth_date_yyyymmdd": "19800102", "features": ["news"],
        "attributes": [{ "name": "displayName", "value": "Sam the Öx" }],
    });
    let (status, answer) = bench.send(REGISTER, account);
    assert_eq!(status, 201);
    let to = &answer["to"];
    let id = to["service_id"].as_str().unwrap().to_owned();
    assert_eq!(to["features"][0]["feature_identifier"], "news");
    assert!(to["update_password_link"].is_string());
    assert_eq!(to["connected_profiles"], json!([]));
    assert_eq!(to["consent_meta"], Value::Null);
    for query in [
        "email=sam%2Bx%40example.COM",
        "user_name=samuser",
        "display_name=Sam+the%20%C3%96x",
        "phone=%2B1+555",
        "external_user_identifier=ext%2F1",
    ] {
        let found = bench.get(&format!("/api/v1.0/account/lookup?{query}"));
        assert_eq!(found, (200, json!({ "sid": id })), "{query}");
    }
    let gone = bench.get("/api/v1.0/account/lookup?email=other@example.com");
    assert_eq!(gone, (404, json!({ "message": "not found" })));
    assert_eq!(bench.get("/api/v1.0/account/lookup").0, 400);
    let (_, info) = bench.get(&format!("/userinfo?service_id={id}"));
    assert_eq!(info["sub"], id);
    assert_eq!(info["email"], "Sam+x@Example.com");
    assert_eq!(info["preferred_username"], "SamUser");
    assert_eq!(info["display_name"], "Sam the Öx");
    assert_eq!(info["given_name"], "Sam");
    assert_eq!(info["birthdate"], "19800102");
    assert_eq!(info["permissions"][0]["on"], true);
    assert_eq!(info["connected_profiles"], json!([]));
    assert_eq!(info.get("created_at"), None);
    assert_eq!(bench.truth()["mails"]["total"], 0);
}

#[test]
fn unique_keys_are_refused_with_412_and_change_nothing() {
    let mut bench = bench();
    let first = json!({ "email": "a@example.com", "userName": "Anna", "firstName": "A",
        "displayName": "AA", "externalUserIdentifier": "e1" });
    assert_eq!(bench.send(REGISTER, first).0, 201);
    for (repeat, message) in [
        (json!({ "email": " A@EXAMPLE.com" }), "email exists"),
        (json!({ "userName": "aNNa" }), "user_name exists"),
        (json!({ "first_name": "B", "display_name": "AA" }), "display_name exists"),
        (json!({ "first_name": "B", "external_user_identifier": "e1" }), "external_user_identifier exists"),
    ] {
        let (status, answer) = bench.send(REGISTER, repeat);
        assert_eq!((status, &answer["message"]), (412, &json!(message)));
    }
    assert_eq!(bench.alive(), 1);
    assert_eq!(bench.truth()["blocked"].as_array().unwrap().len(), 4);
    // A parent who is there gets the child.
    assert_eq!(bench.send(FAMILY, family("a@example.com", &["Tim"])).0, 201);
    assert_eq!(bench.alive(), 2);
}

#[test]
fn content_errors_are_400() {
    let mut bench = bench();
    for date in [json!("2016-05-04"), json!("20161304"), json!(20160504), json!("")] {
        let account = json!({ "first_name": "T", "birth_date_yyyymmdd": date });
        let (status, answer) = bench.send(REGISTER, account);
        assert_eq!((status, answer), (400, json!({ "message": "Bad Date format" })));
    }
    let orphan = json!({ "first_name": "T", "parentEmail": "nobody@example.com" });
    assert_eq!(bench.send("POST /api/account", orphan).0, 400);
    assert_eq!(bench.send(REGISTER, json!({ "email": "no-at" })).0, 400);
    assert_eq!(bench.send(REGISTER, json!([1])).0, 400);
    assert_eq!(bench.send(REGISTER, json!({})).0, 400);
    assert_eq!(bench.get("/api/v1.0/nothing").0, 404);
    assert_eq!(bench.alive(), 0);
}

#[test]
fn children_are_listed_under_their_parent_and_may_be_twins() {
    let mut bench = bench();
    let (status, answer) = bench.send(FAMILY, family("p@example.com", &["Tim", "Zoe"]));
    assert_eq!(status, 201);
    let parent = answer["to"]["service_id"].as_str().unwrap().to_owned();
    assert_eq!(answer["to"]["connected_profiles"].as_array().unwrap().len(), 2);
    let child = json!({ "firstName": "Tim", "birthDate_YYYYMMDD": "20160504", "features": ["chat"],
        "parentEmail": "P@example.com" });
    for path in ["POST /api/account", REGISTER] {
        assert_eq!(bench.send(path, child.clone()).0, 201);
    }
    let (_, info) = bench.get(&format!("/userinfo?service_id={parent}"));
    let profiles = info["connected_profiles"].as_array().unwrap();
    let names: Vec<_> = profiles.iter().map(|child| &child["first_name"]).collect();
    assert_eq!(names, ["Tim", "Zoe", "Tim", "Tim"]);
    assert_eq!(profiles[3]["birth_date_yyyymmdd"], "20160504");
    let id = profiles[3]["service_id"].as_str().unwrap();
    let (_, child) = bench.get(&format!("/userinfo?service_id={id}"));
    assert_eq!(child["parent_email"], "p@example.com");
    assert_eq!(child["permissions"][0]["on"], false);
    assert_eq!(bench.truth()["mails"]["total"], 3);
}

#[test]
fn a_family_with_a_repeated_key_inside_is_refused_whole() {
    let mut bench = bench();
    let mut both = family("p@example.com", &["Tim", "Zoe"]);
    both["minor_registrations"][0]["user_name"] = json!("kid");
    both["minor_registrations"][1]["user_name"] = json!("KID");
    assert_eq!(bench.send(FAMILY, both).0, 412);
    assert_eq!(bench.alive(), 0);
}

#[test]
fn shadow_accounts_repeat_and_checks_change_nothing() {
    let mut bench = bench();
    for path in ["POST /api/account/shadow", "POST /api/v1.0/account/shadow"] {
        let shadow = json!({ "roleIdentifier": "visitor" });
        assert_eq!(bench.send(path, shadow).0, 201);
    }
    assert_eq!(bench.alive(), 2);
    let named = json!({ "first_name": "N", "display_name": "Neo" });
    bench.send(REGISTER, named);
    let check = "POST /api/v1.0/account/check";
    let (_, free) = bench.send(&format!("{check}/email"), json!({ "email": "n@example.com" }));
    assert_eq!(free, json!({ "available": true, "suggestions": [], "profanity": false }));
    let (_, taken) = bench.send(&format!("{check}/display-name"), json!({ "display_name": "Neo" }));
    assert_eq!(taken["available"], false);
    assert_eq!(taken["suggestions"], json!(["Neo1", "Neo2", "Neo3"]));
    assert_eq!(bench.alive(), 3);
}

#[test]
fn resend_mails_each_time_and_delete_frees_the_email() {
    let mut bench = bench();
    let (_, answer) = bench.send(REGISTER, adult("a@example.com"));
    let id = answer["to"]["service_id"].as_str().unwrap().to_owned();
    let resend = json!({ "requester_service_id": id, "approver_service_id": id });
    for _ in 0..2 {
        let (status, _) = bench.send("POST /api/v1.0/consent/resend", resend.clone());
        assert_eq!(status, 200);
    }
    assert_eq!(bench.truth()["mails"]["total"], 2);
    let delete = format!("DELETE /api/v1.0/account?service_id={id}");
    assert_eq!(bench.send(&delete, Value::Null).0, 200);
    assert_eq!(bench.send(&delete, Value::Null).0, 404);
    assert_eq!(bench.get(&format!("/userinfo?service_id={id}")).0, 404);
    let (status, again) = bench.send(REGISTER, adult("a@example.com"));
    assert_eq!(status, 201);
    let id = again["to"]["service_id"].as_str().unwrap();
    let delete = format!("DELETE /api/v1.0/account/{id}");
    assert_eq!(bench.send(&delete, Value::Null).0, 200);
    assert_eq!(bench.truth()["accounts"][0]["deleted_ms"], NOON);
}

#[test]
fn consent_requests_with_and_without_eid() {
    let mut bench = bench();
    let (status, first) = bench.send(ASK, consent_request(Some("kid/1 é")));
    assert_eq!(status, 201);
    let (status, second) = bench.send(ASK, consent_request(Some("kid/1 é")));
    assert_eq!(status, 200);
    assert_eq!(first["principal_identifiers"], second["principal_identifiers"]);
    assert_eq!(first["granter_identifiers"], second["granter_identifiers"]);
    assert_ne!(first["consent_identifier"], second["consent_identifier"]);
    let eid = "/s2s/api/v1.0/acme/accounts/eid/kid%2F1%20%C3%A9";
    let (status, account) = bench.get(eid);
    assert_eq!(status, 200);
    let pending = |name| json!({ "identifier": name, "state": "pending" });
    let expected = json!({
        "sid": first["principal_identifiers"]["sid"], "eid": "kid/1 é", "given_name": "Kim", "birthdate": "20160504",
        "features": [pending("chat"), pending("photos")],
        "attributes": [{ "identifier": "nick", "value": "kimmy" }],
    });
    assert_eq!(account, expected);
    let (_, anonymous) = bench.send(ASK, consent_request(None));
    let (_, again) = bench.send(ASK, consent_request(None));
    assert_ne!(anonymous["principal_identifiers"], again["principal_identifiers"]);
    let sid = again["principal_identifiers"]["sid"].as_str().unwrap();
    let by_sid = bench.get(&format!("/s2s/api/v1.0/acme/accounts/sid/{sid}"));
    assert_eq!(by_sid.0, 200);
    assert_eq!(by_sid.1.get("eid"), None);
    assert_eq!(bench.truth()["mails"]["total"], 4);
    let delete = eid.replacen('/', "DELETE /", 1);
    assert_eq!(bench.send(&delete, Value::Null).0, 200);
    assert_eq!(bench.send(&delete, Value::Null), (404, json!({ "message": "not found" })));
    assert_eq!(bench.get(eid).0, 404);
    let other = bench.get("/s2s/api/v1.0/other/accounts/eid/x");
    assert_eq!(other, (404, json!({ "message": "unknown service" })));
}

#[test]
fn consent_state_assurance_and_revocation() {
    let mut bench = bench();
    let (_, asked) = bench.send(ASK, consent_request(Some("e1")));
    let text = |place: &str| asked.pointer(place).unwrap().as_str().unwrap().to_owned();
    let (sid, granter) = (text("/principal_identifiers/sid"), text("/granter_identifiers/sid"));
    let consent = text("/consent_identifier");
    let path = format!("/s2s/api/v1.0/acme/consents/{consent}");
    let expected = json!({ "consent_identifier": consent, "state": "pending" });
    assert_eq!(bench.get(&path), (200, expected));
    assert!(bench.world.decide_consent(NOON, &consent, "granted"));
    assert_eq!(bench.get(&path).1["state"], "granted");
    assert_eq!(bench.get("/s2s/api/v1.0/acme/consents/none").0, 404);
    let account = format!("/s2s/api/v1.0/acme/accounts/sid/{sid}");
    assert_eq!(bench.get(&account).1["features"][0]["state"], "on");
    let ial = json!({ "ial": "IAL2" });
    let patch = format!("PATCH {account}/attributes/nick/ial");
    assert_eq!(bench.send(&patch, ial.clone()).0, 200);
    let wrong = format!("PATCH {account}/attributes/none/ial");
    assert_eq!(bench.send(&wrong, ial).0, 404);
    let revoke = format!("POST {account}/{granter}/features/revoke");
    let features = json!({ "features": ["photos"] });
    assert_eq!(bench.send(&revoke, features.clone()).0, 200);
    assert_eq!(bench.send(&revoke, json!({ "features": ["?"] })).0, 470);
    let stranger = format!("POST {account}/{sid}/features/revoke");
    assert_eq!(bench.send(&stranger, features).0, 404);
    let (_, shown) = bench.get(&account);
    let attribute = json!({ "identifier": "nick", "value": "kimmy", "ial": "IAL2" });
    assert_eq!(shown["attributes"][0], attribute);
    assert_eq!(shown["features"][0]["state"], "on");
    assert_eq!(shown["features"][1]["state"], "off");
}

#[test]
fn accounts_by_hand_and_the_control_endpoints() {
    let mut bench = bench();
    let canary = bench.world.seed_canary(NOON, "canary@partner.example").unwrap();
    assert!(bench.world.seed_canary(NOON, "CANARY@partner.example").is_err());
    let child = NewAccount {
        given_name: Some("Bo".to_owned()),
        parent_sid: Some(canary.clone()),
        made_ms: Some(NOON - 5),
        ..NewAccount::default()
    };
    bench.world.add_account(NOON, child).unwrap();
    bench.token.clear();
    let put = json!({ "eid": "e1", "given_name": "Bo", "parent_email": "g@example.com" });
    let (status, ids) = bench.send("POST /_sandbox/accounts", put.clone());
    assert_eq!((status, &ids["eid"]), (201, &json!("e1")));
    assert_eq!(bench.send("POST /_sandbox/accounts", put).0, 412);
    let unknown = json!({ "mail": "x" });
    assert_eq!(bench.send("POST /_sandbox/accounts", unknown).0, 400);
    let delete = format!("DELETE /_sandbox/accounts/{canary}");
    assert_eq!(bench.send(&delete, Value::Null).0, 200);
    assert_eq!(bench.send(&delete, Value::Null).0, 404);
    let (_, truth) = bench.get("/_sandbox/truth");
    assert_eq!(truth["accounts"].as_array().unwrap().len(), 4);
    assert_eq!(truth["accounts"][0]["deleted_ms"], NOON);
    assert_eq!(truth["accounts"][1]["made_ms"], NOON - 5);
    assert_eq!(truth["accounts"][3]["cause"], "by-hand");
    let faults = json!({ "lost_after": 0.5 });
    let (status, shown) = bench.send("PUT /_sandbox/faults", faults);
    assert_eq!((status, &shown["lost_after"]), (200, &json!(0.5)));
    assert_eq!(bench.get("/_sandbox/faults").1["lost_after"], 0.5);
    for wrong in [json!({ "lost_afer": 0.5 }), json!({ "late": 1.5 })] {
        assert_eq!(bench.send("PUT /_sandbox/faults", wrong).0, 400);
    }
}

#[test]
fn every_answer_is_dated_and_counted_by_template() {
    let mut bench = bench();
    let reply = bench.raw("GET /userinfo?service_id=a", &Value::Null, &[]);
    let date = ("date".to_owned(), "Sun, 01 Mar 2026 12:00:00 GMT".to_owned());
    assert!(reply.headers.contains(&date));
    bench.get("/userinfo?service_id=b");
    bench.get("/elsewhere");
    let expected = json!({ "GET /userinfo": 2, "POST /oauth/token": 1, "unknown": 1 });
    assert_eq!(bench.truth()["requests"], expected);
}

#[test]
fn a_partnership_may_show_when_records_were_made() {
    let mut bench = Bench::new(Faults { shows_created_at: true, ..Faults::default() });
    let (_, answer) = bench.send(FAMILY, family("p@example.com", &["Tim"]));
    let id = answer["to"]["service_id"].as_str().unwrap();
    let (_, info) = bench.get(&format!("/userinfo?service_id={id}"));
    let noon = json!("2026-03-01T12:00:00.000Z");
    assert_eq!(info["created_at"], noon);
    assert_eq!(info["connected_profiles"][0]["created_at"], noon);
}

/// The older spelling answers in the hub's envelope, with a slash at the end or without.
#[test]
fn the_hub_answers_in_an_envelope() {
    let mut bench = bench();
    let (status, answer) = bench.send("POST /api/account/", json!({ "email": "ann@x.com", "firstName": "Ann" }));
    assert_eq!((status, &answer["status"], &answer["resultCount"]), (201, &json!("success"), &json!(-1)));
    let id = answer["entity"]["serviceId"].as_str().unwrap().to_owned();
    assert_eq!(bench.get("/api//v1.0/account/lookup/?email=ann%40x.com"), (200, json!({ "sid": id })));
    // A GET that sends a mail, each time; what is not known is not found.
    for mails in [2, 3] {
        let resend = format!("/api/consent/resend?requesterServiceId={id}");
        let (status, answer) = bench.get(&resend);
        assert_eq!((status, &answer["entity"]), (200, &Value::Null));
        assert_eq!(bench.truth()["mails"]["total"], mails - 1);
    }
    assert_eq!(bench.get("/api/consent/resend?requesterServiceId=nobody").0, 404);
    assert_eq!(bench.get("/api/consent/resend").0, 400);
}

#[test]
fn features_are_granted_and_revoked_by_numbers_that_no_answer_shows() {
    let mut bench = bench();
    let features = json!([{ "feature_identifier": "chat" }, { "feature_identifier": "photos" }]);
    let (_, answer) = bench.send(REGISTER, json!({ "email": "ann@x.com", "features": features }));
    let id = answer["to"]["service_id"].as_str().unwrap().to_owned();
    let on = |bench: &mut Bench| -> Vec<Value> {
        let shown = bench.get(&format!("/userinfo?service_id={id}")).1;
        shown["permissions"].as_array().unwrap().iter().map(|feature| feature["on"].clone()).collect()
    };
    let second = json!({ "features": [{ "featureId": 2 }] });
    assert_eq!(bench.send(&format!("DELETE /api/consent/{id}"), second.clone()).0, 200);
    assert_eq!(on(&mut bench), [true, false]);
    assert_eq!(bench.send(&format!("DELETE /api/consent/{id}/"), Value::Null).0, 200);
    assert_eq!(on(&mut bench), [false, false]);
    assert_eq!(bench.send(&format!("PUT /api/consent/{id}"), second).0, 200);
    assert_eq!(on(&mut bench), [false, true]);
    assert_eq!(bench.send("PUT /api/consent/nobody", json!({})).0, 404);
}

#[test]
fn the_consent_service_takes_bare_arrays_and_numbers_and_answers_470() {
    let mut bench = bench();
    let (_, asked) = bench.send(ASK, consent_request(Some("e1")));
    let text = |place: &str| asked.pointer(place).unwrap().as_str().unwrap().to_owned();
    let account = format!("/s2s/api/v1.0/acme/accounts/sid/{}", text("/principal_identifiers/sid"));
    let revoke = format!("POST {account}/{}/features/revoke", text("/granter_identifiers/sid"));
    assert_eq!(bench.send(&revoke, json!(["chat"])).0, 200);
    assert_eq!(bench.get(&account).1["features"][0], json!({ "identifier": "chat", "state": "off" }));
    assert_eq!(bench.send(&format!("PATCH {account}/attributes/nick/ial"), json!({ "ial": 2 })).0, 200);
    assert_eq!(bench.get(&account).1["attributes"][0]["ial"], 2);
    let session = format!("POST /s2s/api/v1.0/acme/consents/{}/verification/session", text("/consent_identifier"));
    let url = |bench: &mut Bench| bench.send(&session, Value::Null).1["url"].clone();
    assert_ne!(url(&mut bench), url(&mut bench));
    let mut wrong = consent_request(None);
    wrong["principal"]["birthdate"] = json!("2016-05-04");
    assert_eq!(bench.send(ASK, wrong), (470, json!({ "message": "Bad Date format" })));
    assert_eq!(bench.send(ASK, json!({ "principal": {} })).0, 470);
    assert_eq!(bench.send(ASK, json!({ "granter": { "email": "m@x.com" } })).0, 400);
}

#[test]
fn a_principal_is_not_its_own_granter() {
    let mut bench = bench();
    let mut request = consent_request(Some("e1"));
    request["principal"]["email"] = json!("kid@example.com");
    bench.send(ASK, request.clone());
    request["principal"]["eid"] = json!("e2");
    request["granter"]["email"] = json!("kid@example.com");
    let (_, second) = bench.send(ASK, request);
    let sids = [&bench.world.accounts()[1], &bench.world.accounts()[2]];
    assert_eq!(sids[0].details.eid.as_deref(), Some("e1"));
    assert_eq!(second["granter_identifiers"]["sid"], sids[1].service_id);
}

#[test]
fn paths_and_queries_are_decoded_alike_but_for_the_plus() {
    use super::wire::Target;
    let target = Target::read("/a%2Fb/c+d/%zz%4/%C3%A9?q=x+y%2Bz&q=2&e", false);
    assert_eq!(target.segments, ["a/b", "c+d", "%zz%4", "é"]);
    assert_eq!(target.query("q"), Some("x y+z"));
    assert_eq!(target.query("e"), Some(""));
    assert_eq!(target.query("none"), None);
}
