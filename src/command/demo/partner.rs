//! The partner: sends what it wants over real HTTP, gives up or tries again when it fails, and remembers each attempt as
//! its sender saw it.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::task::{Series, Task};
use crate::clock::{Moment, Span};
use crate::http::{Http, Outgoing, Settings, Transport};
use crate::sandbox::CAUSE_HEADER;
use crate::words::{Direction, Failure};

/// Errands at once.
const CONCURRENCY: usize = 16;

/// Attempts at one wish, at the most.
const ATTEMPTS: usize = 4;

/// A sender that gives up waiting does so after this time.
const PATIENCE: Span = Span(700);

/// One attempt as its sender knows it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub request_id: String,
    pub sent: Moment,
    /// `None`: the sender crashed.
    pub ended: Option<Moment>,
    pub failure: Failure,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// A wish with what came of it for its sender.
#[derive(Clone, Debug)]
pub struct Played {
    pub task: Task,
    pub direction: Direction,
    pub attempts: Vec<Attempt>,
    /// Of another operation of the same errand that ended in doubt.
    pub sibling_in_doubt: bool,
    later: bool,
}

/// The partner's client.
pub struct Partner {
    http: Http,
    /// A port where nobody listens.
    nobody: Http,
    url: String,
    service: String,
    token: SecretString,
}

impl Attempt {
    fn in_doubt(&self) -> bool {
        self.failure != Failure::Answered
    }
}

impl Played {
    /// A wish of which nothing was sent yet.
    pub fn new(task: Task, direction: Direction) -> Played {
        Played { task, direction, attempts: Vec::new(), sibling_in_doubt: false, later: false }
    }

    /// Some attempt has no definite answer, so the operation goes into the ledger.
    pub fn in_doubt(&self) -> bool {
        self.attempts.iter().any(Attempt::in_doubt)
    }
}

/// What the sender does after an attempt.
enum Next {
    Done,
    Again,
    AfterTheOutage,
}

impl Partner {
    /// A client of the sandbox at `url`, with a token.
    pub async fn enter(url: &str, client: &str, service: &str) -> Result<Partner> {
        let http = client_of(url)?;
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", client)];
        let outgoing =
            Outgoing { method: "POST", path_and_query: "/oauth/token", form: Some(&form), ..Outgoing::default() };
        let exchange = http.send(&outgoing).await.map_err(|broken| anyhow!("no token: {}", broken.cause))?;
        let answer: Value = serde_json::from_slice(&exchange.answer.body).context("failed to read the token")?;
        let token = answer.get("access_token").and_then(Value::as_str).context("the sandbox issued no token")?;
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Partner {
            http,
            nobody: client_of(&format!("http://{free}"))?,
            url: url.to_owned(),
            service: service.to_owned(),
            token: SecretString::from(token.to_owned()),
        })
    }

    /// A path of the consent service.
    pub fn service_path(&self, rest: &str) -> String {
        format!("/s2s/api/v1.0/{}/{rest}", self.service)
    }

    /// The absolute URL of a path.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Sends what must succeed; gives the answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let outgoing = Outgoing {
            method: "POST",
            path_and_query: path,
            token: Some(&self.token),
            json: Some(&body),
            ..Outgoing::default()
        };
        let exchange = self.http.send(&outgoing).await.map_err(|broken| anyhow!("no answer: {}", broken.cause))?;
        if !(200..300).contains(&exchange.answer.status) {
            bail!("the sandbox answered {} to {path}", exchange.answer.status);
        }
        serde_json::from_slice(&exchange.answer.body).context("failed to read the sandbox's answer")
    }

    /// Goes on many errands, some at once, telling `did` of each. Those left for after the outage come back unfinished.
    pub async fn go(&self, all_series: Vec<Series>, did: &dyn Fn()) -> Vec<Played> {
        let all_series = stream::iter(all_series).map(|series| async move {
            let played = self.go_on(series).await;
            did();
            played
        });
        all_series.buffer_unordered(CONCURRENCY).flat_map(stream::iter).collect().await
    }

    async fn go_on(&self, series: Series) -> Vec<Played> {
        let mut first = Played::new(series.first, Direction::Outbound);
        self.try_for(&mut first, true).await;
        match series.again {
            Some(again) if first.in_doubt() => {
                let mut again = Played::new(again, Direction::Outbound);
                self.try_for(&mut again, true).await;
                again.sibling_in_doubt = true;
                vec![first, again]
            }
            _ => vec![first],
        }
    }

    /// After the outage: tries again for those wishes that were left.
    pub async fn go_on_with(&self, played: Vec<Played>) -> Vec<Played> {
        let finished = stream::iter(played).map(|mut played| async move {
            if std::mem::take(&mut played.later) {
                self.try_for(&mut played, false).await;
            }
            played
        });
        finished.buffer_unordered(CONCURRENCY).collect().await
    }

    async fn try_for(&self, played: &mut Played, outage: bool) {
        let mut rng = Rng::with_seed(played.task.seed ^ played.attempts.len() as u64);
        while played.attempts.len() < ATTEMPTS {
            let request_id = format!("{}-{}", played.task.operation, played.attempts.len() + 1);
            let attempt = self.attempt(&played.task, request_id, outage, &mut rng).await;
            let next = after(&attempt, played.task.repeatable, outage, &mut rng);
            played.attempts.push(attempt);
            match next {
                Next::Done => return,
                Next::AfterTheOutage => {
                    played.later = true;
                    return;
                }
                Next::Again => tokio::time::sleep(Duration::from_millis(rng.u64(5..40))).await,
            }
        }
    }

    async fn attempt(&self, task: &Task, request_id: String, outage: bool, rng: &mut Rng) -> Attempt {
        let sent = Moment::now();
        let mishap = if outage { rng.u8(..100) } else { 100 };
        let crashed = Attempt {
            request_id: request_id.clone(),
            sent,
            ended: None,
            failure: Failure::Intent,
            status: None,
            error: None,
        };
        let (http, crashes) = match mishap {
            0..2 => (&self.nobody, false),
            2 => return crashed,
            3 => (&self.http, true),
            _ => (&self.http, false),
        };
        let headers = [(CAUSE_HEADER, request_id.as_str())];
        let outgoing = Outgoing {
            method: task.method,
            path_and_query: &task.path,
            token: Some(&self.token),
            json: task.body.as_deref(),
            headers: &headers,
            ..Outgoing::default()
        };
        let result = http.send(&outgoing).await;
        if crashes {
            // It was sent; whatever came back, nobody was left to note it.
            return crashed;
        }
        let (failure, status, error) = match result {
            Ok(exchange) if exchange.answer.status >= 500 => (Failure::Http, Some(exchange.answer.status), None),
            Ok(exchange) => (Failure::Answered, Some(exchange.answer.status), None),
            Err(broken) => (broken.failure, None, Some(broken.cause)),
        };
        Attempt { request_id, sent, ended: Some(Moment::now()), failure, status, error }
    }
}

fn after(attempt: &Attempt, repeatable: bool, outage: bool, rng: &mut Rng) -> Next {
    match (attempt.failure, attempt.status) {
        (Failure::Answered, Some(429)) => return Next::Again,
        (Failure::Answered, _) => return Next::Done,
        _ => {}
    }
    // Careful about what the server does not keep unique, but not careful enough.
    let (again, later) = if repeatable { (30, 25) } else { (12, 12) };
    match rng.u8(..100) {
        draw if draw < again => Next::Again,
        draw if draw < again + later && outage => Next::AfterTheOutage,
        _ => Next::Done,
    }
}

fn client_of(url: &str) -> Result<Http> {
    let base = Url::parse(url).context("the sandbox's address is no URL")?;
    Http::new(&Settings { base: &base, timeout: PATIENCE, connections: CONCURRENCY, ca_pem: None })
}
