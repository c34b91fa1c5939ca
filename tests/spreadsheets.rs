//! Proves that the CSV is safe with what people open it with: Python's csv and LibreOffice Calc. No cell runs as a formula,
//! and none is changed but by the leading apostrophe; JSON lines hold every value exactly.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::util::{Dir, PSEUDONYMS, finish, golden_ledger};

/// Compares CSV with JSON lines of the same rows, as Python reads both.
const COMPARE: &str = r#"
import csv, json, sys
if sys.version_info < (3, 11):
    sys.exit(77)  # older ones refuse NUL
def text(value):
    if value is None: return ""
    return "; ".join(value) if isinstance(value, list) else str(value)
with open(sys.argv[1], encoding="utf-8", newline="") as file:
    head, *rows = csv.reader(file)
with open(sys.argv[2], encoding="utf-8", newline="\n") as file:
    objects = [json.loads(line) for line in file]
assert len(rows) == len(objects) > 0, (len(rows), len(objects))
marked = 0
for row, object in zip(rows, objects):
    assert head == list(object), object
    for cell, value in zip(row, map(text, object.values()), strict=True):
        assert cell in (value, "'" + value), (cell, value)
        marked += cell != value
        assert not cell.lstrip("\0\ufeff\u202e \t\r\n").startswith(tuple("=+-@＝＋－＠")), cell
print(marked)
"#;

fn write(dir: &Dir, name: &str, audience: &[&str]) {
    let ran = dir.run(&[&["report", name], audience].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{name}");
}

#[test]
fn pythons_csv_reads_what_json_lines_say() {
    let dir = golden_ledger(PSEUDONYMS);
    for audience in [&[][..], &["--for", "support"], &["--for", "resend"]] {
        write(&dir, "a.csv", audience);
        write(&dir, "a.jsonl", audience);
        let mut python = Command::new("python3");
        python.args(["-c", COMPARE]).arg(dir.file("a.csv")).arg(dir.file("a.jsonl"));
        let Ok(child) = python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
            eprintln!("skipped: there is no python3");
            return;
        };
        let ran = finish(child);
        if ran.code == 77 {
            eprintln!("skipped: this python3 is older than 3.11");
            return;
        }
        assert_eq!(ran.code, 0, "{audience:?}: {}", ran.err);
        let marked: usize = ran.out.trim().parse().unwrap();
        assert!(!audience.is_empty() || marked > 20, "{audience:?}: {marked} cells got an apostrophe");
    }
}

/// Commas, double quotes, UTF-8, from the first line on, and every one of the columns as text.
fn as_text(columns: usize) -> String {
    let columns: Vec<String> = (1..=columns).map(|column| format!("{column}/2")).collect();
    format!("--infilter=CSV:44,34,76,1,{}", columns.join("/"))
}

/// The same, the columns as Calc takes them by itself.
const AS_CALC_LIKES: &str = "--infilter=CSV:44,34,76,1";

/// Lets Calc open a file and save it in another form into `folder`. `None`: there is no Calc.
fn calc(dir: &Dir, options: &[&str], file: &Path, folder: &str) -> Option<()> {
    let mut soffice = Command::new("soffice");
    soffice.arg(format!("-env:UserInstallation=file://{}", dir.file("profile").display())).arg("--headless");
    soffice.args(options).arg("--outdir").arg(dir.file(folder)).arg(file);
    let child = soffice.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    let ran = finish(child);
    if !ran.out.contains("using filter") {
        eprintln!("Calc converted nothing: {ran:?}");
        return None;
    }
    Some(())
}

/// What Calc makes of a CSV: the sheet's XML. `None`: there is no Calc.
fn sheet(dir: &Dir, file: &str, import: &str) -> Option<String> {
    calc(dir, &[import, "--convert-to", "fods"], &dir.file(file), "sheets")?;
    let name = Path::new(file).with_extension("fods");
    Some(std::fs::read_to_string(dir.file("sheets").join(name)).unwrap())
}

#[test]
fn calc_runs_no_cell() {
    let dir = golden_ledger("");
    std::fs::write(dir.file("raw.csv"), "request_id\r\n=1+1\r\n").unwrap();
    let Some(raw) = sheet(&dir, "raw.csv", AS_CALC_LIKES) else {
        eprintln!("skipped: there is no LibreOffice Calc (Debian: libreoffice-calc)");
        return;
    };
    assert!(raw.contains("table:formula"), "without the apostrophe Calc runs it, or this test shows nothing");
    for audience in [&[][..], &["--for", "support"], &["--for", "resend"], &["--excel"]] {
        write(&dir, "report.csv", audience);
        for import in [AS_CALC_LIKES, &as_text(40)] {
            let sheet = sheet(&dir, "report.csv", import).unwrap();
            assert!(sheet.contains("r-late") || sheet.contains("r-absent"), "{audience:?}");
            assert!(!sheet.contains("table:formula"), "{audience:?} {import}");
        }
    }
}

#[test]
fn calc_changes_no_cell_that_is_imported_as_text() {
    let dir = golden_ledger("");
    write(&dir, "report.csv", &[]);
    let import = as_text(20);
    if calc(&dir, &[&import, "--convert-to", "xlsx"], &dir.file("report.csv"), "sheets").is_none() {
        eprintln!("skipped: there is no LibreOffice Calc (Debian: libreoffice-calc)");
        return;
    }
    let export = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true";
    calc(&dir, &["--convert-to", export], &dir.file("sheets/report.xlsx"), "back").unwrap();
    let cells = |text: &str| -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    // A cell of a spreadsheet knows one kind of line end and no NUL.
    let held = |cell: &String| cell.replace("\r", "\n").replace('\0', "");
    let (before, after) = (cells(&dir.read("report.csv")), cells(&dir.read("back/report.csv")));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(&before.iter().map(held).collect::<Vec<_>>(), after);
    }
}
