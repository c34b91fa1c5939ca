//! The story of one entry as JSON: what was read of it, every look with its controls, every verdict. Masked as the
//! report is.

use serde_json::{Value, json};

use super::cells_of;
use crate::clock::Moment;
use crate::mask;
use crate::standing::{Story, StoryLook, StoryVerdict};

/// The story as a JSON object; its keys are described in `docs/JSON.md`.
pub fn story(story: &Story) -> Value {
    let row = &story.row;
    let mut told = cells_of(row, None);
    let facts = row.facts.as_ref();
    let effects = facts.iter().flat_map(|facts| &facts.effects).map(|effect| {
        json!({
            "name": effect.name,
            "kind": effect.kind,
            "lookup": effect.lookup,
            "found_by": effect.found_by,
        })
    });
    told.insert("direction".to_owned(), json!(facts.map(|facts| facts.direction)));
    told.insert("ended_at".to_owned(), json!(facts.map(|facts| facts.ended.to_string())));
    told.insert("window".to_owned(), json!(facts.map(|facts| facts.window)));
    told.insert("effects".to_owned(), effects.collect());
    told.insert("looks".to_owned(), story.looks.iter().map(look).collect());
    told.insert("verdicts".to_owned(), story.verdicts.iter().map(verdict).collect());
    Value::Object(told)
}

fn look(told: &StoryLook) -> Value {
    let look = &told.look;
    let time = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
    let records = look.records.iter().map(|record| {
        let fields = record.fields.iter().map(|(name, compared)| (name.clone(), json!(compared)));
        json!({
            "id": record.id.as_deref().map(mask::id),
            "made_at": time(record.made),
            "changed_at": time(record.changed),
            "fields": fields.collect::<serde_json::Map<_, _>>(),
        })
    });
    json!({
        "run": told.run,
        "effect": look.effect,
        "asked_at": look.asked.to_string(),
        "answered_at": look.answered.to_string(),
        "server_date": time(look.server),
        "seen": look.seen,
        "cause": look.cause,
        "records": records.collect::<Vec<_>>(),
        "state": look.state,
        "known_control": look.known,
        "random_control": look.random,
    })
}

fn verdict(verdict: &StoryVerdict) -> Value {
    json!({
        "run": verdict.run,
        "decided_at": verdict.decided.to_string(),
        "status": verdict.status,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "action": verdict.action,
        "explanation": verdict.explanation,
        "correction": verdict.correction,
    })
}
