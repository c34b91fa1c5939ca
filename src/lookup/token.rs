//! OAuth 2.0 client credentials: one token for all, fetched by one request however many wait for it.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::pace::{LeftAlone, Pace, Sent};
use super::{Stop, refused_with};
use crate::clock::{Moment, Span};
use crate::config::auth::{Client, ClientAuth};
use crate::http::{Outgoing, Transport};

/// A token without `expires_in` is renewed after this time.
const USUAL_LIFETIME: Span = Span::seconds(300);

/// A token is renewed this long before it expires, or a tenth of its life if that is less.
const MARGIN: Span = Span::seconds(60);

/// The token endpoint's answer (RFC 6749, 5.1).
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    /// Seconds; some servers write them as a text, or with a fraction.
    expires_in: Option<Value>,
}

impl TokenAnswer {
    fn lifetime(&self) -> Span {
        let seconds = match &self.expires_in {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        // Less than a second or more than a year is no lifetime that anybody meant.
        let seconds = seconds.filter(|seconds| (1.0..=31_536_000.0).contains(seconds));
        #[expect(clippy::cast_possible_truncation, reason = "it is within a year")]
        let span = seconds.map(|seconds| Span((seconds * 1000.0) as i64));
        span.unwrap_or(USUAL_LIFETIME)
    }
}

/// An answer that says why there is no token (RFC 6749, 5.2), whatever its status is.
#[derive(Deserialize)]
struct NoToken {
    error: String,
}

/// Why an answer holds no token: its error code where it has one, and never another word of it.
fn why_none(body: &[u8]) -> String {
    let code = serde_json::from_slice::<NoToken>(body).ok().map(|answer| answer.error);
    let is_code = |code: &String| code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match code.filter(|code| is_code(code)) {
        Some(code) => format!("no token: the answer says {code}"),
        None => "no token: the answer holds none".to_owned(),
    }
}

struct Token {
    value: SecretString,
    renew_at: Moment,
}

fn as_in_a_form(secret: &SecretString) -> SecretString {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    SecretString::from(encode(secret.expose_secret()))
}

/// The token of a run.
pub struct Tokens<T> {
    client_id: SecretString,
    client_secret: SecretString,
    client: Client,
    http: T,
    clock: fn() -> Moment,
    current: Mutex<Option<Token>>,
}

impl<T: Transport> Tokens<T> {
    /// Reads the credentials; `http` is a client for the token endpoint's host.
    ///
    /// # Errors
    /// When a credential cannot be read.
    pub fn new(client: &Client, http: T, clock: fn() -> Moment) -> anyhow::Result<Tokens<T>> {
        let (client_id, client_secret) = (client.client_id.read()?, client.client_secret.read()?);
        Ok(Tokens { client_id, client_secret, client: client.clone(), http, clock, current: Mutex::new(None) })
    }

    /// The token, fetched when there is none that will do.
    ///
    /// # Errors
    /// [`Stop::Fatal`] when the credentials are refused; [`Stop::Alone`] when the endpoint is left alone; [`Stop::Failed`]
    /// when it gave no answer.
    pub async fn get(&self, pace: &Pace) -> Result<SecretString, Stop> {
        let mut current = self.current.lock().await;
        match &*current {
            Some(token) if (self.clock)() < token.renew_at => Ok(token.value.clone()),
            _ => {
                let token = self.fetch(pace).await?;
                let value = token.value.clone();
                *current = Some(token);
                Ok(value)
            }
        }
    }

    /// Forgets a token that the server refused, unless another one has taken its place already.
    pub async fn forget(&self, refused: &SecretString) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|token| token.value.expose_secret() == refused.expose_secret()) {
            *current = None;
        }
    }

    async fn fetch(&self, pace: &Pace) -> Result<Token, Stop> {
        let client = &self.client;
        let mut form = vec![("grant_type", "client_credentials")];
        if client.client_auth == ClientAuth::Body {
            form.push(("client_id", self.client_id.expose_secret()));
            form.push(("client_secret", self.client_secret.expose_secret()));
        }
        form.extend(client.scope.as_deref().map(|scope| ("scope", scope)));
        form.extend(client.audience.as_deref().map(|audience| ("audience", audience)));
        form.extend(client.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        // Both are written as in a form before they are joined (RFC 6749, 2.3.1).
        let (id, secret) = (as_in_a_form(&self.client_id), as_in_a_form(&self.client_secret));
        let basic = (client.client_auth == ClientAuth::Basic).then_some((&id, &secret));
        let outgoing = Outgoing { method: "POST", form: Some(&form), basic, ..Outgoing::default() };
        loop {
            let permit = pace.admit().await.map_err(|LeftAlone(why)| Stop::Alone(why))?;
            let sent = self.http.send(&outgoing).await;
            let sent_at = permit.done();
            let exchange = match sent {
                Ok(exchange) => exchange,
                Err(broken) => {
                    let cause = format!("no token: {}", broken.cause);
                    pace.failed(&cause);
                    return Err(Stop::Failed(cause));
                }
            };
            match exchange.answer.status {
                200..=299 => return self.token(pace, sent_at, &exchange.answer.body),
                429 => pace.refused(sent_at, exchange.retry_after),
                408 | 500..=599 => {
                    let cause = format!("no token: status {}", exchange.answer.status);
                    pace.failed(&cause);
                    return Err(Stop::Failed(cause));
                }
                status => {
                    let remedy = "check [auth]: token_url, client_id, client_secret, scope, audience, and client_auth";
                    return Err(refused_with(format!(
                        "the token endpoint refused the credentials with status {status} ({remedy})"
                    )));
                }
            }
        }
    }

    fn token(&self, pace: &Pace, sent_at: Sent, body: &[u8]) -> Result<Token, Stop> {
        let Ok(answer) = serde_json::from_slice::<TokenAnswer>(body) else {
            // A page for people, as in maintenance: not a word about the credentials.
            let cause = why_none(body);
            pace.failed(&cause);
            return Err(Stop::Failed(cause));
        };
        pace.answered(sent_at);
        let lifetime = answer.lifetime();
        let margin = Span(MARGIN.0.min(lifetime.0 / 10));
        Ok(Token { value: answer.access_token, renew_at: (self.clock)() + lifetime + Span(-margin.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_read_as_servers_write_it() {
        for (written, expected) in [
            ("599", Span::seconds(599)),
            ("\"599\"", Span::seconds(599)),
            ("\" 599.0 \"", Span::seconds(599)),
            ("3599.5", Span(3_599_500)),
            ("5.99e2", Span::seconds(599)),
            ("null", USUAL_LIFETIME),
            ("0", USUAL_LIFETIME),
            ("-1", USUAL_LIFETIME),
            ("0.2", USUAL_LIFETIME),
            ("\"never\"", USUAL_LIFETIME),
            ("\"nan\"", USUAL_LIFETIME),
            ("99999999999999999999", USUAL_LIFETIME),
            ("1e999", USUAL_LIFETIME),
            ("true", USUAL_LIFETIME),
            ("[599]", USUAL_LIFETIME),
        ] {
            let body = format!("{{\"access_token\":\"t\",\"expires_in\":{written}}}");
            let answer = serde_json::from_str::<TokenAnswer>(&body).unwrap();
            assert_eq!(answer.lifetime(), expected, "{written}");
        }
    }

    #[test]
    fn an_error_is_named_by_its_code_alone() {
        let said = |body: &str| why_none(body.as_bytes());
        assert_eq!(
            said(r#"{"error":"invalid_client","error_description":"hush"}"#),
            "no token: the answer says invalid_client"
        );
        for other in
            [r#"{"error":"Hush, sue@example.com"}"#, r#"{"error":{"code":1}}"#, "<html>", "", r#"{"token":"hush"}"#]
        {
            assert_eq!(said(other), "no token: the answer holds none", "{other}");
        }
    }
}
