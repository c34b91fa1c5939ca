//! Proves docs/OTHER-APIS.md: a plan, a configuration and an outage are taken from the page as they stand there, every command
//! of it is run against a server, and what comes of it is what the page says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::process::Command;

use crate::util::{Answer, Asked, Hostile, rows};

const PAGE: &str = include_str!("../docs/OTHER-APIS.md");

/// Where the page's server would be.
const SERVER: &str = "https://users.example";

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The accounts that exist after the outage: user name, id, display name, when made.
const USERS: [(&str, &str, &str, &str); 4] = [
    ("control-user", "1", "Control", "2024-01-01T00:00:00Z"),
    ("ann", "7", "Ann Weber", "2025-11-03T02:10:05Z"),
    ("cleo", "3", "Cleo Martin", "2025-06-01T00:00:00Z"),
    ("dana", "9", "Dan Nowak", "2025-11-03T03:00:00Z"),
];

/// A directory that speaks as much of SCIM as the page needs.
fn directory(asked: &Asked) -> Answer {
    let user = USERS.iter().find(|(name, ..)| asked.path.ends_with(&format!("%22{name}%22")));
    let known = asked.authorization == "Bearer a-token-that-may-read";
    match user {
        _ if !known => Answer::json("401 Unauthorized", "{}"),
        Some((name, id, shown, made)) => Answer::json(
            "200 OK",
            &serde_json::json!({ "totalResults": 1, "Resources": [
                { "id": id, "userName": name, "displayName": shown, "meta": { "created": made } }
            ]})
            .to_string(),
        ),
        None if asked.path.starts_with("/v2/Users?filter=") => Answer::json("200 OK", "{\"totalResults\":0}"),
        None => Answer::json("404 Not Found", "{}"),
    }
}

#[test]
fn the_page_about_other_apis_is_true_to_its_last_command() {
    let server = Hostile::start(|asked, _| directory(asked));
    let folder = tempfile::tempdir().unwrap();
    let [plan, config] = blocks("toml").try_into().unwrap();
    let [outage] = blocks("csv").try_into().unwrap();
    // Nobody waits ten minutes for a test.
    let config = config.replace(SERVER, &server.url).replace("confirm_after = \"10m\"", "confirm_after = \"0s\"");
    assert!(config.contains("\"0s\""), "{config}");
    for (name, text) in [("users.toml", plan), ("privo-reconcile.toml", &config), ("outage.csv", outage)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let [commands] = blocks("sh").try_into().unwrap();
    let binary = format!("'{}'", env!("CARGO_BIN_EXE_privo-reconcile"));
    let mut said = Vec::new();
    for line in commands.lines().filter(|line| line.starts_with("privo-reconcile ")) {
        let line =
            line.split("   #").next().unwrap().replace(SERVER, &server.url).replacen("privo-reconcile", &binary, 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(folder.path()).env("USERS_TOKEN", "a-token-that-may-read");
        let ran = shell.output().unwrap();
        let code = if line.contains(" run ") { 3 } else { 0 };
        assert_eq!(ran.status.code(), Some(code), "{line}: {ran:?}");
        let quiet = ran.stderr.is_empty() || line.contains(" run ");
        assert!(quiet, "nothing to complain of: {line}: {ran:?}");
        said.push((line, String::from_utf8(ran.stdout).unwrap()));
    }
    assert_eq!(said.len(), commands.lines().count() - 1, "all but the variable");
    let said_by = |words: &str| &said.iter().find(|(line, _)| line.contains(words)).unwrap().1;
    assert!(said_by("plan try").contains("absent, as the plan documents it"), "{said:?}");
    assert!(std::fs::read_to_string(folder.path().join("night.html")).unwrap().starts_with("<!DOCTYPE html>"));

    let [report] = blocks("text").try_into().unwrap();
    let written = rows(&std::fs::read_to_string(folder.path().join("report.csv")).unwrap());
    let shown: Vec<Vec<&str>> = report.lines().map(|line| line.split_whitespace().collect()).collect();
    let (head, lines) = shown.split_first().unwrap();
    assert_eq!(lines.len(), written.len());
    for (line, row) in lines.iter().zip(&written) {
        let cells: Vec<&str> =
            head.iter().map(|column| row[*column].as_str()).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(&cells, line);
    }
    let again: Vec<String> = rows(said_by("--for resend")).iter().map(|row| row["request_id"].clone()).collect();
    assert_eq!(again, ["b1"]);
    assert!(server.asked().iter().all(|asked| asked.method == "GET"), "reads only");
}
