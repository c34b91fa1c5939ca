//! Pages: records go into the ledger some hundreds at a time, with how far the file was read.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};

use super::config::{Body, Format, Mapping};
use super::file::{Source, digest};
use super::quarantine::Quarantine;
use super::row::{Row, row};
use super::{Found, Note, Reject, Summary, csv, har, jsonl};
use crate::clock::{Moment, Span};
use crate::evidence::{Facts, KeyDigest};
use crate::ledger::Ledger;
use crate::ledger::import::{Candidate, Counts, Digest16, Fate, Import, Known, Mark, Page, are_two_requests};
use crate::plan::Reader;

/// Entries in one transaction, so that other writers never wait long.
const PAGE: usize = 500;
/// A page may become so much longer or shorter, by how long it took.
const PAGES: std::ops::RangeInclusive<usize> = 100..=8000;
/// Bytes of entries in one transaction.
const PAGE_BYTES: usize = 8 << 20;
/// Records after which the mark moves on, be there nothing to record.
const STRIDE: u64 = 50_000;

/// So many operation ids of a file are kept to be told whether another request bears one.
const MOST_IDS: usize = 100_000;

/// A browser lists what its page sent and what the page's service worker then sent as two requests, milliseconds apart. So
/// equal requests of a HAR that are no further apart are attempts of one operation.
const ONE_OPERATION: Span = Span::seconds(1);

/// What an import is told.
pub struct Job<'a> {
    pub reader: &'a Reader<'a>,
    /// Complete for its format.
    pub mapping: &'a Mapping,
    pub format: Format,
    pub dry_run: bool,
    pub clock: fn() -> Moment,
}

/// Imports what is new in a file.
///
/// # Errors
/// When the file cannot be read, or ledger or quarantine cannot be written. What was read before is imported.
pub fn import(ledger: &mut Ledger, job: &Job, source: &Source) -> Result<Summary> {
    let started = find(ledger, job, source)?;
    let mut summary = Summary {
        file: source.path.clone(),
        format: job.format,
        lines_before: started.mark.lines,
        records: 0,
        imported: 0,
        duplicates: 0,
        completed: 0,
        left_out: 0,
        rejected: 0,
        notes: BTreeMap::new(),
        cannot_be_decided: BTreeMap::new(),
        reasons: BTreeMap::new(),
        quarantine: None,
    };
    if job.format == Format::Har && started.mark.bytes > 0 {
        return Ok(summary);
    }
    let quarantine = if job.dry_run { None } else { Some(Quarantine::of(&source.path, started.mark.lines)?) };
    let mut pages = Pages {
        job,
        source,
        ledger,
        import: started.clone(),
        waiting: Waiting::default(),
        most: PAGE,
        quarantine,
        seen: HashMap::new(),
        operations: HashMap::new(),
        ids: HashMap::new(),
        summary: &mut summary,
    };
    let mut take = |found| pages.take(found);
    let read = match job.format {
        Format::Csv => csv::read(source, job.mapping, started.mark, &mut take),
        Format::Har => har::read(source, &mut take),
        Format::Jsonl | Format::Nginx | Format::Envoy => {
            let bodies = job.mapping.body.as_ref().map(Body::plain_paths).unwrap_or_default();
            jsonl::read(source, &bodies, started.mark, &mut take)
        }
    };
    if let Err(error) = read {
        // What stood before the fault is imported all the same.
        pages.flush(true)?;
        return Err(error);
    }
    pages.finish()?;
    let ended = pages.import;
    if summary.all_rejected() && !job.dry_run {
        // Read again once the file or the mapping is corrected.
        ledger.take_import_back(&ended, &started, (job.clock)())?;
    }
    Ok(summary)
}

/// The import of this file that an earlier one left, or a new one.
fn find(ledger: &Ledger, job: &Job, source: &Source) -> Result<Import> {
    let salt = ledger.salt();
    let mapping = digest(salt, &[job.format.text().as_bytes(), job.mapping.written().as_bytes()]);
    let length = source.length()?;
    for import in ledger.imports(&mapping)? {
        let grows = job.format != Format::Har || import.mark.bytes == length;
        let fits = grows && import.known.head_bytes <= length && import.mark.bytes <= length;
        if fits
            && source.head(salt, import.known.head_bytes)?.1 == import.known.head
            && source.tail(salt, import.mark.bytes)? == import.tail
        {
            return Ok(Import { known: Known { file: source.name(), ..import.known }, ..import });
        }
    }
    let (head_bytes, head) = source.head(salt, length)?;
    Ok(Import {
        id: None,
        known: Known { file: source.name(), mapping, head_bytes, head },
        mark: Mark::default(),
        tail: digest(salt, &[&[]]),
        counts: Counts::default(),
    })
}

/// What was read and not stored yet.
#[derive(Default)]
struct Waiting {
    rows: Vec<Row>,
    bytes: usize,
    rejected: Vec<(u64, Reject)>,
    left_out: u64,
    records: u64,
    mark: Mark,
}

struct Pages<'a> {
    job: &'a Job<'a>,
    source: &'a Source,
    ledger: &'a mut Ledger,
    import: Import,
    waiting: Waiting,
    /// So many rows make a page.
    most: usize,
    /// `None`: a dry run.
    quarantine: Option<Quarantine>,
    /// Of a dry run: what it would have stored.
    seen: HashMap<Digest16, i64>,
    /// Of a HAR: when the first attempt of an operation was sent, and the operation's id, by what its attempts share.
    operations: HashMap<Digest16, (Moment, String)>,
    /// Of each operation id that the file names, its first request; of so many.
    ids: HashMap<KeyDigest, Facts>,
    summary: &'a mut Summary,
}

impl Pages<'_> {
    fn take(&mut self, found: Found) -> Result<()> {
        if found.after.is_none() {
            // The last line stands alone: it is read again by the next import.
            self.flush(true)?;
        }
        let mut notes = found.notes;
        let Job { reader, mapping, clock, .. } = self.job;
        let mut read = found.record.and_then(|record| row(reader, mapping, found.line, &record, &mut notes, clock()));
        if let Ok(Some(row)) = &mut read
            && self.job.format == Format::Har
            && self.is_seen_twice(row)
        {
            notes.push(Note::SeenTwice);
        }
        if let Ok(Some(row)) = &mut read {
            notes.extend(row.facts.take().filter(|facts| self.is_of_another(facts)).map(|_| Note::SharedId));
        }
        for note in notes {
            *self.summary.notes.entry(note.text().to_owned()).or_default() += 1;
        }
        let waiting = &mut self.waiting;
        waiting.records += 1;
        match read {
            Ok(Some(row)) => {
                waiting.bytes += row.bytes();
                waiting.rows.push(row);
            }
            Ok(None) => waiting.left_out += 1,
            Err(Reject::NoObject) if found.after.is_none() => waiting.rejected.push((found.line, Reject::Unfinished)),
            Err(reject) => waiting.rejected.push((found.line, reject)),
        }
        let Some(mark) = found.after else { return self.flush(false) };
        waiting.mark = mark;
        let full =
            waiting.rows.len() >= self.most || waiting.bytes >= PAGE_BYTES || waiting.rejected.len() >= self.most;
        if full || waiting.records >= STRIDE { self.flush(true) } else { Ok(()) }
    }

    /// Whether its operation id was given to another request before.
    fn is_of_another(&mut self, facts: &Facts) -> bool {
        let known = self.ids.len();
        match self.ids.entry(facts.identity) {
            Entry::Occupied(first) => are_two_requests(first.get(), facts),
            Entry::Vacant(place) => {
                if known < MOST_IDS {
                    place.insert(facts.clone());
                }
                false
            }
        }
    }

    /// Makes a row an attempt of the operation of an equal one that was sent in the same second, if there is one.
    fn is_seen_twice(&mut self, row: &mut Row) -> bool {
        if row.operation_id().is_some() || !row.says_all() {
            return false;
        }
        match self.operations.get(&row.like) {
            Some((first, operation)) if row.sent().since(*first).0.abs() <= ONE_OPERATION.0 => {
                row.belongs_to(operation);
                true
            }
            _ => {
                self.operations.insert(row.like, (row.sent(), row.first_id()));
                false
            }
        }
    }

    /// Stores the last page. Of a HAR, only now it is known how far it was read.
    fn finish(&mut self) -> Result<()> {
        if self.job.format == Format::Har && self.import.mark.lines + self.waiting.records > 0 {
            self.waiting.mark =
                Mark { bytes: self.source.length()?, lines: self.waiting.mark.lines.max(self.import.mark.lines) };
            return self.store(true);
        }
        self.flush(true)
    }

    fn flush(&mut self, ended: bool) -> Result<()> {
        if self.waiting.records == 0 { Ok(()) } else { self.store(ended) }
    }

    fn store(&mut self, ended: bool) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let candidates: Vec<Candidate> = waiting.rows.iter().map(Row::candidate).collect();
        let mut rejected = waiting.rejected;
        let fates = match &mut self.quarantine {
            None => {
                let fates = self.ledger.import_preview(&self.import, &candidates, &mut self.seen)?;
                rejected.extend(taken(&waiting.rows, &fates));
                fates
            }
            Some(quarantine) => {
                let tail = self.source.tail(self.job.reader.salt, waiting.mark.bytes)?;
                let page = Page {
                    candidates: &candidates,
                    left_out: waiting.left_out,
                    rejected: rejected.len() as u64,
                    advance: ended.then_some((waiting.mark, tail)),
                    at: (self.job.clock)(),
                };
                let mut shown = Vec::new();
                let stored = self.ledger.import_page(&mut self.import, &page, &mut |fates| {
                    rejected.extend(taken(&waiting.rows, fates));
                    shown = fates.to_vec();
                    quarantine.add(&rejected)
                });
                stored.with_context(|| format!("failed to import {}", self.source.path.display()))?;
                self.most = next_page(candidates.len(), self.most, self.ledger);
                shown
            }
        };
        self.count(&waiting.rows, &fates, &rejected, (waiting.records, waiting.left_out));
        Ok(())
    }

    fn count(&mut self, rows: &[Row], fates: &[Fate], rejected: &[(u64, Reject)], (records, left_out): (u64, u64)) {
        let summary = &mut *self.summary;
        summary.records += records;
        summary.left_out += left_out;
        summary.rejected += rejected.len() as u64;
        for (row, fate) in rows.iter().zip(fates) {
            match fate {
                Fate::Imported => {
                    summary.imported += 1;
                    if let Some(why) = &row.cannot_be_decided {
                        *summary.cannot_be_decided.entry(why.clone()).or_default() += 1;
                    }
                }
                Fate::Duplicate => summary.duplicates += 1,
                Fate::Completed => summary.completed += 1,
                Fate::Taken => {}
            }
        }
        for (_, reject) in rejected {
            *summary.reasons.entry(reject.to_string()).or_default() += 1;
        }
        if let (Some(quarantine), false) = (&self.quarantine, rejected.is_empty()) {
            summary.quarantine = Some(quarantine.path().to_owned());
        }
    }
}

/// How long the next page is to be, so that its transaction lasts as long as one is meant to.
fn next_page(rows: usize, most: usize, ledger: &Ledger) -> usize {
    let (lasted, meant) = {
        let (lasted, meant) = ledger.store().last_turn();
        (lasted.as_secs_f64(), meant.as_secs_f64())
    };
    if rows < most && lasted < meant {
        // A short one says little.
        return most;
    }
    let fits = rows as f64 * meant / 2.0 / lasted.max(1e-3);
    (fits.min(most as f64 * 2.0) as usize).clamp(*PAGES.start(), *PAGES.end())
}

fn taken<'a>(rows: &'a [Row], fates: &'a [Fate]) -> impl Iterator<Item = (u64, Reject)> + 'a {
    rows.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Taken).map(|(row, _)| (row.line, Reject::Taken))
}
