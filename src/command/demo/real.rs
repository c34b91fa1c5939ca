//! What really happened, read from the sandbox's truth alone.

use std::collections::HashMap;

use super::partner::Played;
use super::task::{Person, Want};
use crate::sandbox::{Account, Applied, Truth, Way};
use crate::words::{Direction, Failure};

/// The truth about one thing that an operation wanted.
pub struct Real<'a> {
    /// How often the operation's attempts made it true.
    pub times: usize,
    /// Living accounts that they made for it.
    pub made: Vec<&'a Account>,
    /// Living accounts that are what was wanted, whoever made them.
    pub alike: Vec<&'a Account>,
    /// A living account of somebody else bears the key.
    pub taken: bool,
    /// Operations that wanted the same.
    pub wanting: usize,
    /// It is as wanted now.
    pub holds: bool,
    pub ways: Vec<Way>,
}

/// What became of an operation, in the order of the table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happened {
    Never,
    AtOnce,
    Late,
    Repaired,
    Partly,
    Twice,
    Before,
    ByAnother,
    Read,
    Missed,
    Taken,
}

impl Happened {
    /// As the table says it.
    pub fn text(self) -> &'static str {
        match self {
            Happened::Never => "never applied",
            Happened::AtOnce => "applied at once",
            Happened::Late => "applied late by the server",
            Happened::Repaired => "repaired by an engineer",
            Happened::Partly => "applied in part",
            Happened::Twice => "applied more than once",
            Happened::Before => "was there before",
            Happened::ByAnother => "done by another request",
            Happened::Read => "a read, nothing to apply",
            Happened::Missed => "webhook missed",
            Happened::Taken => "webhook taken in the end",
        }
    }
}

/// The truth, with what the partner wanted.
pub struct Facts<'a> {
    pub truth: &'a Truth,
    played: &'a [Played],
    by_id: HashMap<&'a str, &'a Account>,
}

impl<'a> Facts<'a> {
    pub fn new(truth: &'a Truth, played: &'a [Played]) -> Facts<'a> {
        let by_id = truth.accounts.iter().map(|account| (account.service_id.as_str(), account)).collect();
        Facts { truth, played, by_id }
    }

    /// The account of an id, alive or not.
    pub fn account(&self, id: &str) -> Option<&'a Account> {
        self.by_id.get(id).copied()
    }

    /// What is true of one thing that an operation wanted.
    pub fn real(&self, played: &Played, want: &Want) -> Real<'a> {
        let count = |what: &str, record: Option<&str>| {
            let fits = |applied: &&Applied| applied.what == what && record.is_none_or(|id| applied.record == id);
            self.applied(played).filter(fits).collect::<Vec<_>>()
        };
        match want {
            Want::There(person) => self.person(played, want, person),
            // Nobody can look it up, but the sandbox wrote it down when it happened.
            Want::Unseen(what) => {
                let happened = count(what, None);
                simple(&happened, !happened.is_empty())
            }
            Want::Gone(id) => simple(&count("account deleted", Some(id)), !self.alive(id)),
            Want::Off { sid, feature } => simple(&count("features revoked", Some(sid)), self.is_off(sid, feature)),
            Want::Assured { sid, attribute, ial } => {
                simple(&count("assurance set", Some(sid)), self.is_assured(sid, attribute, ial))
            }
            Want::Nothing | Want::ConsentKnown(_) | Want::AccountKnown(_) | Want::VerificationKnown { .. } => {
                simple(&[], true)
            }
        }
    }

    /// What became of an operation as a whole.
    pub fn happened(&self, played: &Played, reals: &[Real]) -> Happened {
        if played.task.wants == [Want::Nothing] {
            return Happened::Read;
        }
        if played.direction == Direction::Inbound {
            let taken = played.attempts.iter().any(|attempt| attempt.failure == Failure::Answered);
            return if taken { Happened::Taken } else { Happened::Missed };
        }
        let done = reals.iter().filter(|real| real.times > 0).count();
        let ways: Vec<Way> = reals.iter().flat_map(|real| real.ways.iter().copied()).collect();
        match done {
            0 if reals.iter().all(|real| real.holds) => self.explained_otherwise(reals),
            0 => Happened::Never,
            _ if reals.iter().any(|real| real.times > 1) => Happened::Twice,
            _ if done < reals.len() => Happened::Partly,
            _ if ways.contains(&Way::Repaired) => Happened::Repaired,
            _ if ways.contains(&Way::Late) => Happened::Late,
            _ => Happened::AtOnce,
        }
    }

    /// Whether some attempt of the operation may still be applied.
    pub fn is_upcoming(&self, played: &Played) -> bool {
        let causes = |cause: &str| played.attempts.iter().any(|attempt| attempt.request_id == cause);
        self.truth.scheduled.iter().any(|upcoming| causes(&upcoming.cause))
    }

    fn explained_otherwise(&self, reals: &[Real]) -> Happened {
        let by_hand = |account: &&Account| account.way == Way::ByHand;
        let before = reals.iter().all(|real| real.alike.iter().any(by_hand));
        if before { Happened::Before } else { Happened::ByAnother }
    }

    fn person(&self, played: &Played, want: &Want, person: &Person) -> Real<'a> {
        let is_it = |account: &Account| {
            person.looks_like(account)
                && (person.key.is_none() || person.bears_key(account))
                && person.under.as_deref().is_none_or(|email| self.is_under(account, email))
        };
        let made: Vec<&Applied> = self.applied(played).filter(|applied| applied.what == "account made").collect();
        let made: Vec<(&Account, Way)> =
            made.iter().filter_map(|applied| Some((self.account(&applied.record)?, applied.way))).collect();
        let made: Vec<(&Account, Way)> = made.into_iter().filter(|(account, _)| is_it(account)).collect();
        let living = || self.truth.accounts.iter().filter(|account| account.deleted_ms.is_none());
        let alike: Vec<&Account> = living().filter(|account| is_it(account)).collect();
        Real {
            times: made.len(),
            ways: made.iter().map(|(_, way)| *way).collect(),
            made: made.iter().map(|(account, _)| *account).filter(|account| account.deleted_ms.is_none()).collect(),
            holds: !alike.is_empty(),
            alike,
            taken: living().any(|account| person.bears_key(account) && !person.looks_like(account)),
            wanting: self.wanting(want),
        }
    }

    fn wanting(&self, want: &Want) -> usize {
        let Want::There(person) = want else { return 1 };
        let same = |other: &Want| matches!(other, Want::There(other) if other.is_the_same(person));
        self.played.iter().filter(|played| played.task.wants.iter().any(same)).count()
    }

    fn applied(&self, played: &Played) -> impl Iterator<Item = &'a Applied> {
        let truth = self.truth;
        let of = |request_id: &str| truth.per_request.get(request_id).map_or(&[][..], Vec::as_slice);
        let lists: Vec<&[Applied]> = played.attempts.iter().map(|attempt| of(&attempt.request_id)).collect();
        lists.into_iter().flatten()
    }

    fn alive(&self, id: &str) -> bool {
        self.account(id).is_some_and(|account| account.deleted_ms.is_none())
    }

    fn is_under(&self, account: &Account, email: &str) -> bool {
        let parent = account.parent.as_deref().and_then(|id| self.account(id));
        let held = parent.and_then(|parent| parent.details.email.as_deref());
        held.is_some_and(|held| held.trim().eq_ignore_ascii_case(email.trim()))
    }

    fn is_off(&self, sid: &str, feature: &str) -> bool {
        let Some(account) = self.account(sid) else { return false };
        let state = account.state_at(self.truth.now_ms);
        state.features.iter().any(|held| held.identifier == feature && held.state == "off")
    }

    fn is_assured(&self, sid: &str, attribute: &str, ial: &str) -> bool {
        let Some(account) = self.account(sid) else { return false };
        let state = account.state_at(self.truth.now_ms);
        state.attributes.iter().any(|held| held.identifier == attribute && held.ial.as_deref() == Some(ial))
    }
}

fn simple<'a>(applied: &[&Applied], holds: bool) -> Real<'a> {
    Real {
        times: applied.len(),
        made: Vec::new(),
        alike: Vec::new(),
        taken: false,
        wanting: 1,
        holds,
        ways: applied.iter().map(|applied| applied.way).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::Task;
    use super::*;
    use crate::sandbox::Generation;

    /// What nobody can look up is as wanted once the server did it, and not before.
    #[test]
    fn what_nobody_can_look_up_is_as_wanted_once_it_happened() {
        let task = Task {
            operation: "op-1".to_owned(),
            method: "POST",
            path: "/api/account/shadow".to_owned(),
            body: None,
            wants: vec![Want::Unseen("account made")],
            generation: Generation::Gateway,
            repeatable: false,
            seed: 0,
        };
        let mut played = Played::new(task, Direction::Outbound);
        played.attempts.push(super::super::partner::Attempt {
            request_id: "op-1-1".to_owned(),
            sent: crate::clock::Moment(0),
            ended: None,
            failure: Failure::Answered,
            status: Some(201),
            error: None,
        });
        let made = Applied { what: "account made", record: "s1".to_owned(), applied_ms: 0, way: Way::AtOnce };
        for (journal, holds) in [(Vec::new(), false), (vec![made], true)] {
            let truth = Truth { per_request: [("op-1-1".to_owned(), journal)].into(), ..Truth::default() };
            let played = [played.clone()];
            assert_eq!(Facts::new(&truth, &played).real(&played[0], &played[0].task.wants[0]).holds, holds);
        }
    }
}
