//! What would be permitted now: the list that a person reads and approves, with its digest.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::Moment;
use crate::command::opened;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Advised, Approval, Ledger};
use crate::mask;
use crate::plan::hex;
use crate::report::printable;

/// Digits of a digest: enough to tell lists of one ledger from each other, and few enough to be typed.
const DIGITS: usize = 16;

/// The operations that may be sent again, and those of which a person must see to it.
pub struct List {
    pub operations: Vec<Advised>,
    left_out: Vec<(Advised, &'static str)>,
    pub digest: String,
}

impl List {
    /// As the ledger stands: it follows from the operations and the verdicts that advise, and from no clock.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn of(ledger: &Ledger) -> Result<List> {
        let (mut operations, mut left_out) = (Vec::new(), Vec::new());
        for advised in ledger.advised()? {
            match advised.left_to_a_person() {
                None => operations.push(advised),
                Some(why) => left_out.push((advised, why)),
            }
        }
        let digest = digest(ledger.identity(), &operations);
        Ok(List { operations, left_out, digest })
    }

    /// The command that approves it.
    pub fn to_approve(&self) -> String {
        format!("privo-reconcile resend --approve {} --who NAME", self.digest)
    }

    fn json(&self, ledger: &Ledger, approval: Option<&Approval>, open: usize) -> Value {
        let approval = approval.map(|approval| {
            json!({
                "digest": approval.digest,
                "who": approval.who,
                "at": approval.at.to_string(),
                "until": approval.until().to_string(),
            })
        });
        let left_out = self.left_out.iter().map(|(advised, why)| {
            let mut row = row_json(advised);
            row["why"] = json!(why);
            row
        });
        json!({
            "ledger": ledger.identity(),
            "digest": self.digest,
            "operations": self.operations.iter().map(row_json).collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "approval": approval,
            "approved": open,
        })
    }

    fn text(&self, approval: Option<&Approval>, open: usize) -> String {
        let mut text = String::new();
        for advised in &self.operations {
            text.push_str(&format!("{}\n", line(advised)));
        }
        for (advised, why) in &self.left_out {
            text.push_str(&format!("{}: for a person to send: {why}\n", line(advised)));
        }
        text.push_str(&match self.operations.len() {
            0 => "nothing is to be sent again now\n".to_owned(),
            1 => format!("1 operation may be sent again; digest {}\n", self.digest),
            count => {
                format!("{count} operations may be sent again ({}); digest {}\n", self.by_operation(), self.digest)
            }
        });
        if let Some(approval) = approval.filter(|_| open > 0) {
            let who = printable(&approval.who);
            text.push_str(&format!("approved: {open}, last by {who}, until {} at the latest\n", approval.until()));
        }
        if open < self.operations.len() {
            text.push_str(&format!("to approve exactly these, for a day: {}\n", self.to_approve()));
        }
        text
    }

    /// How many there are of each operation of the plan.
    fn by_operation(&self) -> String {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for advised in &self.operations {
            *counts.entry(operation(advised)).or_default() += 1;
        }
        counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

fn digest(ledger: &str, operations: &[Advised]) -> String {
    let mut digest = Sha256::new_with_prefix(ledger);
    for advised in operations {
        digest.update(format!("\n{} {}", advised.row.entry, advised.verdict));
    }
    let mut digits = hex(&digest.finalize());
    digits.truncate(DIGITS);
    digits
}

/// The operation's name in the plan.
fn operation(advised: &Advised) -> &str {
    advised.row.gist.as_ref().and_then(|gist| gist.operation.as_deref()).unwrap_or("-")
}

fn line(advised: &Advised) -> String {
    let row = &advised.row;
    let reason = row.reason.map_or("-", |reason| reason.text());
    let attempts = row.attempts.iter().map(|id| mask::id(id)).collect::<Vec<_>>().join(" ");
    let line = format!("{}  {}  {reason}  {attempts}", mask::id(&row.operation_id), operation(advised));
    printable(&line).into_owned()
}

fn row_json(advised: &Advised) -> Value {
    let row = &advised.row;
    let gist = row.gist.as_ref();
    json!({
        "operation_id": mask::id(&row.operation_id),
        "operation": gist.and_then(|gist| gist.operation.as_deref()),
        "method": gist.map(|gist| &gist.method),
        "path": gist.map(|gist| &gist.path),
        "reason": row.reason,
        "attempts": row.attempts.iter().map(|id| mask::id(id)).collect::<Vec<_>>(),
        "sent_at": gist.and_then(|gist| gist.sent()).map(|sent| sent.to_string()),
        "decided_at": row.decided.map(|decided| decided.to_string()),
    })
}

/// Shows the list. The file stays as it is, and the server is not asked.
///
/// # Errors
/// When the ledger cannot be read.
pub fn show(config: &Config, json: bool) -> Result<u8> {
    let now = Moment::now();
    let ledger = opened(config, Ledger::open_to_read)?;
    ledger.heed_unread(&config.reader(ledger.salt()), now)?;
    let list = List::of(&ledger)?;
    let approval = ledger.approval(now)?;
    let approved = ledger.approved(now)?;
    let is_listed = |entry: i64| list.operations.iter().any(|advised| advised.row.entry == entry);
    let open = approved.iter().filter(|approved| is_listed(approved.entry)).count();
    if json {
        document::print("resend", exit::DONE, &list.json(&ledger, approval.as_ref(), open))?;
        return Ok(exit::DONE);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(list.text(approval.as_ref(), open).as_bytes())?;
    out.flush()?;
    Ok(exit::DONE)
}

/// Approves the list of this digest, if it is the one that would be shown now.
///
/// # Errors
/// [`Refused`] when it is another, or empty.
pub fn approve(config: &Config, digest: &str, who: &str) -> Result<()> {
    if who.trim().is_empty() {
        bail!(Refused("--who must say something".to_owned()));
    }
    let now = Moment::now();
    let mut ledger = opened(config, Ledger::open)?;
    ledger.heed_unread(&config.reader(ledger.salt()), now)?;
    let list = List::of(&ledger)?;
    if list.operations.is_empty() {
        bail!(Refused("nothing is to be sent again now, so nothing was approved".to_owned()));
    }
    if list.digest != digest.trim().to_ascii_lowercase() {
        bail!(Refused(
            "this is not the digest of what is to be sent again now; nothing was approved (look at the list of `resend` again)"
                .to_owned()
        ));
    }
    let operations: Vec<(i64, i64)> =
        list.operations.iter().map(|advised| (advised.row.entry, advised.verdict)).collect();
    ledger.approve(&list.digest, who, now, &operations)
}
