//! Entries as a partner's writer records them.

use privo_reconcile::clock::{Moment, Span};
use rusqlite::Connection;
use rusqlite::types::Value;

/// A row of `entries` to be.
#[derive(Clone, Debug)]
pub struct Entry(Vec<(String, Value)>);

impl Entry {
    /// A request of a minute ago that timed out.
    pub fn new(request_id: &str, method: &str, url: &str) -> Entry {
        let sent = Moment::now() + Span::seconds(-60);
        Entry(Vec::new())
            .with("request_id", request_id.to_owned())
            .with("method", method.to_owned())
            .with("url", url.to_owned())
            .failure("timeout")
            .sent(sent)
    }

    /// A registration by email at a platform.
    pub fn register(request_id: &str, base: &str, email: &str) -> Entry {
        Entry::new(request_id, "POST", &format!("{base}/api/v1.0/account"))
            .body(&format!(r#"{{"email":"{email}","first_name":"Ann","birth_date_yyyymmdd":"19900102"}}"#))
    }

    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Entry {
        self.0.retain(|(name, _)| name != column);
        self.0.push((column.to_owned(), value.into()));
        self
    }

    pub fn body(self, body: &str) -> Entry {
        self.with("body", body.to_owned())
    }

    pub fn operation(self, id: &str) -> Entry {
        self.with("operation_id", id.to_owned())
    }

    pub fn failure(self, failure: &str) -> Entry {
        self.with("failure", failure.to_owned())
    }

    pub fn http(self, status: u16) -> Entry {
        self.failure("http").with("http_status", i64::from(status))
    }

    pub fn answered(self, status: u16) -> Entry {
        self.failure("answered").with("http_status", i64::from(status))
    }

    pub fn sent(self, at: Moment) -> Entry {
        self.with("sent_at", at.to_string())
    }

    pub fn ended(self, at: Moment) -> Entry {
        self.with("ended_at", at.to_string())
    }

    /// The INSERT of a writer who has nothing but a shell of the database.
    pub fn sql(&self, table: &str) -> String {
        let literal = |value: &Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
            other => panic!("no writer writes {other:?}"),
        };
        let (names, values): (Vec<_>, Vec<_>) =
            self.0.iter().map(|(name, value)| (name.clone(), literal(value))).unzip();
        format!("INSERT INTO {table} ({}) VALUES ({});", names.join(", "), values.join(", "))
    }

    pub fn text(&self, column: &str) -> String {
        let found = self.0.iter().find(|(name, _)| name == column);
        match found {
            Some((_, Value::Text(text))) => text.clone(),
            _ => String::new(),
        }
    }

    pub fn method(&self) -> String {
        self.text("method")
    }

    pub fn path(&self) -> String {
        let url = self.text("url");
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        rest[rest.find('/').unwrap_or(rest.len())..].to_owned()
    }

    pub fn insert(&self, db: &Connection) -> rusqlite::Result<usize> {
        for column in ["url", "body", "error"] {
            super::leaks::note(&self.text(column));
        }
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let values = self.0.iter().map(|(_, value)| value);
        db.execute(
            &format!("INSERT INTO entries ({}) VALUES ({marks})", names.join(", ")),
            rusqlite::params_from_iter(values),
        )
    }
}
