//! The form in which a turn is stored: a document without any name, and beside it what its names stand for.
//!
//! A document holds numbers, times, words of the ledger's lists by their place in the list, and texts that many documents
//! share by their id. Digests, the server's ids, fetched states and whatever else may name somebody stand in the names, and
//! the document says which of them by a number. So an erasure gives other names and leaves the document alone: what was
//! equal stays equal, and every verdict follows from its evidence as before.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::turn::{EntryTurn, LookMade, Reading, Said, Turn, TurnReading};
use crate::clock::{Moment, Span};
use crate::decide::{Deferral, Verdict};
use crate::evidence::{Effect, Facts, KeyDigest, Look, Record};
use crate::plan::personal;
use crate::words::{Action, Compared, Control, Outcome, Reason, Seen, Status};

/// What the names of a document stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Digests of keys and values.
    #[serde(rename = "k", default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<KeyDigest>,
    /// Texts; `None`: it was erased, and nothing is compared with it.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Option<String>>,
    /// When digests were replaced: they are comparable with those that were replaced with them, and with no others.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Moment>,
}

impl Names {
    /// Reads them.
    ///
    /// # Errors
    /// When they are none.
    pub fn read(json: &str) -> Result<Names> {
        serde_json::from_str(json).context("failed to read the names of a row of evidence")
    }

    /// As they are stored.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// What stands for an erased text.
pub const ERASED: &str = "(removed)";

#[derive(Serialize, Deserialize)]
struct Doc(Vec<DocEntry>, #[serde(default, skip_serializing_if = "Vec::is_empty")] Vec<(i64, i64)>);

/// Entry, whether a verdict held, reading, looks, what was said.
#[derive(Serialize, Deserialize)]
struct DocEntry(i64, u8, Option<DocReading>, Vec<DocLook>, Option<DocSaid>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum DocReading {
    Again(usize),
    New(DocFacts),
}

/// Fingerprint, frame, sent, ended, arrived, the clock's error, identity, other digests; subject, path and method, where they
/// may name somebody.
#[derive(Serialize, Deserialize)]
struct DocFacts(
    Text,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
    Option<i64>,
    usize,
    Vec<usize>,
    Option<usize>,
    Option<usize>,
    Option<usize>,
);

/// Effect, lookup, asked, how long it took, `Date`, seen, cause, records, state, controls, skew, error of `made`.
#[derive(Serialize, Deserialize)]
struct DocLook(
    usize,
    Text,
    i64,
    i64,
    Option<i64>,
    u8,
    Option<Text>,
    Vec<DocRecord>,
    Option<usize>,
    [u8; 4],
    Option<(i64, i64)>,
    i64,
);

/// Id, made, changed, marks, fields, values.
#[derive(Serialize, Deserialize)]
struct DocRecord(Option<usize>, Option<i64>, Option<i64>, u8, Text, Option<usize>);

/// Kind, status, outcome, reason, action, record, matched on, explanation, correction, not before.
#[derive(Serialize, Deserialize)]
struct DocSaid(u8, u8, u8, u8, u8, Option<Text>, Option<Text>, Text, u8, Option<i64>);

/// A text: a shared one, one of its own, or a name. In the first two a name may stand within.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Shared(i64),
    Own(String),
    Name([usize; 1]),
}

/// A name within a text: this, and the name's number upon [`FIRST`].
const NAME: char = '\u{E000}';
const FIRST: u32 = 0xE100;
const MOST: u32 = 0xF8FF - FIRST;

/// Longer texts are not worth being looked for when the next one is stored.
const LONGEST_SHARED: usize = 1000;

/// Shorter ids are found in other words by chance.
const SHORTEST_ID: usize = 3;

const VERDICT: u8 = 0;
const DEFERRAL: u8 = 1;
const CLOSED: u8 = 2;

/// A word's place in its list.
trait Place: Copy + PartialEq + 'static {
    const LIST: &'static [Self];

    fn place(self) -> u8 {
        Self::LIST.iter().position(|word| *word == self).map_or(u8::MAX, |place| place as u8)
    }

    fn at(place: u8) -> Result<Self> {
        Self::LIST.get(usize::from(place)).copied().context("a word of a row of evidence is on no list")
    }
}

macro_rules! places {
    ($($list:ident),+) => { $( impl Place for $list { const LIST: &'static [$list] = $list::ALL; } )+ };
}

places!(Status, Outcome, Reason, Action, Seen, Control);

/// Facts of which all is taken that is the entry's own.
fn frame_of(facts: &Facts) -> Facts {
    let mut frame = facts.clone();
    (frame.sent, frame.ended, frame.arrived, frame.clock_error) = (None, Moment(0), None, None);
    (frame.identity, frame.subject, frame.sealed) = (KeyDigest([0; 16]), None, None);
    frame.effects.iter_mut().flat_map(Effect::digests_mut).for_each(|digest| *digest = KeyDigest([0; 16]));
    if frame.operation.is_none() {
        frame.path = String::new();
    }
    frame.method = personal::method_left(&frame);
    frame
}

/// What writing a document needs of the store: the id of a shared text.
pub type Share<'a> = &'a mut dyn FnMut(&str) -> Result<i64>;

/// Writes a turn: its document and its names.
///
/// # Errors
/// When the store cannot be written.
pub fn write(turn: &Turn, share: Share) -> Result<(String, String)> {
    let mut writer = Writer { names: Names::default(), digests: HashMap::new(), texts: HashMap::new(), share };
    let entries = turn.entries.iter().map(|entry| writer.entry(entry)).collect::<Result<_>>()?;
    let removals = turn.removals.iter().map(|(from, until)| (from.0, until.0)).collect();
    Ok((serde_json::to_string(&Doc(entries, removals))?, writer.names.to_json()?))
}

/// By which numbers a document names what it says of one entry.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    pub entry: i64,
    pub subject: Option<usize>,
    pub path: Option<usize>,
    pub method: Option<usize>,
    /// Fetched states.
    pub states: Vec<usize>,
    /// The server's ids.
    pub ids: Vec<usize>,
    /// What a person said who closed it.
    pub words: Option<usize>,
    /// Digest of its operation's id.
    pub identity: Option<usize>,
    /// All other digests.
    pub digests: Vec<usize>,
}

/// What a document names, entry by entry.
///
/// # Errors
/// When it is none.
pub fn uses(doc: &str) -> Result<Vec<Uses>> {
    let Doc(entries, _) = serde_json::from_str(doc).context("failed to read a row of evidence")?;
    Ok(entries.into_iter().map(uses_of).collect())
}

fn uses_of(DocEntry(entry, _, reading, looks, said): DocEntry) -> Uses {
    let mut uses = Uses { entry, ..Uses::default() };
    if let Some(DocReading::New(DocFacts(.., identity, digests, subject, path, method))) = reading {
        (uses.identity, uses.digests) = (Some(identity), digests);
        (uses.subject, uses.path, uses.method) = (subject, path, method);
    }
    for DocLook(.., records, state, _, _, _) in looks {
        uses.states.extend(state);
        for DocRecord(id, .., values) in records {
            uses.ids.extend(id);
            uses.digests.extend(values);
        }
    }
    match said {
        Some(DocSaid(CLOSED, .., Text::Name([words]), _, _)) => uses.words = Some(words),
        Some(DocSaid(.., Some(Text::Name([id])), _, _, _, _)) => uses.ids.push(id),
        _ => {}
    }
    uses
}

struct Writer<'a> {
    names: Names,
    digests: HashMap<KeyDigest, usize>,
    texts: HashMap<String, usize>,
    share: Share<'a>,
}

impl Writer<'_> {
    fn digest(&mut self, digest: KeyDigest) -> usize {
        *self.digests.entry(digest).or_insert_with(|| {
            self.names.digests.push(digest);
            self.names.digests.len() - 1
        })
    }

    fn name(&mut self, text: &str) -> usize {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        self.names.texts.push(Some(text.to_owned()));
        let number = self.names.texts.len() - 1;
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// A text that names nobody but by what is a name already.
    fn text(&mut self, text: &str) -> Result<Text> {
        if text.contains(|c| (NAME..='\u{F8FF}').contains(&c)) {
            return Ok(Text::Name([self.name(text)]));
        }
        let mut within = text.to_owned();
        for (number, name) in self.names.texts.iter().enumerate().take(MOST as usize) {
            let Some(name) = name.as_ref().filter(|name| name.chars().count() >= SHORTEST_ID) else { continue };
            if within.contains(name.as_str()) {
                let mark: String = [Some(NAME), char::from_u32(FIRST + number as u32)].into_iter().flatten().collect();
                within = within.replace(name.as_str(), &mark);
            }
        }
        let shared = within.len() <= LONGEST_SHARED && !within.bytes().any(|byte| byte.is_ascii_digit());
        Ok(if shared { Text::Shared((self.share)(&within)?) } else { Text::Own(within) })
    }

    fn entry(&mut self, entry: &EntryTurn) -> Result<DocEntry> {
        let reading = match &entry.reading {
            None => None,
            Some(TurnReading::Again(place)) => Some(DocReading::Again(*place)),
            Some(TurnReading::New(reading)) => Some(DocReading::New(self.facts(reading)?)),
        };
        let looks = entry.looks.iter().map(|made| self.look(made)).collect::<Result<_>>()?;
        let said = entry.said.as_ref().map(|said| self.said(said)).transpose()?;
        Ok(DocEntry(entry.entry, u8::from(entry.held), reading, looks, said))
    }

    fn facts(&mut self, Reading { fingerprint, facts }: &Reading) -> Result<DocFacts> {
        let frame = frame_of(facts);
        let path = (frame.path != facts.path).then(|| self.name(&facts.path));
        let method = (frame.method != facts.method).then(|| self.name(&facts.method));
        let frame = (self.share)(&serde_json::to_string(&frame)?)?;
        let fingerprint = Text::Shared((self.share)(fingerprint)?);
        let identity = self.digest(facts.identity);
        let digests = facts.effects.iter().flat_map(Effect::digests).collect::<Vec<_>>();
        let digests = digests.into_iter().map(|digest| self.digest(digest)).collect();
        let subject = facts.subject.as_ref().map(|subject| self.name(subject));
        let ms = |moment: Option<Moment>| moment.map(|moment| moment.0);
        let (sent, arrived, error) = (ms(facts.sent), ms(facts.arrived), facts.clock_error.map(|span| span.0));
        Ok(DocFacts(fingerprint, frame, sent, facts.ended.0, arrived, error, identity, digests, subject, path, method))
    }

    fn look(&mut self, LookMade { lookup, look }: &LookMade) -> Result<DocLook> {
        let records = look.records.iter().map(|record| self.record(record)).collect::<Result<_>>()?;
        Ok(DocLook(
            look.effect,
            Text::Shared((self.share)(lookup)?),
            look.asked.0,
            look.answered.0 - look.asked.0,
            look.server.map(|server| server.0),
            look.seen.place(),
            look.cause.as_ref().map(|cause| self.text(cause)).transpose()?,
            records,
            look.state.as_ref().map(|state| self.name(state)),
            [look.known, look.random, look.near, look.fields].map(Place::place),
            look.skew.map(|(least, most)| (least.0, most.0)),
            look.made_error.0,
        ))
    }

    fn record(&mut self, record: &Record) -> Result<DocRecord> {
        let marks = [record.own, record.as_before, record.shows_more, record.is_key];
        let marks = marks.iter().enumerate().map(|(place, is)| u8::from(*is) << place).sum();
        let fields = (self.share)(&serde_json::to_string(&record.fields)?)?;
        Ok(DocRecord(
            record.id.as_ref().map(|id| self.name(id)),
            record.made.map(|made| made.0),
            record.changed.map(|changed| changed.0),
            marks,
            Text::Shared(fields),
            record.values.map(|values| self.digest(values)),
        ))
    }

    fn said(&mut self, said: &Said) -> Result<DocSaid> {
        Ok(match said {
            Said::Deferral(Deferral { reason, action, not_before, explanation, waits_for: _ }) => {
                let explanation = self.text(explanation)?;
                let not_before = not_before.map(|moment| moment.0);
                DocSaid(DEFERRAL, 0, 0, reason.place(), action.place(), None, None, explanation, 0, not_before)
            }
            Said::Verdict(verdict) => {
                let explanation = self.text(&verdict.explanation)?;
                self.verdict(VERDICT, verdict, explanation)?
            }
            // A person's words.
            Said::Closed(verdict) => {
                let explanation = Text::Name([self.name(&verdict.explanation)]);
                self.verdict(CLOSED, verdict, explanation)?
            }
        })
    }

    fn verdict(&mut self, kind: u8, verdict: &Verdict, explanation: Text) -> Result<DocSaid> {
        let Verdict { status, outcome, reason, action, server_id, matched_on, correction, .. } = verdict;
        // Its ids are those of records that were found, and so names already.
        let server_id = match server_id.as_ref().map(|id| Ok::<_, anyhow::Error>((id, self.text(id)?))).transpose()? {
            Some((id, Text::Own(text))) if text == *id => Some(Text::Name([self.name(id)])),
            Some((id, Text::Shared(_))) if !self.texts.keys().any(|name| id.contains(name.as_str())) => {
                Some(Text::Name([self.name(id)]))
            }
            other => other.map(|(_, text)| text),
        };
        let matched_on = matched_on.as_ref().map(|text| self.text(text)).transpose()?;
        let [status, outcome, reason, action] = [status.place(), outcome.place(), reason.place(), action.place()];
        let correction = u8::from(*correction);
        Ok(DocSaid(kind, status, outcome, reason, action, server_id, matched_on, explanation, correction, None))
    }
}

/// Reads documents; what they share is kept.
#[derive(Debug, Default)]
pub struct Forms {
    texts: HashMap<i64, String>,
    frames: HashMap<i64, Facts>,
    ids: HashMap<String, i64>,
}

/// What reading a document needs of the store: a shared text by its id.
pub type Fetch<'a> = &'a dyn Fn(i64) -> Result<String>;

impl Forms {
    /// The id of a shared text, if it is known.
    pub fn id(&self, text: &str) -> Option<i64> {
        self.ids.get(text).copied()
    }

    /// Notes the id of a shared text.
    pub fn note(&mut self, text: &str, id: i64) {
        // Runs over many plans and files share many texts; they are found again in the store.
        if self.ids.len() > 10_000 {
            self.ids.clear();
        }
        self.ids.insert(text.to_owned(), id);
    }

    /// Forgets what was stored in a transaction that was taken back.
    pub fn forget(&mut self) {
        *self = Forms::default();
    }

    /// Reads a turn.
    ///
    /// # Errors
    /// When it is none, or the store cannot be read.
    pub fn read(&mut self, doc: &str, names: &str, fetch: Fetch) -> Result<Turn> {
        let names = Names::read(names)?;
        let Doc(entries, removals) = serde_json::from_str(doc).context("failed to read a row of evidence")?;
        let mut reader = Read { forms: self, names: &names, fetch };
        Ok(Turn {
            entries: entries.into_iter().map(|entry| reader.entry(entry)).collect::<Result<_>>()?,
            removals: removals.into_iter().map(|(from, until)| (Moment(from), Moment(until))).collect(),
        })
    }

    fn shared(&mut self, id: i64, fetch: Fetch) -> Result<&str> {
        if self.texts.len() > 100_000 {
            self.texts.clear();
        }
        Ok(match self.texts.entry(id) {
            std::collections::hash_map::Entry::Occupied(text) => text.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(fetch(id)?),
        })
    }

    fn frame(&mut self, id: i64, fetch: Fetch) -> Result<Facts> {
        if let Some(frame) = self.frames.get(&id) {
            return Ok(frame.clone());
        }
        let frame: Facts = serde_json::from_str(&fetch(id)?).context("failed to read how a row was read")?;
        if self.frames.len() > 10_000 {
            self.frames.clear();
        }
        self.frames.insert(id, frame.clone());
        Ok(frame)
    }
}

struct Read<'a> {
    forms: &'a mut Forms,
    names: &'a Names,
    fetch: Fetch<'a>,
}

impl Read<'_> {
    fn digest(&self, number: usize) -> Result<KeyDigest> {
        self.names.digests.get(number).copied().context("a digest of a row of evidence is missing")
    }

    fn name(&self, number: usize) -> Result<String> {
        let name = self.names.texts.get(number).context("a name of a row of evidence is missing")?;
        Ok(name.as_deref().unwrap_or(ERASED).to_owned())
    }

    fn text(&mut self, text: Text) -> Result<String> {
        let within = match text {
            Text::Name([number]) => return self.name(number),
            Text::Own(text) => text,
            Text::Shared(id) => self.forms.shared(id, self.fetch)?.to_owned(),
        };
        if !within.contains(NAME) {
            return Ok(within);
        }
        let mut text = String::with_capacity(within.len());
        let mut letters = within.chars();
        while let Some(letter) = letters.next() {
            if letter == NAME {
                let number =
                    letters.next().and_then(|c| u32::from(c).checked_sub(FIRST)).context("a name is cut off")?;
                text.push_str(&self.name(number as usize)?);
            } else {
                text.push(letter);
            }
        }
        Ok(text)
    }

    fn entry(&mut self, DocEntry(entry, held, reading, looks, said): DocEntry) -> Result<EntryTurn> {
        let reading = match reading {
            None => None,
            Some(DocReading::Again(place)) => Some(TurnReading::Again(place)),
            Some(DocReading::New(facts)) => Some(TurnReading::New(Box::new(self.facts(facts)?))),
        };
        let looks = looks.into_iter().map(|look| self.look(look)).collect::<Result<_>>()?;
        let said = said.map(|said| self.said(said)).transpose()?;
        Ok(EntryTurn { entry, held: held != 0, reading, looks, said })
    }

    fn facts(&mut self, facts: DocFacts) -> Result<Reading> {
        let DocFacts(fingerprint, frame, sent, ended, arrived, error, identity, digests, subject, path, method) = facts;
        let mut facts = self.forms.frame(frame, self.fetch)?;
        (facts.sent, facts.ended, facts.arrived) = (sent.map(Moment), Moment(ended), arrived.map(Moment));
        (facts.clock_error, facts.identity) = (error.map(Span), self.digest(identity)?);
        facts.sealed = self.names.erased;
        let mut numbers = digests.into_iter();
        for digest in facts.effects.iter_mut().flat_map(Effect::digests_mut) {
            *digest = self.digest(numbers.next().context("a digest of a row of evidence is missing")?)?;
        }
        facts.subject = subject.map(|number| self.names.texts.get(number).cloned().flatten()).unwrap_or_default();
        if let Some(number) = path {
            facts.path = self.name(number)?;
        }
        if let Some(number) = method {
            facts.method = self.name(number)?;
        }
        Ok(Reading { fingerprint: self.text(fingerprint)?, facts })
    }

    fn look(&mut self, look: DocLook) -> Result<LookMade> {
        let DocLook(effect, lookup, asked, took, server, seen, cause, records, state, controls, skew, error) = look;
        let [known, random, near, fields] = controls;
        Ok(LookMade {
            lookup: self.text(lookup)?,
            look: Look {
                effect,
                current: true,
                asked: Moment(asked),
                answered: Moment(asked + took),
                server: server.map(Moment),
                seen: Seen::at(seen)?,
                cause: cause.map(|cause| self.text(cause)).transpose()?,
                records: records.into_iter().map(|record| self.record(record)).collect::<Result<_>>()?,
                state: state.map(|number| self.name(number)).transpose()?,
                known: Control::at(known)?,
                random: Control::at(random)?,
                near: Control::at(near)?,
                fields: Control::at(fields)?,
                skew: skew.map(|(least, most)| (Span(least), Span(most))),
                made_error: Span(error),
            },
        })
    }

    fn record(&mut self, DocRecord(id, made, changed, marks, fields, values): DocRecord) -> Result<Record> {
        let fields: Vec<(String, Compared)> =
            serde_json::from_str(&self.text(fields)?).context("failed to read the fields of a record")?;
        let is = |place: u8| marks & (1 << place) != 0;
        Ok(Record {
            id: id.map(|number| self.name(number)).transpose()?,
            made: made.map(Moment),
            changed: changed.map(Moment),
            own: is(0),
            as_before: is(1),
            shows_more: is(2),
            is_key: is(3),
            fields,
            values: values.map(|number| self.digest(number)).transpose()?,
        })
    }

    fn said(&mut self, said: DocSaid) -> Result<Said> {
        let DocSaid(kind, status, outcome, reason, action, server_id, matched_on, explanation, correction, before) =
            said;
        let (reason, action, explanation) = (Reason::at(reason)?, Action::at(action)?, self.text(explanation)?);
        if kind == DEFERRAL {
            let not_before = before.map(Moment);
            return Ok(Said::Deferral(Deferral { reason, action, not_before, explanation, waits_for: None }));
        }
        let verdict = Verdict {
            status: Status::at(status)?,
            outcome: Outcome::at(outcome)?,
            reason,
            action,
            server_id: server_id.map(|id| self.text(id)).transpose()?,
            matched_on: matched_on.map(|text| self.text(text)).transpose()?,
            explanation,
            correction: correction != 0,
        };
        match kind {
            VERDICT => Ok(Said::Verdict(verdict)),
            CLOSED => Ok(Said::Closed(verdict)),
            _ => bail!("a row of evidence says something of no known kind"),
        }
    }
}
