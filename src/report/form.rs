//! Forms: how rows become text. CSV (RFC 4180, UTF-8) that no spreadsheet runs, JSON lines with values exactly as they are,
//! and the [`table`](super::table) for terminals.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::columns::{Column, Shown};
use super::page::{Behind, Page};
use super::table::Table;
use crate::views::ReportRow;

/// In which form a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For spreadsheets and scripts
    Csv,
    /// One JSON object per row, values exactly as they are
    Jsonl,
    /// One page for people, to open in a browser
    Html,
    /// For reading on a terminal; as many columns as it is wide
    Table,
}

impl Format {
    /// By the file's extension; CSV where it says nothing.
    pub fn of_file(file: &Path) -> Format {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some(extension) if extension.eq_ignore_ascii_case("jsonl") => Format::Jsonl,
            Some(extension) if ["html", "htm"].iter().any(|of| extension.eq_ignore_ascii_case(of)) => Format::Html,
            _ => Format::Csv,
        }
    }
}

/// A report under way: rows go in, text comes out.
pub enum Output<W: Write> {
    Csv(Box<csv::Writer<W>>, Vec<&'static Column>),
    Jsonl(W, Vec<&'static Column>),
    Page(W, Box<Page>),
    Table(Table<W>),
}

impl<W: Write> Output<W> {
    /// Begins a report in this form, with these columns. `excel` puts the mark in front by which Excel knows UTF-8 (CSV
    /// only); `width` is a terminal's, in columns (tables only).
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn begin(
        mut output: W,
        format: Format,
        columns: Vec<&'static Column>,
        excel: bool,
        width: usize,
    ) -> Result<Output<W>> {
        Ok(match format {
            Format::Csv => {
                if excel {
                    output.write_all("\u{feff}".as_bytes())?;
                }
                let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(output);
                writer.write_record(columns.iter().map(|column| column.name))?;
                Output::Csv(Box::new(writer), columns)
            }
            Format::Jsonl => Output::Jsonl(output, columns),
            Format::Html => Output::Page(output, Box::new(Page::new(columns))),
            Format::Table => Output::Table(Table::new(output, columns, width)),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn add(&mut self, row: &ReportRow, shown: &Shown) -> Result<()> {
        match self {
            Output::Csv(writer, columns) => {
                for column in columns.iter() {
                    writer.write_field(harmless(&(column.of)(row, shown).text()).as_bytes())?;
                }
                Ok(writer.write_record(None::<&[u8]>)?)
            }
            Output::Jsonl(output, columns) => write_line(output, columns, row, shown),
            Output::Page(_, page) => page.add(row, shown),
            Output::Table(table) => table.add(row, shown),
        }
    }

    /// Ends the report: all of it has left. A page tells what stands behind it; of the other forms the meta data do.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn end(self, behind: &Behind) -> Result<()> {
        match self {
            Output::Csv(mut writer, _) => Ok(writer.flush()?),
            Output::Jsonl(mut output, _) => Ok(output.flush()?),
            Output::Page(mut output, page) => page.end(&mut output, behind),
            Output::Table(table) => table.end(),
        }
    }
}

/// One row as a JSON object, its keys in the order of the columns.
fn write_line(output: &mut impl Write, columns: &[&Column], row: &ReportRow, shown: &Shown) -> Result<()> {
    for (number, column) in columns.iter().enumerate() {
        let before = if number == 0 { '{' } else { ',' };
        write!(output, "{before}\"{}\":{}", column.name, (column.of)(row, shown).json())?;
    }
    Ok(output.write_all(b"}\n")?)
}

/// A cell that no spreadsheet runs: one that could be a formula gets a leading apostrophe.
pub fn harmless(cell: &str) -> Cow<'_, str> {
    let starts_formula = |text: &str| text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let runs = cell.starts_with(['\t', '\r', '\n']) || starts_formula(cell.trim_start_matches(unseen));
    if runs { format!("'{cell}").into() } else { cell.into() }
}

/// What a spreadsheet may drop or not show in front of a formula: white space, control and format characters.
fn unseen(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_could_run_gets_an_apostrophe_and_no_other_changes() {
        for cell in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "  =1",
            "\n1",
            "＝1+1",
            "\0=1",
            "\u{feff}=1",
            "\u{202e}=1",
            "\u{a0}+1",
        ] {
            assert_eq!(harmless(cell), format!("'{cell}"));
        }
        for cell in ["", "a=b", "2026-01-01", "'=1", "Ann", "123456789012345678901", "\u{202e}abc", "\"=1\""] {
            assert_eq!(harmless(cell), cell);
        }
    }

    #[test]
    fn the_form_follows_from_the_files_name() {
        assert_eq!(Format::of_file(Path::new("a/b.JSONL")), Format::Jsonl);
        for name in ["-", "report", "report.csv", "jsonl", "report.txt"] {
            assert_eq!(Format::of_file(Path::new(name)), Format::Csv);
        }
    }
}
