//! How a server lets the job in: `[auth]`, and `[hosts.NAME.auth]` for another host of the plan's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::credential::{Credential, Secret, UserName};
use super::values::WebAddress;
use crate::plan::parts::header_name;

/// How a server lets the job in. Credentials are read when they are needed.
#[derive(Clone, Debug)]
pub struct Auth {
    pub way: Way,
    /// Secrets that go with every request beside it, like an API key: header and value.
    pub headers: Vec<(String, Credential)>,
}

/// What proves who the job is.
#[derive(Clone, Debug)]
pub enum Way {
    /// Nothing but the headers.
    Headers,
    /// A token that OAuth 2.0 client credentials are exchanged for.
    Client(Box<Client>),
    /// A token that stays the same.
    Token(Credential),
    /// HTTP Basic.
    Basic { user: Credential, password: Credential },
}

/// OAuth 2.0 client credentials (RFC 6749, 4.4).
#[derive(Clone, Debug)]
pub struct Client {
    pub token_url: Url,
    pub client_id: Credential,
    pub client_secret: Credential,
    pub scope: Option<String>,
    pub client_auth: ClientAuth,
    pub audience: Option<String>,
    /// Further fields of the token request.
    pub params: BTreeMap<String, String>,
}

/// Where a token request has the client's id and secret (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// In its body.
    #[default]
    Body,
    /// In its `Authorization` header.
    Basic,
}

impl Auth {
    /// Every credential of it.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        let way = match &self.way {
            Way::Headers => [None, None],
            Way::Client(client) => [Some(&client.client_id), Some(&client.client_secret)],
            Way::Token(token) => [Some(token), None],
            Way::Basic { user, password } => [Some(user), Some(password)],
        };
        way.into_iter().flatten().chain(self.headers.iter().map(|(_, value)| value))
    }

    /// Where tokens are fetched, if they are.
    pub fn token_url(&self) -> Option<&Url> {
        match &self.way {
            Way::Client(client) => Some(&client.token_url),
            Way::Headers | Way::Token(_) | Way::Basic { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [auth]")]
pub(super) struct AuthFile {
    token_url: Option<WebAddress>,
    client_id: Option<Spanned<Secret>>,
    client_secret: Option<Spanned<Secret>>,
    scope: Option<Spanned<String>>,
    client_auth: Option<Spanned<ClientAuth>>,
    audience: Option<Spanned<String>>,
    #[serde(default)]
    params: BTreeMap<Spanned<String>, String>,
    token: Option<Spanned<Secret>>,
    basic: Option<BasicFile>,
    #[serde(default)]
    headers: BTreeMap<Spanned<String>, Spanned<Secret>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, { user = \"…\", password = { env = \"…\" } }")]
struct BasicFile {
    user: Spanned<UserName>,
    password: Spanned<Secret>,
}

/// The fields that a token request has anyway.
const OF_THE_REQUEST: [&str; 5] = ["grant_type", "client_id", "client_secret", "scope", "audience"];

impl AuthFile {
    /// Checks the section that stands at `span`. `at` says file and line of a place.
    pub(super) fn check(self, folder: &Path, at: &dyn Fn(Range<usize>) -> String, span: Range<usize>) -> Result<Auth> {
        let here = at(span);
        let credential = |secret: &Spanned<Secret>, may_be_written| {
            Credential::of(secret.as_ref(), folder, may_be_written, at(secret.span()))
        };
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            header_name(name.as_ref()).map_err(|why| anyhow!("{}: {why}", at(name.span())))?;
            headers.push((name.as_ref().clone(), credential(value, false)?));
        }
        let ways = [self.token_url.is_some(), self.token.is_some(), self.basic.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            bail!("{here}: [auth] has several ways in (keep one of token_url, token and basic)");
        }
        if ways[1..].contains(&true) && headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            bail!("{here}: the header Authorization is given twice (keep `token` or `basic`, or the header)");
        }
        if self.token_url.is_none()
            && let Some(place) = self.only_with_a_token_url()
        {
            bail!("{}: this belongs to `token_url`, which is missing (add it, or take this out)", at(place));
        }
        let way = match (self.token_url, self.token, self.basic) {
            (Some(token_url), ..) => {
                let (Some(client_id), Some(client_secret)) = (&self.client_id, &self.client_secret) else {
                    bail!("{here}: `token_url` needs `client_id` and `client_secret` (see docs/CONFIG.md)");
                };
                if let Some(name) = self.params.keys().find(|name| OF_THE_REQUEST.contains(&name.as_ref().as_str())) {
                    bail!("{}: `{}` has a key of its own (take it out of params)", at(name.span()), name.as_ref());
                }
                Way::Client(Box::new(Client {
                    token_url: token_url.0,
                    client_id: credential(client_id, true)?,
                    client_secret: credential(client_secret, false)?,
                    scope: self.scope.map(Spanned::into_inner),
                    client_auth: self.client_auth.map(Spanned::into_inner).unwrap_or_default(),
                    audience: self.audience.map(Spanned::into_inner),
                    params: self.params.into_iter().map(|(name, value)| (name.into_inner(), value)).collect(),
                }))
            }
            (None, Some(token), _) => Way::Token(credential(&token, false)?),
            (None, None, Some(basic)) => {
                let user = Credential::of(&basic.user.as_ref().0, folder, true, at(basic.user.span()))?;
                Way::Basic { user, password: credential(&basic.password, false)? }
            }
            (None, None, None) if headers.is_empty() => {
                bail!("{here}: [auth] has no way in (give it token_url, token, basic or headers, or take it out)")
            }
            (None, None, None) => Way::Headers,
        };
        Ok(Auth { way, headers })
    }

    fn only_with_a_token_url(&self) -> Option<Range<usize>> {
        let secrets = [&self.client_id, &self.client_secret].into_iter().flatten().map(Spanned::span);
        let texts = [&self.scope, &self.audience].into_iter().flatten().map(Spanned::span);
        let others = self.client_auth.iter().map(Spanned::span).chain(self.params.keys().map(Spanned::span));
        secrets.chain(texts).chain(others).next()
    }
}
