//! Servers that die, holders that stand still, transactions that fail half-way.

use super::super::super::{NewEvidence, NoteKind, RunStart, State, Store, Word, Written, WrittenRow};
use super::super::{PostgresStore, number};
use super::cluster::{Cluster, Pooler};
use super::writing::Writer;
use super::{FAST, Options, create, open};
use crate::clock::{Moment, Span};
use crate::evidence::Windows;
use crate::exit::{FAILED, of_error};

fn lost(id: &str) -> WrittenRow {
    WrittenRow { request_id: id.to_owned(), failure: Some("timeout".to_owned()), ..WrittenRow::default() }
}

fn evidence(store: &mut PostgresStore, doc: &str) -> i64 {
    let start = RunStart {
        command: "run",
        started: Moment(0),
        plan: "p",
        plan_digest: "d",
        server: "s",
        windows: &Windows::default(),
    };
    let run = store.begin_run(&start).unwrap();
    let row = NewEvidence { run, at: Moment(1), rules: 1, after: vec![], doc: doc.to_owned(), names: "{}".to_owned() };
    store.append(&row).unwrap()
}

fn first_state(store: &PostgresStore) -> State {
    store.states(&[1]).unwrap().remove(0)
}

#[test]
fn of_a_transaction_that_a_crash_cut_off_nothing_is_there_and_of_others_all() {
    // What was committed is durable though the server's own settings say that it need not be.
    let Some(mut cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    store.hold("the first", Span::seconds(1)).unwrap();
    assert_eq!(store.write(&lost("a")).unwrap(), Written::Done);
    store.begin().unwrap();
    let kept = evidence(&mut store, "kept");
    store.put_keys(&[(1, 1)]).unwrap();
    store.commit().unwrap();
    store.begin().unwrap();
    evidence(&mut store, "torn");
    store.put_keys(&[(2, 1)]).unwrap();
    let state = State { unread: false, ..first_state(&store) };
    assert_eq!(store.put_states(&[state]).unwrap(), Vec::<i64>::new());
    assert_eq!(store.write(&lost("b")).unwrap(), Written::Done);
    cluster.crash();
    let error = store.commit().unwrap_err();
    assert_eq!(of_error(&error), FAILED, "{error:#}");
    assert!(error.to_string().contains("run again"), "{error:#}");
    store.rollback();
    assert!(store.begin().is_err() && store.word(Word::Server).is_err());
    drop(store);
    cluster.run();
    let mut store = open(&cluster);
    assert_eq!(store.groups(&[1, 2]).unwrap(), [Some(1), None]);
    assert_eq!((store.last_evidence().unwrap(), store.entry_of("b").unwrap()), (kept, None));
    assert!(first_state(&store).unread);
    // The next one takes over when the lease is over.
    super::cluster::until(|| store.hold("the second", Span::seconds(60)).is_ok());
    store.begin().unwrap();
    assert_eq!(evidence(&mut store, "new"), kept + 1);
    store.commit().unwrap();
}

#[test]
fn what_fails_within_a_transaction_without_being_waited_for_keeps_it_from_being_committed() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    store.begin().unwrap();
    store.set_word(Word::Server, "lost").unwrap();
    store.put("INSERT INTO privo_reconcile.merges (group_id) VALUES ($1)", vec![number(1)]);
    let error = store.word(Word::Server).unwrap_err();
    assert!(error.to_string().contains("null value"), "not the first of the failures: {error:#}");
    assert!(store.commit().is_err());
    assert_eq!(store.word(Word::Server).unwrap(), None);
    store.begin().unwrap();
    store.set_word(Word::Server, "kept").unwrap();
    store.put("INSERT INTO privo_reconcile.merges (group_id) VALUES ($1)", vec![number(1)]);
    assert!(store.commit().unwrap_err().to_string().contains("null value"));
    assert_eq!(store.word(Word::Server).unwrap(), None);
    // A refusal is none: the transaction goes on without what was refused.
    store.begin().unwrap();
    assert_eq!(store.write(&lost("a")).unwrap(), Written::Done);
    assert_eq!(store.withdraw("a").unwrap(), Written::Refused);
    assert_eq!(store.write(&lost("b")).unwrap(), Written::Done);
    store.commit().unwrap();
    assert!(store.entry_of("a").unwrap().is_some() && store.entry_of("b").unwrap().is_some());
}

#[test]
fn a_holder_that_stands_still_within_a_transaction_keeps_nobody_waiting_for_ever() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let (mut still, mut next) = (create(&cluster), open(&cluster));
    still.hold("still", Span(1)).unwrap();
    still.begin().unwrap();
    still.set_word(Word::Server, "still").unwrap();
    // The database ends the session that says nothing, and the next one takes the ledger over.
    super::cluster::until(|| next.hold("next", Span::seconds(60)).is_ok());
    assert!(still.commit().is_err());
    assert_eq!(next.word(Word::Server).unwrap(), None);
    next.set_word(Word::Server, "next").unwrap();
}

#[test]
fn a_pooler_that_died_ends_the_run_and_loses_nothing() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let Some(pooler) = Pooler::start(&cluster) else { return };
    drop(create(&cluster));
    let mut store = PostgresStore::connect(&pooler.address(), &Options::default()).unwrap();
    store.set_word(Word::Server, "kept").unwrap();
    store.begin().unwrap();
    store.set_word(Word::Server, "torn").unwrap();
    drop(pooler);
    assert!(store.commit().is_err());
    drop(store);
    assert_eq!(open(&cluster).word(Word::Server).unwrap().as_deref(), Some("kept"));
}

#[test]
fn a_text_with_a_character_that_postgres_cannot_hold_is_recorded_all_the_same() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    assert_eq!(store.write(&WrittenRow { url: "a\0b".to_owned(), ..lost("i\0d") }).unwrap(), Written::Done);
    let entry = store.entry_of("i\0d").unwrap().unwrap();
    assert_eq!(store.rows(&[entry]).unwrap()[0].url, Ok(Some("a\u{fffd}b".to_owned())));
    assert_eq!(store.note(NoteKind::Report, Moment(0), "a\0b").unwrap(), 1);
}

#[test]
fn many_readings_see_one_moment() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    store.begin().unwrap();
    for n in 0..1500 {
        store.write(&lost(&n.to_string())).unwrap();
    }
    store.commit().unwrap();
    let writer = Writer::of(&cluster, "owner");
    let mut given = 0;
    store
        .each_state(i64::MIN, &mut |_| {
            given += 1;
            if given == 1 {
                writer.say("INSERT INTO privo_reconcile.entries (request_id, method, url, sent_at) VALUES ('late', '', '', '')").unwrap();
            }
            // What is read meanwhile is of the same moment.
            Ok(given != 2 || store.entry_of("late").unwrap().is_none())
        })
        .unwrap();
    assert_eq!(given, 1500);
    assert!(store.entry_of("late").unwrap().is_some());
}
