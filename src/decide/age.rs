//! When a record was made, by the server's clock, seen from attempts that were sent by another clock.

use crate::clock::{Moment, Span};
use crate::evidence::{Look, Record};

/// When a record was made, seen from the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Before,
    /// Between the first attempt and the end of its window; with the latest moment of the writer's clock it can have been.
    Within(Moment),
    After,
    /// The server does not say, or the first attempt's time is not known.
    Unknown,
}

impl Age {
    /// `settled` is when the operation itself can have made nothing any more, however long its group waits for others.
    pub fn of(record: &Record, look: &Look, first: Option<Moment>, settled: Moment) -> Age {
        let (Some(made), Some(first)) = (record.made, first) else { return Age::Unknown };
        match look.skews().map(|skew| Age::under(skew, made, first, settled)) {
            [Age::Within(one), Age::Within(two), Age::Within(three)] => Age::Within(one.max(two).max(three)),
            [one, two, three] if one == two && two == three => one,
            _ => Age::Unknown,
        }
    }

    fn under((least, most): (Span, Span), made: Moment, first: Moment, settled: Moment) -> Age {
        // A time without a fraction may be cut to the second.
        let cut = if made.0 % 1000 == 0 { Span(999) } else { Span::ZERO };
        if made + cut < first + least {
            Age::Before
        } else if made <= settled + most {
            Age::Within(made + cut - least)
        } else {
            Age::After
        }
    }
}
