//! What people said beside the entries: who closed, who was shown what and for which purpose, who approved and who had
//! something removed, where a file stood. A person who is forgotten is named there no more.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Ledger;
use super::form::{self, Names};
use crate::clock::Moment;
use crate::plan::subject::Subject;
use crate::store::NoteKind;

/// Notes that bear words of people.
const SAID: [NoteKind; 3] = [NoteKind::Disclosure, NoteKind::Approval, NoteKind::Erasure];

/// How a closing begins.
const CLOSED: &str = "closed by ";

impl Ledger {
    /// Takes the words that name the subject out of what people said. There are few of them: it is one short transaction.
    pub(super) fn forget_in_notes(&mut self, subject: &Subject) -> Result<()> {
        let (notes, closings) = (self.notes_naming(subject)?, self.closings_naming(subject)?);
        self.in_turn(|store| {
            for (id, doc) in &notes {
                store.rewrite_note(*id, doc)?;
            }
            for (evidence, names) in &closings {
                store.rename(*evidence, names)?;
            }
            store.rename_files(&|file| subject.is_named_in(file).then(|| subject.removed_from(file)))
        })
    }

    fn notes_naming(&self, subject: &Subject) -> Result<Vec<(i64, String)>> {
        let mut found = Vec::new();
        for kind in SAID {
            for note in self.store.notes(kind, Moment(i64::MIN))? {
                let doc: Value = serde_json::from_str(&note.doc).context("failed to read a note")?;
                let left = left_of(doc.clone(), subject);
                if left != doc {
                    found.push((note.id, left.to_string()));
                }
            }
        }
        Ok(found)
    }

    /// Who closed an entry is no word about the entry, which stays as it is.
    fn closings_naming(&self, subject: &Subject) -> Result<Vec<(i64, String)>> {
        let mut found = Vec::new();
        self.store.each_evidence(&mut |evidence| {
            if !evidence.row.names.contains(CLOSED) {
                return Ok(());
            }
            let mut names = Names::read(&evidence.row.names)?;
            let before = names.clone();
            for said in form::uses(&evidence.row.doc)?.iter().filter_map(|uses| uses.words) {
                let Some(text) = &mut names.texts[said] else { continue };
                let Some((who, rest)) = text.strip_prefix(CLOSED).and_then(|said| said.split_once(": ")) else {
                    continue;
                };
                if subject.is_named_in(who) {
                    *text = format!("{CLOSED}{}: {rest}", subject.removed_from(who));
                }
            }
            if names != before {
                found.push((evidence.id, names.to_json()?));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// A document whose texts name the subject no more.
fn left_of(value: Value, subject: &Subject) -> Value {
    match value {
        Value::String(text) if subject.is_named_in(&text) => Value::String(subject.removed_from(&text)),
        Value::Array(items) => items.into_iter().map(|item| left_of(item, subject)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, item)| (name, left_of(item, subject))).collect())
        }
        other => other,
    }
}
