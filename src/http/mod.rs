//! HTTP: the one place that knows reqwest. One request out, one answer back, whole or not at all.
//!
//! # What is never done
//! No redirect is followed (it could carry the token to another host), nothing is retried, nothing is decompressed, and
//! no error shows a URL, which may hold an email.
//!
//! # Failures
//! They are told apart by structure, never by text: only a connection that could not be made is `not_sent`.

pub mod layer;

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::{self, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::clock::{Moment, Span};
use crate::plan::search::Answer;
use crate::words::Failure;

/// More than this of an answer is not read, in bytes.
pub const ANSWER_LIMIT: usize = 1024 * 1024;

/// A client for one server.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    base: Url,
}

/// What carries a request to a server: HTTP, or a simulated world.
pub trait Transport {
    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// [`Broken`] when no whole answer came.
    fn send(&self, outgoing: &Outgoing<'_>) -> impl Future<Output = Result<Exchange, Broken>>;
}

/// A request that goes out.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    pub method: &'a str,
    /// Appended to the base URL's path, with its query.
    pub path_and_query: &'a str,
    pub token: Option<&'a SecretString>,
    /// User and password of HTTP Basic.
    pub basic: Option<(&'a SecretString, &'a SecretString)>,
    pub json: Option<&'a str>,
    /// Form fields of a token request.
    pub form: Option<&'a [(&'a str, &'a str)]>,
    /// Further headers: the plan's, the configuration's, or for rehearsals against the sandbox.
    pub headers: &'a [(&'a str, &'a str)],
}

/// An answer with what the pace needs of it.
#[derive(Debug)]
pub struct Exchange {
    pub answer: Answer,
    /// How long the server asks to be left alone (`Retry-After`, in seconds or as a date).
    pub retry_after: Option<Span>,
}

/// No answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// How a sender would record it.
    pub failure: Failure,
    /// In words, without a URL.
    pub cause: String,
}

/// What the client must know of a server.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    pub base: &'a Url,
    pub timeout: Span,
    pub connections: usize,
    /// A PEM bundle trusted beside the system's authorities.
    pub ca_pem: Option<&'a [u8]>,
}

impl Http {
    /// Makes a client. For plain HTTP on loopback it needs no system certificates and takes no proxy from the
    /// environment.
    ///
    /// # Errors
    /// When TLS cannot be set up: no system certificates, or a bad bundle.
    pub fn new(settings: &Settings) -> Result<Http> {
        set_up_tls();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("privo-reconcile/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .timeout(settings.timeout.duration())
            .connect_timeout(settings.timeout.duration())
            .pool_max_idle_per_host(settings.connections)
            .pool_idle_timeout(Duration::from_secs(30));
        if let Some(pem) = settings.ca_pem {
            let bundle = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| error.without_url())
                .context("failed to read server.ca_file (it must hold PEM certificates)")?;
            builder = builder.tls_certs_merge(bundle);
        }
        if is_loopback(settings.base) {
            builder = builder.no_proxy();
            if settings.base.scheme() == "http" {
                builder = builder.tls_certs_only([]);
            }
        }
        let client = builder
            .build()
            .map_err(|error| error.without_url())
            .context("failed to set up HTTPS (are the system's CA certificates installed?)")?;
        Ok(Http { client, base: settings.base.clone() })
    }
}

/// Makes ring do the cryptography of TLS, unless the program around this library has chosen for itself.
fn set_up_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Transport for Http {
    async fn send(&self, outgoing: &Outgoing<'_>) -> Result<Exchange, Broken> {
        let no_request = |cause: &str| Broken { failure: Failure::NotSent, cause: cause.to_owned() };
        let method =
            reqwest::Method::from_bytes(outgoing.method.as_bytes()).map_err(|_| no_request("no HTTP method"))?;
        let url =
            join(&self.base, outgoing.path_and_query).ok_or_else(|| no_request("no URL can be made of the lookup"))?;
        let mut request = self.client.request(method, url);
        if let Some(token) = outgoing.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some((user, password)) = outgoing.basic {
            request = request.basic_auth(user.expose_secret(), Some(password.expose_secret()));
        }
        if let Some(json) = outgoing.json {
            request = request.header(header::CONTENT_TYPE, "application/json").body(json.to_owned());
        }
        if let Some(form) = outgoing.form {
            request = request.form(form);
        }
        for (name, value) in outgoing.headers {
            request = request.header(*name, *value);
        }
        if !outgoing.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header(header::ACCEPT, HeaderValue::from_static("application/json"));
        }
        let response = request.send().await.map_err(|error| broken(&error))?;
        read(response).await
    }
}

async fn read(mut response: reqwest::Response) -> Result<Exchange, Broken> {
    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let now = Moment::now();
    let date = header(header::DATE).and_then(|text| Moment::parse_http_date(text, now));
    let retry_after = header(header::RETRY_AFTER).and_then(|text| retry_after(text, date, now));
    let content_type = header(header::CONTENT_TYPE).map(str::to_owned);
    let links = response.headers().get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let links = links.collect::<Vec<_>>().join(", ");
    let mut answer = Answer { status: response.status().as_u16(), content_type, date, links, body: Vec::new() };
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if answer.body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(Broken {
                failure: Failure::Network,
                cause: format!("an answer of more than {ANSWER_LIMIT} bytes"),
            });
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(Exchange { answer, retry_after })
}

/// `Retry-After` in seconds, or as a date against the answer's own (`now`, where it bears none). More than can be
/// counted is for ever, and not for a moment.
fn retry_after(text: &str, date: Option<Moment>, now: Moment) -> Option<Span> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Span::seconds(text.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    // Not HTTP's, but meant: no less than what was asked for.
    let fraction = text.split_once('.').filter(|(whole, part)| {
        !whole.is_empty() && !part.is_empty() && whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit())
    });
    if let Some((whole, _)) = fraction {
        return Some(Span::seconds(i64::from(whole.parse::<u32>().unwrap_or(u32::MAX)) + 1));
    }
    // Dates are of whole seconds, the clock is not.
    let seconds = Moment::parse_http_date(text, now)?.since(date.unwrap_or(now)).0.div_euclid(1000);
    (seconds >= 0).then_some(Span::seconds(seconds))
}

/// How a failure counts for a sender, and why. What cannot be told apart goes to the safe side: maybe sent.
fn classed(error: &reqwest::Error) -> (Failure, &'static str) {
    if error.is_timeout() {
        // A connect timeout says both; whether the handshake was done cannot be known for sure.
        (Failure::Timeout, "timeout")
    } else if error.is_connect() && is_handshake(error) {
        (
            Failure::NotSent,
            "no secure connection: a certificate of another host, out of date, or of an authority that is not in server.ca_file",
        )
    } else if error.is_connect() {
        (Failure::NotSent, "no connection")
    } else if error.is_builder() {
        (Failure::NotSent, "the request could not be built")
    } else {
        (Failure::Network, "the connection broke")
    }
}

/// There was a connection, and what came through it was no TLS to go on with.
fn is_handshake(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(holds_bad_data)
}

/// An I/O error's source passes over what the error itself holds.
fn holds_bad_data(error: &std::io::Error) -> bool {
    let held = error.get_ref().and_then(|held| held.downcast_ref::<std::io::Error>());
    error.kind() == std::io::ErrorKind::InvalidData || held.is_some_and(holds_bad_data)
}

fn broken(error: &reqwest::Error) -> Broken {
    let (failure, cause) = classed(error);
    Broken { failure, cause: cause.to_owned() }
}

/// The base's own host is not parsed again, so what is not a plain path cannot be joined.
fn join(base: &Url, path_and_query: &str) -> Option<Url> {
    if path_and_query.is_empty() {
        return Some(base.clone());
    }
    if !path_and_query.starts_with('/') || path_and_query.starts_with("//") {
        return None;
    }
    let prefix = base.path().trim_end_matches('/');
    let url =
        if prefix.is_empty() { base.join(path_and_query) } else { base.join(&format!("{prefix}{path_and_query}")) };
    url.ok().filter(|url| url.host() == base.host() && url.port() == base.port())
}

/// This machine itself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_its_server() {
        let base = Url::parse("http://127.0.0.1:1/prefix/").unwrap();
        assert_eq!(join(&base, "/a?b=c").unwrap().as_str(), "http://127.0.0.1:1/prefix/a?b=c");
        let bare = Url::parse("http://127.0.0.1").unwrap();
        for elsewhere in
            ["@evil.example/a", ":81/a", "//evil.example/a", "/\\evil.example/a", "http://evil.example/a", "a"]
        {
            assert_eq!(join(&bare, elsewhere), None, "{elsewhere}");
        }
        assert_eq!(join(&bare, "").unwrap(), bare);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |text: &str| Moment::parse_http_date(text, Moment(0));
        let date = at("Sun, 06 Nov 1994 08:49:37 GMT");
        let later = "Sun, 06 Nov 1994 08:49:40 GMT";
        assert_eq!(retry_after("7", None, Moment(0)), Some(Span::seconds(7)));
        assert_eq!(retry_after("1.5", None, Moment(0)), Some(Span::seconds(2)));
        assert_eq!(retry_after(later, date, Moment(0)), Some(Span::seconds(3)));
        assert_eq!(retry_after(later, None, at(later).unwrap()), Some(Span::ZERO));
        for form in ["Sunday, 06-Nov-94 08:49:40 GMT", "Sun Nov  6 08:49:40 1994"] {
            assert_eq!(retry_after(form, date, at(later).unwrap()), Some(Span::seconds(3)), "{form}");
        }
        for none in ["soon", "-1", "1.5s", "1.", ".5", "", "Sun, 06 Nov 1994 08:49:30 GMT"] {
            assert_eq!(retry_after(none, date, Moment(0)), None, "{none}");
        }
    }

    #[test]
    fn a_retry_after_beyond_counting_is_not_cut_short() {
        for huge in ["4294967295", "4294967296", "99999999999999999999999999"] {
            assert!(retry_after(huge, None, Moment(0)) > Some(Span::seconds(86_400 * 365)), "{huge}");
        }
        let dated = retry_after("Fri, 31 Dec 2100 23:59:59 GMT", None, Moment(0));
        assert!(dated > Some(Span::seconds(86_400 * 365)));
    }
}
