//! Proves, through the real binary against a server of the test's own, what is read of rows and answers: URLs that servers
//! read in two ways, numbers of any size, values that cannot be read, searches that are no lookups, and the server's clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Answer, Asked, Dir, Entry, Hostile, Setup, said};
use privo_reconcile::plan::template::percent_decode;
use serde_json::{Value, json};

/// Another account than the control's, as the server knows it.
#[derive(Clone)]
struct Account {
    /// What it is looked up by, as the server reads it.
    key: &'static str,
    /// As it stands in the answers.
    id: &'static str,
    shows: Value,
}

fn account(key: &'static str, id: &'static str, shows: Value) -> Account {
    Account { key, id, shows }
}

/// How the server finds accounts by a key.
type Finds = fn(&str, &str) -> bool;

fn exactly(key: &str, asked: &str) -> bool {
    key == asked
}

/// A gateway that knows these accounts and the control's.
fn server(accounts: &[Account], finds: Finds) -> Hostile {
    let canary = account("canary@control.example", "\"c1\"", json!({}));
    let accounts: Vec<Account> = accounts.iter().cloned().chain([canary]).collect();
    Hostile::start(move |asked: &Asked, _| {
        if asked.for_token() {
            return Answer::json("200 OK", r#"{"access_token":"t","expires_in":60}"#);
        }
        let value = asked.path.split_once('=').and_then(|(_, value)| percent_decode(value)).unwrap_or_default();
        let nobody = || Answer::json("404 Not Found", "{}");
        match asked.path.starts_with("/userinfo") {
            true => {
                accounts.iter().find(|account| account.id.trim_matches('"') == value).map_or_else(nobody, |account| {
                    let shows = account.shows.to_string();
                    let more = shows.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
                    let comma = if more.is_empty() { "" } else { "," };
                    Answer::json("200 OK", &format!("{{\"sub\":{}{comma}{more}}}", account.id))
                })
            }
            false => {
                let found = accounts.iter().find(|account| finds(account.key, &value));
                found.map_or_else(nobody, |account| Answer::json("200 OK", &format!("{{\"sid\":{}}}", account.id)))
            }
        }
    })
}

fn setup(server: &Hostile) -> Setup {
    let control = |by: &str| format!("[[control]]\nlookup = \"account-by-{by}\"\nkey = \"canary@control.example\"\n");
    let controls = ["email", "user-name", "external-id"].map(control).concat();
    Setup { controls, ..Setup::bare(&server.url) }
}

/// The row of one entry after two runs, with the server that is still there.
fn decided(accounts: &[Account], finds: Finds, entry: impl Fn(&str) -> Entry) -> ((Dir, Hostile), util::Row) {
    let server = server(accounts, finds);
    let dir = Dir::new(&setup(&server));
    dir.insert(&entry(&server.url));
    dir.run(&["run"]);
    dir.run(&["run"]);
    assert_eq!(dir.run(&["verify"]).code, 0);
    let row = dir.row("r1");
    ((dir, server), row)
}

fn delete(query: &'static str) -> impl Fn(&str) -> Entry {
    move |url| Entry::new("r1", "DELETE", &format!("{url}/api/v1.0/account?{query}"))
}

fn register(body: &'static str) -> impl Fn(&str) -> Entry {
    move |url| Entry::new("r1", "POST", &format!("{url}/api/v1.0/account")).body(body)
}

#[test]
fn a_url_that_servers_read_in_two_ways_is_looked_up_in_both() {
    let there = |key| vec![account(key, "\"s1\"", json!({}))];
    for (accounts, query, expected) in [
        (vec![], "email=ann+kid@x.com", "resolved satisfied deleted none"),
        (there("ann+kid@x.com"), "email=ann+kid@x.com", "duplicate-risk unknown bad-row review"),
        (there("ann kid@x.com"), "email=ann+kid@x.com", "duplicate-risk unknown bad-row review"),
        (there("ann+kid@x.com"), "email=ann%2Bkid@x.com", "resolved not-applied not-deleted review"),
        (there("b@x.com"), "email=a@x.com&email=b@x.com", "duplicate-risk unknown bad-row review"),
        (there("c@x.com"), "email=a@x.com&email=b@x.com", "resolved satisfied deleted none"),
        (vec![], "email=ren%E9@x.com", "duplicate-risk unknown bad-row review"),
    ] {
        let (_, row) = decided(&accounts, exactly, delete(query));
        assert_eq!(said(&row), expected, "{query}");
    }
}

#[test]
fn what_the_server_read_is_recorded_anew_and_decided() {
    let server = server(&[account("ann+kid@x.com", "\"s1\"", json!({}))], exactly);
    let dir = Dir::new(&setup(&server));
    dir.insert(&delete("email=ann+kid@x.com")(&server.url));
    dir.run(&["run"]);
    dir.run(&["run"]);
    let row = dir.row("r1");
    assert_eq!(said(&row), "duplicate-risk unknown bad-row review");
    assert!(row["explanation"].contains("record the request under another request_id"), "{}", row["explanation"]);
    dir.insert(&delete("email=ann%20kid@x.com")(&server.url).with("request_id", "r2".to_owned()));
    dir.run(&["run"]);
    assert_eq!(dir.says("r2"), "resolved satisfied deleted none");
}

#[test]
fn an_id_is_stored_with_all_its_digits_or_not_at_all() {
    let body = r#"{"email":"ann@x.com"}"#;
    for id in ["9007199254740993", "18446744073709551617", "123456789012345678901234", "\"007\""] {
        let (_, row) = decided(&[account("ann@x.com", id, json!({}))], exactly, register(body));
        assert_eq!(
            (said(&row).as_str(), row["server_id"].as_str()),
            ("resolved satisfied present store-id", id.trim_matches('"'))
        );
    }
    for id in ["1e21", "12345.0", "1.0", "true"] {
        let (_, row) = decided(&[account("ann@x.com", id, json!({}))], exactly, register(body));
        assert_eq!((said(&row).as_str(), row["server_id"].as_str()), ("pending . inconclusive wait", ""), "{id}");
    }
}

#[test]
fn a_key_is_looked_up_by_its_digits_or_is_a_bad_row() {
    for (body, key, expected) in [
        (r#"{"external_user_identifier":9007199254740993}"#, "9007199254740993", "resolved satisfied present store-id"),
        (
            r#"{"external_user_identifier":12345678901234567890123}"#,
            "12345678901234567890123",
            "resolved satisfied present store-id",
        ),
        (
            r#"{"external_user_identifier":18446744073709551616}"#,
            "18446744073709551615",
            "resolved not-applied confirmed-absent resend",
        ),
        (r#"{"external_user_identifier":42.0}"#, "42", "duplicate-risk unknown bad-row review"),
        (r#"{"external_user_identifier":1e3}"#, "1e3", "duplicate-risk unknown bad-row review"),
        (r#"{"external_user_identifier":true}"#, "true", "duplicate-risk unknown bad-row review"),
        (r#"{"email":"a@x.com","email":"b@x.com"}"#, "a@x.com", "duplicate-risk unknown bad-row review"),
    ] {
        let (_, row) = decided(&[account(key, "\"s1\"", json!({}))], exactly, register(body));
        assert_eq!(said(&row), expected, "{body}");
    }
}

#[test]
fn what_cannot_be_read_does_not_differ() {
    let body = r#"{"email":"ann@x.com","first_name":"Mary Ann","birth_date_yyyymmdd":"19900102"}"#;
    for (shows, expected) in [
        (json!({"given_name": "mary\u{a0}ann", "birthdate": "02.01.1990"}), "resolved satisfied present store-id"),
        (json!({"given_name": "Mary&nbsp;Ann", "birthdate": "19900102.0"}), "resolved satisfied present store-id"),
        (json!({"given_name": "MaryAnn ", "birthdate": "00000000"}), "resolved satisfied present store-id"),
        (json!({"given_name": "***", "birthdate": "1990-01-02T00:00:00Z"}), "resolved satisfied present store-id"),
        // Nothing is shown that could be compared.
        (json!({"given_name": "***", "birthdate": "02.01.1990"}), "resolved satisfied present review"),
        (json!({"given_name": "Mary", "birthdate": "02.01.1990"}), "duplicate-risk unknown key-taken review"),
        (json!({"given_name": "Mary Ann", "birthdate": "1990-01-03"}), "duplicate-risk unknown key-taken review"),
    ] {
        let (_, row) = decided(&[account("ann@x.com", "\"s1\"", shows.clone())], exactly, register(body));
        assert_eq!(said(&row), expected, "{shows}");
    }
}

#[test]
fn a_search_by_parts_is_no_lookup() {
    let susan = [account("susanna", "\"s1\"", json!({}))];
    let finds: [(&str, Finds); 3] = [
        ("by parts", |key, asked| key.contains(asked)),
        ("by prefix", |key, asked| key.starts_with(asked)),
        ("by suffix", |key, asked| key.ends_with(asked)),
    ];
    for (how, finds) in finds {
        for body in [r#"{"user_name":"su"}"#, r#"{"user_name":"nobody"}"#] {
            let ((dir, _server), row) = decided(&susan, finds, register(body));
            assert_eq!(
                (said(&row).as_str(), row["server_id"].as_str()),
                ("pending . uncontrolled review", ""),
                "{how}"
            );
            assert!(row["explanation"].contains("finds by parts of the key"), "{}", row["explanation"]);
            let checked = dir.run(&["check"]);
            assert!(
                checked.out.contains("account-by-user-name: a key that is nearly the known one was found"),
                "{}",
                checked.out
            );
        }
    }
    let (_, row) = decided(&susan, exactly, register(r#"{"user_name":"susanna"}"#));
    assert_eq!(said(&row), "resolved satisfied present store-id");
}

#[test]
fn an_answer_about_another_account_is_inconclusive() {
    let shown = |email: &str| [account("susanna@x.com", "\"s1\"", json!({"email": email}))];
    let parts: Finds =
        |key, asked| key == asked || (key.contains(asked) && asked.len() > 3 && !key.contains(".example"));
    let (_, row) = decided(&shown("susanna@x.com"), parts, register(r#"{"email":"anna@x.com"}"#));
    assert_eq!(said(&row), "pending . inconclusive wait");
    assert!(row["explanation"].contains("shows another key"), "{}", row["explanation"]);
    // As the plan says, case makes no other key.
    let (_, row) = decided(&shown("Susanna@X.com"), parts, register(r#"{"email":"susanna@x.com"}"#));
    assert_eq!(said(&row), "resolved satisfied present store-id");
}

#[test]
fn a_look_knows_the_servers_clock() {
    let platform = util::Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&Entry::register("r1", &platform.url, "ann@example.com"));
    dir.run(&["run"]);
    let narrow = "skew_least_ms <= 0 AND skew_most_ms >= 0 AND made_error_ms = 2000 AND near_control = 3";
    assert_eq!(dir.count(&format!("SELECT count(*) FROM looks WHERE {narrow}")), 1);
    // Never wider than by the look's own answers, had each its whole second.
    let own = "skew_most_ms - skew_least_ms <= seen_ms - asked_ms + 1010";
    assert_eq!(dir.count(&format!("SELECT count(*) FROM looks WHERE {own}")), 1);
    let undated = server(&[], exactly);
    let dir = Dir::new(&setup(&undated));
    dir.insert(&register(r#"{"email":"ann@x.com"}"#)(&undated.url));
    dir.run(&["run"]);
    assert_eq!(dir.count("SELECT count(*) FROM looks WHERE skew_least_ms IS NULL AND skew_most_ms IS NULL"), 1);
}
