//! Ledgers that a test writes by hand, in plain tables: what was read, seen and said of each entry, and where it stands. They
//! are written into the store in its own form.

use std::collections::BTreeMap;

use privo_reconcile::clock::Moment;
use privo_reconcile::decide::{Deferral, RULES, Verdict};
use privo_reconcile::evidence::Look;
use privo_reconcile::ledger::form;
use privo_reconcile::ledger::turn::{EntryTurn, LookMade, Reading, Said, Turn, TurnReading};
use privo_reconcile::store::sqlite::SqliteStore;
use privo_reconcile::store::{NewEvidence, RunId, State, Store};
use privo_reconcile::words::{Reason, Status};
use rusqlite::{Connection, Row};

use super::Dir;

/// The plain tables. They go with their connection.
const TABLES: &str = "
    CREATE TEMP TABLE readings (entry_id INTEGER PRIMARY KEY, facts TEXT);
    CREATE TEMP TABLE looks (run_id, entry_id, effect, lookup, asked_ms, seen_ms, server_ms, seen, cause, records, state,
      known_control, random_control);
    CREATE TEMP TABLE verdicts (id INTEGER PRIMARY KEY, entry_id, run_id, decided_ms, status, outcome, reason, action,
      server_id, matched_on, explanation, correction);
    CREATE TEMP TABLE state (entry_id INTEGER PRIMARY KEY, sent_ms, status DEFAULT 'pending', reason, action, explanation,
      not_before_ms, verdict_id, checks DEFAULT 0, first_checked_ms, last_checked_ms, due_ms DEFAULT 0, joined_id, lead_id);
    CREATE TEMP TRIGGER came AFTER INSERT ON main.entries BEGIN INSERT INTO state (entry_id) VALUES (NEW.id); END;";

/// What the plain tables hold.
#[derive(Default)]
struct Written {
    readings: BTreeMap<i64, Reading>,
    looks: BTreeMap<i64, Vec<(i64, LookMade)>>,
    /// By id: entry, run, when, and what was said.
    verdicts: Vec<(i64, i64, i64, Moment, Verdict)>,
    states: Vec<(State, Option<i64>, Option<Deferral>)>,
}

/// Writes what the SQL says into the empty ledger of a folder.
pub fn write(dir: &Dir, sql: &str) {
    let path = dir.file("ledger.db");
    let written = {
        let db = Connection::open(&path).unwrap();
        db.execute_batch(TABLES).unwrap();
        db.execute_batch(sql).unwrap();
        Written { readings: readings(&db), looks: looks(&db), verdicts: verdicts(&db), states: states(&db) }
    };
    written.store(&mut SqliteStore::open(&path).unwrap());
}

fn rows<T>(db: &Connection, sql: &str, read: impl Fn(&Row) -> T) -> Vec<T> {
    let mut statement = db.prepare(sql).unwrap();
    statement.query_map([], |row| Ok(read(row))).unwrap().map(Result::unwrap).collect()
}

fn word<T: serde::de::DeserializeOwned>(text: String) -> T {
    serde_json::from_value(text.into()).unwrap()
}

fn moment(row: &Row, column: &str) -> Option<Moment> {
    row.get::<_, Option<i64>>(column).unwrap().map(Moment)
}

fn readings(db: &Connection) -> BTreeMap<i64, Reading> {
    let read = |row: &Row| {
        let facts = serde_json::from_str(&row.get::<_, String>(1).unwrap()).unwrap();
        (row.get(0).unwrap(), Reading { fingerprint: "b".to_owned(), facts })
    };
    rows(db, "SELECT entry_id, facts FROM readings", read).into_iter().collect()
}

fn looks(db: &Connection) -> BTreeMap<i64, Vec<(i64, LookMade)>> {
    let mut looks: BTreeMap<i64, Vec<(i64, LookMade)>> = BTreeMap::new();
    let read = |row: &Row| {
        let records: Option<String> = row.get("records").unwrap();
        let look = Look {
            effect: row.get("effect").unwrap(),
            asked: moment(row, "asked_ms").unwrap(),
            answered: moment(row, "seen_ms").unwrap(),
            server: moment(row, "server_ms"),
            seen: word(row.get("seen").unwrap()),
            cause: row.get("cause").unwrap(),
            records: records.map(|records| serde_json::from_str(&records).unwrap()).unwrap_or_default(),
            state: row.get("state").unwrap(),
            known: word(row.get("known_control").unwrap()),
            random: word(row.get("random_control").unwrap()),
            ..Look::default()
        };
        (
            row.get("entry_id").unwrap(),
            row.get("run_id").unwrap(),
            LookMade { lookup: row.get("lookup").unwrap(), look },
        )
    };
    for (entry, run, look) in rows(db, "SELECT * FROM looks ORDER BY rowid", read) {
        looks.entry(entry).or_default().push((run, look));
    }
    looks
}

fn verdicts(db: &Connection) -> Vec<(i64, i64, i64, Moment, Verdict)> {
    let read = |row: &Row| {
        let verdict = Verdict {
            status: word(row.get("status").unwrap()),
            outcome: word(row.get("outcome").unwrap()),
            reason: word(row.get("reason").unwrap()),
            action: word(row.get("action").unwrap()),
            server_id: row.get("server_id").unwrap(),
            matched_on: row.get("matched_on").unwrap(),
            explanation: row.get("explanation").unwrap(),
            correction: row.get("correction").unwrap(),
        };
        let [id, entry, run] = ["id", "entry_id", "run_id"].map(|column| row.get(column).unwrap());
        (id, entry, run, moment(row, "decided_ms").unwrap(), verdict)
    };
    rows(db, "SELECT * FROM verdicts ORDER BY id", read)
}

fn states(db: &Connection) -> Vec<(State, Option<i64>, Option<Deferral>)> {
    let read = |row: &Row| {
        let text = |column: &str| row.get::<_, Option<String>>(column).unwrap();
        let entry = row.get("entry_id").unwrap();
        let lead: Option<i64> = row.get("lead_id").unwrap();
        let mut state = State::arrived(entry, false, Moment(0));
        state.arrived = None;
        state.sent = moment(row, "sent_ms");
        state.status = text("status").map(word);
        state.reason = text("reason").map(word);
        state.action = text("action").map(word);
        state.not_before = moment(row, "not_before_ms");
        state.due = moment(row, "due_ms");
        state.checks = row.get("checks").unwrap();
        state.first_checked = moment(row, "first_checked_ms");
        state.last_checked = moment(row, "last_checked_ms");
        (state.joined, state.lead) = (row.get("joined_id").unwrap(), lead);
        let deferral = text("explanation").map(|explanation| Deferral {
            reason: state.reason.unwrap(),
            action: state.action.unwrap(),
            not_before: state.not_before,
            explanation,
            waits_for: None,
        });
        (state, row.get("verdict_id").unwrap(), deferral)
    };
    rows(db, "SELECT * FROM state ORDER BY entry_id", read)
}

impl Written {
    fn store(mut self, store: &mut SqliteStore) {
        store.begin().unwrap();
        let mut states: BTreeMap<i64, State> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for (id, entry, run, at, verdict) in std::mem::take(&mut self.verdicts) {
            let state = states.entry(entry).or_insert_with(|| State::arrived(entry, false, Moment(0)));
            let said = match verdict.reason {
                Reason::Closed => Said::Closed(verdict.clone()),
                _ => Said::Verdict(verdict.clone()),
            };
            self.append(store, state, (run, at), Some(said), |look| look.look.asked <= at);
            last.insert(id, (state.head, at, verdict));
        }
        for (mut state, verdict, deferral) in std::mem::take(&mut self.states) {
            let before = states.remove(&state.entry).unwrap_or_else(|| State::arrived(state.entry, false, Moment(0)));
            (state.read, state.head, state.looks) = (before.read, before.head, before.looks);
            let is_read = state.read.is_some() || self.readings.contains_key(&state.entry);
            self.append(store, &mut state, (1, Moment(0)), deferral.map(Said::Deferral), |_| true);
            state.said = state.head.filter(|_| state.status == Some(Status::Pending) && state.reason.is_some());
            if let Some((evidence, at, verdict)) = verdict.and_then(|id| last.remove(&id)) {
                (state.holds, state.said, state.decided) = (true, evidence, Some(at));
                (state.outcome, state.correction) = (Some(verdict.outcome), verdict.correction);
            }
            if is_read {
                (state.unread, state.group) = (false, Some(state.lead.unwrap_or(state.entry)));
            }
            store.put_states(&[state]).unwrap();
        }
        store.commit().unwrap();
    }

    /// Appends what is new of one entry, if anything is.
    fn append(
        &mut self,
        store: &mut SqliteStore,
        state: &mut State,
        (run, at): (i64, Moment),
        said: Option<Said>,
        is_new: impl Fn(&LookMade) -> bool,
    ) {
        let reading = self.readings.remove(&state.entry).map(|reading| TurnReading::New(Box::new(reading)));
        let all = self.looks.remove(&state.entry).unwrap_or_default();
        let (new, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, look)| is_new(look));
        self.looks.insert(state.entry, later);
        let run = new.last().map_or(run, |(run, _)| *run);
        let looks: Vec<LookMade> = new.into_iter().map(|(_, look)| look).collect();
        state.looks += looks.len() as u64;
        let (is_read, entry, held) = (reading.is_some(), state.entry, state.head.is_some());
        let entry = EntryTurn { entry, held, reading, looks, said };
        if !entry.says_something() {
            return;
        }
        let turn = Turn { entries: vec![entry], removals: Vec::new() };
        let (doc, names) = form::write(&turn, &mut |text| store.share(text)).unwrap();
        let after = state.head.into_iter().collect();
        let id = store.append(&NewEvidence { run: RunId(run), at, rules: RULES, after, doc, names }).unwrap();
        state.head = Some(id);
        if is_read {
            state.read = Some(id);
        }
    }
}
