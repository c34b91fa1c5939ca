//! Mistakes in TOML files, told with file, line and key, and never with the text itself, which may be a secret.

use anyhow::anyhow;

/// A TOML error with file, line and key, without the line's text, which may hold a secret.
pub fn toml_error(place: &str, text: &str, path: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map(|span| format!(", line {}", line_of(text, span.start))).unwrap_or_default();
    // What serde cannot name, and what no one but it knows.
    let path = path.replace(".$__serde_spanned_private_value", "").replace(".?", "");
    let key = if path.is_empty() || path == "." { String::new() } else { format!(", `{path}`") };
    let said = without_values(error.message()).replace("expected path string", "expected a path");
    let quoted = ["expected a string", "expected a path"].iter().any(|end| said.ends_with(end));
    let remedy = if quoted { " (write it in quotes)" } else { "" };
    anyhow!("{place}{line}{key}: {said}{remedy}")
}

/// Parsers quote the value that they did not expect, which may be a secret: only its kind is said.
fn without_values(message: &str) -> String {
    // A text may hold quotes of its own, so it ends with the last one before what was expected, which may hold some too.
    let end = message.rfind("\", expected ").or_else(|| message.rfind('"'));
    let text = message.find("string \"").zip(end).map(|(at, end)| (at + "string".len(), end));
    let number = |kind: &str| {
        let start = message.find(&format!("{kind} `"))? + kind.len();
        Some((start, start + 2 + message[start + 2..].find('`')?))
    };
    match text.filter(|(start, end)| end > &(start + 1)).or_else(|| number("integer")).or_else(|| number("point")) {
        Some((start, end)) => format!("{}{}", &message[..start], &message[end + 1..]),
        None => message.to_owned(),
    }
}

/// The line of an offset, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_by_its_kind_alone() {
        for (said, shown) in [
            ("invalid type: string \"hush\", expected a map", "invalid type: string, expected a map"),
            ("invalid type: string \"a \" b\", expected a map", "invalid type: string, expected a map"),
            ("invalid type: string \"1 integer `5`\", expected a", "invalid type: string, expected a"),
            ("invalid type: integer `-27`, expected a map", "invalid type: integer, expected a map"),
            ("invalid type: floating point `2.5`, expected a", "invalid type: floating point, expected a"),
            ("invalid type: string \"a\", expected { env = \"…\" }", "invalid type: string, expected { env = \"…\" }"),
            ("invalid type: string \"a\", expected b\", expected c", "invalid type: string, expected c"),
            ("invalid value: floating point `0.0`, expected more", "invalid value: floating point, expected more"),
            ("invalid type: string \"", "invalid type: string \""),
            ("unknown field `x`, expected `y`", "unknown field `x`, expected `y`"),
        ] {
            assert_eq!(without_values(said), shown);
        }
    }
}
