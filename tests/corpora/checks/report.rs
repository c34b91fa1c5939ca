//! Any values in a row of the report: CSV gives every cell back, but for the apostrophe; no spreadsheet runs one; JSON
//! gives all of it back; a table tells a terminal nothing; a page stays one. Parts: the texts of one row after the other.

use privo_reconcile::clock::Moment;
use privo_reconcile::plan::{Reader, Row, text_cell};
use privo_reconcile::report::{Behind, Changed, Column, Format, Output, Shown, columns, object};
use privo_reconcile::views::{Audience, Filter, ReportRow};
use privo_reconcile::words::{Action, Outcome, Reason, Status};

use super::{parts, reader};

/// The texts of one row.
const TEXTS: usize = 12;

pub fn check(data: &[u8]) {
    let texts: Vec<Option<String>> =
        parts(data).take(4 * TEXTS).map(|part| part.map(|bytes| String::from_utf8_lossy(bytes).into_owned())).collect();
    let rows: Vec<ReportRow> = texts.chunks(TEXTS).map(|texts| row(&reader(0), texts)).collect();
    let pseudonym = texts.get(9).cloned().flatten();
    // One reader of the report for each input, for a page takes long.
    let audience = [Audience::All, Audience::Support, Audience::Resend][data.len() % 3];
    let in_full = data.len().is_multiple_of(2);
    let subject = texts.get(8).cloned().flatten().filter(|_| in_full);
    let (subject, pseudonym) = (subject.as_deref(), pseudonym.as_deref());
    let shown = Shown { in_full, subject, pseudonym, ..Shown::default() };
    let columns = columns(audience, true, in_full);
    csv_gives_it_back(&rows, &columns, &shown);
    json_gives_it_back(&rows, &columns, &shown);
    a_table_tells_a_terminal_nothing(&written(&rows, Format::Table, &columns, &shown));
    a_page_stays_one(&written(&rows, Format::Html, &columns, &shown));
}

fn row(reader: &Reader, texts: &[Option<String>]) -> ReportRow {
    let text = |at: usize| texts.get(at).cloned().flatten();
    let row = Row {
        operation_id: Ok(text(1)),
        method: Ok(text(2)),
        url: Ok(text(3)),
        body: Ok(text(4)),
        sent_at: Ok(text(5)),
        failure: text_cell("timeout"),
        ..Row::blank(1, &text(0).unwrap_or_default())
    };
    let facts = reader.read(&row, Moment(1_800_000_000_000)).facts;
    ReportRow {
        entry: row.entry,
        request_id: row.request_id.clone(),
        operation_id: row.operation().to_owned(),
        gist: Some(facts.into()),
        row: Some(row),
        status: Status::DuplicateRisk,
        outcome: Some(Outcome::Unknown),
        reason: Some(Reason::BadRow),
        action: Some(Action::Review),
        server_id: text(6),
        matched_on: text(7),
        explanation: text(10),
        correction: false,
        checks: 3,
        first_checked: None,
        last_checked: Some(Moment(1_800_000_000_000)),
        not_before: None,
        run: Some(1),
        decided: Some(Moment(i64::MAX)),
        pseudonym: text(9),
        vanished: None,
        attempts: text(11).into_iter().chain(text(0)).collect(),
        found: text(6).into_iter().chain(text(11)).collect(),
    }
}

fn written(rows: &[ReportRow], format: Format, columns: &[&'static Column], shown: &Shown) -> String {
    let mut bytes = Vec::new();
    let mut output = Output::begin(&mut bytes, format, columns.to_vec(), false, 120).unwrap();
    for row in rows {
        output.add(row, shown).unwrap();
    }
    let (filter, changed) = (Filter::default(), Changed::default());
    let behind = Behind {
        partner: None,
        time_zone: None,
        ledger: "ledger.db",
        in_full: shown.in_full,
        purpose: None,
        filter: &filter,
        run: None,
        changed: &changed,
    };
    output.end(&behind).unwrap();
    String::from_utf8(bytes).expect("UTF-8")
}

fn csv_gives_it_back(rows: &[ReportRow], columns: &[&'static Column], shown: &Shown) {
    let text = written(rows, Format::Csv, columns, shown);
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), names);
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a whole record")).collect();
    assert_eq!(records.len(), rows.len());
    for (row, record) in rows.iter().zip(&records) {
        for (column, cell) in columns.iter().zip(record) {
            let value = (column.of)(row, shown).text();
            assert!(cell == value || cell.strip_prefix('\'') == Some(&value), "{}: {value:?} as {cell:?}", column.name);
            assert!(!runs(cell), "{}: {cell:?}", column.name);
        }
    }
}

/// Whether a spreadsheet could take a cell for a formula, by a rule of our own: the first thing that can be seen.
fn runs(cell: &str) -> bool {
    let seen = cell.chars().find(|letter| !letter.is_whitespace() && !letter.is_control());
    cell.starts_with(['\t', '\r', '\n']) || seen.is_some_and(|letter| "=+-@＝＋－＠".contains(letter))
}

fn json_gives_it_back(rows: &[ReportRow], columns: &[&'static Column], shown: &Shown) {
    let text = written(rows, Format::Jsonl, columns, shown);
    let lines: Vec<&str> = text.split_terminator('\n').collect();
    assert_eq!(lines.len(), rows.len());
    for (row, line) in rows.iter().zip(lines) {
        let read: serde_json::Map<_, _> = serde_json::from_str(line).expect("an object");
        assert_eq!(read, object(row, columns, shown));
    }
}

fn a_table_tells_a_terminal_nothing(text: &str) {
    let shown = text.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(shown, None, "{text:?}");
}

/// What comes out of a row is text: a page has as many tags with hostile values as with harmless ones.
fn a_page_stays_one(page: &str) {
    let end = page.trim_end();
    assert!(end.ends_with("</html>"));
    assert_eq!(page.matches("</html>").count(), 1);
    assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    assert!(page.matches("<script").count() <= 2, "a script too many");
    let hidden = page.chars().find(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'));
    assert_eq!(hidden, None);
}
