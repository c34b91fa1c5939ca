//! Any bytes as a file to import: it is read whole or refused, twice means once, and a file that grew means the same as
//! one that was whole at once. Two bytes before the file: its format, and where it is cut for the first of two imports.

use std::cell::RefCell;
use std::path::Path;

use privo_reconcile::clock::Moment;
use privo_reconcile::import::{Format, Job, Mapping, Source, Summary, format_of, import};
use privo_reconcile::ledger::Ledger;
use privo_reconcile::plan::Reader;
use privo_reconcile::store::Identity;
use privo_reconcile::views::{Entries, Filter};

use super::shipped;

/// In seeds this stands where a child's data do.
const SOMEBODY: &str = "qzxqzx";

const FORMATS: [Format; 5] = [Format::Csv, Format::Jsonl, Format::Har, Format::Nginx, Format::Envoy];

pub fn check(data: &[u8]) {
    let [format, cut, file @ ..] = data else { return };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut at_once = empty();
    write(&path, file);
    // What is packed, or no UTF-8, is refused at once.
    let Ok(source) = Source::open(&path) else { return };
    let _ = format_of(&source);
    let whole = read(&mut at_once, &path, format);
    if let Some(summary) = &whole {
        let again = read(&mut at_once, &path, format).expect("what could be read once");
        assert_eq!(again.imported, 0, "the same file twice: {again:?}");
        assert!(again.lines_before <= summary.lines_before + summary.records + file.len() as u64);
    }
    if format == Format::Har || whole.is_none() {
        return;
    }
    // The writer had written so many of its lines.
    let ends: Vec<usize> = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let Some(cut) = ends.get(usize::from(*cut) % ends.len().max(1)) else { return };
    let mut grown = empty();
    write(&path, &file[..*cut]);
    if read(&mut grown, &path, format).is_some() {
        write(&path, file);
        read(&mut grown, &path, format).expect("what could be read at once");
        assert_eq!(rows(&grown), rows(&at_once), "cut at {cut}");
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// A ledger without entries; making one anew takes longer than all the rest.
fn empty() -> Ledger {
    thread_local!(static EMPTY: RefCell<Option<Ledger>> = const { RefCell::new(None) });
    EMPTY.with_borrow_mut(|empty| {
        empty
            .get_or_insert_with(|| {
                Ledger::in_memory(Identity { name: String::new(), salt: vec![7; 32] }, || Moment(1_800_000_000_000))
            })
            .copy_in_memory()
            .unwrap()
    })
}

/// `None`: it was refused.
fn read(ledger: &mut Ledger, path: &Path, format: Format) -> Option<Summary> {
    let (plan, server) = &shipped()[0];
    let salt = ledger.salt().to_vec();
    let reader = Reader { plan, server, salt: &salt, also: &[] };
    let base = "answers = true\nbase_url = \"https://privo.example\"";
    let mapping = toml::from_str::<Mapping>(base).unwrap().complete(format);
    let job = Job { reader: &reader, mapping: &mapping, format, dry_run: false, clock: || Moment(1_800_000_000_000) };
    let entries = || rows(ledger).len() as u64;
    let before = entries();
    let done = Source::open(path).and_then(|source| import(ledger, &job, &source));
    let quarantine = path.with_file_name("file.rejected.jsonl");
    if let Ok(text) = std::fs::read_to_string(quarantine) {
        assert!(!text.contains(SOMEBODY), "{text}");
    }
    match done {
        Ok(summary) => {
            assert_eq!(
                summary.records,
                summary.imported + summary.duplicates + summary.completed + summary.left_out + summary.rejected
            );
            // What was answered is evidence and no row of the report.
            assert!(rows(ledger).len() as u64 <= before + summary.imported);
            assert!(!serde_json::to_string(&summary.cannot_be_decided).unwrap().contains(SOMEBODY));
            Some(summary)
        }
        Err(error) => {
            assert!(!format!("{error:#}").contains(SOMEBODY), "{error:#}");
            None
        }
    }
}

/// What stands in the ledger, but for the ids that the import gives.
fn rows(ledger: &Ledger) -> Vec<String> {
    let mut rows = Vec::new();
    let each = |row: privo_reconcile::views::ReportRow| {
        let row = row.row.unwrap();
        rows.push(format!(
            "{:?}",
            (row.operation_id, row.method, row.url, row.body, row.sent_at, row.ended_at, row.failure, row.http_status)
        ));
        Ok(())
    };
    ledger.each_row(&Filter::default(), Entries::All, each).unwrap();
    rows.sort();
    rows
}
