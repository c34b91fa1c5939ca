//! A world's draws: which windows, which clocks, which troubles, and who is at work in it.

use std::collections::BTreeSet;

use fastrand::Rng;
use privo_reconcile::sandbox::{Faults, Habits};

use super::twist::Twist;

pub const SECOND: i64 = 1000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The configured windows in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub network: i64,
    pub server_error: i64,
    pub intent: i64,
    pub replica_lag: i64,
    pub confirm_after: i64,
    pub watch: i64,
}

/// What is wrong with what the job sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    None,
    /// 5xx, lost and hostile answers, 429, dropped tokens, flapping; healed in the end.
    Noise,
    /// Bursts of a stale snapshot, each shorter than `confirm_after`, with unreadable answers between them.
    StaleBursts,
    /// The job asks a server that shows nobody, until somebody mends that.
    Amnesia,
    /// The job asks a server that shows somebody for every key, until somebody mends that.
    YesMan,
    /// No control is configured, and the server shows nobody, until somebody mends both.
    MissingControls,
    /// A control names an account that is not there, for ever.
    WrongControls,
}

/// What one world is like.
#[derive(Clone, Debug)]
pub struct Story {
    pub seed: u64,
    pub consent: bool,
    pub windows: Windows,
    /// Late applications come after the windows.
    pub breaks_windows: bool,
    /// Records show when they were made.
    pub dated: bool,
    pub trouble: Trouble,
    /// What the host's clock shows more than the true time.
    pub skew: i64,
    /// The job's clock is set to and fro between and during runs.
    pub steps: bool,
    /// Other systems and people are at work.
    pub foreigners: bool,
    /// The client follows the advice to resend.
    pub follows: bool,
    pub operations: usize,
    /// What it has beyond an outage.
    pub twists: BTreeSet<Twist>,
    /// What the server does otherwise than its documents say.
    pub habits: Habits,
    /// What the clocks of the writers' hosts show more than the job's.
    pub hosts: Vec<i64>,
}

impl Story {
    /// Draws a world. `entries` is about how many entries it should have.
    pub fn draw(seed: u64, entries: usize, breaks_windows: bool, rng: &mut Rng) -> Story {
        let one_of = |rng: &mut Rng, values: &[i64]| values[rng.usize(..values.len())];
        let windows = Windows {
            network: one_of(rng, &[5, 15, 30]) * MINUTE,
            server_error: one_of(rng, &[1, 4, 24]) * HOUR,
            intent: one_of(rng, &[5, 15]) * MINUTE,
            replica_lag: one_of(rng, &[0, 0, 30, 120]) * SECOND,
            confirm_after: one_of(rng, &[5, 10]) * MINUTE,
            watch: one_of(rng, &[1, 3, 7]) * DAY,
        };
        let consent = rng.u8(..100) < 35;
        let trouble = match rng.u8(..100) {
            0..38 => Trouble::None,
            38..68 => Trouble::Noise,
            68..78 if !consent && !breaks_windows => Trouble::StaleBursts,
            68..84 => Trouble::Amnesia,
            84..90 => Trouble::YesMan,
            90..96 => Trouble::MissingControls,
            _ if breaks_windows => Trouble::None,
            _ => Trouble::WrongControls,
        };
        let skew = match rng.u8(..10) {
            0..6 => 0,
            6 => rng.i64(-3000..3000),
            7 => rng.i64(-5 * MINUTE..5 * MINUTE),
            8 => HOUR,
            _ => -HOUR,
        };
        Story {
            seed,
            consent,
            windows,
            breaks_windows,
            dated: rng.bool(),
            trouble,
            skew,
            // A clock that was wrong when the client wrote and is right when the job asks cannot be told from the ledger.
            // In bursts every entry must be due when the answers are unreadable, so that clock keeps still.
            steps: trouble != Trouble::StaleBursts && skew.abs() <= 3000 && rng.u8(..10) < 2,
            foreigners: trouble != Trouble::StaleBursts && rng.u8(..10) < 6,
            follows: !breaks_windows && windows.server_error <= 4 * HOUR && rng.u8(..10) < 5,
            operations: (entries * 10 / 16).max(1),
            twists: BTreeSet::new(),
            habits: Habits::default(),
            hosts: Vec::new(),
        }
    }

    /// What goes wrong with the server when nothing else does.
    pub fn faults(&self) -> Faults {
        let slow = self.has(Twist::SlowLooks);
        Faults {
            latency_ms: if slow { 1500 } else { 5 },
            jitter_ms: if slow { 4000 } else { 40 },
            too_many: if slow { 0.1 } else { 0.0 },
            retry_after_s: if slow { 15 } else { 1 },
            replica_lag_ms: self.windows.replica_lag,
            shows_created_at: self.dated,
            habits: self.habits.clone(),
            ..Faults::default()
        }
    }

    pub fn has(&self, twist: Twist) -> bool {
        self.twists.contains(&twist)
    }
}
