//! One event as a line: for people, or as JSON.

use std::fmt::Debug;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::clock::Moment;

/// The field that holds a whole document, as JSON text; only JSON and the journal show it.
const SUMMARY: &str = "summary";

/// One event.
pub struct Line {
    pub at: Moment,
    pub level: Level,
    /// Its kind, a stable word.
    pub event: Option<String>,
    pub run: Option<i64>,
    pub message: String,
    /// In the order in which they were given.
    pub fields: Vec<(&'static str, Value)>,
}

/// The run that a span is about.
#[derive(Default)]
pub struct RunField {
    pub run: Option<i64>,
}

impl Visit for RunField {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "run" {
            self.run = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Line {
    /// Reads an event that came up within this run.
    pub fn new(event: &Event<'_>, run: Option<i64>, at: Moment) -> Line {
        let level = *event.metadata().level();
        let mut line = Line { at, level, event: None, run, message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        line
    }

    /// The level as a word.
    pub fn level_text(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        }
    }

    /// As a command says it to a person.
    pub fn plain(&self) -> String {
        format!("privo-reconcile: {}\n", self.message)
    }

    /// As a line of a log that tells more than what a person must hear of.
    pub fn text(&self) -> String {
        let mut text = format!("{} {:<5} privo-reconcile: {}", self.at, self.level_text(), self.message);
        if let Some(run) = self.run {
            text.push_str(&format!(" run={run}"));
        }
        for (name, value) in self.fields.iter().filter(|(name, _)| *name != SUMMARY) {
            text.push_str(&format!(" {name}={value}"));
        }
        text.push('\n');
        text
    }

    /// As a JSON object.
    pub fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), json!(self.at.to_string()));
        object.insert("level".to_owned(), json!(self.level_text()));
        object.insert("event".to_owned(), json!(self.event));
        object.insert("run".to_owned(), json!(self.run));
        object.insert("message".to_owned(), json!(self.message));
        for (name, value) in &self.fields {
            let whole = value.as_str().filter(|_| *name == SUMMARY).and_then(|text| serde_json::from_str(text).ok());
            object.insert((*name).to_owned(), whole.unwrap_or_else(|| value.clone()));
        }
        format!("{}\n", Value::Object(object))
    }

    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("event", Value::String(text)) => self.event = Some(text),
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, json!(format!("{value:?}")));
    }
}
