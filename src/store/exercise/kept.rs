//! Words, evidence, shared texts, runs, notes and imports: what is kept for good.

use anyhow::{Context, Result};

use super::{at, begin_run, evidence, holds, same, within};
use crate::evidence::Windows;
use crate::store::{
    Evidence, Import, Imported, Known, Mark, NewEvidence, Note, NoteKind, RunEnd, Store, StoredRun, Word,
};

/// A word of the ledger's own is what was set last, and none before.
pub fn a_word_is_what_was_set_last(store: &mut dyn Store) -> Result<()> {
    for word in Word::ALL {
        same(store.word(word)?, None)?;
        within(store, |store| store.set_word(word, "before"))?;
        within(store, |store| store.set_word(word, word.text()))?;
    }
    for word in Word::ALL {
        same(store.word(word)?.as_deref(), Some(word.text()))?;
    }
    Ok(())
}

fn all_evidence(store: &dyn Store) -> Result<Vec<Evidence>> {
    let mut all = Vec::new();
    store.each_evidence(&mut |evidence| {
        all.push(evidence);
        Ok(())
    })?;
    Ok(all)
}

/// Evidence is appended with growing ids, and each row comes back as it was given: to the letter of its texts, with what it
/// follows in the order that was said.
pub fn evidence_is_appended_and_kept_in_order(store: &mut dyn Store) -> Result<()> {
    same(store.last_evidence()?, 0)?;
    let run = within(store, |store| begin_run(store, at(0)))?;
    let mut kept: Vec<Evidence> = Vec::new();
    for (doc, names) in [("{\"b\":1, \"a\": \"ü\"}", "{\"k0\":\"é'\\\"\"}"), ("", ""), ("{\"b\":1,\"b\":2}", "[]")] {
        let after: Vec<i64> = kept.iter().rev().map(|evidence| evidence.id).collect();
        let row = evidence(run, &after, doc, names);
        let id = within(store, |store| store.append(&row))?;
        holds(id > 0 && kept.last().is_none_or(|last| id > last.id))?;
        same(store.last_evidence()?, id)?;
        kept.push(Evidence { id, row });
    }
    let ids: Vec<i64> = kept.iter().map(|evidence| evidence.id).collect();
    same(all_evidence(store)?, kept.clone())?;
    same(store.evidence(&[ids[2], ids[2] + 1000, ids[0], ids[2]])?, vec![kept[0].clone(), kept[2].clone()])?;
    same(store.evidence(&[])?, Vec::new())
}

/// A rename changes the names of its evidence, and nothing else of that or of other evidence.
pub fn a_rename_changes_the_names_of_its_evidence_only(store: &mut dyn Store) -> Result<()> {
    let run = within(store, |store| begin_run(store, at(0)))?;
    let first = within(store, |store| store.append(&evidence(run, &[], "one", "k0=a")))?;
    let other = within(store, |store| store.append(&evidence(run, &[first], "two", "k0=a")))?;
    let before = store.evidence(&[first, other])?;
    within(store, |store| store.rename(first, ""))?;
    let renamed = NewEvidence { names: String::new(), ..before[0].row.clone() };
    same(all_evidence(store)?, vec![Evidence { id: first, row: renamed }, before[1].clone()])
}

/// A text that is shared again has the id that it had, and texts that differ have ids of their own.
pub fn a_text_is_shared_under_one_id(store: &mut dyn Store) -> Result<()> {
    let texts = ["", "a", "A", "a ", "ä", &"long ".repeat(2000)];
    let share = |store: &mut dyn Store| -> Result<Vec<i64>> { texts.iter().map(|text| store.share(text)).collect() };
    let ids = within(store, share)?;
    same(within(store, share)?, ids.clone())?;
    let mut sorted: Vec<(i64, String)> = ids.iter().copied().zip(texts.map(str::to_owned)).collect();
    sorted.sort_unstable();
    sorted.dedup_by_key(|(id, _)| *id);
    same(sorted.len(), texts.len())?;
    let mut shared = store.shared(&ids)?;
    shared.sort_unstable();
    same(&shared, &sorted)?;
    same(store.shared(&[ids[1]])?, vec![(ids[1], "a".to_owned())])?;
    let none = ids.iter().max().context("nothing was shared")? + 1000;
    same(store.shared(&[none])?, Vec::new())?;
    let mut all = Vec::new();
    store.each_shared(&mut |id, text| {
        all.push((id, text.to_owned()));
        Ok(())
    })?;
    same(all, sorted)
}

/// A run is what it began as; it has no end until it ends, and no exit code until that is noted.
pub fn a_run_is_what_it_began_as_and_ended_with(store: &mut dyn Store) -> Result<()> {
    let run = within(store, |store| begin_run(store, at(0)))?;
    let other = within(store, |store| begin_run(store, at(1)))?;
    let mut should = StoredRun {
        id: run.0,
        command: "run".to_owned(),
        started: at(0),
        ended: None,
        exit: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: "privo-gateway".to_owned(),
        plan_digest: "0123".to_owned(),
        server: "https://server.example".to_owned(),
        windows: Windows::default(),
        end: RunEnd::default(),
    };
    same(store.run(run.0)?, Some(should.clone()))?;
    should.end = RunEnd {
        examined: 1,
        requests: 2,
        settled: 3,
        deferred: 4,
        controls: "{\"a\": {}}".to_owned(),
        trouble: Some("the server could not be reached".to_owned()),
    };
    should.ended = Some(at(9));
    within(store, |store| store.end_run(run, at(9), &should.end))?;
    same(store.run(run.0)?, Some(should.clone()))?;
    within(store, |store| store.note_exit(run, 143))?;
    should.exit = Some(143);
    same(store.run(run.0)?, Some(should))?;
    let other = store.run(other.0)?.context("a run is gone")?;
    holds(other.ended.is_none() && other.exit.is_none() && other.end == RunEnd::default())?;
    same(store.run(other.id + 1000)?, None)
}

/// Runs have growing ids, and are given from the last one on until it is enough.
pub fn runs_are_given_from_the_last_one_on(store: &mut dyn Store) -> Result<()> {
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(within(store, |store| begin_run(store, at(10 - n)))?.0);
    }
    holds(ids.is_sorted_by(|one, next| one < next))?;
    ids.reverse();
    let mut given = Vec::new();
    store.each_run(&mut |run| {
        given.push(run.id);
        Ok(true)
    })?;
    same(&given, &ids)?;
    given.clear();
    store.each_run(&mut |run| {
        given.push(run.id);
        Ok(given.len() < 2)
    })?;
    same(given, ids[..2].to_vec())
}

/// Notes of a kind are given from a moment on, in order, as they were noted; only a rewrite changes one, and only its text.
pub fn notes_are_kept_by_kind_and_time(store: &mut dyn Store) -> Result<()> {
    let mut last = 0;
    let mut note = |store: &mut dyn Store, kind, ms, doc: &str| -> Result<Note> {
        let id = within(store, |store| store.note(kind, at(ms), doc))?;
        holds(id > last)?;
        last = id;
        Ok(Note { id, at: at(ms), doc: doc.to_owned() })
    };
    let first = note(store, NoteKind::Report, 1, "{\"b\":1, \"a\":2}")?;
    let second = note(store, NoteKind::Report, 5, "second")?;
    let third = note(store, NoteKind::Report, 5, "third")?;
    for kind in NoteKind::ALL.into_iter().filter(|kind| *kind != NoteKind::Report) {
        let other = note(store, kind, 3, kind.text())?;
        same(store.notes(kind, at(0))?, vec![other])?;
    }
    same(store.notes(NoteKind::Report, at(0))?, vec![first.clone(), second.clone(), third.clone()])?;
    same(store.notes(NoteKind::Report, at(5))?, vec![second.clone(), third.clone()])?;
    same(store.notes(NoteKind::Report, at(6))?, Vec::new())?;
    within(store, |store| store.rewrite_note(second.id, ""))?;
    same(store.notes(NoteKind::Report, at(1))?, vec![first, Note { doc: String::new(), ..second }, third])
}

/// An import that begins with a file of this name, as far as this.
fn import(file: &str, mapping: u8, bytes: u64) -> Import {
    Import {
        id: None,
        known: Known { file: file.to_owned(), mapping: [mapping; 16], head_bytes: 4096, head: [2; 16] },
        mark: Mark { bytes, lines: bytes / 10 },
        tail: [u8::MAX; 16],
        counts: Imported { imported: 1, duplicates: 2, left_out: 3, rejected: 4 },
    }
}

/// Of two imports of one file, only one goes on from where both saw it stand.
pub fn of_two_imports_of_one_file_one_goes_on(store: &mut dyn Store) -> Result<()> {
    let mut one = import("a.csv", 1, 100);
    one.id = within(store, |store| store.put_import(&one, Mark::default(), at(0)))?;
    holds(one.id.is_some())?;
    let was = one.mark;
    let moved = Import {
        mark: Mark { bytes: 200, lines: 20 },
        tail: [7; 16],
        counts: Imported { imported: 5, ..one.counts },
        ..one.clone()
    };
    same(within(store, |store| store.put_import(&moved, was, at(1)))?, one.id)?;
    let late = Import { mark: Mark { bytes: 300, lines: 30 }, ..one.clone() };
    same(within(store, |store| store.put_import(&late, was, at(2)))?, None)?;
    same(store.imports(&[1; 16])?, vec![moved.clone()])?;
    // Back to where it stood: what was read since is not recorded.
    same(within(store, |store| store.put_import(&one, moved.mark, at(3)))?, one.id)?;
    same(store.imports(&[1; 16])?, vec![one.clone()])?;
    let id = one.id.context("it is stored")?;
    within(store, |store| store.drop_import(id))?;
    same(store.imports(&[1; 16])?, Vec::new())?;
    same(within(store, |store| store.put_import(&moved, one.mark, at(4)))?, None)
}

/// Imports through a mapping are given, the furthest first; those through another one are not.
pub fn imports_are_found_by_their_mapping_the_furthest_first(store: &mut dyn Store) -> Result<()> {
    let mut stored = Vec::new();
    for (file, mapping, bytes) in [("a", 1, 10), ("b", 1, 30), ("c", 2, 40), ("d", 1, 20)] {
        let mut import = import(file, mapping, bytes);
        import.id = within(store, |store| store.put_import(&import, Mark::default(), at(0)))?;
        stored.push(import);
    }
    let [a, b, c, d] = <[Import; 4]>::try_from(stored).ok().context("four were stored")?;
    same(store.imports(&[1; 16])?, vec![b, d, a])?;
    same(store.imports(&[2; 16])?, vec![c])?;
    same(store.imports(&[3; 16])?, Vec::new())
}

/// Records without an id are counted for each import, and forgotten with it.
pub fn records_are_counted_for_each_import(store: &mut dyn Store) -> Result<()> {
    let mut ids = Vec::new();
    for file in ["a", "b"] {
        let id = within(store, |store| store.put_import(&import(file, 1, 10), Mark::default(), at(0)))?;
        ids.push(id.context("a new import is stored")?);
    }
    let seen = |store: &dyn Store| -> Result<Vec<i64>> {
        let of = |id: &i64| [1, 2].map(|record| store.seen_in_import(*id, &[record; 16]));
        ids.iter().flat_map(of).collect()
    };
    same(seen(store)?, vec![0; 4])?;
    within(store, |store| {
        store.set_seen_in_import(ids[0], &[1; 16], 1)?;
        store.set_seen_in_import(ids[0], &[1; 16], 2)?;
        store.set_seen_in_import(ids[1], &[2; 16], 3)
    })?;
    same(seen(store)?, vec![2, 0, 0, 3])?;
    within(store, |store| store.drop_import(ids[0]))?;
    same(seen(store)?, vec![0, 0, 0, 3])
}
