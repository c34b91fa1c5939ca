//! A copy of another store, for what is not to be written.

use std::collections::BTreeMap;

use anyhow::Result;

use super::MemoryStore;
use super::tables::{self, Kept, Table, cells};
use crate::clock::Moment;
use crate::plan::{Cell, Row};
use crate::store::{NoteKind, Store, Word, WrittenRow};

/// Rows that are read at once.
const PAGE: usize = 2000;

/// A copy of a store: what is done to it changes the store nowhere. How far imports are is left out, for whoever previews
/// an import reads the store itself. Rows that come while it is made may be in it or not.
///
/// # Errors
/// When the store cannot be read.
pub fn snapshot_of(store: &dyn Store) -> Result<MemoryStore> {
    let mut copy = MemoryStore::new(store.identity().clone(), Moment::now);
    for word in Word::ALL {
        copy.words.put(word, store.word(word)?);
    }
    store.each_state(i64::MIN, &mut |state| {
        copy.states.put(state.entry, Some(state));
        Ok(true)
    })?;
    copy_rows(store, &mut copy)?;
    store.each_key(&mut |key, group| {
        copy.keys.put(key, Some(group));
        Ok(())
    })?;
    store.each_evidence(&mut |evidence| {
        copy.evidence.put(evidence.id, Some(evidence.row));
        Ok(())
    })?;
    store.each_shared(&mut |id, text| {
        copy.texts.put(id, Some(text.to_owned()));
        Ok(())
    })?;
    store.each_run(&mut |run| {
        copy.runs.put(run.id, Some(run));
        Ok(true)
    })?;
    for kind in NoteKind::ALL {
        for note in store.notes(kind, Moment(i64::MIN))? {
            copy.notes.put(note.id, Some((kind, note)));
        }
    }
    Ok(copy)
}

/// The rows whose states were copied.
fn copy_rows(store: &dyn Store, copy: &mut MemoryStore) -> Result<()> {
    let mut errors = BTreeMap::new();
    store.each_row(&mut |entry, texts| {
        let error = texts.iter().find(|(name, text)| *name == "error" && !text.is_empty());
        errors.extend(error.map(|(_, error)| (entry, error.clone())));
        Ok(())
    })?;
    let entries: Vec<i64> = copy.states.all.keys().copied().collect();
    for page in entries.chunks(PAGE) {
        for row in store.rows(page)? {
            copy.last_entry = copy.last_entry.max(row.entry);
            let error = errors.remove(&row.entry);
            copy.rows.put(row.entry, Some(kept(row, error)));
        }
    }
    Ok(())
}

/// A row that was read of another store. What is no text in it stays so.
fn kept(row: Row, error: Option<String>) -> Kept {
    let text = |cell: &Cell| cell.clone().ok().flatten();
    let written = WrittenRow {
        request_id: row.request_id.clone(),
        operation_id: text(&row.operation_id),
        direction: text(&row.direction),
        method: text(&row.method).unwrap_or_default(),
        url: text(&row.url).unwrap_or_default(),
        body: text(&row.body),
        sent_at: text(&row.sent_at).unwrap_or_default(),
        ended_at: text(&row.ended_at),
        failure: text(&row.failure),
        http_status: text(&row.http_status).and_then(|status| status.parse().ok()),
        error,
    };
    let is_text = row.id_is_text && cells(&tables::read(row.entry, &written)) == cells(&row);
    Kept { text: written, odd: (!is_text).then(|| Box::new(row)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NoText;
    use crate::store::exercise::{Asked, readable};
    use crate::store::{NewEvidence, RunStart};

    #[test]
    fn a_copy_says_what_the_store_says_and_leaves_it_as_it_is() {
        let mut store = MemoryStore::seeded(1, || Moment(1000));
        for (id, length) in [("a", 10), ("long", (1 << 20) + 1), ("gone", 0)] {
            let body = Some("x".repeat(length));
            let (failure, error) = (Some("intent".to_owned()), Some("oh".to_owned()));
            let row = WrittenRow { request_id: id.to_owned(), body, failure, error, ..WrittenRow::default() };
            store.write(&row).unwrap();
        }
        store.withdraw("gone").unwrap();
        store.set_word(Word::Server, "server").unwrap();
        store.put_keys(&[(1, 1), (2, 1)]).unwrap();
        let windows = crate::evidence::Windows::default();
        let run = RunStart {
            command: "run",
            started: Moment(1),
            plan: "p",
            plan_digest: "d",
            server: "s",
            windows: &windows,
        };
        let run = store.begin_run(&run).unwrap();
        let (doc, names) = ("doc".to_owned(), "names".to_owned());
        store.append(&NewEvidence { run, at: Moment(2), rules: 1, after: vec![], doc, names }).unwrap();
        store.share("text").unwrap();
        store.note(NoteKind::Permit, Moment(3), "note").unwrap();
        let asked = Asked { stamps: true, requests: vec!["a".to_owned()], ..Asked::default() };
        let all = |store: &MemoryStore| {
            let lines = readable(store, &asked).unwrap().into_iter();
            // The text of what is too long is the store's alone.
            lines.filter(|line| !line.starts_with("row 2: ")).collect::<Vec<_>>()
        };
        let before = all(&store);
        let mut copy = snapshot_of(&store).unwrap();
        assert_eq!(all(&copy), before);
        assert_eq!(copy.rows(&[2]).unwrap()[0].body, Err(NoText));
        copy.set_word(Word::Server, "other").unwrap();
        copy.withdraw("a").unwrap();
        assert_eq!(all(&store), before);
    }
}
