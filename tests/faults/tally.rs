//! What a campaign found.

use std::collections::BTreeMap;

/// Of one fault, over all its cases.
#[derive(Debug, Default)]
pub struct Tally {
    pub cases: u64,
    pub lost: u64,
    pub wrong: u64,
    pub torn: u64,
    pub leaks: u64,
    /// Another exit code than the contract's, or no remedy in the message.
    pub codes: u64,
    /// What was seen, by exit code and message without its particulars.
    pub says: BTreeMap<String, u64>,
    /// The first of what must not be.
    pub findings: Vec<String>,
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Lost,
    Verdict,
    Torn,
    Leak,
    Code,
}

impl Tally {
    pub fn found(&mut self, wrong: Wrong, what: String) {
        *match wrong {
            Wrong::Lost => &mut self.lost,
            Wrong::Verdict => &mut self.wrong,
            Wrong::Torn => &mut self.torn,
            Wrong::Leak => &mut self.leaks,
            Wrong::Code => &mut self.codes,
        } += 1;
        if self.findings.len() < 30 {
            self.findings.push(format!("{wrong:?}: {what}"));
        }
    }

    pub fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.torn += other.torn;
        self.leaks += other.leaks;
        self.codes += other.codes;
        self.findings.extend(other.findings);
        for (said, times) in other.says {
            *self.says.entry(said).or_default() += times;
        }
    }

    pub fn says(&mut self, code: i32, err: &str, folder: &str) {
        let first = err.lines().next().unwrap_or_default().replace(folder, "…");
        let first = match first.find(".privo-reconcile-") {
            Some(at) => first[..at].to_owned() + "…",
            None => first,
        };
        let code = if code < 0 { "killed".to_owned() } else { format!("exit {code}") };
        *self.says.entry(format!("{code} {first}")).or_default() += 1;
    }

    fn wrongs(&self) -> u64 {
        self.lost + self.wrong + self.torn + self.leaks + self.codes
    }
}

/// Prints the table and what the user sees; fails when anything was found.
pub fn conclude(tallies: &[(&str, Tally)]) {
    println!("| fault | cases | entries lost | verdicts wrong | files torn | leaks | codes wrong |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, tally) in tallies {
        let Tally { cases, lost, wrong, torn, leaks, codes, .. } = tally;
        println!("| {name} | {cases} | {lost} | {wrong} | {torn} | {leaks} | {codes} |");
    }
    for (name, tally) in tallies {
        println!("\n{name}:");
        for (said, times) in &tally.says {
            println!("  {times:>5}  {said}");
        }
        for finding in &tally.findings {
            println!("  !! {finding}");
        }
    }
    let wrongs: u64 = tallies.iter().map(|(_, tally)| tally.wrongs()).sum();
    assert_eq!(wrongs, 0, "see above");
}
