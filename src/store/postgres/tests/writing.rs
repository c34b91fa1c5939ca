//! Other people's writers, on connections of their own.

use std::borrow::Cow;
use std::sync::Barrier;

use super::super::super::{State, Store, Written, WrittenRow};
use super::super::wire::{Broken, Wire};
use super::super::{Options, PostgresStore, cell};
use super::cluster::Cluster;
use super::{FAST, create, open};
use crate::words::Status;

/// A session of a writer.
pub(super) struct Writer(Wire);

impl Writer {
    pub fn of(cluster: &Cluster, user: &str) -> Writer {
        let config = cluster.address_of(user, "127.0.0.1").parse().unwrap();
        Writer(Wire::open(config, None, "the test's own").unwrap())
    }

    /// Statements; gives the first column of their rows.
    pub fn say(&self, sql: &str) -> Result<Vec<String>, Broken> {
        let answer = self.0.batch(sql.to_owned()).wait()?;
        Ok(answer.words.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// How many rows a statement changed.
    pub fn count(&self, sql: &'static str) -> u64 {
        self.0.execute(Cow::Borrowed(sql), vec![]).wait().unwrap().count
    }

    /// What a statement fails with: code and message.
    pub fn refused(&self, sql: &str) -> String {
        let broken = self.say(sql).unwrap_err();
        format!("{} {}", broken.code.map(|code| code.code().to_owned()).unwrap_or_default(), broken.message)
    }
}

fn insert(id: &str, rest: &str) -> String {
    format!(
        "INSERT INTO privo_reconcile.entries (request_id, method, url, sent_at, failure{})
         VALUES ('{id}', 'POST', 'https://server.example/', '2026-03-01T12:00:00Z', 'intent'{})",
        if rest.is_empty() { "" } else { ", operation_id" },
        if rest.is_empty() { String::new() } else { format!(", '{rest}'") },
    )
}

fn states(store: &PostgresStore) -> Vec<State> {
    let mut all = Vec::new();
    store
        .each_state(i64::MIN, &mut |state| {
            all.push(state);
            Ok(true)
        })
        .unwrap();
    all
}

#[test]
fn one_id_from_many_connections_at_once_is_one_row() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let store = create(&cluster);
    let barrier = Barrier::new(32);
    let recorded: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    let writer = Writer::of(&cluster, "owner");
                    let mut recorded = 0;
                    for id in 0..10 {
                        barrier.wait();
                        let row = writer.say(&format!("{} RETURNING id", insert(&format!("id-{id}"), "")));
                        recorded += row.unwrap().len() as u64;
                    }
                    recorded
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!((recorded, states(&store).len()), (10, 10));
}

#[test]
fn a_large_transaction_takes_no_more_locks_than_there_are() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let store = create(&cluster);
    let recorded = Writer::of(&cluster, "owner").count(
        "INSERT INTO privo_reconcile.entries (request_id, method, url, sent_at)
         SELECT 'row ' || n % 20000, 'POST', '', '' FROM generate_series(1, 25000) AS n",
    );
    assert_eq!((recorded, states(&store).len()), (20_000, 20_000));
}

#[test]
fn a_stricter_transaction_is_told_to_retry() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let store = create(&cluster);
    let (one, other) = (Writer::of(&cluster, "owner"), Writer::of(&cluster, "owner"));
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        one.say(&format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM privo_reconcile.entries")).unwrap();
        other.say(&insert(level, "")).unwrap();
        let why = one.refused(&insert(level, ""));
        assert!(why.starts_with("40001") && why.contains("retry"), "{why}");
        one.say("ROLLBACK").unwrap();
        // Again, it is seen; and what nobody recorded is recorded, once.
        one.say(&format!("BEGIN ISOLATION LEVEL {level}; {}; COMMIT", insert(level, ""))).unwrap();
        one.say(&format!("BEGIN ISOLATION LEVEL {level}; {}; COMMIT", insert(&format!("new {level}"), ""))).unwrap();
    }
    assert_eq!(states(&store).len(), 4);
}

#[test]
fn a_row_that_becomes_visible_late_is_read() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let store = create(&cluster);
    let (late, early) = (Writer::of(&cluster, "owner"), Writer::of(&cluster, "owner"));
    late.say(&format!("BEGIN; {}", insert("first", ""))).unwrap();
    early.say(&insert("second", "")).unwrap();
    let read = |store: &PostgresStore| -> Vec<String> {
        let unread = store.unread(i64::MIN, 10, usize::MAX).unwrap();
        unread.into_iter().map(|unread| unread.row.unwrap().request_id).collect()
    };
    assert_eq!(read(&store), ["second"]);
    late.say("COMMIT").unwrap();
    assert_eq!(read(&store), ["first", "second"]);
}

#[test]
fn what_a_writer_recorded_is_durable_however_its_session_is_set() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    drop(create(&cluster));
    let writer = Writer::of(&cluster, "owner");
    for (set, should) in [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")] {
        let id = format!("recorded under {set}");
        for change in [
            insert(&id, ""),
            format!("UPDATE privo_reconcile.entries SET failure = 'timeout' WHERE request_id = '{id}'"),
            format!(
                "{}; COMMIT; BEGIN; DELETE FROM privo_reconcile.entries WHERE request_id = 'second {set}'",
                insert(&format!("second {set}"), "")
            ),
        ] {
            let said = writer.say(&format!("SET synchronous_commit = {set}; BEGIN; {change}; SHOW synchronous_commit"));
            assert_eq!(said.unwrap(), [should], "{set}: {change}");
            writer.say("COMMIT").unwrap();
            assert_eq!(writer.say("SHOW synchronous_commit").unwrap(), [set], "{change}");
        }
    }
    let mut store = open(&cluster);
    store.begin().unwrap();
    let line = store.row_of("SELECT current_setting('synchronous_commit')", vec![]).unwrap();
    assert_eq!(cell::<String>(&line, 0).unwrap(), "on");
    store.commit().unwrap();
}

#[test]
fn a_writer_does_what_writers_do_and_reads_nobodys_data() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    let owner = Writer::of(&cluster, "owner");
    owner.say("CREATE ROLE app LOGIN; GRANT privo_reconcile_writer TO app").unwrap();
    owner.say("CREATE ROLE job LOGIN; GRANT privo_reconcile_job TO job").unwrap();
    let app = Writer::of(&cluster, "app");
    app.say(&insert("a", "")).unwrap();
    app.say(&insert("b", "")).unwrap();
    assert!(app.say(&format!("{} ON CONFLICT DO NOTHING", insert("a", ""))).is_ok());
    assert_eq!(app.count("UPDATE privo_reconcile.entries SET failure = 'http', http_status = 503::text, ended_at = now() WHERE request_id = 'a'"), 1);
    assert_eq!(app.count("DELETE FROM privo_reconcile.entries WHERE request_id = 'b' AND failure = 'intent'"), 1);
    assert_eq!(app.say("SELECT request_id FROM privo_reconcile.entries").unwrap(), ["a"]);
    for sql in [
        "SELECT body FROM privo_reconcile.entries",
        "SELECT url FROM privo_reconcile.entries",
        "SELECT error FROM privo_reconcile.entries",
        "UPDATE privo_reconcile.entries SET body = '{}'",
        "UPDATE privo_reconcile.entries SET request_id = 'c'",
        "INSERT INTO privo_reconcile.entries (id, request_id, method, url, sent_at) VALUES (9, 'x', '', '', '')",
        "SELECT * FROM privo_reconcile.state",
        "UPDATE privo_reconcile.state SET unread = false",
        "SELECT salt FROM privo_reconcile.ledger",
        "UPDATE privo_reconcile.lease SET epoch = 9",
        "TRUNCATE privo_reconcile.entries",
        "SELECT privo_reconcile.is_erasing()",
        "CREATE TABLE privo_reconcile.mine (id int)",
    ] {
        assert!(app.refused(sql).starts_with("42"), "{sql}: {}", app.refused(sql));
    }
    // Nobody erases by saying so.
    let mut state = states(&store).remove(0);
    state.unread = false;
    store.put_states(&[state]).unwrap();
    let why = app.refused(
        "SET privo_reconcile.erasing = '1'; UPDATE privo_reconcile.entries SET error = 'x' WHERE request_id = 'a'",
    );
    assert!(why.starts_with("23001") && why.contains("keeps an entry as it was recorded"), "{why}");
    // The job, who owns nothing, does all of its work.
    let job = PostgresStore::connect(&cluster.address_of("job", "127.0.0.1"), &Options::default()).unwrap();
    assert!(job.check().unwrap().iter().all(|finding| !finding.what.contains("may not")), "{:?}", job.check());
}

#[test]
fn a_job_without_rights_to_create_keeps_every_promise() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let owner = Writer::of(&cluster, "owner");
    owner.say("CREATE ROLE job LOGIN").unwrap();
    let made = super::Cell::new(0);
    super::exercise(&mut || {
        made.set(made.get() + 1);
        let options = super::named(&format!("ledger_{}", made.get()));
        drop(PostgresStore::create(&cluster.address(), &options).unwrap());
        owner.say("GRANT privo_reconcile_job TO job").unwrap();
        Box::new(PostgresStore::connect(&cluster.address_of("job", "127.0.0.1"), &options).unwrap())
    });
}

#[test]
fn the_triggers_say_what_they_say_in_a_file() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    let owner = Writer::of(&cluster, "owner");
    for (id, operation) in [("read", ""), ("first", ""), ("second", "first"), ("looked", "")] {
        owner.say(&insert(id, operation)).unwrap();
    }
    let lost =
        WrittenRow { failure: Some("timeout".to_owned()), request_id: "lost".to_owned(), ..WrittenRow::default() };
    assert_eq!(store.write(&lost).unwrap(), Written::Done);
    let mut all = states(&store);
    for state in &mut all {
        (state.unread, state.status, state.looks) = (false, Some(Status::Pending), 0);
    }
    all[3].looks = 1;
    assert_eq!(store.put_states(&all).unwrap(), Vec::<i64>::new());
    store.share("text").unwrap();
    store.note(super::super::super::NoteKind::Report, crate::clock::Moment(0), "{}").unwrap();
    for (sql, why) in [
        (
            "UPDATE privo_reconcile.entries SET error = 'x' WHERE request_id = 'lost'",
            "the ledger keeps an entry as it was recorded (only an intent or a bad row may be updated)",
        ),
        (
            "UPDATE privo_reconcile.entries SET url = 'x' WHERE request_id = 'read'",
            "of an intent only failure, http_status, ended_at and error may be updated",
        ),
        (
            "DELETE FROM privo_reconcile.entries WHERE request_id = 'looked'",
            "the ledger keeps its entries (only an intent that was never looked up may be deleted)",
        ),
        (
            "DELETE FROM privo_reconcile.entries WHERE request_id = 'first'",
            "another entry has the operation of this intent (UPDATE the intent to `answered` with its http_status)",
        ),
        ("UPDATE privo_reconcile.texts SET text = 'x'", "texts are append-only"),
        ("DELETE FROM privo_reconcile.notes", "notes are append-only"),
        (
            "TRUNCATE privo_reconcile.entries",
            "the ledger keeps its entries and its evidence (drop the schema to be rid of the ledger)",
        ),
        (
            "TRUNCATE privo_reconcile.evidence",
            "the ledger keeps its entries and its evidence (drop the schema to be rid of the ledger)",
        ),
    ] {
        assert_eq!(owner.refused(sql), format!("23001 {why}"), "{sql}");
    }
}

/// Two transactions, one of which records an attempt of the operation whose intent the other deletes.
#[test]
fn an_intent_is_not_deleted_while_another_attempt_of_its_operation_is_recorded() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let store = create(&cluster);
    let (one, other) = (Writer::of(&cluster, "owner"), Writer::of(&cluster, "owner"));
    one.say(&insert("first", "")).unwrap();
    one.say(&format!("BEGIN; {}", insert("second", "first"))).unwrap();
    std::thread::scope(|scope| {
        let deleted = scope.spawn(|| other.refused("DELETE FROM privo_reconcile.entries WHERE request_id = 'first'"));
        // It waits; and when it waits no more, the other attempt is there.
        super::cluster::until(|| {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            one.say(waiting).unwrap() == ["1"]
        });
        one.say("COMMIT").unwrap();
        assert!(deleted.join().unwrap().starts_with("23001 another entry has the operation"));
    });
    assert_eq!(states(&store).len(), 2);
}
