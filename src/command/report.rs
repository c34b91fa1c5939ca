//! `report`: what is asked for becomes a filter and a form; what leaves is noted where it must be.
//!
//! # What the ledger keeps of reports
//! A report with `--new` moves its reader's mark once it has left whole, so that a report that was cut is made again. A
//! report with `--reveal` is noted before a byte of it leaves, so that nothing is shown that is not noted.

use std::io::{IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::changes::Changes;
use super::person;
use crate::cli::{ReportArgs, When};
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Ledger, VERSION};
use crate::outputs;
use crate::plan::Reader;
use crate::pseudonym::{self, Key, Keys};
use crate::report::{self, Asks, Behind, Contents, Digesting, Format, Meta, Output, Shown, Sources};
use crate::views::{Audience, Entries, Filter, LastReport, ReportRow};

/// Memory for a revealed report on its way to standard output; a longer one waits in a file without a name.
const HELD_BACK: usize = 16 << 20;

/// A table that does not go to a terminal is so many columns wide.
const TABLE_WIDTH: usize = 120;

/// A report to be written.
struct Wanted {
    file: PathBuf,
    form: Format,
    excel: bool,
    /// One JSON document instead of the form.
    document: bool,
    filter: Filter,
    /// Subjects and ids in full, for this purpose if one was stated.
    reveal: Option<Option<String>>,
    /// The reader whose mark is moved.
    reader: Option<String>,
    /// The last report with --new for the same reader and filters: a page tells what changed since.
    last: Option<LastReport>,
    keys: Option<Keys>,
    /// The key of the pseudonym that is looked for.
    sought: Option<Key>,
}

impl Wanted {
    /// Whether it must be known whom an entry is about.
    fn asks_who(&self) -> bool {
        self.reveal.is_some() || self.keys.is_some()
    }
}

pub fn report(config: &Config, args: &ReportArgs, json: bool) -> Result<u8> {
    refuse_protected(config, args.report.as_ref().unwrap_or(&args.file))?;
    // What was new, and what was revealed, is noted in the ledger.
    let mut ledger = if args.new || args.reveal {
        super::opened(config, Ledger::open)
    } else {
        super::opened(config, Ledger::open_to_read)
    }?;
    let mut wanted = wanted(config, &ledger, args)?;
    let to_file = wanted.file != Path::new("-");
    if json && !to_file {
        if args.format.is_some() || args.excel {
            bail!(Refused("--json and --format both say what goes to standard output (leave one out)".to_owned()));
        }
        wanted.document = true;
    }
    let contents = write(config, &mut ledger, &wanted)?;
    if json && to_file {
        let contents = json!({
            "ledger": ledger.identity(),
            "file": wanted.file,
            "meta": meta_path(&wanted.file),
            "sha256": contents.sha256,
            "entries": contents.rows,
        });
        document::print("report", exit::DONE, &contents)?;
    }
    Ok(exit::DONE)
}

/// Refuses a report that would take the place of a file that the job reads.
///
/// # Errors
/// [`Refused`], naming both.
pub fn refuse_protected(config: &Config, file: &Path) -> Result<()> {
    if file == Path::new("-") {
        return Ok(());
    }
    config.refuse_output(file)?;
    meta_path(file).map_or(Ok(()), |meta| config.refuse_output(&meta))
}

/// Where a report's meta data go. `None`: beside a FIFO, a terminal or `/dev/stdout` is no place for a file.
fn meta_path(report: &Path) -> Option<PathBuf> {
    outputs::is_plain(report).then(|| outputs::with_suffix(report, ".meta.json"))
}

/// Writes the report that follows a run, in the form that the file's extension tells, with its meta data beside it; or to
/// standard output. With `of_run`, only what was settled in that run.
pub fn write_report(config: &Config, ledger: &mut Ledger, file: &Path, of_run: Option<i64>) -> Result<()> {
    refuse_protected(config, file)?;
    let wanted = Wanted {
        file: file.to_owned(),
        form: Format::of_file(file),
        excel: false,
        document: false,
        filter: of_run.map(Filter::of_run).unwrap_or_default(),
        reveal: None,
        reader: None,
        last: None,
        keys: config.pseudonym_keys()?,
        sought: None,
    };
    write(config, ledger, &wanted)?;
    Ok(())
}

fn wanted(config: &Config, ledger: &Ledger, args: &ReportArgs) -> Result<Wanted> {
    let file = args.report.as_ref().unwrap_or(&args.file).clone();
    let form = args.format.unwrap_or_else(|| Format::of_file(&file));
    if args.excel && form != Format::Csv {
        bail!(Refused("--excel marks CSV only (leave it out, or write --format csv)".to_owned()));
    }
    let audience = args.audience.unwrap_or_default();
    let reveal = args.reveal.then(|| args.purpose.as_deref().map(|purpose| purpose.trim().to_owned()));
    match &reveal {
        Some(Some(purpose)) if purpose.is_empty() => bail!(Refused("--purpose must say something".to_owned())),
        Some(None) if audience == Audience::Support => bail!(Refused(
            "personal data leave for support with a stated purpose only (add --purpose TEXT, or leave --reveal out)"
                .to_owned()
        )),
        _ => {}
    }
    let keys = config.pseudonym_keys()?;
    let sought = args.pseudonym.as_deref().map(|pseudonym| key_of(keys.as_ref(), pseudonym)).transpose()?;
    let mut filter = filter(config, ledger, args, audience)?;
    let reader = reader(args, audience);
    let last = ledger.last_report(&reader)?;
    if args.new {
        filter.after_verdict = Some(last.map_or(0, |last| last.last_verdict));
    }
    let reader = args.new.then_some(reader);
    Ok(Wanted { file, form, excel: args.excel, document: false, filter, reveal, reader, last, keys, sought })
}

/// The key that a pseudonym was made with.
///
/// # Errors
/// [`Refused`] when it is no pseudonym, or none of the configured keys made it.
pub fn key_of(keys: Option<&Keys>, pseudonym: &str) -> Result<Key> {
    let Some(id) = pseudonym::key_id(pseudonym) else {
        bail!(Refused("this is no pseudonym (they look like psn1-abcd-0123456789abcdef)".to_owned()));
    };
    let Some(keys) = keys else {
        bail!(Refused("there are no pseudonyms without a key (add [pseudonym] to the configuration)".to_owned()));
    };
    let remedy = "add that key to `previous` under [pseudonym]";
    let unknown = || Refused(format!("no configured key made this pseudonym; it bears the key id {id} ({remedy})"));
    Ok(keys.of(pseudonym).cloned().ok_or_else(unknown)?)
}

fn filter(config: &Config, ledger: &Ledger, args: &ReportArgs, audience: Audience) -> Result<Filter> {
    let now = Moment::now();
    let moment = |when: &Option<When>| when.as_ref().map(|when| when.before(now));
    let (since, until) = (moment(&args.since), moment(&args.until));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        bail!(Refused(format!("--since ({since}) must be earlier than --until ({until})")));
    }
    if let Some(name) = &args.operation
        && !config.plan.operations.iter().any(|operation| operation.name.as_ref() == name)
        && !ledger.knows_operation(name)?
    {
        let names: Vec<&str> =
            config.plan.operations.iter().map(|operation| operation.name.as_ref().as_str()).collect();
        let known = names.join(", ");
        bail!(Refused(format!("--operation: neither the plan nor the ledger knows this one (the plan has: {known})")));
    }
    if let Some(run) = args.run
        && ledger.run_facts(Some(run))?.is_none()
    {
        bail!(Refused(format!("--run: the ledger has no run {run} (`status` names the last one)")));
    }
    Ok(Filter {
        audience,
        since,
        until,
        operation: args.operation.clone(),
        statuses: args.status.clone(),
        reasons: args.reason.clone(),
        run: args.run,
        after_verdict: None,
        pseudonym: args.pseudonym.clone(),
    })
}

/// Names a reader of what is new: for whom, and by which filters as they were written. Each has a mark of its own, so that
/// one who is told of a part does not take the rest from another.
fn reader(args: &ReportArgs, audience: Audience) -> String {
    let words = |words: Vec<&str>| {
        let mut words = words;
        words.sort_unstable();
        words.dedup();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    json!({
        "for": audience,
        "operation": args.operation,
        "status": words(args.status.iter().map(|status| status.text()).collect()),
        "reason": words(args.reason.iter().map(|reason| reason.text()).collect()),
        "since": args.since.as_ref().map(ToString::to_string),
    })
    .to_string()
}

fn write(config: &Config, ledger: &mut Ledger, wanted: &Wanted) -> Result<Contents> {
    if wanted.reveal.is_some() && wanted.file != Path::new("-") && !outputs::is_plain(&wanted.file) {
        // What is revealed is noted before a byte of it leaves: a plain file bears its name only when it is whole.
        bail!(Refused("--reveal writes a plain file or standard output (`-`), nothing else".to_owned()));
    }
    let contents = if wanted.file == Path::new("-") {
        write_to_stdout(config, ledger, wanted)?
    } else {
        let contents = outputs::write_whole(&wanted.file, |output| {
            let contents = write_rows(config, ledger, wanted, output)?;
            note_reveal(ledger, wanted, &contents)?;
            Ok(contents)
        })?;
        if let Some(file) = meta_path(&wanted.file) {
            let meta = meta(config, ledger, wanted, &contents)?;
            outputs::write_whole(&file, |output| Ok(output.write_all(meta.as_bytes())?))?;
        }
        contents
    };
    if let Some(reader) = &wanted.reader {
        let report = LastReport { at: Moment::now(), last_verdict: contents.last_verdict };
        ledger.note_report(reader, report, contents.rows)?;
    }
    Ok(contents)
}

fn write_to_stdout(config: &Config, ledger: &mut Ledger, wanted: &Wanted) -> Result<Contents> {
    if wanted.reveal.is_none() {
        begin_document(wanted);
        let output = std::io::BufWriter::new(std::io::stdout().lock());
        return write_rows(config, ledger, wanted, output);
    }
    let mut held_back = tempfile::spooled_tempfile(HELD_BACK);
    let contents = write_rows(config, ledger, wanted, std::io::BufWriter::new(&mut held_back))?;
    note_reveal(ledger, wanted, &contents)?;
    held_back.rewind().context("failed to read the report back")?;
    begin_document(wanted);
    let mut output = std::io::stdout().lock();
    std::io::copy(&mut held_back, &mut output)?;
    output.flush()?;
    Ok(contents)
}

/// From here on standard output holds a document, whatever fails.
fn begin_document(wanted: &Wanted) {
    if wanted.document {
        document::begin();
    }
}

fn note_reveal(ledger: &mut Ledger, wanted: &Wanted, contents: &Contents) -> Result<()> {
    let Some(purpose) = &wanted.reveal else { return Ok(()) };
    let what = json!({
        "for": wanted.filter.audience,
        "form": wanted.form,
        "filters": report::filters(&wanted.filter),
        "to": if wanted.file == Path::new("-") { "standard output".into() } else { wanted.file.display().to_string() },
        "sha256": contents.sha256,
    });
    ledger.note_disclosure(Moment::now(), &what.to_string(), contents.rows, purpose.as_deref(), &person::name())
}

fn columns(wanted: &Wanted) -> Vec<&'static report::Column> {
    report::columns(wanted.filter.audience, wanted.keys.is_some(), wanted.reveal.is_some())
}

fn write_rows(config: &Config, ledger: &Ledger, wanted: &Wanted, output: impl Write) -> Result<Contents> {
    let mut output = Digesting::new(output);
    let mut contents = if wanted.document {
        write_document(config, ledger, wanted, &mut output)?
    } else {
        write_form(config, ledger, wanted, &mut output)?
    };
    contents.sha256 = output.sha256();
    Ok(contents)
}

fn write_form(config: &Config, ledger: &Ledger, wanted: &Wanted, output: &mut impl Write) -> Result<Contents> {
    let mut report = Output::begin(output, wanted.form, columns(wanted), wanted.excel, width())?;
    let run = ledger.run_facts(wanted.filter.run)?;
    let mut changes = match wanted.form {
        Format::Html => Changes::of(ledger, &wanted.filter, wanted.last, run.as_ref())?,
        Format::Csv | Format::Jsonl | Format::Table => Changes::default(),
    };
    let contents = each_shown(config, ledger, wanted, |row, shown| {
        changes.note(ledger, row)?;
        report.add(row, shown)
    })?;
    report.end(&Behind {
        ledger: ledger.identity(),
        in_full: wanted.reveal.is_some(),
        purpose: wanted.reveal.as_ref().and_then(Option::as_deref),
        filter: &wanted.filter,
        partner: config.partner.as_deref(),
        time_zone: config.time_zone,
        run: run.as_ref(),
        changed: &changes.changed,
    })?;
    Ok(contents)
}

/// The rows as one JSON document, written as they come: a million of them fit into no memory.
fn write_document(config: &Config, ledger: &Ledger, wanted: &Wanted, output: &mut impl Write) -> Result<Contents> {
    let head = json!({ "format": document::FORMAT, "command": "report", "ledger": ledger.identity() }).to_string();
    write!(output, "{},\n\"rows\":[", head.trim_end_matches('}'))?;
    let columns = columns(wanted);
    let mut between = "\n";
    let contents = each_shown(config, ledger, wanted, |row, shown| {
        let object = serde_json::to_string(&report::object(row, &columns, shown))?;
        write!(output, "{between}{object}")?;
        between = ",\n";
        Ok(())
    })?;
    // The exit code comes last, for only now it is known that all is there.
    writeln!(output, "\n],\n\"entries\":{},\"exit\":{}}}", contents.rows, exit::DONE)?;
    output.flush()?;
    Ok(contents)
}

/// Gives each row that is wanted, and what is shown of it.
fn each_shown(
    config: &Config,
    ledger: &Ledger,
    wanted: &Wanted,
    mut each: impl FnMut(&ReportRow, &Shown) -> Result<()>,
) -> Result<Contents> {
    let reader = config.reader(ledger.salt());
    let in_full = wanted.reveal.is_some();
    let mut contents = Contents::default();
    let environment = config.server.base_url.origin().ascii_serialization();
    let asks = Asks { partner: config.partner.as_deref(), environment: Some(&environment) };
    let entries = if wanted.asks_who() { Entries::All } else { Entries::Unread };
    ledger.heed_unread(&reader, Moment::now())?;
    contents.last_verdict = ledger.each_row(&wanted.filter, entries, |mut row| {
        if let (None, Some(unread)) = (&row.gist, &row.row) {
            // Not taken in yet: shown as the next run will read it.
            let gist = reader.read(unread, Moment::now()).facts.into();
            if !wanted.filter.fits_unread(&gist) {
                return Ok(());
            }
            row.gist = Some(gist);
        }
        let who = Who::of(&reader, wanted, &row);
        if !who.sought {
            return Ok(());
        }
        contents.rows += 1;
        contents.runs.extend(row.run);
        each(&row, &Shown { in_full, subject: who.subject.as_deref(), pseudonym: who.pseudonym.as_deref(), asks })
    })?;
    Ok(contents)
}

/// Whom a row is about.
struct Who {
    /// Unmasked, when that is asked for and still known.
    subject: Option<String>,
    pseudonym: Option<String>,
    /// It is whom the report is asked for, or it is asked for no one.
    sought: bool,
}

impl Who {
    fn of(reader: &Reader, wanted: &Wanted, row: &ReportRow) -> Who {
        let Some(entry) = row.row.as_ref().filter(|_| wanted.asks_who()) else {
            return Who { subject: None, pseudonym: None, sought: true };
        };
        let reading = reader.read(entry, Moment::now());
        let of = |key: &Key| Some(pseudonym::of(key, reading.normalised_subject.as_deref()?));
        let made = wanted.keys.as_ref().and_then(|keys| of(&keys.current));
        let sought = match (&wanted.sought, &wanted.filter.pseudonym) {
            (Some(key), Some(pseudonym)) => {
                row.pseudonym.as_ref() == Some(pseudonym) || of(key).as_ref() == Some(pseudonym)
            }
            _ => true,
        };
        let subject = if wanted.reveal.is_some() { reading.subject } else { None };
        Who { subject, pseudonym: made.or_else(|| row.pseudonym.clone()), sought }
    }
}

/// How wide a table may be.
fn width() -> usize {
    let terminal = std::io::stdout().is_terminal().then(|| console::Term::stdout().size_checked()).flatten();
    terminal.map_or(TABLE_WIDTH, |(_, width)| width.into())
}

fn meta(config: &Config, ledger: &Ledger, wanted: &Wanted, contents: &Contents) -> Result<String> {
    let run = ledger.run_facts(wanted.filter.run)?;
    let runs = ledger.runs_of(contents.runs.iter().copied())?;
    let names: Vec<&str> = columns(wanted).iter().map(|column| column.name).collect();
    let meta = Meta::new(&Sources {
        ledger: ledger.identity(),
        schema_version: VERSION,
        contents,
        filter: &wanted.filter,
        form: wanted.form,
        columns: &names,
        in_full: wanted.reveal.is_some(),
        purpose: wanted.reveal.as_ref().and_then(Option::as_deref),
        pseudonym_key: wanted.keys.as_ref().map(|keys| keys.current.id()),
        plan: (&config.plan.name, &config.plan.digest),
        run: run.as_ref(),
        runs: &runs,
    });
    meta.to_json()
}
