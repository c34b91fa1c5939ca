//! When a record was made, by the server's clock, seen from attempts that were sent by another clock.
//!
//! A time says "before" or "after" only outside its whole uncertainty: how far the server's clock is from the job's, that
//! a time may be cut to the second, that the clock which dates records need not be the one of the `Date` header, and how
//! far the writer's clock may be off. Within it the age is unknown.

use crate::clock::{Moment, Span};
use crate::evidence::{Look, Sending};

/// A time in which an attempt can have been applied: from when it was sent until its window was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Active {
    pub sent: Sending,
    pub over: Moment,
}

/// When a record was made, seen from the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Before the first of them was sent.
    Before,
    /// Between the first attempt and the end of its window; with the latest moment at which it can have been made, by the
    /// job's clock.
    Within(Moment),
    /// After the first of them was sent, and when none of them can have been applied.
    After,
    /// Nothing bounds it narrowly enough.
    Unknown,
}

/// Between which moments of the job's clock a record was made or changed.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// By the server's word, under each reading of the clocks.
    said: [(Moment, Moment); 3],
    /// By the job's own looks: it was looked for then, and was not there yet.
    absent: Moment,
    /// By the job's own looks: it was there by then.
    seen: Moment,
}

impl Made {
    /// By what the server says, as a look shows its clock.
    pub fn said(time: Option<Moment>, look: &Look) -> Made {
        let (absent, seen) = (Moment(i64::MIN), Moment(i64::MAX));
        let Some(time) = time else { return Made { said: [(absent, seen); 3], absent, seen } };
        // A time without a fraction may be cut to the second.
        let cut = if time.0 % 1000 == 0 { Span(999) } else { Span::ZERO };
        let bounds =
            |(least, most): (Span, Span)| (time - look.made_error - most, time + cut + look.made_error - least);
        Made { said: look.skews().map(bounds), absent, seen }
    }

    /// And by what the job saw: not there at `absent`, there by the time of `look`. A clock that is far off was set, or will
    /// be, so its times say nothing about when something was sent.
    #[must_use]
    pub fn looked_for(self, absent: Option<Moment>, look: &Look) -> Made {
        if look.clock_is_far_off() {
            return self;
        }
        Made { absent: absent.unwrap_or(self.absent), seen: look.surely_answered(), ..self }
    }

    /// Surely at or after this moment.
    pub fn since(&self, moment: Moment) -> bool {
        let looked = self.absent >= moment && !self.said.iter().any(|said| self.contradicts(*said));
        looked || self.said.iter().all(|(from, _)| *from >= moment)
    }

    /// Surely before this moment.
    pub fn before(&self, moment: Moment) -> bool {
        self.seen < moment || self.said.iter().all(|(_, to)| *to < moment)
    }

    /// Seen from an operation that was first sent then, and whose attempts can have been applied in these times.
    pub fn age(&self, first: Sending, spans: &[Active]) -> Age {
        match self.said.map(|said| self.age_by(said, first, spans)) {
            [Age::Within(one), Age::Within(two), Age::Within(three)] => Age::Within(one.max(two).max(three)),
            [one, two, three] if one == two && two == three => one,
            _ => Age::Unknown,
        }
    }

    /// It was looked for and not found after it was made: the look went to an older state of the server, or the time is
    /// not that of the making. Which of the two, nobody knows.
    fn contradicts(&self, (_, to): (Moment, Moment)) -> bool {
        to < self.absent
    }

    fn age_by(&self, (from, to): (Moment, Moment), first: Sending, spans: &[Active]) -> Age {
        let since = from.max(self.absent);
        let by = to.min(self.seen);
        if to < first.earliest && self.absent < first.earliest {
            Age::Before
        } else if self.contradicts((from, to)) {
            Age::Unknown
        } else if spans.iter().any(|span| since >= span.sent.latest && by <= span.over) {
            Age::Within(by)
        } else if since >= first.latest && spans.iter().all(|span| to < span.sent.earliest || since > span.over) {
            Age::After
        } else {
            Age::Unknown
        }
    }
}
