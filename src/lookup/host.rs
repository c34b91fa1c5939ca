//! One server that is asked: its client, what lets the job in, its pace and its clock.

use std::cell::Cell;
use std::rc::Rc;

use super::login::Login;
use super::pace::{LeftAlone, Pace, TRIAL_EVERY};
use super::server_clock::ServerClock;
use super::{Answered, Stop, Watch};
use crate::clock::{Tick, tick};
use crate::http::{Broken, Exchange, Outgoing, Transport};
use crate::plan::search::{Answer, Request};

/// One server that is asked.
pub struct Host<T> {
    pub http: T,
    login: Rc<Login<T>>,
    /// Headers that go with every request; no secrets.
    headers: Vec<(String, String)>,
    pub pace: Pace,
    pub server_clock: ServerClock,
    /// Another host of the plan's: when it is left alone, the run goes on without it, and it is tried by itself.
    next_trial: Option<Cell<Tick>>,
}

impl<T: Transport> Host<T> {
    pub fn new(http: T, login: Rc<Login<T>>, headers: Vec<(String, String)>, pace: Pace) -> Host<T> {
        Host { http, login, headers, pace, server_clock: ServerClock::default(), next_trial: None }
    }

    /// Another host of the plan's than its server.
    pub fn beside(self) -> Host<T> {
        Host { next_trial: Some(Cell::new(tick())), ..self }
    }

    /// What lets the job in.
    pub fn login(&self) -> &Rc<Login<T>> {
        &self.login
    }

    /// Makes one request until it is answered, not counting 429: with a token, and once more with a new one after a 401.
    ///
    /// # Errors
    /// [`Stop`]. Of a host beside the server none ends the run but [`Stop::Fatal`].
    pub async fn ask(&self, request: &Request, watch: Watch) -> Result<Answered, Stop> {
        let mut renewed = false;
        loop {
            self.try_again_in_time();
            let token = self.login.token(&self.pace).await.map_err(|stop| self.not_alone(stop))?;
            let permit = self.pace.admit().await.map_err(|LeftAlone(why)| self.not_alone(Stop::Alone(why)))?;
            let asked = watch.now();
            let plain =
                self.headers.iter().chain(&request.headers).map(|(name, value)| (name.as_str(), value.as_str()));
            let headers: Vec<(&str, &str)> = plain.chain(self.login.headers()).collect();
            let outgoing = Outgoing {
                method: request.method,
                path_and_query: &request.path_and_query,
                token: token.as_ref(),
                basic: self.login.basic(),
                json: request.json.as_deref(),
                headers: &headers,
                ..Outgoing::default()
            };
            let sent = self.http.send(&outgoing).await;
            let sent_at = permit.done();
            let answered = watch.now();
            if let Ok(Exchange { answer: Answer { date: Some(date), .. }, .. }) = &sent {
                // Of every answer, a 429 too, each by its own way.
                self.server_clock.hear(*date, asked.timer, answered.timer);
            }
            match sent {
                Err(Broken { cause, .. }) => {
                    self.pace.failed(&cause);
                    return Err(Stop::Failed(cause));
                }
                Ok(exchange) => match (exchange.answer.status, &token) {
                    (429, _) => self.pace.refused(sent_at, exchange.retry_after),
                    (401, Some(token)) if !renewed && self.login.renews(token).await => {
                        self.pace.answered(sent_at);
                        renewed = true;
                    }
                    (status, _) => {
                        if status >= 500 {
                            self.pace.failed(&format!("status {status}"));
                        } else {
                            self.pace.answered(sent_at);
                        }
                        return Ok(Answered { answer: exchange.answer, asked, answered });
                    }
                },
            }
        }
    }

    /// That another host is left alone ends no run: what is looked up there is inconclusive.
    fn not_alone(&self, stop: Stop) -> Stop {
        match (stop, &self.next_trial) {
            (Stop::Alone(why), Some(_)) => Stop::Failed(why),
            (stop, _) => stop,
        }
    }

    fn try_again_in_time(&self) {
        let due = self.next_trial.as_ref().filter(|due| self.pace.breaker_open() && due.get() <= tick());
        if let Some(due) = due {
            due.set(tick() + TRIAL_EVERY.duration());
            self.pace.allow_trial();
        }
    }
}
