//! Cuts a JSON document into the elements of one list, by brackets and quotes alone. So one element that cannot be read
//! costs no other, and of each no more is held than is kept of it: answers of hundreds of megabytes pass by.

use std::io::{BufRead, Error, Result};

/// Objects within objects, at the most.
const DEEPEST: usize = 200;

/// The longest name of a member that is compared.
const LONGEST_NAME: usize = 64;

/// What becomes of a member's value: by the name of the object that it is in, and its own.
pub type Keeps = fn(parent: &[u8], name: &[u8]) -> bool;

/// An element, without what is not kept. `None`: what is kept of it is too long.
pub type Element = Option<Vec<u8>>;

/// Reads a document.
pub struct Scanner<R> {
    input: R,
    keeps: Keeps,
    /// The longest that what is kept of an element may be.
    longest: usize,
    /// What is kept of the element at hand; `None`: nothing, or no more.
    kept: Option<Vec<u8>>,
}

impl<R: BufRead> Scanner<R> {
    pub fn new(input: R, keeps: Keeps, longest: usize) -> Scanner<R> {
        Scanner { input, keeps, longest, kept: None }
    }

    /// Gives each element of the list that stands at a path of names, until `take` says no. `Ok(false)`: the list is not there.
    ///
    /// # Errors
    /// When the document cannot be read, or is none.
    pub fn elements(&mut self, path: &[&str], take: &mut dyn FnMut(Element) -> bool) -> Result<bool> {
        let found = self.down(path, take)?;
        match self.peek()? {
            None => Ok(found),
            Some(_) => Err(broken("something stands after the document")),
        }
    }

    fn down(&mut self, path: &[&str], take: &mut dyn FnMut(Element) -> bool) -> Result<bool> {
        let Some((wanted, rest)) = path.split_first() else { return self.list(take).map(|()| true) };
        self.expect(b'{')?;
        let mut found = false;
        loop {
            match self.next()? {
                b'}' => return Ok(found),
                b',' => {}
                b'"' => {
                    let name = self.string()?;
                    self.expect(b':')?;
                    if name == wanted.as_bytes() && !found {
                        found = self.down(rest, take)?;
                    } else {
                        self.value(&name, DEEPEST)?;
                    }
                }
                _ => return Err(broken("a member's name is missing")),
            }
        }
    }

    fn list(&mut self, take: &mut dyn FnMut(Element) -> bool) -> Result<()> {
        self.expect(b'[')?;
        loop {
            match self.peek()? {
                Some(b']') => return self.next().map(drop),
                Some(b',') => drop(self.next()?),
                _ => {
                    self.kept = Some(Vec::new());
                    self.value(b"", DEEPEST)?;
                    if !take(self.kept.take()) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Passes over a value, keeping what is kept of it.
    fn value(&mut self, name: &[u8], deepest: usize) -> Result<()> {
        let Some(deepest) = deepest.checked_sub(1) else { return Err(broken("it nests too deep")) };
        match self.next()? {
            b'{' => self.object(name, deepest),
            b'[' => loop {
                match self.peek()? {
                    Some(b']') => return self.next().map(drop),
                    Some(b',') => drop(self.next()?),
                    _ => self.value(name, deepest)?,
                }
            },
            b'"' => self.string().map(drop),
            b'}' | b']' | b',' | b':' => Err(broken("a value is missing")),
            _ => self.word(),
        }
    }

    fn object(&mut self, name: &[u8], deepest: usize) -> Result<()> {
        loop {
            match self.next()? {
                b'}' => return Ok(()),
                b',' => {}
                b'"' => {
                    let member = self.string()?;
                    self.expect(b':')?;
                    if (self.keeps)(name, &member) {
                        self.value(&member, deepest)?;
                    } else {
                        self.keep(b"null");
                        let kept = self.kept.take();
                        self.value(&member, deepest)?;
                        self.kept = kept;
                    }
                }
                _ => return Err(broken("a member's name is missing")),
            }
        }
    }

    /// Passes over a string after its opening quote; gives its beginning.
    fn string(&mut self) -> Result<Vec<u8>> {
        let mut beginning = Vec::new();
        let mut escaped = false;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Err(broken("it ends within quotes"));
            }
            let mut end = None;
            for (at, byte) in buffer.iter().enumerate() {
                match (escaped, byte) {
                    (false, b'"') => {
                        end = Some(at);
                        break;
                    }
                    (false, b'\\') => escaped = true,
                    _ => escaped = false,
                }
            }
            let length = end.map_or(buffer.len(), |end| end + 1);
            let text = &buffer[..end.unwrap_or(length)];
            let room = LONGEST_NAME.saturating_sub(beginning.len());
            beginning.extend(text.iter().take(room));
            push(&mut self.kept, self.longest, &buffer[..length]);
            self.input.consume(length);
            if end.is_some() {
                return Ok(beginning);
            }
        }
    }

    /// Passes over the rest of a number, or of `true`, `false`, `null`.
    fn word(&mut self) -> Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}:\"[{".contains(byte);
            let end = buffer.iter().position(ends);
            let length = end.unwrap_or(buffer.len());
            push(&mut self.kept, self.longest, &buffer[..length]);
            let over = end.is_some() || buffer.is_empty();
            self.input.consume(length);
            if over {
                return Ok(());
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.next()? == wanted { Ok(()) } else { Err(broken("something else stands in its place")) }
    }

    /// The next byte that is no space, taken.
    fn next(&mut self) -> Result<u8> {
        let byte = self.peek()?.ok_or_else(|| broken("it ends too early"))?;
        self.input.consume(1);
        self.keep(&[byte]);
        Ok(byte)
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let buffer = self.input.fill_buf()?;
            let spaces = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if let Some(byte) = buffer.get(spaces).copied() {
                self.input.consume(spaces);
                return Ok(Some(byte));
            }
            if buffer.is_empty() {
                return Ok(None);
            }
            self.input.consume(spaces);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        push(&mut self.kept, self.longest, bytes);
    }
}

/// Adds to what is kept; what is too long is not kept at all.
fn push(kept: &mut Option<Vec<u8>>, longest: usize, bytes: &[u8]) {
    match kept {
        Some(text) if text.len() + bytes.len() <= longest => text.extend_from_slice(bytes),
        _ => *kept = None,
    }
}

fn broken(why: &'static str) -> Error {
    Error::new(std::io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str, longest: usize) -> std::result::Result<Vec<Option<String>>, String> {
        let mut found = Vec::new();
        // A small buffer, so that everything is cut somewhere.
        let input = std::io::BufReader::with_capacity(3, text.as_bytes());
        let keeps: Keeps = |parent, name| (parent, name) != (b"c", b"text") && name != b"h";
        let mut take = |element: Element| {
            found.push(element.map(|bytes| String::from_utf8(bytes).unwrap()));
            true
        };
        let there = Scanner::new(input, keeps, longest).elements(&["log", "entries"], &mut take);
        match there.map_err(|error| error.to_string())? {
            true => Ok(found),
            false => Err("no list".to_owned()),
        }
    }

    #[test]
    fn elements_are_cut_out_without_what_is_not_kept() {
        let text = r#" {"a":[{"log":1}], "log" : {"x":"]\"", "entries": [ {"n": 1, "h":[{"deep":"}"}], "c":{"text":"long","size":2}},
            {"s":"a\\","t":"\"]"} , 7, "w", [1,[2]], {bad json here], null ], "entries":[9], "y":{} } } "#;
        let broken = text.replace("{bad json here], ", "");
        assert_eq!(
            scan(&broken, 100).unwrap(),
            [
                r#"{"n":1,"h":null,"c":{"text":null,"size":2}}"#,
                r#"{"s":"a\\","t":"\"]"}"#,
                "7",
                "\"w\"",
                "[1,[2]]",
                "null"
            ]
            .map(|text| Some(text.to_owned()))
        );
        // A bracket that is not closed takes the rest with it; what is broken within brackets does not.
        assert!(scan(text, 100).is_err());
        let within = r#"{"log":{"entries":[{"a":nul,"b":1e999999},{"c":"\ud800"}]}}"#;
        assert_eq!(scan(within, 100).unwrap().len(), 2);
    }

    #[test]
    fn what_is_too_long_is_not_held() {
        let text = format!(r#"{{"log":{{"entries":[{{"a":"{}"}},{{"h":"{}"}}]}}}}"#, "x".repeat(50), "x".repeat(50));
        assert_eq!(scan(&text, 40).unwrap(), [None, Some(r#"{"h":null}"#.to_owned())]);
    }

    #[test]
    fn what_is_no_such_document_is_said() {
        for bad in [
            "",
            "[]",
            "{",
            r#"{"log":{"entries":[{}"#,
            r#"{"log":{"entries":[]}} x"#,
            r#"{"log":{"entries":{}}}"#,
            r#"{"log":{}}"#,
            r#"{"log""#,
        ] {
            assert!(scan(bad, 100).is_err(), "{bad}");
        }
        assert!(scan(&format!(r#"{{"log":{{"entries":[{}]}}}}"#, "[".repeat(1000)), 100).is_err());
    }
}
