//! Proves that the recording layer writes down every request in doubt, and that its caller cannot tell that it is there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::util::{Answer, Dir, Hostile, Platform, Setup};
use privo_reconcile::config::Config;
use privo_reconcile::recording::{self, Layer, NotRecorded, OperationId, Recorder, Unwritable};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};

const BODY: &str = r#"{"role_identifier":"adult","email":"ann@example.com","first_name":"Ann","phone":"555"}"#;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn plain() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Longer than any answer takes on however slow a machine.
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(60))
}

fn layer(dir: &Dir) -> Layer<Recorder> {
    recording::layer(dir.recorder(), Unwritable::FailClosed)
}

fn client(dir: &Dir) -> ClientWithMiddleware {
    layer(dir).client(plain()).unwrap()
}

/// What a caller can see of an outcome.
fn seen(error: &reqwest::Error) -> String {
    let kinds = [error.is_timeout(), error.is_connect(), error.is_body(), error.is_decode(), error.is_request()];
    format!("{kinds:?} {:?} {:?}", error.status(), error.url().map(url::Url::path))
}

async fn outcome(sent: Result<reqwest::Response, Error>) -> String {
    let response = match sent {
        Ok(response) => response,
        Err(Error::Reqwest(error)) => return format!("error {}", seen(&error)),
        Err(Error::Middleware(error)) => return format!("layer {error}"),
    };
    let mut headers: Vec<_> = response.headers().keys().map(ToString::to_string).collect();
    headers.sort();
    let head = format!(
        "{:?} {} {} {:?} {} {headers:?}",
        response.version(),
        response.status(),
        response.url().path(),
        response.content_length(),
        response.remote_addr().is_some(),
    );
    match response.bytes().await {
        Ok(bytes) => format!("{head} {}", bytes.len()),
        Err(error) => format!("{head} error {}", seen(&error)),
    }
}

fn post(
    client: &ClientWithMiddleware,
    platform: &Platform,
    fate: &str,
    body: String,
) -> reqwest_middleware::RequestBuilder {
    let request = client.post(format!("{}/api/v1.0/account", platform.url));
    // What is never answered need not be waited for long.
    let request = if fate.starts_with("hang") { request.timeout(Duration::from_secs(1)) } else { request };
    request
        .bearer_auth(platform.token())
        .header("content-type", "application/json")
        .header("x-sandbox-fate", fate)
        .body(body)
}

fn body(n: usize) -> String {
    BODY.replace("ann@", &format!("ann{n}@"))
}

/// Failure and status of every entry.
fn kinds(dir: &Dir) -> Vec<(String, Option<u16>)> {
    dir.recorded().into_iter().map(|(_, failure, status)| (failure, status)).collect()
}

fn kind(failure: &str, status: Option<u16>) -> Vec<(String, Option<u16>)> {
    vec![(failure.to_owned(), status)]
}

#[test]
fn every_outcome_is_the_same_with_and_without_and_recorded_as_what_it_is() {
    let platform = Platform::start();
    type Recorded = Option<(&'static str, Option<u16>)>;
    let cases: [(&str, Recorded); 10] = [
        ("plain", None),
        ("refused", None),
        ("unauthorised", None),
        ("too-many", Some(("http", Some(429)))),
        ("error-before", Some(("http", Some(503)))),
        ("error-after", Some(("http", Some(500)))),
        ("lost-before", Some(("network", None))),
        ("lost-after", Some(("network", None))),
        ("cut", Some(("network", None))),
        ("hang-after", Some(("timeout", None))),
    ];
    for (n, (fate, recorded)) in cases.into_iter().enumerate() {
        // A refused token is forgotten: each case has a platform's own.
        let platform = if fate == "unauthorised" { &Platform::start() } else { &platform };
        let dir = Dir::of(platform);
        let (with, without) = block_on(async {
            let without = ClientBuilder::new(plain().build().unwrap()).build();
            let without = outcome(post(&without, platform, fate, body(2 * n)).send().await).await;
            let platform = if fate == "unauthorised" { &Platform::start() } else { platform };
            dir.configure(&Setup::of(platform));
            (outcome(post(&client(&dir), platform, fate, body(2 * n + 1)).send().await).await, without)
        });
        let sid_apart = |text: &str| text.replace(char::is_numeric, "0");
        assert_eq!(sid_apart(&with), sid_apart(&without), "{fate}");
        let expected: Vec<_> = recorded.map(|(failure, status)| (failure.to_owned(), status)).into_iter().collect();
        assert_eq!(kinds(&dir), expected, "{fate}");
    }
}

#[test]
fn a_refused_connection_is_not_sent_only_where_nothing_can_have_been_sent_before() {
    let dir = Dir::new(&Setup::bare("http://127.0.0.1:9"));
    let url = "http://127.0.0.1:9/api/v1.0/account";
    block_on(client(&dir).post(url).body(BODY).send()).unwrap_err();
    assert_eq!(kinds(&dir), kind("not_sent", None));
    // The first server took the request, and sends its client to one that is not there.
    let elsewhere = Hostile::start(|_, _| {
        Answer::Whole("307 Temporary Redirect", "location: http://127.0.0.1:9/\r\n", String::new())
    });
    let dir = Dir::new(&Setup::bare(&elsewhere.url));
    let follows = ClientBuilder::new(plain().build().unwrap()).with(layer(&dir)).build();
    let error = block_on(follows.post(format!("{}/api/v1.0/account", elsewhere.url)).body(BODY).send()).unwrap_err();
    assert!(error.is_connect());
    assert_eq!(kinds(&dir), kind("network", None));
    // A client of the layer's own does not follow.
    let dir = Dir::new(&Setup::bare(&elsewhere.url));
    let answer = block_on(client(&dir).post(format!("{}/api/v1.0/account", elsewhere.url)).body(BODY).send()).unwrap();
    assert_eq!((answer.status().as_u16(), kinds(&dir)), (307, Vec::new()));
}

#[test]
fn an_answer_from_where_a_redirect_led_is_in_doubt() {
    let server = Hostile::start(|asked, _| match asked.path.as_str() {
        "/login" => Answer::html("200 OK"),
        _ => Answer::Whole("302 Found", "location: /login\r\n", String::new()),
    });
    let dir = Dir::new(&Setup::bare(&server.url));
    let follows = ClientBuilder::new(plain().build().unwrap()).with(layer(&dir)).build();
    let answer = block_on(follows.post(format!("{}/api/v1.0/account", server.url)).body(BODY).send()).unwrap();
    assert_eq!((answer.status().as_u16(), answer.url().path()), (200, "/login"));
    assert_eq!(kinds(&dir), kind("network", None));
}

#[test]
fn what_the_plan_does_not_know_leaves_no_trace() {
    let server = Hostile::start(|_, _| Answer::html("503 Service Unavailable"));
    let dir = Dir::new(&Setup::bare(&server.url));
    let client = client(&dir);
    block_on(async {
        for path in ["/elsewhere", "/oauth/token", "/api/v1.0/account/check/email"] {
            assert_eq!(client.post(format!("{}{path}", server.url)).body(BODY).send().await.unwrap().status(), 503);
        }
        assert_eq!(client.get(format!("{}/userinfo", server.url)).send().await.unwrap().status(), 503);
    });
    assert_eq!(kinds(&dir), []);
}

#[test]
fn little_of_a_body_is_kept_and_of_a_stream_nothing() {
    let server = Hostile::start(|_, _| Answer::html("503 Service Unavailable"));
    let dir = Dir::new(&Setup::bare(&server.url));
    let warned = Arc::new(Mutex::new(Vec::new()));
    let warned_too = Arc::clone(&warned);
    let layer = layer(&dir).warn(move |warning| warned_too.lock().unwrap().push(warning.to_string()));
    let client = layer.client(plain()).unwrap();
    let url = format!("{}/api/v1.0/account", server.url);
    block_on(async {
        client.post(&url).body(BODY).send().await.unwrap();
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(BODY.to_owned())]);
        client.post(&url).body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    });
    let db = dir.db();
    let mut statement = db.prepare("SELECT body FROM entries ORDER BY id").unwrap();
    let bodies: Vec<Option<String>> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(bodies, [Some(r#"{"email":"ann@example.com","first_name":"Ann"}"#.to_owned()), None]);
    let warned = warned.lock().unwrap();
    assert!(warned.len() == 1 && warned[0].contains("streamed") && !warned[0].contains("ann"), "{warned:?}");
}

#[test]
fn a_full_ledger_stops_the_request_or_only_warns() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    dir.refuse_entries();
    let before = platform.requests("POST /api/v1.0/account");
    let sent = block_on(post(&client(&dir), &platform, "plain", body(0)).send());
    let Err(Error::Middleware(error)) = sent else { panic!("{sent:?}") };
    assert!(error.is::<NotRecorded>() && !format!("{error:#}").contains("ann"), "{error:#}");
    assert_eq!(platform.requests("POST /api/v1.0/account"), before);

    let warned = Arc::new(Mutex::new(Vec::new()));
    let warned_too = Arc::clone(&warned);
    let client = recording::layer(dir.recorder(), Unwritable::SendAnyway)
        .warn(move |warning| warned_too.lock().unwrap().push(warning.to_string()))
        .client(plain())
        .unwrap();
    let sent = block_on(post(&client, &platform, "plain", body(1)).send()).unwrap();
    assert_eq!(sent.status().as_u16() / 100, 2);
    let warned = warned.lock().unwrap();
    assert!(warned.len() == 1 && warned[0].contains("without a record") && !warned[0].contains("ann"), "{warned:?}");
}

#[test]
fn a_read_only_ledger_is_refused_before_anything_is_sent() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let file = dir.file("ledger.db");
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file, permissions).unwrap();
    if std::fs::File::options().write(true).open(&file).is_ok() {
        eprintln!("skipped: this user may write what is read-only");
        return;
    }
    let config = Config::load(Some(&dir.file("privo-reconcile.toml"))).unwrap();
    let error = format!("{:#}", recording::recorder(config).unwrap_err());
    assert!(error.contains("cannot be written") && error.contains("2770"), "{error}");
}

/// Frees the ledger while the request is under way.
struct Mends(Arc<Dir>);

#[async_trait::async_trait]
impl Middleware for Mends {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut hyper::http::Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response, Error> {
        self.0.db().execute_batch("DROP TRIGGER full").unwrap();
        next.run(request, extensions).await
    }
}

#[test]
fn what_was_sent_anyway_and_ended_in_doubt_is_recorded_when_the_ledger_is_back() {
    let platform = Platform::start();
    let dir = Arc::new(Dir::of(&platform));
    dir.refuse_entries();
    let layer = recording::layer(dir.recorder(), Unwritable::SendAnyway).warn(|_| ());
    let client = ClientBuilder::new(plain().build().unwrap()).with(layer).with(Mends(Arc::clone(&dir))).build();
    assert_eq!(block_on(post(&client, &platform, "error-after", body(0)).send()).unwrap().status(), 500);
    assert_eq!(kinds(&dir), kind("http", Some(500)));
}

/// A partner's own retries, around the layer.
struct Twice;

#[async_trait::async_trait]
impl Middleware for Twice {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut hyper::http::Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response, Error> {
        let mut again = request.try_clone().unwrap();
        again.headers_mut().insert("x-sandbox-fate", "plain".parse().unwrap());
        let _ = next.clone().run(request, extensions).await;
        next.run(again, extensions).await
    }
}

#[test]
fn retries_are_attempts_of_one_operation_and_their_answer_is_evidence() {
    let platform = Platform::start();
    for named in [true, false] {
        let dir = Dir::of(&platform);
        let client = ClientBuilder::new(plain().build().unwrap()).with(Twice).with(layer(&dir)).build();
        let request = post(&client, &platform, "lost-after", body(usize::from(named)));
        let request = if named { request.with_extension(OperationId("order-7".to_owned())) } else { request };
        let status = block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            answer.bytes().await.unwrap();
            status
        });
        drop(client);
        assert_eq!(kinds(&dir), [("network".to_owned(), None), ("answered".to_owned(), Some(status))]);
        assert_eq!(dir.count("SELECT count(DISTINCT operation_id) FROM entries"), 1);
        assert_eq!(dir.count("SELECT count(*) FROM entries WHERE operation_id = 'order-7'") == 2, named);
    }
}

#[test]
fn a_caller_that_stops_waiting_leaves_a_timeout() {
    let server = Hostile::start(|_, _| Answer::Hang);
    let dir = Dir::new(&Setup::bare(&server.url));
    let client = client(&dir);
    block_on(async {
        let sent = client.post(format!("{}/api/v1.0/account", server.url)).body(BODY).send();
        let arrived = async {
            while server.asked().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = arrived => {}
            answered = sent => panic!("{answered:?}"),
        }
    });
    drop(client);
    assert_eq!(kinds(&dir), kind("timeout", None));
}

#[test]
fn an_outage_through_the_layer_is_settled_without_a_wrong_verdict() {
    let platform = Platform::start();
    let dir = Dir::of(&platform);
    let client = client(&dir);
    let fates = ["plain", "lost-before", "lost-after", "error-before", "error-after", "cut", "refused"];
    block_on(async {
        for n in 0..70 {
            let cause = format!("r{n}");
            let sent = post(&client, &platform, fates[n % fates.len()], body(n)).header("x-sandbox-request", cause);
            if let Ok(answer) = sent.send().await {
                drop(answer.bytes().await);
            }
        }
    });
    drop(client);
    assert_eq!(kinds(&dir).len(), 50);
    dir.runs(4);
    dir.due();
    dir.runs(0);
    for row in dir.report() {
        let n: usize = dir
            .db()
            .query_row("SELECT body FROM entries WHERE request_id = ?", [&row["request_id"]], |found| {
                let body: String = found.get(0)?;
                Ok(body.split(['@', '"']).find_map(|part| part.strip_prefix("ann")?.parse().ok()).unwrap())
            })
            .unwrap();
        let there = fates[n % fates.len()].ends_with("after") || fates[n % fates.len()] == "cut";
        assert_eq!(row["outcome"] == "not-applied", !there, "{row:?}");
    }
}
