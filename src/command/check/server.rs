//! The server: whether it answers, what time it is there, the token, the controls.

use std::time::Duration;

use anyhow::Result;

use super::assumptions;
use super::entries::Wanted;
use super::findings::Findings;
use crate::clock::{Moment, Span};
use crate::config::{Auth, Config};
use crate::http::{self, Broken, Exchange, Outgoing, Transport};
use crate::lookup::{self, Controls, Lookups, Stop};

/// Clocks that differ by more than this are worth knowing.
const NOTED: Span = Span::seconds(5);

/// Clocks that differ by more than this spoil verdicts.
const TOO_FAR: Span = Span::seconds(60);

/// A server is asked so often whether it answers at all.
const TRIES: u32 = 3;

pub async fn check(config: &Config, wanted: &Wanted, in_full: bool, findings: &mut Findings) -> Result<()> {
    for clear in sent_in_clear(config) {
        findings.bad(clear)?;
    }
    let answers = answers(config, findings).await?;
    let lookups = match Lookups::new(config, Moment::now) {
        Ok(lookups) => lookups,
        Err(error) => {
            findings.failed(&error)?;
            return not_asked(findings, "the credentials are missing");
        }
    };
    match lookups.check_credentials().await {
        Ok(()) if config.auth.is_none() => findings.good("credentials: none are configured ([auth])")?,
        Ok(()) => findings.good("credentials")?,
        Err(error) => {
            findings.failed(&error)?;
            return not_asked(findings, "there is no token");
        }
    }
    if !answers {
        return not_asked(findings, "the server gave no answer");
    }
    for (name, lookup) in &config.plan.lookups {
        if let Some(host) = lookup.host.as_ref().filter(|host| config.base_of(Some(host)).is_none()) {
            if wanted.contains_key(name) {
                findings.bad(format!(
                    "{name} is asked at the plan's host `{host}`, which the configuration does not name (give it [hosts.{host}] with a base_url)"
                ))?;
            }
            continue;
        }
        let configured = config.controls.iter().any(|control| control.lookup == *name);
        if !configured && !config.plan.looks_up_by(name) {
            continue;
        }
        match lookups.controls(name).await {
            Err(Stop::Fatal(error)) => findings.failed(&error)?,
            Err(Stop::Alone(why) | Stop::Failed(why)) => findings.bad(format!("controls of {name}: {why}"))?,
            Ok(controls) if controls.usable() && configured => findings.good(format!("controls of {name}"))?,
            // Already said of those that the entries need.
            Ok(controls) if controls.usable() && wanted.contains_key(name) => {}
            Ok(controls) if controls.usable() => findings.note(format!(
                "{name} has no control, and no entry needs it yet: its absences would prove nothing (add a [[control]] with a known key)"
            ))?,
            Ok(controls) => findings.bad(format!("controls of {name}: {}", trouble(&controls)))?,
        }
    }
    assumptions::check(config, &lookups, in_full, findings).await
}

/// What leaves this machine so that everybody on the way can read it.
fn sent_in_clear(config: &Config) -> Vec<String> {
    let data = "the credentials and children's data are";
    let server = std::iter::once(("server.base_url".to_owned(), &config.server.base_url, data));
    let hosts = config.hosts.iter().map(|(name, host)| (format!("hosts.{name}.base_url"), &host.base_url, data));
    let tokens = config.auths().filter_map(Auth::token_url);
    let tokens = tokens.map(|url| ("auth.token_url".to_owned(), url, "the client's secret is"));
    let urls = server.chain(hosts).chain(tokens);
    let clear = urls.filter(|(_, url, _)| url.scheme() == "http" && !http::is_loopback(url));
    clear.map(|(key, _, what)| format!("{key}: {what} sent in clear text (write https)")).collect()
}

fn not_asked(findings: &mut Findings, why: &str) -> Result<()> {
    findings.note(format!("controls: not asked, for {why}"))
}

fn trouble(controls: &Controls) -> String {
    if controls.shut_out {
        let cause = controls.cause.as_deref().unwrap_or("the credentials do not let this job read");
        return format!("{cause}; check [auth]: token, scope and audience");
    }
    controls.contradiction().map(str::to_owned).unwrap_or_else(|| {
        format!(
            "no answer to rely on ({}); if the server answers an unknown key differently, change `absent` in the plan",
            controls.cause.as_deref().unwrap_or("none came")
        )
    })
}

/// Whether the server answers anything at all, without a token; and its clock.
async fn answers(config: &Config, findings: &mut Findings) -> Result<bool> {
    let origin = config.server.base_url.origin().ascii_serialization();
    let http = match lookup::client(&config.server, &config.server.base_url) {
        Ok(http) => http,
        // The lookups' own clients say it.
        Err(_) => return Ok(false),
    };
    match ask(&http).await {
        Err(Broken { cause, .. }) => {
            findings.bad(format!("server {origin}: {cause} (is base_url right, and may this host reach it?)"))?;
            Ok(false)
        }
        Ok((exchange, ..)) if exchange.answer.status >= 500 => {
            let status = exchange.answer.status;
            findings.bad(format!("server {origin} answers {status}: it, or what stands before it, is not well"))?;
            Ok(true)
        }
        Ok((exchange, asked, answered)) => {
            match exchange.answer.date {
                None => findings.note(format!(
                    "server {origin} answers without a Date: the clocks cannot be compared (see that this host's is set by NTP)"
                ))?,
                Some(date) => clock(&origin, difference(date, asked, answered), findings)?,
            }
            Ok(true)
        }
    }
}

async fn ask(http: &impl Transport) -> Result<(Exchange, Moment, Moment), Broken> {
    let outgoing = Outgoing { method: "GET", path_and_query: "/", ..Outgoing::default() };
    let mut tries = 1;
    loop {
        let asked = Moment::now();
        match http.send(&outgoing).await {
            Ok(exchange) => return Ok((exchange, asked, Moment::now())),
            Err(broken) if tries == TRIES => return Err(broken),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// By how much the server's clock is surely ahead of this one; negative when it is behind. Its `Date` is cut to seconds and
/// was written at some time between asking and answering.
fn difference(date: Moment, asked: Moment, answered: Moment) -> Span {
    let ahead = date.since(answered);
    let behind = asked.since(date + Span::seconds(1));
    if ahead > Span::ZERO {
        ahead
    } else if behind > Span::ZERO {
        Span(-behind.0)
    } else {
        Span::ZERO
    }
}

fn clock(origin: &str, ahead: Span, findings: &mut Findings) -> Result<()> {
    let by = Span(ahead.0.saturating_abs());
    let side = if ahead < Span::ZERO { "behind" } else { "ahead of" };
    let said = format!("server {origin}: its clock is {}s {side} this host's", by.0 / 1000);
    if by > TOO_FAR && ahead < Span::ZERO {
        findings.bad(format!(
            "{said}; nothing is settled by an absence before that clock has passed the waiting window, and `created` and \
             `preexisting` cannot be told apart (set this host's clock by NTP; if it is right, the server's is wrong: tell its \
             operator)"
        ))
    } else if by > TOO_FAR {
        findings.bad(format!("{said}; `created` and `preexisting` cannot be told apart (set this host's clock by NTP)"))
    } else if by > NOTED {
        findings.note(format!("{said} (set this host's clock by NTP)"))
    } else {
        findings.good(format!("server {origin} answers, and its clock is this host's"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_is_sure() {
        for (date, asked, answered, expected) in [
            (10_000, 10_000, 10_200, 0),
            (10_000, 10_900, 10_999, 0),
            (10_000, 11_500, 11_600, -500),
            (10_000, 9_000, 9_500, 500),
            // A slow answer may have been dated at any time of its way.
            (10_000, 5_000, 15_000, 0),
        ] {
            assert_eq!(difference(Moment(date), Moment(asked), Moment(answered)), Span(expected), "{date} {asked}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        let config = |server: &str, token: &str| {
            let auth = format!(
                "[auth]\ntoken_url = \"{token}\"\nclient_id = {{ env = \"A\" }}\nclient_secret = {{ env = \"B\" }}"
            );
            let text =
                format!("plan = \"privo-gateway\"\n[ledger]\npath = \"l\"\n[server]\nbase_url = \"{server}\"\n{auth}");
            Config::parse(std::path::Path::new("c.toml"), &text).unwrap()
        };
        assert!(sent_in_clear(&config("https://a.example", "https://b.example")).is_empty());
        assert!(sent_in_clear(&config("http://127.0.0.1:1", "http://[::1]:2")).is_empty());
        let clear = sent_in_clear(&config("http://a.example", "http://b.example"));
        assert!(
            clear[0].starts_with("server.base_url: the credentials")
                && clear[1].starts_with("auth.token_url: the client")
        );
    }
}
