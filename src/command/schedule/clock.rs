//! The schedule's clock: the wall's, or for tests one that goes faster. The job's own clock is always the wall's.

use std::time::Duration;

use crate::cli::ScheduleArgs;
use crate::clock::{Moment, Span};

/// A clock that was right once, and goes so many times faster since.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    right: Moment,
    speed: u32,
}

impl Clock {
    /// The clock that the options ask for.
    pub fn new(args: &ScheduleArgs) -> Clock {
        let now = Moment::now();
        Clock { right: args.speed_from.unwrap_or(now), speed: args.speed }
    }

    /// What it shows now.
    pub fn now(self) -> Moment {
        self.at(Moment::now())
    }

    /// What it shows at a moment of the wall's clock.
    pub fn at(self, wall: Moment) -> Moment {
        self.right + Span(wall.since(self.right).0.saturating_mul(i64::from(self.speed)))
    }

    /// How long a span of this clock really is; never less.
    pub fn real(self, span: Span) -> Duration {
        Duration::from_millis(span.duration().as_millis().div_ceil(u128::from(self.speed.max(1))) as u64)
    }
}
