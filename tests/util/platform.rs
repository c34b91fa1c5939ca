//! A platform for tests: the sandbox in this process, and plain HTTP to it.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::sandbox::{Faults, NewAccount, Sandbox, Settings, Truth, World};

use super::{CANARY, LONGEST, SECRET};

/// The sandbox on a free port, served by a thread of its own.
pub struct Platform {
    pub url: String,
    world: Arc<Mutex<World>>,
    /// How far its clock is behind, in milliseconds.
    behind: Arc<AtomicI64>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    token: String,
    /// The canary parent's child, for the control of lists.
    pub canary_child: String,
    /// The id of the consent service's canary.
    pub canary_sid: String,
}

thread_local! {
    /// As [`Platform::behind`], for the thread that serves it.
    static BEHIND: RefCell<Arc<AtomicI64>> = RefCell::default();
}

impl Platform {
    pub fn start() -> Platform {
        Platform::with(Faults::default())
    }

    /// One whose records show when they were made.
    pub fn dated() -> Platform {
        Platform::with(Faults { shows_created_at: true, ..Faults::default() })
    }

    pub fn with(faults: Faults) -> Platform {
        Platform::of(faults, || Moment::now().0 - BEHIND.with_borrow(|behind| behind.load(Ordering::SeqCst)))
    }

    /// One whose clock is this one, in milliseconds.
    pub fn at(clock: fn() -> i64) -> Platform {
        Platform::of(Faults::default(), clock)
    }

    fn of(faults: Faults, clock: fn() -> i64) -> Platform {
        let (started, ready) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let behind = Arc::new(AtomicI64::new(0));
        let behind_too = Arc::clone(&behind);
        let thread = std::thread::spawn(move || {
            BEHIND.set(behind_too);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let sandbox = Sandbox::start(Settings {
                    listen: ([127, 0, 0, 1], 0).into(),
                    seed: 7,
                    faults: Faults::default(),
                    client_id: "sandbox".to_owned(),
                    client_secret: SECRET.to_owned(),
                    service: "sandbox".to_owned(),
                    clock,
                })
                .await
                .unwrap();
                started.send((sandbox.url(), sandbox.world())).unwrap();
                let _ = stopped.await;
                sandbox.stop().await;
            });
        });
        let (url, world) = ready.recv_timeout(LONGEST).unwrap();
        let mut platform = Platform {
            url,
            world,
            behind,
            stop: Some(stop),
            thread: Some(thread),
            token: String::new(),
            canary_child: String::new(),
            canary_sid: String::new(),
        };
        platform.seed_controls();
        platform.token = platform.fetch_token();
        platform.world().set_faults(faults);
        platform
    }

    fn seed_controls(&mut self) {
        let long_ago = Some(Moment::now().0 - 86_400_000);
        self.add(NewAccount {
            email: Some(CANARY.to_owned()),
            user_name: Some("canary".to_owned()),
            display_name: Some("canary".to_owned()),
            external_user_identifier: Some("canary".to_owned()),
            made_ms: long_ago,
            ..NewAccount::default()
        });
        self.canary_child = self.add(NewAccount {
            given_name: Some("Canary".to_owned()),
            parent_email: Some(CANARY.to_owned()),
            made_ms: long_ago,
            ..NewAccount::default()
        });
        let eid = Some("canary".to_owned());
        self.canary_sid = self.add(NewAccount { eid, made_ms: long_ago, ..NewAccount::default() });
    }

    /// Sets the clock back to so long ago: what happens now happened then. See [`super::Dir::run_then`].
    pub fn set_back(&self, by: Span) {
        self.behind.store(by.0, Ordering::SeqCst);
    }

    /// What its clock shows.
    pub fn now(&self) -> Moment {
        Moment::now() - self.behind()
    }

    /// How far its clock is behind.
    pub fn behind(&self) -> Span {
        Span(self.behind.load(Ordering::SeqCst))
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an account in by hand; gives its id.
    pub fn add(&self, account: NewAccount) -> String {
        self.world().add_account(self.now().0, account).unwrap()
    }

    pub fn remove(&self, sid: &str) {
        assert!(self.world().remove(self.now().0, sid));
    }

    pub fn truth(&self) -> Truth {
        self.world().truth(self.now().0)
    }

    /// Requests that arrived, by path template.
    pub fn requests(&self, template: &str) -> u64 {
        self.truth().requests.get(template).copied().unwrap_or(0)
    }

    pub fn set_faults(&self, faults: Faults) {
        self.world().set_faults(faults);
    }

    /// A partner's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn fetch_token(&self) -> String {
        let form = format!("grant_type=client_credentials&client_id=sandbox&client_secret={SECRET}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let (status, body) = http(&self.url, "POST", "/oauth/token", &headers, &form).unwrap();
        assert_eq!(status, 200, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// Sends a partner's request that meets this fate. `None`: no whole answer came.
    pub fn send(&self, cause: &str, method: &str, path: &str, body: &str, fate: &str) -> Option<(u16, String)> {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("x-sandbox-request", cause),
            ("x-sandbox-fate", fate),
        ];
        http(&self.url, method, path, &headers, body)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request over a connection of its own. `None`: no whole answer came.
pub fn http(base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<(u16, String)> {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
    (body.len() == length).then(|| (head[9..12].parse().unwrap(), body.to_owned()))
}
