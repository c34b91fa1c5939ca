//! The options of `resend`.

use std::ffi::OsString;

use clap::Args;

use crate::clock::Span;

const HELP: &str = r#"Examples:
  privo-reconcile resend                                    # what would be permitted now, and the list's digest
  privo-reconcile resend --approve 9f3c2a… --who Dana       # exactly that list, for a day
  privo-reconcile resend -- ./send-one                      # your program, once for each permit
  privo-reconcile resend --stdin                            # or a conversation with your service

Nothing is sent but lookups: your own code sends. A permit is given only where the verdict that holds says `resend`, a
look of this moment still says so, and somebody approved the list. It is written into the ledger as an `intent` before
it leaves. docs/RESENDING.md has loops of ten lines for Python, Node, Java and Go.

--stdin takes {"next":{}} and answers {"permit":{"request_id":"…","operation_id":"…","operation":"…","method":"…",
"path":"…","attempts":["…"],"deadline":"…"}} or {"none":{"why":"…"}}. Who has a permit sends that operation once, begins
before `deadline`, and then says how it ended as `record --stdin` takes it: {"end":{"request_id":"…","answered":201}}.

COMMAND gets the permit as JSON on its standard input; its last line of standard output is that `end` line. One that
fails, prints none or is killed leaves the request in doubt, and no further permit is given.

It stops at the first surprise: a look that found something, an end that is no success. Sent or not, `run` says next
what became of each. The list and --approve end 0, sending as the ledger stands then; 2: nobody approved the list."#;

/// Options of `resend`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct ResendArgs {
    /// Approve exactly the list of this digest, until each of it was permitted once, for a day at most
    #[arg(long, value_name = "DIGEST", requires = "who")]
    pub approve: Option<String>,
    /// Who approves it
    #[arg(long, alias = "by", value_name = "NAME", requires = "approve")]
    pub who: Option<String>,
    /// Hand permits out in a conversation of JSON lines, until standard input ends
    #[arg(long, conflicts_with = "command")]
    pub stdin: bool,
    /// Permits in one call, at the most
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub most: u32,
    /// How long it waits for a run that holds the ledger
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::span)]
    pub wait_lock: Span,
    /// Run this once for each permit
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
