//! Proves the plan's language against a server of the test's own that is not PRIVO's: other ways in, lists in pages, several
//! shapes of absence, escapes, PUTs that make or replace; and that each mistake of a plan is told with its place and remedy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Answer, Asked, Dir, Entry, Hostile, said};
use privo_reconcile::clock::Moment;
use privo_reconcile::plan::template::percent_decode;
use serde_json::{Value, json};

const KNOWN: &str = "known-user";

/// A plan for one kind of user, found by name; the parts that a test is about are put in.
const PLAN: &str = r#"
name = "users"

[lookup.user]
by = "name"
normalise = ["trim"]
random = "nobody-{random}"
record = { key = "$.name" }

[[lookup.user.step]]
get = "/users/{key}"
present = { status = 200, id = "$.id" }
absent = { status = 404 }

[[operation]]
name = "create-user"
method = "POST"
paths = ["/users"]

[[operation.effect]]
name = "user"
kind = "create"
keys = [{ lookup = "user", value = ["$.name"] }]
"#;

/// The request's path with its escapes undone, and its parameters.
fn read(asked: &Asked) -> (String, Vec<(String, String)>) {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let decoded = |text: &str| percent_decode(text).unwrap();
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (decoded(name), decoded(value))).unwrap();
    (decoded(path), query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect())
}

fn ok(body: &Value) -> Answer {
    Answer::json("200 OK", &body.to_string())
}

fn nobody() -> Answer {
    Answer::json("404 Not Found", "{}")
}

/// Answers `/users/NAME` for these names.
fn users(asked: &Asked, names: &[&str]) -> Answer {
    let (path, _) = read(asked);
    let name = path.strip_prefix("/users/").unwrap_or_default().to_owned();
    if names.contains(&name.as_str()) { ok(&json!({ "id": format!("id-{name}"), "name": name })) } else { nobody() }
}

/// A folder with this plan, for this server, and what else the configuration says.
fn dir(server: &Hostile, plan: &str, auth: &str, controls: &str) -> Dir {
    let dir = Dir::without_ledger(&util::Setup::bare(&server.url));
    std::fs::write(dir.file("plan.toml"), plan).unwrap();
    std::fs::write(dir.file("password"), "pass word\n").unwrap();
    let text = format!(
        "plan = \"plan.toml\"\n[ledger]\npath = \"ledger.db\"\n[server]\nbase_url = \"{}\"\nrequests_per_second = 10000\n{auth}\n\
         [settle]\nnetwork = \"0s\"\nserver_error = \"0s\"\nintent = \"0s\"\nconfirm_after = \"0s\"\nwebhook = \"0s\"\nwatch = \"0s\"\n{controls}",
        server.url
    );
    std::fs::write(dir.file("privo-reconcile.toml"), text).unwrap();
    let made = dir.run(&["init"]);
    assert_eq!(made.code, 0, "{made:?}");
    dir
}

fn control() -> String {
    format!("[[control]]\nlookup = \"user\"\nkey = \"{KNOWN}\"\n")
}

/// What an entry ends as after two runs.
fn ends_as(dir: &Dir, entry: &Entry) -> String {
    dir.insert(entry);
    dir.run(&["run"]);
    dir.due();
    dir.run(&["run"]);
    assert_eq!(dir.run(&["verify"]).code, 0);
    said(&dir.row("r1"))
}

fn create(server: &Hostile, name: &str) -> Entry {
    Entry::new("r1", "POST", &format!("{}/users", server.url)).body(&json!({ "name": name }).to_string())
}

const ABSENT: &str = "resolved not-applied confirmed-absent resend";
const PRESENT: &str = "resolved satisfied present store-id";
const INCONCLUSIVE: &str = "pending . inconclusive wait";

#[test]
fn a_server_lets_the_job_in_by_its_own_way() {
    let basic = format!("Basic {}", "am9iOnBhc3Mgd29yZA==");
    for (auth, name, value) in [
        ("[auth]\ntoken = { file = \"secret\" }", "authorization", "Bearer sandbox".to_owned()),
        ("[auth]\nbasic = { user = \"job\", password = { file = \"password\" } }", "authorization", basic),
        ("[auth]\nheaders = { \"X-Api-Key\" = { file = \"secret\" } }", "x-api-key", "sandbox".to_owned()),
        ("[auth]\nheaders = { Authorization = { file = \"secret\" } }", "authorization", "sandbox".to_owned()),
        ("headers = { \"X-Tenant\" = \"acme\" }", "x-tenant", "acme".to_owned()),
    ] {
        let server = Hostile::start(move |asked, _| {
            let sent = asked.head.lines().filter_map(|line| line.split_once(": "));
            let let_in = sent.into_iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v.trim() == value);
            if let_in { users(asked, &[KNOWN, "ann"]) } else { Answer::json("401 Unauthorized", "{}") }
        });
        let folder = dir(&server, PLAN, auth, &control());
        assert_eq!(ends_as(&folder, &create(&server, "ann")), PRESENT, "{auth}");
        let check = folder.run(&["check"]);
        assert_eq!(check.code, 0, "{auth} {check:?}");
        // With no credentials at all it is those that are named, and not the plan.
        let without = dir(&server, PLAN, "", &control());
        let check = without.run(&["check"]);
        assert!(check.code == 1 && check.out.contains("check [auth]: token, scope and audience"), "{check:?}");
        assert!(!check.out.contains("change `absent`"), "{check:?}");
    }
}

#[test]
fn client_credentials_go_as_the_server_wants_them() {
    let server = Hostile::start(|asked, _| match asked.for_token() {
        true => {
            let in_header = asked.authorization == "Basic am9iJTJCMTpwYXNzK3dvcmQ=";
            let fields =
                asked.body.contains("audience=api") && asked.body.contains("realm=") && !asked.body.contains("pass");
            match in_header && fields {
                true => ok(&json!({ "access_token": "t", "expires_in": 60 })),
                false => Answer::json("401 Unauthorized", r#"{"error":"invalid_client"}"#),
            }
        }
        false if asked.authorization == "Bearer t" => users(asked, &[KNOWN, "ann"]),
        false => Answer::json("401 Unauthorized", "{}"),
    });
    let auth = format!(
        "[auth]\ntoken_url = \"{}/oauth/token\"\nclient_id = {{ value = \"job+1\" }}\nclient_secret = {{ file = \"password\" }}\n\
         client_auth = \"basic\"\naudience = \"api\"\nparams = {{ realm = \"users\" }}",
        server.url
    );
    let dir = dir(&server, PLAN, &auth, &control());
    assert_eq!(ends_as(&dir, &create(&server, "ann")), PRESENT);
}

/// A list of an owner's pets: five, two in a page.
const PETS: &str = r#"
name = "pets"

[lookup.pets-of]
by = "owner"
random = "nobody-{random}"

[[lookup.pets-of.step]]
get = "/owners/{key}/pets"
present = { status = 200 }
absent = { status = 404 }

[lookup.pets-of.record]
list = "$.items"
id = "$.id"
fields.name = { path = "$.name" }
RECORD

[[operation]]
name = "add-pet"
method = "POST"
paths = ["/owners/{owner}/pets"]

[[operation.effect]]
name = "pet"
kind = "create"
owner = { lookup = "pets-of", value = ["{owner}"] }
compare.name = ["$.name"]
"#;

/// Serves the pets two by two; `lead` says how an answer leads to the next page.
fn pets(asked: &Asked, url: &str, pets: &[(usize, &str)], lead: &str) -> Answer {
    let (path, query) = read(asked);
    if !["/owners/known-owner/pets", "/owners/mum/pets"].contains(&path.as_str()) {
        return nobody();
    }
    let page: usize = query.iter().find(|(name, _)| name == "page").map_or(0, |(_, page)| page.parse().unwrap());
    let items: Vec<Value> =
        pets.iter().skip(2 * page).take(2).map(|(id, name)| json!({ "id": id, "name": name })).collect();
    let more = 2 * (page + 1) < pets.len();
    let next = more.then(|| format!("{path}?page={}", page + 1));
    let whole: Vec<Value> = pets.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
    match lead {
        "url" => ok(&json!({ "items": items, "next": next.map(|next| format!("{url}{next}")) })),
        "path" => ok(&json!({ "items": items, "next": next })),
        "token" => ok(&json!({ "items": items, "cursor": more.then(|| page + 1) })),
        "link" => {
            let link = next.map_or_else(String::new, |next| format!("link: <{next}>; rel=\"next\"\r\n"));
            let headers: &'static str = Box::leak(format!("content-type: application/json\r\n{link}").into_boxed_str());
            Answer::Whole("200 OK", headers, json!(items).to_string())
        }
        "count" => ok(&json!({ "items": items, "total": pets.len() })),
        "all" => ok(&json!({ "items": whole, "total": pets.len() })),
        "elsewhere" => ok(&json!({ "items": items, "next": "https://evil.example/owners/mum/pets?page=1" })),
        "round" => ok(&json!({ "items": items, "next": path })),
        other => panic!("{other}"),
    }
}

/// How the server leads on, what the plan says of it, the pets there, the name that is asked for, and how that ends.
type Walk<'a> = (&'a str, String, &'a [(usize, &'static str)], &'a str, &'a str);

#[test]
fn a_list_in_pages_is_walked_to_its_end_or_says_nothing() {
    let five = [(1, "Rex"), (2, "Ada"), (3, "Bo"), (4, "Cy"), (5, "Dot")];
    let twice = [(1, "Rex"), (2, "Ada"), (2, "Bo"), (4, "Cy"), (5, "Dot")];
    let next = "[lookup.pets-of.pages]\nnext = \"$.next\"";
    let cases: &[Walk<'_>] = &[
        ("url", next.to_owned(), &five, "Dot", PRESENT),
        ("url", next.to_owned(), &five, "Eve", ABSENT),
        ("path", next.to_owned(), &five, "Dot", PRESENT),
        ("path", next.to_owned(), &five, "Eve", ABSENT),
        ("token", "[lookup.pets-of.pages]\ntoken = \"$.cursor\"\nparam = \"page\"".to_owned(), &five, "Dot", PRESENT),
        ("token", "[lookup.pets-of.pages]\ntoken = \"$.cursor\"\nparam = \"page\"".to_owned(), &five, "Eve", ABSENT),
        ("link", "[lookup.pets-of.pages]\nlink = true".to_owned(), &five, "Dot", PRESENT),
        ("link", "[lookup.pets-of.pages]\nlink = true".to_owned(), &five, "Eve", ABSENT),
        ("all", "[lookup.pets-of.complete]\ncount = \"$.total\"".to_owned(), &five, "Eve", ABSENT),
        ("all", "whole = true".to_owned(), &five, "Dot", PRESENT),
        // Page one is not the whole.
        ("count", "[lookup.pets-of.complete]\ncount = \"$.total\"".to_owned(), &five, "Eve", INCONCLUSIVE),
        ("count", "[lookup.pets-of.complete]\ncount = \"$.total\"".to_owned(), &five, "Rex", INCONCLUSIVE),
        ("path", "[lookup.pets-of.complete]\nnull = [\"$.next\"]".to_owned(), &five, "Eve", INCONCLUSIVE),
        ("path", format!("{next}\nmost = 2"), &five, "Eve", INCONCLUSIVE),
        ("path", next.to_owned(), &twice, "Eve", INCONCLUSIVE),
        ("elsewhere", next.to_owned(), &five, "Eve", INCONCLUSIVE),
        ("round", next.to_owned(), &five, "Eve", INCONCLUSIVE),
        ("all", "[lookup.pets-of.complete]\ncount = \"$.sum\"".to_owned(), &five, "Eve", INCONCLUSIVE),
    ];
    for (lead, record, list, name, expected) in cases {
        let (lead, list, url) = ((*lead).to_owned(), list.to_vec(), std::sync::Arc::new(std::sync::OnceLock::new()));
        let own = std::sync::Arc::clone(&url);
        let server = Hostile::start(move |asked, _| {
            let url = own.get().map_or(String::new(), |url: &String| url.clone());
            pets(asked, &url, &list, &lead)
        });
        url.set(server.url.clone()).unwrap();
        let controls = "[[control]]\nlookup = \"pets-of\"\nowner = \"known-owner\"\nmember = \"5\"\n";
        // Where page one is all that is seen, a known member of page one is known.
        let controls = if *expected == INCONCLUSIVE { controls.replace('5', "1") } else { controls.to_owned() };
        let plan = PETS.replace("RECORD", record);
        let bare = plan.replace("list = \"$.items\"", "list = \"$\"");
        let dir = dir(&server, if record.contains("link") { &bare } else { &plan }, "", &controls);
        let entry = Entry::new("r1", "POST", &format!("{}/owners/mum/pets", server.url));
        let entry = entry.body(&json!({ "name": name }).to_string());
        assert_eq!(ends_as(&dir, &entry), *expected, "{record} {name}");
    }
}

/// An owner that is absent is no empty list, unless the plan says that the absent answer is an empty list.
#[test]
fn a_list_whose_owner_is_not_there_is_no_empty_one() {
    let gone = "duplicate-risk unknown removed-since review";
    let five = [(1, "Rex"), (2, "Ada"), (3, "Bo"), (4, "Cy"), (5, "Dot")];
    for (record, expected) in [("whole = true", gone), ("whole = true\nabsent_is_empty = true", ABSENT)] {
        let server = Hostile::start(move |asked, _| pets(asked, "", &five, "all"));
        let controls = "[[control]]\nlookup = \"pets-of\"\nowner = \"known-owner\"\nmember = \"5\"\n";
        let dir = dir(&server, &PETS.replace("RECORD", record), "", controls);
        let entry = Entry::new("r1", "POST", &format!("{}/owners/somebody/pets", server.url));
        assert_eq!(ends_as(&dir, &entry.body(r#"{"name":"Rex"}"#)), expected, "{record}");
    }
}

/// The plan names the lookup of the owner, so that a delete of the owner in the ledger is known to take the list with it.
#[test]
fn a_recorded_delete_of_the_owner_takes_its_list_with_it() {
    let owners = "\n[lookup.owner]\nby = \"owner\"\nrandom = \"nobody-{random}\"\n[[lookup.owner.step]]\nget = \"/owners/{key}\"\n\
                  present = { status = 200 }\nabsent = { status = 404 }\n[[operation]]\nname = \"delete-owner\"\nmethod = \"DELETE\"\n\
                  paths = [\"/owners/{owner}\"]\n[[operation.effect]]\nname = \"owner\"\nkind = \"delete\"\nonly_known = true\n\
                  keys = [{ lookup = \"owner\", value = [\"{owner}\"] }]\n";
    let five = [(1, "Rex"), (2, "Ada"), (3, "Bo"), (4, "Cy"), (5, "Dot")];
    for (owner, expected) in [("owner = \"owner\"\n", "duplicate-risk unknown removed-since review"), ("", ABSENT)] {
        let plan = PETS.replace("RECORD", "whole = true\nabsent_is_empty = true") + owners;
        let plan = plan.replace(
            "by = \"owner\"\nrandom = \"nobody-{random}\"\n\n",
            &format!("by = \"owner\"\n{owner}random = \"nobody-{{random}}\"\n\n"),
        );
        let server = Hostile::start(move |asked, _| match asked.path.as_str() {
            "/owners/known" => ok(&json!({})),
            path if path.ends_with("/pets") => pets(asked, "", &five, "all"),
            _ => nobody(),
        });
        let controls = "[[control]]\nlookup = \"pets-of\"\nowner = \"known-owner\"\nmember = \"5\"\n\
                        [[control]]\nlookup = \"owner\"\nkey = \"known\"\n";
        let dir = dir(&server, &plan, "", controls);
        dir.insert(&Entry::new("d1", "DELETE", &format!("{}/owners/somebody", server.url)).http(502));
        let entry = Entry::new("r1", "POST", &format!("{}/owners/somebody/pets", server.url));
        assert_eq!(ends_as(&dir, &entry.body(r#"{"name":"Rex"}"#)), expected, "{owner}");
    }
}

/// Of a delete by the server's id nothing tells whose record it was, however the creates are looked up: none that was sent
/// before it is sent again, unless the plan says that only what is known is deleted so.
#[test]
fn a_delete_by_an_id_holds_back_what_was_made_by_another_key() {
    let by_id = "\n[lookup.by-id]\nby = \"id\"\nrandom = \"nobody-{random}\"\n[[lookup.by-id.step]]\nget = \"/ids/{key}\"\n\
                 present = { status = 200 }\nabsent = { status = 404 }\n[[operation]]\nname = \"delete-user\"\nmethod = \"DELETE\"\n\
                 paths = [\"/ids/{id}\"]\n[[operation.effect]]\nname = \"user\"\nkind = \"delete\"\n\
                 keys = [{ lookup = \"by-id\", value = [\"{id}\"] }]\n";
    for (known, expected) in [("", "duplicate-risk unknown removed-since review"), ("only_known = true\n", ABSENT)] {
        let plan = format!("{PLAN}{by_id}").replace("kind = \"delete\"\n", &format!("kind = \"delete\"\n{known}"));
        let server = Hostile::start(|asked, _| match asked.path.as_str() {
            "/ids/known" => ok(&json!({})),
            _ => users(asked, &[KNOWN]),
        });
        let controls = format!("{}[[control]]\nlookup = \"by-id\"\nkey = \"known\"\n", control());
        let dir = dir(&server, &plan, "", &controls);
        dir.insert(&Entry::new("d1", "DELETE", &format!("{}/ids/7", server.url)).sent(Moment::now()));
        assert_eq!(ends_as(&dir, &create(&server, "ann")), expected, "{known}");
    }
}

#[test]
fn an_absence_has_the_shapes_that_the_plan_documents() {
    let search = r#"get = "/users"
query = { name = "{key}" }
present = { status = 200, id = "$[0].id", where = [{ path = "$[0].name", equals = "{key}" }] }
absent = [{ status = 200, where = [{ path = "$", equals = [] }] }, { status = 410, where = [{ path = "$.gone", equals = true }] }]"#;
    let step = PLAN[PLAN.find("get = ").unwrap()..PLAN.find("[[operation]]").unwrap()].to_owned();
    let plan = PLAN.replace(&step, &format!("{search}\n\n")).replace("record = { key = \"$.name\" }\n", "");
    let server = || {
        Hostile::start(|asked, _| {
            let name = read(asked).1[0].1.clone();
            match name.as_str() {
                KNOWN | "ann" => ok(&json!([{ "id": 7, "name": name }])),
                "ended" => Answer::json("410 Gone", r#"{"gone":true}"#),
                "odd" => Answer::json("410 Gone", r#"{"gone":false}"#),
                // A search that finds what is like it.
                "bob" => ok(&json!([{ "id": 8, "name": "bobby" }])),
                "envelope" => ok(&json!({ "status": "error" })),
                _ => ok(&json!([])),
            }
        })
    };
    for (name, expected) in [
        ("ann", PRESENT),
        ("nobody", ABSENT),
        ("ended", ABSENT),
        ("odd", INCONCLUSIVE),
        ("bob", INCONCLUSIVE),
        ("envelope", INCONCLUSIVE),
    ] {
        let server = server();
        let dir = dir(&server, &plan, "", &control());
        assert_eq!(ends_as(&dir, &create(&server, name)), expected, "{name}");
    }
}

/// A filter as SCIM has it: `name eq "…"`, and whatever follows a quote that is not escaped.
fn filtered(filter: &str) -> Option<String> {
    let text = filter.strip_prefix("name eq ")?;
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = values.next()?.ok()?;
    let rest = &text[values.byte_offset()..];
    Some(if rest.contains("or name eq \"known-user\"") { KNOWN.to_owned() } else { name })
}

#[test]
fn a_key_stays_in_its_place_whatever_it_holds() {
    let hostile = [
        "x\" or name eq \"known-user",
        "back\\slash",
        "per%20cent+plus",
        "slash/../known-user",
        "q?x=1#y",
        "tab\there",
        "名前",
        "{key}",
        "name eq \"known-user\"",
    ];
    let scim =
        PLAN.replace("get = \"/users/{key}\"", "get = \"/users\"\nquery = { filter = 'name eq \"{key|json}\"' }");
    let post = PLAN.replace(
        "get = \"/users/{key}\"",
        "post = \"/search\"\nchanges_nothing = true\njson = { where = { name = \"{key}\", limit = 1, all = [\"{key|raw}\", true] } }",
    );
    for name in hostile {
        for plan in [PLAN, &scim, &post] {
            let server = Hostile::start(move |asked, _| {
                let (path, query) = read(asked);
                let found = match (path.as_str(), query.first()) {
                    ("/users", Some((_, filter))) => filtered(filter),
                    ("/search", _) => {
                        serde_json::from_str::<Value>(&format!("{}}}", asked.body)).ok().and_then(|body| {
                            let same = body["where"]["all"][0] == body["where"]["name"] && body["where"]["limit"] == 1;
                            body["where"]["name"].as_str().filter(|_| same).map(str::to_owned)
                        })
                    }
                    _ => path.strip_prefix("/users/").map(str::to_owned),
                };
                match found.filter(|found| found == KNOWN) {
                    Some(found) => ok(&json!({ "id": "1", "name": found })),
                    None => nobody(),
                }
            });
            let dir = dir(&server, plan, "", &control());
            assert_eq!(ends_as(&dir, &create(&server, name)), ABSENT, "{name} {plan}");
        }
    }
}

#[test]
fn a_put_makes_or_replaces() {
    let plan = PLAN.replace("method = \"POST\"\npaths = [\"/users\"]", "method = \"PUT\"\npaths = [\"/users/{name}\"]");
    let effect = "kind = \"upsert\"\nkeys = [{ lookup = \"user\", value = [\"{name}\"] }]\nsets = [\n  \
                  { field = \"city\", record = \"$.city\", value = [\"$.city\"] },\n  { field = \"age\", record = \"$.age\", value = [\"$.age\"] },\n]";
    let plan = plan.replace("kind = \"create\"\nkeys = [{ lookup = \"user\", value = [\"$.name\"] }]", effect);
    for (there, body, expected) in [
        (json!({ "city": "Rome", "age": 7 }), r#"{"city":"Rome","age":7}"#, "resolved satisfied equivalent none"),
        // What was not sent is not compared.
        (json!({ "city": "Rome", "age": 7 }), r#"{"city":"Rome"}"#, "resolved satisfied equivalent none"),
        (json!({ "city": "Oslo", "age": 7 }), r#"{"city":"Rome"}"#, "duplicate-risk unknown overwritten review"),
        (Value::Null, r#"{"city":"Rome"}"#, ABSENT),
        (Value::Null, r#"{"shoe":38}"#, "duplicate-risk unknown bad-row review"),
    ] {
        let server = Hostile::start(move |asked, _| match read(asked).0.as_str() {
            "/users/ann" if !there.is_null() => {
                let mut record = there.clone();
                (record["id"], record["name"]) = (json!("1"), json!("ann"));
                ok(&record)
            }
            _ => users(asked, &[KNOWN]),
        });
        let dir = dir(&server, &plan, "", &control());
        let entry = Entry::new("r1", "PUT", &format!("{}/users/ann", server.url)).body(body);
        assert_eq!(ends_as(&dir, &entry), expected, "{body}");
    }
}

#[test]
fn operations_of_one_path_are_told_apart_by_their_bodies() {
    let other = "\n[[operation]]\nname = \"ping\"\nmethod = \"POST\"\npaths = [\"/users\"]\nchanges_nothing = true\nwhere = [{ path = \"$.type\", equals = \"ping\" }]\n";
    let at = PLAN.find("[[operation]]").unwrap();
    let plan = format!("{}{}\n{}", &PLAN[..at], other, &PLAN[at..]);
    let server = Hostile::start(|asked, _| users(asked, &[KNOWN]));
    let dir = dir(&server, &plan, "", &control());
    assert_eq!(ends_as(&dir, &create(&server, "ann")), ABSENT);
    dir.insert(&Entry::new("r2", "POST", &format!("{}/users", server.url)).body(r#"{"type":"ping"}"#));
    dir.run(&["run"]);
    assert_eq!(dir.says("r2"), "resolved not-applied no-effect none");
}

/// The examples for other people's servers, which `tests/peers` plays against them.
#[test]
fn every_example_plan_is_taken() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plans");
    let plans = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let plans: Vec<_> = plans.filter(|file| file.extension().is_some_and(|end| end == "toml")).collect();
    assert!(plans.len() >= 4, "{plans:?}");
    for file in plans {
        let text = std::fs::read_to_string(&file).unwrap();
        let place = file.display().to_string();
        let wants = |param: &&str| text.contains(&format!("params = [\"{param}\"]"));
        let params =
            ["server"].iter().filter(|param| wants(param)).map(|param| ((*param).to_owned(), "a.example".to_owned()));
        let loaded = privo_reconcile::plan::Plan::load(&place, &text, &params.collect());
        assert!(loaded.is_ok(), "{:#}", loaded.err().unwrap());
    }
}

/// The examples of the docs are plans.
#[test]
fn what_the_docs_show_is_taken() {
    let page = include_str!("../docs/PLANS.md");
    let parts: Vec<&str> = page.split("```toml\n").skip(1).map(|part| part.split("```").next().unwrap()).collect();
    let example = parts.iter().position(|part| part.starts_with("name = \"users\"")).unwrap();
    // The step-by-step plan comes in two parts.
    let plan = format!("{}\n{}", parts[example], parts[example + 1]);
    for text in [parts.iter().find(|part| part.starts_with("name = \"acme\"")).unwrap().to_string(), plan] {
        let loaded = privo_reconcile::plan::Plan::load("the page", &text, &std::collections::BTreeMap::new());
        assert!(loaded.is_ok(), "{:#}", loaded.err().unwrap());
    }
}

/// Each mistake by what is put where, and what is said of it.
#[test]
fn a_wrong_plan_is_refused_with_its_place_and_a_remedy() {
    let server = Hostile::start(|asked, _| users(asked, &[KNOWN]));
    let dir = dir(&server, PLAN, "", "");
    for (from, to, said) in [
        ("get = \"/users/{key}\"", "get = \"/users?name={key}\"", "query = { name"),
        ("get = \"/users/{key}\"", "get = \"/users('{key}')\"", "could close them"),
        ("get = \"/users/{key}\"", "get = \"/users(name='x{key}')\"", "could close them"),
        (
            "absent = { status = 404 }",
            "absent = { status = 404, where = [{ path = \"$.e\", equals = \"no {key}\" }] }",
            "the whole value",
        ),
        (
            "method = \"POST\"",
            "method = \"POST\"\nwhere = [{ path = \"$.name\", equals = \"{key}\" }]",
            "knows no {key}",
        ),
        ("value = [\"$.name\"]", "value = []", "`value` is empty"),
        ("get = \"/users/{key}\"", "get = \"/users\"\nquery = { q = 'name eq \"{key}\"' }", "{key|json}"),
        ("get = \"/users/{key}\"", "get = \"/users\"\nquery = { q = \"name={key}\" }", "could say something else"),
        ("get = \"/users/{key}\"", "get = \"/users/{key|xml}\"", "json, sql, path or raw"),
        ("get = \"/users/{key}\"", "get = \"/users/{key}\"\njson = { a = \"{key}\" }", "belongs to a `post`"),
        ("get = \"/users/{key}\"", "get = \"/users/{key}\"\nheaders = { Host = \"x\" }", "cannot be given"),
        ("get = \"/users/{key}\"", "get = \"/users/{key}\"\nheaders = { Authorization = \"x\" }", "[auth]"),
        ("get = \"/users/{key}\"", "use = \"nothing\"", "unknown step `nothing`"),
        ("record = { key = \"$.name\" }", "record = { use = \"nothing\" }", "unknown record `nothing`"),
        ("record = { key = \"$.name\" }", "record = { list = \"$.items\", id = \"$.id\" }", "whole = true"),
        (
            "record = { key = \"$.name\" }",
            "record = { list = \"$.items\", id = \"$.id\" }\npages = {}",
            "`pages` needs one of",
        ),
        (
            "record = { key = \"$.name\" }",
            "record = { list = \"$.items\", id = \"$.id\" }\ncomplete = {}",
            "`null` or `count`",
        ),
        ("record = { key = \"$.name\" }", "record = { whole = true }", "belong to a list"),
        ("random = \"nobody-{random}\"", "random = \"nobody\"", "always the same key"),
        ("method = \"POST\"", "method = \"post\"", "in capitals"),
        ("paths = [\"/users\"]", "paths = [\"/users?x=1\"]", "query"),
        ("value = [\"$.name\"]", "value = [\"name\"]", "`$.name`"),
        ("kind = \"create\"", "kind = \"create\"\neach = \"$.users\"", "$.users[*]"),
        ("kind = \"create\"", "kind = \"upsert\"", "they need it"),
        ("present = { status = 200, id = \"$.id\" }\n", "", "`present` is missing"),
        ("absent = { status = 404 }", "absent = []", "`absent` is missing"),
        (
            "name = \"create-user\"",
            "name = \"a\"\nmethod = \"POST\"\npaths = [\"/users\"]\nchanges_nothing = true\n\n[[operation]]\nname = \"create-user\"",
            "comes first",
        ),
    ] {
        assert!(PLAN.contains(from), "{from}");
        std::fs::write(dir.file("plan.toml"), PLAN.replacen(from, to, 1)).unwrap();
        let ran = dir.run(&["status"]);
        assert!(ran.code == 2 && ran.err.contains("line ") && ran.err.contains(said), "{to}: {ran:?}");
    }
}

#[test]
fn a_plan_is_tried_before_it_is_run() {
    let server = Hostile::start(|asked, _| users(asked, &[KNOWN, "ann"]));
    let dir = dir(&server, PLAN, "", &control());
    let url = format!("{}/users", server.url);
    let tried = |more: &[&str]| {
        let asked = [&["plan", "try", "--url", &url, "--body", r#"{"name":"ann"}"#], more].concat();
        util::wait(dir.command(&asked).spawn().unwrap())
    };
    let shown = tried(&[]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in ["operation  create-user (/users)", "looked up by user with ann", "asks GET /users/ann"] {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
    assert_eq!(server.counts(), (0, 0), "nothing was sent");
    let sent = tried(&["--send"]);
    assert!(sent.out.contains("present, with the id id-ann") && sent.out.contains("known held"), "{sent:?}");
    // Without a configuration: a plan by itself.
    let alone = tried(&["plan.toml"]);
    assert!(alone.out.contains("create-user"), "{alone:?}");
    let other = tried(&["--method", "DELETE"]);
    assert!(other.out.contains("no operation of the plan matches"), "{other:?}");
}

/// `check` says what of the plan's assumptions the answers bear out.
#[test]
fn what_a_plan_assumes_is_held_against_the_answers() {
    let assumed = "\n[[assumption]]\nsays = \"a user shows its name\"\nlookup = \"user\"\nshows = \"$.name\"\nask = \"Does it?\"\n\
                   \n[[assumption]]\nsays = \"a user shows its age\"\nlookup = \"user\"\nshows = [\"$.age\"]\nask = \"Which field?\"\n\
                   \n[[assumption]]\nsays = \"nobody is a 404\"\nlookup = \"user\"\nask = \"What answers?\"\n\
                   \n[[assumption]]\nsays = \"names are unique\"\nask = \"Are they?\"\n";
    let server = Hostile::start(|asked, _| users(asked, &[KNOWN]));
    let dir = dir(&server, &format!("{PLAN}{assumed}"), "", &control());
    let check = dir.run(&["check"]);
    assert!(check.code == 0 && check.out.contains("bear 2 of 4 out"), "{check:?}");
    let check = dir.run(&["check", "--assumptions"]);
    for line in [
        "ok    assumed, and so it is: a user shows its name",
        "note  assumed, but the known record does not show it: a user shows its age (ask: Which field?)",
        "ok    assumed, and so it is: nobody is a 404",
        "note  assumed, and no read can show it: names are unique (ask: Are they?)",
    ] {
        assert!(check.out.contains(line), "{line}: {check:?}");
    }
}
