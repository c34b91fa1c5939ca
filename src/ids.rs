//! Texts that stand where an id should and are none. Exports write NULL as a word, and a spreadsheet rounds long numbers:
//! taken as ids they would make one operation of many people's requests.

/// How an id begins that `import` makes for a record without one.
pub const MADE_BY_IMPORT: &str = "import-";

/// Whether `import` made this id, for a record that names none.
pub fn is_made_by_import(id: &str) -> bool {
    let digest = id.strip_prefix(MADE_BY_IMPORT).and_then(|rest| rest.split_once('-')).map(|(digest, _)| digest);
    digest.is_some_and(|digest| digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What databases, pandas and logs write for nothing.
const NOTHING: &[&str] = &["null", "\\n", "none", "undefined", "nan", "nat", "<na>", "nil", "-"];

/// Whether a cell holds nothing: it is empty, or a word for that.
pub fn is_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a text is no id: it holds nothing, or nothing but zeros, as the trace id of a refused `traceparent` does.
pub fn is_none(id: &str) -> bool {
    let mut digits = id.bytes().filter(|byte| byte.is_ascii_alphanumeric()).peekable();
    is_nothing(id) || digits.peek().is_some() && digits.all(|byte| byte == b'0')
}

/// Whether a spreadsheet or a float rounded a number to this (`1E+017`, `2.02503E+16`): other ids became the same.
pub fn is_rounded(id: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((mantissa, exponent)) = id.trim().split_once(['e', 'E']) else { return false };
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    // A sign of the exponent is what spreadsheets and floats write, and ids like `1e5` do not have.
    let exponent = exponent.strip_prefix(['+', '-']).is_some_and(digits);
    whole.len() == 1 && digits(whole) && digits(fraction) && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_nothing_are_no_ids() {
        for none in [
            "",
            "  ",
            "NULL",
            "null",
            "\\N",
            "None",
            "undefined",
            "nan",
            "NaN",
            "NaT",
            "<NA>",
            "-",
            "0",
            "000-00",
            &"0".repeat(32),
        ] {
            assert!(is_none(none), "{none}");
        }
        for id in ["a", "1", "007", "nullable", "none-1", "--", "0a", "1E5", "no"] {
            assert!(!is_none(id), "{id}");
        }
        assert!(!is_nothing("0") && is_nothing("\\N"));
    }

    #[test]
    fn what_was_rounded_is_seen() {
        for rounded in ["1E+017", "2.02503E+16", "1e+17", "1.5e-05", "2,02503E+16"] {
            assert!(is_rounded(rounded), "{rounded}");
        }
        for id in ["1E5", "1e17", "12E+4", "E+1", "1E+", "1.E+5", "a1E+5", "100000000000000001", "1E+5x"] {
            assert!(!is_rounded(id), "{id}");
        }
    }
}
