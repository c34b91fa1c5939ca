//! The server of the contest: knows half of the accounts, answers after a latency, counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use privo_reconcile::clock::Moment;

use crate::work::{exists, made};

/// What was served.
#[derive(Default)]
pub struct Served {
    pub requests: AtomicU64,
    pub tokens: AtomicU64,
    /// Microseconds between a request and its answer, all added up.
    pub latency: AtomicU64,
}

impl Served {
    /// Counts from zero again; gives requests and their mean latency in seconds.
    pub fn take(&self) -> (u64, f64) {
        let requests = self.requests.swap(0, Ordering::Relaxed);
        let latency = self.latency.swap(0, Ordering::Relaxed);
        (requests, latency as f64 / 1e6 / requests.max(1) as f64)
    }
}

/// Serves on a thread of its own until the process ends. Gives its URL.
pub fn start(latency: u64, jitter: u64) -> (String, Arc<Served>) {
    let served = Arc::new(Served::default());
    let (started, ready) = std::sync::mpsc::channel();
    let counted = Arc::clone(&served);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            started.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                stream.set_nodelay(true).unwrap();
                let served = Arc::clone(&counted);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| answer(request, Arc::clone(&served), latency, jitter));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .pipeline_flush(true)
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
    });
    (ready.recv().unwrap(), served)
}

async fn answer(
    request: Request<Incoming>,
    served: Arc<Served>,
    latency: u64,
    jitter: u64,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (status, body) = said(&request, &served);
    if latency > 0 && request.uri().path() != "/oauth/token" {
        let asked = Instant::now();
        tokio::time::sleep(Duration::from_micros(latency * 1000 + fastrand::u64(0..=jitter * 1000))).await;
        served.latency.fetch_add(u64::try_from(asked.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
    }
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

fn said(request: &Request<Incoming>, served: &Served) -> (u16, String) {
    let query = request.uri().query().unwrap_or_default();
    if request.uri().path() == "/oauth/token" {
        served.tokens.fetch_add(1, Ordering::Relaxed);
        return (200, r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#.to_owned());
    }
    served.requests.fetch_add(1, Ordering::Relaxed);
    let number = |prefix: &str| query.split_once(prefix)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    match request.uri().path() {
        "/api/v1.0/account/lookup" => match number("email=u") {
            Some(n) if exists(n) => (200, format!(r#"{{"sid":"s{n}"}}"#)),
            // The very key: what is nearly it must not be found.
            None if query.contains("=canary") && query.ends_with("example.com") => (200, r#"{"sid":"s0"}"#.to_owned()),
            _ => (404, r#"{"error":"not_found"}"#.to_owned()),
        },
        "/userinfo" => {
            let n: u64 = number("service_id=s").unwrap_or_default();
            let made = Moment(made(n));
            let shown = r#""given_name":"Ann","birthdate":"1980-01-01","email_verified":true"#;
            (200, format!(r#"{{"sub":"s{n}",{shown},"created_at":"{made}"}}"#))
        }
        _ => (500, String::new()),
    }
}
