//! Recording what a `reqwest` client sends, in a few lines of a partner's code: the layer of [`crate::http`] over the
//! recorder of [`crate::ledger`].
//!
//! ```no_run
//! use privo_reconcile::config::Config;
//! use privo_reconcile::recording::{self, OperationId, Unwritable};
//!
//! # async fn partner() -> anyhow::Result<()> {
//! let recorder = recording::recorder(Config::load(None)?)?;
//! let client = recording::layer(recorder, Unwritable::FailClosed).client(reqwest::Client::builder())?;
//! client
//!     .post("https://api-gw-svc-int.privo.com/api/v1.0/account")
//!     .header("content-type", "application/json")
//!     .body(r#"{"email":"ann@example.com","first_name":"Ann"}"#)
//!     .with_extension(OperationId("order-7".to_owned()))
//!     .send()
//!     .await?;
//! # Ok(())
//! # }
//! ```

use crate::config::Config;
use crate::http::layer::{Heard, Record, Sending, Trouble};
use crate::ledger::record::End;
use crate::ledger::recorder::Attempt;

pub use crate::http::layer::{Layer, NotRecorded, OperationId, Unwritable, Warning};
pub use crate::ledger::Recorder;

/// A recorder with the job's own configuration: its ledger, plan and server. It reads no credentials.
///
/// # Errors
/// As [`Recorder::open`].
pub fn recorder(config: Config) -> anyhow::Result<Recorder> {
    Recorder::open_moved(&config.ledger, config.plan, config.server.base_url, config.server.also)
}

/// A layer that records with this.
pub fn layer(recorder: Recorder, unwritable: Unwritable) -> Layer<Recorder> {
    Layer::new(recorder, unwritable)
}

impl Record for Recorder {
    fn concerns(&self, method: &str, url: &str) -> bool {
        Recorder::concerns(self, method, url)
    }

    fn in_doubt(&self, status: u16) -> bool {
        Recorder::in_doubt(self, status)
    }

    fn new_id(&self) -> String {
        Recorder::new_id(self)
    }

    async fn begin(&self, sending: &Sending) -> Result<(), Trouble> {
        Recorder::begin(self, &attempt(sending)).await?;
        Ok(())
    }

    async fn end(&self, request_id: &str, heard: &Heard) -> Result<(), Trouble> {
        Recorder::end(self, request_id, &end(heard)).await?;
        Ok(())
    }

    fn end_later(&self, request_id: &str, heard: &Heard, trouble: impl FnOnce(Trouble) + Send + 'static) {
        Recorder::end_later(self, request_id, &end(heard), |error| trouble(error.into()));
    }

    async fn record(&self, sending: &Sending, heard: &Heard) -> Result<(), Trouble> {
        Recorder::record(self, &attempt(sending), &end(heard)).await?;
        Ok(())
    }
}

fn attempt(sending: &Sending) -> Attempt<'_> {
    let attempt = Attempt::new(&sending.method, &sending.url)
        .id(&sending.request_id)
        .operation(&sending.operation_id)
        .sent_at(sending.sent_at);
    let attempt = sending.body.as_deref().map_or(attempt.clone(), |body| attempt.body(body));
    sending.note.map_or(attempt.clone(), |note| attempt.note(note))
}

fn end(heard: &Heard) -> End<'_> {
    match *heard {
        Heard::Answered { status } => End::Answered { status, keep: false },
        Heard::Failed { failure, http_status, cause } => End::Failed { failure, http_status, error: Some(cause) },
    }
}
