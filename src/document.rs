//! JSON documents: what `--json` prints, one for each command, and what hooks are given. Every document has the same
//! head, and its shape is described in `docs/JSON.md`.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

/// The version of the shapes: raised when a key changes its meaning or goes away, not when one is added.
pub const FORMAT: u32 = 1;

/// Standard output holds one document and no more, so whoever fails after it was begun does not print another.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// A document: what every one has, then its own keys.
#[derive(Serialize)]
struct Document<'a, T> {
    format: u32,
    command: &'a str,
    /// The exit code of the command.
    exit: u8,
    #[serde(flatten)]
    body: &'a T,
}

/// A document's text, on lines of its own.
///
/// # Errors
/// When the body cannot be told as a JSON object.
pub fn text(command: &str, exit: u8, body: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(&Document { format: FORMAT, command, exit, body })? + "\n")
}

/// Prints the document of a command that ends with this exit code.
///
/// # Errors
/// When standard output cannot be written.
pub fn print(command: &str, exit: u8, body: &impl Serialize) -> Result<()> {
    let text = text(command, exit, body)?;
    begin();
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints the document of a command that failed, unless it has printed one before.
///
/// # Errors
/// As [`print`].
pub fn print_error(command: &str, exit: u8, message: &str) -> Result<()> {
    if BEGUN.load(Ordering::Relaxed) {
        return Ok(());
    }
    print(command, exit, &json!({ "error": error(exit, message) }))
}

/// What stands behind the key `error`.
pub fn error(exit: u8, message: &str) -> serde_json::Value {
    json!({ "message": message, "exit": exit })
}

/// Whoever writes a document piece by piece says so first.
pub fn begin() {
    BEGUN.store(true, Ordering::Relaxed);
}
