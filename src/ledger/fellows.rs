//! Fellows: which entries share a link with another one.
//!
//! Most entries share none. One walk over all links in their order finds out for all entries at once what would else be
//! asked for each of them at random places of a large file. It costs a bit for each entry.

use std::collections::BTreeMap;

use anyhow::Result;
use rusqlite::Connection;

use super::Ledger;
use crate::evidence::Link;

/// Entries that are further from the first one than this are always asked for: an id is a writer's to choose.
const SPAN: i64 = 64 * 1024 * 1024;

/// The walk is worth it when at least one entry of so many is due.
const WORTH: u64 = 50;

/// Which entries may share a link with another. One that is not among them shares none. Without the walk, all may.
#[derive(Debug, Default)]
pub struct Fellows {
    /// The first entry that a bit stands for.
    first: i64,
    /// How many entries have one.
    span: i64,
    shared: Vec<u64>,
    /// What was read since, by link.
    news: BTreeMap<Link, Vec<i64>>,
}

impl Fellows {
    /// Whether an entry may share a link with another.
    pub fn may_have(&self, entry: i64) -> bool {
        match self.place(entry) {
            Some((word, bit)) => self.shared[word] & bit != 0,
            None => true,
        }
    }

    /// Whether an entry with this link was read since that is not among these.
    pub fn came(&self, link: Link, among: impl Fn(i64) -> bool) -> bool {
        self.news.get(&link).is_some_and(|entries| entries.iter().any(|entry| !among(*entry)))
    }

    fn add(&mut self, entry: i64) {
        if let Some((word, bit)) = self.place(entry) {
            self.shared[word] |= bit;
        }
    }

    fn place(&self, entry: i64) -> Option<(usize, u64)> {
        let place = entry.checked_sub(self.first).filter(|place| (0..self.span).contains(place))?;
        Some((usize::try_from(place / 64).ok()?, 1 << (place % 64)))
    }
}

impl Ledger {
    /// Finds the fellows among all entries that were read, if so many are `due` that it is worth the walk.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn fellows(&self, due: u64) -> Result<Fellows> {
        let end = |which| {
            self.connection.query_row(&format!("SELECT {which}(entry_id) FROM standings"), [], |row| row.get(0))
        };
        let (Some(first), Some(last)): (Option<i64>, Option<i64>) = (end("min")?, end("max")?) else {
            return Ok(Fellows::default());
        };
        let span = last.saturating_sub(first).saturating_add(1).min(SPAN);
        if due.saturating_mul(WORTH) < span.unsigned_abs() {
            return Ok(Fellows::default());
        }
        let shared = vec![0; usize::try_from(span / 64 + 1)?];
        let mut fellows = Fellows { first, span, shared, news: BTreeMap::new() };
        let mut statement = self.connection.prepare("SELECT link, entry_id FROM links ORDER BY link")?;
        let mut rows = statement.query([])?;
        let mut before: Option<([u8; 16], i64)> = None;
        while let Some(row) = rows.next()? {
            let (link, entry): ([u8; 16], i64) = (row.get(0)?, row.get(1)?);
            if let Some((_, other)) = before.filter(|(same, _)| *same == link) {
                fellows.add(other);
                fellows.add(entry);
            }
            before = Some((link, entry));
        }
        Ok(fellows)
    }
}

/// Notes what was read since.
pub(super) fn note(connection: &Connection, fellows: &mut Fellows, read: Vec<(Link, i64)>) -> Result<()> {
    for (link, entry) in read {
        entries_of(connection, link, |fellow| fellows.add(fellow))?;
        fellows.news.entry(link).or_default().push(entry);
    }
    Ok(())
}

/// Tells every entry of a link.
pub(super) fn entries_of(connection: &Connection, link: Link, mut tell: impl FnMut(i64)) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT entry_id FROM links WHERE link = ?")?;
    let mut rows = statement.query([link.0])?;
    while let Some(row) = rows.next()? {
        tell(row.get(0)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(links: &[(u8, i64)]) -> Ledger {
        let ledger = Ledger::in_memory().unwrap();
        for (link, entry) in links {
            let standing = "INSERT OR IGNORE INTO standings (entry_id) VALUES (?)";
            ledger.connection.execute(standing, [entry]).unwrap();
            let link = rusqlite::params![[*link; 16], entry];
            ledger.connection.execute("INSERT INTO links (link, entry_id) VALUES (?, ?)", link).unwrap();
        }
        ledger
    }

    #[test]
    fn whoever_shares_a_link_is_a_fellow_and_nobody_else() {
        let ledger = ledger(&[(1, 1), (2, 1), (3, 2), (2, 3), (4, 3), (4, 4), (4, 200), (5, 201)]);
        let fellows = ledger.fellows(8).unwrap();
        let found: Vec<i64> = (0..300).filter(|entry| fellows.may_have(*entry)).collect();
        let outside = |entry: &i64| !(1..=201).contains(entry);
        assert_eq!(found.iter().copied().filter(|entry| !outside(entry)).collect::<Vec<_>>(), [1, 3, 4, 200]);
        assert!(found.iter().any(outside), "what was not walked over may have any");
    }

    #[test]
    fn few_that_are_due_are_not_worth_the_walk_and_may_have_any() {
        assert!(ledger(&[(1, 1), (2, 1000)]).fellows(1).unwrap().may_have(1));
    }

    #[test]
    fn ids_at_both_ends_are_no_trouble() {
        let ledger = ledger(&[(1, i64::MIN), (1, 7), (2, i64::MAX)]);
        let fellows = ledger.fellows(u64::MAX).unwrap();
        assert!([i64::MIN, 7, i64::MAX].into_iter().all(|entry| fellows.may_have(entry)));
    }

    #[test]
    fn news_makes_fellows_of_both_sides() {
        let ledger = ledger(&[(1, 1), (2, 2)]);
        let mut fellows = ledger.fellows(2).unwrap();
        assert!(!fellows.may_have(1));
        ledger.connection.execute("INSERT INTO links (link, entry_id) VALUES (?, 2)", [[1; 16]]).unwrap();
        note(&ledger.connection, &mut fellows, vec![(Link([1; 16]), 2)]).unwrap();
        assert!(fellows.may_have(1) && fellows.may_have(2));
        assert!(fellows.came(Link([1; 16]), |entry| entry == 1));
        assert!(!fellows.came(Link([1; 16]), |entry| entry == 1 || entry == 2));
    }
}
