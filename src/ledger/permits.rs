//! Sending again: what is advised, what of it people approved, and the intent that is written ahead of a sending.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::history::History;
use super::ingest::News;
use super::{Ledger, Stored};
use crate::clock::{Moment, Span};
use crate::evidence::{Facts, Kind};
use crate::plan::Reader;
use crate::store::{Note, NoteKind, RunId, State, Written, WrittenRow};
use crate::views::{Audience, Entries, Filter, ReportRow};
use crate::words::{Action, Direction, Failure, Status};

/// An approval holds for a day.
const HOLDS: Span = Span::seconds(24 * 3600);

/// An approval from so far ahead is of a clock that was set back since, and holds all the same.
const AHEAD: Span = Span::seconds(60);

/// An operation that is advised to be sent again.
#[derive(Clone, Debug)]
pub struct Advised {
    /// Its first attempt, with the request ids of all.
    pub row: ReportRow,
    /// The evidence of that attempt's verdict.
    pub verdict: i64,
    facts: Facts,
    blanked: bool,
}

impl Advised {
    /// Why it is for a person to send and no permit is ever given for it; `None`: it may be permitted.
    pub fn left_to_a_person(&self) -> Option<&'static str> {
        if self.facts.direction == Direction::Inbound {
            Some("it is a webhook, which the platform sends")
        } else if self.blanked {
            Some("its personal fields were removed, so that it cannot be looked up again")
        } else if self.facts.effects.iter().any(|effect| effect.kind == Kind::Blind) {
            Some("nothing shows whether what it makes is there, and the server does not keep it unique")
        } else {
            None
        }
    }
}

/// A list that somebody approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub digest: String,
    pub who: String,
    pub at: Moment,
}

impl Approval {
    /// Until then it holds.
    pub fn until(&self) -> Moment {
        self.at + HOLDS
    }
}

/// One operation of an approved list that was not permitted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    pub approval: i64,
    /// The operation's first attempt.
    pub entry: i64,
    /// The evidence of the verdict that was shown.
    pub verdict: i64,
}

/// What is written ahead of a sending.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// What permits it.
    pub approved: Approved,
    pub request_id: &'a str,
    pub operation_id: &'a str,
    /// The attempt whose method, URL and body it has.
    pub like: i64,
    pub sent: Moment,
}

impl Ledger {
    /// The operations that are advised to be sent again, in order of sending.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn advised(&self) -> Result<Vec<Advised>> {
        let mut rows = Vec::new();
        let filter = Filter { audience: Audience::Resend, ..Filter::default() };
        self.each_row(&filter, Entries::Unread, |row| {
            rows.push(row);
            Ok(())
        })?;
        let mut advised = Vec::with_capacity(rows.len());
        for row in rows {
            // A writer may have changed it since.
            let Some(state) = self.store.states(&[row.entry])?.into_iter().next() else { continue };
            let (Some(verdict), true) = (state.said, state.holds) else { continue };
            let histories = self.histories(state.head)?;
            let Some(reading) = histories.of(row.entry).and_then(History::reading) else { continue };
            let (facts, blanked) = (reading.facts.clone(), state.erased.is_some());
            advised.push(Advised { row, verdict, facts, blanked });
        }
        Ok(advised)
    }

    /// Writes down that somebody approved a list: its operations by their first attempt and the verdict that was shown.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing is approved.
    pub fn approve(&mut self, digest: &str, who: &str, at: Moment, operations: &[(i64, i64)]) -> Result<()> {
        let doc = json!({ "digest": digest, "who": who, "operations": operations }).to_string();
        self.in_turn(|store| store.note(NoteKind::Approval, at, &doc)).context("failed to write the approval down")?;
        Ok(())
    }

    /// The approvals that hold at this moment, the last one last.
    fn approvals(&self, now: Moment) -> Result<Vec<(Note, Value)>> {
        let notes = self.store.notes(NoteKind::Approval, now - HOLDS + Span(1))?;
        let holds = notes.into_iter().filter(|note| note.at <= now + AHEAD);
        holds
            .map(|note| {
                let doc = serde_json::from_str(&note.doc).context("failed to read an approval")?;
                Ok((note, doc))
            })
            .collect()
    }

    /// The last approval, if it holds at this moment.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn approval(&self, now: Moment) -> Result<Option<Approval>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let last = self.approvals(now)?.pop();
        Ok(last.map(|(note, doc)| Approval { digest: text(&doc["digest"]), who: text(&doc["who"]), at: note.at }))
    }

    /// What is approved at this moment, not permitted yet, and still advised by the verdict that was shown, in order of
    /// sending.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn approved(&self, now: Moment) -> Result<Vec<Approved>> {
        let mut of_operation = std::collections::BTreeMap::new();
        for (note, doc) in self.approvals(now)? {
            for operation in doc["operations"].as_array().into_iter().flatten() {
                if let (Some(entry), Some(verdict)) = (operation[0].as_i64(), operation[1].as_i64()) {
                    of_operation.insert((entry, verdict), note.id);
                }
            }
        }
        for permit in self.permits(now)? {
            of_operation.remove(&permit);
        }
        let entries: Vec<i64> =
            of_operation.keys().map(|(entry, _)| *entry).collect::<BTreeSet<_>>().into_iter().collect();
        let mut approved = Vec::new();
        for state in self.store.states(&entries)? {
            let Some(verdict) = state.said.filter(|_| is_advised(&state)) else { continue };
            if let Some(approval) = of_operation.get(&(state.entry, verdict)) {
                approved.push((state.sent, Approved { approval: *approval, entry: state.entry, verdict }));
            }
        }
        approved.sort_by_key(|(sent, approved)| (*sent, approved.entry));
        Ok(approved.into_iter().map(|(_, approved)| approved).collect())
    }

    /// Ends what was approved of an operation, without a permit: a person is to look at it again.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn disapprove(&mut self, approved: &Approved, at: Moment) -> Result<()> {
        let Approved { approval, entry, verdict } = *approved;
        let doc = json!({ "approval": approval, "entry": entry, "verdict": verdict, "surprised": true }).to_string();
        self.in_turn(|store| store.note(NoteKind::Permit, at, &doc)).map(|_| ())
    }

    /// The first of what is approved and was not passed over, once all that came was read.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn next_approved(&mut self, reader: &Reader, now: Moment, passed: &HashSet<i64>) -> Result<Option<Approved>> {
        while self.ingest(reader, now)? {}
        Ok(self.approved(now)?.into_iter().find(|approved| !passed.contains(&approved.entry)))
    }

    /// What was permitted since approvals that may hold still: its first attempt and the verdict that was shown.
    fn permits(&self, now: Moment) -> Result<BTreeSet<(i64, i64)>> {
        let mut permits = BTreeSet::new();
        for note in self.store.notes(NoteKind::Permit, now - HOLDS - HOLDS)? {
            let doc: Value = serde_json::from_str(&note.doc).context("failed to read a permit")?;
            permits.extend(doc["entry"].as_i64().zip(doc["verdict"].as_i64()));
        }
        Ok(permits)
    }

    /// Writes what was seen of a group, and the intent to send one operation of it again, in one transaction; when this
    /// returns true, it is durable, and the operation is advised to be sent again no more. False: a writer changed the group
    /// meanwhile, or the approval holds no more; nothing of it was written.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing was.
    pub fn permit(&mut self, run: RunId, seen: &Stored, reader: &Reader, intent: &Intent) -> Result<bool> {
        let mut news = News::default();
        loop {
            // A row that came without triggers counts as well.
            self.store.heal()?;
            self.store.begin()?;
            match self.permit_in_turn(run, seen, reader, intent, &mut news) {
                Ok(Permitted::Yes) => {
                    self.store.commit()?;
                    return Ok(true);
                }
                Ok(Permitted::NotRead) => {
                    self.store.commit()?;
                    while self.ingest(reader, intent.sent)? {}
                    self.refuse_misread(reader, intent)?;
                    return Ok(true);
                }
                Ok(Permitted::No) => {
                    self.taken_back();
                    return Ok(false);
                }
                Ok(Permitted::TooMuchCame) => {
                    self.taken_back();
                    let (part, _) = self.ingest_part(reader, intent.sent, super::ingest::AT_ONCE)?;
                    news.add(part);
                }
                Err(error) => {
                    self.taken_back();
                    return Err(error);
                }
            }
        }
    }

    fn permit_in_turn(
        &mut self,
        run: RunId,
        seen: &Stored,
        reader: &Reader,
        intent: &Intent,
        news: &mut News,
    ) -> Result<Permitted> {
        let now = intent.sent;
        let Some(few) = self.ingest_few(reader, now)? else { return Ok(Permitted::TooMuchCame) };
        news.add(few);
        if self.changed(seen, news)? || !self.approved(now)?.contains(&intent.approved) {
            return Ok(Permitted::No);
        }
        self.append_group(run, seen, now)?;
        self.write_ahead(intent)?;
        // A delete by an id that is nobody's opens others again, which may take longer than a turn.
        if self.ingest_few(reader, now)?.is_none() {
            return Ok(Permitted::NotRead);
        }
        self.refuse_misread(reader, intent)?;
        Ok(Permitted::Yes)
    }

    fn taken_back(&mut self) {
        self.store.rollback();
        self.forms.borrow_mut().forget();
    }

    /// The intent's row, the cells of the attempt as they are, and that the operation was permitted.
    fn write_ahead(&mut self, intent: &Intent) -> Result<()> {
        let like = self.store.rows(&[intent.like])?.into_iter().next();
        let like = like.context("the attempt that is to be sent again is gone (nothing was permitted)")?;
        let text = |cell: &crate::plan::Cell| cell.as_ref().ok().cloned().flatten();
        let row = WrittenRow {
            request_id: intent.request_id.to_owned(),
            operation_id: Some(intent.operation_id.to_owned()),
            direction: text(&like.direction),
            method: text(&like.method).unwrap_or_default(),
            url: text(&like.url).unwrap_or_default(),
            body: text(&like.body),
            sent_at: intent.sent.to_string(),
            failure: Some(Failure::Intent.text().to_owned()),
            ..WrittenRow::default()
        };
        if self.store.write(&row).context("failed to write the intent")? != Written::Done {
            bail!("an intent of this id is there already (report this; nothing was permitted)");
        }
        let entry = self.store.entry_of(intent.request_id)?;
        let Approved { approval, entry: first, verdict } = intent.approved;
        let doc = json!({ "approval": approval, "entry": first, "verdict": verdict, "intent": entry }).to_string();
        self.store.note(NoteKind::Permit, intent.sent, &doc)?;
        Ok(())
    }

    /// An intent that is no attempt of its operation would not keep the next one from being permitted.
    fn refuse_misread(&self, reader: &Reader, intent: &Intent) -> Result<()> {
        let written = self.store.entry_of(intent.request_id)?.unwrap_or_default();
        let rows = self.store.rows(&[intent.like.min(written), intent.like.max(written)])?;
        let facts: Vec<Facts> = rows.iter().map(|row| reader.read(row, intent.sent).facts).collect();
        let same = |one: &Facts, other: &Facts| {
            (one.identity, &one.operation, &one.effects) == (other.identity, &other.operation, &other.effects)
        };
        let first = self.store.states(&[intent.approved.entry])?;
        let still = first.iter().any(|state| state.action == Some(Action::Resend));
        if !matches!(&facts[..], [one, other] if same(one, other)) || still {
            bail!(
                "an intent to send an operation again would not be read as an attempt of it (report this; nothing was permitted)"
            );
        }
        Ok(())
    }
}

enum Permitted {
    Yes,
    /// The intent is written, and is to be read in turns of its own.
    NotRead,
    No,
    TooMuchCame,
}

/// It stands as advised, and nothing came since.
fn is_advised(state: &State) -> bool {
    state.holds
        && state.status == Some(Status::Resolved)
        && state.action == Some(Action::Resend)
        && state.joined.is_none()
        && state.erased.is_none()
}
