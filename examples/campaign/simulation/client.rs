//! The partner's client: it sends, retries, crashes, forgets, hears late, and records what it is in doubt about.

use anyhow::Result;
use privo_reconcile::clock::Moment;
use privo_reconcile::ledger::WrittenRow;
use privo_reconcile::sandbox::{Delivery, Reply};

use super::ops::{Attempt, Kind};
use super::stage::{BASE, Event, Stage, ask, fetch_token};
use super::story::{HOUR, MINUTE, SECOND, Trouble};
use super::time;
use super::twist::Twist;

/// How an attempt ended for the client.
pub enum End {
    /// In doubt: the failure's word, the status, and how long it took.
    Doubt(&'static str, Option<u16>, i64),
    Definite(u16),
}

impl Stage {
    /// The client sends an operation.
    pub fn send(&mut self, op: usize, left: u32) -> Result<()> {
        let now = time::true_ms();
        let number = self.begin(op);
        let mut row = self.row(op, number);
        match self.ops[op].kind {
            Kind::Read | Kind::OtherEnvironment | Kind::NoPlan | Kind::BadRow | Kind::Webhook => {
                self.ops[op].attempts[number].sent = false;
                return self.write_aside(op, number, row);
            }
            _ => {}
        }
        if self.story.has(Twist::DeletedIntents) && self.in_vain_and_then_as_intent(op, number, left, &mut row) {
            return Ok(());
        }
        match self.rng.u8(..100) {
            0..7 => {
                self.not_sent(op, number, row);
                self.retry(op, left);
            }
            7..13 if !self.far_off(op) => {
                self.intend(op, number, row);
                let after = if self.rng.bool() { 1 } else { self.rng.i64(1..self.story.windows.intent * 9 / 10) };
                match self.rng.u8(..3) {
                    // Crashed before it sent anything.
                    0 => self.ops[op].attempts[number].sent = false,
                    _ => self.at(now + after, Event::Deliver(op, number, left)),
                }
            }
            _ => {
                let end = self.attempt(op, number, false);
                self.take(op, number, left, row, end);
            }
        }
        Ok(())
    }

    /// Begins another attempt; says its number.
    pub fn begin(&mut self, op: usize) -> usize {
        let lean = self.story.has(Twist::Bodies) && self.wide.u8(..8) == 0;
        let op = &mut self.ops[op];
        let number = op.attempts.len();
        op.attempts.push(Attempt {
            request_id: format!("{}.{number}", op.operation_id),
            sent_ms: time::true_ms(),
            sent: true,
            answer: None,
            recorded: false,
            lean,
            open_until: i64::MIN,
            jumped: false,
        });
        number
    }

    /// No byte of the attempt leaves, and its client says so.
    pub fn not_sent(&mut self, op: usize, number: usize, mut row: WrittenRow) {
        self.ops[op].attempts[number].sent = false;
        row.failure = Some("not_sent".to_owned());
        self.at(time::true_ms() + 1, Event::Record(op, number, Box::new(row)));
    }

    /// Its client writes an intent.
    pub fn intend(&mut self, op: usize, number: usize, mut row: WrittenRow) {
        row.failure = Some("intent".to_owned());
        let now = time::true_ms();
        self.ops[op].attempts[number].open_until = self.open_until("intent", now);
        self.at(now, Event::Record(op, number, Box::new(row)));
    }

    /// Until when an attempt that failed so may become applied.
    pub fn open_until(&self, failure: &str, ended: i64) -> i64 {
        let windows = &self.story.windows;
        let window = match failure {
            "http" => windows.server_error,
            "intent" => windows.intent + windows.network,
            _ => windows.network,
        };
        ended + window + windows.replica_lag
    }

    /// A client that wrote an intent sends it; half of them crash right then and nobody ever hears of it.
    pub fn deliver_intent(&mut self, op: usize, number: usize, left: u32) -> Result<()> {
        let crashes = self.rng.bool();
        let end = self.attempt(op, number, crashes);
        if crashes {
            return Ok(());
        }
        let mut row = self.row(op, number);
        let heard = self.rng.i64(SECOND..MINUTE);
        let now = time::true_ms();
        row.ended_at = Some(self.host(op, now + 10 * SECOND));
        match end {
            End::Definite(status) => {
                self.ops[op].attempts[number].answer = Some(status);
                self.ops[op].attempts[number].open_until = i64::MIN;
                (row.failure, row.http_status) = (Some("answered".to_owned()), Some(status.into()));
                if self.story.has(Twist::DeletedIntents) && status < 300 {
                    self.at(now + 10 * SECOND + heard, Event::Withdraw(op, Box::new(row)));
                    return Ok(());
                }
            }
            End::Doubt(failure, status, _) => {
                if status != Some(429) {
                    self.ops[op].attempts[number].open_until = self.open_until(failure, now + 10 * SECOND);
                }
                (row.failure, row.http_status) = (Some(failure.to_owned()), status.map(i64::from));
                self.retry(op, left);
            }
        }
        self.at(now + 10 * SECOND + heard, Event::News(Box::new(row)));
        Ok(())
    }

    pub fn take(&mut self, op: usize, number: usize, left: u32, mut row: WrittenRow, end: End) {
        let now = time::true_ms();
        match end {
            End::Doubt(failure, status, took) => {
                // What was turned away at the door never was and never will be applied.
                if status != Some(429) {
                    self.ops[op].attempts[number].open_until = self.open_until(failure, now + took);
                }
                (row.failure, row.http_status) = (Some(failure.to_owned()), status.map(i64::from));
                if self.rng.u8(..5) > 0 {
                    row.ended_at = Some(self.host(op, now + took));
                }
                // Its window would be open while a stale snapshot is shown, which is shown after all windows only.
                let may_jump = self.story.trouble != Trouble::StaleBursts;
                let may_jump = may_jump && !self.story.has(Twist::Hosts) && !self.story.has(Twist::LateRows);
                if self.rng.u8(..100) == 0 && may_jump {
                    // A client whose clock had jumped, so far that the job reads the row before that time.
                    row.sent_at = self.host(op, now + 48 * HOUR);
                    self.ops[op].attempts[number].jumped = true;
                    row.ended_at = None;
                }
                let late = self.late(op);
                self.at(now + took + 1 + late, Event::Record(op, number, Box::new(row)));
                self.retry(op, left);
            }
            End::Definite(status) => {
                self.ops[op].attempts[number].answer = Some(status);
                let earlier = &self.ops[op].attempts[..number];
                let doubted = earlier.iter().any(|attempt| attempt.sent);
                // Nobody records an operation that went well at once. One whose entries say that nothing was ever sent
                // would be lied about if its success were kept back.
                let keeps = self.ops[op].keeps_success;
                if keeps || (number > 0 && (!doubted || self.rng.u8(..4) > 0)) {
                    (row.failure, row.http_status) = (Some("answered".to_owned()), Some(status.into()));
                    let late = if doubted && self.rng.u8(..4) == 0 { self.rng.i64(MINUTE..2 * HOUR) } else { 1 };
                    let late = if self.far_off(op) { 1 } else { late + if doubted { self.late(op) } else { 0 } };
                    self.at(now + late, Event::Record(op, number, Box::new(row)));
                }
            }
        }
    }

    fn retry(&mut self, op: usize, left: u32) {
        if left == 0 || self.rng.u8(..100) >= 55 {
            return;
        }
        let gap = match self.rng.u8(..10) {
            0..4 => self.rng.i64(11 * SECOND..40 * SECOND),
            4..8 => self.rng.i64(MINUTE..20 * MINUTE),
            _ => self.rng.i64(20 * MINUTE..2 * HOUR),
        };
        self.at(time::true_ms() + gap, Event::Send(op, left - 1));
    }

    /// Sends one attempt to the world under a drawn fate.
    fn attempt(&mut self, op: usize, number: usize, unheard: bool) -> End {
        let token = self.token();
        let fate = self.fate(self.ops[op].kind, unheard);
        self.attempt_under(op, number, &token, fate, unheard)
    }

    /// The client's token, a new one where it is old.
    pub fn token(&mut self) -> String {
        let now = time::true_ms();
        match &self.token {
            Some((until, token)) if now < *until => token.clone(),
            _ => {
                let token = fetch_token(&self.server, now);
                self.token = Some((now + 400 * SECOND, token.clone()));
                token
            }
        }
    }

    /// Sends one attempt under this fate.
    pub fn attempt_under(&mut self, op: usize, number: usize, token: &str, fate: String, unheard: bool) -> End {
        let now = time::true_ms();
        let lean = self.ops[op].attempts[number].lean;
        let sent = self.ops[op].request(lean, &mut self.rng);
        let cause = self.ops[op].attempts[number].request_id.clone();
        let reply =
            ask(&self.server, now, (sent.method, &sent.path), sent.body.as_ref(), (token, &cause, fate.as_str()));
        let unapplied = matches!(fate.as_str(), "error-before" | "partial");
        if unapplied && !unheard && !self.story.breaks_windows && self.rng.u8(..10) < 3 {
            let after = self.rng.i64(MINUTE..self.story.windows.server_error * 95 / 100);
            self.at(now + after, Event::Repair(cause.clone()));
        }
        let end = end_of(&reply);
        self.note(|| {
            let status = match &end {
                End::Definite(status) => format!("answered {status}"),
                End::Doubt(failure, status, _) => format!("{failure} {status:?}"),
            };
            format!("{cause} {} {} {:?} fate {fate}: {status}", sent.method, sent.path, sent.body)
        });
        end
    }

    /// What becomes of an attempt. What nobody heard of may come late as after a network failure only.
    pub fn fate(&mut self, kind: Kind, unheard: bool) -> String {
        let windows = self.story.windows;
        let late = |rng: &mut fastrand::Rng, window: i64, breaks: bool| {
            if breaks && rng.bool() {
                window + rng.i64(5 * MINUTE..windows.watch / 2)
            } else {
                rng.i64(SECOND..window - 11 * SECOND)
            }
        };
        let breaks = self.story.breaks_windows;
        let rng = &mut self.rng;
        if unheard {
            return match rng.u8(..4) {
                0 => "lost-before".to_owned(),
                1 => format!("late-lost:{}", late(rng, windows.network, breaks)),
                2 => "lost-after".to_owned(),
                _ => "error-after".to_owned(),
            };
        }
        let repeats = self.story.has(Twist::Refusals);
        match rng.u8(..100) {
            0..4 if repeats => "repeated".to_owned(),
            0..13 => "plain".to_owned(),
            13..27 => "lost-before".to_owned(),
            27..42 => "lost-after".to_owned(),
            42..53 => "error-before".to_owned(),
            53..63 => "error-after".to_owned(),
            63..69 => format!("late-lost:{}", late(rng, windows.network, breaks)),
            69..74 => format!("late:{}", late(rng, windows.server_error, breaks)),
            74..81 => format!("repaired:{}", late(rng, windows.server_error, breaks)),
            81..85 => "twice".to_owned(),
            85..88 => "hang-before".to_owned(),
            88..91 => "hang-after".to_owned(),
            91..93 => "cut".to_owned(),
            93..95 => "too-many".to_owned(),
            _ if kind == Kind::Family => "partial".to_owned(),
            _ => "lost-before".to_owned(),
        }
    }

    /// What the clock of an operation's writer shows at a true time.
    fn host(&self, op: usize, ms: i64) -> String {
        Moment(ms + self.story.skew + self.ops[op].host_ms).to_string()
    }

    pub fn row(&mut self, op: usize, number: usize) -> WrittenRow {
        let lean = self.ops[op].attempts[number].lean;
        let sent = self.ops[op].request(lean, &mut self.rng);
        let task = &self.ops[op];
        let first = &task.attempts[0].request_id;
        // Some clients leave the operation's id out at first; its first attempt's id stands for it.
        let operation_id = match (&task.shared_id, op % 8, number) {
            (Some(shared), ..) => Some(shared.clone()),
            (None, 0, 0) => None,
            (None, 0, _) => Some(first.clone()),
            (None, ..) => Some(task.operation_id.clone()),
        };
        WrittenRow {
            request_id: task.attempts[number].request_id.clone(),
            operation_id,
            method: sent.method.to_owned(),
            url: format!("{BASE}{}", sent.path),
            body: sent.body.map(|body| task.written(&body)),
            sent_at: self.host(op, time::true_ms()),
            ..WrittenRow::default()
        }
    }

    /// What is never sent to the simulated server.
    fn write_aside(&mut self, op: usize, number: usize, mut row: WrittenRow) -> Result<()> {
        let now = time::true_ms();
        row.failure = Some("network".to_owned());
        match self.ops[op].kind {
            Kind::OtherEnvironment => row.url = row.url.replace(".example", ".elsewhere"),
            Kind::BadRow => match self.rng.u8(..4) {
                0 => row.failure = Some("exploded".to_owned()),
                1 => row.body = Some("{".to_owned()),
                2 => row.sent_at = "yesterday".to_owned(),
                _ => row.body = None,
            },
            Kind::Webhook => {
                row.direction = Some("inbound".to_owned());
                row.operation_id = None;
                row.url = "/hooks/privo".to_owned();
                (row.failure, row.http_status) = (Some("http".to_owned()), Some(500));
                match (number, self.rng.u8(..10)) {
                    (1.., 0..5) => {
                        (row.failure, row.http_status) = (Some("answered".to_owned()), Some(200));
                        self.ops[op].attempts[number].answer = Some(200);
                    }
                    (0..2, 5..8) => {
                        let gap = self.rng.i64(20 * SECOND..60 * SECOND);
                        self.at(now + gap, Event::Send(op, 0));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        let late = self.late(op);
        self.at(now + 1 + late, Event::Record(op, number, Box::new(row)));
        Ok(())
    }
}

/// How the client reads a reply.
fn end_of(reply: &Reply) -> End {
    match reply.delivery {
        Delivery::Hang { .. } => End::Doubt("timeout", None, 10 * SECOND),
        Delivery::Lost | Delivery::Cut => End::Doubt("network", None, 50),
        Delivery::Whole if reply.status >= 500 || reply.status == 429 => End::Doubt("http", Some(reply.status), 50),
        Delivery::Whole => End::Definite(reply.status),
    }
}
