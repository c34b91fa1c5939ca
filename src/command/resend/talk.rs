//! `resend --stdin`: a conversation in JSON lines with a sender that lives longer than one request.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, channel};

use super::permits::{Given, Handing};
use crate::command::record::{Line, became_text, read_next};
use crate::document;
use crate::exit::{self, Held, Stopped};
use crate::run::halt::Halt;

/// What a sender says.
enum Said {
    Next,
    /// Something else: the `end` line of a permit, or a mistake.
    Other(String),
}

/// Answers lines until there are no more, or `halt` asks it to stop.
///
/// # Errors
/// When the ledger cannot be read or written, or another run holds it for too long.
pub async fn talk(handing: &mut Handing<'_>, mut halt: Halt) -> Result<u8> {
    document::begin();
    let mut lines = lines()?;
    let mut mistakes = false;
    loop {
        let line = tokio::select! {
            biased;
            code = halt.asked() => {
                // Whoever looks at the runs is to see that it ended.
                handing.close().await?;
                return Err(anyhow::Error::new(Stopped(code)));
            }
            line = lines.recv() => line,
        };
        let Some(line) = line else { break };
        let answer = match line.map(said) {
            Err(why) => Err(why),
            Ok(Said::Next) => Ok(next(handing, &mut halt).await?),
            Ok(Said::Other(line)) => handing.end(&line).map(
                |(request_id, became)| json!({ "ok": true, "request_id": request_id, "became": became_text(became) }),
            ),
        };
        mistakes |= answer.is_err();
        say(&answer.unwrap_or_else(|why| json!({ "ok": false, "error": why })))?;
    }
    let code = handing.close().await?;
    Ok(if mistakes { exit::REFUSED } else { code })
}

/// The answer to `next`.
async fn next(handing: &mut Handing<'_>, halt: &mut Halt) -> Result<Value> {
    let given = tokio::select! {
        biased;
        code = halt.asked() => Err(anyhow::Error::new(Stopped(code))),
        given = handing.next() => given,
    };
    match given {
        Ok(Given::Permit(permit)) => Ok(json!({ "permit": permit })),
        Ok(Given::None(why)) => Ok(none(&why)),
        Err(error) => {
            let why = if error.is::<Held>() { "another run holds the ledger" } else { "it cannot go on" };
            say(&none(why))?;
            Err(error)
        }
    }
}

fn none(why: &str) -> Value {
    json!({ "none": { "why": why } })
}

fn say(answer: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

fn said(line: String) -> Said {
    match serde_json::from_str::<Value>(&line) {
        Ok(said) if said == json!({ "next": {} }) => Said::Next,
        _ => Said::Other(line),
    }
}

/// The lines of standard input as they come.
fn lines() -> Result<Receiver<Line>> {
    let (put, lines) = channel(1);
    let read = move || {
        let mut input = std::io::stdin().lock();
        while let Some(line) = read_next(&mut input) {
            if put.blocking_send(line).is_err() {
                return;
            }
        }
    };
    // It ends with standard input; a reader that blocks when the process ends is of no harm.
    std::thread::Builder::new().spawn(read).context("failed to start reading")?;
    Ok(lines)
}
