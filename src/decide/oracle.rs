//! What is said is true in every history that fits the evidence, by brute force.
//!
//! A small world is made at random: operations with their attempts, records from before, which attempt was applied and
//! when within its window. An honest server is looked at, and [`decide`] asked after every round of looks. Then every
//! history that would have given the same looks is listed, and what was said must hold in each. Nothing here knows how a
//! decision is come by: a history is an assignment of the records to their makers, and what a look did not show may yet
//! have happened.

use proptest::prelude::*;

use super::table::*;
use super::{Decision, Verdict, decide};
use crate::clock::Span;
use crate::evidence::{Case, Kind, Look, Record, Windows};
use crate::words::{Compared, Control, Outcome, Reason, Seen};

/// How long an attempt may still be applied, in minutes.
const NETWORK: i64 = 15;
const SERVER_ERROR: i64 = 60;

fn windows() -> Windows {
    Windows {
        // What is made in the last minute of a window is made within it.
        network: Span::seconds(NETWORK * 60 + 59),
        server_error: Span::seconds(SERVER_ERROR * 60 + 59),
        ..Windows::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Timeout,
    ServerError,
    NotSent,
    Refused,
    Success,
}

#[derive(Clone, Debug)]
struct Try {
    sent: i64,
    heard: Heard,
    /// When it was applied in the true history.
    applied: Option<i64>,
}

impl Try {
    /// The minutes in which it can have been applied, the last one within the second that the clocks are known to. For what is not unique every attempt has the longest window.
    fn span(&self, kind: Kind) -> Option<std::ops::RangeInclusive<i64>> {
        match self.heard {
            Heard::Timeout if kind == Kind::Create => Some(self.sent..=self.sent + NETWORK),
            Heard::Timeout | Heard::ServerError => Some(self.sent..=self.sent + SERVER_ERROR),
            Heard::Success => Some(self.sent..=self.sent),
            Heard::NotSent | Heard::Refused => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Operation {
    value: u8,
    tries: Vec<Try>,
}

/// A record as it truly is.
#[derive(Clone, Debug)]
struct Thing {
    made: i64,
    value: u8,
    dated: bool,
    shown: bool,
}

/// How one attempt's look of a round went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Good,
    Inconclusive,
    Void,
}

#[derive(Clone, Debug)]
struct World {
    operations: Vec<Operation>,
    things: Vec<Thing>,
    /// The minute, and for each attempt in turn how its look went.
    rounds: Vec<(i64, Vec<Sight>)>,
    /// The last two rounds saw everything, long after the windows.
    clear: bool,
}

fn tries(kind: Kind) -> impl Strategy<Value = Try> {
    let heard = prop_oneof![
        4 => Just(Heard::Timeout),
        2 => Just(Heard::ServerError),
        1 => Just(Heard::NotSent),
        1 => Just(Heard::Refused),
        1 => Just(Heard::Success),
    ];
    (prop_oneof![Just(0i64), 0i64..120], heard, proptest::option::of(0i64..SERVER_ERROR)).prop_map(
        move |(sent, heard, after)| {
            let mut tried = Try { sent, heard, applied: None };
            tried.applied = match heard {
                Heard::Success => Some(sent),
                _ => tried.span(kind).and_then(|span| Some(sent + after? % (span.end() - sent + 1))),
            };
            tried
        },
    )
}

fn operation(kind: Kind) -> impl Strategy<Value = Operation> {
    (0u8..3, proptest::collection::vec(tries(kind), 1..=2)).prop_map(|(value, tries)| Operation { value, tries })
}

fn world(kind: Kind) -> impl Strategy<Value = World> {
    let sight = prop_oneof![6 => Just(Sight::Good), 1 => Just(Sight::Inconclusive), 1 => Just(Sight::Void)];
    let before = (-100i64..0, 0u8..3);
    let rounds = proptest::collection::btree_map(0i64..300, proptest::collection::vec(sight, 12), 0..4);
    let shows = proptest::collection::vec((any::<bool>(), any::<bool>()), 6);
    (
        proptest::collection::vec(operation(kind), 1..=6),
        proptest::collection::vec(before, 0..=2),
        rounds,
        shows,
        (any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(move |(mut operations, before, rounds, shows, (clear, all_dated, all_shown))| {
            let thing = |(made, value): (i64, u8), i: usize| Thing {
                made,
                value,
                dated: all_dated || shows[i].0,
                shown: all_shown || shows[i].1,
            };
            let mut things: Vec<Thing> = Vec::new();
            match kind {
                Kind::Create => one_is_made(&mut operations, &before, &mut |made| {
                    let i = things.len();
                    things.push(thing(made, i));
                }),
                _ => {
                    for operation in &mut operations {
                        for tried in &mut operation.tries {
                            let Some(made) = tried.applied else { continue };
                            if things.len() < 6 {
                                things.push(thing((made, operation.value), things.len()));
                            } else {
                                tried.applied = None;
                                tried.heard = if tried.heard == Heard::Success { Heard::Refused } else { tried.heard };
                            }
                        }
                    }
                    for made in before {
                        if things.len() < 6 {
                            things.push(thing(made, things.len()));
                        }
                    }
                }
            }
            let mut rounds: Vec<(i64, Vec<Sight>)> = rounds.into_iter().collect();
            if clear {
                rounds.extend([400, 420].map(|minute| (minute, vec![Sight::Good; 12])));
            }
            World { operations, things, rounds, clear }
        })
}

/// Of creates with one unique key at most the earliest is applied, and none where the key is taken.
fn one_is_made(operations: &mut [Operation], before: &[(i64, u8)], make: &mut dyn FnMut((i64, u8))) {
    let applied = |o: &Operation| o.tries.iter().filter_map(|tried| tried.applied).min();
    let first = operations.iter().enumerate().filter_map(|(i, o)| Some((applied(o)?, i))).min();
    let winner = match before.first() {
        Some(taken) => {
            make(*taken);
            None
        }
        None => first,
    };
    if let Some((made, i)) = winner {
        make((made, operations[i].value));
    }
    let mut won = winner;
    for (i, operation) in operations.iter_mut().enumerate() {
        for tried in &mut operation.tries {
            if tried.applied.is_some() && won == Some((tried.applied.unwrap_or_default(), i)) {
                won = None;
            } else {
                tried.applied = None;
                tried.heard = if tried.heard == Heard::Success { Heard::Refused } else { tried.heard };
            }
        }
    }
}

impl World {
    /// The attempts, with the number of their operation, as the ledger would have them before round `rounds`.
    fn case(&self, kind: Kind, rounds: usize) -> (Vec<usize>, Case) {
        let (mut owners, mut attempts) = (Vec::new(), Vec::new());
        for (o, operation) in self.operations.iter().enumerate() {
            for tried in &operation.tries {
                let shown = attempt(kind).op(o as u8 + 1).sent(tried.sent);
                let mut shown = match tried.heard {
                    Heard::Timeout => shown,
                    Heard::ServerError => shown.http(),
                    Heard::NotSent => shown.not_sent(),
                    Heard::Refused => shown.answered(400),
                    // What it made, it made within the minute.
                    Heard::Success => shown.answered(201).with(|a| a.facts.ended = at(tried.sent) + Span::seconds(59)),
                };
                if !answered(tried) {
                    let looks = self.rounds[..rounds].iter();
                    shown.looks =
                        looks.map(|(m, sights)| self.look(kind, operation, *m, sights[attempts.len()])).collect();
                }
                owners.push(o);
                attempts.push(shown);
            }
        }
        (owners, Case { windows: windows(), attempts, removals: vec![] })
    }

    fn look(&self, kind: Kind, operation: &Operation, minute: i64, sight: Sight) -> Look {
        let there = self.things.iter().enumerate().filter(|(_, thing)| thing.made < minute);
        let mut records: Vec<Record> = there.map(|(i, thing)| shown(i, thing, operation)).collect();
        if kind == Kind::Member {
            records.retain(|record| !record.differs());
        }
        let seen = [Seen::Absent, Seen::Present, Seen::Several][records.len().min(2)];
        match sight {
            Sight::Good => look(minute, seen, records),
            Sight::Inconclusive => inconclusive_at(minute),
            // It went to another server, where nothing is.
            Sight::Void => absent_at(minute).known(Control::Contradicted),
        }
    }
}

fn answered(tried: &Try) -> bool {
    matches!(tried.heard, Heard::Refused | Heard::Success)
}

fn shown(i: usize, thing: &Thing, operation: &Operation) -> Record {
    let compared = match thing.shown {
        false => Compared::NotShown,
        true if thing.value == operation.value => Compared::Equal,
        true => Compared::Differs,
    };
    let record = with_field(record(&i.to_string(), thing.made), compared);
    if thing.dated { record } else { Record { made: None, ..record } }
}

/// What the looks of the first rounds told.
struct Evidence<'a> {
    kind: Kind,
    world: &'a World,
    /// The things that anybody saw.
    seen: Vec<usize>,
    /// Per operation and seen thing: whether it can be that operation's by what its looks showed.
    fits: Vec<Vec<bool>>,
    /// Per operation: when it was last looked at with success.
    last: Vec<Option<i64>>,
}

impl<'a> Evidence<'a> {
    fn of(world: &'a World, kind: Kind, rounds: usize) -> Evidence<'a> {
        let (mut last, mut start) = (Vec::new(), 0);
        for operation in &world.operations {
            let looking = (start..start + operation.tries.len()).filter(|i| !answered(&operation.tries[i - start]));
            let looking: Vec<usize> = looking.collect();
            let good = |(_, sights): &&(i64, Vec<Sight>)| looking.iter().any(|i| sights[*i] == Sight::Good);
            last.push(world.rounds[..rounds].iter().filter(good).map(|(minute, _)| *minute).max());
            start += operation.tries.len();
        }
        let visible = |o: usize, t: usize| last[o].is_some_and(|last| world.things[t].made < last);
        let equal = |o: usize, t: usize| {
            let thing = &world.things[t];
            !thing.shown || thing.value == world.operations[o].value
        };
        // What its last look did not show, it made afterwards or not at all.
        let may_yet = |o: usize| {
            let ends = world.operations[o].tries.iter().filter_map(|tried| Some(*tried.span(kind)?.end()));
            ends.max().is_some_and(|end| last[o].is_none_or(|last| end >= last))
        };
        let all = 0..world.operations.len();
        let shows = |o: usize, t: usize| visible(o, t) && (kind == Kind::Create || equal(o, t));
        let seen: Vec<usize> = (0..world.things.len()).filter(|t| all.clone().any(|o| shows(o, *t))).collect();
        let fits = all
            .map(|o| seen.iter().map(|t| if visible(o, *t) { equal(o, *t) } else { may_yet(o) }).collect())
            .collect();
        Evidence { kind, world, seen, fits, last }
    }

    /// Whether these seen things can be the work of the operation's attempts. A server may apply an attempt twice.
    fn able(&self, o: usize, things: &[usize]) -> bool {
        self.share(o, things, &mut vec![2; self.world.operations[o].tries.len()])
    }

    /// Whether each thing finds an attempt that can have made it and has not made as many as it may.
    fn share(&self, o: usize, things: &[usize], left: &mut [usize]) -> bool {
        let Some((t, others)) = things.split_first() else { return true };
        let thing = &self.world.things[self.seen[*t]];
        for (i, tried) in self.world.operations[o].tries.iter().enumerate() {
            let can = tried.span(self.kind).is_some_and(|span| !thing.dated || span.contains(&thing.made));
            if can && left[i] > 0 {
                left[i] -= 1;
                let shared = self.share(o, others, left);
                left[i] += 1;
                if shared {
                    return true;
                }
            }
        }
        false
    }

    /// Every history: of each seen thing the operation that made it, or none where it was there before.
    fn histories(&self) -> Vec<Vec<Option<usize>>> {
        let mut histories: Vec<Vec<Option<usize>>> = vec![vec![]];
        for (t, thing) in self.seen.iter().map(|t| &self.world.things[*t]).enumerate() {
            let mut longer = Vec::new();
            for history in &histories {
                if !thing.dated || thing.made < 0 {
                    longer.push([&history[..], &[None]].concat());
                }
                for o in (0..self.fits.len()).filter(|o| self.fits[*o][t]) {
                    let next = [&history[..], &[Some(o)]].concat();
                    if self.able(o, &made_by(&next, o)) {
                        longer.push(next);
                    }
                }
            }
            histories = longer;
        }
        // An operation that was answered with success made at least one, here or where nobody has looked for it.
        histories
            .retain(|history| (0..self.fits.len()).all(|o| !self.surely_applied(o) || !made_by(history, o).is_empty()));
        histories
    }

    fn surely_applied(&self, o: usize) -> bool {
        let shown = |tried: &Try| tried.heard == Heard::Success && self.last[o].is_some_and(|last| tried.sent < last);
        self.world.operations[o].tries.iter().any(shown)
    }

    /// Whether the operation may have done something, or may yet do it, that its looks could not show.
    fn unseen(&self, o: usize) -> bool {
        let ends = self.world.operations[o].tries.iter().filter_map(|tried| Some(*tried.span(self.kind)?.end()));
        ends.max().is_some_and(|end| self.last[o].is_none_or(|last| end >= last))
    }
}

fn made_by(history: &[Option<usize>], o: usize) -> Vec<usize> {
    (0..history.len()).filter(|t| history[*t] == Some(o)).collect()
}

/// What was said of an operation's attempt, against every history.
fn check(shown: &Evidence, o: usize, verdict: &Verdict) -> Result<(), TestCaseError> {
    let histories = shown.histories();
    prop_assert!(!histories.is_empty(), "the true history is one of them");
    let id = verdict.server_id.as_deref().and_then(|id| id.parse::<usize>().ok());
    let at = id.and_then(|id| shown.seen.iter().position(|t| *t == id));
    // Histories in which as few records as possible are from before.
    let busy = |h: &Vec<Option<usize>>| h.iter().flatten().count();
    let most = histories.iter().map(busy).max().unwrap_or_default();
    let fullest = || histories.iter().filter(|h| busy(h) == most);
    match verdict.outcome {
        Outcome::Applied => {
            prop_assert!(at.is_some(), "applied, but the record is not known");
            prop_assert!(histories.iter().all(|h| at.is_some_and(|t| h[t] == Some(o))), "applied, but not surely its");
        }
        // Every attempt that left its sender was answered, and it succeeded: that needs no look.
        Outcome::Satisfied if verdict.server_id.is_none() => {
            let tries = || shown.world.operations[o].tries.iter();
            prop_assert!(tries().any(|tried| tried.heard == Heard::Success), "satisfied without record or answer");
            let open = |tried: &Try| matches!(tried.heard, Heard::Timeout | Heard::ServerError);
            prop_assert!(!tries().any(open), "satisfied by an answer, though another attempt is in doubt");
        }
        Outcome::Satisfied => {
            prop_assert!(at.is_some_and(|t| shown.fits[o][t]), "satisfied without a fitting record");
            if shown.kind == Kind::Member {
                let its = |h: &Vec<Option<usize>>| at.is_some_and(|t| h[t].is_none_or(|claimant| claimant == o));
                prop_assert!(fullest().all(its), "satisfied by another operation's record");
            }
        }
        Outcome::NotApplied => {
            prop_assert!(histories.iter().all(|h| made_by(h, o).is_empty()), "not-applied, but it can have been");
            let blocked = shown.kind == Kind::Create && !shown.seen.is_empty();
            prop_assert!(blocked || !shown.unseen(o), "not-applied, but it may yet become so");
        }
        Outcome::Duplicated => {
            let twice = |h: &Vec<Option<usize>>| (0..shown.fits.len()).any(|o| made_by(h, o).len() > 1);
            // Where a record may be older, the table asks for the number of records only.
            let new = shown.seen.iter().all(|t| shown.world.things[*t].dated);
            prop_assert!(!new || histories.iter().all(twice), "duplicated, but there is a history without");
            // The table asks for as many entries as records, not which of them can have made which.
            let fitting = shown.fits[o].iter().filter(|fits| **fits).count();
            let taken = |tried: &&Try| tried.span(shown.kind).is_some();
            let entries = shown.world.operations[o].tries.iter().filter(taken).count();
            prop_assert!(fitting > 1 && entries > 1, "duplicated, but it cannot have made two");
        }
        Outcome::PartlyApplied | Outcome::Unknown => {}
    }
    Ok(())
}

/// Asks after every round of looks, and checks each answer.
fn tell(world: &World, kind: Kind) -> Result<(), TestCaseError> {
    for rounds in 0..=world.rounds.len() {
        let (owners, case) = world.case(kind, rounds);
        let shown = Evidence::of(world, kind, rounds);
        let decisions = decide(&case);
        for ((attempt, decision), o) in case.attempts.iter().zip(&decisions).zip(owners) {
            if attempt.facts.http_status.is_some_and(|status| status < 500) {
                continue;
            }
            match decision {
                Decision::Settle(verdict) => check(&shown, o, verdict)?,
                Decision::Defer(_) => {
                    let known = world.clear && rounds == world.rounds.len();
                    prop_assert!(!known, "all is settled and confirmed, yet {}", text(decision));
                }
            }
        }
    }
    Ok(())
}

/// Where times exclude nobody and nothing is from before, what is the same in every history is said.
fn tell_all(world: &World) -> Result<(), TestCaseError> {
    let rounds = world.rounds.len();
    let (owners, case) = world.case(Kind::Member, rounds);
    let shown = Evidence::of(world, Kind::Member, rounds);
    let histories = shown.histories();
    for (decision, o) in decide(&case).iter().zip(owners) {
        let made: Vec<usize> = made_by(&histories[0], o);
        let same = histories.iter().all(|h| made_by(h, o) == made);
        let Decision::Settle(verdict) = decision else { panic!("pending, though all is clear") };
        match made[..] {
            [] if same => prop_assert_eq!(verdict.reason, Reason::ConfirmedAbsent),
            [one] if same => {
                prop_assert_eq!(verdict.outcome, Outcome::Applied);
                prop_assert_eq!(verdict.server_id.clone(), Some(shown.seen[one].to_string()));
            }
            _ if histories.iter().all(|h| made_by(h, o).len() > 1) => {
                prop_assert_eq!(verdict.outcome, Outcome::Duplicated);
            }
            _ => match verdict.outcome {
                // It may have made another as well; this one is its in any case.
                Outcome::Applied => {
                    let id = verdict.server_id.as_deref();
                    let at = shown.seen.iter().position(|t| id == Some(t.to_string().as_str()));
                    prop_assert!(at.is_some_and(|t| histories.iter().all(|h| h[t] == Some(o))));
                }
                outcome => prop_assert!(!matches!(outcome, Outcome::Satisfied | Outcome::NotApplied)),
            },
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::soak::config(1500))]

    #[test]
    fn listed_members_are_told_truly(world in world(Kind::Member)) {
        tell(&world, Kind::Member)?;
    }

    #[test]
    fn creates_with_a_unique_key_are_told_truly(world in world(Kind::Create)) {
        tell(&world, Kind::Create)?;
    }

    #[test]
    fn listed_members_are_told_as_far_as_can_be_known(world in world(Kind::Member)) {
        let mut world = world;
        world.clear = true;
        world.rounds = [400, 420].map(|minute| (minute, vec![Sight::Good; 12])).into();
        world.things.clear();
        for (n, operation) in world.operations.iter_mut().enumerate() {
            for tried in &mut operation.tries {
                tried.sent = 0;
                tried.heard = Heard::Timeout;
                tried.applied = tried.applied.filter(|_| world.things.len() < 6).map(|_| 3);
                if tried.applied.is_some() {
                    let shown = n % 3 != 0;
                    world.things.push(Thing { made: 3, value: operation.value, dated: true, shown });
                }
            }
        }
        tell_all(&world)?;
    }
}
