//! The promises of a store, in PostgreSQL, and those that only it must make.

mod cluster;
mod faults;
mod writing;

use std::cell::Cell;

use self::cluster::{Cluster, Pooler};
use proptest::test_runner::{Config, TestRunner};

use super::super::compared::{ops, same_as};
use super::super::exercise::exercise;
use super::super::memory::MemoryStore;
use super::super::{Store, Word, WrittenRow};
use super::{Options, PostgresStore, SCHEMA, schema_named};
use crate::clock::{Moment, Span};
use crate::exit::{Held, Refused};
use crate::words::{Action, Outcome, Reason, Status};

/// A server whose crash is a kill, never a power cut, so nothing need reach the disk.
const FAST: &[&str] = &["fsync=off", "full_page_writes=off", "synchronous_commit=off"];

fn named(schema: &str) -> Options {
    Options { schema: schema.to_owned(), ..Options::default() }
}

/// A new ledger under the usual name.
fn create(cluster: &Cluster) -> PostgresStore {
    PostgresStore::create(&cluster.address(), &Options::default()).unwrap()
}

fn open(cluster: &Cluster) -> PostgresStore {
    PostgresStore::connect(&cluster.address(), &Options::default()).unwrap()
}

/// Makes ledgers side by side, each in a schema of its own.
fn every_promise(address: &str) {
    let made = Cell::new(0);
    exercise(&mut || {
        made.set(made.get() + 1);
        Box::new(PostgresStore::create(address, &named(&format!("ledger_{}", made.get()))).unwrap())
    });
}

#[test]
fn every_promise_of_a_store_is_kept() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    every_promise(&cluster.address());
}

#[test]
fn every_promise_is_kept_behind_a_pooler_in_transaction_mode() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let Some(pooler) = Pooler::start(&cluster) else { return };
    every_promise(&pooler.address());
}

/// Numbers that are used up by what was taken back are nobody's, and would make ids hard to compare.
const WITHOUT_GAPS: &str = "
    CREATE TABLE last_entry (id bigint);
    CREATE FUNCTION numbered() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_TABLE_NAME = 'entries' THEN
        UPDATE last_entry SET id = last_entry.id + 1 RETURNING id INTO NEW.id;
      ELSE
        EXECUTE format('SELECT coalesce(max(id), 0) + 1 FROM privo_reconcile.%I', TG_TABLE_NAME) INTO NEW.id;
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER numbered BEFORE INSERT ON privo_reconcile.entries FOR EACH ROW EXECUTE FUNCTION numbered();
    CREATE TRIGGER numbered BEFORE INSERT ON privo_reconcile.runs FOR EACH ROW EXECUTE FUNCTION numbered();
    CREATE TRIGGER numbered BEFORE INSERT ON privo_reconcile.notes FOR EACH ROW EXECUTE FUNCTION numbered();
    CREATE TRIGGER numbered BEFORE INSERT ON privo_reconcile.texts FOR EACH ROW EXECUTE FUNCTION numbered();
    CREATE TRIGGER numbered BEFORE INSERT ON privo_reconcile.imports FOR EACH ROW EXECUTE FUNCTION numbered()";

/// Everything is gone, and the first id is 1 again.
const EMPTY: &str = "
    SET session_replication_role = replica;
    DELETE FROM privo_reconcile.entries; DELETE FROM privo_reconcile.state; DELETE FROM privo_reconcile.keys;
    DELETE FROM privo_reconcile.merges; DELETE FROM privo_reconcile.evidence; DELETE FROM privo_reconcile.texts;
    DELETE FROM privo_reconcile.runs; DELETE FROM privo_reconcile.notes; DELETE FROM privo_reconcile.words;
    DELETE FROM privo_reconcile.imports; DELETE FROM privo_reconcile.import_records;
    DELETE FROM last_entry; INSERT INTO last_entry VALUES (0)";

#[test]
fn random_work_comes_to_the_same_as_in_memory() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    drop(create(&cluster));
    let owner = writing::Writer::of(&cluster, "owner");
    owner.say(WITHOUT_GAPS).unwrap();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(12) });
    let played = runner.run(&ops(60), |ops| {
        owner.say(EMPTY).unwrap();
        let mut reference = MemoryStore::seeded(1, Moment::now);
        same_as(&mut reference, &mut open(&cluster), &ops);
        Ok(())
    });
    played.unwrap();
}

#[test]
fn a_ledger_is_made_once_and_found_by_its_schema() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let missing = PostgresStore::connect(&cluster.address(), &Options::default()).err().unwrap();
    assert!(missing.chain().any(|cause| cause.is::<Refused>()), "{missing:#}");
    let name = create(&cluster).identity().clone();
    assert_eq!((name.name.len(), name.salt.len()), (16, 32));
    assert_eq!(open(&cluster).identity(), &name);
    let again = PostgresStore::create(&cluster.address(), &Options::default()).err().unwrap();
    assert!(again.is::<Refused>() && again.to_string().contains("is there already"), "{again:#}");
    let other = PostgresStore::create(&cluster.socket_address(), &named("second")).unwrap();
    assert_ne!(other.identity(), &name);
    assert!(other.place().contains("second") && !other.place().contains("owner"), "{}", other.place());
}

#[test]
fn one_store_holds_the_ledger_and_who_lost_it_writes_nothing_more() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let (mut first, mut second) = (create(&cluster), open(&cluster));
    first.hold("host one", Span::seconds(600)).unwrap();
    assert!(first.holds_for(Span::seconds(500)) && !first.holds_for(Span::seconds(601)));
    first.hold_on().unwrap();
    let error = second.hold("host two", Span::seconds(600)).unwrap_err();
    assert!(error.is::<Held>() && error.to_string().contains("host one"), "{error:#}");
    // Writers and those who need no lease go on.
    second.set_word(Word::Server, "second").unwrap();
    first.release();
    assert!(!first.holds_for(Span::ZERO));
    // A lease that nobody extends ends by itself, and every transaction of who had it says so.
    first.hold("host one", Span(1)).unwrap();
    cluster::until(|| second.hold("host two", Span::seconds(600)).is_ok());
    for lost in [first.begin(), first.set_word(Word::Server, "first"), first.extend(), first.hold_on()] {
        assert!(lost.unwrap_err().is::<Held>());
    }
    assert_eq!(first.word(Word::Server).unwrap().as_deref(), Some("second"));
    second.set_word(Word::Server, "new").unwrap();
    drop(first);
    second.extend().unwrap();
    drop(second);
    open(&cluster).hold("host three", Span::seconds(1)).unwrap();
}

/// As in a file: what is wrong with one row is that row's alone.
#[test]
fn a_row_that_is_refused_takes_no_other_of_its_transaction_away() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let mut store = create(&cluster);
    let row = |id: &str| WrittenRow { request_id: id.to_owned(), ..WrittenRow::default() };
    // More than the index of ids takes, however it is compressed.
    let long: String = (0..5000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    store.begin().unwrap();
    store.write(&row("before")).unwrap();
    let error = store.write(&row(&long)).unwrap_err();
    assert!(store.refused(&error), "{error:#}");
    store.write(&row("after")).unwrap();
    store.commit().unwrap();
    assert!(store.entry_of("before").unwrap().is_some() && store.entry_of("after").unwrap().is_some());
    assert!(!store.refused(&anyhow::anyhow!("the server is gone")));
}

#[test]
fn two_that_begin_at_once_have_their_turns() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let (mut first, second) = (create(&cluster), open(&cluster));
    first.begin().unwrap();
    assert!(!second.is_free() && first.is_free());
    first.commit().unwrap();
    assert!(second.is_free());
    drop(second);
    // Each adds one to what it reads, fifty times: no step is lost.
    first.set_word(Word::Sealed, "0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut store = open(&cluster);
                for _ in 0..50 {
                    store.begin().unwrap();
                    let now: i64 = store.word(Word::Sealed).unwrap().unwrap().parse().unwrap();
                    store.set_word(Word::Sealed, &(now + 1).to_string()).unwrap();
                    store.commit().unwrap();
                }
            });
        }
    });
    assert_eq!(first.word(Word::Sealed).unwrap().as_deref(), Some("200"));
}

#[test]
fn a_ledger_is_reached_under_tls_by_a_name_that_the_certificate_bears() {
    let settings = ["ssl=on", "ssl_cert_file=FOLDER/server.crt", "ssl_key_file=FOLDER/server.key"];
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    if !Cluster::certify(cluster.path()) {
        eprintln!("skipped: openssl is not installed here");
        return;
    }
    drop(create(&cluster));
    cluster.crash();
    cluster.set(&settings);
    cluster.run();
    let trusting = Options { ca_file: Some(cluster.path().join("server.crt")), ..Options::default() };
    let address = |host: &str| format!("{}?sslmode=verify-full", cluster.address_of("owner", host));
    let store = PostgresStore::connect(&address("localhost"), &trusting).unwrap();
    assert!(!store.check().unwrap().iter().any(|finding| finding.what.contains("not encrypted")));
    let encrypted = store.row_of("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", vec![]).unwrap();
    assert!(encrypted.get::<_, bool>(0));
    for (host, options) in [("127.0.0.1", &trusting), ("localhost", &Options::default())] {
        let error = PostgresStore::connect(&address(host), options).err().unwrap();
        assert!(format!("{error:#}").contains("certificate"), "{host}: {error:#}");
    }
}

#[test]
fn of_two_that_take_the_ledger_at_once_one_has_it() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    drop(create(&cluster));
    let barrier = std::sync::Barrier::new(2);
    let held: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let take = || {
            let mut store = open(&cluster);
            let mut held = Vec::new();
            for _ in 0..100 {
                barrier.wait();
                held.push(store.hold("one of two", Span::seconds(60)).is_ok());
                barrier.wait();
                store.release();
            }
            held
        };
        let both = [scope.spawn(take), scope.spawn(take)];
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(held[0].iter().zip(&held[1]).all(|(one, other)| one != other), "{held:?}");
}

#[test]
fn a_password_is_shown_to_nobody() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    drop(create(&cluster));
    let store = open(&cluster);
    store
        .row_of("SELECT 1 FROM (SELECT set_config('password_encryption', 'scram-sha-256', false)) AS set", vec![])
        .unwrap();
    store
        .wire
        .batch("CREATE ROLE job LOGIN PASSWORD 'right'; GRANT privo_reconcile_job TO job".to_owned())
        .wait()
        .unwrap();
    drop(store);
    let hba = cluster.path().join("data/pg_hba.conf");
    std::fs::write(&hba, "host all job all scram-sha-256\nlocal all all trust\nhost all all all trust\n").unwrap();
    cluster.crash();
    cluster.run();
    let address = cluster.address_of("job", "127.0.0.1");
    let options = |password: &str| Options { password: Some(password.to_owned().into()), ..Options::default() };
    let mut store = PostgresStore::connect(&address, &options("right")).unwrap();
    store.hold("job", Span::seconds(60)).unwrap();
    assert!(!format!("{:?}", options("hush")).contains("hush"));
    let error = PostgresStore::connect(&address, &options("hush")).err().unwrap();
    assert!(error.is::<Refused>() && format!("{error:#?}").contains("password"), "{error:#}");
    assert!(!format!("{error:#?}").contains("hush"));
}

#[test]
fn check_names_what_would_make_a_promise_untrue() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let store = create(&cluster);
    let found = |store: &PostgresStore| -> Vec<String> {
        store.check().unwrap().into_iter().map(|finding| format!("{} ({})", finding.what, finding.remedy)).collect()
    };
    let said = |what: &str| found(&store).iter().any(|finding| finding.contains(what));
    for what in ["fsync is off", "full_page_writes is off", "synchronous_commit is off", "not encrypted"] {
        assert!(said(what), "{what}: {:?}", found(&store));
    }
    assert_eq!(found(&store).len(), 4, "{:?}", found(&store));
    for (change, back, what) in [
        (
            "ALTER TABLE privo_reconcile.entries DISABLE TRIGGER entry_kept",
            "ALTER TABLE privo_reconcile.entries ENABLE TRIGGER entry_kept",
            "missing or disabled",
        ),
        (
            "ALTER FUNCTION privo_reconcile.entry_kept() RESET search_path",
            "ALTER FUNCTION privo_reconcile.entry_kept() SET search_path = pg_catalog, pg_temp",
            "search for their tables",
        ),
        (
            "ALTER FUNCTION privo_reconcile.entry_kept() SECURITY INVOKER",
            "ALTER FUNCTION privo_reconcile.entry_kept() SECURITY DEFINER",
            "by the writer's rights",
        ),
        (
            "UPDATE privo_reconcile.ledger SET version = 2",
            "UPDATE privo_reconcile.ledger SET version = 1",
            "another version",
        ),
        (
            "SET session_replication_role = replica;
             INSERT INTO privo_reconcile.entries (request_id, method, url, sent_at) VALUES ('restored', '', '', '');
             RESET session_replication_role",
            super::check::BRING_STATE,
            "no run reads them",
        ),
    ] {
        assert!(!said(what), "{what}");
        store.wire.batch(change.to_owned()).wait().unwrap();
        assert!(said(what), "{what}: {:?}", found(&store));
        store.wire.batch(back.to_owned()).wait().unwrap();
    }
    store
        .wire
        .batch(
            "CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA privo_reconcile TO stranger; \
        GRANT SELECT ON privo_reconcile.ledger TO stranger"
                .to_owned(),
        )
        .wait()
        .unwrap();
    let stranger = PostgresStore::connect(&cluster.address_of("stranger", "127.0.0.1"), &Options::default()).unwrap();
    assert!(
        found(&stranger).iter().any(|finding| finding.contains("GRANT privo_reconcile_job")),
        "{:?}",
        found(&stranger)
    );
    let error = stranger.word(Word::Server).unwrap_err();
    assert!(error.is::<Refused>(), "{error:#}");
}

#[test]
fn the_schema_knows_every_word() {
    let list = |words: Vec<&str>| format!("IN ('{}')", words.join("', '"));
    for words in [
        list(Status::ALL.iter().map(|word| word.text()).collect()),
        list(Outcome::ALL.iter().map(|word| word.text()).collect()),
        list(Reason::ALL.iter().map(|word| word.text()).collect()),
        list(Action::ALL.iter().map(|word| word.text()).collect()),
        list(super::super::NoteKind::ALL.iter().map(|word| word.text()).collect()),
    ] {
        assert!(SCHEMA.contains(&words), "{words}");
    }
}

#[test]
fn another_schema_leaves_the_roles_their_names() {
    let schema = schema_named("partner_ledger");
    assert!(schema.contains("CREATE TABLE partner_ledger.entries") && schema.contains("'partner_ledger.erasing'"));
    assert!(schema.contains("GRANT privo_reconcile_job TO your_job") && !schema.contains("privo_reconcile."));
    assert_eq!(schema_named("privo_reconcile"), SCHEMA);
}
