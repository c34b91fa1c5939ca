//! The picture of failures over time: columns, levels, hours and outages as places on a canvas. The template draws them;
//! nothing here comes from a writer but numbers.

use crate::clock::{Moment, Span};

use super::text;
use super::times::{STEPS, Times, total};
use super::totals::{KINDS, Kind};

/// A picture for a width; a page has one for screens and one for phones, so that its letters stay readable.
#[derive(Debug)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// The plot's edges.
    pub left: String,
    pub right: String,
    pub bottom: String,
    pub levels: Vec<Level>,
    pub hours: Vec<Hour>,
    pub bars: Vec<Bar>,
    pub outages: Vec<Mark>,
}

/// A line across, with how many requests it stands for.
#[derive(Debug)]
pub struct Level {
    pub y: String,
    pub requests: String,
}

/// A moment below the plot.
#[derive(Debug)]
pub struct Hour {
    pub x: String,
    pub anchor: &'static str,
    pub time: String,
    /// The day, where it is another than the one before.
    pub day: Option<String>,
}

/// One column.
#[derive(Debug)]
pub struct Bar {
    pub says: String,
    pub x: String,
    pub width: String,
    pub parts: Vec<Part>,
}

/// One kind of failure in a column.
#[derive(Debug)]
pub struct Part {
    pub kind: &'static str,
    pub y: String,
    pub height: String,
}

/// A marked outage.
#[derive(Debug)]
pub struct Mark {
    pub x: String,
    pub width: String,
    /// The upper edge of the mark, and where its words stand.
    pub y: String,
    pub height: String,
    pub words_x: String,
    pub words_y: String,
    pub anchor: &'static str,
    pub words: String,
}

/// The class and word of a kind of failure.
pub fn word(kind: Kind) -> &'static str {
    kind.map_or("unreadable", |failure| failure.text())
}

const LEFT: f64 = 40.0;
const ABOVE: f64 = 14.0;
/// Room for the words of each outage.
const WORDS: f64 = 18.0;
const BELOW: f64 = 38.0;
/// No bar is broader.
const BROADEST: f64 = 44.0;
/// Half the room that a label needs.
const LABEL: f64 = 36.0;
/// Between two parts of a column, where both are high enough to lose it.
const JOINT: f64 = 1.0;

struct Plot<'a> {
    times: &'a Times,
    right: f64,
    top: f64,
    bottom: f64,
    /// How broad a column is.
    slot: f64,
    /// Requests at the top.
    most: u64,
}

impl Picture {
    /// Draws; `hours` at most stand below.
    pub fn of(times: &Times, width: u32, height: u32, hours: i64) -> Picture {
        let unit = level_unit(times.highest());
        let right = f64::from(width) - 6.0;
        let plot = Plot {
            times,
            right,
            top: ABOVE + WORDS * times.outages.len() as f64,
            bottom: f64::from(height) - BELOW,
            slot: ((right - LEFT) / times.columns.len() as f64).min(BROADEST),
            most: times.highest().div_ceil(unit).max(1) * unit,
        };
        Picture {
            width,
            height,
            left: tenth(LEFT),
            right: tenth(right),
            bottom: tenth(plot.bottom),
            levels: (0..=plot.most / unit).map(|level| plot.level(level * unit)).collect(),
            hours: plot.hours(hours),
            bars: (0..times.columns.len()).filter_map(|column| plot.bar(column)).collect(),
            outages: (0..times.outages.len()).map(|outage| plot.mark(outage)).collect(),
        }
    }
}

impl Plot<'_> {
    fn y(&self, requests: u64) -> f64 {
        self.bottom - (self.bottom - self.top) * requests as f64 / self.most as f64
    }

    fn x(&self, at: Moment) -> f64 {
        LEFT + self.slot * (at.0 - self.times.begin.0) as f64 / self.times.step.0 as f64
    }

    fn level(&self, requests: u64) -> Level {
        Level { y: tenth(self.y(requests)), requests: text::number(requests) }
    }

    fn hours(&self, most: i64) -> Vec<Hour> {
        let (begin, end) = (self.times.begin, self.times.begins(self.times.columns.len()));
        let apart = |step: &&i64| **step % self.times.step.0 == 0 && (end.0 - begin.0) / **step < most;
        let step = Span(STEPS.iter().find(apart).copied().unwrap_or(STEPS[STEPS.len() - 1]));
        let first = begin.0.div_euclid(step.0) + i64::from(begin.0.rem_euclid(step.0) > 0);
        let mut last_day = String::new();
        let mut hours = Vec::new();
        for at in (first..).map(|n| Moment(n * step.0)).take_while(|at| *at < end) {
            let x = self.x(at);
            let day = text::at(at, Span(86_400_000), false);
            hours.push(Hour {
                x: tenth(x),
                anchor: self.anchor(x),
                time: text::at(at, step, false),
                day: (step.0 < 86_400_000 && day != last_day).then(|| day.clone()),
            });
            last_day = day;
        }
        hours
    }

    fn anchor(&self, x: f64) -> &'static str {
        match () {
            () if x < LEFT + LABEL => "start",
            () if x > self.right - LABEL => "end",
            () => "middle",
        }
    }

    fn bar(&self, column: usize) -> Option<Bar> {
        let counts = &self.times.columns[column];
        if total(counts) == 0 {
            return None;
        }
        let gap = if self.slot > 4.0 { 1.0 } else { 0.0 };
        let mut below = 0;
        let mut parts = Vec::new();
        let mut kinds = Vec::new();
        for (kind, requests) in KINDS.iter().zip(counts).filter(|(_, requests)| **requests > 0) {
            let (bottom, top) = (self.y(below), self.y(below + requests));
            let joint = if below > 0 && bottom - top > 3.0 * JOINT { JOINT } else { 0.0 };
            parts.push(Part { kind: word(*kind), y: tenth(top), height: tenth(bottom - top - joint) });
            kinds.push(format!("{} {}", text::number(*requests), word(*kind)));
            below += requests;
        }
        let (from, to) = (self.times.begins(column), self.times.begins(column + 1));
        Some(Bar {
            says: format!("{}: {}", text::from_to(from, to, self.times.step), kinds.join(", ")),
            x: tenth(LEFT + self.slot * column as f64 + gap / 2.0),
            width: tenth((self.slot - gap).max(0.5)),
            parts,
        })
    }

    fn mark(&self, which: usize) -> Mark {
        let outage = &self.times.outages[which];
        let (x, end) = (self.x(outage.from), self.x(outage.to).max(self.x(outage.from) + 2.0));
        let y = ABOVE + WORDS * which as f64;
        let number = if self.times.outages.len() > 1 { format!(" {}", which + 1) } else { String::new() };
        let finer = Span(self.times.step.0.min(60_000));
        let from_to = format!("{} – {}", text::at(outage.from, finer, false), text::at(outage.to, finer, false));
        // The words stand in the middle of the mark, or begin or end with the plot.
        let half = 6.3 * (from_to.len() + 12) as f64 / 2.0;
        let middle = f64::midpoint(x, end);
        let (words_x, anchor) = match () {
            () if middle - half < LEFT => (LEFT, "start"),
            () if middle + half > self.right => (self.right, "end"),
            () => (middle, "middle"),
        };
        Mark {
            x: tenth(x),
            width: tenth(end - x),
            y: tenth(y + 4.0),
            height: tenth(self.bottom - y - 4.0),
            words_x: tenth(words_x),
            words_y: tenth(y - 2.0),
            anchor,
            words: format!("outage{number}: {from_to}"),
        }
    }
}

/// How many requests a level stands for, so that there are at most four: 1, 2 or 5 times a power of ten.
fn level_unit(highest: u64) -> u64 {
    let mut unit = 1;
    for factor in [2, 5, 10].iter().cycle() {
        if highest <= unit * 4 {
            break;
        }
        let power = 10_u64.pow(unit.ilog10());
        unit = factor * power.max(1);
    }
    unit
}

/// A place on the canvas to a tenth.
fn tenth(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Failure;

    #[test]
    fn levels_are_round_and_few() {
        for (highest, unit) in [(0, 1), (4, 1), (5, 2), (9, 5), (20, 5), (21, 10), (41, 20), (81, 50), (1_234, 500)] {
            assert_eq!(level_unit(highest), unit, "{highest}");
        }
        for highest in 1..5_000 {
            let unit = level_unit(highest);
            assert!(highest.div_ceil(unit) <= 4, "{highest} {unit}");
        }
    }

    #[test]
    fn everything_lies_on_the_canvas() {
        fastrand::seed(3);
        for round in 1..120 {
            let spread = 1_i64 << (round % 44);
            let sent: Vec<_> = (0..round)
                .map(|_| (Moment(1_700_000_000_000 + fastrand::i64(0..=spread)), KINDS[fastrand::usize(..KINDS.len())]))
                .collect();
            let times = Times::of(&sent).unwrap();
            for (width, height, hours) in [(960, 300, 7), (360, 260, 4)] {
                let picture = Picture::of(&times, width, height, hours);
                let number = |text: &str| text.parse::<f64>().unwrap();
                for bar in &picture.bars {
                    assert!(number(&bar.x) >= 0.0 && number(&bar.x) + number(&bar.width) <= f64::from(width));
                    for part in &bar.parts {
                        assert!(number(&part.y) >= 0.0 && number(&part.y) + number(&part.height) <= f64::from(height));
                    }
                }
                for mark in &picture.outages {
                    assert!(number(&mark.x) >= 0.0 && number(&mark.x) + number(&mark.width) <= f64::from(width));
                }
                assert!((picture.hours.len() as i64) <= hours && picture.levels.len() <= 5, "{picture:?}");
            }
        }
    }

    #[test]
    fn a_column_says_what_is_in_it() {
        let at = Moment::parse("2026-03-01T12:00:00Z").unwrap();
        let sent = [(at, Some(Failure::Http)), (at, Some(Failure::Http)), (at, Some(Failure::Timeout))];
        let picture = Picture::of(&Times::of(&sent).unwrap(), 960, 300, 7);
        assert_eq!(picture.bars[0].says, "2026-03-01 12:00:00.000 – 12:00:00.010: 2 http, 1 timeout");
    }
}
