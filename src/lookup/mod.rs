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
pub mod pace;
mod server_clock;
mod token;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Result, anyhow};
use tokio::sync::Mutex;
use url::Url;

use crate::clock::{Moment, Span, Tick, tick};
use crate::config::{Config, Server};
use crate::exit::Refused;
use crate::http::{Broken, Exchange, Http, Outgoing, Settings, Transport};
use crate::plan::observe::Sighting;
use crate::plan::search::{Answer, Found, Request, Search};

pub use control::Controls;
use pace::{LeftAlone, Pace};
use server_clock::ServerClock;
use token::Tokens;

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
    http: T,
    tokens: Option<Tokens<T>>,
    pace: Pace,
    clock: fn() -> Moment,
    began: Tick,
    server_clock: ServerClock,
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
        let token_http = config.auth.as_ref().map(|auth| client(&config.server, &auth.token_url)).transpose()?;
        Lookups::over(config, client(&config.server, &config.server.base_url)?, token_http, clock)
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

impl<'a, T: Transport> Lookups<'a, T> {
    /// Lookups over any transport: to the server, and to the token endpoint's host.
    ///
    /// # Errors
    /// [`Refused`] when a credential cannot be read.
    pub fn over(config: &'a Config, http: T, token_http: Option<T>, clock: fn() -> Moment) -> Result<Lookups<'a, T>> {
        let server = &config.server;
        let tokens = config.auth.as_ref().zip(token_http).map(|(auth, http)| Tokens::new(auth, http, clock));
        let tokens = tokens.transpose().map_err(|error| anyhow::Error::new(Refused(format!("{error:#}"))))?;
        Ok(Lookups {
            config,
            http,
            tokens,
            pace: Pace::new(server.concurrency, server.requests_per_second),
            clock,
            began: tick(),
            server_clock: ServerClock::default(),
            controls: config.plan.lookups.keys().map(|name| (name.as_str(), Mutex::new(None))).collect(),
        })
    }

    /// The pace of the server.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Looks up one key.
    ///
    /// # Errors
    /// [`Stop::Alone`] or [`Stop::Fatal`].
    pub async fn look_up(&self, lookup: &str, key: &str, shared: &Shared) -> Result<Sighting, Stop> {
        let plan = &self.config.plan;
        let lookup = plan.lookup(lookup).map_err(Stop::Fatal)?;
        let mut search = Search::start(lookup, plan.params(), key);
        let mut first = None;
        let mut sighting = Sighting {
            found: Found::Absent,
            asked: Moment(i64::MAX),
            answered: Moment(i64::MIN),
            server: None,
            failed: false,
            refused: false,
            skew: None,
        };
        let mut ahead = (Span(i64::MAX), Span(i64::MIN));
        loop {
            let request = match search.request() {
                Ok(request) => request,
                Err(cause) => {
                    let now = (self.clock)();
                    sighting.found = Found::Inconclusive(cause.to_owned());
                    (sighting.asked, sighting.answered) = (sighting.asked.min(now), now);
                    return Ok(sighting);
                }
            };
            let known = shared.borrow().get(&request).cloned();
            let heard = match known {
                Some(known) => known,
                None => match self.ask(&request).await {
                    Ok(fresh) => {
                        let fresh = Rc::new(fresh);
                        shared.borrow_mut().insert(request, Rc::clone(&fresh));
                        fresh
                    }
                    Err(Stop::Failed(cause)) => {
                        sighting.found = Found::Inconclusive(cause);
                        sighting.failed = true;
                        let now = (self.clock)();
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
            sighting.skew = self.server_clock.skew(ahead);
            sighting.server = sighting.server.into_iter().chain(heard.answer.date).min();
            if let Some(found) = search.take(&heard.answer) {
                sighting.found = found;
                sighting.failed = heard.answer.status >= 500;
                sighting.refused = search.at_first_step() && (400..500).contains(&heard.answer.status);
                return Ok(sighting);
            }
        }
    }

    fn now(&self) -> Time {
        let clock = (self.clock)();
        Time { clock, timer: Span(i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)) }
    }

    /// Makes one request until it is answered, not counting 429: with a token, and once more with a new one after a 401.
    async fn ask(&self, request: &Request) -> Result<Answered, Stop> {
        let mut renewed = false;
        loop {
            let token = match &self.tokens {
                Some(tokens) => Some(tokens.get(&self.pace).await?),
                None => None,
            };
            let permit = self.pace.admit().await.map_err(|LeftAlone(why)| Stop::Alone(why))?;
            let asked = self.now();
            let outgoing = Outgoing {
                method: request.method,
                path_and_query: &request.path_and_query,
                token: token.as_ref(),
                json: request.json.as_deref(),
                ..Outgoing::default()
            };
            let sent = self.http.send(&outgoing).await;
            let sent_at = permit.done();
            let answered = self.now();
            if let Ok(Exchange { answer: Answer { date: Some(date), .. }, .. }) = &sent {
                // Of every answer, a 429 too, each by its own way.
                self.server_clock.hear(*date, asked.timer, answered.timer);
            }
            match sent {
                Err(Broken { cause, .. }) => {
                    self.pace.failed(sent_at, &cause);
                    return Err(Stop::Failed(cause));
                }
                Ok(exchange) => match (exchange.answer.status, &token, &self.tokens) {
                    (429, ..) => self.pace.refused(sent_at, exchange.retry_after),
                    (401, Some(token), Some(tokens)) if !renewed => {
                        self.pace.answered(sent_at.untimed());
                        tokens.forget(token).await;
                        renewed = true;
                    }
                    (status, ..) => {
                        if status >= 500 {
                            self.pace.failed(sent_at, &format!("status {status}"));
                        } else {
                            self.pace.answered(sent_at);
                        }
                        return Ok(Answered { answer: exchange.answer, asked, answered });
                    }
                },
            }
        }
    }

    /// Fetches a token, to see whether the credentials are good.
    ///
    /// # Errors
    /// When they are refused or the endpoint gives no answer.
    pub async fn check_credentials(&self) -> Result<()> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        match tokens.get(&self.pace).await {
            Ok(_) => Ok(()),
            Err(Stop::Fatal(error)) => Err(error),
            Err(Stop::Alone(why) | Stop::Failed(why)) => Err(anyhow!("{why} (is token_url reachable?)")),
        }
    }

    /// One request through an open breaker: true when the server answers again.
    ///
    /// # Errors
    /// [`Stop::Fatal`] only.
    pub async fn trial(&self) -> Result<bool, Stop> {
        let Some(name) = self.config.plan.lookups.keys().next() else { return Ok(false) };
        self.pace.allow_trial();
        match self.random_key(name) {
            Ok(key) => match self.look_up(name, &key, &Shared::default()).await {
                Err(Stop::Fatal(error)) => Err(Stop::Fatal(error)),
                Ok(_) | Err(_) => Ok(self.pace.left_alone().is_none()),
            },
            Err(_) => Ok(false),
        }
    }
}

/// Credentials or configuration that the server does not take.
fn refused_with(message: String) -> Stop {
    Stop::Fatal(anyhow::Error::new(Refused(message)))
}
