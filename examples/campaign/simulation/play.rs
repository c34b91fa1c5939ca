//! The course of one world: an outage, runs in the midst of it and after, repairs, the watch, and the end.

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use fastrand::Rng;
use privo_reconcile::clock::Span;
use privo_reconcile::ledger::{RunStart, Terms};
use privo_reconcile::lookup::Lookups;
use privo_reconcile::plan::Reader;
use privo_reconcile::run::halt::Halt;
use privo_reconcile::run::{Options, run_over};
use privo_reconcile::sandbox::{Faults, Flapping, NewAccount};
use privo_reconcile::views::{Entries, Filter};
use privo_reconcile::words::{Action, Status};

use super::figures::Figures;
use super::fixtures::{Fixtures, Seeded};
use super::net::{Mode, Net};
use super::ops::{Kind, Op};
use super::stage::{Event, Listed, Report, Stage, parent_email, parents};
use super::story::{DAY, HOUR, MINUTE, Story, Trouble};
use super::time;
use super::twist::{self, Twist};
use super::{judge, plot, resender};

/// What is wanted of a world beside its seed.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// About so many entries.
    pub entries: usize,
    /// Late applications come after the configured windows.
    pub breaks_windows: bool,
    /// Personal fields of what was settled so long ago are removed after each run.
    pub keeps: Option<Span>,
    /// Its twists, as far as they fit; those of its seed when left out.
    pub twists: Option<BTreeSet<Twist>>,
}

/// Plays one world from its seed and judges it. With `tell`, the story comes with it.
///
/// # Errors
/// When the ledger or the configuration fails, which no world should bring about.
pub fn play(seed: u64, setting: &Setting, secrets: &Path, tell: bool) -> Result<(Figures, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        time::begin();
        resender::begin();
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let mut story = Story::draw(seed, setting.entries, setting.breaks_windows, &mut rng);
        let mut wide = Rng::with_seed(!seed);
        twist::give(&mut story, setting.twists.as_ref(), &mut wide);
        let (mut stage, seeded) = Stage::new(story, (rng, wide), secrets, tell)?;
        stage.keeps = setting.keeps;
        time::set_offset(stage.story.skew);
        let shown = format!("{:?}", stage.story);
        stage.note(|| shown);
        let end = fixtures(&mut stage, seeded);
        stage.outage(end).await?;
        stage.aftermath().await?;
        let mut figures = judge::judge(&mut stage)?;
        figures.pruned = stage.pruned;
        Ok((figures, stage.lines.unwrap_or_default()))
    })
}

/// Draws the operations and what else will happen; says when the last operation is first sent.
fn fixtures(stage: &mut Stage, mut seeded: Vec<Seeded>) -> i64 {
    let story = stage.story.clone();
    let parents: Vec<String> = (0..parents(&story)).map(parent_email).collect();
    let mut rng = stage.rng.fork();
    let mut fixtures = Fixtures { rng: &mut rng, seeded: &mut seeded, parents: &parents, ops: Vec::new() };
    for _ in 0..story.operations {
        let op = fixtures.draw(&story);
        fixtures.ops.push(op);
    }
    stage.ops = fixtures.ops;
    let length = rng.i64(10 * MINUTE..HOUR);
    let mut first_sent = Vec::new();
    for op in 0..stage.ops.len() {
        let at = time::BEGINNING + MINUTE + rng.i64(0..length);
        first_sent.push(at);
        let tries = rng.u32(0..4);
        stage.at(at, Event::Send(op, tries));
        if story.foreigners && rng.u8(..100) < 14 {
            foreign(stage, &mut rng, op, at);
        }
    }
    plot::thicken(stage, &first_sent, &seeded);
    time::BEGINNING + MINUTE + length
}

/// Somebody else has to do with what an operation is about.
fn foreign(stage: &mut Stage, rng: &mut Rng, op: usize, sent: i64) {
    let Op { kind, persons, owner, target, .. } = stage.ops[op].clone();
    let before = time::BEGINNING + 2000 + rng.i64(0..40_000);
    let around = sent + rng.i64(-MINUTE / 2..90 * MINUTE);
    let later = sent + rng.i64(MINUTE..6 * HOUR);
    if kind == Kind::Webhook {
        let state = if rng.bool() { "granted" } else { "denied" };
        return stage.at(around, Event::Decide(target.unwrap_or_default(), state));
    }
    if kind.deletes() || kind.updates() {
        if kind == Kind::DeleteById {
            stage.at(around, Event::Remove(target.unwrap_or_default()));
        }
        return;
    }
    if !kind.creates() {
        return;
    }
    if rng.u8(..10) < 3 {
        return stage.at(later, Event::RemoveMadeBy(op));
    }
    let person = &persons[rng.usize(..persons.len())];
    let same = rng.bool();
    let account = NewAccount {
        email: person.email.clone(),
        user_name: person.user_name.clone(),
        external_user_identifier: person.external.clone(),
        display_name: person.display.clone(),
        eid: person.eid.clone(),
        given_name: Some(if same { person.given_name.clone() } else { "Somebody".to_owned() }),
        birth_date_yyyymmdd: Some(person.birth_date.clone()),
        parent_email: owner.filter(|_| kind == Kind::Child || !person.keyed()),
        ..NewAccount::default()
    };
    let at = if rng.bool() { before } else { around };
    stage.at(at, Event::Foreign(Box::new(account)));
}

impl Stage {
    /// The outage, with runs in the midst of it.
    async fn outage(&mut self, end: i64) -> Result<()> {
        let trouble = self.story.trouble;
        if trouble == Trouble::Noise {
            let faults = self.noise();
            self.server.world.borrow_mut().set_faults(faults);
            let heals = end + self.rng.i64(MINUTE..3 * HOUR);
            self.at(heals, Event::Heal);
        }
        if trouble == Trouble::StaleBursts {
            return self.pass_until(end).await;
        }
        let early = if self.story.foreigners { 4 } else { 3 };
        for number in 0..early {
            let gap = self.rng.i64(4 * MINUTE..25 * MINUTE);
            self.pass_until(time::true_ms() + gap).await?;
            self.run(self.trouble_mode(), true, number < 2).await?;
        }
        self.pass_until(end).await
    }

    fn noise(&mut self) -> Faults {
        let rng = &mut self.rng;
        let mut share = |most: f64| rng.f64() * most;
        let faults = Faults {
            read_errors: share(0.25),
            read_lost: share(0.15),
            hostile: share(0.25),
            too_many: share(0.05),
            token_dropped: share(0.05),
            hang: share(0.5),
            ..self.server.world.borrow().faults().clone()
        };
        let period_ms = self.rng.i64(30_000..2 * HOUR);
        let flapping = self.rng.bool().then(|| Flapping { period_ms, down_fraction: self.rng.f64() * 0.5 });
        Faults { flapping, ..faults }
    }

    pub fn trouble_mode(&self) -> Mode {
        match self.story.trouble {
            Trouble::Amnesia | Trouble::MissingControls => Mode::Amnesia,
            Trouble::YesMan => Mode::YesMan,
            _ => Mode::Honest,
        }
    }

    /// All windows close; whatever was wrong is corrected; the watch goes on and ends.
    async fn aftermath(&mut self) -> Result<()> {
        let w = self.story.windows;
        let first = time::true_ms();
        // Clients may still retry for some hours; a host's clock may be an hour off to either side.
        let settled = first + 9 * HOUR + w.server_error.max(w.intent + w.network) + w.intent + w.replica_lag;
        for third in 1..=2 {
            if self.story.trouble != Trouble::StaleBursts {
                self.pass_until(first + (settled - first) * third / 3).await?;
                self.run(self.trouble_mode(), true, false).await?;
            }
        }
        self.pass_until(settled).await?;
        self.troubles().await?;
        self.mended_from = time::true_ms();
        for _ in 0..4 {
            self.pass_until(time::true_ms() + 6 * HOUR + 11 * MINUTE).await?;
            self.run_mended().await?;
        }
        let watched = time::true_ms();
        for part in [10, 35, 70, 100] {
            self.pass_until(watched + w.watch * part / 100 + HOUR).await?;
            self.run_mended().await?;
        }
        self.settle_down(if self.story.twists.is_empty() { 8 } else { 60 }).await?;
        if self.story.has(Twist::Permits) {
            for _ in 0..6 {
                if !self.send_all_that_is_left().await? {
                    break;
                }
                self.run_mended().await?;
                self.settle_down(60).await?;
            }
        }
        if self.story.breaks_windows {
            self.pass_until(time::true_ms() + w.watch + DAY).await?;
            self.run_mended().await?;
            self.run_mended().await?;
        }
        Ok(())
    }

    /// What the client sent again on the job's advice settles too; and the watch over the latest verdict ends.
    async fn settle_down(&mut self, rounds: u32) -> Result<()> {
        for _ in 0..rounds {
            let due = self.ledger.next_due()?;
            if due.is_none() && self.events.is_empty() {
                break;
            }
            let soon = time::true_ms() + 6 * HOUR + 11 * MINUTE;
            // With twists the watch may have begun anew days later.
            let due = due.filter(|_| !self.story.twists.is_empty() && self.events.is_empty());
            let due = due.map_or(soon, |due| due.0 - self.story.skew + MINUTE);
            self.pass_until(soon.max(due)).await?;
            self.run_mended().await?;
        }
        Ok(())
    }

    /// The runs in which the server as a whole cannot be believed.
    async fn troubles(&mut self) -> Result<()> {
        let confirm = self.story.windows.confirm_after;
        match self.story.trouble {
            Trouble::StaleBursts => {
                for (mode, gap) in
                    [(Mode::Stale, 0), (Mode::Unreadable, confirm + MINUTE), (Mode::Stale, 6 * HOUR + 7 * MINUTE)]
                {
                    self.pass_until(time::true_ms() + gap).await?;
                    self.run(mode, false, false).await?;
                }
            }
            Trouble::Amnesia | Trouble::YesMan | Trouble::MissingControls => {
                for gap in [0, confirm + MINUTE, 6 * HOUR + MINUTE] {
                    self.pass_until(time::true_ms() + gap).await?;
                    self.run(self.trouble_mode(), true, false).await?;
                }
            }
            Trouble::None | Trouble::Noise | Trouble::WrongControls => {}
        }
        Ok(())
    }

    async fn run_mended(&mut self) -> Result<()> {
        self.run(Mode::Honest, self.story.trouble == Trouble::WrongControls, false).await
    }

    /// The job runs once. What it says is kept for the judge.
    async fn run(&mut self, mode: Mode, bad_config: bool, with_pending: bool) -> Result<()> {
        self.report(false)?;
        let from = time::true_ms();
        self.server.mode.set(mode);
        self.step_clock();
        self.ledger.reopen()?;
        let configs = Rc::clone(&self.configs);
        let config = if bad_config { &configs.bad } else { &configs.good };
        let net = Net { server: self.server.clone(), prefix: "" };
        let token_net = Net { server: self.server.clone(), prefix: "/oauth/token" };
        let lookups = Lookups::over(config, net, Some(token_net), time::host_now)?;
        let options = Options::default();
        let summary = if self.story.has(Twist::Permits) && !self.story.steps {
            // Writers, and calls of `resend` that wait for the lock.
            let beside = self.opened_again()?;
            let mut ledger = std::mem::replace(&mut self.ledger, beside);
            self.resenders.busy = true;
            let mut nobody = ();
            let run = run_over(&lookups, config, &mut ledger, &options, &mut nobody, time::host_now, Halt::never());
            let summary = self.meanwhile(run).await?;
            self.resenders.busy = false;
            self.ledger = ledger;
            summary?
        } else {
            run_over(&lookups, config, &mut self.ledger, &options, &mut (), time::host_now, Halt::never()).await?
        };
        time::set_offset(self.story.skew);
        self.server.step.set(None);
        self.server.mode.set(Mode::Honest);
        let to = time::true_ms();
        self.note(|| format!("run {} in mode {mode:?}: {summary:?}", summary.run));
        self.listen(Some(summary.run), from, to)?;
        if with_pending {
            self.listen(None, from, to)?;
        }
        self.prune()?;
        self.last_run = from;
        let said = self.report(true)?;
        self.act_upon(&said);
        self.plan_resending()
    }

    fn prune(&mut self) -> Result<()> {
        let Some(keep) = self.keeps else { return Ok(()) };
        let config = &self.configs.good;
        let salt = self.ledger.salt().to_vec();
        let reader = Reader { plan: &config.plan, server: &config.server.base_url, salt: &salt, also: &[] };
        let terms = Terms { now: time::host_now(), keep, watch: config.windows.watch };
        let start = RunStart {
            command: "prune",
            started: time::host_now(),
            plan: &config.plan.name,
            plan_digest: &config.plan.digest,
            server: &config.server.base_url.origin().ascii_serialization(),
            windows: &config.windows,
        };
        let pruned = self.ledger.prune(&start, &reader, &terms, &|_| None)?;
        self.note(|| format!("pruned: {pruned:?}"));
        self.pruned += pruned.entries();
        anyhow::ensure!(pruned.left == 0, "entries were left whole: {pruned:?}");
        Ok(())
    }

    fn step_clock(&mut self) {
        if !self.story.steps || self.rng.u8(..10) >= 4 {
            return;
        }
        let offset = self.story.skew + if self.rng.bool() { HOUR } else { -HOUR };
        let offset = if self.story.has(Twist::ClockSteps) { self.story.skew + self.other_hour() } else { offset };
        if self.rng.bool() {
            time::set_offset(offset);
        } else {
            self.server.step.set(Some((self.rng.u32(1..60), offset)));
        }
    }

    /// How far the clock is set off: minutes or hours, ahead or back.
    pub fn other_hour(&mut self) -> i64 {
        let off = if self.wide.bool() { HOUR } else { self.wide.i64(2 * MINUTE..3 * HOUR) };
        if self.wide.bool() { off } else { -off }
    }

    /// Takes down what a run said; without a run, what is said of pending entries.
    pub fn listen(&mut self, run: Option<i64>, from: i64, to: i64) -> Result<()> {
        self.heed()?;
        let mut listed = Vec::new();
        let of_request = &self.of_request;
        self.ledger.each_row(&run.map(Filter::of_run).unwrap_or_default(), Entries::Unread, |row| {
            let wanted = run.is_some() || (row.status == Status::Pending && row.action == Some(Action::MayResend));
            if let (true, Some(op)) = (wanted, of_request.get(&row.request_id)) {
                listed.push(told_of(*op, row, from, to));
            }
            Ok(())
        })?;
        for listed in listed {
            self.note(|| {
                format!(
                    "{} is {} {:?} {:?} {:?} {:?}: {}",
                    listed.request_id,
                    listed.status,
                    listed.outcome,
                    listed.reason,
                    listed.action,
                    listed.server_id,
                    listed.explanation
                )
            });
            self.follow(&listed);
            self.listed.push(listed);
        }
        Ok(())
    }

    /// As every report begins: what no run has read yet may join the group of what was settled.
    pub fn heed(&mut self) -> Result<()> {
        self.ledger.reopen()?;
        self.ledger.heed_unread(&self.reader(), time::host_now())
    }

    /// What reads rows under the partner's plan.
    pub fn reader(&self) -> Reader<'_> {
        let config = &self.configs.good;
        Reader { plan: &config.plan, server: &config.server.base_url, salt: self.ledger.salt(), also: &[] }
    }

    /// Reads the report on every entry, as it is at this moment.
    fn report(&mut self, after_run: bool) -> Result<Vec<Listed>> {
        if self.story.twists.is_empty() {
            return Ok(Vec::new());
        }
        let at = time::true_ms();
        self.heed()?;
        let mut rows = Vec::new();
        let of_request = &self.of_request;
        self.ledger.each_row(&Filter::default(), Entries::Unread, |row| {
            if let Some(op) = of_request.get(&row.request_id) {
                rows.push(told_of(*op, row, at, at));
            }
            Ok(())
        })?;
        let answered = rows.iter().filter(|row| !self.in_doubt.contains(&row.request_id));
        self.answered_rows.extend(answered.map(|row| row.request_id.clone()));
        self.reports.push(Report { at, after_run, rows: rows.clone() });
        Ok(rows)
    }

    /// A client that follows the advice to resend.
    fn follow(&mut self, listed: &Listed) {
        let resend = listed.status == Status::Resolved && listed.action == Some(Action::Resend);
        let op = &self.ops[listed.op];
        if self.story.follows && resend && op.attempts.len() < 6 && (op.kind.creates() || op.kind.deletes()) {
            let gap = self.rng.i64(MINUTE..2 * HOUR);
            if self.rng.u8(..10) < 4 {
                self.at(time::true_ms() + gap, Event::Send(listed.op, 0));
            }
        }
    }
}

/// A row of the report, as the judge keeps it.
pub fn told_of(op: usize, row: privo_reconcile::views::ReportRow, from: i64, to: i64) -> Listed {
    Listed {
        op,
        request_id: row.request_id,
        from,
        to,
        status: row.status,
        outcome: row.outcome,
        reason: row.reason,
        action: row.action,
        server_id: row.server_id,
        explanation: row.explanation.unwrap_or_default(),
        correction: row.correction,
        knew: from,
        last_checked: row.last_checked.map(|moment| moment.0),
        decided: row.decided.map(|moment| moment.0),
    }
}
