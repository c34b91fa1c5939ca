//! How the job is let in: what goes with each request, read once.

use anyhow::{Result, bail};
use secrecy::{ExposeSecret, SecretString};

use super::Stop;
use super::pace::Pace;
use super::token::Tokens;
use crate::clock::Moment;
use crate::config::auth::Way;
use crate::config::{Auth, Credential};
use crate::http::Transport;
use crate::plan::parts::is_header_value;

/// What goes with each request to a server.
pub struct Login<T> {
    way: Secrets<T>,
    headers: Vec<(String, SecretString)>,
}

enum Secrets<T> {
    Nothing,
    Client(Box<Tokens<T>>),
    Token(SecretString),
    Basic(SecretString, SecretString),
}

impl<T: Transport> Login<T> {
    /// One who lets everybody in.
    pub fn open() -> Login<T> {
        Login { way: Secrets::Nothing, headers: Vec::new() }
    }

    /// Reads the credentials; `http` is a client for the token endpoint's host, where there is one.
    ///
    /// # Errors
    /// When a credential cannot be read, or cannot stand in a header.
    pub fn new(auth: &Auth, http: Option<T>, clock: fn() -> Moment) -> Result<Login<T>> {
        let headers = auth.headers.iter().map(|(name, value)| Ok((name.clone(), for_header(value)?)));
        let headers = headers.collect::<Result<_>>()?;
        let way = match (&auth.way, http) {
            (Way::Client(client), Some(http)) => Secrets::Client(Box::new(Tokens::new(client, http, clock)?)),
            (Way::Headers | Way::Client(_), _) => Secrets::Nothing,
            (Way::Token(token), _) => Secrets::Token(for_header(token)?),
            (Way::Basic { user, password }, _) => Secrets::Basic(user.read()?, password.read()?),
        };
        Ok(Login { way, headers })
    }

    /// The token to send, fetched where there is none that will do.
    ///
    /// # Errors
    /// As [`Tokens::get`].
    pub async fn token(&self, pace: &Pace) -> Result<Option<SecretString>, Stop> {
        match &self.way {
            Secrets::Client(tokens) => tokens.get(pace).await.map(Some),
            Secrets::Token(token) => Ok(Some(token.clone())),
            Secrets::Nothing | Secrets::Basic(..) => Ok(None),
        }
    }

    /// Forgets a token that was refused; whether another one can be fetched.
    pub async fn renews(&self, refused: &SecretString) -> bool {
        let Secrets::Client(tokens) = &self.way else { return false };
        tokens.forget(refused).await;
        true
    }

    /// User and password of HTTP Basic.
    pub fn basic(&self) -> Option<(&SecretString, &SecretString)> {
        match &self.way {
            Secrets::Basic(user, password) => Some((user, password)),
            Secrets::Nothing | Secrets::Client(_) | Secrets::Token(_) => None,
        }
    }

    /// The secret headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

fn for_header(credential: &Credential) -> Result<SecretString> {
    let value = credential.read()?;
    if !is_header_value(value.expose_secret()) {
        bail!("{}: it holds a character that no header can carry", credential.place());
    }
    Ok(value)
}
