//! Erasing: the personal fields of entries are taken away. `prune` and `forget` say of which; this says how.
//!
//! # What goes
//! The row loses body, query, error and whatever else may name somebody ([`Reader::remainder`]). Evidence gets other names
//! ([`super::form`]): what a webhook's look fetched, ids of the server that name somebody, the masked subject. The digests of
//! keys can be guessed by whoever has the store, for the salt is in it: they get random ones instead, and the keys are
//! forgotten, as soon as nothing is left that must be compared with them (*sealing*).
//!
//! # What stays decidable
//! Evidence itself never changes. What was equal gets equal names, so each verdict follows from its evidence as before, and
//! `verify` shows it. An operation's own digest stays, for it leads to nothing but the operation's id: a later attempt of
//! that operation still finds its group; a later entry with the same key does not. It is decided by its own looks then. One
//! that was sent before what was sealed had been settled, and is read only now, is *overtaken*: what else concerned its key
//! cannot be known any more.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Ledger;
use super::form::{self, Names, Uses};
use super::history::{Histories, History};
use super::key_of;
use super::turn::{EntryTurn, Reading, Turn, TurnReading};
use crate::clock::{Moment, Span};
use crate::evidence::{Effect, Facts, KeyDigest};
use crate::plan::personal::{self, Kept, Remainder};
use crate::plan::{Reader, Row, hex, operation};
use crate::store::{Evidence, Left, NoteKind, RunId, State, Word};
use crate::words::Reason;

/// Ids that were renamed begin so.
pub(super) const RENAMED: &str = "blanked-";

/// How a subject is named when its name is gone: `None` without a key.
pub type Pseudonym<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whose time is over.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub now: Moment,
    /// So long after the verdict personal fields stay.
    pub keep: Span,
    /// So long after a verdict that a late record could correct it is looked at again.
    pub watch: Span,
}

/// Whose word an erasure is.
#[derive(Clone, Copy, Debug)]
pub struct Erasure<'a> {
    pub who: &'a str,
    pub why: &'a str,
    pub at: Moment,
    /// The run under which it is done, and pending entries are closed.
    pub run: RunId,
}

/// Which command erases, and by whose word.
#[derive(Clone, Debug)]
pub(super) struct Cause<'a> {
    pub command: &'static str,
    pub keep: Option<Span>,
    pub who: Option<&'a str>,
    pub why: Option<&'a str>,
}

/// What a command that erases keeps from one of its transactions to the next.
pub(super) struct Work<'a> {
    pub reader: &'a Reader<'a>,
    pub now: Moment,
    pub run: RunId,
    /// What is personal beside each row's own values, in small letters: whom a `forget` is about.
    pub also: BTreeSet<String>,
    pub pseudonym: Pseudonym<'a>,
    pub cause: Cause<'a>,
    /// What is random comes of this; it is forgotten with the command.
    key: [u8; 32],
    /// Its note, once something is erased.
    note: Option<i64>,
    entries: u64,
}

/// What is erased of one group.
pub(super) struct Plan<'a> {
    /// Lose their personal fields now.
    pub erase: BTreeSet<i64>,
    /// Which digests are replaced: all but those of operations, or these.
    pub digests: Digests<'a>,
    /// Which ids of the server name somebody.
    pub naming: &'a dyn Fn(&str) -> bool,
    /// What is left of a person's words about an entry.
    pub words: &'a dyn Fn(i64, &str) -> String,
}

/// What was found while rows were erased.
#[derive(Default)]
struct Erased {
    /// Entries of the group without their personal fields.
    entries: BTreeSet<i64>,
    /// What was personal in those that lost them now.
    values: BTreeMap<i64, BTreeSet<String>>,
    /// Entries whose operation's id named somebody.
    named: BTreeSet<i64>,
}

/// Which digests of a group are replaced.
pub(super) enum Digests<'a> {
    None,
    /// Every one, for the whole group is without its fields.
    All,
    These(&'a BTreeSet<KeyDigest>),
}

impl<'a> Work<'a> {
    /// Begins the work of a command; nothing is written.
    pub fn new(
        reader: &'a Reader<'a>,
        now: Moment,
        run: RunId,
        pseudonym: Pseudonym<'a>,
        cause: Cause<'a>,
    ) -> Work<'a> {
        Work { reader, now, run, also: BTreeSet::new(), pseudonym, cause, key: random(), note: None, entries: 0 }
    }

    fn digest(&self, scope: &str, bytes: &[u8]) -> [u8; 16] {
        let digest = Sha256::new_with_prefix(self.key).chain_update(scope).chain_update(bytes).finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        short
    }

    /// A name for a text: the same for the same text within this work, and nothing leads back from it.
    fn rename(&self, text: &str) -> String {
        format!("{RENAMED}{}", hex(&self.digest("name", text.as_bytes())))
    }

    /// A digest for a digest, likewise.
    fn replaced(&self, group: i64, digest: &KeyDigest) -> KeyDigest {
        let own = [&group.to_be_bytes()[..], &digest.0].concat();
        KeyDigest(self.digest("digest", &own))
    }
}

/// Bytes that nobody can guess.
pub(super) fn random() -> [u8; 32] {
    let mut digest = Sha256::new();
    for _ in 0..8 {
        // The one source of the system's randomness in the standard library.
        digest.update(RandomState::new().build_hasher().finish().to_le_bytes());
    }
    digest.finalize().into()
}

impl Ledger {
    /// Erases within one group, within the caller's transaction. `members` are as they stand now.
    pub(super) fn erase_in_group(&mut self, work: &mut Work, members: &[State], plan: &Plan) -> Result<()> {
        let note = self.note_of(work)?;
        let members = self.with_readings(work, members)?;
        let evidence = self.evidence_up_to(members.iter().filter_map(|state| state.head))?;
        let mut histories = Histories::default();
        for row in &evidence {
            let turn = self.turn_of(row)?;
            histories.add(row, turn);
        }
        let (mut states, mut erased) = (members.clone(), Erased::default());
        for state in states.iter_mut().filter(|state| plan.erase.contains(&state.entry)) {
            let history = histories.of(state.entry).context("the evidence of an entry is missing")?;
            let (pseudonym, values) = self.erase_row(work, state.entry, history)?;
            erased.values.insert(state.entry, values);
            (state.pseudonym, state.erased, state.due) = (pseudonym, Some(note), None);
            work.entries += 1;
        }
        erased.entries = states.iter().filter(|state| state.erased.is_some()).map(|state| state.entry).collect();
        erased.named = self.named_operations(&erased.entries)?;
        let gone = self.rename_evidence(work, plan, &evidence, &erased, group_of(&members))?;
        if !gone.is_empty() {
            self.store.drop_keys(&gone.iter().map(key_of).collect::<Vec<_>>())?;
            self.sealed(&histories, work.now)?;
        }
        if matches!(plan.digests, Digests::All) {
            states.iter_mut().for_each(|state| state.sealed = true);
        }
        self.store.put_states(&states)?;
        self.tell_note(work)
    }

    /// The note of this erasure.
    fn note_of(&mut self, work: &mut Work) -> Result<i64> {
        if let Some(note) = work.note {
            return Ok(note);
        }
        let note = self.store.note(NoteKind::Erasure, work.now, "{}")?;
        work.note = Some(note);
        Ok(note)
    }

    /// What the note says so far.
    fn tell_note(&mut self, work: &Work) -> Result<()> {
        let Cause { command, keep, who, why } = &work.cause;
        let doc = json!({
            "command": command, "version": env!("CARGO_PKG_VERSION"), "keep_ms": keep.map(|keep| keep.0), "who": who,
            "why": why, "entries": work.entries,
        });
        let note = work.note.context("an erasure without its note")?;
        self.store.rewrite_note(note, &doc.to_string())
    }

    /// Rows that no turn has said how they were read are in evidence before they lose their fields: they may speak for a
    /// later attempt.
    fn with_readings(&mut self, work: &Work, members: &[State]) -> Result<Vec<State>> {
        let mut members = members.to_vec();
        for state in members.iter_mut().filter(|state| state.read.is_none() && state.erased.is_none()) {
            let Some(row) = self.store.rows(&[state.entry])?.into_iter().next() else { continue };
            let reading =
                Reading { fingerprint: work.reader.fingerprint(), facts: work.reader.read(&row, work.now).facts };
            let reading = Some(TurnReading::New(Box::new(reading)));
            let said = EntryTurn { entry: state.entry, held: state.holds, reading, looks: Vec::new(), said: None };
            let turn = Turn { entries: vec![said], removals: Vec::new() };
            let evidence = self.append(work.run, work.now, &turn, state.head.into_iter())?;
            (state.read, state.head) = (evidence, evidence);
        }
        Ok(members)
    }

    /// Entries whose operation's id was renamed: its digest must go as well.
    fn named_operations(&self, entries: &BTreeSet<i64>) -> Result<BTreeSet<i64>> {
        let entries: Vec<i64> = entries.iter().copied().collect();
        let ids = self.store.ids(&entries)?.into_iter();
        let named = ids.filter(|(_, request, id)| operation(id, request).starts_with(RENAMED));
        Ok(named.map(|(entry, ..)| entry).collect())
    }

    /// Takes the personal fields of a row. Gives the pseudonym of whom it was about, and what was personal.
    fn erase_row(&mut self, work: &Work, entry: i64, history: &History) -> Result<(Option<String>, BTreeSet<String>)> {
        let row = self.store.rows(&[entry])?.into_iter().next().with_context(|| format!("entry {entry} is missing"))?;
        let reading = work.reader.read(&row, work.now);
        let facts = history.reading().map_or(&reading.facts, |reading| &reading.facts);
        let left = work.reader.remainder(&row, facts, &reading, &work.also);
        if let Kept::Renamed(old) = &left.operation_id {
            // Another attempt of the operation may show no value that tells what its id holds.
            self.store.rename_operation(old, &work.rename(old))?;
        }
        self.store.rewrite(entry, &left_of(work, &row, left))?;
        let values = personal::values(&row, &reading);
        Ok((reading.normalised_subject.and_then(|subject| (work.pseudonym)(&subject)), values))
    }

    /// Gives evidence other names; gives the digests that are gone.
    fn rename_evidence(
        &mut self,
        work: &Work,
        plan: &Plan,
        evidence: &[Evidence],
        erased: &Erased,
        group: i64,
    ) -> Result<BTreeSet<KeyDigest>> {
        let mut renamed = Vec::with_capacity(evidence.len());
        let mut gone = BTreeSet::new();
        for row in evidence {
            let (uses, mut names) = (form::uses(&row.row.doc)?, Names::read(&row.row.names)?);
            let before = names.clone();
            gone.extend(replace_digests((work, group), plan, &uses, &mut names, &erased.named));
            replace_texts(work, plan, &uses, &mut names, erased);
            renamed.push((row.id, names, before));
        }
        for (id, mut names, before) in renamed {
            // All that was decided together is told from each other as it was.
            if !gone.is_empty() && names.erased.is_none() {
                names.erased = Some(work.now);
            }
            if names != before {
                self.store.rename(id, &names.to_json()?)?;
            }
        }
        Ok(gone)
    }

    /// Notes until when what was sealed had done whatever it did: by its verdict, or by its answer.
    fn sealed(&mut self, histories: &Histories, now: Moment) -> Result<()> {
        let done = |history: &History| {
            let decided = history.verdicts.iter().map(|past| past.at).max();
            let ended = history.readings.iter().map(|reading| reading.facts.ended).max();
            decided.max(ended).unwrap_or(now)
        };
        let until = histories.0.values().map(done).max().unwrap_or(now);
        let before = self.store.word(Word::Sealed)?.and_then(|ms| ms.parse().ok()).map(Moment);
        self.store.set_word(Word::Sealed, &before.map_or(until, |before| before.max(until)).0.to_string())
    }
}

fn group_of(members: &[State]) -> i64 {
    members.first().and_then(|state| state.group).unwrap_or_default()
}

/// What is left of a row, as it is stored.
fn left_of(work: &Work, row: &Row, left: Remainder) -> Left {
    let id = |kept: Kept, is: Option<&str>| match kept {
        Kept::Nothing => None,
        Kept::Renamed(text) => Some(work.rename(&text)),
        Kept::AsItIs => is.map(str::to_owned),
    };
    let operation = row.operation_id.as_ref().ok().and_then(Option::as_deref);
    Left {
        request_id: id(left.request_id, Some(&row.request_id)).unwrap_or_else(|| work.rename(&row.entry.to_string())),
        operation_id: id(left.operation_id, operation),
        direction: left.direction.map(str::to_owned),
        method: left.method,
        url: left.url,
        sent_at: left.sent_at,
        ended_at: left.ended_at,
        failure: left.failure.map(str::to_owned),
        http_status: left.http_status.map(i64::from),
    }
}

/// Gives digests other ones; gives those that are gone.
fn replace_digests(
    (work, group): (&Work, i64),
    plan: &Plan,
    uses: &[Uses],
    names: &mut Names,
    named: &BTreeSet<i64>,
) -> BTreeSet<KeyDigest> {
    let stay = uses.iter().filter(|uses| !named.contains(&uses.entry));
    let operations: BTreeSet<usize> = stay.filter_map(|uses| uses.identity).collect();
    let of_named = uses.iter().filter(|uses| named.contains(&uses.entry)).filter_map(|uses| uses.identity);
    let others: BTreeSet<usize> = uses.iter().flat_map(|uses| uses.digests.iter().copied()).chain(of_named).collect();
    let mut gone = BTreeSet::new();
    for (number, digest) in names.digests.iter_mut().enumerate() {
        let goes = match plan.digests {
            Digests::None => false,
            Digests::All => others.contains(&number) && !operations.contains(&number),
            Digests::These(these) => these.contains(digest),
        };
        if goes {
            gone.insert(*digest);
            *digest = work.replaced(group, digest);
        }
    }
    gone
}

/// Gives texts other ones, as far as all entries that bear them are erased.
fn replace_texts(work: &Work, plan: &Plan, uses: &[Uses], names: &mut Names, erased: &Erased) {
    let mut whole: BTreeSet<usize> = BTreeSet::new();
    for uses in uses.iter().filter(|uses| !erased.entries.contains(&uses.entry)) {
        whole.extend(uses.subject.iter().chain(&uses.path).chain(&uses.method).chain(&uses.states));
    }
    let (mut new, mut words): (HashMap<usize, Option<String>>, HashMap<usize, String>) = Default::default();
    for uses in uses {
        for id in &uses.ids {
            let name = names.texts[*id].as_deref().filter(|name| (plan.naming)(name));
            new.extend(name.map(|name| (*id, Some(work.removed("id", name)))));
        }
        if let Some(number) = uses.words
            && let Some(said) = names.texts[number].as_deref()
        {
            let values = erased.values.get(&uses.entry);
            let left = values.map_or_else(|| said.to_owned(), |values| personal::without_names(said, values));
            words.insert(number, (plan.words)(uses.entry, &left));
        }
        if !erased.entries.contains(&uses.entry) {
            continue;
        }
        new.extend(uses.subject.iter().map(|number| (*number, None)));
        new.extend(uses.method.iter().map(|number| (*number, Some(String::new()))));
        for number in uses.path.iter() {
            let left = names.texts[*number].as_deref().map(|path| work.reader.unknown_path_left(path));
            new.insert(*number, left);
        }
        for number in &uses.states {
            let left = names.texts[*number].as_deref().map(|state| work.removed("state", state));
            new.insert(*number, left);
        }
    }
    new.retain(|number, _| !whole.contains(number));
    for (number, text) in new.into_iter().chain(words.into_iter().map(|(number, text)| (number, Some(text)))) {
        names.texts[number] = text;
    }
}

impl Work<'_> {
    /// What stands for a text that is removed: the same for the same one, so that what was equal stays equal.
    fn removed(&self, what: &str, text: &str) -> String {
        const MARK: &str = "removed-";
        match text.starts_with(MARK) {
            true => text.to_owned(),
            false => format!("{MARK}{what}-{}", &hex(&self.digest(what, text.as_bytes()))[..12]),
        }
    }
}

/// Every digest of facts that can be guessed from keys.
pub(super) fn digests_under(facts: &Facts, keys: &BTreeSet<KeyDigest>) -> BTreeSet<KeyDigest> {
    let its = facts.effects.iter().filter(|effect| effect.keys().chain(effect.owner).any(|key| keys.contains(&key)));
    // The owner's stay: they are another person's.
    let owners = |link: &KeyDigest| facts.effects.iter().any(|e| [e.owner, e.owner_record].contains(&Some(*link)));
    its.flat_map(Effect::digests).filter(|link| !owners(link)).collect()
}

/// How an entry stands to being erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub entry: i64,
    /// Pending, not read yet, or under watch: its group may still need the fields.
    pub open: bool,
    /// Its time is over.
    pub due: bool,
    /// Evidence for its operation, with which it goes.
    pub answered: bool,
    pub erased: bool,
    pub sealed: bool,
}

impl Mark {
    pub fn of(state: &State, terms: &Terms) -> Mark {
        let over = |from: Option<Moment>, span: Span| from.is_none_or(|from| from + span <= terms.now);
        let watched = state.reason.is_some_and(Reason::watched) && !over(state.decided, terms.watch);
        let pending = state.status == Some(crate::words::Status::Pending);
        Mark {
            entry: state.entry,
            open: state.unread || pending || (watched && state.erased.is_none()),
            due: match state.status {
                // By the time it was sent, and with its operation.
                None => over(state.sent, terms.keep),
                Some(_) => state.decided.is_some() && over(state.decided, terms.keep),
            },
            answered: state.status.is_none(),
            erased: state.erased.is_some(),
            sealed: state.sealed,
        }
    }
}
