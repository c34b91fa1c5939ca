//! The judge: from the truth alone, and independent of the decision, what was wrong about each verdict.
//!
//! # What counts as wrong
//! - `false_not_applied`: the verdict says not-applied, and an attempt that was sent before it has been applied by then
//!   or will be. Not counted, but `unknowable`: what was made and then removed by somebody whom the ledger does not know,
//!   for every not-applied states that assumption; and what an attempt made that was not in the ledger yet, or never came
//!   into it because its client was told a definite answer.
//! - `false_applied`: the verdict says applied or satisfied, and the state did not hold when the server was asked; or the
//!   id to store is another record's; or it says applied, and an operation that the ledger knew of by then made it; or it
//!   names a child, and passes over another one that the operation made and the list showed.
//!   Where somebody made it whom the ledger does not know (another system with the same key and fields), nothing that
//!   can be asked tells: that is `unknowable`.
//! - `unsafe_resend`: the advice is to resend, and that would make a second record or consent.
//! - `undecided`: pending or duplicate-risk at the end, although what can be looked up decides it; see [`super::excuse`].
//! - `unsafe permit`: it may be sent again by permit, and an attempt was or will be applied, or a look of that moment finds
//!   what one made; or nobody approved it. `applied twice`: by a permit, and by what the ledger knew of before it. `lost`:
//!   permitted once, never applied, and in the end nobody is advised to send it, or is given no permit for it.
//! - `split operation`: after a run, rows of one operation bear different verdicts or advices; see [`super::reports`].
//!
//! In a world that breaks the windows an application after them is `late`, and `missed` if the verdict still stands when
//! its watch has ended.

use std::collections::BTreeSet;

use anyhow::Result;
use privo_reconcile::views::{Entries, Filter};
use privo_reconcile::words::{Action, Outcome, Reason, Status};

use super::excuse::Undecided;
use super::figures::Figures;
use super::play::told_of;
use super::ruling::Ruling;
use super::stage::{Listed, Stage};
use super::time;
use super::truth::Truth;

pub const FALSE_NOT_APPLIED: &str = "false_not_applied";
pub const FALSE_APPLIED: &str = "false_applied";
pub const UNSAFE_RESEND: &str = "unsafe_resend";
pub const UNDECIDED: &str = "undecided";
pub const SPLIT: &str = "split operation";
pub const MISSED: &str = "missed by the watch";
pub const UNSAFE_PERMIT: &str = "unsafe permit";
pub const APPLIED_TWICE: &str = "applied twice";
pub const LOST: &str = "lost";

/// Judges a world that has come to its end.
///
/// # Errors
/// When the ledger cannot be read.
pub fn judge(stage: &mut Stage) -> Result<Figures> {
    let truth = Truth::of(stage.server.world.borrow_mut().truth(time::true_ms()), &stage.story);
    let mut figures = Figures {
        worlds: 1,
        requests: stage.server.requests.get(),
        tokens: stage.server.tokens.get(),
        controls: stage.server.controls.get(),
        looks: stage.ledger.count_looks()?,
        broken: stage.story.breaks_windows,
        ..Figures::default()
    };
    figures.by_trouble.insert(format!("{:?}", stage.story.trouble), 1);
    let mut finals = Vec::new();
    let of_request = &stage.of_request;
    let now = time::true_ms();
    let mut last_told = std::collections::HashMap::new();
    for listed in &stage.listed {
        last_told.insert(listed.request_id.as_str(), (listed.from, listed.to));
    }
    stage.ledger.each_row(&Filter::default(), Entries::Unread, |row| {
        if let Some(op) = of_request.get(&row.request_id) {
            let (from, to) = last_told.get(row.request_id.as_str()).copied().unwrap_or((now, now));
            finals.push(told_of(*op, row, from, to));
        }
        Ok(())
    })?;
    let verified = stage.ledger.verify()?;
    let mut bench = Bench { stage, truth: &truth, figures, counted: BTreeSet::new() };
    for (request, what) in &verified.differences {
        bench.wrong("verify differs", request, what);
    }
    bench.figures.differing = verified.differing;
    bench.figures.verdicts = verified.verdicts;
    for listed in &bench.stage.listed.clone() {
        bench.figures.corrections += u64::from(listed.correction);
        bench.verdict(listed, &finals);
    }
    for listed in &finals {
        bench.end(listed);
    }
    if !bench.stage.story.twists.is_empty() {
        // What came into the ledger after a verdict acts when it arrives, so what stands in the end is judged by all of it.
        let last_run = bench.stage.last_run;
        for listed in &finals {
            bench.verdict(&Listed { knew: last_run, ..listed.clone() }, &finals);
        }
        for request in bench.stage.answered_rows.clone() {
            bench.count(SPLIT, &request, "it was answered, and has a row in a report");
        }
        bench.reports();
    }
    bench.all_reported(&finals);
    bench.permits(&finals);
    let mut figures = bench.figures;
    let wrong = u64::from(figures.red());
    for twist in &stage.story.twists {
        figures.by_twist.insert(twist.word().to_owned(), (1, wrong));
    }
    if stage.story.twists.is_empty() {
        figures.by_twist.insert("none".to_owned(), (1, wrong));
    }
    let of_whom = |wrong: &str| wrong.split(", ").nth(1).and_then(|rest| rest.split(':').next()).map(str::to_owned);
    let mut shown = BTreeSet::new();
    for wrong in &figures.wrongs {
        stage.note(|| wrong.clone());
        // Of a permit what it was given for.
        let first = |request: String| match stage.of_request.get(&request).map(|op| &stage.ops[*op].attempts[0]) {
            Some(first) if request.starts_with("permit-") => first.request_id.clone(),
            _ => request,
        };
        let request = of_whom(wrong).map(first);
        if let Some(request) = request.filter(|request| stage.lines.is_some() && shown.insert(request.clone()))
            && let Some(story) = stage.ledger.story(&request, &stage.reader(), time::host_now())?
        {
            let values = story.facts.iter().flat_map(|facts| &facts.effects).map(|effect| &effect.values);
            let said: Vec<_> = values.collect();
            stage.note(|| format!("{request} shares its id with {:?}; it says {said:?}", story.shares_id_with));
            for look in &story.looks {
                stage.note(|| format!("{request} looked: {look:?}"));
            }
        }
    }
    Ok(figures)
}

pub struct Bench<'a> {
    pub stage: &'a Stage,
    pub truth: &'a Truth,
    pub figures: Figures,
    /// Figure and entry of what was counted, for a wrong verdict that stands is met again and again.
    counted: BTreeSet<(&'static str, String)>,
}

impl Bench<'_> {
    /// Counts something wrong, of one entry once.
    pub fn count(&mut self, figure: &'static str, request: &str, why: &str) {
        if !self.counted.insert((figure, request.to_owned())) {
            return;
        }
        let counter = match figure {
            FALSE_NOT_APPLIED => &mut self.figures.false_not_applied,
            FALSE_APPLIED => &mut self.figures.false_applied,
            UNSAFE_RESEND => &mut self.figures.unsafe_resend,
            UNDECIDED => &mut self.figures.undecided,
            SPLIT => &mut self.figures.split,
            UNSAFE_PERMIT => &mut self.figures.unsafe_permit,
            APPLIED_TWICE => &mut self.figures.applied_twice,
            LOST => &mut self.figures.lost,
            _ => &mut self.figures.missed,
        };
        *counter += 1;
        self.wrong(figure, request, why);
    }

    fn wrong(&mut self, figure: &str, request: &str, why: &str) {
        let seed = self.stage.story.seed;
        let why: String = why.chars().take(400).collect();
        self.figures.wrongs.push(format!("{figure}: seed {seed}, {request}: {why}"));
    }

    /// One verdict, or an advice while pending, at the time it was given.
    fn verdict(&mut self, listed: &Listed, finals: &[Listed]) {
        let op = &self.stage.ops[listed.op];
        let describe = |why: &str| {
            let words = (listed.status, listed.outcome, listed.reason, listed.action);
            format!("{why}: {:?} {words:?} {:?}", op.kind, listed.server_id)
        };
        if listed.action == Some(Action::MayResend) && !op.kind.repeat_blocked() && !op.kind.deletes_by_id() {
            self.count(UNSAFE_RESEND, &listed.request_id, &describe("may-resend where nothing blocks a repeat"));
        }
        if listed.status != Status::Resolved {
            return;
        }
        match listed.outcome {
            Some(Outcome::NotApplied) => match self.not_applied(op, listed) {
                Ruling::Right => {}
                Ruling::Unknowable => self.figures.unknowable += 1,
                Ruling::Wrong(why) if self.stage.story.breaks_windows => {
                    self.figures.late += 1;
                    let last = finals.iter().find(|last| last.request_id == listed.request_id);
                    let stands = last.is_some_and(|last| last.outcome == Some(Outcome::NotApplied));
                    if stands && watched(listed) {
                        self.count(MISSED, &listed.request_id, &describe(why));
                    }
                }
                Ruling::Wrong(why) => {
                    self.count(FALSE_NOT_APPLIED, &listed.request_id, &describe(why));
                    if listed.action == Some(Action::Resend) && op.kind.creates() && !op.kind.repeat_blocked() {
                        self.count(UNSAFE_RESEND, &listed.request_id, &describe(why));
                    }
                }
            },
            Some(Outcome::Applied | Outcome::Satisfied) => match self.applied(op, listed) {
                Ruling::Right => {}
                Ruling::Unknowable => self.figures.unknowable += 1,
                Ruling::Wrong(why) => {
                    self.count(FALSE_APPLIED, &listed.request_id, &describe(why));
                }
            },
            _ => {}
        }
        if listed.action == Some(Action::Resend) && op.kind.blind() && listed.reason != Some(Reason::NeverSent) {
            self.count(UNSAFE_RESEND, &listed.request_id, &describe("nothing can tell whether it was applied"));
        }
    }

    /// Where an entry stands in the end.
    fn end(&mut self, listed: &Listed) {
        let op = &self.stage.ops[listed.op];
        self.figures.entries += 1;
        let of_kind = self.figures.by_kind.entry(format!("{:?}", op.kind)).or_default();
        of_kind.entries += 1;
        match (listed.status, listed.outcome) {
            (Status::Pending, _) => of_kind.pending += 1,
            (Status::DuplicateRisk, _) => of_kind.duplicate_risk += 1,
            (_, Some(Outcome::Applied)) => of_kind.applied += 1,
            (_, Some(Outcome::Satisfied)) => of_kind.satisfied += 1,
            _ => of_kind.not_applied += 1,
        }
        if listed.status == Status::Resolved {
            return;
        }
        let reason = listed.reason.map_or("none".to_owned(), |reason| reason.to_string());
        let undecided = Undecided { stage: self.stage, truth: self.truth, op, listed };
        if undecided.is_excused() {
            *self.figures.by_reason.entry(format!("{} {reason}", listed.status)).or_default() += 1;
        } else if !self.stage.story.breaks_windows {
            let line =
                format!("{:?} {} {reason} {:?}: {}", op.kind, listed.status, listed.server_id, listed.explanation);
            self.count(UNDECIDED, &listed.request_id, &line);
        }
    }
}

/// The watch looks at it again.
fn watched(listed: &Listed) -> bool {
    use Reason::{ConfirmedAbsent, NeverSent, NotDeleted, NotUpdated};
    matches!(listed.reason, Some(ConfirmedAbsent | NeverSent | NotDeleted | NotUpdated))
}
