//! Controls against servers that search in their own ways. A server is a function from a request's path to an answer.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::http::{Broken, Exchange, Outgoing, Transport};
use crate::plan::search::Answer;
use crate::words::Control;

/// A server that answers `/find?key=…` by this, and what it was asked for.
struct Server<F> {
    answer: F,
    asked: RefCell<Vec<String>>,
}

impl<F: Fn(&str) -> (u16, String)> Transport for Server<F> {
    async fn send(&self, outgoing: &Outgoing<'_>) -> Result<Exchange, Broken> {
        let key = outgoing.path_and_query.rsplit('=').next().unwrap_or_default();
        let key = crate::plan::template::percent_decode(key).unwrap();
        self.asked.borrow_mut().push(key.clone());
        let (status, body) = (self.answer)(&key);
        let content_type = Some(if body.starts_with('<') { "text/html" } else { "application/json" }.to_owned());
        Ok(Exchange {
            answer: Answer { status, content_type, body: body.into_bytes(), ..Answer::default() },
            retry_after: None,
        })
    }
}

const PLAN: &str = r#"
name = "own"
[lookup.user]
by = "name"
normalise = ["trim", "casefold"]
[[lookup.user.step]]
get = "/find"
query = { key = "{key}" }
present = { status = 200, id = "$.id" }
absent = { status = 404 }
"#;

/// How the controls of a lookup go, and which keys but the random one were asked for.
async fn controlled(plan: &str, control: &str, answer: impl Fn(&str) -> (u16, String)) -> (Controls, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plan.toml"), plan).unwrap();
    let text = format!(
        "plan = \"plan.toml\"\n[ledger]\npath = \"l\"\n[server]\nbase_url = \"http://127.0.0.1:1\"\n\
         requests_per_second = 1000\n[[control]]\nlookup = \"user\"\n{control}\n"
    );
    let config = Config::parse(&folder.path().join("c.toml"), &text).unwrap();
    let server = Server { answer, asked: RefCell::default() };
    let lookups = Lookups::over(&config, server, None, || Moment(1_800_000_000_000)).unwrap();
    let controls = lookups.controls("user").await.unwrap();
    assert_eq!(lookups.controls("user").await.unwrap(), controls, "asked once in a minute");
    let asked = lookups.server.http.asked.take();
    (controls, asked.into_iter().filter(|key| !key.starts_with("privo-reconcile-")).collect())
}

fn there(id: u32) -> (u16, String) {
    (200, format!("{{\"id\":\"{id}\",\"name\":\"somebody\"}}"))
}

fn nobody() -> (u16, String) {
    (404, "{}".to_owned())
}

const SUSAN: &str = "key = \"susan-marie\"";

#[tokio::test(start_paused = true)]
async fn a_search_by_parts_is_found_out() {
    type Finds = fn(&str) -> bool;
    let finds: [(&str, Finds); 4] = [
        ("by prefix", |key| "susan-marie".starts_with(key)),
        ("by suffix", |key| "susan-marie".ends_with(key)),
        ("by parts", |key| "susan-marie".contains(key)),
        ("by any word of it", |key| key.len() > 4 && "susan-marie".contains(&key[1..])),
    ];
    for (how, finds) in finds {
        let (controls, _) = controlled(PLAN, SUSAN, |key| if finds(key) { there(1) } else { nobody() }).await;
        assert_eq!((controls.known, controls.near), (Control::Held, Control::Contradicted), "{how}");
        assert!(!controls.usable() && controls.contradiction().unwrap().contains("record.key"), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_of_whole_keys_is_believed_whatever_it_says_of_others() {
    for (how, other) in [
        ("not found", nobody()),
        ("no valid key", (400, "{\"error\":\"no such form\"}".to_owned())),
        ("no valid key, in a page", (422, "<html>".to_owned())),
    ] {
        let exact = |key: &str| match key {
            "susan-marie" => there(1),
            key if key.starts_with("privo-") => nobody(),
            _ => other.clone(),
        };
        let (controls, asked) = controlled(PLAN, SUSAN, exact).await;
        assert_eq!((controls.near, controls.usable()), (Control::Held, true), "{how}");
        // What is refused may be a page in the way, and is asked again.
        let times = if how == "not found" { 1 } else { 2 };
        let near = ["usan-marie", "susan-mari"].map(|key| vec![key; times]).concat();
        assert_eq!(asked, [vec!["susan-marie"], near].concat(), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_page_in_the_way_hides_no_search_by_parts() {
    for status in [400, 403, 404, 408, 410, 451] {
        let asked = RefCell::new(BTreeSet::new());
        let by_parts = |key: &str| match key {
            key if key.starts_with("privo-") => nobody(),
            key if key != "susan-marie" && asked.borrow_mut().insert(key.to_owned()) => (status, "<html>".to_owned()),
            _ => there(1),
        };
        let (controls, _) = controlled(PLAN, SUSAN, by_parts).await;
        assert_eq!((controls.near, controls.usable()), (Control::Contradicted, false), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn which_keys_are_asked_is_configured() {
    for (control, expected) in [
        ("key = \"susanna\"", vec![]),
        ("key = \" susan-marie \"", vec!["usan-marie", "susan-mari"]),
        ("key = \"susan-marie\"\nnear = false", vec![]),
        ("key = \"susan-marie\"\nnear = true", vec!["usan-marie", "susan-mari"]),
        ("key = \"susanna\"\nnear = [\"susan\", \"anna\"]", vec!["susan", "anna"]),
        ("key = \"äääääääß\"", vec!["ääääääß", "äääääää"]),
    ] {
        let exact = |key: &str| {
            if key.trim().starts_with('s') && key.len() > 6 || key.contains('ß') { there(1) } else { nobody() }
        };
        let (_, asked) = controlled(PLAN, control, exact).await;
        assert_eq!(asked[1..], expected, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_found_under_a_near_key_contradicts_of_a_number_too() {
    // A search by parts that shows another account first looks the same as accounts that are numbered one after the other:
    // whoever has those says `near = false`.
    let numbers = |key: &str| match key {
        "10000123" => there(1),
        "1000012" | "0000123" => there(2),
        _ => nobody(),
    };
    let (controls, _) = controlled(PLAN, "key = \"10000123\"", numbers).await;
    assert_eq!(controls.near, Control::Contradicted);
    let (controls, _) = controlled(PLAN, "key = \"10000123\"\nnear = false", numbers).await;
    assert_eq!(controls.near, Control::Missing);
    let other = |key: &str| {
        if key == "susan-marie" {
            there(1)
        } else if key.starts_with("privo") {
            nobody()
        } else {
            there(2)
        }
    };
    assert_eq!(controlled(PLAN, SUSAN, other).await.0.near, Control::Contradicted);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_none_and_is_asked_for_again() {
    let times = RefCell::new(0);
    let flaps = |key: &str| match key {
        "usan-marie" if times.replace_with(|times| *times + 1) < 3 => (503, "{}".to_owned()),
        "susan-marie" => there(1),
        _ => nobody(),
    };
    assert_eq!(controlled(PLAN, SUSAN, flaps).await.0.near, Control::Held);
    for (status, body) in [(503, "{}"), (200, "<html>"), (200, "{\"results\":[]}"), (302, "{}")] {
        let broken = |key: &str| match key {
            "susan-mari" => (status, body.to_owned()),
            "susan-marie" => there(1),
            _ => nobody(),
        };
        let (controls, _) = controlled(PLAN, SUSAN, broken).await;
        assert_eq!((controls.near, controls.usable()), (Control::Unanswered, false), "{status} {body}");
        assert!(controls.cause.unwrap().starts_with("near key: status"), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_step_that_finds_nothing_does_not_say_that_the_first_found_nothing() {
    let plan = format!(
        "{PLAN}[[lookup.user.step]]\nget = \"/user\"\nquery = {{ id = \"{{id}}\" }}\npresent = {{ status = 200, id = \"$.id\" }}\n"
    );
    // Ids are asked for in the second step.
    let deleted = |key: &str| match key {
        "susan-marie" | "1" => there(1),
        "usan-marie" => there(2),
        _ => nobody(),
    };
    let (controls, _) = controlled(&plan, SUSAN, deleted).await;
    assert_eq!((controls.near, controls.usable()), (Control::Unanswered, false));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_shows_its_key_needs_no_key_near_it() {
    let plan = format!("{PLAN}[lookup.user.record]\nkey = \"$.names[*]\"\n");
    let shows = |names: &'static str| {
        move |key: &str| match key {
            key if key.starts_with("privo") => nobody(),
            _ => (200, format!("{{\"id\":\"1\",\"names\":{names}}}")),
        }
    };
    let (controls, asked) = controlled(&plan, SUSAN, shows("[\"su\",\" Susan-Marie\"]")).await;
    assert_eq!((controls.known, controls.near, asked.len()), (Control::Held, Control::Missing, 1));
    // Another record was answered, each time that it was asked for.
    let (controls, asked) = controlled(&plan, SUSAN, shows("[\"susan-marie-2\"]")).await;
    assert_eq!((controls.known, controls.usable(), asked.len()), (Control::Unanswered, false, 3));
    assert!(controls.cause.unwrap().contains("shows another key"));
    // None is shown: what is near the key is asked for.
    for none in ["[]", "[null]", "[{\"x\":1}]", "null"] {
        assert_eq!(controlled(&plan, SUSAN, shows(none)).await.0.near, Control::Contradicted, "{none}");
    }
}
