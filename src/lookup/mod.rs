//! Lookups: the one concurrent stage. Requests that change nothing go out at the server's pace; what comes back is a
//! sighting, or the reason why the server is left alone.
//!
//! An answer that cannot be read is a sighting too: one bad entry cannot end a run. Only refused credentials can.

mod adapt;
#[cfg(test)]
mod clock_tests;
mod control;
#[cfg(test)]
mod control_tests;
mod host;
mod login;
pub mod pace;
mod server_clock;
mod token;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Result, bail};
use tokio::sync::Mutex;
use url::Url;

use crate::clock::{Moment, Span, Tick, tick};
use crate::config::{Auth, Config, Server};
use crate::exit::Refused;
use crate::http::{Http, Settings, Transport};
use crate::plan::Lookup;
use crate::plan::observe::Sighting;
use crate::plan::search::{Answer, Found, Request, Search};

pub use control::Controls;
use host::Host;
use login::Login;
use pace::Pace;

/// Why a lookup came to no sighting.
#[derive(Debug)]
pub enum Stop {
    /// The server is left alone.
    Alone(String),
    /// The token endpoint gave no answer; the look is inconclusive.
    Failed(String),
    /// The run cannot go on.
    Fatal(anyhow::Error),
}

/// All lookups of a run.
pub struct Lookups<'a, T = Http> {
    config: &'a Config,
    server: Host<T>,
    /// The plan's other hosts that the configuration names.
    others: HashMap<&'a str, Host<T>>,
    watch: Watch,
    controls: HashMap<&'a str, Mutex<Option<(Moment, Controls)>>>,
}

/// Answers that a group's lookups share: two lookups may begin with the same request.
pub type Shared = RefCell<HashMap<Request, Rc<Answered>>>;

/// An answer, with when it was asked for and when it was there.
pub struct Answered {
    answer: Answer,
    asked: Time,
    answered: Time,
}

/// The job's clock, and a timer that nobody sets.
#[derive(Clone, Copy)]
struct Watch {
    clock: fn() -> Moment,
    began: Tick,
}

impl Watch {
    fn now(self) -> Time {
        let timer = Span(i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX));
        Time { clock: (self.clock)(), timer }
    }
}

/// An instant by the job's clock, which may be set at any time.
#[derive(Clone, Copy)]
struct Time {
    clock: Moment,
    /// By a timer that nobody sets, since the run began.
    timer: Span,
}

impl Time {
    /// Times between which the clock was set by more than this tell of no one order, and how far the server's clock is off
    /// cannot be said of them.
    const SET: Span = Span(250);

    fn of_one_clock(self, other: Time) -> bool {
        self.ahead().0.abs_diff(other.ahead().0) <= Time::SET.0.unsigned_abs()
    }

    /// So much the clock shows more than the timer.
    fn ahead(self) -> Span {
        Span(self.clock.0.saturating_sub(self.timer.0))
    }
}

impl<'a> Lookups<'a> {
    /// Sets the clients up. Nothing is sent.
    ///
    /// # Errors
    /// When TLS cannot be set up or the certificate bundle cannot be read.
    pub fn new(config: &'a Config, clock: fn() -> Moment) -> Result<Lookups<'a>> {
        let tokens_of = |auth: Option<&Auth>| {
            auth.and_then(Auth::token_url).map(|token_url| client(&config.server, token_url)).transpose()
        };
        let http = client(&config.server, &config.server.base_url)?;
        let mut lookups = Lookups::over(config, http, tokens_of(config.auth.as_ref())?, clock)?;
        for (name, host) in &config.hosts {
            let login = match &host.auth {
                None => Rc::clone(lookups.server.login()),
                Some(auth) => Rc::new(read(Login::new(auth, tokens_of(Some(auth))?, clock))?),
            };
            // The headers of [server] are that server's.
            let host = Host::new(client(&config.server, &host.base_url)?, login, Vec::new(), new_pace(&config.server));
            lookups.others.insert(name, host.beside());
        }
        Ok(lookups)
    }
}

/// A client for the server, or for another host under the server's settings. Nothing is sent.
///
/// # Errors
/// When TLS cannot be set up or the certificate bundle cannot be read.
pub fn client(server: &Server, base: &Url) -> Result<Http> {
    let pem = server.ca_pem()?;
    let settings = Settings { base, timeout: server.timeout, connections: server.concurrency, ca_pem: pem.as_deref() };
    Http::new(&settings).map_err(|error| anyhow::Error::new(Refused(format!("{error:#}"))))
}

fn new_pace(server: &Server) -> Pace {
    Pace::new(server.concurrency, server.requests_per_second)
}

/// A credential that cannot be read is the configuration's fault.
fn read<T>(login: Result<Login<T>>) -> Result<Login<T>> {
    login.map_err(|error| anyhow::Error::new(Refused(format!("{error:#}"))))
}

impl<'a, T: Transport> Lookups<'a, T> {
    /// Lookups over any transport: to the server, and to the token endpoint's host. The plan's other hosts are not there.
    ///
    /// # Errors
    /// [`Refused`] when a credential cannot be read.
    pub fn over(config: &'a Config, http: T, token_http: Option<T>, clock: fn() -> Moment) -> Result<Lookups<'a, T>> {
        let login = match &config.auth {
            None => Login::open(),
            Some(auth) => read(Login::new(auth, token_http, clock))?,
        };
        let server = &config.server;
        Ok(Lookups {
            config,
            server: Host::new(http, Rc::new(login), server.headers.clone(), new_pace(server)),
            others: HashMap::new(),
            watch: Watch { clock, began: tick() },
            controls: config.plan.lookups.keys().map(|name| (name.as_str(), Mutex::new(None))).collect(),
        })
    }

    /// The pace of the server.
    pub fn pace(&self) -> &Pace {
        &self.server.pace
    }

    /// Requests sent so far, to whichever host.
    pub fn requests(&self) -> u64 {
        self.server.pace.requests() + self.others.values().map(|host| host.pace.requests()).sum::<u64>()
    }

    /// Looks up one key.
    ///
    /// # Errors
    /// [`Stop::Alone`] or [`Stop::Fatal`].
    pub async fn look_up(&self, lookup: &str, key: &str, shared: &Shared) -> Result<Sighting, Stop> {
        let plan = &self.config.plan;
        let lookup = plan.lookup(lookup).map_err(Stop::Fatal)?;
        let mut first = None;
        let mut sighting = Sighting {
            found: Found::Absent,
            asked: Moment(i64::MAX),
            answered: Moment(i64::MIN),
            server: None,
            failed: false,
            refused: false,
            shut_out: false,
            skew: None,
        };
        let (host, base) = match (self.host_of(lookup), self.config.base_of(lookup.host.as_deref())) {
            (Some(host), Some(base)) => (host, base),
            _ => {
                let name = lookup.host.as_deref().unwrap_or_default();
                sighting.found = Found::Inconclusive(format!(
                    "the configuration does not name the plan's host `{name}` (give it [hosts.{name}] with a base_url)"
                ));
                (sighting.asked, sighting.answered) = (self.watch.now().clock, self.watch.now().clock);
                return Ok(sighting);
            }
        };
        let mut search = Search::start(lookup, plan.params(), key, base);
        let mut ahead = (Span(i64::MAX), Span(i64::MIN));
        loop {
            let request = match search.request() {
                Ok(request) => request,
                Err(cause) => {
                    let now = self.watch.now().clock;
                    sighting.found = Found::Inconclusive(cause.to_owned());
                    (sighting.asked, sighting.answered) = (sighting.asked.min(now), now);
                    return Ok(sighting);
                }
            };
            let known = shared.borrow().get(&request).cloned();
            let heard = match known {
                Some(known) => known,
                None => match host.ask(&request, self.watch).await {
                    Ok(fresh) => {
                        let fresh = Rc::new(fresh);
                        shared.borrow_mut().insert(request, Rc::clone(&fresh));
                        fresh
                    }
                    Err(Stop::Failed(cause)) => {
                        sighting.found = Found::Inconclusive(cause);
                        sighting.failed = true;
                        let now = self.watch.now().clock;
                        sighting.asked = sighting.asked.min(now);
                        sighting.answered = now;
                        return Ok(sighting);
                    }
                    Err(stop) => return Err(stop),
                },
            };
            sighting.asked = sighting.asked.min(heard.asked.clock);
            sighting.answered = sighting.answered.max(heard.answered.clock);
            let first = *first.get_or_insert(heard.asked);
            if !heard.asked.of_one_clock(first) || !heard.answered.of_one_clock(first) {
                sighting.found = Found::Inconclusive("the job's clock was set meanwhile".to_owned());
                sighting.failed = true;
                return Ok(sighting);
            }
            for time in [heard.asked.ahead(), heard.answered.ahead()] {
                ahead = (ahead.0.min(time), ahead.1.max(time));
            }
            sighting.skew = host.server_clock.skew(ahead);
            sighting.server = sighting.server.into_iter().chain(heard.answer.date).min();
            if let Some(found) = search.take(&heard.answer) {
                sighting.found = found;
                sighting.failed = heard.answer.status >= 500;
                sighting.refused = search.at_first_step() && (400..500).contains(&heard.answer.status);
                sighting.shut_out = matches!(heard.answer.status, 401 | 403);
                return Ok(sighting);
            }
        }
    }

    /// The server of a lookup; `None`: it is another host of the plan's, which the configuration does not name.
    fn host_of(&self, lookup: &Lookup) -> Option<&Host<T>> {
        match &lookup.host {
            None => Some(&self.server),
            Some(name) => self.others.get(name.as_str()),
        }
    }

    /// Fetches a token for each host, to see whether the credentials are good.
    ///
    /// # Errors
    /// When they are refused or the endpoint gives no answer.
    pub async fn check_credentials(&self) -> Result<()> {
        for host in std::iter::once(&self.server).chain(self.others.values()) {
            match host.login().token(&host.pace).await {
                Ok(_) => {}
                Err(Stop::Fatal(error)) => return Err(error),
                Err(Stop::Alone(why) | Stop::Failed(why)) => bail!("{why} (is token_url reachable?)"),
            }
        }
        Ok(())
    }

    /// What is to be added to the job's clock now to have the server's, at least and at most, by one request for nobody.
    /// `None`: its answer bears no `Date`.
    ///
    /// # Errors
    /// [`Stop`]: there was no answer.
    pub async fn skew(&self) -> Result<Option<(Span, Span)>, Stop> {
        let Some((name, key)) = self.nobody() else { return Ok(None) };
        let sighting = self.look_up(name, &key, &Shared::default()).await?;
        match (sighting.skew, sighting.found) {
            (None, Found::Inconclusive(why)) => Err(Stop::Failed(why)),
            (skew, _) => Ok(skew),
        }
    }

    /// One request through an open breaker: true when the server answers again.
    ///
    /// # Errors
    /// [`Stop::Fatal`] only.
    pub async fn trial(&self) -> Result<bool, Stop> {
        let Some((name, key)) = self.nobody() else { return Ok(false) };
        self.server.pace.allow_trial();
        match self.look_up(name, &key, &Shared::default()).await {
            Err(Stop::Fatal(error)) => Err(Stop::Fatal(error)),
            Ok(_) | Err(_) => Ok(self.server.pace.left_alone().is_none()),
        }
    }

    /// A lookup of the server, and a key that nobody has.
    fn nobody(&self) -> Option<(&str, String)> {
        let (name, _) = self.config.plan.lookups.iter().find(|(_, lookup)| lookup.host.is_none())?;
        Some((name, self.random_key(name).ok()?))
    }
}

/// Credentials or configuration that the server does not take.
fn refused_with(message: String) -> Stop {
    Stop::Fatal(anyhow::Error::new(Refused(message)))
}
