//! Answers that lead elsewhere, come from elsewhere, or refuse: redirects, proxies, another environment, tokens.

use std::sync::OnceLock;

use crate::judge::{CONTROLS, Case, FEW, TOKEN, of_an_entry};
use crate::util::{Answer, Asked, Hostile};

const JSON: &str = "content-type: application/json\r\n";

pub fn cases() -> Vec<Case> {
    [redirects(), proxies(), environments(), expiry(), refused(), token_answers(), storms()].concat()
}

/// Where redirects lead. Nothing may ever arrive there.
pub fn elsewhere() -> &'static Hostile {
    static ELSEWHERE: OnceLock<Hostile> = OnceLock::new();
    ELSEWHERE.get_or_init(|| {
        Hostile::start(|_, _| Answer::json("200 OK", r#"{"sid":"child-1","sub":"child-1","access_token":"x"}"#))
    })
}

fn redirects() -> Vec<Case> {
    let to = |place: String| -> &'static str { Box::leak(format!("{JSON}{place}\r\n").into_boxed_str()) };
    let url = &elsewhere().url;
    let places = [
        to(format!("location: {url}/api/v1.0/account/lookup?email=x")),
        to(format!("location: //{}/x", url.trim_start_matches("http://"))),
        to(format!("refresh: 0; url={url}")),
        to("location: /api/v1.0/account/lookup?email=child0".to_owned()),
        to("location: file:///etc/passwd".to_owned()),
        to("location: \u{1}\u{2}".to_owned()),
        to("x: no location".to_owned()),
    ];
    let statuses = [
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "304 Not Modified",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ];
    let mut cases = Vec::new();
    for status in statuses {
        for place in places {
            let case = Case::new(
                "a redirect to another host",
                format!("{status} {}", place.lines().last().unwrap_or_default()),
                move |asked, _, _| of_an_entry(asked).then(|| Answer::Whole(status, place, "{}".to_owned())),
            );
            cases.push(Case { bound: (1, CONTROLS + case.entries), ..case });
        }
        let place = places[0];
        let case = Case::new("a redirect of the token request", status, move |asked, _, _| {
            asked.for_token().then(|| Answer::Whole(status, place, "{}".to_owned()))
        });
        cases.push(Case { bound: (1, 0), codes: &[2], ..case });
    }
    cases.sort_by_key(|case| case.fault);
    cases
}

fn proxies() -> Vec<Case> {
    let pages = [
        "404 Not Found",
        "200 OK",
        "403 Forbidden",
        "407 Proxy Authentication Required",
        "410 Gone",
        "451 Unavailable For Legal Reasons",
    ];
    let mut cases = Vec::new();
    for status in pages {
        let some =
            Case::new("a proxy that answers with a page", format!("{status}, to entries"), move |asked, _, _| {
                of_an_entry(asked).then(|| Answer::html(status))
            });
        let all = Case::new(
            "a proxy that answers with a page",
            format!("{status}, to all but the token"),
            move |asked, _, _| (!asked.for_token()).then(|| Answer::html(status)),
        );
        let half = Case::new(
            "a proxy that answers with a page",
            format!("{status}, to every other"),
            move |asked, _, random| (!asked.for_token() && random.bool()).then(|| Answer::html(status)),
        );
        cases.extend([some, Case { bound: (1, 16), ..all }, half.at_random()]);
    }
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "511 Network Authentication Required",
    ] {
        let all = Case::trouble("a proxy whose server is gone", status, move |asked, _, _| {
            (!asked.for_token()).then(|| Answer::html(status))
        });
        cases.push(Case { slow: true, ..all });
        let for_token =
            Case::trouble("a proxy whose server is gone", format!("{status}, for a token"), move |asked, _, _| {
                asked.for_token().then(|| Answer::html(status))
            });
        cases.push(Case { bound: (FEW, 0), slow: true, ..for_token });
    }
    // A gateway that lost its routes answers every lookup alike, in JSON; the known key is missing then.
    let routes = Case::new("a gateway without its routes: 404 in JSON for all", "all", |asked, _, _| {
        (!asked.for_token())
            .then(|| Answer::json("404 Not Found", r#"{"message":"no Route matched with those values"}"#))
    });
    cases.push(Case { bound: (1, CONTROLS), ..routes });
    cases
}

/// The configured server answers well, but it is not the one that the entries were sent to.
fn environments() -> Vec<Case> {
    let unknown = Case::new("another environment: nobody is known there", "nobody", |asked, _, _| {
        (!asked.for_token()).then(|| Answer::json("404 Not Found", r#"{"message":"not found"}"#))
    });
    let everybody = Case::new("another environment: everybody is known there", "everybody", |asked, _, _| {
        (!asked.for_token()).then(|| {
            Answer::json("200 OK", r#"{"sid":"child-1","sub":"child-1","given_name":"Ann","birthdate":"19900102"}"#)
        })
    });
    vec![Case { bound: (1, CONTROLS), ..unknown }, Case { bound: (1, CONTROLS + 1), ..everybody }]
}

/// The token is refused at each request of a run, and a new one is good.
fn expiry() -> Vec<Case> {
    let case = |at: usize| {
        let case =
            Case::new("a token that expires at each request", format!("request {at}"), move |asked, before, _| {
                (before == at && !asked.for_token())
                    .then(|| Answer::json("401 Unauthorized", r#"{"error":"invalid_token"}"#))
            });
        Case { bound: (2, case.bound.1 + 1), codes: &[0, 4], ..case }
    };
    let mut cases: Vec<Case> = (1..16).map(case).collect();
    for percent in [10, 50] {
        let case = Case::new(
            "a token that expires at each request",
            format!("{percent} % of them"),
            move |asked, _, random| {
                (!asked.for_token() && random.u8(..100) < percent).then(|| Answer::json("401 Unauthorized", "{}"))
            },
        );
        cases.push(case.at_random());
    }
    cases
}

/// The token is refused, and no other is given.
fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden"] {
        for at in [0, 1, 4, 8] {
            let case = Case::new(
                "a refresh that is refused",
                format!("{status} after request {at}"),
                move |asked, before, _| {
                    (before >= at).then(|| match asked.for_token() {
                        true => Answer::json(status, r#"{"error":"invalid_client","hint":"hunter2-hush"}"#),
                        false => Answer::json("401 Unauthorized", "{}"),
                    })
                },
            );
            cases.push(Case { bound: (2, case.bound.1 + FEW), codes: &[2], ..case });
        }
    }
    cases
}

/// What the token endpoint answers, well meant or not.
fn token_answers() -> Vec<Case> {
    let good = [
        r#""expires_in":599"#,
        r#""expires_in":0"#,
        r#""expires_in":-1"#,
        r#""expires_in":null"#,
        r#""expires_in":9223372036854775807"#,
        r#""token_type":"bearer""#,
    ];
    let bad = [
        r#"{"access_token":null}"#.to_owned(),
        r#"{"access_token":""}"#.to_owned(),
        r#"{"access_token":["token-hush"]}"#.to_owned(),
        format!(r#"{{"access_token":"{TOKEN}","access_token":"{TOKEN}-2"}}"#),
        format!(r#"{{"access_token":"{TOKEN}\r\nx-evil: 1"}}"#),
        format!(r#"{{"access_token":"{TOKEN}\u0000"}}"#),
        format!(r#"{{"access_token":"{TOKEN} é"}}"#),
        format!(r#"{{"accessToken":"{TOKEN}"}}"#),
        format!(r#"{{"access_token":"{TOKEN}""#),
        r#"{"error":"server_error"}"#.to_owned(),
        String::new(),
    ];
    let good = good.into_iter().map(|field| {
        let case = Case::new("what a token endpoint may answer", field, move |asked, _, _| {
            asked.for_token().then(|| Answer::json("200 OK", &format!(r#"{{"access_token":"{TOKEN}",{field}}}"#)))
        });
        Case { bound: (4, case.bound.1), codes: &[0, 4], ..case }
    });
    let bad = bad.into_iter().map(|body| {
        let form: String = body.escape_debug().collect();
        let case = Case::trouble("a token that is none", form, move |asked, _, _| match asked.for_token() {
            true => Some(Answer::json("200 OK", &body)),
            // No server takes what is no token.
            false => Some(Answer::json("401 Unauthorized", "{}")),
        });
        Case { bound: (FEW, FEW), slow: true, ..case }
    });
    good.chain(bad).collect()
}

fn storms() -> Vec<Case> {
    let all = |asked: &Asked| !asked.for_token();
    let storm = |form: &'static str, status: &'static str, hits: fn(&Asked) -> bool| {
        Case::new("401 and 403 storms", format!("{status}, {form}"), move |asked, before, _| match asked.for_token() {
            true => Some(Answer::json("200 OK", &format!(r#"{{"access_token":"{TOKEN}-{before}","expires_in":599}}"#))),
            false => hits(asked).then(|| Answer::json(status, r#"{"error":"insufficient_scope"}"#)),
        })
    };
    let few = |case: Case| Case { entries: 40, bound: (8, 8), ..case };
    let each = |case: Case| Case { bound: (2 * case.entries + 2, 2 * case.entries + CONTROLS), ..case };
    let mut cases = vec![
        few(storm("to all", "401 Unauthorized", all)),
        few(storm("to all", "403 Forbidden", all)),
        each(storm("to entries", "401 Unauthorized", of_an_entry)),
        each(storm("to entries", "403 Forbidden", of_an_entry)),
    ];
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let half = Case::new("401 and 403 storms", format!("{status}, to every other"), move |asked, _, random| {
            (!asked.for_token() && random.bool()).then(|| Answer::json(status, "{}"))
        });
        cases.push(half.at_random());
    }
    cases
}
