//! Reading anew: an entry that was read before is read under another plan, or after its writer changed it.
//!
//! What it was decided upon is in the ledger. Read to the same end, it stays as it is; read otherwise, it is decided anew, and
//! so is its group.

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::joining;
use crate::evidence::{Class, Effect, Facts, Kind};
use crate::plan::{Reading, Row};
use crate::words::Reason;

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

impl Opened {
    /// Opens the entry's verdict, as far as there is one.
    pub fn open(self, connection: &Connection, entry: i64) -> Result<()> {
        let sql = match self {
            Opened::Falls => {
                "UPDATE standings SET due_ms = 0, status = 'pending', reason = NULL, action = NULL, verdict_id = NULL,
                   joined = entry_id WHERE entry_id = ?"
            }
            Opened::Watched => {
                "UPDATE standings SET due_ms = 0 WHERE entry_id = ? AND status = 'resolved' AND due_ms IS NOT NULL"
            }
            Opened::Reopened => return joining::reopen_alone(connection, entry),
        };
        connection.prepare_cached(sql)?.execute([entry])?;
        Ok(())
    }
}

/// The earlier readings of an entry.
#[derive(Default)]
pub(super) struct Earlier {
    /// The last one of the same plan and server, and its id.
    pub same_plan: Option<(i64, Facts)>,
    /// The newest one that made something of the row, under whichever plan: it was decided upon.
    pub understood: Option<Facts>,
}

impl Earlier {
    /// What earlier readings of an entry say about the new one.
    pub fn heed(connection: &Connection, entry: i64, basis: &str, reading: &mut Reading) -> Result<Earlier> {
        let mut statement =
            connection.prepare_cached("SELECT basis, facts, id FROM readings WHERE entry_id = ? ORDER BY id")?;
        let mut rows = statement.query([entry])?;
        let mut found = Earlier::default();
        while let Some(row) = rows.next()? {
            let earlier: Facts = serde_json::from_str(row.get_ref(1)?.as_str()?).context("failed to read a reading")?;
            let facts = &mut reading.facts;
            // Once ahead of the job's clock, a time is never believed, however much later the row is read again.
            facts.sent_ahead |= earlier.sent_ahead && earlier.sent == facts.sent;
            if row.get_ref(0)?.as_str()? == basis {
                let keys = |facts: &Facts| facts.effects.iter().map(|effect| effect.key).collect::<Vec<_>>();
                if earlier.class == Class::Planned && facts.class == Class::Planned && keys(&earlier) != keys(facts) {
                    facts.class = Class::BadRow { why: CHANGED.to_owned() };
                    facts.effects.clear();
                    facts.repeat_blocked = false;
                }
                found.same_plan = Some((row.get(2)?, earlier.clone()));
            }
            if matches!(earlier.class, Class::Planned | Class::Read) {
                found.understood = Some(earlier);
            }
        }
        // It was there before what was sealed since, which would have been of its group.
        reading.facts.overtaken &= found.same_plan.as_ref().is_none_or(|(_, last)| last.overtaken);
        Ok(found)
    }
}

/// Whether a row that was understood is understood otherwise now, whatever its writer or its times say.
pub(super) fn reads_otherwise(earlier: &Facts, facts: &Facts) -> bool {
    let meaning = |facts: &Facts| (facts.already_there, facts.key_is_there, facts.window, facts.repeat_blocked);
    earlier.class != facts.class
        || earlier.operation != facts.operation
        || earlier.identity != facts.identity
        || meaning(earlier) != meaning(facts)
        || earlier.effects != facts.effects
}

/// Whether a reading from before says the same, so that the entry stands by it again: configurations that are run in turn
/// store nothing. A row that does not tell when it ended had ended when it was first read.
pub(super) fn says_the_same(earlier: &Facts, facts: &Facts, row: &Row) -> bool {
    let ended = if row.revision == 0 { earlier.ended } else { facts.ended };
    *earlier == Facts { ended, ..facts.clone() }
}

/// What becomes of a verdict whose entry was read anew. `new`: not so under this plan before; `otherwise`: than it was
/// decided upon. Each reading acts once, or two plans that are run in turn would supersede each other's verdicts for ever,
/// unless a person asks for another look.
pub(super) fn opened_anew(
    facts: &Facts,
    reason: Option<Reason>,
    new: bool,
    (otherwise, rechecks): (bool, bool),
) -> Option<Opened> {
    if reason.is_some_and(|reason| falls(reason, facts, new || rechecks)) {
        return Some(Opened::Falls);
    }
    if facts.class == Class::Planned && otherwise && (new || rechecks) {
        return Some(Opened::Reopened);
    }
    (new && facts.class != Class::OtherEnvironment).then_some(Opened::Watched)
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

/// Looks at one key say nothing of another.
const CHANGED: &str = "what it asks for was changed after the job had read it (record that under another request_id)";
