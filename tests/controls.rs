//! Proves that one page in the way of a control costs a run nothing: it is asked again like any other look.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Answer, Dir, Entry, Hostile, Setup};

/// A server that holds one account, the known one, and answers its `nth` and the following requests but the token's
/// `count` times with a page.
fn server(nth: usize, count: usize) -> Hostile {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    Hostile::start(move |asked, _| {
        if asked.for_token() {
            return Answer::json("200 OK", r#"{"access_token":"t","token_type":"Bearer","expires_in":599}"#);
        }
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if (nth..nth + count).contains(&look) {
            return Answer::html("200 OK");
        }
        match asked.path.contains("canary") || asked.path.contains("s1") {
            true => Answer::json("200 OK", r#"{"sid":"s1","sub":"s1","email":"canary@control.example"}"#),
            false => Answer::json("404 Not Found", r#"{"error":"not_found"}"#),
        }
    })
}

#[test]
fn one_page_on_a_control_defers_nothing() {
    // Which request is a control's the order of the looks says; each of the first is hit once, then two in a row.
    for (nth, count) in [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2), (1, 2)] {
        let server = server(nth, count);
        let controls = "[[control]]\nlookup = \"account-by-email\"\nkey = \"canary@control.example\"\n".to_owned();
        let dir = Dir::new(&Setup { controls, ..Setup::bare(&server.url) });
        dir.insert(&Entry::register("r1", &server.url, "ann@example.com"));
        dir.run(&["run"]);
        let row = dir.row("r1");
        assert_ne!(row["reason"], "uncontrolled", "{nth}: {row:?}");
        assert_eq!(row["checks"], "1", "{nth}, {count}: {row:?}");
    }
}
