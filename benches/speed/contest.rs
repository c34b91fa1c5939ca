//! The contest: who needs how much CPU and wall time for the same work.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{self, Served};
use crate::{Arguments, work};

/// One contestant's process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub wall: f64,
    pub cpu: f64,
    /// Largest resident memory, in KiB.
    pub memory: u64,
    pub requests: u64,
    /// Mean latency as served, in seconds.
    pub latency: f64,
}

const CONTESTANTS: [&str; 4] = ["job", "bare", "python", "curl"];

pub fn contest(arguments: &Arguments) {
    let (url, served) = server::start(arguments.latency, arguments.jitter);
    println!(
        "{} entries, latency {} ms + 0 to {} ms, median of {} rounds",
        arguments.entries, arguments.latency, arguments.jitter, arguments.rounds
    );
    println!(
        "| connections | | CPU per entry, µs | ratio | wall, s | ratio | to the floor | requests per entry | memory, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for &connections in &arguments.connections {
        let taking = |name: &&&str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == **name);
        let names: Vec<&str> = CONTESTANTS.iter().filter(taking).copied().filter(|name| able(name)).collect();
        let mut costs = vec![Vec::new(); names.len()];
        for _ in 0..arguments.rounds {
            for (name, costs) in names.iter().zip(&mut costs) {
                costs.push(one(name, arguments, &url, &served, connections));
            }
        }
        let median = |costs: &mut Vec<Cost>, by: fn(&Cost) -> f64| {
            costs.sort_by(|a, b| by(a).total_cmp(&by(b)));
            costs[costs.len() / 2]
        };
        let mut medians = Vec::new();
        for (name, costs) in names.iter().zip(&mut costs) {
            medians.push((*name, median(costs, |cost| cost.cpu), median(costs, |cost| cost.wall)));
        }
        let bare = medians.iter().find(|(name, ..)| *name == "bare").map(|(_, cpu, wall)| (cpu.cpu, wall.wall));
        for (name, cpu, wall) in medians {
            let ratio = |own: f64, of: Option<f64>| of.map_or(String::new(), |of| format!("{:.2}", own / of));
            let floor = wall.requests as f64 * wall.latency / connections as f64;
            println!(
                "| {connections} | {name} | {:.1} | {} | {:.2} | {} | {} | {:.3} | {:.0} |",
                cpu.cpu * 1e6 / arguments.entries as f64,
                ratio(cpu.cpu, bare.map(|bare| bare.0)),
                wall.wall,
                ratio(wall.wall, bare.map(|bare| bare.1)),
                ratio(wall.wall, Some(floor).filter(|floor| *floor > 0.0)),
                wall.requests as f64 / arguments.entries as f64,
                wall.memory as f64 / 1024.0,
            );
        }
    }
}

/// Whether the machine has what a contestant needs.
fn able(name: &str) -> bool {
    let runs = |program: &str, arguments: &[&str]| {
        let run = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let able = match name {
        "python" => runs("python3", &["-c", "import aiohttp"]),
        "curl" => runs("curl", &["--version"]) && runs("sqlite3", &["--version"]),
        _ => true,
    };
    if !able {
        println!(
            "(skipped: {name}; it needs {})",
            if name == "python" { "python3 with aiohttp" } else { "curl and sqlite3" }
        );
    }
    able
}

fn one(name: &str, arguments: &Arguments, url: &str, served: &Served, connections: usize) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/speed");
    let database = folder.path().join("bare.db");
    if name == "job" {
        work::of_job(folder.path(), url, arguments.entries, connections, false);
    } else {
        work::of_bare(&database, arguments.entries);
    }
    let mut command = match name {
        "job" => {
            let mut job = job(arguments, folder.path());
            job.args(["run", "--report", "report.csv"]);
            job
        }
        "bare" => {
            let mut bare = Command::new(std::env::current_exe().unwrap());
            bare.arg("--bare").arg(&database).arg(url).arg(connections.to_string());
            bare
        }
        script => {
            let file = if script == "python" { ("python3", "bare.py") } else { ("bash", "curl.sh") };
            let mut command = Command::new(file.0);
            command.arg(scripts.join(file.1)).arg(&database).arg(url).arg(connections.to_string());
            command
        }
    };
    command.current_dir(folder.path());
    served.take();
    let mut cost = measure(&mut command, &[0, 4]);
    (cost.requests, cost.latency) = served.take();
    cost
}

/// The job's command in a folder.
pub fn job(arguments: &Arguments, folder: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_privo-reconcile"));
    let mut command = Command::new(arguments.binary.as_deref().unwrap_or(built));
    command.current_dir(folder);
    command
}

/// Runs a process to its end and says what it took; its children's time is its own.
pub fn measure(command: &mut Command, good: &[i32]) -> Cost {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut cost = Cost::default();
    let proc = format!("/proc/{}", child.id());
    loop {
        let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        if fields[0] == "Z" {
            cost.wall = started.elapsed().as_secs_f64();
            // utime, stime, cutime, cstime, in hundredths of a second.
            cost.cpu = fields[11..15].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0;
            break;
        }
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        cost.memory = cost.memory.max(peak.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = child.wait().unwrap();
    assert!(status.code().is_some_and(|code| good.contains(&code)), "{command:?} ended with {status}");
    cost
}
