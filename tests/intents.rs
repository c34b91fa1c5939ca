//! Proves what a writer may do to an intent: an intent that another row shares its operation with is evidence, and stays.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util;
use crate::util::{Dir, Entry, Platform};
use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::record::{End, Ended};
use privo_reconcile::ledger::recorder::Attempt;
use rusqlite::types::Value;

const EMAIL: &str = "ann@example.com";

/// A row by its request id and its operation id, if it has one.
type Ids<'a> = (&'a str, Option<&'a str>);

fn entry(platform: &Platform, (id, operation): Ids) -> Entry {
    let entry = Entry::register(id, &platform.url, EMAIL);
    match operation {
        Some(operation) => entry.operation(operation),
        // NULL equals leaving it out.
        None => entry.with("operation_id", Value::Null),
    }
}

/// What SQLite says when the intent is deleted; `None` when it is gone.
fn refused(dir: &Dir, id: &str) -> Option<String> {
    let deleted = dir.db().execute("DELETE FROM entries WHERE request_id = ?", [id]);
    match deleted {
        Ok(count) => {
            assert_eq!(count, 1);
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn an_intent_is_kept_while_another_row_has_its_operation() {
    let platform = Platform::start();
    let same: [(Ids, Ids); 4] = [
        (("i", Some("op")), ("other", Some("op"))),
        // The intent's operation is its own id, and the other names it.
        (("i", None), ("other", Some("i"))),
        (("i", Some("i")), ("other", Some("i"))),
        // The other's operation is its own id, and the intent names it.
        (("i", Some("other")), ("other", None)),
    ];
    for (intent, other) in same {
        for failure in ["not_sent", "timeout", "answered", "intent"] {
            for intent_first in [true, false] {
                let dir = Dir::of(&platform);
                let rows = [entry(&platform, intent).failure("intent"), entry(&platform, other).failure(failure)];
                let mut rows = rows.iter().collect::<Vec<_>>();
                if !intent_first {
                    rows.reverse();
                }
                rows.into_iter().for_each(|row| dir.insert(row));
                let what = format!("{intent:?} {other:?} {failure} {intent_first}");
                let said = refused(&dir, "i").unwrap_or_else(|| panic!("{what}: it was deleted"));
                assert!(said.contains("UPDATE the intent to `answered`"), "{what}: {said}");
                assert_eq!(dir.count("SELECT count(*) FROM entries"), 2, "{what}");
            }
        }
    }
}

#[test]
fn an_intent_that_has_its_operation_to_itself_may_be_deleted() {
    let platform = Platform::start();
    let apart: [(Ids, Option<Ids>); 5] = [
        (("i", None), None),
        (("i", Some("op")), None),
        (("i", Some("i")), None),
        (("i", Some("op")), Some(("other", Some("another")))),
        // That the other's request id is this one's operation says nothing, for the other's operation is another.
        (("i", Some("other")), Some(("other", Some("op")))),
    ];
    for (intent, other) in apart {
        let dir = Dir::of(&platform);
        dir.insert(&entry(&platform, intent).failure("intent"));
        if let Some(other) = other {
            dir.insert(&entry(&platform, other));
        }
        assert_eq!(refused(&dir, "i"), None, "{intent:?} {other:?}");
    }
}

/// The history that the rule is for: what was never sent was sent after all, by an intent that was answered.
#[test]
fn an_answered_intent_that_became_evidence_keeps_never_sent_from_being_said() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&entry(&platform, ("a/1", Some("a"))).failure("not_sent"));
    let intent = entry(&platform, ("a/2", Some("a"))).failure("intent").sent(Moment::now());
    dir.insert(&intent);
    let (status, _) = platform.send("a/2", "POST", "/api/v1.0/account", &intent.text("body"), "plain").unwrap();
    assert!(refused(&dir, "a/2").is_some());
    let answered = "UPDATE entries SET failure = 'answered', http_status = ? WHERE request_id = 'a/2'";
    assert_eq!(dir.db().execute(answered, [status]), Ok(1));
    dir.runs(0);
    assert!(dir.says("a/1").starts_with("resolved satisfied present"), "{}", dir.says("a/1"));
}

/// The recorder forgets a success that is nobody's evidence, and keeps one that is.
#[test]
fn the_recorders_own_end_keeps_an_answer_that_is_evidence() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let recorder = dir.recorder();
    let url = format!("{}/api/v1.0/account", platform.url);
    let body = format!(r#"{{"email":"{EMAIL}"}}"#);
    let begin = |id: &'static str, operation: Option<&'static str>| {
        let attempt = Attempt::new("POST", &url).body(&body).id(id);
        let attempt = match operation {
            Some(operation) => attempt.operation(operation),
            None => attempt,
        };
        recorder.begin_blocking(&attempt).unwrap();
    };
    let answered = End::Answered { status: 201, keep: false };
    begin("alone", None);
    assert_eq!(recorder.end_blocking("alone", &answered), Ok(Ended::Forgotten));
    for (id, operation, other, others) in
        [("a/2", Some("a"), "a/1", Some("a")), ("b/1", None, "b/2", Some("b/1")), ("c/2", Some("c/1"), "c/1", None)]
    {
        dir.insert(&entry(&platform, (other, others)).failure("not_sent"));
        begin(id, operation);
        assert_eq!(recorder.end_blocking(id, &answered), Ok(Ended::Kept), "{id}");
        let kept = ("answered".to_owned(), Some(201));
        let rows = dir.recorded();
        let row = rows.iter().find(|row| row.0 == id).unwrap();
        assert_eq!((row.1.clone(), row.2), kept, "{id}");
    }
}

/// The same by the command.
#[test]
fn the_record_command_keeps_an_answer_that_is_evidence() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.insert(&entry(&platform, ("a/1", Some("a"))).failure("not_sent"));
    dir.insert(&entry(&platform, ("a/2", Some("a"))).failure("intent").sent(Moment::now()));
    std::fs::write(dir.file("end.json"), r#"{"answered":201}"#).unwrap();
    let mut command = dir.command(&["record", "end", "a/2"]);
    command.stdin(std::fs::File::open(dir.file("end.json")).unwrap());
    let ran = util::finish(command.spawn().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let kept = ("a/2".to_owned(), "answered".to_owned(), Some(201));
    assert_eq!(dir.recorded()[1], kept, "{ran:?}");
}
