//! When a record was made, by the server's clock, seen from attempts that were sent by another clock.

use super::tally::Able;
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
    pub fn of(made: Option<Moment>, look: &Look, first: Option<Moment>, settled: Moment) -> Age {
        let (Some(made), Some(first)) = (made, first) else { return Age::Unknown };
        Age::of_all(look.skews().map(|skew| Age::under(skew, made, first, settled)))
    }

    fn of_all(ages: [Age; 3]) -> Age {
        match ages {
            [Age::Within(one), Age::Within(two), Age::Within(three)] => Age::Within(one.max(two).max(three)),
            [one, two, three] if one == two && two == three => one,
            _ => Age::Unknown,
        }
    }

    /// The same, seen from an operation whose attempts can have been applied in these times: made between two of them counts
    /// as after.
    pub fn of_spans(record: &Record, look: &Look, first: Option<Moment>, spans: &[Able]) -> Age {
        let (Some(made), Some(first)) = (record.made, first) else { return Age::Unknown };
        Age::of_all(look.skews().map(|skew| {
            let mut each = spans.iter().map(|(sent, over)| Age::under(skew, made, *sent, *over));
            each.find(|age| matches!(age, Age::Within(_))).unwrap_or_else(|| {
                match Age::under(skew, made, first, Moment(i64::MIN)) {
                    Age::Before => Age::Before,
                    _ => Age::After,
                }
            })
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
