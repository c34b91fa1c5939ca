//! The story of one entry: what was sent, what each look saw, what was decided, what to do. As text for reading and as
//! JSON, both masked alike.

use serde_json::{Map, Value, json};

use super::advice::to_do_for;
use super::columns::{Shown, action, columns, object, reason};
use super::screen::{Screen, Tone, printable};
use crate::clock::Moment;
use crate::evidence::{Effect, Look};
use crate::mask;
use crate::views::{Audience, Story, StoryLook, StoryVerdict};
use crate::words::{Control, Status};

/// Where the values of a story begin.
const INDENT: usize = 15;

/// The story as JSON: the report's row, then the facts, looks and verdicts behind it. Its keys are described in
/// `docs/JSON.md`.
pub fn story_json(story: &Story, pseudonym: Option<&str>) -> Map<String, Value> {
    let row = &story.row;
    let shown = Shown { pseudonym, ..Shown::default() };
    let mut shown = object(row, &columns(Audience::All, true, false), &shown);
    let facts = story.facts.as_ref();
    for (name, value) in [
        ("correction", row.correction.into()),
        ("to_do", to_do_for(action(row), row.reason).into()),
        ("direction", json!(facts.map(|facts| facts.direction))),
        ("ended_at", json!(facts.map(|facts| facts.ended.to_string()))),
        ("window", json!(facts.map(|facts| facts.window))),
        ("effects", effects(story).map(effect_json).collect()),
        ("looks", story.looks.iter().map(look_json).collect()),
        ("verdicts", story.verdicts.iter().map(verdict_json).collect()),
        ("shares_id_with", story.shares_id_with.iter().map(|id| mask::id(id)).collect()),
        ("removed", json!(story.blanked.as_ref().map(|(at, by)| json!({ "at": at.to_string(), "by": by })))),
    ] {
        shown.insert(name.to_owned(), value);
    }
    shown
}

fn effects(story: &Story) -> impl Iterator<Item = &Effect> {
    story.facts.iter().flat_map(|facts| &facts.effects)
}

fn effect_json(effect: &Effect) -> Value {
    json!({
        "name": effect.name,
        "kind": effect.kind,
        "lookup": effect.lookup,
        "found_by": effect.found_by,
    })
}

fn look_json(shown: &StoryLook) -> Value {
    let look = &shown.look;
    let time = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
    let records = look.records.iter().map(|record| {
        let fields = record.fields.iter().map(|(name, compared)| (name.clone(), json!(compared)));
        json!({
            "id": record.id.as_deref().map(mask::id),
            "made_at": time(record.made),
            "changed_at": time(record.changed),
            "fields": fields.collect::<Map<_, _>>(),
        })
    });
    json!({
        "run": shown.run,
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
        "near_control": look.near,
        "fields_control": look.fields,
    })
}

fn verdict_json(verdict: &StoryVerdict) -> Value {
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

/// The story as text.
pub fn story_text(story: &Story, pseudonym: Option<&str>, screen: &Screen) -> String {
    let row = &story.row;
    let cells: Vec<(&str, String)> = columns(Audience::All, pseudonym.is_some(), false)
        .into_iter()
        .map(|column| {
            let shown = Shown { pseudonym, ..Shown::default() };
            (column.name, printable(&(column.of)(row, &shown).text()).into_owned())
        })
        .collect();
    let cell = |name: &str| cells.iter().find(|(of, _)| *of == name).map_or("", |(_, cell)| cell.as_str());
    let mut page = Page { text: String::new(), screen };
    let of = if cell("operation_id") == cell("request_id") {
        String::new()
    } else {
        format!(" of operation {}", cell("operation_id"))
    };
    page.text.push_str(&format!("{}{of}\n", screen.paint(Tone::Strong, cell("request_id"))));
    if !story.shares_id_with.is_empty() {
        let others: Vec<String> = story.shares_id_with.iter().map(|id| mask::id(id)).collect();
        page.line("", &format!("the id was given to other requests, too: {}", others.join(", ")), Some(Tone::Open));
    }
    page.line("operation", cell("operation"), None);
    page.line("request", &format!("{} {}", cell("method"), cell("path")), None);
    page.line("subject", cell("subject"), None);
    page.line("pseudonym", cell("pseudonym"), None);
    page.line("sent", cell("sent_at"), None);
    page.line("failure", [cell("failure"), cell("http_status")].join(" ").trim(), None);
    for effect in effects(story) {
        let by = match &effect.found_by {
            Some(by) => format!("looked up by {by}"),
            None => "nothing to look it up by".to_owned(),
        };
        page.line("effect", &format!("{}, {by}", effect.name), None);
    }
    for shown in &story.looks {
        page.line("look", &look_text(story, shown), Some(Tone::Quiet));
    }
    for verdict in &story.verdicts {
        page.verdict(verdict);
    }
    if row.status == Status::Pending {
        page.line("pending", &format!("{} → {}", reason(row), action(row)), Some(Tone::Open));
        page.line("not before", cell("not_before"), None);
        page.line("", cell("explanation"), None);
    }
    if let Some((at, command)) = &story.blanked {
        page.line("removed", &format!("its personal fields, at {at} by `{command}`"), None);
    }
    page.line("to do", to_do_for(action(row), row.reason), Some(Tone::Strong));
    page.text
}

fn look_text(story: &Story, shown: &StoryLook) -> String {
    let look = &shown.look;
    let ids: Vec<String> = look.records.iter().filter_map(|record| record.id.as_deref().map(mask::id)).collect();
    let fields = look.records.iter().flat_map(|record| &record.fields);
    let fields: Vec<String> = fields.map(|(name, compared)| format!("{name} {compared}")).collect();
    let what = [
        look.cause.clone().unwrap_or_default(),
        ids.join(", "),
        fields.join(", "),
        look.state.clone().unwrap_or_default(),
    ];
    let what = what.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    let what = if what.is_empty() { what } else { format!(" ({what})") };
    let near = if look.near == Control::Missing { String::new() } else { format!(", near key {}", look.near) };
    let controls = format!("controls: known key {}, random key {}{near}", look.known, look.random);
    format!("{} run {} {}: {}{what} [{controls}]", look.asked, shown.run, name_of(story, look), look.seen)
}

fn name_of(story: &Story, look: &Look) -> String {
    effects(story).nth(look.effect).map_or_else(|| format!("effect {}", look.effect), |effect| effect.name.clone())
}

/// A text under way.
struct Page<'a> {
    text: String,
    screen: &'a Screen,
}

impl Page<'_> {
    /// A value with its name before it; nothing when there is no value.
    fn line(&mut self, name: &str, value: &str, tone: Option<Tone>) {
        if value.is_empty() {
            return;
        }
        let mut name = name;
        for part in self.screen.wrapped(&printable(value), INDENT) {
            let part = tone.map_or_else(|| part.as_str().into(), |tone| self.screen.paint(tone, &part));
            let name = format!("{:<12}", std::mem::take(&mut name));
            self.text.push_str(&format!("  {} {part}\n", self.screen.paint(Tone::Quiet, &name)));
        }
    }

    fn verdict(&mut self, verdict: &StoryVerdict) {
        let loud = if verdict.correction { "CORRECTION " } else { "" };
        let tone = match verdict.status.as_str() {
            _ if verdict.correction => Tone::Bad,
            "resolved" => Tone::Good,
            "duplicate-risk" => Tone::Bad,
            _ => Tone::Open,
        };
        let StoryVerdict { run, decided, status, outcome, reason, action, .. } = verdict;
        let text = format!("{loud}{decided} run {run}: {status} · {outcome} · {reason} → {action}");
        self.line("verdict", &text, Some(tone));
        self.line("", &verdict.explanation, None);
    }
}
