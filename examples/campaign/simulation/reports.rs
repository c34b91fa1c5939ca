//! What each report said as a whole, at the moment at which it was read: one operation has one verdict and one advice, and
//! no advice to send again stands while another row may still make it wrong.

use std::collections::{BTreeMap, HashMap};

use privo_reconcile::sandbox::{Account, Kind as Role};
use privo_reconcile::words::{Action, Outcome, Reason, Status};

use super::judge::{Bench, FALSE_APPLIED, FALSE_NOT_APPLIED, SPLIT, UNSAFE_RESEND};
use super::ops::{Attempt, Kind, Op, Person};
use super::ruling::Ruling;
use super::stage::{Listed, Report};
use super::story::SECOND;

impl Bench<'_> {
    /// Judges every report.
    pub fn reports(&mut self) {
        let mut looked: HashMap<&str, (i64, i64)> = HashMap::new();
        let mut listed = self.stage.listed.iter().peekable();
        for report in &self.stage.reports {
            while let Some(one) = listed.next_if(|one| one.to <= report.at) {
                looked.insert(one.request_id.as_str(), (one.from, one.to));
            }
            self.report(report, &looked);
        }
    }

    fn report(&mut self, report: &Report, looked: &HashMap<&str, (i64, i64)>) {
        let mut by_op: BTreeMap<usize, Vec<&Listed>> = BTreeMap::new();
        for row in report.rows.iter().filter(|row| row.reason != Some(Reason::BadRow)) {
            by_op.entry(row.op).or_default().push(row);
        }
        for rows in by_op.values() {
            if report.after_run {
                self.one_verdict(rows);
            }
            for row in rows.iter().filter(|row| advises(row)) {
                let (from, to) = looked.get(row.request_id.as_str()).copied().unwrap_or((report.at, report.at));
                // What came in the instant of the report came after it.
                self.advice(&Listed { from, to, knew: report.at - 1, ..(*row).clone() }, report.at, &by_op);
            }
            for row in rows {
                self.last_look(row);
            }
        }
    }

    /// All rows of an operation carry its one verdict and advice.
    fn one_verdict(&mut self, rows: &[&Listed]) {
        let said = |row: &Listed| match row.status {
            Status::Pending => (row.status, None, None, row.action),
            _ => (row.status, row.outcome, row.reason, row.action),
        };
        // A row that no run has looked at yet says nothing; that no advice stands against it is judged apart.
        let rows: Vec<&&Listed> = rows.iter().filter(|row| row.action.is_some()).collect();
        let Some(first) = rows.first() else { return };
        let Some(other) = rows.iter().find(|row| said(row) != said(first)) else { return };
        let op = &self.stage.ops[first.op];
        if matches!(op.kind, Kind::Read | Kind::OtherEnvironment | Kind::NoPlan | Kind::BadRow | Kind::Webhook) {
            return;
        }
        let why = format!(
            "{:?}: {} is told {:?} at {}, {} {:?}",
            op.kind,
            first.request_id,
            said(first),
            privo_reconcile::clock::Moment(first.to),
            other.request_id,
            said(other)
        );
        self.count(SPLIT, &first.request_id, &why);
    }

    /// An advice to send again, as it stands at this moment.
    fn advice(&mut self, row: &Listed, at: i64, by_op: &BTreeMap<usize, Vec<&Listed>>) {
        let op = &self.stage.ops[row.op];
        let describe = |why: &str| {
            let at = privo_reconcile::clock::Moment(at);
            format!("{why}, at {at}: {:?} {} {:?} {:?}", op.kind, row.status, row.reason, row.action)
        };
        if let Ruling::Wrong(why) = self.not_applied(op, row) {
            let figure = if op.kind.creates() && !op.kind.repeat_blocked() { UNSAFE_RESEND } else { FALSE_NOT_APPLIED };
            return self.count(figure, &row.request_id, &describe(why));
        }
        for (other, rows) in by_op {
            let task = &self.stage.ops[*other];
            let same_id = *other != row.op && op.shared_id.is_some() && task.shared_id == op.shared_id;
            if same_id && self.corrects(op, task, row) {
                let why = format!("{} bears its id, and may be its correction", task.operation_id);
                return self.count(UNSAFE_RESEND, &row.request_id, &describe(&why));
            }
            // That nothing of an operation was ever sent is true whatever becomes of others that ask for the same.
            // Whose body cannot be read asks for nothing that anybody knows.
            let same = same_wish(op, task) && row.reason != Some(Reason::NeverSent) && task.doubled.is_none();
            if *other != row.op && !same_id && !same {
                continue;
            }
            let open = rows.iter().find(|other| other.status == Status::Pending && self.open(other, row.from, at));
            if let Some(open) = open.filter(|open| open.request_id != row.request_id) {
                let why = format!("{} is pending and may still be applied", open.request_id);
                return self.count(UNSAFE_RESEND, &row.request_id, &describe(&why));
            }
        }
    }

    /// What is not unique is not sent again where its id is another's, too; nor is anything else once that was applied.
    fn corrects(&self, op: &Op, task: &Op, row: &Listed) -> bool {
        let recorded = |task: &&Op| task.attempts.iter().any(|attempt| self.known(&attempt.request_id, row));
        if !op.persons.iter().all(Person::keyed) {
            return recorded(&task);
        }
        // What somebody removed whom the ledger does not know was never there for anybody who looks.
        let removed = |account: &Account| {
            let deleter = self.truth.deleter(&account.service_id);
            let removed = account.deleted_ms.is_some_and(|gone| gone < row.from);
            removed && deleter.is_none_or(|deleter| !self.known(deleter, row))
        };
        let gone = |account: &Account| removed(account) || self.truth.parent(account).is_some_and(removed);
        let done = |attempt: &Attempt| {
            let applied = self.truth.applied(&attempt.request_id).iter().filter(|one| one.applied_ms <= row.from);
            let mut about =
                applied.map(|one| self.truth.account(&one.record).or_else(|| self.truth.asked_of(&one.record)));
            about.any(|account| account.is_none_or(|account| account.details.kind != Role::Granter && !gone(account)))
        };
        task.attempts.iter().any(|attempt| self.known(&attempt.request_id, row) && done(attempt))
    }

    /// A pending row's attempt may still become applied, or was since the look that an advice rests on.
    fn open(&self, row: &Listed, looked: i64, at: i64) -> bool {
        let mut attempts = self.stage.ops[row.op].attempts.iter();
        let attempt = attempts.find(|attempt| attempt.request_id == row.request_id);
        attempt.is_some_and(|attempt| {
            let applied = self.truth.applied(&attempt.request_id);
            at <= attempt.open_until || applied.iter().any(|applied| applied.applied_ms > looked)
        })
    }

    /// A report shows the looks that a verdict rests on: not one at which its record was gone.
    fn last_look(&mut self, row: &Listed) {
        let op = &self.stage.ops[row.op];
        let fulfilled = matches!(row.outcome, Some(Outcome::Applied | Outcome::Satisfied)) && op.kind.creates();
        let (true, Some(id), Some(checked)) = (fulfilled, &row.server_id, row.last_checked) else { return };
        // The report may say that the record went.
        if self.stage.story.steps || row.explanation.contains("not there any more") {
            return;
        }
        let deleted = self.truth.account(id).and_then(|account| account.deleted_ms);
        let slack = self.stage.story.windows.replica_lag + 60 * SECOND;
        if deleted.is_some_and(|deleted| checked - self.stage.story.skew > deleted + slack) {
            self.count(FALSE_APPLIED, &row.request_id, "the report shows a look at which its record was gone");
        }
    }
}

/// It says to send again, where nothing but the ledger's word makes that safe.
fn advises(row: &Listed) -> bool {
    row.status == Status::Resolved && row.action == Some(Action::Resend)
}

/// Both ask for the same: one key, or one child of one parent.
fn same_wish(one: &Op, other: &Op) -> bool {
    let (creates, deletes) = (one.kind.creates() && other.kind.creates(), one.kind.deletes() && other.kind.deletes());
    let same = |a: &Person, b: &Person| match (a.keyed(), b.keyed()) {
        (true, true) => shares_key(a, b),
        (false, false) => one.owner == other.owner && a == b,
        _ => false,
    };
    let pairs = || one.persons.iter().flat_map(|a| other.persons.iter().map(move |b| (a, b)));
    (creates && pairs().any(|(a, b)| same(a, b))) || (deletes && one.kind == other.kind && one.target == other.target)
}

fn shares_key(a: &Person, b: &Person) -> bool {
    let keys = |person: &Person| {
        let Person { email, user_name, external, display, eid, .. } = person.clone();
        [
            email.map(|email| email.trim().to_lowercase()),
            user_name.map(|name| name.to_lowercase()),
            external,
            display,
            eid,
        ]
    };
    keys(a).iter().zip(&keys(b)).any(|(a, b)| a.is_some() && a == b)
}
