//! A server that may do anything to its clients: answers that mean nothing, broken connections, silence; over plain TCP
//! or over TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The most that an endless answer sends, so that a test ends.
const ENDLESS: usize = 64 * 1024 * 1024;

/// No request of a test is longer.
const REQUEST_LIMIT: usize = 1024 * 1024;

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status line and headers after it, and the body.
    Whole(&'static str, &'static str, String),
    /// Exactly these bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, and then this.
    Then(Vec<u8>, After),
    /// Silence until the client gives up.
    Hang,
    /// A body without an end.
    Endless,
}

/// What follows the bytes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The connection is closed.
    Close,
    /// The connection is reset: what was not read yet may be lost.
    Reset,
    /// Nothing more, until the client gives up.
    Hang,
    /// Instead of at once, the bytes go one by one, each after this time in milliseconds.
    Trickle(u64),
    /// The last line of the bytes again and again, without an end.
    Repeat,
}

impl Answer {
    pub fn json(status: &'static str, body: &str) -> Answer {
        Answer::Whole(status, "content-type: application/json\r\n", body.to_owned())
    }

    pub fn html(status: &'static str) -> Answer {
        Answer::Whole(status, "content-type: text/html\r\n", "<html>Please sign in</html>".to_owned())
    }

    /// The connection is closed without a byte.
    pub fn closed() -> Answer {
        Answer::Raw(Vec::new())
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    pub authorization: String,
    /// All headers as they came.
    pub head: String,
    /// But for its last byte.
    pub body: String,
}

impl Asked {
    /// From a request's head; and how long its body is.
    fn of(head: &str) -> Option<(Asked, usize)> {
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let header = |name: &str| {
            let mut found = lines.clone().filter_map(|line| line.split_once(": "));
            found.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let authorization = header("authorization").unwrap_or_default();
        Some((Asked { method, path, authorization, head: head.to_owned(), body: String::new() }, length))
    }

    pub fn for_token(&self) -> bool {
        self.path == "/oauth/token"
    }
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// The server; dropping it stops it.
pub struct Hostile {
    pub url: String,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    /// `script` says what is done to a request; it gets how many arrived before.
    pub fn start(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Hostile {
        Hostile::at(([127, 0, 0, 1], 0).into(), None, script)
    }

    /// At this address, and under this certificate if there is one.
    pub fn at(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Hostile {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stopping) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let script: Arc<Script> = Arc::new(script);
        let (asked_too, stopping_too) = (Arc::clone(&asked), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                if stopping_too.load(Ordering::SeqCst) {
                    break;
                }
                let (asked, stopping, script, tls) =
                    (Arc::clone(&asked_too), Arc::clone(&stopping_too), Arc::clone(&script), tls.clone());
                serving.extend(stream.ok().map(|stream| {
                    std::thread::spawn(move || {
                        // A client that went away is no failure here.
                        let _ = serve(stream, tls, &asked, &stopping, &*script);
                    })
                }));
            }
            for thread in serving {
                let _ = thread.join();
            }
        });
        Hostile { url: format!("{scheme}://{address}"), address, asked, stopping, thread: Some(thread) }
    }

    /// Every request that arrived so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests for a token, and others.
    pub fn counts(&self) -> (usize, usize) {
        let asked = self.asked();
        let tokens = asked.iter().filter(|asked| asked.for_token()).count();
        (tokens, asked.len() - tokens)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection of either kind.
enum Wire {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Secure(stream) => stream.flush(),
        }
    }
}

impl Wire {
    fn over(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> std::io::Result<Wire> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_nodelay(true)?;
        Ok(match tls {
            None => Wire::Plain(stream),
            Some(tls) => {
                let session = ServerConnection::new(tls).map_err(std::io::Error::other)?;
                Wire::Secure(Box::new(StreamOwned::new(session, stream)))
            }
        })
    }

    /// Reads a request but for its last byte: a connection that is closed with something unread is reset.
    fn request(&mut self) -> std::io::Result<Option<Asked>> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r") && head.len() < REQUEST_LIMIT {
            if self.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.push(byte[0]);
        }
        let mut asked = Asked::of(&String::from_utf8_lossy(&head));
        if let Some((asked, length)) = asked.as_mut().filter(|(_, length)| *length > 0) {
            let mut rest = vec![0; *length];
            self.read_exact(&mut rest)?;
            asked.body = String::from_utf8_lossy(&rest).trim_start().to_owned();
        }
        Ok(asked.map(|(asked, _)| asked))
    }

    fn finish_request(&mut self) -> std::io::Result<()> {
        self.read_exact(&mut [0])
    }

    fn close(mut self) {
        if let Wire::Secure(stream) = &mut self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    asked: &Mutex<Vec<Asked>>,
    stopping: &AtomicBool,
    script: &Script,
) -> std::io::Result<()> {
    let mut wire = Wire::over(stream, tls)?;
    let Some(request) = wire.request()? else { return Ok(()) };
    let before = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(request.clone());
        asked.len() - 1
    };
    let done = script(&request, before);
    if !matches!(done, Answer::Then(_, After::Reset)) {
        wire.finish_request()?;
    }
    answer(&mut wire, done, stopping)?;
    wire.close();
    Ok(())
}

fn answer(wire: &mut Wire, answer: Answer, stopping: &AtomicBool) -> std::io::Result<()> {
    match answer {
        Answer::Whole(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
            wire.write_all(&[head.as_bytes(), body.as_bytes()].concat())
        }
        Answer::Raw(bytes) => wire.write_all(&bytes),
        Answer::Hang => silence(stopping),
        Answer::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"sid\":\"\n";
            wire.write_all(head)?;
            repeat(wire, &[b'x'; 65536])
        }
        Answer::Then(bytes, After::Trickle(ms)) => {
            for byte in bytes {
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
                wire.write_all(&[byte])?;
                wire.flush()?;
                std::thread::sleep(Duration::from_millis(ms));
            }
            Ok(())
        }
        Answer::Then(bytes, after) => {
            wire.write_all(&bytes)?;
            wire.flush()?;
            match after {
                After::Hang => silence(stopping),
                After::Repeat => {
                    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                    repeat(wire, &lines.last().copied().unwrap_or(b"x").repeat(1000))
                }
                After::Reset => {
                    // So that what was sent is read before the reset overtakes it.
                    std::thread::sleep(Duration::from_millis(5));
                    Ok(())
                }
                After::Close | After::Trickle(_) => Ok(()),
            }
        }
    }
}

fn repeat(wire: &mut Wire, part: &[u8]) -> std::io::Result<()> {
    for _ in 0..ENDLESS / part.len().max(1) {
        wire.write_all(part)?;
    }
    Ok(())
}

fn silence(stopping: &AtomicBool) -> std::io::Result<()> {
    for _ in 0..3000 {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
