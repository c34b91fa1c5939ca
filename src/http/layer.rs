//! A layer for `reqwest-middleware` that records what a client sends. It repeats nothing and changes no outcome.
//!
//! It knows the ledger only as something that can [`Record`]; [`crate::recording`] joins the two.
//!
//! # Where it belongs
//! Innermost: attached last, within any layer that repeats requests, so that every attempt is recorded as one. A layer
//! that makes an [`OperationId`] leaves it in the request's extensions, where the next attempt finds it.
//!
//! # What was surely not sent
//! A client that follows redirects reports a connection that failed on the second hop like one that failed on the first.
//! So a failed connection counts as `not_sent` only with a client that does neither redirects nor retries of its own:
//! one that [`Layer::client`] made, or that [`Layer::one_shot`] vouches for. With any other it is `network`.
//!
//! # When an attempt has ended
//! A 5xx, and a status that the plan lists, is in doubt; a 3xx or 4xx is an answer when its head is there; a 2xx when its
//! body is there too, for the id of what was made is in it. An answer from elsewhere than the request's URL is in doubt,
//! for a redirect stands between them. A future that is dropped while it waits is a timeout of its owner's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::http;
use reqwest::ResponseBuilderExt;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next, Result};

use super::classed;
use crate::clock::Moment;
use crate::words::Failure;

/// Why something could not be recorded.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// One attempt as the layer sees it.
#[derive(Clone, Debug)]
pub struct Sending {
    pub request_id: String,
    pub operation_id: String,
    pub method: String,
    pub url: String,
    /// As sent; `None` when there is none, or when it is streamed and cannot be read twice.
    pub body: Option<String>,
    pub sent_at: Moment,
    /// What a person should know of the record.
    pub note: Option<&'static str>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Answered { status: u16 },
    Failed { failure: Failure, http_status: Option<u16>, cause: &'static str },
}

/// What records, seen from here.
pub trait Record: Send + Sync + 'static {
    /// Whether a request is one to record.
    fn concerns(&self, method: &str, url: &str) -> bool;
    /// Whether an answer leaves open what became of the request.
    fn in_doubt(&self, status: u16) -> bool;
    /// A new id.
    fn new_id(&self) -> String;
    /// Writes an intent; it is durable when this returns.
    fn begin(&self, sending: &Sending) -> impl Future<Output = std::result::Result<(), Trouble>> + Send;
    /// Ends an intent; it is durable when this returns.
    fn end(&self, request_id: &str, heard: &Heard) -> impl Future<Output = std::result::Result<(), Trouble>> + Send;
    /// Ends an intent when there is time for it.
    fn end_later(&self, request_id: &str, heard: &Heard, trouble: impl FnOnce(Trouble) + Send + 'static);
    /// Writes an attempt that is over and could not be written ahead.
    fn record(&self, sending: &Sending, heard: &Heard)
    -> impl Future<Output = std::result::Result<(), Trouble>> + Send;
}

/// What to do with a request that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// It is not sent; the caller gets [`NotRecorded`].
    FailClosed,
    /// It is sent, and the warning is told.
    SendAnyway,
}

/// The partner's own id of an operation, put into a request's extensions: what its retries share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperationId(pub String);

/// The request was not sent, for it could not be recorded. The source of a `reqwest_middleware::Error::Middleware`.
#[derive(Debug)]
pub struct NotRecorded(Trouble);

impl std::fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request was not sent, for it could not be recorded")
    }
}

impl std::error::Error for NotRecorded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Something was not recorded as it should be. It holds ids and causes, no personal data.
#[derive(Debug)]
pub struct Warning<'a> {
    pub request_id: &'a str,
    pub what: &'static str,
    pub why: Option<&'a (dyn std::error::Error + Send + Sync)>,
}

impl std::fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "request {}: {}", self.request_id, self.what)?;
        self.why.map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

type Warn = Arc<dyn Fn(&Warning) + Send + Sync>;

/// The layer.
pub struct Layer<R> {
    shared: Arc<Shared<R>>,
    unwritable: Unwritable,
}

struct Shared<R> {
    record: R,
    one_shot: bool,
    warn: Warn,
}

impl<R: Record> Layer<R> {
    /// Records with this. Warnings go to standard error, see [`Layer::warn`].
    pub fn new(record: R, unwritable: Unwritable) -> Layer<R> {
        let warn: Warn = Arc::new(|warning| eprintln!("privo-reconcile: warning: {warning}"));
        Layer { shared: Arc::new(Shared { record, one_shot: false, warn }), unwritable }
    }

    /// Tells warnings to this instead. It may be called on the recorder's thread and must be quick.
    #[must_use]
    pub fn warn(self, warn: impl Fn(&Warning) + Send + Sync + 'static) -> Layer<R> {
        self.with(|shared| shared.warn = Arc::new(warn))
    }

    /// Says that the client neither follows redirects nor retries by itself, and that this layer is attached last.
    #[must_use]
    pub fn one_shot(self) -> Layer<R> {
        self.with(|shared| shared.one_shot = true)
    }

    /// Makes a client with this layer, without redirects and retries.
    ///
    /// # Errors
    /// As `reqwest::ClientBuilder::build`.
    pub fn client(self, builder: reqwest::ClientBuilder) -> reqwest::Result<ClientWithMiddleware> {
        super::set_up_tls();
        let client = builder.redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never()).build()?;
        Ok(ClientBuilder::new(client).with(self.one_shot()).build())
    }

    fn with(mut self, change: impl FnOnce(&mut Shared<R>)) -> Layer<R> {
        // Nobody else has it yet.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
    }
}

#[async_trait::async_trait]
impl<R: Record> Middleware for Layer<R> {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response> {
        let record = &self.shared.record;
        if !record.concerns(request.method().as_str(), request.url().as_str()) {
            return next.run(request, extensions).await;
        }
        let sending = sending(record, &request, extensions);
        let mut open = Open { shared: Arc::clone(&self.shared), sending, stage: Stage::Writing };
        if let Some(note) = open.sending.note {
            open.warn(note, None);
        }
        match record.begin(&open.sending).await {
            Ok(()) => open.stage = Stage::Sent { written: true },
            Err(trouble) if self.unwritable == Unwritable::FailClosed => {
                open.stage = Stage::Ended;
                return Err(Error::middleware(NotRecorded(trouble)));
            }
            Err(trouble) => {
                open.warn("sent without a record", Some(trouble.as_ref()));
                open.stage = Stage::Sent { written: false };
            }
        }
        let url = request.url().clone();
        let outcome = next.run(request, extensions).await;
        let heard = match &outcome {
            Ok(response) if !same_place(response.url(), &url) => failed(Failure::Network, "a redirect was followed"),
            Ok(response) => of_status(record, response.status().as_u16()),
            Err(error) => of_error(error, self.shared.one_shot),
        };
        match (outcome, heard) {
            (Ok(response), Heard::Answered { status: 200..300 }) => Ok(watched(response, open)),
            (outcome, heard @ Heard::Answered { .. }) => {
                open.leave(&heard);
                outcome
            }
            (outcome, heard @ Heard::Failed { .. }) => {
                open.end(&heard).await;
                outcome
            }
        }
    }
}

fn sending<R: Record>(record: &R, request: &reqwest::Request, extensions: &mut http::Extensions) -> Sending {
    let request_id = record.new_id();
    let operation_id = extensions.get_or_insert_with(|| OperationId(request_id.clone())).0.clone();
    let (body, note) = match request.body().map(reqwest::Body::as_bytes) {
        None => (None, None),
        Some(None) => (None, Some("the body is streamed and not recorded")),
        Some(Some(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some("the body is no text and not recorded")),
        },
    };
    let (method, url) = (request.method().to_string(), request.url().to_string());
    Sending { request_id, operation_id, method, url, body, sent_at: Moment::now(), note }
}

fn same_place(one: &url::Url, other: &url::Url) -> bool {
    let place = |url: &url::Url| (url.origin(), url.path().to_owned(), url.query().map(str::to_owned));
    place(one) == place(other)
}

fn failed(failure: Failure, cause: &'static str) -> Heard {
    Heard::Failed { failure, http_status: None, cause }
}

fn of_status<R: Record>(record: &R, status: u16) -> Heard {
    match status {
        status if record.in_doubt(status) => {
            Heard::Failed { failure: Failure::Http, http_status: Some(status), cause: "an answer in doubt" }
        }
        200..500 => Heard::Answered { status },
        _ => failed(Failure::Network, "an answer with a status outside 200 to 599"),
    }
}

fn of_error(error: &Error, one_shot: bool) -> Heard {
    match error {
        // Another layer within this one: it may have sent or not.
        Error::Middleware(_) => failed(Failure::Network, "an inner layer failed"),
        Error::Reqwest(error) => {
            let (failure, cause) = classed(error);
            match failure {
                Failure::NotSent if !one_shot => failed(Failure::Network, cause),
                failure => failed(failure, cause),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The intent is being written; nothing was sent.
    Writing,
    Sent {
        written: bool,
    },
    /// An answer's body is being read.
    Reading {
        written: bool,
        status: u16,
        begun: bool,
    },
    Ended,
}

/// An attempt that has not ended. Dropping it ends it as what its stage says.
struct Open<R: Record> {
    shared: Arc<Shared<R>>,
    sending: Sending,
    stage: Stage,
}

impl<R: Record> Open<R> {
    fn warn(&self, what: &'static str, why: Option<&(dyn std::error::Error + Send + Sync)>) {
        (self.shared.warn)(&Warning { request_id: &self.sending.request_id, what, why });
    }

    fn written(&self) -> bool {
        match self.stage {
            Stage::Writing | Stage::Ended => true,
            Stage::Sent { written } | Stage::Reading { written, .. } => written,
        }
    }

    /// Ends it durably. What was not written ahead is written now.
    async fn end(mut self, heard: &Heard) {
        let record = &self.shared.record;
        let ended = match self.written() {
            true => record.end(&self.sending.request_id, heard).await,
            false => record.record(&self.sending, heard).await,
        };
        if let Err(trouble) = ended {
            self.warn("its end is not recorded", Some(trouble.as_ref()));
        }
        self.stage = Stage::Ended;
    }

    /// Ends it without waiting.
    fn leave(mut self, heard: &Heard) {
        self.leave_now(heard);
    }

    fn leave_now(&mut self, heard: &Heard) {
        let written = self.written();
        self.stage = Stage::Ended;
        if !written {
            // Answered: nothing is in doubt. Else, nothing more can be done: there is nobody to wait.
            if matches!(heard, Heard::Failed { .. }) {
                self.warn("in doubt, and not recorded", None);
            }
            return;
        }
        let (warn, request_id) = (Arc::clone(&self.shared.warn), self.sending.request_id.clone());
        self.shared.record.end_later(&self.sending.request_id, heard, move |trouble| {
            let what = "its end is not recorded";
            warn(&Warning { request_id: &request_id, what, why: Some(trouble.as_ref()) });
        });
    }
}

impl<R: Record> Drop for Open<R> {
    fn drop(&mut self) {
        let heard = match self.stage {
            Stage::Ended => return,
            Stage::Writing => failed(Failure::NotSent, "not sent"),
            Stage::Sent { .. } => failed(Failure::Timeout, "its caller stopped waiting"),
            // Whoever does not read the body wanted the status only.
            Stage::Reading { status, begun: false, .. } => Heard::Answered { status },
            Stage::Reading { begun: true, .. } => failed(Failure::Timeout, "its caller stopped reading the answer"),
        };
        self.leave_now(&heard);
    }
}

/// The same response, with a body that ends the attempt when it has been read.
fn watched<R: Record>(response: reqwest::Response, mut open: Open<R>) -> reqwest::Response {
    let status = response.status().as_u16();
    open.stage = Stage::Reading { written: open.written(), status, begun: false };
    let url = response.url().clone();
    let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    if body.is_end_stream() {
        open.leave(&Heard::Answered { status });
        return rebuilt(parts, url, body);
    }
    rebuilt(parts, url, reqwest::Body::wrap(Watched { body, open: Some(open), status }))
}

fn rebuilt(mut parts: http::response::Parts, url: url::Url, body: reqwest::Body) -> reqwest::Response {
    // The URL has a private place among the extensions, which only a builder can fill.
    let (mut own, ()) = http::Response::builder().url(url).body(()).unwrap_or_default().into_parts();
    parts.extensions.extend(std::mem::take(&mut own.extensions));
    http::Response::from_parts(parts, body).into()
}

struct Watched<R: Record> {
    body: reqwest::Body,
    open: Option<Open<R>>,
    status: u16,
}

impl<R: Record> Watched<R> {
    fn over(&mut self, heard: &Heard) {
        if let Some(open) = self.open.take() {
            open.leave(heard);
        }
    }
}

// Nothing in it is pinned: `reqwest::Body` holds a box.
impl<R: Record> Unpin for Watched<R> {}

impl<R: Record> Body for Watched<R> {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, reqwest::Error>>> {
        if let Some(Open { stage: Stage::Reading { begun, .. }, .. }) = &mut self.open {
            *begun = true;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Err(error)) => {
                let failure = if error.is_timeout() { Failure::Timeout } else { Failure::Network };
                self.over(&failed(failure, "the answer was cut"));
            }
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            _ => {
                let status = self.status;
                self.over(&Heard::Answered { status });
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
