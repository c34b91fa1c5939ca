//! Mistakes in TOML files, told with file, line and key, and never with the text itself, which may be a secret.

use anyhow::anyhow;

/// A TOML error with file, line and key, without the line's text, which may hold a secret.
pub fn toml_error(place: &str, text: &str, path: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map(|span| format!(", line {}", line_of(text, span.start))).unwrap_or_default();
    let path = path.replace(".$__serde_spanned_private_value", "");
    let key = if path.is_empty() || path == "." { String::new() } else { format!(", `{path}`") };
    anyhow!("{place}{line}{key}: {}", without_values(error.message()))
}

/// Parsers quote the text that they did not expect, which may be a secret: only that it is a text is said.
fn without_values(message: &str) -> String {
    match (message.find("string \""), message.rfind('"')) {
        (Some(start), Some(end)) if end > start + 8 => format!("{}string{}", &message[..start], &message[end + 1..]),
        _ => message.to_owned(),
    }
}

/// The line of an offset, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
