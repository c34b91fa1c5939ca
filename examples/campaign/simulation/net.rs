//! The wire between the job and a sandbox world: no sockets, virtual latency, and servers that lie as a whole.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::http::{ANSWER_LIMIT, Broken, Exchange, Outgoing, Transport};
use privo_reconcile::plan::search::Answer;
use privo_reconcile::sandbox::{Delivery, FATE_HEADER, Reply, Request, World};
use privo_reconcile::words::Failure;
use secrecy::ExposeSecret;
use tokio::time::{Duration, sleep};
use url::form_urlencoded;

use super::time;

/// How the server as a whole answers reads while a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the sandbox does, with its own faults.
    Honest,
    /// It shows nobody at all: an empty mirror, a wrong tenant. Controls must tell.
    Amnesia,
    /// It shows somebody for every key: a catch-all page. Controls must tell.
    YesMan,
    /// It shows the state of the world's beginning: a stale snapshot after a failover. It never lasts as long as
    /// `confirm_after`, and every entry that was looked up in it gets an unreadable answer before the next such burst.
    Stale,
    /// It answers with a page for people, except for the accounts that controls name.
    Unreadable,
}

/// The other end, shared by all copies of one wire.
pub struct Server {
    pub world: RefCell<World>,
    pub mode: Cell<Mode>,
    /// After so many further requests the host's clock is set to this offset.
    pub step: Cell<Option<(u32, i64)>>,
    /// Ids and keys of control accounts.
    pub canaries: RefCell<Vec<String>>,
    pub requests: Cell<u64>,
    /// Of them: those for tokens, and those of controls.
    pub tokens: Cell<u64>,
    pub controls: Cell<u64>,
}

/// One client of the server.
#[derive(Clone)]
pub struct Net {
    pub server: Rc<Server>,
    /// The path of the base URL.
    pub prefix: &'static str,
}

/// How long the job waits for an answer; as in its configuration.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Transport for Net {
    async fn send(&self, outgoing: &Outgoing<'_>) -> Result<Exchange, Broken> {
        self.server.count(outgoing);
        self.server.step_clock();
        let request = self.request(outgoing);
        let reply = self.server.answer(&request, outgoing.form.is_none());
        sleep(Duration::from_millis(reply.delay_ms)).await;
        match reply.delivery {
            Delivery::Whole if reply.body.len() <= ANSWER_LIMIT => Ok(exchange(reply)),
            Delivery::Hang { .. } => {
                sleep(TIMEOUT).await;
                Err(Broken { failure: Failure::Timeout, cause: "timeout".to_owned() })
            }
            Delivery::Whole | Delivery::Lost | Delivery::Cut => {
                Err(Broken { failure: Failure::Network, cause: "the connection broke".to_owned() })
            }
        }
    }
}

impl Net {
    fn request(&self, outgoing: &Outgoing<'_>) -> Request {
        let mut headers = Vec::new();
        if let Some(token) = outgoing.token {
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose_secret())));
        }
        let body = match (outgoing.form, outgoing.json) {
            (Some(form), _) => form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish(),
            (None, json) => json.unwrap_or_default().to_owned(),
        };
        Request {
            method: outgoing.method.to_owned(),
            path_and_query: format!("{}{}", self.prefix, outgoing.path_and_query),
            headers,
            body: body.into_bytes(),
        }
    }
}

impl Server {
    fn count(&self, outgoing: &Outgoing<'_>) {
        let one_more = |counter: &Cell<u64>| counter.set(counter.get() + 1);
        one_more(&self.requests);
        if outgoing.form.is_some() {
            one_more(&self.tokens);
        } else if self.is_of_a_control(outgoing.path_and_query) {
            one_more(&self.controls);
        }
    }

    fn step_clock(&self) {
        match self.step.get() {
            Some((0, offset)) => {
                time::set_offset(offset);
                self.step.set(None);
            }
            Some((left, offset)) => self.step.set(Some((left - 1, offset))),
            None => {}
        }
    }

    fn answer(&self, request: &Request, lookup: bool) -> Reply {
        let now = time::true_ms();
        let mut world = self.world.borrow_mut();
        if !lookup {
            return world.answer(now, request);
        }
        let fated = |fate: String| {
            let mut request = request.clone();
            request.headers.push((FATE_HEADER.to_owned(), fate));
            request
        };
        match self.mode.get() {
            Mode::Honest => world.answer(now, request),
            Mode::Stale => world.answer(now, &fated(format!("lag:{}", now - time::BEGINNING - 1000))),
            Mode::Unreadable if !self.is_of_a_control(&request.path_and_query) => {
                world.answer(now, &fated("hostile:html".to_owned()))
            }
            Mode::Unreadable => world.answer(now, &fated("plain".to_owned())),
            Mode::Amnesia => json(world.answer(now, &fated("plain".to_owned())), 404, r#"{"message":"not found"}"#),
            Mode::YesMan => {
                let somebody = r#"{"sid":"00ff","sub":"00ff","consent_identifier":"00ff","connected_profiles":[]}"#;
                json(world.answer(now, &fated("plain".to_owned())), 200, somebody)
            }
        }
    }

    fn is_of_a_control(&self, path_and_query: &str) -> bool {
        path_and_query.contains("privo-reconcile-")
            || path_and_query.contains("privoreconcile")
            || self.canaries.borrow().iter().any(|canary| path_and_query.contains(canary.as_str()))
    }
}

/// The same answer with another status and body.
fn json(honest: Reply, status: u16, body: &str) -> Reply {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(honest.headers.into_iter().filter(|(name, _)| name == "date"));
    Reply { status, headers, body: body.as_bytes().to_vec(), delivery: Delivery::Whole, delay_ms: honest.delay_ms }
}

fn exchange(reply: Reply) -> Exchange {
    let header = |name: &str| reply.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
    let retry_after = header("retry-after").and_then(|text| text.parse().ok()).map(Span::seconds);
    let date = header("date").and_then(|text| Moment::parse_http_date(&text, Moment(time::BEGINNING)));
    let content_type = header("content-type");
    Exchange {
        answer: Answer { status: reply.status, content_type, date, links: String::new(), body: reply.body },
        retry_after,
    }
}
