//! Reading anew: an entry that was read before is read under another plan, or after its writer changed it.
//!
//! What it was decided upon is in the ledger. Read to the same end, it stays as it is; read otherwise, it is decided anew, and
//! so is its group.

use super::history::History;
use super::ingest::join;
use crate::clock::Moment;
use crate::evidence::{Class, Effect, Facts, Kind};
use crate::plan::Row;
use crate::store::State;
use crate::words::{Reason, Status};

/// Looks at one key say nothing of another.
const CHANGED: &str = "what it asks for was changed after the job had read it (record that under another request_id)";

/// How a verdict is opened whose entry was read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It said that nothing was known, and falls.
    Falls,
    /// It rests on another reading: it is decided anew, and so is its group.
    Reopened,
    /// It rests on a reading that says the same, under a plan that may look otherwise: if it is under watch, it is looked at.
    Watched,
}

/// What earlier readings of an entry say about the new one.
#[derive(Default)]
pub(super) struct Earlier {
    /// The last one of the same plan and server, if it says the same: which of its readings. So configurations that are run in
    /// turn store nothing.
    pub same: Option<usize>,
    /// The newest one that made something of the row, under whichever plan, says otherwise: it was decided upon.
    pub otherwise: bool,
}

impl Earlier {
    /// Heeds what was read before, and corrects the new facts by it.
    pub fn heed(history: &History, fingerprint: &str, facts: &mut Facts, row: &Row) -> Earlier {
        let keys = |facts: &Facts| facts.effects.iter().map(|effect| effect.key).collect::<Vec<_>>();
        let (mut last, mut understood): (Option<(usize, &Facts)>, Option<&Facts>) = (None, None);
        for (place, earlier) in history.readings.iter().enumerate() {
            // Once ahead of the job's clock, a time is never believed, however much later the row is read again.
            facts.sent_ahead |= earlier.facts.sent_ahead && earlier.facts.sent == facts.sent;
            if earlier.fingerprint == fingerprint {
                let planned = earlier.facts.class == Class::Planned && facts.class == Class::Planned;
                if planned && keys(&earlier.facts) != keys(facts) {
                    facts.class = Class::BadRow { why: CHANGED.to_owned() };
                    facts.effects.clear();
                    facts.repeat_blocked = false;
                }
                last = Some((place, &earlier.facts));
            }
            if matches!(earlier.facts.class, Class::Planned | Class::Read) {
                understood = Some(&earlier.facts);
            }
        }
        // It was there before what was sealed since, which would have been of its group.
        facts.overtaken &= last.is_none_or(|(_, last)| last.overtaken);
        let same = last.filter(|(_, last)| says_the_same(last, facts, row)).map(|(place, _)| place);
        Earlier { same, otherwise: understood.is_some_and(|earlier| reads_otherwise(earlier, facts)) }
    }
}

/// Whether a reading from before says the same. A row that does not tell when it ended had ended when it was first read.
fn says_the_same(earlier: &Facts, facts: &Facts, row: &Row) -> bool {
    let ended = if row.revision == 0 { earlier.ended } else { facts.ended };
    *earlier == Facts { ended, ..facts.clone() }
}

/// Whether a row that was understood is understood otherwise now, whatever its writer or its times say.
fn reads_otherwise(earlier: &Facts, facts: &Facts) -> bool {
    let meaning = |facts: &Facts| (facts.already_there, facts.key_is_there, facts.window, facts.repeat_blocked);
    earlier.class != facts.class
        || earlier.operation != facts.operation
        || earlier.identity != facts.identity
        || meaning(earlier) != meaning(facts)
        || earlier.effects != facts.effects
}

/// What becomes of a verdict whose entry was read anew. `new`: not so under this plan before; `otherwise`: than it was
/// decided upon. Each reading acts once, or two plans that are run in turn would supersede each other's verdicts for ever,
/// unless a person asks for another look.
pub(super) fn opened_anew(
    state: &State,
    facts: &Facts,
    new: bool,
    (otherwise, rechecks): (bool, bool),
) -> Option<Opened> {
    let settled = matches!(state.status, Some(Status::Resolved | Status::DuplicateRisk));
    if state.reason.is_some_and(|reason| settled && falls(reason, facts, new || rechecks)) {
        return Some(Opened::Falls);
    }
    if facts.class == Class::Planned && otherwise && (new || rechecks) {
        return Some(Opened::Reopened);
    }
    (new && facts.class != Class::OtherEnvironment).then_some(Opened::Watched)
}

/// Opens a verdict, as far as there is one.
pub(super) fn open(state: &mut State, opened: Option<Opened>) {
    match opened {
        Some(Opened::Falls) => {
            (state.status, state.outcome, state.reason, state.action) = (Some(Status::Pending), None, None, None);
            (state.holds, state.correction, state.said, state.decided) = (false, false, None, None);
            (state.due, state.joined) = (Some(Moment(0)), Some(state.entry));
        }
        Some(Opened::Reopened) => {
            join(state, state.entry);
        }
        Some(Opened::Watched) if state.status == Some(Status::Resolved) && state.due.is_some() => {
            state.due = Some(Moment(0));
        }
        Some(Opened::Watched) | None => {}
    }
}

/// Whether a verdict for want of a meaning falls to this reading. One that makes no more of it changes nothing, or two
/// plans that are run in turn would supersede each other's verdict for ever.
fn falls(reason: Reason, facts: &Facts, new: bool) -> bool {
    let blind = |effect: &Effect| effect.kind == Kind::Blind || effect.key.is_none();
    match facts.class {
        Class::BadRow { .. } | Class::NoPlan | Class::OtherEnvironment => false,
        Class::Read => matches!(reason, Reason::BadRow | Reason::NoPlan | Reason::Unobservable),
        Class::Planned => match reason {
            // A URL that servers read in two ways was understood before, and is not any better now.
            Reason::BadRow => !facts.effects.iter().any(|effect| effect.alternative),
            Reason::NoPlan => true,
            Reason::NoEffect => new,
            Reason::Unobservable => !facts.effects.iter().any(blind),
            _ => false,
        },
    }
}
