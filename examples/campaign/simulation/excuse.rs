//! What nobody could decide: for each reason to stay undecided, the truth that justifies it. Independent of the
//! decision; whatever is not justified here counts as `undecided`.

use privo_reconcile::sandbox::Account;
use privo_reconcile::words::{Reason, Status};

use super::ops::{Attempt, Kind, Op, Person};
use super::stage::{Stage, Told};
use super::story::Trouble;
use super::truth::{Truth, same_fields, what};

/// Whether an entry that is not resolved could not be.
pub fn undecidable(stage: &Stage, truth: &Truth, op: &Op, told: &Told) -> bool {
    let Some(reason) = told.reason else { return false };
    if told.status == Status::Pending {
        // Nobody configured a control that can be believed.
        let uncontrolled = reason == Reason::Uncontrolled && stage.story.trouble == Trouble::WrongControls;
        return uncontrolled || (reason == Reason::OtherEnvironment && op.kind == Kind::OtherEnvironment);
    }
    match reason {
        Reason::BadRow => op.kind == Kind::BadRow,
        Reason::NoPlan => op.kind == Kind::NoPlan,
        Reason::Unobservable => op.kind.blind(),
        Reason::KeyTaken => op.persons.iter().any(|person| taken(truth, op, person)),
        Reason::RemovedSince => op.persons.iter().any(|person| removed(stage, truth, op, person)),
        Reason::AmbiguousMatch if op.persons.iter().any(|person| replicas_differed(stage, truth, op, person, told)) => {
            true
        }
        Reason::Duplicated | Reason::ForeignRecords | Reason::Underdetermined | Reason::AmbiguousMatch => {
            op.persons.iter().any(|person| rivals(stage, truth, op, person))
        }
        Reason::PartlyApplied if op.kind == Kind::Revoke => revoked_in_part(truth, op, told),
        Reason::PartlyApplied if never_heard_of(stage, truth, op, told) => true,
        Reason::PartlyApplied => in_part(truth, op) || op.persons.iter().any(|person| rivals(stage, truth, op, person)),
        Reason::Overwritten => overwritten(stage, truth, op, told),
        _ => false,
    }
}

/// Somebody else bears the key, with other fields.
fn taken(truth: &Truth, op: &Op, person: &Person) -> bool {
    let ours = |account: &Account| op.attempts.iter().any(|attempt| attempt.request_id == account.cause);
    person.keyed() && truth.likenesses(op, person).iter().any(|account| !ours(account) && !same_fields(person, account))
}

/// A record that may be this one was there and is not any more, or a delete of it may have been applied.
fn removed(stage: &Stage, truth: &Truth, op: &Op, person: &Person) -> bool {
    let gone = truth.likenesses(op, person).iter().any(|account| account.deleted_ms.is_some());
    let targets = |other: &Op| other.kind == Kind::DeleteEid && other.target == person.eid && person.eid.is_some();
    gone || stage.ops.iter().any(targets)
}

/// More than one record, or more than one operation, looks the same: which is whose cannot be seen.
fn rivals(stage: &Stage, truth: &Truth, op: &Op, person: &Person) -> bool {
    if person.keyed() {
        return false;
    }
    let same = |other: &&Op| {
        let twins = other.persons.iter().filter(|twin| !twin.keyed() && *twin == person).count();
        other.owner == op.owner && twins > usize::from(other.operation_id == op.operation_id)
    };
    truth.likenesses(op, person).len() > 1 || stage.ops.iter().any(|other| same(&other))
}

/// The record came or went just before the look, so that two spellings asked of lagging replicas got different answers.
fn replicas_differed(stage: &Stage, truth: &Truth, op: &Op, person: &Person, told: &Told) -> bool {
    let near = |ms: i64| (told.from - stage.story.windows.replica_lag..=told.to).contains(&ms);
    let came_or_went = |account: &&Account| near(account.made_ms) || account.deleted_ms.is_some_and(near);
    person.keyed() && truth.likenesses(op, person).iter().any(came_or_went)
}

/// Some of it is there and some is not.
fn in_part(truth: &Truth, op: &Op) -> bool {
    // By the contract a part is fulfilled, too, by a record that was there before the first attempt, whatever it shows.
    let there = |person: &&Person| {
        let accounts = truth.likenesses(op, person);
        accounts.iter().any(|account| account.deleted_ms.is_none() && (person.keyed() || same_fields(person, account)))
    };
    let count = op.persons.iter().filter(there).count();
    count > 0 && count < op.persons.len()
}

/// As far as the ledger knew nothing was applied: what is there was made by an attempt that was told so and was not, or
/// not yet, recorded. Unique records show; the others are nobody's that the ledger knows.
fn never_heard_of(stage: &Stage, truth: &Truth, op: &Op, told: &Told) -> bool {
    let known = |attempt: &&Attempt| stage.recorded_at.get(&attempt.request_id).is_some_and(|at| *at <= told.from);
    let made = |attempt: &Attempt| !truth.applied(&attempt.request_id).is_empty();
    !op.attempts.iter().filter(known).any(made) && op.attempts.iter().any(made)
}

/// Another write, the granter's too, had turned off some of the features.
fn revoked_in_part(truth: &Truth, op: &Op, told: &Told) -> bool {
    let Some(account) = op.target.as_deref().and_then(|id| truth.account(id)) else { return false };
    let off = |name: &&String| {
        account.state_at(told.to).features.iter().any(|feature| feature.identifier == **name && feature.state == "off")
    };
    let count = op.features.iter().filter(off).count();
    count > 0 && count < op.features.len()
}

/// Another write, or a deletion, of what this one writes; or a value whose state from before nobody knew.
fn overwritten(stage: &Stage, truth: &Truth, op: &Op, told: &Told) -> bool {
    // What came into the ledger later does not open a verdict again.
    let known = |attempt: &Attempt| stage.recorded_at.get(&attempt.request_id).is_some_and(|at| *at <= told.from);
    let applied = |op: &Op| {
        let attempts = op.attempts.iter().filter(|attempt| known(attempt));
        attempts.flat_map(|attempt| truth.applied(&attempt.request_id)).any(|applied| applied.what == what(op.kind))
    };
    let target = op.target.as_deref().and_then(|id| truth.account(id));
    let deleted = target.is_none_or(|account| account.deleted_ms.is_some());
    let same = |other: &&Op| {
        other.operation_id != op.operation_id
            && other.kind.updates()
            && other.target == op.target
            && (other.kind == Kind::Ial) == (op.kind == Kind::Ial)
    };
    // Deletes name the account by its eid; one in doubt may have been applied as far as the ledger knows.
    let eid = target.and_then(|account| account.details.eid.clone());
    let deletes = |other: &Op| other.kind == Kind::DeleteEid && other.target.is_some() && other.target == eid;
    deleted || stage.ops.iter().any(|other| same(&other) || deletes(other)) || (op.kind == Kind::Ial && !applied(op))
}
