//! The habits of other people's servers, each over the endpoints.

use serde_json::{Value, json};

use super::bench::{Bench, adult, body, consent_request, family};
use super::{Faults, Habits, NewAccount, Search};

fn bench(habits: Habits) -> Bench {
    Bench::new(Faults { habits, shows_created_at: true, ..Faults::default() })
}

fn find(bench: &mut Bench, query: &str) -> u16 {
    bench.get(&format!("/api/v1.0/account/lookup?{query}")).0
}

#[test]
fn a_search_finds_by_prefix_or_part_what_a_lookup_does_not() {
    for (search, found) in
        [(Search::Exact, [404, 404, 200]), (Search::Prefix, [200, 404, 200]), (Search::Part, [200, 200, 200])]
    {
        let mut bench = bench(Habits { search, ..Habits::default() });
        bench.send("POST /api/v1.0/account", json!({ "user_name": "susan", "first_name": "Su" }));
        let statuses = ["su", "usan", "SUSAN"].map(|name| find(&mut bench, &format!("user_name={name}")));
        assert_eq!(statuses, found, "{search:?}");
    }
}

#[test]
fn a_server_that_folds_its_keys_takes_their_spellings_as_one() {
    let make = json!({ "external_user_identifier": "Ab", "first_name": "Ada" });
    let again = json!({ "external_user_identifier": " aB", "first_name": "Ada" });
    for (folds_keys, second) in [(false, 201), (true, 412)] {
        let mut bench = bench(Habits { folds_keys, ..Habits::default() });
        assert_eq!(bench.send("POST /api/v1.0/account", make.clone()).0, 201);
        assert_eq!(bench.send("POST /api/v1.0/account", again.clone()).0, second);
    }
}

#[test]
fn deleted_accounts_that_keep_their_keys_are_not_found_and_block_a_create() {
    let mut bench = bench(Habits { keeps_deleted_keys: true, ..Habits::default() });
    bench.send("POST /api/v1.0/account", adult("a@x.example"));
    assert_eq!(bench.send("DELETE /api/v1.0/account?email=a%40x.example", Value::Null).0, 200);
    assert_eq!(find(&mut bench, "email=a%40x.example"), 404);
    assert_eq!(bench.send("POST /api/v1.0/account", adult("a@x.example")).0, 412);
    let path = "/s2s/api/v1.0/acme/requests";
    assert_eq!(bench.send(&format!("POST {path}"), consent_request(Some("kid"))).0, 201);
    assert_eq!(bench.send("DELETE /s2s/api/v1.0/acme/accounts/eid/kid", Value::Null).0, 200);
    assert_eq!(bench.send(&format!("POST {path}"), consent_request(Some("kid"))).0, 412);
}

#[test]
fn children_go_with_their_parent_or_stay() {
    for (deletes_children, left) in [(false, 2), (true, 0)] {
        let mut bench = bench(Habits { deletes_children, ..Habits::default() });
        bench.send("POST /api/v1.0/account/parent", family("p@x.example", &["Kim", "Lou"]));
        bench.send("DELETE /api/v1.0/account?email=p%40x.example", Value::Null);
        assert_eq!(bench.alive(), left);
    }
}

#[test]
fn a_parent_who_is_there_gets_further_children_where_parents_are_associated() {
    for (associates_parents, (second, alive)) in [(false, (412, 2)), (true, (201, 3))] {
        let mut bench = bench(Habits { associates_parents, ..Habits::default() });
        bench.send("POST /api/v1.0/account/parent", family("p@x.example", &["Kim"]));
        let again = bench.send("POST /api/v1.0/account/parent", family("p@x.example", &["Kim"]));
        assert_eq!((again.0, bench.alive()), (second, alive));
    }
}

#[test]
fn a_second_child_and_a_repeat_are_answered_as_the_server_likes() {
    let mut bench = bench(Habits { refuses_with: 208, second_child: 208, ..Habits::default() });
    bench.send("POST /api/v1.0/account", adult("p@x.example"));
    let child = |name: &str| json!({ "parentEmail": "p@x.example", "first_name": name });
    assert_eq!(bench.send("POST /api/v1.0/account", child("Kim")).0, 201);
    assert_eq!(bench.send("POST /api/v1.0/account", child("Lou")).0, 208);
    assert_eq!(bench.alive(), 3, "the second child was made all the same");
    assert_eq!(bench.send("POST /api/v1.0/account", adult("p@x.example")).0, 208);
    assert_eq!(bench.alive(), 3);
}

#[test]
fn a_plus_in_a_query_is_a_space_or_itself() {
    for (plus_is_plus, found) in [(false, 404), (true, 200)] {
        let mut bench = bench(Habits { plus_is_plus, ..Habits::default() });
        bench.send("POST /api/v1.0/account", adult("ann+kid@x.example"));
        assert_eq!(find(&mut bench, "email=ann+kid@x.example"), found);
        assert_eq!(find(&mut bench, "email=ann%2Bkid@x.example"), 200);
    }
}

#[test]
fn two_clocks_stamp_the_answer_and_the_record_or_none_stamps_the_answer() {
    let habits = Habits { date_ahead_ms: -3_600_000, made_ahead_ms: 1500, ..Habits::default() };
    for (habits, date) in
        [(habits.clone(), Some("Sun, 01 Mar 2026 11:00:00 GMT")), (Habits { no_date: true, ..habits }, None)]
    {
        let mut bench = bench(habits);
        bench.send("POST /api/v1.0/account", adult("a@x.example"));
        let sid = bench.get("/api/v1.0/account/lookup?email=a%40x.example").1["sid"].as_str().unwrap().to_owned();
        let reply = bench.raw(&format!("GET /userinfo?service_id={sid}"), &Value::Null, &[]);
        let header = reply.headers.iter().find(|(name, _)| name == "date").map(|(_, value)| value.as_str());
        assert_eq!((header, &body(&reply)["created_at"]), (date, &json!("2026-03-01T12:00:01.500Z")));
    }
}

#[test]
fn a_request_for_consent_shows_on_an_account_that_is_there_or_does_not() {
    for (asks_again, state) in [(false, "off"), (true, "pending")] {
        let mut bench = bench(Habits { asks_again, ..Habits::default() });
        let off = super::Feature { identifier: "chat".to_owned(), state: "off".to_owned() };
        let account = NewAccount { eid: Some("kid".to_owned()), features: Some(vec![off]), ..NewAccount::default() };
        bench.world.add_account(bench.now_ms, account).unwrap();
        assert_eq!(bench.send("POST /s2s/api/v1.0/acme/requests", consent_request(Some("kid"))).0, 200);
        let shown = bench.get("/s2s/api/v1.0/acme/accounts/eid/kid").1;
        assert_eq!(shown["features"][0]["state"], state);
    }
}
