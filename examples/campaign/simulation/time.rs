//! Virtual time: the timer's paused clock is the world's true time, and the job's host may be wrong about it.

use std::cell::Cell;

use privo_reconcile::clock::Moment;
use tokio::time::{Duration, Instant};

/// 2026-03-01T12:00:00Z: when every world begins, in milliseconds since 1970.
pub const BEGINNING: i64 = 1_772_366_400_000;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    /// What the host's clock shows more than the true time.
    static OFFSET: Cell<i64> = const { Cell::new(0) };
}

/// A world begins now. To be called on its own runtime with a paused clock.
#[expect(clippy::disallowed_methods, reason = "the paused clock of the simulation")]
pub fn begin() {
    START.set(Some(Instant::now()));
    OFFSET.set(0);
}

/// The true time, which is the server's.
#[expect(clippy::disallowed_methods, reason = "the paused clock of the simulation")]
pub fn true_ms() -> i64 {
    let now = Instant::now();
    let elapsed = START.get().map_or(0, |start| now.saturating_duration_since(start).as_millis());
    BEGINNING + i64::try_from(elapsed).unwrap_or(i64::MAX / 2)
}

/// What the clock of the job's (and the client's) host shows.
pub fn host_now() -> Moment {
    Moment(true_ms() + OFFSET.get())
}

/// Sets the host's clock so much ahead of the true time.
pub fn set_offset(ms: i64) {
    OFFSET.set(ms);
}

/// Lets time pass until then, if it has not.
pub async fn until(ms: i64) {
    let rest = ms - true_ms();
    if rest > 0 {
        tokio::time::sleep(Duration::from_millis(rest.unsigned_abs())).await;
    }
}
