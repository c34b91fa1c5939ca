//! The plan against what stands in the ledger: what no operation matches, what cannot be read, what has no control.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::findings::Findings;
use crate::clock::Moment;
use crate::config::Config;
use crate::decide::distinct_requests;
use crate::evidence::{Class, Facts, KeyDigest};
use crate::ledger::Ledger;

/// How many of the newest entries are read.
const NEWEST: usize = 1000;

/// More findings of one kind are counted, not listed.
const LISTED: usize = 20;

/// The lookups that the entries need, and how many need each.
pub type Wanted = BTreeMap<String, u64>;

#[derive(Default)]
struct Sample {
    read: u64,
    /// By method and masked path.
    unmatched: BTreeMap<String, u64>,
    /// By what is wrong with them; never a value.
    unreadable: BTreeMap<String, u64>,
    elsewhere: u64,
    /// By operation: nothing that they do can be looked up.
    unseen: BTreeMap<String, u64>,
    wanted: Wanted,
    facts: Vec<Facts>,
}

pub fn check(config: &Config, ledger: &Ledger, findings: &mut Findings) -> Result<Wanted> {
    let sample = match sample(config, ledger) {
        Ok(sample) => sample,
        Err(error) => {
            findings.failed(&error.context("failed to read the ledger's entries"))?;
            return Ok(Wanted::default());
        }
    };
    let strange = sample.unmatched.len() + sample.unreadable.len();
    for (request, count) in sample.unmatched.iter().take(LISTED) {
        findings.bad(format!(
            "{}: no operation of the plan matches (add one to the plan; a person must `close` what no plan can decide)",
            of_entries(*count, request)
        ))?;
    }
    for (why, count) in sample.unreadable.iter().take(LISTED) {
        findings.note(format!(
            "{}: {why} (repair the writer, and correct the rows by UPDATE)",
            of_entries(*count, "bad-row")
        ))?;
    }
    let hidden = sample.unmatched.len().saturating_sub(LISTED) + sample.unreadable.len().saturating_sub(LISTED);
    if hidden > 0 {
        findings.note(format!("{hidden} more kinds of entries that no operation matches or that cannot be read"))?;
    }
    if sample.elsewhere > 0 {
        findings.note(format!(
            "{}: sent to another host or port than {} (keep one ledger and one configuration for each server)",
            of_entries(sample.elsewhere, "other-environment"),
            config.server.base_url.origin().ascii_serialization()
        ))?;
    }
    for (operation, count) in &sample.unseen {
        findings.note(format!(
            "{}: nothing that they do can be looked up, so they end as unobservable (ask PRIVO for a key of yours that a read finds, or `close` them when you know)",
            of_entries(*count, operation)
        ))?;
    }
    let shared = shared_ids(sample.facts);
    if shared > 0 {
        findings.note(format!(
            "{shared} operation {} given to several requests: each is an operation of its own, and what may be the correction of another is a person's to review (give each request an id of its own, and its retries the same)",
            if shared == 1 { "id was" } else { "ids were" }
        ))?;
    }
    for (lookup, count) in &sample.wanted {
        if !config.controls.iter().any(|control| control.lookup == *lookup) {
            findings.bad(format!(
                "{lookup} has no control, and {} it: without one an absence proves nothing and they stay pending (add a [[control]] with a known key)",
                if *count == 1 { "an entry needs".to_owned() } else { format!("{count} entries need") }
            ))?;
        }
    }
    match (sample.read, strange) {
        (0, _) => findings.good("entries: none to look at")?,
        (read, 0) => findings.good(format!("entries: the plan knows what to make of the newest {read}"))?,
        _ => {}
    }
    Ok(sample.wanted)
}

/// How many operation ids several requests bear.
fn shared_ids(facts: Vec<Facts>) -> usize {
    let ids: Vec<KeyDigest> = facts.iter().map(|facts| facts.identity).collect();
    let mut operations: BTreeMap<KeyDigest, BTreeSet<usize>> = BTreeMap::new();
    for (id, operation) in ids.into_iter().zip(distinct_requests(facts)) {
        operations.entry(id).or_default().insert(operation);
    }
    operations.values().filter(|operations| operations.len() > 1).count()
}

fn of_entries(count: u64, what: &str) -> String {
    format!("{count} {} {what}", if count == 1 { "entry" } else { "entries" })
}

fn sample(config: &Config, ledger: &Ledger) -> Result<Sample> {
    let reader = config.reader(ledger.salt());
    let now = Moment::now();
    let mut sample = Sample::default();
    ledger.each_sampled(NEWEST, |row| {
        sample.read += 1;
        let facts = reader.read(row, now).facts;
        sample.facts.push(facts.clone());
        match facts.class {
            Class::NoPlan => {
                *sample.unmatched.entry(format!("{} {}", facts.method, facts.path)).or_default() += 1;
            }
            Class::BadRow { why } => *sample.unreadable.entry(why).or_default() += 1,
            Class::OtherEnvironment => sample.elsewhere += 1,
            Class::Read => {}
            Class::Planned => {
                if facts.effects.iter().all(|effect| effect.key.is_none()) {
                    *sample.unseen.entry(facts.operation.unwrap_or_default()).or_default() += 1;
                }
                let mut lookups: Vec<String> = facts.effects.into_iter().filter_map(|effect| effect.lookup).collect();
                lookups.sort_unstable();
                lookups.dedup();
                for lookup in lookups {
                    *sample.wanted.entry(lookup).or_default() += 1;
                }
            }
        }
    })?;
    Ok(sample)
}
