//! Lists that come in pages: where the next page is, and whether all of them were seen.

use serde_json::Value;
use url::Url;

use super::file::{Complete, Lookup, Pages};
use super::parts::scalar;
use super::search::{Answer, Request};
use super::template::percent_encode;

/// The pages of a list, as far as they came.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The first page, with the elements of the later ones in its list.
    document: Value,
    /// What was asked so far: pages that lead back to one another have no end.
    asked: Vec<Request>,
}

/// What a page of a list leads to.
pub enum Turned {
    /// The list is whole.
    Whole(Value),
    /// There is another page.
    Next(Request, Gathered),
}

impl Gathered {
    /// The first page's place, before it came.
    pub fn nothing() -> Gathered {
        Gathered { document: Value::Null, asked: Vec::new() }
    }

    /// Takes a page in that `request` was answered with.
    ///
    /// # Errors
    /// Why nothing may be concluded from this list.
    pub fn turn(
        mut self,
        lookup: &Lookup,
        base: &Url,
        request: Request,
        answer: &Answer,
        page: Value,
    ) -> Result<Turned, String> {
        let next = match &lookup.pages {
            None => None,
            Some(pages) => next(pages, base, &request, answer, &page)?,
        };
        if self.asked.is_empty() {
            self.document = page;
        } else {
            append(lookup, &mut self.document, page)?;
        }
        self.asked.push(request);
        match next {
            Some(next) if self.asked.contains(&next) => {
                Err("the pages of the list lead back to one another".to_owned())
            }
            Some(_) if lookup.pages.as_ref().is_some_and(|pages| self.asked.len() >= pages.most) => {
                Err(format!("the list has more than {} pages", self.asked.len()))
            }
            Some(next) => Ok(Turned::Next(next, self)),
            None => {
                is_complete(lookup, &self.document)?;
                Ok(Turned::Whole(self.document))
            }
        }
    }
}

/// Puts a later page's elements behind those of the first. A count that changed meanwhile says that the list did.
fn append(lookup: &Lookup, document: &mut Value, page: Value) -> Result<(), String> {
    let count = |page: &Value| lookup.complete.as_ref()?.count.as_ref()?.first(page).cloned();
    if count(document) != count(&page) {
        return Err("the list changed while its pages were fetched".to_owned());
    }
    let not_there = || "a page does not show the documented list".to_owned();
    let list = lookup.record.list.as_ref().ok_or_else(not_there)?;
    let more = list.first(&page).and_then(Value::as_array).cloned().ok_or_else(not_there)?;
    let place = list.places(document).into_iter().next().ok_or_else(not_there)?;
    match document.pointer_mut(&place) {
        Some(Value::Array(items)) => items.extend(more),
        _ => return Err(not_there()),
    }
    Ok(())
}

/// Whether an answer shows that it has the whole list, where the plan says how it would.
fn is_complete(lookup: &Lookup, document: &Value) -> Result<(), String> {
    let Some(Complete { null, count }) = &lookup.complete else { return Ok(()) };
    if null.iter().any(|path| path.first(document).is_some()) {
        return Err("the answer does not have the whole list: it shows that there is more".to_owned());
    }
    let Some(count) = count else { return Ok(()) };
    let elements = lookup.record.list.as_ref().and_then(|list| list.first(document)?.as_array()).map_or(0, Vec::len);
    match count.first(document).and_then(scalar) {
        Some(said) if said == elements.to_string() => Ok(()),
        Some(_) => Err("the answer does not have the whole list: it counts other than it shows".to_owned()),
        None => Err("the answer does not show the documented count of the list".to_owned()),
    }
}

fn next(
    pages: &Pages,
    base: &Url,
    request: &Request,
    answer: &Answer,
    page: &Value,
) -> Result<Option<Request>, String> {
    if let (Some(token), Some(param)) = (&pages.token, &pages.param) {
        let token = token.first(page).and_then(scalar);
        return Ok(token.map(|token| with_param(request, param, &token)));
    }
    let found = match &pages.next {
        Some(next) => match next.first(page) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
            Some(_) => return Err("what should lead to the next page is no text".to_owned()),
        },
        None => next_link(&answer.links)?,
    };
    let Some(reference) = found else { return Ok(None) };
    let elsewhere = || "the next page of the list is not on the same server, below the same base URL".to_owned();
    let path_and_query = resolve(base, &request.path_and_query, &reference).ok_or_else(elsewhere)?;
    Ok(Some(Request { path_and_query, ..request.clone() }))
}

/// A reference to another page (RFC 3986, 5), relative to the base URL like the request's own path.
fn resolve(base: &Url, path_and_query: &str, reference: &str) -> Option<String> {
    let prefix = base.path().trim_end_matches('/');
    let next = base.join(&format!("{prefix}{path_and_query}")).ok()?.join(reference.trim()).ok()?;
    let path = next.path().strip_prefix(prefix).filter(|path| path.starts_with('/'))?;
    let query = next.query().map(|query| format!("?{query}")).unwrap_or_default();
    (next.origin() == base.origin()).then(|| format!("{path}{query}"))
}

/// The same request with another value of this parameter.
fn with_param(request: &Request, param: &str, token: &str) -> Request {
    let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
    let name = percent_encode(param);
    let others = query.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(&name));
    let own = format!("{name}={}", percent_encode(token));
    let query: Vec<&str> = others.chain([own.as_str()]).collect();
    Request { path_and_query: format!("{path}?{}", query.join("&")), ..request.clone() }
}

/// The target of the link with the relation `next` (RFC 8288, 3).
fn next_link(header: &str) -> Result<Option<String>, String> {
    let mut rest = header.trim();
    let mut found: Option<String> = None;
    while let Some(target) = rest.strip_prefix('<') {
        let broken = || "the `Link` header cannot be read".to_owned();
        let (target, params) = target.split_once('>').ok_or_else(broken)?;
        let end = end_of_params(params);
        let relations = params[..end].split(';').filter_map(|param| param.trim().split_once('='));
        let mut relations = relations.filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel"));
        let is_next = relations.any(|(_, value)| {
            value.trim().trim_matches('"').split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
        });
        if is_next && found.replace(target.to_owned()).is_some() {
            return Err("the `Link` header names two next pages".to_owned());
        }
        rest = params[end..].trim_start_matches([',', ' ', '\t']);
    }
    if rest.is_empty() { Ok(found) } else { Err("the `Link` header cannot be read".to_owned()) }
}

/// Where the parameters of one link end: at a comma outside quotes.
fn end_of_params(params: &str) -> usize {
    let mut quoted = false;
    let end = params.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        *letter == ',' && !quoted
    });
    end.map_or(params.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_server() {
        let base = Url::parse("https://api.example:8443/v1/").unwrap();
        let next = |reference: &str| resolve(&base, "/users?page=1", reference);
        assert_eq!(next("https://api.example:8443/v1/users?page=2").as_deref(), Some("/users?page=2"));
        assert_eq!(next("/v1/users?page=2#x").as_deref(), Some("/users?page=2"));
        assert_eq!(next("?page=2").as_deref(), Some("/users?page=2"));
        assert_eq!(next("more").as_deref(), Some("/more"));
        for elsewhere in [
            "https://evil.example/v1/users",
            "http://api.example:8443/v1/users",
            "//evil.example/v1/users",
            "https://api.example/v1/users",
            "/v2/users",
            "../other",
        ] {
            assert_eq!(next(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_link_header_is_read_as_it_is_written() {
        for (header, expected) in [
            ("", None),
            ("</a?page=2>; rel=\"next\"", Some("/a?page=2")),
            ("</a?page=1>; rel=\"prev\", </a?p=3,4>; title=\"x, y\"; rel=\"last next\"", Some("/a?p=3,4")),
            ("</a>;rel=next,</b>;rel=last", Some("/a")),
            ("</a>; REL=NEXT", Some("/a")),
            ("</a>; rel=nextish", None),
        ] {
            assert_eq!(next_link(header).unwrap().as_deref(), expected, "{header}");
        }
        for broken in ["</a; rel=next", "next", "</a>; rel=next, </b>; rel=next", "<>; rel=x, y"] {
            assert!(next_link(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_parameter_is_replaced_and_not_repeated() {
        let request = |path: &str| Request { path_and_query: path.to_owned(), ..Request::default() };
        let with = |path: &str| with_param(&request(path), "cursor", "a b&c").path_and_query;
        assert_eq!(with("/a"), "/a?cursor=a%20b%26c");
        assert_eq!(with("/a?cursor=1&x=2"), "/a?x=2&cursor=a%20b%26c");
    }
}
