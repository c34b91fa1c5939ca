//! An entry as it stands in the ledger, before anything is understood of it.

use crate::clock::{Moment, Span};

/// An entry as a writer left it. Each optional cell is its text, nothing, or something that is no text.
#[derive(Clone, Debug)]
pub struct Row {
    /// `entries.id`.
    pub entry: i64,
    /// Counts the writer's changes of the row.
    pub revision: i64,
    /// As text, whatever it is.
    pub request_id: String,
    /// It is UTF-8 text: bytes that are not the same may look the same as text, and so name another attempt.
    pub id_is_text: bool,
    pub operation_id: Cell,
    pub direction: Cell,
    pub method: Cell,
    pub url: Cell,
    pub body: Cell,
    pub sent_at: Cell,
    pub ended_at: Cell,
    pub failure: Cell,
    pub http_status: Cell,
    /// When the row came, or the news of an intent, by the store's clock; `None`: nothing bears a stamp.
    pub arrived: Option<Moment>,
    /// How far the clock that dated it may be from the store's, where its source says so.
    pub clock_error: Option<Span>,
}

impl Row {
    /// A row without any cell but its id, the start of every row that does not come from the ledger: a new column is
    /// added here, and where it matters.
    pub fn blank(entry: i64, request_id: &str) -> Row {
        Row {
            entry,
            revision: 0,
            request_id: request_id.to_owned(),
            id_is_text: true,
            operation_id: Ok(None),
            direction: Ok(None),
            method: Ok(None),
            url: Ok(None),
            body: Ok(None),
            sent_at: Ok(None),
            ended_at: Ok(None),
            failure: Ok(None),
            http_status: Ok(None),
            arrived: None,
            clock_error: None,
        }
    }

    /// A request that timed out on 1 March 2026 at noon.
    #[cfg(test)]
    pub fn lost(request_id: &str, method: &str, url: &str, body: &str) -> Row {
        Row {
            method: text_cell(method),
            url: text_cell(url),
            body: text_cell(body),
            sent_at: text_cell("2026-03-01T12:00:00Z"),
            failure: text_cell("timeout"),
            ..Row::blank(1, request_id)
        }
    }

    /// The operation's id: the row's own id when it names none, or an empty one.
    pub fn operation(&self) -> &str {
        operation(&self.operation_id, &self.request_id)
    }
}

/// The operation's id, by an attempt's: its own id when it names none, or an empty one.
pub fn operation<'a>(operation_id: &'a Cell, request_id: &'a str) -> &'a str {
    cell(operation_id).filter(|id| !id.trim().is_empty()).unwrap_or(request_id)
}

/// A column's value: `Err` when it is neither NULL nor text.
pub type Cell = Result<Option<String>, NoText>;

/// A cell's text, if it is one.
pub(super) fn cell(cell: &Cell) -> Option<&str> {
    cell.as_ref().ok().and_then(|text| text.as_deref())
}

/// A cell that holds this text.
pub fn text_cell(text: &str) -> Cell {
    Ok(Some(text.to_owned()))
}

/// Bytes that are not UTF-8, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoText;
