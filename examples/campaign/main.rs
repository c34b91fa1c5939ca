//! A campaign of simulated worlds against the real planning, deciding and ledger code.
//!
//! ```text
//! cargo run --release --example campaign -- --entries 1000000 --seed 1
//! cargo run --release --example campaign -- --entries 200000 --seed 1 --break-windows
//! cargo run --release --example campaign -- --entries 200000 --seed 1 --prune-after 0s
//! cargo run --release --example campaign -- --entries 200000 --seed 1 --twists joins,advice
//! cargo run --release --example campaign -- --replay WORLD_SEED
//! ```
//!
//! Every world has a seed of its own, which follows from the campaign's; the figures do not depend on the number of
//! threads. Exit 1 when a figure that must be zero is not.

mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};
use clap::Parser;

use privo_reconcile::clock::Span;
use simulation::figures::Figures;
use simulation::play::{Setting, play};
use simulation::twist::Twist;

#[derive(Parser)]
#[command(about = "A campaign of simulated worlds")]
struct Arguments {
    /// At least so many entries.
    #[arg(long, default_value_t = 20_000)]
    entries: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// About so many entries in each world.
    #[arg(long, default_value_t = 160)]
    per_world: usize,
    /// Only so many worlds.
    #[arg(long)]
    worlds: Option<u64>,
    /// Late applications come after the configured windows.
    #[arg(long)]
    break_windows: bool,
    /// After each run, personal fields of what was settled so long ago are removed.
    #[arg(long, value_parser = span)]
    prune_after: Option<Span>,
    /// These twists in every world, as far as they fit it (or none); of its own when left out.
    #[arg(long, value_delimiter = ',', value_parser = twists)]
    twists: Option<Vec<Option<Twist>>>,
    /// Plays the world with this seed alone and tells its story.
    #[arg(long)]
    replay: Option<u64>,
    /// The cores, unless told otherwise.
    #[arg(long)]
    threads: Option<usize>,
    /// Lines about what was wrong, at the most.
    #[arg(long, default_value_t = 20)]
    show: usize,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let secrets = tempfile::tempdir().context("failed to make a temporary folder")?;
    std::fs::write(secrets.path().join("secret"), "s3cret\n")?;
    if let Some(seed) = arguments.replay {
        let (figures, lines) = world(&arguments, seed, secrets.path(), true)?;
        lines.iter().for_each(|line| println!("{line}"));
        print(&figures, &arguments);
        return Ok(ExitCode::from(u8::from(figures.red())));
    }
    let figures = campaign(&arguments, secrets.path())?;
    print(&figures, &arguments);
    Ok(ExitCode::from(u8::from(figures.red())))
}

fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "not a duration (write <integer>s, m, h or d, like 30m)".to_owned())
}

/// The twist of this word; `none` is none.
fn twists(word: &str) -> Result<Option<Twist>, String> {
    if word == "none" { Ok(None) } else { Twist::parse(word).map(Some) }
}

fn world(arguments: &Arguments, seed: u64, secrets: &std::path::Path, tell: bool) -> Result<(Figures, Vec<String>)> {
    let twists = arguments.twists.as_ref().map(|twists| twists.iter().copied().flatten().collect::<BTreeSet<_>>());
    let setting = Setting {
        entries: arguments.per_world,
        breaks_windows: arguments.break_windows,
        keeps: arguments.prune_after,
        twists,
    };
    play(seed, &setting, secrets, tell)
}

/// Worlds in order of their numbers until there are entries enough; further ones that were under way do not count.
fn campaign(arguments: &Arguments, secrets: &std::path::Path) -> Result<Figures> {
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let done: Mutex<(BTreeMap<u64, Figures>, u64, Figures)> = Mutex::default();
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    std::thread::scope(|scope| {
        let worker = || -> Result<()> {
            while !enough.load(Ordering::SeqCst) {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let seed = world_seed(arguments.seed, number);
                let (figures, _) = world(arguments, seed, secrets, false).with_context(|| format!("world {seed}"))?;
                let mut done = done.lock().map_err(|_| anyhow::anyhow!("another thread failed"))?;
                let (waiting, counted, sum) = &mut *done;
                waiting.insert(number, figures);
                let full = |counted: u64, sum: &Figures| {
                    sum.entries >= arguments.entries || arguments.worlds.is_some_and(|worlds| counted >= worlds)
                };
                while let Some(figures) = waiting.remove(counted) {
                    if !full(*counted, sum) {
                        sum.add(&figures);
                        *counted += 1;
                    }
                }
                if full(*counted, sum) {
                    enough.store(true, Ordering::SeqCst);
                }
            }
            Ok(())
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let ended = worker.join().map_err(|_| anyhow::anyhow!("a world panicked"))?;
            ended.inspect_err(|_| enough.store(true, Ordering::SeqCst))?;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    let (_, _, sum) = done.into_inner().map_err(|_| anyhow::anyhow!("a thread failed"))?;
    Ok(sum)
}

/// The finishing step of SplitMix64: near numbers give far seeds.
fn world_seed(campaign: u64, number: u64) -> u64 {
    let mut z = campaign.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn print(figures: &Figures, arguments: &Arguments) {
    println!(
        "privo-reconcile {} campaign: seed {}, {} entries in {} worlds, {} verdicts, {} requests{}",
        env!("CARGO_PKG_VERSION"),
        arguments.seed,
        figures.entries,
        figures.worlds,
        figures.verdicts,
        figures.requests,
        if arguments.break_windows { ", windows broken" } else { "" }
    );
    if let Some(keep) = arguments.prune_after {
        println!("after each run, what was settled {keep} ago was pruned: {} entries", figures.pruned);
    }
    let head = ["kind", "entries", "applied", "satisfied", "not-applied", "dup-risk", "pending"];
    println!(
        "\n{:<18}{:>10}{:>10}{:>11}{:>13}{:>10}{:>9}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6]
    );
    for (kind, of) in &figures.by_kind {
        println!(
            "{kind:<18}{:>10}{:>10}{:>11}{:>13}{:>10}{:>9}",
            of.entries, of.applied, of.satisfied, of.not_applied, of.duplicate_risk, of.pending
        );
    }
    let list = |of: &BTreeMap<String, u64>| {
        of.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    println!("\nworlds by trouble: {}", list(&figures.by_trouble));
    println!("worlds by twist (and how many of them went wrong): {}", twisted(figures));
    println!("undecidable: {}", list(&figures.by_reason));
    println!("corrections {}, unknowable {}", figures.corrections, figures.unknowable);
    print_requests(figures);
    if arguments.break_windows {
        let rate = figures.late as f64 * 100.0 / figures.verdicts.max(1) as f64;
        println!("late {} ({rate:.2} % of verdicts), missed by the watch {}", figures.late, figures.missed);
    }
    println!(
        "false_not_applied {}, false_applied {}, unsafe_resend {}, undecided {}, split operations {}, verify differs {}",
        figures.false_not_applied,
        figures.false_applied,
        figures.unsafe_resend,
        figures.undecided,
        figures.split,
        figures.differing
    );
    println!(
        "permits {}: unsafe {}, applied twice {}, lost {}",
        figures.permits, figures.unsafe_permit, figures.applied_twice, figures.lost
    );
    for wrong in figures.wrongs.iter().take(arguments.show) {
        println!("  {wrong}");
    }
}

/// Whom the server served, and what the schedule of looks cost in time.
fn print_requests(figures: &Figures) {
    let looks = &figures.looks;
    println!(
        "requests: tokens {}, controls {}, lookups {}; looks: first {}, before the verdict {}, after it {}",
        figures.tokens,
        figures.controls,
        figures.requests - figures.tokens - figures.controls,
        looks.first,
        looks.before,
        looks.after
    );
    let mean = Span((looks.later_ms / looks.later.max(1)).cast_signed() / 60_000 * 60_000);
    println!(
        "found after an absence {}, of them {} later than by an untiring schedule, by {mean} on average at the most",
        looks.turned_up, looks.later
    );
}

fn twisted(figures: &Figures) -> String {
    let one = |(twist, (worlds, wrong)): (&String, &(u64, u64))| format!("{twist} {worlds} ({wrong})");
    figures.by_twist.iter().map(one).collect::<Vec<_>>().join(", ")
}
