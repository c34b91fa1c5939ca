//! A table for terminals: as many columns as the terminal is wide, the most needed first. Rows stream: the first ones say
//! how wide the columns are.

use std::io::Write;

use anyhow::Result;

use super::columns::{Column, Shown};
use super::screen::{pad, printable, width_of, wrap};
use crate::views::ReportRow;

/// As many rows are seen before the columns' widths are set.
const SEEN_FIRST: usize = 500;

/// Between two columns.
const GAP: usize = 2;

/// No column but the last is wider; what does not fit goes on in the next line.
const WIDEST: usize = 26;

/// The last column needs at least this much, or is left out.
const PROSE: usize = 40;

/// In the order in which they earn their place; a report has those of them that it has.
const PREFERRED: &[&str] = &[
    "request_id",
    "status",
    "reason",
    "action",
    "operation",
    "sent_at",
    "server_id",
    "found_ids",
    "subject",
    "pseudonym",
    "attempts",
    "failure",
    "http_status",
    "explanation",
];

/// A table under way.
pub struct Table<W: Write> {
    output: W,
    width: usize,
    columns: Vec<&'static Column>,
    /// Rows that wait for the widths.
    first: Vec<Vec<String>>,
    /// How wide each column is, once that is set; fewer than `columns` when not all have room.
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl<W: Write> Table<W> {
    pub(super) fn new(output: W, columns: Vec<&'static Column>, width: usize) -> Table<W> {
        let found = |name: &&str| columns.iter().copied().find(|column| column.name == *name);
        let columns = PREFERRED.iter().filter_map(found).collect();
        Table { output, width, columns, first: Vec::new(), widths: None, rows: 0 }
    }

    pub(super) fn add(&mut self, row: &ReportRow, shown: &Shown) -> Result<()> {
        let cells: Vec<String> =
            self.columns.iter().map(|column| printable(&(column.of)(row, shown).text()).into_owned()).collect();
        self.rows += 1;
        if self.widths.is_some() {
            return self.write(&cells);
        }
        self.first.push(cells);
        if self.first.len() < SEEN_FIRST { Ok(()) } else { self.set_widths() }
    }

    pub(super) fn end(mut self) -> Result<()> {
        if self.widths.is_none() {
            self.set_widths()?;
        }
        let what = if self.rows == 1 { "row" } else { "rows" };
        writeln!(self.output, "{} {what}", self.rows)?;
        Ok(self.output.flush()?)
    }

    /// Sets the widths, and writes the head and what has waited.
    fn set_widths(&mut self) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        let mut widths = Vec::new();
        let mut left = self.width;
        let mut kept = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let prose = column.name == "explanation";
            let cells = first.iter().map(|cells| width_of(&cells[index]));
            let needed = cells.chain([width_of(column.name)]).max().unwrap_or(0);
            let wanted = if prose { needed.max(PROSE) } else { needed.min(WIDEST) };
            let room = left.saturating_sub(if index == 0 { 0 } else { GAP });
            let width = if prose || index == 0 { wanted.min(room) } else { wanted };
            // Nothing to show in any of them: the place is better used.
            if !first.is_empty() && first.iter().all(|cells| cells[index].is_empty()) {
                continue;
            }
            if width > room || prose && room < PROSE {
                break;
            }
            left = room - width;
            widths.push(width.max(1));
            kept.push(index);
        }
        let names = self.columns.iter().map(|column| column.name.to_owned()).collect::<Vec<_>>();
        let of_kept = |cells: &[String]| kept.iter().map(|index| cells[*index].clone()).collect::<Vec<_>>();
        let rules = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>();
        self.columns = kept.iter().map(|index| self.columns[*index]).collect();
        self.widths = Some(widths);
        self.write(&of_kept(&names))?;
        self.write(&rules)?;
        first.iter().try_for_each(|cells| self.write(&of_kept(cells)))
    }

    fn write(&mut self, cells: &[String]) -> Result<()> {
        let Some(widths) = &self.widths else { return Ok(()) };
        let cells: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let lines = cells.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..lines {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let part = cell.get(number).map_or("", String::as_str);
                line.push_str(&pad(part, width + GAP));
            }
            writeln!(self.output, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
