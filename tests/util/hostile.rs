//! A server that may do anything to its clients: answers that mean nothing, broken connections, silence.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The most that an endless body sends, so that a test ends.
const ENDLESS: usize = 64 * 1024 * 1024;

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status line and headers after it, and the body.
    Whole(&'static str, &'static str, String),
    /// Exactly these bytes.
    Raw(Vec<u8>),
    /// Silence until the client gives up.
    Hang,
    /// A body without an end.
    Endless,
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
}

impl Asked {
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
                let (asked, stopping, script) =
                    (Arc::clone(&asked_too), Arc::clone(&stopping_too), Arc::clone(&script));
                serving.extend(stream.ok().map(|stream| {
                    std::thread::spawn(move || {
                        // A client that went away is no failure here.
                        let _ = serve(stream, &asked, &stopping, &*script);
                    })
                }));
            }
            for thread in serving {
                let _ = thread.join();
            }
        });
        Hostile { url: format!("http://{address}"), address, asked, stopping, thread: Some(thread) }
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

fn serve(stream: TcpStream, asked: &Mutex<Vec<Asked>>, stopping: &AtomicBool, script: &Script) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if path.is_empty() {
        return Ok(());
    }
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        let (name, value) = header.trim().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = Asked { method, path, authorization };
    let before = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(request.clone());
        asked.len() - 1
    };
    answer(stream, script(&request, before), stopping)
}

fn answer(mut stream: TcpStream, answer: Answer, stopping: &AtomicBool) -> std::io::Result<()> {
    match answer {
        Answer::Whole(status, headers, body) => {
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        }
        Answer::Raw(bytes) => stream.write_all(&bytes),
        Answer::Hang => {
            for _ in 0..3000 {
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        }
        Answer::Endless => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"sid\":\"",
            )?;
            let part = [b'x'; 65536];
            for _ in 0..ENDLESS / part.len() {
                stream.write_all(&part)?;
            }
            Ok(())
        }
    }
}
