//! Pings in the way of healthchecks: `<url>/start`, then `<url>/<exit code>`.

use anyhow::{Result, bail};
use secrecy::ExposeSecret;
use url::Url;

use super::Ping;
use super::config::http_url;
use crate::clock::Span;
use crate::http::{Http, Outgoing, Settings, Transport};

/// For one try; a run waits no longer than [`TRIES`] times this.
const TIMEOUT: Span = Span::seconds(10);

const TRIES: u32 = 2;

/// Asks for the ping's address with this at the end of its path, with a client of its own: the server's token never goes
/// there, and no redirect is followed.
///
/// # Errors
/// When it was not taken. The message says nothing of the URL.
pub async fn tell(ping: &Ping, what: &str) -> Result<()> {
    let url = http_url(ping.url.read()?.expose_secret())?;
    let (base, path_and_query) = address(&url, what);
    let http = Http::new(&Settings { base: &base, timeout: TIMEOUT, connections: 1, ca_pem: None })?;
    let outgoing = Outgoing { method: "GET", path_and_query: &path_and_query, ..Outgoing::default() };
    let mut why = String::new();
    for _ in 0..TRIES {
        match http.send(&outgoing).await {
            Ok(exchange) if (200..300).contains(&exchange.answer.status) => return Ok(()),
            Ok(exchange) => {
                let status = exchange.answer.status;
                why = format!("status {status}");
                if status < 500 && status != 429 {
                    break;
                }
            }
            Err(broken) => why = broken.cause,
        }
    }
    bail!("not taken: {why}")
}

/// Whether a URL can be pinged.
///
/// # Errors
/// When it is no http or https URL.
pub fn parse(text: &str) -> Result<()> {
    http_url(text).map(|_| ())
}

/// The host, and the path with `what` at its end and the query after it.
fn address(url: &Url, what: &str) -> (Url, String) {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path_and_query = format!("{}/{what}{query}", url.path().trim_end_matches('/'));
    let mut base = url.clone();
    base.set_path("");
    base.set_query(None);
    base.set_fragment(None);
    (base, path_and_query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_goes_to_the_end_of_the_path() {
        for (url, expected) in [
            ("https://hc.example/uuid", "https://hc.example/ /uuid/start"),
            ("https://hc.example/uuid/", "https://hc.example/ /uuid/start"),
            ("https://hc.example", "https://hc.example/ /start"),
            ("https://hc.example:8443/key/slug?create=1#x", "https://hc.example:8443/ /key/slug/start?create=1"),
        ] {
            let (base, path) = address(&http_url(url).unwrap(), "start");
            assert_eq!(format!("{base} {path}"), expected);
        }
    }

    #[test]
    fn what_cannot_be_pinged_is_refused_without_its_text() {
        for bad in ["", "hc.example/uuid", "ftp://hc.example/uuid", "http://"] {
            let said = parse(bad).unwrap_err().to_string();
            assert!(!said.contains("uuid"), "{said}");
        }
    }
}
