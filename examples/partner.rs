//! A partner's service in Rust that loses no request in doubt: the library's ledger, an intent before each request.
//!
//! The order matters: store what you learned in your own database first, then end the intent. A crash between the two
//! leaves an intent too many, which costs a lookup; the other way round it would leave a request that nobody knows of.
//!
//! `cargo run --example partner -- register --url URL --token TOKEN --config FILE --log FILE --count 10`

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::http::{Http, Outgoing, Settings, Transport};
use privo_reconcile::ledger::journal::Step;
use privo_reconcile::ledger::record::End;
use privo_reconcile::ledger::{Ledger, NewEntry};
use privo_reconcile::plan::Reader;
use privo_reconcile::words::{Direction, Failure};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

const PATH: &str = "/api/v1.0/account";

/// A registration as it is sent.
struct Registration<'a> {
    request_id: &'a str,
    operation_id: &'a str,
    url: &'a str,
    body: &'a str,
    fate: Option<&'a str>,
}

struct Service<'a> {
    ledger: Ledger,
    config: &'a Config,
    http: Http,
    token: SecretString,
    /// Stands for the service's own database: what it knows after a crash.
    log: File,
}

impl Service<'_> {
    fn note(&mut self, line: &str) -> Result<()> {
        self.log.write_all(format!("{line}\n").as_bytes())?;
        Ok(self.log.sync_data()?)
    }

    /// Durable when it returns; when it fails, do not send.
    fn begin(&mut self, registration: &Registration) -> Result<()> {
        let reader = Reader {
            plan: &self.config.plan,
            server: &self.config.server.base_url,
            salt: self.ledger.salt(),
            also: &[],
        };
        let body = reader.minimal(Direction::Outbound, "POST", registration.url, registration.body);
        let entry = NewEntry {
            request_id: registration.request_id,
            operation_id: Some(registration.operation_id),
            direction: Direction::Outbound,
            method: "POST",
            url: registration.url,
            body: body.as_deref(),
            sent_at: Moment::now(),
            ended_at: None,
            failure: Failure::Intent,
            http_status: None,
            error: None,
        };
        self.take_down(Step::Record(entry))
    }

    fn end(&mut self, request_id: &str, end: End) -> Result<()> {
        self.take_down(Step::End { request_id, ended_at: Moment::now(), end })
    }

    fn take_down(&mut self, step: Step) -> Result<()> {
        self.ledger.take_down(&[step])?.into_iter().try_for_each(|became| became.map(|_| ()))
    }

    /// Sends once; whether it may be tried again.
    async fn attempt(&mut self, registration: &Registration<'_>) -> Result<bool> {
        let request_id = registration.request_id;
        self.begin(registration)?;
        self.note(&format!("begun {request_id}"))?;
        let mut headers = vec![("x-sandbox-request", request_id)];
        headers.extend(registration.fate.map(|fate| ("x-sandbox-fate", fate)));
        let outgoing = Outgoing {
            method: "POST",
            path_and_query: PATH,
            token: Some(&self.token),
            json: Some(registration.body),
            headers: &headers,
            ..Outgoing::default()
        };
        match self.http.send(&outgoing).await.map(|exchange| exchange.answer.status) {
            // What is no last answer (101) leaves open what became of the request.
            Ok(0..200) => {
                let end = End::Failed { failure: Failure::Network, http_status: None, error: None };
                self.end(request_id, end)?;
            }
            Ok(status) if status < 500 && ![408, 425, 429, 499].contains(&status) => {
                self.note(&format!("learned {request_id} {status}"))?;
                self.end(request_id, End::Answered { status, keep: false })?;
                return Ok(false);
            }
            Ok(status) => {
                let end = End::Failed { failure: Failure::Http, http_status: Some(status), error: None };
                self.end(request_id, end)?;
            }
            Err(broken) => {
                let end = End::Failed { failure: broken.failure, http_status: None, error: Some(&broken.cause) };
                self.end(request_id, end)?;
            }
        }
        Ok(true)
    }

    async fn register(&mut self, n: usize, seed: &str, url: &str, fates: &[&str]) -> Result<()> {
        let body = json!({ "email": format!("p{n}-s{seed}@example.com"), "first_name": "Ann",
            "birth_date_yyyymmdd": "19900102", "phone": "555" })
        .to_string();
        self.note(&format!("sending {n}"))?;
        let operation_id = format!("{seed}-{n}");
        // Every fourth is tried once more when it ends in doubt, under the same operation id.
        for attempt in 1..=if n.is_multiple_of(4) { 2 } else { 1 } {
            let request_id = format!("{operation_id}-{attempt}");
            let fate = fates.get(n.checked_rem(fates.len()).unwrap_or(0)).copied().filter(|_| attempt == 1);
            let (request_id, operation_id) = (request_id.as_str(), operation_id.as_str());
            if !self.attempt(&Registration { request_id, operation_id, url, body: &body, fate }).await? {
                break;
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let pairs = words.chunks_exact(2).map(|pair| (pair[0].trim_start_matches("--"), pair[1].as_str()));
    let options: HashMap<&str, &str> = pairs.collect();
    let option = |name: &str| options.get(name).copied().with_context(|| format!("--{name} is missing"));
    let number = |name: &str, usual: usize| options.get(name).map_or(Ok(usual), |text| text.parse());
    let base = Url::parse(option("url")?)?;
    let config = Config::load(Some(Path::new(option("config")?)))?;
    let timeout = Span(i64::try_from(number("timeout-ms", 10_000)?)?);
    let mut service = Service {
        ledger: Ledger::open(&config.ledger)?,
        config: &config,
        http: Http::new(&Settings { base: &base, timeout, connections: 1, ca_pem: None })?,
        token: SecretString::from(option("token")?.to_owned()),
        log: File::options().append(true).create(true).open(option("log")?)?,
    };
    let (first, count) = (number("first", 0)?, number("count", 1)?);
    let fates: Vec<&str> = options.get("fates").map(|fates| fates.split(',').collect()).unwrap_or_default();
    let seed = options.get("seed").copied().unwrap_or("1");
    let url = format!("{}{PATH}", option("url")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for n in first..first + count {
            service.register(n, seed, &url, &fates).await?;
        }
        Ok(())
    })
}
