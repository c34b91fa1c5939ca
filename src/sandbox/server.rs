//! The world behind a TCP listener.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Sleep, sleep};

use super::faults::Faults;
use super::wire::{Delivery, Reply, Request, http_date};
use super::world::{Partner, World};

/// The largest request body that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// Time for the first half of a cut answer to leave before the connection breaks.
const CUT_PAUSE: Duration = Duration::from_millis(20);

/// How a sandbox is started.
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The same seed and the same requests give the same ids and faults.
    pub seed: u64,
    /// What goes wrong, see [`Faults`].
    pub faults: Faults,
    /// The OAuth client id that is accepted.
    pub client_id: String,
    /// The OAuth client secret that is accepted.
    pub client_secret: String,
    /// The service identifier in the paths of the consent service.
    pub service: String,
    /// Milliseconds since the epoch.
    pub clock: fn() -> i64,
}

/// A running sandbox. Dropping it stops it too.
pub struct Sandbox {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    accepting: JoinHandle<()>,
}

impl Sandbox {
    /// Listens and serves in tasks of the current runtime.
    pub async fn start(settings: Settings) -> anyhow::Result<Sandbox> {
        settings.faults.check().map_err(anyhow::Error::msg)?;
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let partner =
            Partner { client_id: settings.client_id, client_secret: settings.client_secret, service: settings.service };
        let world = World::new(settings.seed, settings.faults, partner);
        let world = Arc::new(Mutex::new(world));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&world), settings.clock));
        Ok(Sandbox { address, world, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The state behind it, for reading the truth and changing faults.
    pub fn world(&self) -> Arc<Mutex<World>> {
        Arc::clone(&self.world)
    }

    /// Closes the listener and every connection.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // The only outcome is that the task was cancelled, which was asked for.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, world: Arc<Mutex<World>>, clock: fn() -> i64) {
    // Dropped with this task, and then all connections end with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&world), clock));
                }
                // Out of file descriptors, say: others close in the meantime.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, world: Arc<Mutex<World>>, clock: fn() -> i64) {
    // Answers are small and written at once; delaying them only slows tests down.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, &world, clock));
    // The world says the time, or does not.
    let mut http = http1::Builder::new();
    http.keep_alive(true).auto_date_header(false);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    // An error is a client that went away or an answer that was to be lost.
    let _ = connection.await;
}

/// The error by which an answer is lost: hyper closes the connection without a byte.
type LostAnswer = io::Error;

async fn respond(
    incoming: hyper::Request<Incoming>,
    world: &Mutex<World>,
    clock: fn() -> i64,
) -> Result<hyper::Response<ReplyBody>, LostAnswer> {
    let (head, body) = incoming.into_parts();
    let Some(body) = limited(body).await else {
        let refused = Reply::message(413, "body too large or incomplete")
            .with_header("date", http_date(clock()))
            .with_header("connection", "close".to_owned());
        return written(refused);
    };
    let path = head.uri.path_and_query();
    let headers = head.headers.iter();
    let request = Request {
        method: head.method.as_str().to_owned(),
        path_and_query: path.map_or("/", |path| path.as_str()).to_owned(),
        headers: headers
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect(),
        body,
    };
    let reply = locked(world).answer(clock(), &request);
    if reply.delay_ms > 0 {
        sleep(Duration::from_millis(reply.delay_ms)).await;
    }
    if let Delivery::Hang { ms } = reply.delivery {
        sleep(Duration::from_millis(ms)).await;
    }
    match reply.delivery {
        Delivery::Whole | Delivery::Cut => written(reply),
        Delivery::Lost | Delivery::Hang { .. } => Err(io::Error::other("the answer is lost")),
    }
}

/// The whole body, unless it is or announces itself as too long.
async fn limited(body: Incoming) -> Option<Vec<u8>> {
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return None;
    }
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    body.ok().map(|body| body.to_bytes().to_vec())
}

/// A test that panicked with the lock held must not hide the next one's result.
fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn written(reply: Reply) -> Result<hyper::Response<ReplyBody>, LostAnswer> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            response = response.header(name, value);
        }
    }
    let whole = reply.body.len();
    let body = match reply.delivery {
        Delivery::Cut => ReplyBody::cut(&reply.body),
        _ => ReplyBody::whole(reply.body),
    };
    let response = response.header(CONTENT_LENGTH, whole);
    response.body(body).map_err(io::Error::other)
}

/// A body that comes whole, or breaks off in the middle.
struct ReplyBody {
    part: Option<Bytes>,
    /// Runs between the first half and the break; `None` when the body is whole.
    pause: Option<Pin<Box<Sleep>>>,
}

impl ReplyBody {
    fn whole(body: Vec<u8>) -> ReplyBody {
        ReplyBody { part: (!body.is_empty()).then(|| Bytes::from(body)), pause: None }
    }

    fn cut(body: &[u8]) -> ReplyBody {
        ReplyBody {
            part: Some(Bytes::copy_from_slice(&body[..body.len() / 2])),
            pause: Some(Box::pin(sleep(CUT_PAUSE))),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(part) = self.part.take() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let Some(pause) = &mut self.pause else {
            return Poll::Ready(None);
        };
        // Hyper drops what it has not yet written when a body fails, so it gets time to write.
        match pause.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::other("the answer is cut")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_none() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.part, &self.pause) {
            (Some(part), None) => SizeHint::with_exact(part.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
