//! What a partner does that the twists add: it acts upon reports, records late, deletes what it made, withdraws intents.

use anyhow::Result;
use privo_reconcile::ledger::WrittenRow;
use privo_reconcile::words::{Action, Status};

use super::client::End;
use super::ops::{Kind, Op};
use super::stage::{Event, Listed, Stage};
use super::story::{DAY, HOUR, MINUTE, SECOND};
use super::time;
use super::twist::{SHOWN, Twist};

/// How an advice to send again is followed, and what of it comes into the ledger.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// Like any other attempt.
    Drawn,
    /// As another operation.
    OtherId,
    /// It is sent, and nobody records it.
    Unrecorded,
    /// No byte of it leaves.
    NotSent,
    /// An intent is written, perhaps it is sent, and no news of it ever comes.
    IntentStays,
    /// The answer is lost, and it is applied late.
    Late,
    /// It is lost.
    Lost,
    /// It is answered, and the answer is recorded.
    Answered,
}

/// What a partner deletes, and how it names it.
#[derive(Clone, Copy, Debug)]
pub enum Removal {
    RecordById,
    RecordByKey,
    OwnerById,
    OwnerByKey,
}

impl Stage {
    /// Its writer's clock is further off than the configuration says, which shows only if its rows come at once.
    pub fn far_off(&self, op: usize) -> bool {
        self.ops[op].host_ms >= SHOWN
    }

    /// How much later than usual a row comes into the ledger.
    pub fn late(&mut self, op: usize) -> i64 {
        let delayed = self.story.has(Twist::LateRows) && self.wide.u8(..5) == 0;
        match self.ops[op].kind {
            Kind::Read | Kind::NoPlan | Kind::OtherEnvironment | Kind::BadRow => 0,
            _ if !delayed || self.far_off(op) => 0,
            _ if self.wide.bool() => self.wide.i64(MINUTE..2 * HOUR),
            _ => self.wide.i64(HOUR..3 * DAY),
        }
    }

    /// A client whose first attempt never left writes an intent before the second one.
    pub fn in_vain_and_then_as_intent(&mut self, op: usize, number: usize, left: u32, row: &mut WrittenRow) -> bool {
        let now = time::true_ms();
        match number {
            0 if self.wide.u8(..3) == 0 => {
                self.not_sent(op, number, row.clone());
                let gap = self.wide.i64(11 * SECOND..MINUTE);
                self.at(now + gap, Event::Send(op, left));
                true
            }
            1 if !self.ops[op].attempts[0].sent => {
                self.intend(op, number, row.clone());
                self.at(now + 1, Event::Deliver(op, number, left));
                true
            }
            _ => false,
        }
    }

    /// A writer takes an intent away that went well; where the ledger does not let it, it records the answer.
    pub fn withdraw(&mut self, op: usize, row: &WrittenRow) -> Result<()> {
        let alone = self.ops[op].attempts.iter().filter(|attempt| attempt.recorded).count() == 1;
        let taken = self.ledger.delete_intent(&row.request_id)?;
        if taken {
            self.in_doubt.remove(&row.request_id);
        }
        self.note(|| format!("{} is withdrawn: {taken}", row.request_id));
        if !taken {
            return self.write_news(row);
        }
        if alone {
            // Nothing is left of the operation, so that nobody can know of it.
            self.recorded_at.remove(&row.request_id);
        }
        Ok(())
    }

    /// The partner reads a report and acts upon some of it.
    pub fn act_upon(&mut self, report: &[Listed]) {
        // So long before the last run that what was sent again is decided by then.
        if time::true_ms() > time::BEGINNING + 14 * DAY {
            return;
        }
        for listed in report {
            let op = &self.ops[listed.op];
            let wanted = match listed.action {
                Some(Action::Resend) => listed.status == Status::Resolved,
                Some(Action::MayResend) => true,
                _ => false,
            };
            let few = op.attempts.len() < 6 && (op.kind.creates() || op.kind.deletes() || op.kind.updates());
            if self.story.has(Twist::Advice) && wanted && few && self.wide.u8(..10) == 0 {
                let how = match self.wide.u8(..12) {
                    0..2 => How::Drawn,
                    2 => How::OtherId,
                    3 => How::Unrecorded,
                    4 => How::NotSent,
                    5 => How::IntentStays,
                    6..9 => How::Late,
                    9 => How::Lost,
                    _ => How::Answered,
                };
                let gap =
                    if self.wide.bool() { self.wide.i64(SECOND..MINUTE) } else { self.wide.i64(MINUTE..2 * HOUR) };
                self.at(time::true_ms() + gap, Event::Resend(listed.op, how));
            }
            let found = listed.status == Status::Resolved && listed.action == Some(Action::StoreId);
            if let (true, Some(id)) = (found && self.story.has(Twist::Vanishing), &listed.server_id)
                && self.wide.u8(..40) == 0
            {
                let id = id.rsplit(['=', ' ']).next().unwrap_or_default().to_owned();
                let gap = self.wide.i64(SECOND..DAY);
                self.at(time::true_ms() + gap, Event::Remove(id));
            }
        }
    }

    /// Sends an operation again as the report advised.
    pub fn resend(&mut self, op: usize, how: How) -> Result<()> {
        self.note(|| format!("the advice for {} is followed: {how:?}", op));
        let op = match how {
            How::Drawn => return self.send(op, 0),
            How::OtherId => {
                let again = self.add(op);
                return self.send(again, 0);
            }
            _ => op,
        };
        let number = self.begin(op);
        let row = self.row(op, number);
        let (fate, unheard) = match how {
            How::NotSent => {
                self.not_sent(op, number, row);
                return Ok(());
            }
            How::IntentStays if !self.far_off(op) => {
                self.intend(op, number, row.clone());
                let sent = self.wide.bool();
                self.ops[op].attempts[number].sent = sent;
                let late = self.wide.i64(SECOND..self.story.windows.network - 11 * SECOND);
                if !sent {
                    return Ok(());
                }
                (format!("late-lost:{late}"), true)
            }
            How::Late => {
                (format!("late-lost:{}", self.wide.i64(SECOND..self.story.windows.network - 11 * SECOND)), false)
            }
            How::Lost => ("lost-before".to_owned(), false),
            _ => ("plain".to_owned(), false),
        };
        let token = self.token();
        let end = self.attempt_under(op, number, &token, fate, unheard);
        match (how, end) {
            (How::IntentStays, _) => {}
            (How::Unrecorded, End::Definite(status)) => self.ops[op].attempts[number].answer = Some(status),
            (How::Answered, End::Definite(status)) => {
                self.ops[op].attempts[number].answer = Some(status);
                let mut row = row;
                (row.failure, row.http_status) = (Some("answered".to_owned()), Some(status.into()));
                self.at(time::true_ms() + 100, Event::Record(op, number, Box::new(row)));
            }
            (_, end) => self.take(op, number, 0, row, end),
        }
        Ok(())
    }

    /// Another operation that asks for the same.
    pub fn add(&mut self, op: usize) -> usize {
        let again = self.ops[op].again(format!("op-{}", self.ops.len()));
        self.ops.push(again);
        self.ops.len() - 1
    }

    /// The partner deletes what an operation made, or whom it belongs to, by a request of its own.
    pub fn delete_made(&mut self, op: usize, removal: Removal) -> Result<()> {
        let task = self.ops[op].clone();
        let person = &task.persons[0];
        let id = |matches: &dyn Fn(&privo_reconcile::sandbox::Account) -> bool| {
            let world = self.server.world.borrow();
            let found = world.accounts().iter().rfind(|account| account.deleted_ms.is_none() && matches(account));
            found.map(|account| account.service_id.clone())
        };
        let made = |account: &privo_reconcile::sandbox::Account| {
            task.attempts.iter().any(|attempt| attempt.request_id == account.cause)
        };
        let owned = |account: &privo_reconcile::sandbox::Account| account.details.email == task.owner;
        let (kind, target) = match removal {
            Removal::RecordById if !self.story.consent => (Kind::DeleteById, id(&made)),
            Removal::OwnerById => (Kind::DeleteById, id(&owned)),
            Removal::OwnerByKey => (Kind::DeleteByEmail, task.owner.clone()),
            _ if self.story.consent => (Kind::DeleteEid, person.eid.clone()),
            _ => (Kind::DeleteByEmail, person.email.clone()),
        };
        let Some(target) = target else { return Ok(()) };
        let number = self.ops.len();
        let keeps_success = self.wide.u8(..4) > 0;
        self.ops.push(Op { target: Some(target), keeps_success, ..Op::new(kind, format!("op-{number}")) });
        self.send(number, 1)
    }
}
