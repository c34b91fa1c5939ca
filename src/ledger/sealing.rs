//! Sealing: the digests of keys in the evidence are replaced by random ones, so that nobody who has the file and guesses
//! an email finds it confirmed.
//!
//! Digests are only ever compared: which are equal, and in ties which comes first. The new ones keep both over everything
//! that was ever decided together. An operation's own digest stays, for it leads to nothing but the operation's id, and
//! a later attempt of that operation still finds its group; a later entry with the same key does not. It is decided by
//! its own looks then, and a record that the older entry made counts as any other that was there before. One that was
//! sent before what was sealed had been settled, and is read only now, is *overtaken*: what else concerned its key cannot
//! be known any more, so nothing is said of it that only the absence of others would prove.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rusqlite::params;

use super::blanking::{Blanking, RENAMED};
use super::intake::id_text;
use crate::clock::Moment;
use crate::evidence::{Effect, Facts, Link, Record};

impl Blanking<'_> {
    /// Replaces the digests in the evidence of what hangs together: all of them, or only some. `sealed` are those whose
    /// digests were replaced before.
    pub fn seal(&self, members: &[i64], sealed: &BTreeSet<i64>, only: Option<&BTreeSet<Link>>) -> Result<()> {
        let (mut stay, mut go) = (BTreeSet::new(), BTreeSet::new());
        let mut bearers = Vec::new();
        for &entry in members {
            let named = self.operation_names_somebody(entry)?;
            let facts = self.facts_of(entry)?;
            let values = self.values_of(entry)?;
            for facts in facts.values() {
                let keys = facts.effects.iter().flat_map(Effect::digests);
                let identity = if named && only.is_none() { &mut go } else { &mut stay };
                identity.insert(facts.identity);
                if sealed.contains(&entry) { stay.extend(keys) } else { go.extend(keys) }
            }
            if sealed.contains(&entry) {
                stay.extend(values);
            } else {
                go.extend(values);
                bearers.push(entry);
            }
        }
        if let Some(only) = only {
            let others: Vec<Link> = go.difference(only).copied().collect();
            go.retain(|link| only.contains(link));
            stay.extend(others);
        }
        let new = in_their_place(&stay, &go, &|| self.draw());
        let mut sealed_any = false;
        for entry in &bearers {
            if self.replace(*entry, &new)? {
                sealed_any = true;
                self.sealed_until(self.done_by(*entry)?);
            }
        }
        for entry in bearers.into_iter().filter(|_| sealed_any) {
            self.mark_sealed(entry)?;
        }
        Ok(())
    }

    /// What an entry could do it had done by its verdict, or by its answer.
    fn done_by(&self, entry: i64) -> Result<Moment> {
        let decided: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(decided_ms) FROM verdicts WHERE entry_id = ?")?
            .query_row([entry], |row| row.get(0))?;
        let ended = self.facts_of(entry)?.into_values().map(|facts| facts.ended.0).max();
        Ok(Moment(decided.max(ended).unwrap_or(self.now.0)))
    }

    /// The operation's id was renamed, so its digest must go as well.
    fn operation_names_somebody(&self, entry: i64) -> Result<bool> {
        let renamed = self
            .connection
            .prepare_cached("SELECT coalesce(nullif(trim(operation_id), ''), request_id) FROM entries WHERE id = ?")?
            .query_row([entry], |row| row.get_ref(0).map(id_text))?;
        Ok(renamed.starts_with(RENAMED))
    }

    /// The digests of what records showed.
    fn values_of(&self, entry: i64) -> Result<BTreeSet<Link>> {
        Ok(self.records_of(entry)?.values().flatten().filter_map(|record| record.values).collect())
    }

    /// What the looks at an entry found, by `observations.id`.
    pub fn records_of(&self, entry: i64) -> Result<BTreeMap<i64, Vec<Record>>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, records FROM observations WHERE entry_id = ? AND records IS NOT NULL")?;
        let mut rows = statement.query([entry])?;
        let mut records = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let read = serde_json::from_str(row.get_ref(1)?.as_str()?).context("failed to read an observation")?;
            records.insert(row.get(0)?, read);
        }
        Ok(records)
    }

    /// Stores what a look is to have found from now on.
    pub fn write_records(&self, observation: i64, records: &[Record]) -> Result<()> {
        let mut statement = self.connection.prepare_cached("UPDATE observations SET records = ? WHERE id = ?")?;
        statement.execute(params![serde_json::to_string(records)?, observation])?;
        Ok(())
    }

    /// All that was decided together is sealed together, so that it is told from each other as it was.
    fn mark_sealed(&self, entry: i64) -> Result<()> {
        for (reading, facts) in self.facts_of(entry)? {
            if facts.sealed.is_none() {
                self.write_facts(reading, &Facts { sealed: Some(self.now), ..facts })?;
            }
        }
        Ok(())
    }

    fn replace(&self, entry: i64, new: &BTreeMap<Link, Link>) -> Result<bool> {
        let mut replaced = false;
        for (reading, mut facts) in self.facts_of(entry)? {
            if replace_in(&mut facts, new) {
                replaced = true;
                self.write_facts(reading, &facts)?;
            }
        }
        for (observation, mut records) in self.records_of(entry)? {
            let before = records.clone();
            for values in records.iter_mut().filter_map(|record| record.values.as_mut()) {
                *values = new.get(values).copied().unwrap_or(*values);
            }
            if records != before {
                self.write_records(observation, &records)?;
            }
        }
        let mut forget = self.connection.prepare_cached("DELETE FROM links WHERE link = ? AND entry_id = ?")?;
        for link in new.keys() {
            forget.execute(params![link.0, entry])?;
        }
        Ok(replaced)
    }
}

fn replace_in(facts: &mut Facts, new: &BTreeMap<Link, Link>) -> bool {
    let mut replaced = false;
    let keys = facts.effects.iter_mut().flat_map(Effect::digests_mut);
    for link in keys.chain([&mut facts.identity]) {
        if let Some(other) = new.get(link) {
            *link = *other;
            replaced = true;
        }
    }
    replaced
}

/// Another link for each that goes, in the same order among themselves and among those that stay. Nothing but that order
/// leads from one to the other.
fn in_their_place(stay: &BTreeSet<Link>, go: &BTreeSet<Link>, draw: &dyn Fn() -> u128) -> BTreeMap<Link, Link> {
    let go: Vec<Link> = go.difference(stay).copied().collect();
    let mut new = BTreeMap::new();
    let mut rest = go.as_slice();
    while let Some(first) = rest.first() {
        let low = stay.range(..first).next_back().map_or(0, number);
        let above = stay.range(first..).next();
        let run = rest.iter().take_while(|link| above.is_none_or(|above| *link < above)).count();
        let high = above.map_or(u128::MAX, number);
        let step = (high - low) / (run as u128 + 1);
        for (place, link) in (1..).zip(&rest[..run]) {
            // Between two that stay there is room for all but never for chance alone: then it stays what it is.
            let other = if step > 1 { link_of(low + step * place + draw() % step) } else { *link };
            new.insert(*link, other);
        }
        rest = &rest[run..];
    }
    new
}

fn number(link: &Link) -> u128 {
    u128::from_be_bytes(link.0)
}

fn link_of(number: u128) -> Link {
    Link(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn draws() -> impl Fn() -> u128 {
        let drawn = std::cell::Cell::new(0_u64);
        move || {
            drawn.set(drawn.get() + 1);
            let digest = Sha256::digest(drawn.get().to_le_bytes());
            u128::from_le_bytes(digest[..16].try_into().unwrap())
        }
    }

    fn links() -> impl Strategy<Value = BTreeSet<Link>> {
        prop::collection::btree_set(any::<[u8; 16]>().prop_map(Link), 0..40)
    }

    proptest! {
        #![proptest_config(crate::decide::soak::config(256))]

        #[test]
        fn new_links_keep_order_and_equality(stay in links(), go in links()) {
            let new = in_their_place(&stay, &go, &draws());
            let go: Vec<Link> = go.difference(&stay).copied().collect();
            prop_assert_eq!(new.len(), go.len());
            let all: BTreeSet<Link> = stay.iter().chain(&go).copied().collect();
            let after: Vec<Link> = all.iter().map(|link| new.get(link).copied().unwrap_or(*link)).collect();
            prop_assert!(after.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(go.iter().all(|link| new[link] != *link));
        }
    }

    #[test]
    fn nothing_of_a_link_is_in_its_successor() {
        let one = |byte: u8| {
            let draw = draws();
            in_their_place(&BTreeSet::new(), &[Link([byte; 16])].into(), &draw)[&Link([byte; 16])]
        };
        assert_eq!(one(0), one(255), "it depends on the draw alone");
    }
}
