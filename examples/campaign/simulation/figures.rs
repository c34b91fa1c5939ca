//! What is counted, over one world or many.

use std::collections::BTreeMap;

use privo_reconcile::ledger::LooksCounted;

/// One row of the table by kind.
#[derive(Clone, Debug, Default)]
pub struct OfKind {
    pub entries: u64,
    pub applied: u64,
    pub satisfied: u64,
    pub not_applied: u64,
    pub duplicate_risk: u64,
    pub pending: u64,
}

/// The figures of a campaign. Sums, so that the order of worlds does not matter.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub worlds: u64,
    pub entries: u64,
    pub verdicts: u64,
    pub requests: u64,
    /// Requests for tokens, and those of controls.
    pub tokens: u64,
    pub controls: u64,
    pub looks: LooksCounted,
    /// Entries that lost their personal fields.
    pub pruned: u64,
    pub false_not_applied: u64,
    pub false_applied: u64,
    pub unsafe_resend: u64,
    pub undecided: u64,
    /// Operations whose rows were told differently in one report.
    pub split: u64,
    /// Verdicts that `verify` could not reproduce.
    pub differing: u64,
    /// Verdicts that were superseded loudly.
    pub corrections: u64,
    /// Wrong, but by nothing that the ledger or the server could have shown; see the judge.
    pub unknowable: u64,
    /// Not-applied verdicts that an application after the windows made wrong, and those of them that the watch missed.
    pub late: u64,
    pub missed: u64,
    /// Permits that were given; those that were given though an attempt was or will be applied, or without approval;
    /// operations that were applied twice by them; operations that were to be sent again and never were.
    pub permits: u64,
    pub unsafe_permit: u64,
    pub applied_twice: u64,
    pub lost: u64,
    /// The windows were broken, so that only the watch and `verify` must hold.
    pub broken: bool,
    pub by_kind: BTreeMap<String, OfKind>,
    pub by_trouble: BTreeMap<String, u64>,
    /// Worlds with each twist, and those of them in which something was wrong.
    pub by_twist: BTreeMap<String, (u64, u64)>,
    /// Duplicate-risk by reason: known to be undecidable.
    pub by_reason: BTreeMap<String, u64>,
    /// A line for each thing that was wrong, with the world's seed.
    pub wrongs: Vec<String>,
}

impl Figures {
    /// Adds another world's.
    pub fn add(&mut self, other: &Figures) {
        self.broken |= other.broken;
        self.worlds += other.worlds;
        self.entries += other.entries;
        self.verdicts += other.verdicts;
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.controls += other.controls;
        self.looks.first += other.looks.first;
        self.looks.before += other.looks.before;
        self.looks.after += other.looks.after;
        self.looks.turned_up += other.looks.turned_up;
        self.looks.later += other.looks.later;
        self.looks.later_ms += other.looks.later_ms;
        self.pruned += other.pruned;
        self.false_not_applied += other.false_not_applied;
        self.false_applied += other.false_applied;
        self.unsafe_resend += other.unsafe_resend;
        self.undecided += other.undecided;
        self.split += other.split;
        self.differing += other.differing;
        self.corrections += other.corrections;
        self.unknowable += other.unknowable;
        self.late += other.late;
        self.missed += other.missed;
        self.permits += other.permits;
        self.unsafe_permit += other.unsafe_permit;
        self.applied_twice += other.applied_twice;
        self.lost += other.lost;
        for (kind, of) in &other.by_kind {
            let sum = self.by_kind.entry(kind.clone()).or_default();
            sum.entries += of.entries;
            sum.applied += of.applied;
            sum.satisfied += of.satisfied;
            sum.not_applied += of.not_applied;
            sum.duplicate_risk += of.duplicate_risk;
            sum.pending += of.pending;
        }
        for (twist, (worlds, wrong)) in &other.by_twist {
            let sum = self.by_twist.entry(twist.clone()).or_default();
            (sum.0, sum.1) = (sum.0 + worlds, sum.1 + wrong);
        }
        for (mine, others) in [(&mut self.by_trouble, &other.by_trouble), (&mut self.by_reason, &other.by_reason)] {
            for (name, count) in others {
                *mine.entry(name.clone()).or_default() += count;
            }
        }
        self.wrongs.extend(other.wrongs.iter().take(200_usize.saturating_sub(self.wrongs.len())).cloned());
    }

    /// Whether a figure that must be zero is not.
    pub fn red(&self) -> bool {
        let wrong = self.false_not_applied + self.false_applied + self.unsafe_resend + self.undecided + self.split;
        let wrong = wrong + self.unsafe_permit + self.applied_twice + self.lost;
        self.differing + self.missed > 0 || (!self.broken && wrong > 0)
    }
}
