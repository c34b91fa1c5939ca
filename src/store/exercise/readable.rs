//! All that can be read of a store, as lines that can be compared.

use anyhow::Result;

use crate::clock::Moment;
use crate::plan::Row;
use crate::store::{NoteKind, State, Store, Word};

/// What a store does not list by itself.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub mappings: Vec<[u8; 16]>,
    pub records: Vec<[u8; 16]>,
    pub requests: Vec<String>,
    /// When rows came counts too: not between two stores that stamp by clocks of their own.
    pub stamps: bool,
}

impl Asked {
    fn stamp(&self, arrived: Option<Moment>) -> Option<Moment> {
        if self.stamps { arrived } else { arrived.map(|_| Moment(0)) }
    }

    fn state(&self, state: State) -> State {
        State { arrived: self.stamp(state.arrived), ..state }
    }

    fn row(&self, row: Row) -> Row {
        Row { arrived: self.stamp(row.arrived), ..row }
    }
}

/// All that can be read.
///
/// # Errors
/// When the store cannot be read.
pub fn readable(store: &dyn Store, asked: &Asked) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for word in Word::ALL {
        lines.push(format!("word {word:?}: {:?}", store.word(word)?));
    }
    rows(store, asked, &mut lines)?;
    states(store, asked, &mut lines)?;
    store.each_key(&mut |key, group| {
        lines.push(format!("key {key}: {group}"));
        Ok(())
    })?;
    lines.push(format!("last evidence: {}", store.last_evidence()?));
    store.each_evidence(&mut |evidence| {
        lines.push(format!("{evidence:?}"));
        Ok(())
    })?;
    store.each_shared(&mut |id, text| {
        lines.push(format!("shared {id}: {text}"));
        Ok(())
    })?;
    store.each_run(&mut |run| {
        lines.push(format!("{run:?}"));
        Ok(true)
    })?;
    for kind in NoteKind::ALL {
        let notes = store.notes(kind, Moment(0))?;
        lines.extend(notes.iter().map(|note| format!("{kind:?} {note:?}")));
    }
    for mapping in &asked.mappings {
        for import in store.imports(mapping)? {
            lines.push(format!("{import:?}"));
            for record in &asked.records {
                let seen = store.seen_in_import(import.id.unwrap_or_default(), record)?;
                lines.push(format!("seen {record:?}: {seen}"));
            }
        }
    }
    Ok(lines)
}

fn rows(store: &dyn Store, asked: &Asked, lines: &mut Vec<String>) -> Result<()> {
    for request in &asked.requests {
        lines.push(format!("entry of {request}: {:?}", store.entry_of(request)?));
    }
    let mut entries = Vec::new();
    store.each_state(i64::MIN, &mut |state| {
        entries.push(state.entry);
        Ok(true)
    })?;
    lines.extend(store.rows(&entries)?.into_iter().map(|row| format!("{:?}", asked.row(row))));
    store.each_row(&mut |entry, texts| {
        // A store may leave out what is empty, or what is no text.
        let mut texts: Vec<_> =
            texts.iter().filter(|(name, text)| !text.is_empty() && *name != "http_status").collect();
        texts.sort_unstable();
        lines.push(format!("row {entry}: {texts:?}"));
        Ok(())
    })
}

fn states(store: &dyn Store, asked: &Asked, lines: &mut Vec<String>) -> Result<()> {
    let (mut groups, mut dues) = (Vec::new(), Vec::new());
    store.each_state(i64::MIN, &mut |state| {
        groups.extend(state.group);
        dues.extend(state.due);
        lines.push(format!("{:?}", asked.state(state)));
        Ok(true)
    })?;
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let members: Vec<i64> = store.members(&[group])?.iter().map(|state| state.entry).collect();
        lines.push(format!("members of {group}: {members:?}"));
    }
    for unread in store.unread(i64::MIN, usize::MAX, usize::MAX)? {
        let row = unread.row.map(|row| asked.row(row));
        lines.push(format!("unread {:?} {row:?}", asked.state(unread.state)));
    }
    for now in dues {
        let due = [store.due(now, false, None, 1000)?, store.due(now, true, None, 1000)?];
        lines.push(format!("due at {now}: {} {due:?}", store.count_due(now)?));
    }
    lines.push(format!("{:?} {:?} {:?}", store.next_due()?, store.counts()?, store.stats()?));
    Ok(())
}
