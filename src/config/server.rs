//! The servers that are asked: `[server]`, and `[hosts.NAME]` for the plan's other hosts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::auth::{Auth, AuthFile};
use super::values::{Origin, WebAddress, base, concurrency, rate, some_time};
use crate::clock::{Length, Span};
use crate::plan::parts::{header_name, is_header_value};

/// The server that is asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// Scheme, host and port name the environment; a path is put before every lookup.
    pub base_url: Url,
    /// Addresses that the same server had before.
    pub also: Vec<Url>,
    /// Never more than this.
    pub requests_per_second: f64,
    /// Requests in flight, at the most.
    pub concurrency: usize,
    /// For one request, from the connection to the answer's last byte.
    pub timeout: Span,
    /// A certificate authority (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Headers that go with every request; no secrets.
    pub headers: Vec<(String, String)>,
}

/// Another host of the plan's: some of its lookups are answered there.
#[derive(Clone, Debug)]
pub struct Host {
    pub base_url: Url,
    /// `None`: it lets the job in as the server does.
    pub auth: Option<Auth>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [server]")]
pub(super) struct ServerFile {
    #[serde(deserialize_with = "base")]
    base_url: WebAddress,
    #[serde(default)]
    also: Vec<Origin>,
    #[serde(default = "five", deserialize_with = "rate")]
    requests_per_second: f64,
    #[serde(default = "four", deserialize_with = "concurrency")]
    concurrency: usize,
    #[serde(default = "ten_seconds", deserialize_with = "some_time")]
    timeout: Length,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    headers: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [hosts.NAME]")]
pub(super) struct HostFile {
    #[serde(deserialize_with = "base")]
    pub(super) base_url: WebAddress,
    pub(super) auth: Option<Spanned<AuthFile>>,
}

fn five() -> f64 {
    5.0
}

fn four() -> usize {
    4
}

fn ten_seconds() -> Length {
    Length(Span::seconds(10))
}

impl ServerFile {
    /// Checks the section. `at` says file and line of a place.
    pub(super) fn checked(self, folder: &Path, at: &dyn Fn(Range<usize>) -> String) -> Result<Server> {
        let mut headers = Vec::new();
        for (name, value) in self.headers {
            header_name(name.as_ref()).map_err(|why| anyhow!("{}: {why}", at(name.span())))?;
            if name.as_ref().eq_ignore_ascii_case("authorization") {
                bail!("{}: a secret is never written into the configuration (use [auth])", at(name.span()));
            }
            if !is_header_value(value.as_ref()) {
                bail!("{}: a header's value is of visible ASCII characters and spaces", at(value.span()));
            }
            headers.push((name.into_inner(), value.into_inner()));
        }
        Ok(Server {
            base_url: self.base_url.0,
            also: self.also.into_iter().map(|origin| origin.0).collect(),
            requests_per_second: self.requests_per_second,
            concurrency: self.concurrency,
            timeout: self.timeout.0,
            ca_file: self.ca_file.map(|file| folder.join(file)),
            headers,
        })
    }
}
