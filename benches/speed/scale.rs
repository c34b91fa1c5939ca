//! Size: memory, time against the number of entries, and what comes after: an idle run, `status`, `report`.

use crate::contest::{job, measure};
use crate::{Arguments, server, work};

pub fn scale(arguments: &Arguments) {
    let (url, served) = server::start(arguments.latency, arguments.jitter);
    println!(
        "| entries | | wall, s | CPU per entry, µs | memory, MiB | requests | tokens |\n|---|---|---|---|---|---|---|"
    );
    let mut sizes = vec![0];
    sizes.extend(&arguments.scale);
    for entries in sizes {
        let folder = tempfile::tempdir().unwrap();
        work::of_job(folder.path(), &url, entries, arguments.connections[0], true);
        let steps: [(&str, &[&str]); 5] = [
            ("run", &["run"]),
            ("idle run", &["run"]),
            ("status", &["status"]),
            ("report", &["report", "report.csv"]),
            ("check of the evidence (verify)", &["verify"]),
        ];
        for (name, words) in steps {
            served.take();
            let tokens = served.tokens.swap(0, std::sync::atomic::Ordering::Relaxed);
            let cost = measure(job(arguments, folder.path()).args(words), &[0]);
            let tokens_now = served.tokens.load(std::sync::atomic::Ordering::Relaxed);
            let _ = tokens;
            println!(
                "| {entries} | {name} | {:.3} | {:.1} | {:.1} | {} | {tokens_now} |",
                cost.wall,
                cost.cpu * 1e6 / entries.max(1) as f64,
                cost.memory as f64 / 1024.0,
                served.take().0,
            );
        }
        let size = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
        println!(
            "| {entries} | the ledger: {} MiB, its log: {} MiB | | | | | |",
            size("ledger.db") >> 20,
            size("ledger.db-wal") >> 20
        );
    }
}

/// How much longer ten times the entries take. The machine itself is quicker at one minute than at the next, so ten ledgers
/// of a tenth stand around the large one: half of them are run before it, half after it.
pub fn tenfold(arguments: &Arguments, entries: u64) {
    let (url, _) = server::start(arguments.latency, arguments.jitter);
    let run = |entries: u64| {
        let folder = tempfile::tempdir().unwrap();
        work::of_job(folder.path(), &url, entries, arguments.connections[0], true);
        measure(job(arguments, folder.path()).arg("run"), &[0])
    };
    println!("| entries | wall, s | ten of a tenth, wall, s | times the time | CPU, times |\n|---|---|---|---|---|");
    let mut ratios: Vec<f64> = (0..arguments.rounds)
        .map(|_| {
            let mut small: Vec<_> = (0..5).map(|_| run(entries / 10)).collect();
            let large = run(entries);
            small.extend((0..5).map(|_| run(entries / 10)));
            let wall: f64 = small.iter().map(|cost| cost.wall).sum();
            let cpu: f64 = small.iter().map(|cost| cost.cpu).sum();
            let ratio = 10.0 * large.wall / wall;
            println!("| {entries} | {:.1} | {wall:.1} | {ratio:.2} | {:.2} |", large.wall, 10.0 * large.cpu / cpu);
            ratio
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("| the median | | | {:.2} | |", ratios[ratios.len() / 2]);
}
