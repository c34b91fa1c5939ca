//! What recording costs: the same client against the sandbox in this process, without and with the layer, alone and with
//! 64 senders at once.
//!
//! `cargo bench --bench recording [-- LATENCY_MS]`. The sandbox has a thread of its own; rounds alternate, and the median
//! round counts. A fixed latency makes requests return in lock-step, so half of it is jitter.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark that cannot be set up has failed")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use privo_reconcile::clock::Moment;
use privo_reconcile::config::Config;
use privo_reconcile::ledger::Ledger;
use privo_reconcile::ledger::recorder::Attempt;
use privo_reconcile::recording::{self, Unwritable};
use privo_reconcile::sandbox::{Faults, Sandbox, Settings};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

const ROUNDS: usize = 5;

/// Wall time and CPU time for one request, in microseconds, and the median and 99th percentile of their latencies.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

fn main() {
    let latency_ms = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(0);
    let url = sandbox(latency_ms);
    let folder = tempfile::tempdir().unwrap();
    println!(
        "sandbox latency {latency_ms} ms (half of it jitter); median of {ROUNDS} rounds; microseconds for one request"
    );
    println!("| senders | layer | wall | CPU | p50 | p99 |\n|---|---|---|---|---|---|");
    let token = token(&url);
    for senders in [1, 64] {
        let requests = if latency_ms > 0 { 200 * senders } else { if senders == 1 { 2_000 } else { 20_000 } };
        let mut costs = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (layered, costs) in costs.iter_mut().enumerate() {
                let name = format!("{senders}-{round}-{layered}");
                let client = client(&url, folder.path(), &name, layered == 1);
                costs.push(measure(&client, &url, &token, &name, senders, requests));
            }
        }
        for (costs, layer) in costs.iter_mut().zip(["without", "with"]) {
            costs.sort_by(|a, b| a.wall.total_cmp(&b.wall));
            let Cost { wall, cpu, p50, p99 } = costs[ROUNDS / 2];
            println!("| {senders} | {layer} | {wall:.0} | {cpu:.0} | {p50:.0} | {p99:.0} |");
        }
    }
    alone(&url, folder.path());
}

/// The recorder without any request: an intent and its end.
fn alone(url: &str, folder: &Path) {
    let recorder = recorder(url, folder, "alone");
    let target = format!("{url}/api/v1.0/account");
    let mut times = Vec::new();
    for n in 0..5_000 {
        let body = body("alone", n);
        let started = Instant::now();
        let id = recorder.begin_blocking(&Attempt::new("POST", &target).body(&body)).unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e6);
        let answered = privo_reconcile::ledger::record::End::Answered { status: 201, keep: false };
        recorder.end_blocking(&id, &answered).unwrap();
    }
    times.sort_by(f64::total_cmp);
    println!("one `begin` alone, durable: p50 {:.0}, p99 {:.0} microseconds", times[2_500], times[4_950]);
}

fn body(name: &str, n: usize) -> String {
    format!(
        r#"{{"role_identifier":"adult","email":"p{name}-{n}@example.com","first_name":"Ann","birth_date_yyyymmdd":"19900102","phone":"5550100"}}"#
    )
}

fn sandbox(latency_ms: u64) -> String {
    let (started, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let faults = Faults { latency_ms: latency_ms / 2, jitter_ms: latency_ms, ..Faults::default() };
            let settings = Settings {
                listen: ([127, 0, 0, 1], 0).into(),
                seed: 7,
                faults: Faults { token_lifetime_s: 86_400, ..faults },
                client_id: "sandbox".to_owned(),
                client_secret: "sandbox".to_owned(),
                service: "sandbox".to_owned(),
                clock: || Moment::now().0,
            };
            let sandbox = Sandbox::start(settings).await.unwrap();
            started.send(sandbox.url()).unwrap();
            // Until the benchmark ends.
            std::future::pending::<()>().await;
        });
    });
    ready.recv().unwrap()
}

fn plain() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(64)
}

fn token(url: &str) -> String {
    let form = [("grant_type", "client_credentials"), ("client_id", "sandbox"), ("client_secret", "sandbox")];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        let sent = plain().build().unwrap().post(format!("{url}/oauth/token")).form(&form).send().await.unwrap();
        sent.text().await.unwrap()
    });
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

fn recorder(url: &str, folder: &Path, name: &str) -> recording::Recorder {
    let text = format!("plan = \"privo-gateway\"\n[ledger]\npath = \"{name}.db\"\n[server]\nbase_url = \"{url}\"\n");
    let config = Config::parse(&folder.join("bench.toml"), &text).unwrap();
    Ledger::create(&config.ledger).unwrap();
    recording::recorder(config).unwrap()
}

fn client(url: &str, folder: &Path, name: &str, layered: bool) -> ClientWithMiddleware {
    if !layered {
        return ClientBuilder::new(plain().build().unwrap()).build();
    }
    recording::layer(recorder(url, folder, name), Unwritable::FailClosed).client(plain()).unwrap()
}

fn measure(client: &ClientWithMiddleware, url: &str, token: &str, name: &str, senders: usize, requests: usize) -> Cost {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut times = runtime.block_on(async {
        let send = |_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            let (target, token, name) = (format!("{url}/api/v1.0/account"), token.to_owned(), name.to_owned());
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= requests {
                        return times;
                    }
                    let started = Instant::now();
                    let request = client.post(&target).bearer_auth(&token).header("content-type", "application/json");
                    let answer = request.body(body(&name, n)).send().await.unwrap();
                    assert_eq!(answer.status().as_u16() / 100, 2);
                    answer.bytes().await.unwrap();
                    times.push(started.elapsed().as_secs_f64() * 1e6);
                }
            })
        };
        let tasks: Vec<_> = (0..senders).map(send).collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        times
    });
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    times.sort_by(f64::total_cmp);
    let each = 1e6 / requests as f64;
    Cost { wall: wall * each, cpu: cpu * each, p50: times[requests / 2], p99: times[requests * 99 / 100] }
}

/// CPU time of this process, the sandbox's part among it. 0 where `/proc` is not there.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
