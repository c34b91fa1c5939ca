//! How fast the job is, beside what a good engineer would write in an afternoon.
//!
//! ```text
//! cargo bench --bench speed                                              # CPU: no latency, 20,000 entries, three rounds
//! cargo bench --bench speed -- --entries 100000 --latency 20 --jitter 10 --connections 64,256
//! cargo bench --bench speed -- --scale 100000,1000000                    # memory, time, and what follows a run
//! cargo bench --bench speed -- --tenfold 1000000                         # ten times the entries: times the time
//! cargo bench --bench speed -- --waits 50000                             # how long writers wait beside each command
//! ```
//!
//! The work: registrations with a unique email, a fifth of them sharing its key with another, half of the accounts there;
//! `lookup`, then `userinfo`. The server is in this process, on a thread of its own; each contestant is a process of its
//! own, in alternating rounds, and the median round counts. The bare loop keeps no evidence and shares no lookups.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot be set up has failed")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod bare;
mod contest;
mod scale;
mod server;
mod waits;
mod work;

use std::path::PathBuf;

use clap::Parser;

/// Compares the job with the bare loop, a Python script and curl.
#[derive(Debug, Parser)]
pub struct Arguments {
    #[arg(long, default_value_t = 20_000)]
    entries: u64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds before every answer.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// At most so many milliseconds more, at random.
    #[arg(long, default_value_t = 0)]
    jitter: u64,
    #[arg(long, value_delimiter = ',', default_values_t = [64usize])]
    connections: Vec<usize>,
    /// Only these: job, bare, python, curl.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Instead: ledgers of so many entries, for memory, linear time, and idle runs.
    #[arg(long, value_delimiter = ',')]
    scale: Vec<u64>,
    /// Instead: a ledger of so many entries, between ten of a tenth.
    #[arg(long)]
    tenfold: Option<u64>,
    /// Instead: 32 writers beside each command over a ledger of so many entries.
    #[arg(long)]
    waits: Option<u64>,
    /// With --waits: milliseconds between two INSERTs of one writer.
    #[arg(long, default_value_t = 500)]
    every: u64,
    /// Another build of the job to measure.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Cargo gives it.
    #[arg(long, hide = true)]
    bench: bool,
    /// A contestant's process: database, URL, connections.
    #[arg(long, hide = true, num_args = 3)]
    bare: Vec<String>,
}

fn main() {
    let arguments = Arguments::parse();
    if let [database, url, connections] = &arguments.bare[..] {
        bare::run(database.as_ref(), url, connections.parse().unwrap());
    } else if let Some(entries) = arguments.tenfold {
        scale::tenfold(&arguments, entries);
    } else if let Some(entries) = arguments.waits {
        waits::waits(&arguments, entries);
    } else if arguments.scale.is_empty() {
        contest::contest(&arguments);
    } else {
        scale::scale(&arguments);
    }
}
