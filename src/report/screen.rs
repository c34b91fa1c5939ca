//! Text for reading: wrapped to a width, coloured where that is wanted, and never more than text, whatever stands in an id.

use std::borrow::Cow;

/// Where text is read.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In columns; `None`: lines are as long as they are.
    pub width: Option<usize>,
    pub coloured: bool,
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Strong,
    Quiet,
    Good,
    Open,
    Bad,
}

impl Screen {
    /// For what is not read on a terminal: no colour, no wrapping.
    pub const PLAIN: Screen = Screen { width: None, coloured: false };

    /// Text in a tone.
    pub fn paint<'a>(&self, tone: Tone, text: &'a str) -> Cow<'a, str> {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Open => "33",
            Tone::Bad => "1;31",
        };
        if self.coloured && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m").into() } else { text.into() }
    }

    /// Text as lines that fit when `indent` columns of each are taken.
    pub fn wrapped(&self, text: &str, indent: usize) -> Vec<String> {
        match self.width {
            Some(width) => wrap(text, width.saturating_sub(indent).max(20)),
            None => vec![text.to_owned()],
        }
    }
}

/// Text without what a terminal would obey: control characters and marks that turn the direction of writing.
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(obeyed) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if obeyed(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown.into()
}

/// How many columns a text takes.
pub fn width_of(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Breaks text into lines of at most `width` columns: at spaces where there are any, else anywhere.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let breaks = textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, breaks).into_iter().map(Cow::into_owned).collect()
}

/// Text filled up with spaces to a width.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(width_of(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_long_and_nothing_is_lost() {
        let text = "absent, confirmed twice; 12345678901234567890123 and 漢字漢字漢字漢字漢字漢字漢字";
        for width in 4..60 {
            let lines = wrap(text, width);
            assert!(lines.iter().all(|line| width_of(line) <= width), "{width}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\r\n\0"), "a\\u{1b}[2Jb\\u{202e}c\\r\\n\\u{0}");
        assert_eq!(printable("S***@E***.com"), "S***@E***.com");
    }

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        assert_eq!(Screen::PLAIN.paint(Tone::Bad, "3"), "3");
        assert_eq!(Screen { width: None, coloured: true }.paint(Tone::Bad, "3"), "\u{1b}[1;31m3\u{1b}[0m");
    }
}
