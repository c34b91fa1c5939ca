//! The judge: holds each verdict against the truth. It knows what the partner wanted and what the sandbox did, and
//! nothing of how the job decides.

use std::collections::HashMap;

use super::partner::Played;
use super::real::{Facts, Happened, Real};
use super::task::{Person, Want};
use crate::sandbox::{Generation, Truth};
use crate::views::ReportRow;
use crate::words::{Action, Failure, Outcome, Reason, Status};

/// One entry's verdict beside the truth.
pub struct Finding {
    pub request_id: String,
    pub happened: Happened,
    /// `None`: pending.
    pub outcome: Option<Outcome>,
    pub reason: Reason,
    /// It stands in the consent service's ledger.
    pub of_consent: bool,
    pub fault: Option<Fault>,
}

/// What is amiss with a verdict.
pub enum Fault {
    Wrong(&'static str),
    /// It could have been decided.
    Undecided(&'static str),
}

/// The truth, ready to be asked.
pub struct Judge<'a> {
    facts: Facts<'a>,
    by_request: HashMap<&'a str, &'a Played>,
}

/// What is judged: an entry's row, with the truth about each thing that was wanted.
struct Case<'a> {
    row: &'a ReportRow,
    played: &'a Played,
    reals: Vec<Real<'a>>,
    reason: Reason,
}

type Judgement = Result<(), Fault>;

impl<'a> Judge<'a> {
    pub fn new(truth: &'a Truth, played: &'a [Played]) -> Judge<'a> {
        let attempts = played.iter().flat_map(|p| p.attempts.iter().map(move |a| (a.request_id.as_str(), p)));
        Judge { facts: Facts::new(truth, played), by_request: attempts.collect() }
    }

    /// Judges one row of the report.
    pub fn judge(&self, row: &ReportRow) -> Finding {
        let reason = crate::report::reason(row);
        let outcome = row.outcome.filter(|_| row.status != Status::Pending);
        let Some(played) = self.by_request.get(row.request_id.as_str()) else {
            let fault = Some(Fault::Wrong("nobody sent this"));
            let request_id = row.request_id.clone();
            return Finding { request_id, happened: Happened::Never, outcome, reason, of_consent: false, fault };
        };
        let reals: Vec<Real> = played.task.wants.iter().map(|want| self.facts.real(played, want)).collect();
        let happened = self.facts.happened(played, &reals);
        let case = Case { row, played, reals, reason };
        let fault = self.weigh(&case, outcome).err();
        let of_consent = played.task.generation == Generation::Consent;
        Finding { request_id: row.request_id.clone(), happened, outcome, reason, of_consent, fault }
    }

    fn weigh(&self, case: &Case, outcome: Option<Outcome>) -> Judgement {
        let settled = case.row.status == Status::Resolved;
        match outcome {
            None => Err(Fault::Undecided("all that it needs can be looked up")),
            Some(Outcome::Applied) if settled => case.applied(),
            Some(Outcome::Satisfied) if settled => self.satisfied(case),
            Some(Outcome::NotApplied) if settled => self.not_applied(case),
            Some(Outcome::Duplicated) => case.duplicated(),
            Some(Outcome::PartlyApplied) => case.partly_applied(),
            Some(Outcome::Unknown) => case.unknown(),
            Some(_) => Err(Fault::Wrong("the outcome does not go with the status")),
        }
    }

    fn satisfied(&self, case: &Case) -> Judgement {
        let of_a_state = |want: &Want| {
            matches!(want, Want::ConsentKnown(_) | Want::AccountKnown(_) | Want::VerificationKnown { .. })
        };
        // That a later delivery was taken is the partner's own word, also where no state can be looked up.
        let taken = self.facts.happened(case.played, &case.reals) == Happened::Taken;
        if taken || case.played.task.wants.iter().any(of_a_state) {
            return self.state_told(case);
        }
        wrong_if(case.reals.iter().any(|real| !real.holds), "it is not as wanted on the server")?;
        wrong_if(case.reals.iter().any(|real| real.made.len() > 1), "it was applied more than once")?;
        case.ids_are_right()
    }

    fn not_applied(&self, case: &Case) -> Judgement {
        if case.reason == Reason::NoEffect {
            return wrong_if(case.played.task.wants != [Want::Nothing], "this was no read");
        }
        wrong_if(case.reals.iter().any(|real| real.times > 0), "an attempt was applied")?;
        wrong_if(self.facts.is_upcoming(case.played), "an attempt will still be applied")?;
        if case.reason == Reason::Preexisting {
            return wrong_if(case.reals.iter().any(|real| !real.holds && !real.taken), "nothing was there before");
        }
        let sent = case.reason != Reason::NeverSent;
        wrong_if(sent && case.reals.iter().any(|real| real.holds), "it is as wanted on the server")
    }

    /// A webhook: the state that is told must be the server's, unless the event was taken in the end.
    fn state_told(&self, case: &Case) -> Judgement {
        if case.reason == Reason::Present {
            let taken = case.played.attempts.iter().any(|attempt| attempt.failure == Failure::Answered);
            return wrong_if(!taken, "no delivery was taken");
        }
        let shown = case.row.explanation.as_deref().unwrap_or_default();
        wrong_if(!shown.starts_with("as of "), "it does not say of when the state is")?;
        for want in &case.played.task.wants {
            let parts = self.state_of(want);
            wrong_if(parts.is_empty() || parts.iter().any(|part| !shown.contains(part)), "this is not the state")?;
        }
        wrong_if(case.row.action != Some(Action::ApplyState), "the state should be applied")
    }

    /// The true state, in the pieces in which the report tells it.
    fn state_of(&self, want: &Want) -> Vec<String> {
        let truth = self.facts.truth;
        match want {
            Want::ConsentKnown(id) => {
                let consent = truth.consents.iter().find(|consent| consent.consent_identifier == *id);
                let state = consent.and_then(|consent| consent.state_at(truth.now_ms));
                state.map(|state| format!("state {state}")).into_iter().collect()
            }
            Want::AccountKnown(sid) => {
                let state = self.facts.account(sid).map(|account| account.state_at(truth.now_ms));
                let features = state.map_or(&[][..], |state| state.features.as_slice());
                features.iter().map(|feature| format!("{}={}", feature.identifier, feature.state)).collect()
            }
            Want::VerificationKnown { attempt, outcome } => vec![format!("{attempt}={outcome}")],
            _ => Vec::new(),
        }
    }
}

impl Case<'_> {
    fn applied(&self) -> Judgement {
        wrong_if(self.reals.iter().any(|real| real.times == 0), "no attempt was applied, or not all of it")?;
        wrong_if(self.reals.iter().any(|real| !real.holds), "it is not as wanted on the server")?;
        wrong_if(self.reals.iter().any(|real| real.made.len() > 1), "it was applied more than once")?;
        self.ids_are_right()
    }

    fn duplicated(&self) -> Judgement {
        let twice = |real: &Real| real.made.len() > 1 || real.alike.len() > real.wanting;
        wrong_if(!self.reals.iter().any(twice), "there are no two")
    }

    fn partly_applied(&self) -> Judgement {
        let some = self.reals.iter().any(|real| real.holds) && self.reals.iter().any(|real| !real.holds);
        let fewer = |real: &Real| !real.alike.is_empty() && real.alike.len() < real.wanting;
        wrong_if(!some && !self.reals.iter().any(fewer), "it was applied whole or not at all")
    }

    fn unknown(&self) -> Judgement {
        let any = |is: &dyn Fn(&Real, &Want) -> bool| {
            self.reals.iter().zip(&self.played.task.wants).any(|(real, want)| is(real, want))
        };
        let listed = |want: &Want| matches!(want, Want::There(Person { key: None, .. }));
        let cannot_be_known = match self.reason {
            Reason::Unobservable => any(&|_, want| matches!(want, Want::Unseen(_))),
            Reason::KeyTaken => any(&|real, _| real.taken),
            Reason::ForeignRecords => any(&|real, want| listed(want) && real.alike.len() > real.wanting),
            Reason::AmbiguousMatch => any(&|real, want| listed(want) && real.wanting > 1 && real.holds),
            Reason::Underdetermined => any(&|real, want| listed(want) && real.alike.len() < real.wanting),
            Reason::PartlyApplied => any(&|real, _| real.holds) && any(&|real, _| !real.holds),
            Reason::Overwritten => any(&|real, want| matches!(want, Want::Assured { .. }) && !real.holds),
            _ => false,
        };
        if cannot_be_known { Ok(()) } else { Err(Fault::Undecided("the truth could have been found out")) }
    }

    /// Each id that is told is that of the account that was wanted, and none is missing where it is to be stored.
    fn ids_are_right(&self) -> Judgement {
        let shown = self.ids();
        for ((place, want), real) in self.played.task.wants.iter().enumerate().zip(&self.reals) {
            let Want::There(person) = want else { continue };
            let Some((_, id)) = shown.iter().find(|(of, _)| *of == place) else {
                wrong_if(self.row.action == Some(Action::StoreId), "an id to store is missing")?;
                continue;
            };
            let among = |accounts: &[&crate::sandbox::Account]| accounts.iter().any(|a| a.service_id == *id);
            wrong_if(!among(&real.alike), "the id is not of the account that was wanted")?;
            let own = person.key.is_some() || among(&real.made);
            wrong_if(!own, "the account of this id was made by another operation")?;
        }
        Ok(())
    }

    /// The ids of the report by the place of what was wanted.
    fn ids(&self) -> Vec<(usize, &str)> {
        let text = self.row.server_id.as_deref().unwrap_or_default();
        if self.played.task.wants.len() == 1 {
            return if text.is_empty() { Vec::new() } else { vec![(0, text)] };
        }
        let place = |name: &str| match name.strip_prefix("child ") {
            Some(number) => number.parse().ok(),
            None => (name == "parent").then_some(0),
        };
        text.split("; ").filter_map(|part| part.split_once('=')).filter_map(|(n, id)| Some((place(n)?, id))).collect()
    }
}

fn wrong_if(wrong: bool, why: &'static str) -> Judgement {
    if wrong { Err(Fault::Wrong(why)) } else { Ok(()) }
}
