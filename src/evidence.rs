//! What a decision may rest on: what was read of each attempt, and what each look at the server saw.
//!
//! Everything here is stored in the ledger as it stands, so it holds results of comparisons, times, digests and the
//! server's ids, and no raw personal values. The plan makes [`Facts`] of an entry, the lookups make [`Look`]s, the
//! ledger keeps both, and [`crate::decide`] sees nothing else.

use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Span};
use crate::words::{Action, Compared, Control, Direction, Failure, Outcome, Reason, Seen, Status};

/// A salted digest that says "the same": of an operation's id, of a unique key after normalisation, of a subject.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(pub [u8; 16]);

impl KeyDigest {
    /// Its 32 hexadecimal digits. Each entry's are written and read several times a run.
    fn digits(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

impl std::fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({self})")
    }
}

impl std::str::FromStr for KeyDigest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<KeyDigest, Self::Err> {
        const FORM: &str = "a link is 32 hexadecimal digits";
        let mut bytes = [0; 16];
        if text.len() != 32 {
            return Err(FORM);
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            b'A'..=b'F' => Ok(digit - b'A' + 10),
            _ => Err(FORM),
        };
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Ok(KeyDigest(bytes))
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<KeyDigest, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What was read of one entry under a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What kind of row it is.
    pub class: Class,
    /// The operation's name in the plan.
    pub operation: Option<String>,
    pub method: String,
    /// The plan's template, else the path without query and with identifiers masked.
    pub path: String,
    /// Whom it is about, masked.
    pub subject: Option<String>,
    pub direction: Direction,
    /// `None` when the row does not say it in a known word.
    pub failure: Option<Failure>,
    pub http_status: Option<u16>,
    /// The answer may say that something is there already, and is no success.
    #[serde(default)]
    pub already_there: bool,
    /// It says so of the one unique key that the request has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub key_is_there: bool,
    /// As the row says, by the writer's clock; `None` when unreadable. Decisions use [`Facts::sent`].
    pub sent: Option<Moment>,
    /// The row was dated later than the moment at which the job read it: its writer's clock cannot be trusted.
    #[serde(default)]
    pub sent_ahead: bool,
    /// It was sent before something that was sealed was settled, and read afterwards: others with its key may be known no
    /// more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub overtaken: bool,
    /// When its digests were replaced, for its personal fields went: they are comparable with those that were replaced with
    /// them, and with no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Moment>,
    /// When the sender had given up, by the writer's clock and at the latest when the job first read the row.
    pub ended: Moment,
    /// When the row came, or the news of an intent, by the store's clock: what it tells of had happened by then, but for an
    /// intent's sending. `None`: nothing bears a stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived: Option<Moment>,
    /// How far the clock that dated the row may be from the store's; `None`: as [`Windows::writer_error`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error: Option<Span>,
    /// What the plan waits for before it believes an absence after this attempt.
    pub window: Window,
    /// Digest of the operation's id.
    pub identity: KeyDigest,
    /// The server blocks a repeat of every effect, so that resending does no harm.
    pub repeat_blocked: bool,
    pub effects: Vec<Effect>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A stamp is cut to the millisecond, and what it is made of may be a little off.
const STAMPED: Span = Span(2);

impl Facts {
    /// When it was sent, if that can be believed.
    pub fn sent(&self) -> Option<Moment> {
        self.sent.filter(|_| !self.sent_ahead)
    }

    /// When it was sent by the store's clock, as narrowly as the row, its clock's error and its arrival bound it.
    pub fn sending(&self, windows: &Windows) -> Sending {
        let latest = self.arrived_by();
        let Some(sent) = self.sent() else { return Sending { latest, ..Sending::UNKNOWN } };
        let error = self.clock_error.unwrap_or(windows.writer_error);
        let ended = self.ended.max(sent);
        if self.arrived.is_some_and(|arrived| ended - error > arrived + STAMPED) {
            // Dated later than it came: that clock is further off than it may be, and by how much nothing says. Nor do its
            // times say how long the attempt lasted, for it may have been set meanwhile.
            return Sending { latest, ..Sending::UNKNOWN };
        }
        Sending { earliest: sent - error, latest: latest.before(ended.since(sent)).min(sent + error) }
    }

    /// The latest moment by the store's clock at which its sender can have given up.
    pub fn surely_ended(&self, windows: &Windows) -> Moment {
        let error = self.clock_error.unwrap_or(windows.writer_error);
        (self.ended + error).min(self.arrived_by())
    }

    /// When it had been sent and had ended, at the latest, by the row's arrival: an intent may have been queued.
    fn arrived_by(&self) -> Moment {
        let arrived = self.arrived.filter(|_| self.failure != Some(Failure::Intent));
        arrived.map_or(Moment(i64::MAX), |arrived| arrived + STAMPED)
    }

    /// From when its window counts: from its end by its own word. An intent is sent after it came, unless it was queued: a
    /// writer's clock that is further behind than it may be does not make its window end earlier.
    pub fn window_from(&self, windows: &Windows) -> Moment {
        let came = self.arrived.filter(|_| self.failure == Some(Failure::Intent) && self.clock_error.is_none());
        came.filter(|came| *came > self.ended + windows.writer_error).unwrap_or(self.ended)
    }

    /// What it is decided together by, in order: who shares one of these is of its group.
    pub fn group_keys(&self) -> Vec<KeyDigest> {
        let of_effects =
            self.effects.iter().flat_map(|effect| effect.keys().chain(effect.owner).chain(effect.owner_record));
        let mut links: Vec<KeyDigest> = of_effects.chain([self.identity]).collect();
        links.sort_unstable();
        links.dedup();
        links
    }
}

/// When something was sent, by the store's clock: not earlier and not later. Where nothing bounds it, it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sending {
    pub earliest: Moment,
    pub latest: Moment,
}

impl Sending {
    /// At any time.
    pub const UNKNOWN: Sending = Sending { earliest: Moment(i64::MIN), latest: Moment(i64::MAX) };

    /// The earliest moment, if anything bounds it.
    pub fn earliest(self) -> Option<Moment> {
        Some(self.earliest).filter(|moment| *moment != Sending::UNKNOWN.earliest)
    }

    /// When the first of both was sent.
    #[must_use]
    pub fn first(self, other: Sending) -> Sending {
        Sending { earliest: self.earliest.min(other.earliest), latest: self.latest.min(other.latest) }
    }
}

/// What kind of row an entry is, in the order in which the verdict table asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It cannot be read; `why` names the column or field, never its value.
    BadRow { why: String },
    /// Sent to another host or port than the plan's server.
    OtherEnvironment,
    /// GET or HEAD: changes nothing.
    Read,
    /// No operation of the plan matches.
    NoPlan,
    /// The plan knows it; `effects` say what it should have made true.
    Planned,
}

/// Which of the configured windows follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// The attempt cannot be applied any more, or never could: a definite answer, or nothing sent.
    None,
    /// [`Windows::network`].
    Network,
    /// [`Windows::server_error`].
    ServerError,
    /// The sender's own limit first, then as for a timeout.
    Intent,
}

/// One thing that the operation should have made true on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// As the plan calls it, numbered where there is one per element: `account`, `child 2`.
    pub name: String,
    pub kind: Kind,
    /// The lookup that observes it; `None` when nothing does.
    pub lookup: Option<String>,
    /// Digest of the normalised key: of the record itself, or of the owner for [`Kind::Member`].
    pub key: Option<KeyDigest>,
    /// For creates: digests of the other unique keys that the record was to bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<KeyDigest>,
    /// For creates of a record that is listed under an owner, too: digest of that list's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<KeyDigest>,
    /// For what is listed under an owner: digest of the key by which the owner's own record is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_record: Option<KeyDigest>,
    /// What the record is found by, in the plan's words: `email`.
    pub found_by: Option<String>,
    /// The key is the partner's own, so whoever bears it is the partner's record.
    pub own_key: bool,
    /// The body has fields that could be compared with a record.
    pub comparable: bool,
    /// The request does more than make the record, and a record that was there before does not show the rest (a consent
    /// request, and its mail).
    #[serde(default, skip_serializing_if = "is_false")]
    pub does_more: bool,
    /// For updates: digests of the fields that it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<KeyDigest>,
    /// By what retries are told from other requests under one operation id: each kind of key and each compared or written
    /// field, with the digest of its value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, KeyDigest)>,
    /// Another reading of the effect before it: a server may read the request's URL in two ways, and did one of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub alternative: bool,
}

impl Effect {
    /// Every digest in it.
    pub fn digests(&self) -> impl Iterator<Item = KeyDigest> + '_ {
        let lists = self.key.iter().chain(&self.also).chain(&self.owner).chain(&self.owner_record).chain(&self.targets);
        lists.chain(self.values.iter().map(|(_, value)| value)).copied()
    }

    /// The same, to be replaced.
    pub fn digests_mut(&mut self) -> impl Iterator<Item = &mut KeyDigest> {
        let keys = self.key.iter_mut().chain(&mut self.also).chain(&mut self.owner).chain(&mut self.owner_record);
        keys.chain(&mut self.targets).chain(self.values.iter_mut().map(|(_, value)| value))
    }

    /// Every key, the one that it is looked up by first.
    pub fn keys(&self) -> impl Iterator<Item = KeyDigest> + '_ {
        self.key.iter().chain(&self.also).copied()
    }
}

/// What kind of effect it is; each has its rows in the verdict table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Makes a record with a key that the server keeps unique.
    Create,
    /// Makes a record that is not unique but listed under a known owner.
    Member,
    /// Makes something that nothing can look up.
    Blind,
    /// Removes a record.
    Delete,
    /// Writes fields of a record that is there.
    Update,
    /// Makes a record under a key of the sender's, or replaces what is there.
    Upsert,
    /// A webhook that PRIVO sent and the partner did not take.
    Inbound,
}

/// A record that a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The server's id.
    pub id: Option<String>,
    /// When the server made it, by the server's clock.
    pub made: Option<Moment>,
    /// When the server last changed it, by the server's clock.
    pub changed: Option<Moment>,
    /// Found under the entry's own spelling of the key, or under one that leads to the same record.
    pub own: bool,
    /// Each compared field of the plan and how it compares.
    pub fields: Vec<(String, Compared)>,
    /// For updates: every field that differs holds a value that it can only have had before.
    pub as_before: bool,
    /// For updates: digest of the values that the fields hold, to see whether they ever changed.
    pub values: Option<KeyDigest>,
    /// It shows what the request does beyond making the record, as far as the plan says where.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shows_more: bool,
    /// It was looked up by its own id, which no other record ever bears.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_key: bool,
}

impl Record {
    /// Whether any field that both sides show differs.
    pub fn differs(&self) -> bool {
        self.fields.iter().any(|(_, compared)| *compared == Compared::Differs)
    }

    /// Whether some field is equal though another differs: it may be the same record, written otherwise.
    pub fn nearly_matches(&self) -> bool {
        self.differs() && self.fields.iter().any(|(_, compared)| *compared == Compared::Equal)
    }

    /// Whether at least one field was shown by both sides.
    pub fn shows_any(&self) -> bool {
        self.fields.iter().any(|(_, compared)| *compared != Compared::NotShown)
    }

    /// Whether every field was shown and is equal, of at least one.
    pub fn equals(&self) -> bool {
        !self.fields.is_empty() && self.fields.iter().all(|(_, compared)| *compared == Compared::Equal)
    }
}

/// One look at one effect: an observation, with the controls behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Which of the entry's effects.
    pub effect: usize,
    /// Made under the plan that the entry was last read under.
    pub current: bool,
    /// Before the first request, by the job's clock.
    pub asked: Moment,
    /// After the last answer, by the job's clock.
    pub answered: Moment,
    /// The answer's `Date` header: the server's clock, cut to the second.
    pub server: Option<Moment>,
    pub seen: Seen,
    /// Why it is inconclusive; or of a list that was not found, that its owner is not there ([`OWNER_ABSENT`]).
    pub cause: Option<String>,
    /// What was found. Of a list: the records that may be this effect's, and those that may be it written otherwise.
    pub records: Vec<Record>,
    /// The state that was fetched (webhooks), in words.
    pub state: Option<String>,
    /// The configured known key was present.
    pub known: Control,
    /// A random key was absent.
    pub random: Control,
    /// Keys that are nearly the known one were absent. [`Control::Missing`]: not asked.
    #[serde(default = "missing")]
    pub near: Control,
    /// The known record showed what the configuration says, under the plan's comparisons: all of them are proved.
    #[serde(default = "missing")]
    pub fields: Control,
    /// What to add to a time of the job's clock to have the server's, at least and at most, by all answers of the run so
    /// far. `None`: no answer showed a `Date`.
    #[serde(default)]
    pub skew: Option<(Span, Span)>,
    /// How far the clock of `made` and `changed` may be from that of the `Date` header.
    #[serde(default)]
    pub made_error: Span,
}

fn missing() -> Control {
    Control::Missing
}

/// A look that was never made: tests fill in what they are about.
impl Default for Look {
    fn default() -> Look {
        Look {
            effect: 0,
            current: true,
            asked: Moment(0),
            answered: Moment(0),
            server: None,
            seen: Seen::Inconclusive,
            cause: None,
            records: Vec::new(),
            state: None,
            known: Control::Missing,
            random: Control::Missing,
            near: Control::Missing,
            fields: Control::Missing,
            skew: None,
            made_error: Span::ZERO,
        }
    }
}

/// A clock that is further from the server's than this was set, or will be.
const SLOW: Span = Span(60_000);
const FAST: Span = Span(-60_000);

/// Why a list shows nothing: there is no owner, which is another thing than an empty list.
pub const OWNER_ABSENT: &str = "its owner is not there";

impl Look {
    /// The list was not found, for its owner is not there.
    pub fn owner_is_absent(&self) -> bool {
        self.seen == Seen::Absent && self.cause.as_deref() == Some(OWNER_ABSENT)
    }

    /// The error bounds of the server's clock against the job's: what to add to a job's time to have the server's, at
    /// least and at most. Where no answer of the run bounds them, by this look's own `Date`, and without any five minutes
    /// either way are assumed.
    pub fn skew(&self) -> (Span, Span) {
        const UNKNOWN: Span = Span(5 * 60_000);
        if let Some(bounds) = self.skew {
            return bounds;
        }
        match self.server {
            Some(server) => (server.since(self.answered), (server + Span(999)).since(self.asked)),
            None => (Span(-UNKNOWN.0), UNKNOWN),
        }
    }

    /// The error bounds under which times of the writer's clock are compared with the server's: as this look shows, and
    /// when that is far off, also as if the clock had been right. The writer wrote by the same host's clock, but a clock
    /// that is off by more than a minute was set, or will be: whether before or after the writing, nothing says.
    pub fn skews(&self) -> [(Span, Span); 3] {
        let shown = self.skew();
        if self.clock_is_far_off() { [shown, (SLOW, SLOW), (FAST, FAST)] } else { [shown; 3] }
    }

    /// The job's clock was more than a minute from the server's, so that its times and a writer's need not be of one clock.
    pub fn clock_is_far_off(&self) -> bool {
        let shown = self.skew();
        let known = self.skew.is_some() || self.server.is_some();
        known && (shown.0 > SLOW || shown.1 < FAST)
    }

    /// When it was answered, by the later of the two clocks: a job whose clock was set back did not look earlier.
    pub fn surely_answered(&self) -> Moment {
        self.server.map_or(self.answered, |server| self.answered.max(server + Span(999)))
    }

    /// When it was asked, by the earlier of the two clocks: a job whose clock ran ahead has not waited. The server's is bounded
    /// by this look's own `Date`, and by all answers of the run: one without a `Date` does not undo what others said, and one
    /// that came late does not make the question later.
    pub fn surely_asked(&self) -> Moment {
        let by_its_date = self.server.map(|server| server + Span(999));
        let by_the_run = self.skew.map(|(least, most)| {
            // Where the answers contradict each other, the earliest of what they say is sure.
            let sure = if most.0.saturating_sub(least.0) > SLOW.0 { least } else { most };
            self.asked + sure
        });
        by_its_date.into_iter().chain(by_the_run).fold(self.asked, Moment::min)
    }

    /// By how much the job's clock was surely behind the server's, if that is more than clocks differ: it was set forward
    /// since, or will be.
    pub fn behind(&self) -> Span {
        let known = self.skew.is_some() || self.server.is_some();
        Some(self.skew().0).filter(|least| known && *least > SLOW).unwrap_or(Span::ZERO)
    }
}

/// The verdict that holds for an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub decided: Moment,
    pub status: Status,
    pub outcome: Outcome,
    pub reason: Reason,
    pub action: Action,
    pub server_id: Option<String>,
    /// So many of the entry's looks were stored by then. Whose clock was set back tells it by no time.
    #[serde(default)]
    pub looks: usize,
}

/// One entry of a group with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// `entries.id`.
    pub entry: i64,
    pub facts: Facts,
    /// In the order in which they were stored.
    pub looks: Vec<Look>,
    /// The verdict that holds.
    pub verdict: Option<Settled>,
    /// What was said of it before its writer changed the row, when none holds: somebody may have acted upon it.
    pub prior: Option<Settled>,
}

impl Attempt {
    /// It was answered: evidence for its operation, never examined itself.
    pub fn answered(&self) -> bool {
        self.facts.failure == Some(Failure::Answered)
    }
}

/// The configured windows that a decision assumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// After a timeout or network failure nothing is applied later than this.
    pub network: Span,
    /// After a 5xx, which engineers may repair by hand, nothing is applied later than this.
    pub server_error: Span,
    /// An intent without news ended this long after it was sent, as a timeout.
    pub intent: Span,
    /// What the server has shows on every replica after this; added to every window.
    pub replica_lag: Span,
    /// How far apart two absences must be to be believed.
    pub confirm_after: Span,
    /// What is undecided this long after its first look goes to a person.
    pub expire_after: Span,
    /// PRIVO itself delivers a webhook again no later than this.
    pub webhook: Span,
    /// How long a `not-applied` is looked at again.
    pub watch: Span,
    /// How far a writer's clock may be from the store's.
    #[serde(default = "writer_error")]
    pub writer_error: Span,
}

/// [`Windows::writer_error`] where nothing else is said.
fn writer_error() -> Span {
    Span::seconds(2)
}

impl Default for Windows {
    fn default() -> Windows {
        Windows {
            network: Span::seconds(15 * 60),
            server_error: Span::seconds(24 * 3600),
            intent: Span::seconds(15 * 60),
            replica_lag: Span::ZERO,
            confirm_after: Span::seconds(10 * 60),
            expire_after: Span::seconds(30 * 86_400),
            webhook: Span::seconds(5 * 60),
            watch: Span::seconds(7 * 86_400),
            writer_error: writer_error(),
        }
    }
}

/// A group: everything that is decided together, and under which windows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub windows: Windows,
    pub attempts: Vec<Attempt>,
    /// When deletes by a server's own id were sent, elsewhere in the ledger, each at the earliest and at the latest: which
    /// record they were for, nothing in the ledger says. In order, and apart from each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<(Moment, Moment)>,
}
