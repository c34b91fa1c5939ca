//! HTML as a strict reader sees it: every tag is closed in its order, every attribute quoted, every id its own.

use std::collections::BTreeSet;

/// Tags that are never closed.
const VOID: [&str; 5] = ["meta", "link", "input", "br", "hr"];

/// One opening tag.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// The text up to the next tag; of `style` and `script` all of it.
    pub text: String,
}

impl Tag {
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| value.as_str())
    }
}

/// The opening tags of a page in their order.
///
/// # Panics
/// Where the page is not well formed.
pub fn tags(page: &str) -> Vec<Tag> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let (mut open, mut tags, mut ids) = (Vec::<String>::new(), Vec::new(), BTreeSet::new());
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(closed) = rest.strip_prefix('/') {
            let (name, after) = closed.split_once('>').expect("an end of the tag");
            assert_eq!(open.pop().as_deref(), Some(name), "closed out of order, before {:.80}", after);
            rest = after;
            continue;
        }
        let (mut tag, itself, after) = tag(rest);
        rest = after;
        if let Some(id) = tag.get("id") {
            assert!(ids.insert(id.to_owned()), "two have the id {id}");
        }
        if ["script", "style"].contains(&tag.name.as_str()) {
            let (text, after) = rest.split_once(&format!("</{}>", tag.name)).expect("an end of the block");
            tag.text = text.to_owned();
            rest = after;
        } else {
            tag.text = rest.split('<').next().unwrap_or_default().trim().to_owned();
            if !itself && !VOID.contains(&tag.name.as_str()) {
                open.push(tag.name.clone());
            }
        }
        tags.push(tag);
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "left open: {open:?}");
    tags
}

/// One tag, whether it closes itself, and what comes after it.
fn tag(text: &str) -> (Tag, bool, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).expect("an end of the name");
    let (name, mut rest) = text.split_at(end);
    assert!(!name.is_empty(), "a bare < before {text:.60}");
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            return (Tag { name: name.to_owned(), attributes, text: String::new() }, true, after);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Tag { name: name.to_owned(), attributes, text: String::new() }, false, after);
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == ':')).expect("an end");
        assert!(end > 0, "no attribute: {rest:.60}");
        let (attribute, after) = rest.split_at(end);
        let value = match after.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').expect("an end of the quote");
                assert!(!value.contains('<'), "markup in an attribute: {value}");
                rest = after;
                value.to_owned()
            }
            None => {
                assert!(!after.starts_with('='), "an attribute without quotes: {rest:.60}");
                rest = after;
                String::new()
            }
        };
        attributes.push((attribute.to_owned(), value));
    }
}
