//! Proves, through the real binary, what clocks may be worth: a writer's that is fast or slow, the stamp of a row's arrival, a
//! server whose `Date` is behind or missing. Within its uncertainty a record's age is unknown, and an absence waits for both clocks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use crate::util::{Dir, Entry, Platform, Setup, said};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount};

const EMAIL: &str = "ann@example.com";
const CREATED: &str = "resolved applied created store-id";
const PRESENT: &str = "resolved satisfied present store-id";
const PREEXISTING: &str = "resolved not-applied preexisting do-not-resend";
const RESEND: &str = "resolved not-applied confirmed-absent resend";

const AN_HOUR: &[(&str, &str)] = &[("network", "1h"), ("server_error", "1h"), ("intent", "1h")];

fn seconds(count: i64) -> Span {
    Span::seconds(count)
}

fn ago(count: i64) -> Moment {
    Moment::now() - seconds(count)
}

fn register(platform: &Platform) -> Entry {
    Entry::register("r1", &platform.url, EMAIL)
}

/// The account that it asks for, made by somebody else.
fn stranger(platform: &Platform, made: Moment) {
    platform.add(NewAccount {
        email: Some(EMAIL.into()),
        given_name: Some("Ann".into()),
        birth_date_yyyymmdd: Some("19900102".into()),
        made_ms: Some(made.0),
        ..NewAccount::default()
    });
}

fn patient(platform: &Platform) -> Dir {
    Dir::new(&Setup::of(platform).windows(AN_HOUR))
}

/// Sends it so that it is applied and its answer is lost, and writes it down by a clock that is so far ahead.
fn applied(dir: &Dir, platform: &Platform, ahead: Span, failure: &str) {
    let entry = register(platform);
    let sent = Moment::now();
    assert!(platform.send("r1", "POST", &entry.path(), &entry.text("body"), "lost-after").is_none());
    dir.insert(&entry.failure(failure).sent(sent + ahead).ended(Moment::now() + ahead));
}

fn look(dir: &Dir) -> String {
    dir.due();
    dir.run(&["run"]);
    assert_eq!(dir.run(&["verify"]).code, 0);
    dir.says("r1")
}

/// A run a minute later, by the job's clock and the server's.
fn look_a_minute_later(dir: &Dir, platform: &Platform) -> String {
    platform.set_back(seconds(-60));
    dir.run_then(platform);
    platform.set_back(Span::ZERO);
    dir.says("r1")
}

/// The row is dated later than it came, by more than the writer's clock may be off: nothing says by how much it is.
#[test]
fn what_a_fast_writer_made_is_never_preexisting() {
    for ahead in [1, 2, 5, 8, 30, 50] {
        let platform = Platform::dated();
        let dir = patient(&platform);
        applied(&dir, &platform, seconds(ahead), "network");
        // By then, the row's time is over.
        assert_eq!(look_a_minute_later(&dir, &platform), PRESENT, "{ahead} s fast");
    }
}

/// An intent is stamped when it comes, and again when its news come.
#[test]
fn what_a_fast_writers_intent_made_is_never_preexisting() {
    for ahead in [1, 5, 30] {
        let platform = Platform::dated();
        let dir = patient(&platform);
        applied(&dir, &platform, seconds(ahead), "intent");
        dir.db().execute("UPDATE entries SET failure = 'timeout'", []).unwrap();
        assert_eq!(look_a_minute_later(&dir, &platform), PRESENT, "{ahead} s fast");
        let dir = patient(&platform);
        dir.insert(&register(&platform).failure("intent").sent(Moment::now() + seconds(ahead)));
        let ended = (Moment::now() + seconds(ahead)).to_string();
        dir.db().execute("UPDATE entries SET failure = 'network', ended_at = ?", [ended]).unwrap();
        assert_eq!(look_a_minute_later(&dir, &platform), PRESENT, "{ahead} s fast");
    }
}

/// A writer that is slow dates its request before the stranger's record that was there when it was truly sent.
#[test]
fn what_a_stranger_made_before_a_slow_writers_request_is_not_created() {
    for (slow, made_ago, writer_error) in [(1, 0, "2s"), (2, 1, "2s"), (8, 4, "10s"), (60, 30, "60s"), (60, 1, "90s")] {
        let platform = Platform::dated();
        stranger(&platform, ago(made_ago));
        let dir = Dir::new(&Setup::of(&platform).windows(AN_HOUR).windows(&[("writer_error", writer_error)]));
        // Truly sent now, and lost.
        dir.insert(&register(&platform).sent(ago(slow)).ended(ago(slow)));
        let said = look(&dir);
        assert!([PRESENT, PREEXISTING].contains(&said.as_str()), "{slow} s slow: {said}");
    }
}

/// The configured error decides between the same times: what is over it is said, what is within it is not.
#[test]
fn the_configured_error_of_writers_decides_what_a_time_may_say() {
    for (writer_error, after, before) in [("2s", CREATED, PREEXISTING), ("10m", PRESENT, PRESENT)] {
        for (made_ago, right) in [(300, after), (900, before)] {
            let platform = Platform::dated();
            stranger(&platform, ago(made_ago));
            let dir = Dir::new(&Setup::of(&platform).windows(AN_HOUR).windows(&[("writer_error", writer_error)]));
            dir.insert(&register(&platform).sent(ago(600)).ended(ago(590)));
            assert_eq!(look(&dir), right, "{writer_error}, made {made_ago} s ago");
        }
    }
}

/// Without a stamp (the row of an import, or of a ledger whose triggers were taken off), a time is worth what it says.
#[test]
fn without_a_stamp_the_rows_own_times_bound_it() {
    let platform = Platform::dated();
    let dir = patient(&platform);
    dir.attempt(&platform, register(&platform), "lost-after");
    dir.db().execute("UPDATE state SET arrived_ms = NULL", []).unwrap();
    assert_eq!(look(&dir), CREATED);
}

/// A row that says that it was sent was sent before it came: that bounds it from above, whatever its clock.
#[test]
fn a_record_made_after_the_row_came_was_made_after_it_was_sent() {
    let platform = Platform::dated();
    let dir = Dir::new(&Setup::of(&platform).windows(AN_HOUR).windows(&[("writer_error", "30m")]));
    let entry = register(&platform);
    platform.send("r1", "POST", &entry.path(), &entry.text("body"), "error-before");
    dir.insert(&entry.http(503).sent(Moment::now()).ended(Moment::now()));
    // A minute after the row came, the server applies it.
    platform.set_back(seconds(-60));
    assert_eq!(platform.world().repair(platform.now().0, "r1").applied, 1);
    dir.run_then(&platform);
    platform.set_back(Span::ZERO);
    assert_eq!(dir.says("r1"), CREATED);
}

#[test]
fn a_row_is_stamped_when_it_comes_and_when_it_says_how_it_ended() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let stamp = |id: &str| {
        let sql =
            format!("SELECT arrived_ms FROM state s JOIN entries e ON e.id = s.entry_id WHERE request_id = '{id}'");
        dir.db().query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap()
    };
    let entry = |id: &str| Entry::register(id, &platform.url, EMAIL);
    // SQLite's day is a fraction: a millisecond may be lost.
    let between = |from: Moment, stamp: Option<i64>| {
        let stamp = stamp.unwrap();
        assert!(from.0 - 1 <= stamp && stamp <= Moment::now().0, "{from} {stamp}");
    };
    for failure in ["timeout", "not_sent", "answered", "nonsense"] {
        let from = Moment::now();
        dir.insert(&entry(failure).failure(failure).sent(ago(86_400)));
        between(from, stamp(failure));
    }
    let from = Moment::now();
    dir.insert(&entry("intent").failure("intent"));
    between(from, stamp("intent"));
    let from = Moment::now();
    let db = dir.db();
    db.execute("UPDATE entries SET failure = 'timeout' WHERE request_id = 'intent'", []).unwrap();
    between(from, stamp("intent"));
    let first = stamp("nonsense");
    db.execute("UPDATE entries SET failure = 'timeout' WHERE request_id = 'nonsense'", []).unwrap();
    assert_eq!(stamp("nonsense"), first, "a correction was sent no later");
}

/// The row says that it ended an hour from now.
#[test]
fn a_row_whose_end_lies_ahead_neither_dates_a_record_nor_believes_an_absence() {
    let platform = Platform::dated();
    let ahead = || register(&platform).sent(ago(60)).ended(Moment::now() + seconds(3600));
    let absent = Dir::of(&platform);
    absent.insert(&ahead());
    for _ in 0..3 {
        assert_eq!(look(&absent), "pending . unsettled may-resend");
    }
    stranger(&platform, ago(30));
    let dir = patient(&platform);
    dir.insert(&ahead());
    assert_eq!(look(&dir), PRESENT);
}

fn behind(faults: impl FnOnce(&mut Faults)) -> Platform {
    let mut faults_of = Faults { shows_created_at: true, ..Faults::default() };
    faults(&mut faults_of);
    Platform::with(faults_of)
}

/// Which of the two clocks is right, nothing says: an absence waits until the window is over by both.
#[test]
fn an_absence_waits_for_a_server_whose_date_is_an_hour_behind_and_says_why() {
    let platform = behind(|faults| faults.habits.date_ahead_ms = -3_600_000);
    let dir = Dir::of(&platform);
    dir.insert(&register(&platform).sent(ago(60)).ended(ago(50)));
    for _ in 0..2 {
        assert_eq!(look(&dir), "pending . unsettled may-resend");
    }
    let row = dir.row("r1");
    assert!(Moment::parse(&row["not_before"]).unwrap() > Moment::now(), "{row:?}");
    for word in ["behind", "correct the clock"] {
        assert!(row["explanation"].contains(word), "{row:?}");
        assert!(dir.run(&["status"]).out.contains(word));
    }
    let checked = dir.run(&["check"]);
    assert!(format!("{}{}", checked.out, checked.err).contains("behind"), "{checked:?}");
    // Two hours ago, it is over by both.
    let dir = Dir::of(&platform);
    dir.insert(&register(&platform).sent(ago(7200)).ended(ago(7190)));
    look(&dir);
    assert_eq!(look(&dir), RESEND);
}

/// `Date` comes from a gateway, `created_at` from a database.
#[test]
fn two_clocks_of_one_server_date_no_record_within_their_difference() {
    for (date, made) in [(-3_600_000, 0), (0, -1500), (0, 1500), (3_600_000, 0)] {
        let platform = behind(|faults| (faults.habits.date_ahead_ms, faults.habits.made_ahead_ms) = (date, made));
        stranger(&platform, ago(1));
        let dir = patient(&platform);
        dir.insert(&register(&platform).sent(Moment::now()).ended(Moment::now()));
        assert_eq!(look(&dir), PRESENT, "older than the request, Date {date} ms, made {made} ms ahead");
        let platform = behind(|faults| (faults.habits.date_ahead_ms, faults.habits.made_ahead_ms) = (date, made));
        let dir = patient(&platform);
        applied(&dir, &platform, Span::ZERO, "network");
        assert_eq!(look(&dir), PRESENT, "made by the request, Date {date} ms, made {made} ms ahead");
    }
}

/// Without a `Date`, minutes either way are uncertain, and a day is not.
#[test]
fn a_server_without_a_date_dates_records_by_the_day_and_not_by_the_minute() {
    for (made_ago, right) in [(86_400, PREEXISTING), (120, PRESENT), (30, PRESENT)] {
        let platform = behind(|faults| faults.habits.no_date = true);
        stranger(&platform, ago(made_ago));
        let dir = patient(&platform);
        dir.insert(&register(&platform).sent(ago(60)).ended(ago(50)));
        assert_eq!(look(&dir), right, "made {made_ago} s ago");
    }
}

/// Two writers' clocks in one group: each row is dated by its own stamp.
#[test]
fn an_older_record_is_preexisting_for_a_writer_whose_clock_holds() {
    let platform = Platform::dated();
    stranger(&platform, ago(86_400));
    let dir = patient(&platform);
    dir.insert(&register(&platform));
    let fast = Entry::register("r2", &platform.url, EMAIL).sent(Moment::now() + seconds(50));
    dir.insert(&fast);
    look(&dir);
    assert_eq!(said(&dir.row("r1")), PREEXISTING);
    assert_eq!(said(&dir.row("r2")), PRESENT, "when it was sent is not known");
}

/// What another host's clock dated is worth no more than its source: a minute, unless the mapping says otherwise.
#[test]
fn an_imported_rows_time_is_worth_its_sources_clock() {
    for (clock_error, made, right) in [
        (None, 30, PRESENT),
        (None, -30, PRESENT),
        (None, 120, CREATED),
        (None, -120, PREEXISTING),
        (Some("5s"), 30, CREATED),
        (Some("5s"), -30, PREEXISTING),
        (Some("5m"), 120, PRESENT),
        (Some("5m"), -120, PRESENT),
    ] {
        let platform = Platform::dated();
        let sent = ago(600);
        stranger(&platform, sent + seconds(made));
        let error = clock_error.map(|error| format!("clock_error = \"{error}\"\n")).unwrap_or_default();
        let rest = format!("[import.log]\nformat = \"jsonl\"\n{error}");
        let dir = Dir::new(&Setup { rest, ..Setup::of(&platform).windows(AN_HOUR) });
        let body = register(&platform).text("body");
        let url = register(&platform).text("url");
        let line = format!(
            "{{\"method\":\"POST\",\"url\":\"{url}\",\"body\":{body},\"sent_at\":\"{sent}\",\"http_status\":503}}\n"
        );
        std::fs::write(dir.file("log.jsonl"), line).unwrap();
        let imported = dir.run(&["import", "--map", "log", "log.jsonl"]);
        assert_eq!(imported.code, 0, "{imported:?}");
        dir.run(&["run"]);
        let rows = dir.report();
        assert_eq!((rows.len(), said(&rows[0]).as_str()), (1, right), "{clock_error:?}, made {made} s later: {rows:?}");
    }
}

/// A writer writes its intent before it sends: a clock that is hours behind does not end the window before it began.
#[test]
fn an_intent_of_a_slow_writer_waits_from_when_it_came() {
    let platform = Platform::dated();
    let dir = patient(&platform);
    dir.insert(&register(&platform).failure("intent").sent(ago(4 * 3600)));
    assert!(look(&dir).starts_with("pending . unsettled"), "{}", dir.says("r1"));
    // Without a stamp nothing but its own word is known.
    dir.db().execute("UPDATE state SET arrived_ms = NULL, unread = 1", []).unwrap();
    look(&dir);
    assert_eq!(look(&dir), RESEND);
}
