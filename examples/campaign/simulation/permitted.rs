//! What was permitted, judged: each permit at the moment at which it was given, and each operation in the end.

use std::collections::BTreeSet;

use privo_reconcile::words::{Action, Outcome, Reason, Status};

use super::judge::{APPLIED_TWICE, Bench, LOST, UNDECIDED, UNSAFE_PERMIT};
use super::ops::{Attempt, Op};
use super::resender::Given;
use super::ruling::Ruling;
use super::stage::Listed;
use super::story::{DAY, HOUR, MINUTE, Trouble};
use super::twist::Twist;

impl Bench<'_> {
    /// Judges every permit, and what became of the operations that had one.
    pub fn permits(&mut self, finals: &[Listed]) {
        let mut used = BTreeSet::new();
        for given in &self.stage.resenders.given {
            self.figures.permits += 1;
            let op = &self.stage.ops[given.op];
            let ruling = self.permit(op, given);
            if let Ruling::Wrong(why) = ruling {
                self.count(UNSAFE_PERMIT, &given.request_id, &format!("{why}: {:?} {:?}", op.kind, given.reason));
            }
            if !used.insert((given.entry, given.verdict)) || !self.is_approved(given) {
                self.count(UNSAFE_PERMIT, &given.request_id, "nobody had approved it, or it was permitted already");
            }
            if ruling != Ruling::Unknowable && self.applied_twice(op, given) {
                self.count(APPLIED_TWICE, &given.request_id, &format!("{:?}", op.kind));
            }
        }
        for (request, became) in &self.stage.resenders.unheard {
            self.count(UNSAFE_PERMIT, request, &format!("its end was not taken: {became}"));
        }
        let ops: BTreeSet<usize> = self.stage.resenders.given.iter().map(|given| given.op).collect();
        for op in ops {
            self.not_lost(op, finals);
        }
        if self.may_be_refused() {
            return;
        }
        for (op, why) in &self.stage.resenders.refused {
            let task = &self.stage.ops[*op];
            // Another's record is like it, which a person must look at.
            if task.persons.iter().any(|person| !person.keyed() && !self.truth.likenesses(task, person).is_empty()) {
                continue;
            }
            let request = task.operation_id.clone();
            self.count(LOST, &request, &format!("it is advised, and gets no permit: {why}"));
        }
    }

    /// No row of the ledger is overlooked: each that is no answer is in the report.
    pub fn all_reported(&mut self, finals: &[Listed]) {
        let reported: BTreeSet<&str> = finals.iter().map(|listed| listed.request_id.as_str()).collect();
        for request in &self.stage.in_doubt {
            if self.stage.of_request.contains_key(request) && !reported.contains(request.as_str()) {
                self.count(UNDECIDED, request, "it is in the ledger and in no report");
            }
        }
    }

    /// Whether it was right to send it again, by what was in the ledger and could be seen then.
    fn permit(&self, op: &Op, given: &Given) -> Ruling {
        let before = given.at - 1;
        let listed = Listed {
            op: given.op,
            request_id: given.request_id.clone(),
            from: given.asked,
            to: before,
            status: Status::Resolved,
            outcome: Some(Outcome::NotApplied),
            reason: given.reason,
            action: Some(Action::Resend),
            server_id: None,
            explanation: String::new(),
            correction: false,
            knew: before,
            last_checked: None,
            decided: None,
        };
        match self.not_applied(op, &listed) {
            Ruling::Wrong(why) => Ruling::Wrong(why),
            _ if self.was_there(op, given) => Ruling::Wrong("a look of that moment finds what an attempt made"),
            ruling => ruling,
        }
    }

    /// An attempt that the ledger need not know of had made a record, and every look of that moment finds it.
    fn was_there(&self, op: &Op, given: &Given) -> bool {
        let attempts: Vec<&Attempt> =
            op.attempts.iter().filter(|attempt| attempt.request_id != given.request_id).collect();
        let long_ago = given.asked - self.stage.story.windows.replica_lag - MINUTE;
        let seen = |account: &privo_reconcile::sandbox::Account| {
            let alive = account.deleted_ms.is_none_or(|gone| gone > given.at);
            let parent = self.truth.parent(account).is_none_or(|parent| parent.deleted_ms.is_none());
            account.made_ms < long_ago && alive && parent
        };
        let looked_at = given.reason != Some(Reason::NeverSent);
        op.kind.creates() && looked_at && self.truth.made_by(&attempts).any(seen)
    }

    /// Somebody had approved this operation under this verdict, at most a day before.
    fn is_approved(&self, given: &Given) -> bool {
        // A clock that is set to and fro may make the day some hours longer.
        let day = DAY + if self.stage.story.steps { 7 * HOUR } else { 0 };
        let fits = |at: i64| at <= given.at && given.at - at <= day;
        let Some(verdict) = given.verdict else { return false };
        let wanted = (given.entry, verdict);
        self.stage.resenders.approved.iter().any(|(at, operations)| fits(*at) && operations.contains(&wanted))
    }

    /// What was permitted was applied, and so was another attempt that the ledger had known of by then.
    fn applied_twice(&self, op: &Op, given: &Given) -> bool {
        let applied = |request_id: &str| !self.truth.applied(request_id).is_empty();
        let known = |attempt: &&Attempt| {
            let recorded = self.stage.recorded_at.get(&attempt.request_id);
            attempt.request_id != given.request_id && recorded.is_some_and(|at| *at < given.at)
        };
        applied(&given.request_id) && op.attempts.iter().filter(known).any(|attempt| applied(&attempt.request_id))
    }

    /// In the end it was applied, or it is advised to be sent again, or a person was told to see to it.
    fn not_lost(&mut self, op: usize, finals: &[Listed]) {
        let task = &self.stage.ops[op];
        let applied = task.attempts.iter().any(|attempt| !self.truth.applied(&attempt.request_id).is_empty());
        let refused =
            task.attempts.iter().any(|attempt| attempt.answer.is_some_and(|status| status >= 400 || status == 208));
        if applied || refused || task.shared_id.is_some() {
            return;
        }
        let rows: Vec<&Listed> = finals.iter().filter(|listed| listed.op == op).collect();
        // What stands as undecided is judged by that.
        let over = |listed: &&Listed| listed.status == Status::Resolved && listed.outcome == Some(Outcome::NotApplied);
        // Of a delete it may not be known that what is there is what it was about.
        let taken = |listed: &&Listed| {
            let review = listed.reason == Some(Reason::NotDeleted) && listed.action == Some(Action::Review);
            listed.reason == Some(Reason::Preexisting) || review
        };
        let advised = rows.iter().any(|listed| listed.action == Some(Action::Resend));
        if !rows.is_empty() && rows.iter().all(|listed| over(listed) && !taken(listed)) && !advised {
            let why =
                format!("{:?} was never applied, and nobody is advised to send it: {:?}", task.kind, rows[0].reason);
            let request = rows[0].request_id.clone();
            self.count(LOST, &request, &why);
        }
    }

    /// Nothing is permitted under controls that cannot be believed, nor by a clock that is far from the server's.
    fn may_be_refused(&self) -> bool {
        let story = &self.stage.story;
        story.trouble == Trouble::WrongControls
            || story.skew.abs() > 50_000
            || story.has(Twist::ServerHour)
            || story.has(Twist::Search)
            || story.breaks_windows
    }
}
