//! Forgetting: an erasure request. Every entry that names a person loses its personal fields, whatever its status, and
//! every digest that the person's keys could be guessed from is replaced.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::Ledger;
use super::blanking::{Blanking, Cause, Pseudonym, Work, are_as_they_were};
use super::components::{Components, Mark, Terms};
use super::intake::id_text;
use super::prune::{Step, taken_back_unless};
use super::runs::RunId;
use super::settle::{Close, close_entry};
use super::writing::Writing;
use crate::clock::{Moment, Span};
use crate::evidence::{Effect, Facts, Link};
use crate::plan::Reader;
use crate::plan::subject::Subject;

/// An entry that names the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub entry: i64,
    pub request_id: String,
    pub operation: Option<String>,
    /// `None`: an `answered` row.
    pub status: Option<String>,
    /// A late record could still correct its verdict.
    pub watched: bool,
    /// It has personal fields still.
    pub whole: bool,
}

impl Named {
    /// Nobody knows yet what became of it.
    pub fn pending(&self) -> bool {
        self.status.as_deref() == Some("pending")
    }
}

/// Whose word it is.
#[derive(Clone, Copy, Debug)]
pub struct Erasure<'a> {
    pub who: &'a str,
    pub why: &'a str,
    pub at: Moment,
    /// The run under which pending entries are closed.
    pub run: Option<RunId>,
}

impl Ledger {
    /// Every entry that names the subject, by its row, by a key's digest, by an id of the server or by its pseudonym.
    /// Writes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn naming(&self, subject: &Subject, pseudonyms: &BTreeSet<String>) -> Result<Vec<Named>> {
        naming(&self.connection, subject, pseudonyms)
    }

    /// Removes the personal fields of every entry that names the subject; pending ones are closed. Which, is fixed at the
    /// start; what hangs together is done in one transaction, and these are short. What was removed may stand in the log
    /// and in free pages until [`Ledger::clean`]. The lock is the caller's. Gives what was forgotten, as it stood before.
    ///
    /// # Errors
    /// When the ledger cannot be written: then what hangs together is forgotten or is not, and it is to be done again.
    pub fn forget(
        &mut self,
        reader: &Reader,
        subject: &Subject,
        pseudonyms: &BTreeSet<String>,
        erasure: &Erasure,
    ) -> Result<Vec<Named>> {
        while self.take_in(reader, erasure.at)? {}
        self.connection.pragma_update(None, "secure_delete", "ON")?;
        self.forget_in_notes(subject)?;
        let reading = self.connection.transaction()?;
        let named = naming(&reading, subject, pseudonyms)?;
        let terms = Terms { now: erasure.at, keep: Span::ZERO, watch: Span::ZERO };
        let (mut components, mut at) = (Components::read(&reading, &terms)?, 0);
        drop(reading);
        if named.is_empty() {
            return Ok(named);
        }
        if erasure.run.is_none() && named.iter().any(Named::pending) {
            bail!("an entry that names the subject was recorded just now, and nothing was forgotten (do it again)");
        }
        let nobody: Pseudonym = &|_| None;
        let cause = Cause { command: "forget", keep: None, who: Some(erasure.who), why: Some(erasure.why) };
        let mut work = Work::new(&self.connection, reader, erasure.at, nobody, cause)?;
        work.also = subject.spellings().iter().map(|spelling| spelling.to_lowercase()).collect();
        let targets: BTreeMap<i64, bool> = named.iter().map(|named| (named.entry, named.whole)).collect();
        let pending = named.iter().filter(|named| named.pending()).map(|named| named.entry).collect();
        let gone = links_of(&Blanking::looking(&self.connection, &work), subject, targets.keys())?;
        let forgetting = Forgetting { subject, targets: &targets, pending: &pending, gone: &gone, erasure };
        let mut next = components.next_of(&mut at, &targets);
        while next.is_some() {
            let turn = self.turn()?;
            let blanking = Blanking::begin(&turn, &work)?;
            while let Some(members) = &next {
                forgetting.component(&blanking, members)?;
                next = components.next_of(&mut at, &targets);
                if turn.is_over() {
                    break;
                }
            }
            let id = blanking.end()?;
            turn.commit()?;
            work.committed(id);
        }
        Ok(named)
    }
}

impl Components {
    /// The next component of which one is to be forgotten.
    fn next_of(&mut self, at: &mut usize, targets: &BTreeMap<i64, bool>) -> Option<Vec<(i64, Mark)>> {
        loop {
            let members = self.next(at)?;
            if members.iter().any(|(entry, _)| targets.contains_key(entry)) {
                return Some(members);
            }
        }
    }
}

/// Whom and what, and by whose word.
struct Forgetting<'a> {
    subject: &'a Subject<'a>,
    targets: &'a BTreeMap<i64, bool>,
    pending: &'a BTreeSet<i64>,
    gone: &'a BTreeSet<Link>,
    erasure: &'a Erasure<'a>,
}

impl Forgetting<'_> {
    /// Forgets within what hangs together, and closes what is pending of it.
    fn component(&self, blanking: &Blanking, members: &[(i64, Mark)]) -> Result<()> {
        let Forgetting { subject, targets, gone, .. } = *self;
        let connection = blanking.connection;
        if !are_as_they_were(connection, members.iter().map(|(entry, _)| *entry))? {
            bail!(
                "a row beside one that names the subject was changed just now, and not all was forgotten (do it again; what was forgotten stays so)"
            );
        }
        let its = || members.iter().map(|(entry, _)| entry).filter(|entry| targets.contains_key(entry));
        self.close_pending(connection, its())?;
        let exact = || forget_in(blanking, subject, members, targets, gone, true);
        if matches!(taken_back_unless(connection, exact)?, Step::Left) {
            // A person's right outweighs that each verdict can be decided again.
            taken_back_unless(connection, || forget_in(blanking, subject, members, targets, gone, false))?;
        }
        drop_pseudonyms(connection, its())
    }

    fn close_pending<'m>(&self, connection: &Connection, entries: impl Iterator<Item = &'m i64>) -> Result<()> {
        let Some(run) = self.erasure.run else { return Ok(()) };
        let close = Close {
            who: self.erasure.who.to_owned(),
            why: self.erasure.why.to_owned(),
            outcome: crate::words::Outcome::Unknown,
            at: self.erasure.at,
        };
        let mut writing = Writing::prepare(connection, run, close.at)?;
        for entry in entries.filter(|entry| self.pending.contains(entry)) {
            close_entry(connection, &mut writing, *entry, &close)?;
        }
        Ok(())
    }
}

/// Forgets within what hangs together. With `exact`, only if every verdict still follows from its evidence.
fn forget_in(
    blanking: &Blanking,
    subject: &Subject,
    members: &[(i64, Mark)],
    targets: &BTreeMap<i64, bool>,
    gone: &BTreeSet<Link>,
    exact: bool,
) -> Result<Step> {
    let all: Vec<i64> = members.iter().map(|(entry, _)| *entry).collect();
    let fresh: Vec<i64> = all.iter().copied().filter(|entry| targets.get(entry) == Some(&true)).collect();
    let before = members.iter().filter(|(_, mark)| mark.blanked()).map(|(entry, _)| blanking.touch(*entry));
    let mut touched = before.collect::<Result<Vec<_>>>()?;
    let ids =
        blanking.naming_ids(&all, &|id| subject.is_named_by(id) || (targets.len() == all.len() && id.contains('@')))?;
    if (!ids.is_empty() || blanking.fetched_state(&fresh)?) && !blanking.rename_evidence(&all, &fresh, &ids, exact)? {
        return Ok(Step::Left);
    }
    for &entry in &fresh {
        touched.push(blanking.blank(entry)?);
    }
    for entry in all.iter().filter(|entry| targets.contains_key(entry)) {
        blanking.unname_words(*entry, |said| subject.removed_from(said))?;
    }
    let seal = touched.len() == all.len();
    let sealed: BTreeSet<i64> = members.iter().filter(|(_, mark)| mark.sealed()).map(|(entry, _)| *entry).collect();
    blanking.seal(&all, &sealed, if seal { None } else { Some(gone) })?;
    for touched in &touched {
        blanking.stamp(touched, seal || sealed.contains(&touched.entry))?;
    }
    Ok(Step::Done)
}

/// Every digest that can be guessed from the subject: of its keys, of the fields that were written under them, of what the
/// records showed.
fn links_of<'a>(
    blanking: &Blanking,
    subject: &Subject,
    targets: impl Iterator<Item = &'a i64>,
) -> Result<BTreeSet<Link>> {
    let keys = subject.links();
    let mut links = keys.clone();
    for &entry in targets {
        for facts in blanking.facts_of(entry)?.values() {
            let its =
                facts.effects.iter().filter(|effect| effect.keys().chain(effect.owner).any(|key| keys.contains(&key)));
            // The owner's stay: they are another person's.
            let owners = |link: &Link| facts.effects.iter().any(|e| [e.owner, e.owner_record].contains(&Some(*link)));
            links.extend(its.flat_map(Effect::digests).filter(|link| !owners(link)));
        }
        links.extend(blanking.records_of(entry)?.values().flatten().filter_map(|record| record.values));
    }
    Ok(links)
}

/// What leads from the person to a blanked entry goes with the person.
fn drop_pseudonyms<'a>(connection: &Connection, targets: impl Iterator<Item = &'a i64>) -> Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM pseudonyms WHERE entry_id = ?")?;
    for entry in targets {
        statement.execute([entry])?;
    }
    Ok(())
}

fn naming(connection: &Connection, subject: &Subject, pseudonyms: &BTreeSet<String>) -> Result<Vec<Named>> {
    let mut found = in_rows(connection, subject)?;
    let links = subject.links();
    found.extend(by_digest(connection, &links)?);
    found.extend(by_server_id(connection, subject)?);
    found.extend(by_words(connection, subject)?);
    let mut statement = connection.prepare("SELECT entry_id FROM pseudonyms WHERE pseudonym = ?")?;
    for pseudonym in pseudonyms {
        for entry in statement.query_map([pseudonym], |row| row.get::<_, i64>(0))? {
            found.insert(entry?);
        }
    }
    let whole = |entry: i64| -> Result<bool> {
        let mut statement =
            connection.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM blanked WHERE entry_id = ?)")?;
        Ok(statement.query_row([entry], |row| row.get(0))?)
    };
    found.into_iter().map(|entry| named(connection, entry, whole(entry)?)).collect()
}

fn named(connection: &Connection, entry: i64, whole: bool) -> Result<Named> {
    let (request_id, status, watched, facts) = connection
        .prepare_cached(
            "SELECT e.request_id, s.status, s.due_ms IS NOT NULL AND s.status = 'resolved', r.facts
             FROM entries e JOIN standings s ON s.entry_id = e.id LEFT JOIN readings r ON r.id = s.reading_id WHERE e.id = ?",
        )?
        .query_row([entry], |row| {
            Ok((id_text(row.get_ref(0)?), row.get(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?))
        })
        .with_context(|| format!("failed to read entry {entry}"))?;
    // One that was not read yet (this is a dry run then) has no operation.
    let facts: Option<Facts> = facts.map(|json| serde_json::from_str(&json)).transpose()?;
    let operation = facts.and_then(|facts| facts.operation);
    Ok(Named { entry, request_id, operation, status, watched, whole })
}

/// Entries whose row names it.
fn in_rows(connection: &Connection, subject: &Subject) -> Result<BTreeSet<i64>> {
    let mut statement = connection.prepare(
        "SELECT id, url, body, request_id, operation_id, method, sent_at, ended_at, failure, direction, error, http_status FROM entries
         WHERE id NOT IN (SELECT entry_id FROM blanked)",
    )?;
    let mut rows = statement.query([])?;
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let text = |column: usize| -> Result<String> {
            Ok(match row.get_ref(column)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            })
        };
        let mut names = subject.in_request(&text(1)?, &text(2)?);
        for column in 3..12 {
            names = names || subject.is_named_in(&text(column)?);
        }
        if names {
            found.insert(row.get(0)?);
        }
    }
    Ok(found)
}

/// Entries whose evidence bears a digest of its keys, also one of a row that was corrected since.
fn by_digest(connection: &Connection, links: &BTreeSet<Link>) -> Result<BTreeSet<i64>> {
    let mut statement = connection.prepare("SELECT entry_id, facts FROM readings")?;
    let mut rows = statement.query([])?;
    let texts: Vec<String> = links.iter().map(Link::to_string).collect();
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next()? {
        let facts = row.get_ref(1)?.as_str()?;
        if texts.iter().any(|link| facts.contains(link.as_str())) {
            found.insert(row.get(0)?);
        }
    }
    Ok(found)
}

/// Entries whose look found a record that bears it as the server's id.
fn by_server_id(connection: &Connection, subject: &Subject) -> Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    let mut statement = connection.prepare("SELECT entry_id, records FROM observations WHERE records IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let records: Vec<crate::evidence::Record> = serde_json::from_str(row.get_ref(1)?.as_str()?)?;
        if records.iter().any(|record| record.id.as_deref().is_some_and(|id| subject.is_named_by(id))) {
            found.insert(row.get(0)?);
        }
    }
    Ok(found)
}

/// Entries of which a person who closed them said it. Who that was is no word about the entry.
fn by_words(connection: &Connection, subject: &Subject) -> Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    let mut statement = connection.prepare("SELECT entry_id, explanation FROM verdicts WHERE decision_id IS NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let said = row.get_ref(1)?.as_str()?;
        let why = said.split_once(": ").map_or(said, |(_, why)| why);
        let why = why.rsplit_once(" (was ").map_or(why, |(why, _)| why);
        if subject.is_named_in(why) {
            found.insert(row.get(0)?);
        }
    }
    Ok(found)
}
