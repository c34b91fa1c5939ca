//! The overview: how many entries stand where, and what to do next.

use super::screen::{Screen, Tone};
use crate::views::{Counts, RunFacts};
use crate::words::Status;

/// The longest bar, in columns.
const LONGEST_BAR: u64 = 30;

/// Where names end and counts begin; where counts end and bars begin.
const NAMES: usize = 22;
const COUNTS: usize = 9;

/// What an overview tells.
pub struct Overview<'a> {
    pub counts: &'a Counts,
    /// The last run.
    pub run: Option<&'a RunFacts>,
}

/// The overview as text.
pub fn overview(shown: &Overview, screen: &Screen) -> String {
    let counts = shown.counts;
    let most = Status::ALL.iter().map(|status| counts.of(*status)).max().unwrap_or(0);
    let mut text = String::new();
    for status in Status::ALL {
        let count = counts.of(*status);
        let tone = if count == 0 { Tone::Quiet } else { tone(*status) };
        let bar = bar(count, most, screen);
        let head = format!("{:<NAMES$}{count:>COUNTS$}", status.text());
        push(&mut text, &format!("{}  {}", screen.paint(Tone::Strong, &head), screen.paint(tone, &bar)));
        for (_, reason, count) in counts.rows.iter().filter(|(of, ..)| of == status) {
            let reason = reason.map_or("not looked at yet", |reason| reason.text());
            push(&mut text, &format!("  {reason:<20}{count:>COUNTS$}"));
        }
    }
    if let Some(oldest) = counts.oldest_pending {
        push(&mut text, &format!("oldest pending: sent {oldest}"));
    }
    match shown.run {
        Some(run) => {
            let ended = run.ended.as_deref().unwrap_or("not yet (it is still going on, or it was killed)");
            let RunFacts { run: id, started, settled, deferred, .. } = run;
            let said = format!("last run: {id} began {started}, ended {ended}, {settled} settled, {deferred} deferred");
            screen.wrapped(&said, 0).iter().for_each(|line| push(&mut text, line));
            for line in run.trouble.iter().flat_map(|trouble| screen.wrapped(trouble, 2)) {
                push(&mut text, &format!("  {}", screen.paint(Tone::Bad, &line)));
            }
        }
        None => push(&mut text, "last run: none yet"),
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

fn tone(status: Status) -> Tone {
    match status {
        Status::Resolved => Tone::Good,
        Status::Pending => Tone::Open,
        Status::DuplicateRisk => Tone::Bad,
    }
}

/// A bar as long as its share of the most; only where there is a screen with room for it.
fn bar(count: u64, most: u64, screen: &Screen) -> String {
    let room = screen.width.map_or(0, |width| width.saturating_sub(NAMES + COUNTS + 2) as u64).min(LONGEST_BAR);
    let length = (count * room).div_ceil(most.max(1));
    "█".repeat(usize::try_from(length).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Reason;

    #[test]
    fn bars_are_shares_and_nobody_is_left_without_one() {
        let rows = vec![
            (Status::Pending, None, 1),
            (Status::Resolved, Some(Reason::Created), 900),
            (Status::DuplicateRisk, Some(Reason::NoPlan), 300),
        ];
        let counts = Counts { rows, oldest_pending: None };
        let shown = Overview { counts: &counts, run: None };
        let screen = Screen { width: Some(80), coloured: false };
        let text = overview(&shown, &screen);
        let bars: Vec<usize> = text.lines().map(|line| line.matches('█').count()).filter(|bar| *bar > 0).collect();
        assert_eq!(bars, [1, 30, 10]);
        assert!(!overview(&shown, &Screen::PLAIN).contains('█'));
        let narrow = overview(&shown, &Screen { width: Some(40), coloured: false });
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }
}
