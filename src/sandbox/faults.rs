//! What goes wrong, how often, and for which request.
//!
//! Every draw comes from a generator that is seeded by the world's seed and the
//! request's own bytes, so a fault depends neither on time nor on the order in
//! which concurrent requests arrive.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::habits::Habits;

/// The largest answer that [`Hostile::Big`] may give, in bytes.
pub const BIG_BODY_LIMIT: usize = 8 * 1024 * 1024;

/// How often which fault strikes. The default is no faults at all.
///
/// Probabilities lie between 0 and 1. Those of mutations (`lost_before` to
/// `partial`) exclude each other and are decided by one throw, so their sum
/// should not exceed 1; the same holds for those of reads (`read_errors`,
/// `read_lost`, `hostile`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Mutation: the connection is closed, nothing was applied.
    pub lost_before: f64,
    /// Mutation: applied, and the answer is lost.
    pub lost_after: f64,
    /// Mutation: 503, nothing was applied.
    pub error_before: f64,
    /// Mutation: 500, although it was applied.
    pub error_after: f64,
    /// Mutation: 502 or a lost answer; the server applies it later by itself.
    pub late: f64,
    /// Least delay of a late application, in milliseconds.
    pub late_ms_min: i64,
    /// Greatest delay of a late application, in milliseconds.
    pub late_ms_max: i64,
    /// Mutation: 500; an engineer applies it by hand later.
    pub repaired: f64,
    /// Least delay of a repair by hand, in milliseconds.
    pub repair_ms_min: i64,
    /// Greatest delay of a repair by hand, in milliseconds.
    pub repair_ms_max: i64,
    /// Mutation: applied twice (once where a unique key blocks the repeat), the answer is lost.
    pub twice: f64,
    /// `account/parent` only: the parent and some of the children are applied, 500.
    pub partial: f64,
    /// Share of the lost answers for which the server hangs for `hang_ms` before it closes.
    pub hang: f64,
    /// How long a hanging answer keeps silent, in milliseconds.
    pub hang_ms: u64,
    /// Read or mutation: 429 with `Retry-After`; nothing was applied.
    pub too_many: f64,
    /// The `Retry-After` of a 429, in seconds.
    pub retry_after_s: u64,
    /// How long a token lives, in seconds. Issued by default with 599.
    pub token_lifetime_s: i64,
    /// Read or mutation: a valid token is refused with 401 and forgotten.
    pub token_dropped: f64,
    /// Reads see the state as it was up to this many milliseconds ago, drawn anew for each read.
    pub replica_lag_ms: i64,
    /// The whole service goes down and comes back.
    pub flapping: Option<Flapping>,
    /// Read: answers 500, 502, 503 or 504.
    pub read_errors: f64,
    /// Read: the connection is closed without an answer.
    pub read_lost: f64,
    /// Read: a [`Hostile`] answer.
    pub hostile: f64,
    /// The only kind of hostile answer that is given; any kind when absent.
    pub hostile_only: Option<Hostile>,
    /// Size of [`Hostile::Big`] in bytes, at most [`BIG_BODY_LIMIT`].
    pub big_body_bytes: usize,
    /// Time before each answer, in milliseconds.
    pub latency_ms: u64,
    /// Up to this much more before each answer, in milliseconds.
    pub jitter_ms: u64,
    /// Not a fault but a difference between partnerships: records show when they
    /// were made (`created_at`, RFC 3339). PRIVO promises no such field.
    pub shows_created_at: bool,
    /// What the server does otherwise than its documents say.
    pub habits: Habits,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            lost_before: 0.0,
            lost_after: 0.0,
            error_before: 0.0,
            error_after: 0.0,
            late: 0.0,
            late_ms_min: 60_000,
            late_ms_max: 600_000,
            repaired: 0.0,
            repair_ms_min: 3_600_000,
            repair_ms_max: 72_000_000,
            twice: 0.0,
            partial: 0.0,
            hang: 0.0,
            hang_ms: 30_000,
            too_many: 0.0,
            retry_after_s: 1,
            token_lifetime_s: 599,
            token_dropped: 0.0,
            replica_lag_ms: 0,
            flapping: None,
            read_errors: 0.0,
            read_lost: 0.0,
            hostile: 0.0,
            hostile_only: None,
            big_body_bytes: 1024 * 1024,
            latency_ms: 0,
            jitter_ms: 0,
            shows_created_at: false,
            habits: Habits::default(),
        }
    }
}

/// A service that is down for the last `down_fraction` of every period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// Length of one period in milliseconds, counted from the epoch.
    pub period_ms: i64,
    /// Share of the period during which everything but `/_sandbox` fails, 0 to 1.
    pub down_fraction: f64,
}

/// An answer to a read that says nothing about the record, though it may look so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hostile {
    /// 200 with an HTML page, as a captive proxy gives.
    Html,
    /// 200 whose JSON ends in the middle, complete by its Content-Length.
    CutJson,
    /// 200 whose connection breaks in the middle of the body.
    CutBody,
    /// 200 that claims JSON and is none.
    InvalidJson,
    /// 200 with `{"status":"ERROR","message":"maintenance"}`.
    Envelope,
    /// 404 with an HTML page.
    Html404,
    /// 302 to another host.
    Redirect,
    /// 200 with a very long JSON string.
    Big,
    /// 200 with a JSON array in place of the object.
    Array,
    /// 200 with no body.
    Empty,
}

impl Hostile {
    /// Every kind, for the draw.
    pub const ALL: [Hostile; 10] = [
        Hostile::Html,
        Hostile::CutJson,
        Hostile::CutBody,
        Hostile::InvalidJson,
        Hostile::Envelope,
        Hostile::Html404,
        Hostile::Redirect,
        Hostile::Big,
        Hostile::Array,
        Hostile::Empty,
    ];
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing goes wrong.
    Plain,
    /// Not applied, the connection is closed.
    LostBefore,
    /// Applied, the connection is closed.
    LostAfter,
    /// Not applied, silence, then the connection is closed.
    HangBefore,
    /// Applied, silence, then the connection is closed.
    HangAfter,
    /// Not applied, 503 (a read: the drawn 5xx).
    ErrorBefore,
    /// Applied, 500.
    ErrorAfter,
    /// Applied by the server after `ms`; the answer is lost, or a 502.
    Late { ms: i64, lost: bool },
    /// Applied by an engineer after `ms`; 500.
    Repaired { ms: i64 },
    /// Applied twice, the answer is lost.
    Twice,
    /// Sent once more by what stands before the server; the sender gets the second answer.
    Repeated,
    /// A parent and only the first `n` of its children (drawn when absent); 500.
    Partial(Option<usize>),
    /// A definite 400, not applied.
    Refused,
    /// A 429, not applied.
    TooMany,
    /// A 401, not applied; the token is forgotten.
    Unauthorised,
    /// Applied, the answer breaks off in the middle.
    Cut,
    /// Applied (a mutation), the answer is hostile.
    Hostile(Hostile),
    /// A read that sees the state of `ms` ago.
    Lag { ms: i64 },
}

impl Fate {
    /// Reads a forced fate, for example `lost-after`, `late:60000` or `hostile:html`.
    pub fn parse(text: &str) -> Result<Fate, String> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let ms = || {
            let ms = value.and_then(|v| v.parse::<i64>().ok());
            ms.ok_or_else(|| format!("the fate {name} needs milliseconds: {name}:60000"))
        };
        let fate = match name {
            "late" => {
                return Ok(Fate::Late { ms: ms()?, lost: false });
            }
            "late-lost" => {
                return Ok(Fate::Late { ms: ms()?, lost: true });
            }
            "repaired" => return Ok(Fate::Repaired { ms: ms()? }),
            "lag" => return Ok(Fate::Lag { ms: ms()? }),
            "hostile" => return hostile_named(value.unwrap_or_default()).map(Fate::Hostile),
            "partial" => return partial_of(value).map(Fate::Partial),
            "plain" => Fate::Plain,
            "lost-before" => Fate::LostBefore,
            "lost-after" => Fate::LostAfter,
            "hang-before" => Fate::HangBefore,
            "hang-after" => Fate::HangAfter,
            "error-before" => Fate::ErrorBefore,
            "error-after" => Fate::ErrorAfter,
            "twice" => Fate::Twice,
            "repeated" => Fate::Repeated,
            "refused" => Fate::Refused,
            "too-many" => Fate::TooMany,
            "unauthorised" => Fate::Unauthorised,
            "cut" => Fate::Cut,
            _ => return Err(format!("unknown fate {name}")),
        };
        match value {
            None => Ok(fate),
            Some(_) => Err(format!("the fate {name} takes no value")),
        }
    }
}

fn hostile_named(name: &str) -> Result<Hostile, String> {
    serde_json::from_value(Value::String(name.to_owned())).map_err(|_| format!("unknown hostile answer {name:?}"))
}

fn partial_of(value: Option<&str>) -> Result<Option<usize>, String> {
    value.map(|text| text.parse().map_err(|_| "partial:N needs a number".to_owned())).transpose()
}

impl Faults {
    /// Says what is wrong with these numbers, if anything.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in self.probabilities() {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name} must lie between 0 and 1, not {value}"));
            }
        }
        let ranges = [
            ("late_ms", self.late_ms_min, self.late_ms_max),
            ("repair_ms", self.repair_ms_min, self.repair_ms_max),
            ("replica_lag_ms", 0, self.replica_lag_ms),
        ];
        for (name, least, greatest) in ranges {
            if least < 0 || greatest < least {
                return Err(format!("{name}: {least}..={greatest} is no range of milliseconds"));
            }
        }
        if self.flapping.is_some_and(|flapping| flapping.period_ms <= 0) {
            return Err("flapping.period_ms must be positive".to_owned());
        }
        if self.big_body_bytes > BIG_BODY_LIMIT {
            return Err(format!("big_body_bytes must not exceed {BIG_BODY_LIMIT}"));
        }
        self.habits.check()
    }

    fn probabilities(&self) -> [(&'static str, f64); 15] {
        [
            ("lost_before", self.lost_before),
            ("lost_after", self.lost_after),
            ("error_before", self.error_before),
            ("error_after", self.error_after),
            ("late", self.late),
            ("repaired", self.repaired),
            ("twice", self.twice),
            ("partial", self.partial),
            ("hang", self.hang),
            ("too_many", self.too_many),
            ("token_dropped", self.token_dropped),
            ("read_errors", self.read_errors),
            ("read_lost", self.read_lost),
            ("hostile", self.hostile),
            ("flapping.down_fraction", self.flapping.map_or(0.0, |f| f.down_fraction)),
        ]
    }

    /// Whether the service is down at this moment (milliseconds since the epoch).
    pub fn is_down(&self, now_ms: i64) -> bool {
        self.flapping.is_some_and(|flapping| {
            let phase = now_ms.rem_euclid(flapping.period_ms.max(1)) as f64;
            phase >= (1.0 - flapping.down_fraction) * flapping.period_ms as f64
        })
    }

    /// Throws the fate of a mutation; `family` says that it may be applied in part.
    pub(super) fn throw_mutation(&self, rng: &mut Rng, family: bool) -> Fate {
        let late = Fate::Late { ms: between(rng, self.late_ms_min, self.late_ms_max), lost: rng.bool() };
        let repaired = Fate::Repaired { ms: between(rng, self.repair_ms_min, self.repair_ms_max) };
        let partial = if family { Fate::Partial(None) } else { Fate::Plain };
        let before = if rng.f64() < self.hang { Fate::HangBefore } else { Fate::LostBefore };
        let after = if rng.f64() < self.hang { Fate::HangAfter } else { Fate::LostAfter };
        pick(
            rng,
            &[
                (self.lost_before, before),
                (self.lost_after, after),
                (self.error_before, Fate::ErrorBefore),
                (self.error_after, Fate::ErrorAfter),
                (self.late, late),
                (self.repaired, repaired),
                (self.twice, Fate::Twice),
                (self.partial, partial),
            ],
        )
    }

    /// Throws the fate of a read.
    pub(super) fn throw_read(&self, rng: &mut Rng) -> Fate {
        let lost = if rng.f64() < self.hang { Fate::HangBefore } else { Fate::LostBefore };
        let drawn = Hostile::ALL[rng.usize(..Hostile::ALL.len())];
        let hostile = Fate::Hostile(self.hostile_only.unwrap_or(drawn));
        let lag = Fate::Lag { ms: between(rng, 0, self.replica_lag_ms) };
        let fate = pick(rng, &[(self.read_errors, Fate::ErrorBefore), (self.read_lost, lost), (self.hostile, hostile)]);
        if fate == Fate::Plain { lag } else { fate }
    }

    /// Draws how long this answer takes, in milliseconds.
    pub(super) fn throw_delay_ms(&self, rng: &mut Rng) -> u64 {
        self.latency_ms.saturating_add(rng.u64(0..=self.jitter_ms))
    }
}

/// One throw against exclusive probabilities; what is left over is plain.
fn pick(rng: &mut Rng, choices: &[(f64, Fate)]) -> Fate {
    let mut left = rng.f64();
    for (probability, fate) in choices {
        if left < *probability {
            return *fate;
        }
        left -= probability;
    }
    Fate::Plain
}

fn between(rng: &mut Rng, least: i64, greatest: i64) -> i64 {
    rng.i64(least..=greatest.max(least))
}
