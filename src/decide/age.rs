//! When a record was made, by the server's clock, seen from attempts that were sent by another clock.

use super::group::{Group, maybe_applied};
use crate::clock::{Moment, Span};
use crate::evidence::{Attempt, Link, Look, Record};

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
        Age::of_all(look.skews().map(|skew| Age::under(skew, made, first, settled)))
    }

    fn of_all(ages: [Age; 3]) -> Age {
        match ages {
            [Age::Within(one), Age::Within(two), Age::Within(three)] => Age::Within(one.max(two).max(three)),
            [one, two, three] if one == two && two == three => one,
            _ => Age::Unknown,
        }
    }

    /// The same, seen from an operation: made between the windows of two attempts counts as after them. `over` says when an
    /// attempt can have made nothing any more.
    pub fn of_operation(
        group: &Group,
        identity: Link,
        (record, look): (&Record, &Look),
        over: impl Fn(&Attempt) -> Moment,
    ) -> Age {
        let (Some(made), Some(first)) = (record.made, group.first_sent(identity)) else { return Age::Unknown };
        let settled = group.operation(identity).map(&over).max().unwrap_or(Moment(i64::MIN));
        let able = || group.operation(identity).filter(|attempt| maybe_applied(attempt));
        Age::of_all(look.skews().map(|skew| {
            let within = |attempt: &Attempt| {
                let sent = attempt.facts.sent();
                sent.is_none_or(|sent| matches!(Age::under(skew, made, sent, over(attempt)), Age::Within(_)))
            };
            match Age::under(skew, made, first, settled) {
                Age::Within(_) if !able().any(within) => Age::After,
                age => age,
            }
        }))
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
