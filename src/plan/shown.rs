//! The path of a request as it may be shown. A name of twelve letters looks like a word of a route: where the plan has a
//! variable, whatever stands there is an identifier.

use url::Url;

use super::file::Step;
use super::template::{Template, Vars, percent_decode};
use super::{Lookup, Reader};
use crate::evidence::Facts;
use crate::mask;
use crate::words::Direction;

/// How a segment of a path stands to one of a template.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Word,
    Variable,
    No,
}

impl Reader<'_> {
    /// The path that is shown of a request that was not understood: the template of an operation or a lookup that it is
    /// the path of, whatever its method; else the path without query and with identifiers masked.
    pub(super) fn path_shown(&self, facts: &Facts, url: &str) -> String {
        let url = url.trim();
        let parsed = Url::parse(url).ok().filter(Url::has_host);
        let path = parsed.as_ref().map_or_else(|| written_path(url), Url::path);
        if facts.direction == Direction::Inbound {
            return mask::path(path);
        }
        if let Some((_, template, _)) = self.outbound_operations(&facts.method, path).first() {
            return template.shown(&Vars::new());
        }
        let prefix = self.server.path().trim_end_matches('/');
        let below = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        // Of several, the one that leaves the least open: `account/lookup` before `account/{service_id}`.
        let fitting = self.templates().filter(|template| is_of(&self.segments(template), below));
        match fitting.min_by_key(|template| self.segments(template).concat().matches('{').count()) {
            Some(template) => template.shown(&Vars::new()),
            None => mask::path(&path[..path.len() - below.len()]) + &self.masked(below),
        }
    }

    /// The templates of all paths that the plan speaks of.
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let operations = self.plan.operations.iter().flat_map(|operation| operation.paths.iter().map(AsRef::as_ref));
        let steps = self.plan.lookups.values().flat_map(|Lookup { steps, .. }| steps);
        operations.chain(steps.flat_map(|Step { get, post, .. }| get.iter().chain(post)))
    }

    fn segments(&self, template: &Template) -> Vec<String> {
        let shown = template.shown(self.plan.params());
        shown.split(['?', '#']).next().unwrap_or_default().split('/').map(str::to_owned).collect()
    }

    /// A path of no template: what begins like one has its variables where the template has them.
    fn masked(&self, path: &str) -> String {
        let mut alike: Vec<Vec<String>> = self.templates().map(|template| self.segments(template)).collect();
        let mut shown = Vec::new();
        for (at, segment) in path.split('/').enumerate() {
            let fit = |template: &Vec<String>| template.get(at).map_or(Fit::No, |ours| fit(ours, segment));
            let is = |sought: Fit| alike.iter().any(|template| fit(template) == sought);
            shown.push(match (is(Fit::Word), is(Fit::Variable)) {
                (true, _) => segment,
                (false, true) => mask::HIDDEN,
                (false, false) => mask::segment(segment),
            });
            alike.retain(|template| fit(template) != Fit::No);
        }
        shown.join("/")
    }
}

fn is_of(template: &[String], path: &str) -> bool {
    path.split('/').count() == template.len()
        && template.iter().zip(path.split('/')).all(|(ours, theirs)| fit(ours, theirs) != Fit::No)
}

/// Of a lookup's template a variable may be a part of a segment.
fn fit(ours: &str, theirs: &str) -> Fit {
    match (ours.split_once('{'), ours.rsplit_once('}')) {
        (Some((before, _)), Some((_, after))) => {
            let within = theirs.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            if within.is_some_and(|value| !value.is_empty()) { Fit::Variable } else { Fit::No }
        }
        _ if percent_decode(theirs).as_deref() == Some(ours) => Fit::Word,
        _ => Fit::No,
    }
}

/// The path of a URL that may not even be one.
fn written_path(url: &str) -> &str {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None if url.starts_with('/') => url,
        None => "",
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::plan::{Plan, Row, SHIPPED, text_cell};

    fn shown(shipped: usize, method: &str, url: &str) -> String {
        let (name, text) = SHIPPED[shipped];
        let params: Vars = (shipped == 1).then(|| ("service".to_owned(), "acme".to_owned())).into_iter().collect();
        let plan = Plan::load(name, text, &params).unwrap();
        let server = Url::parse("https://a.example/base/").unwrap();
        let row = Row { body: Ok(None), sent_at: text_cell("never"), ..Row::lost("r1", method, url, "") };
        Reader { plan: &plan, server: &server, salt: b"", also: &[] }.read(&row, Moment(0)).facts.path
    }

    #[test]
    fn a_path_of_the_plan_is_shown_as_its_template() {
        let eid = "/s2s/api/v1.0/{service}/accounts/eid/{eid}";
        for method in ["DELETE", "GET", "PUT", "not a method"] {
            for base in ["https://a.example", "https://a.example/base", "http://other.example:8080", "https://a b"] {
                let url = format!("{base}/s2s/api/v1.0/acme/accounts/eid/annabelsmith?x=annabel");
                assert_eq!(shown(1, method, &url), eid, "{method} {base}");
            }
        }
        let url = |path: &str| format!("https://a.example{path}");
        let sid = "/s2s/api/v1.0/{service}/accounts/sid/{key}";
        assert_eq!(shown(1, "GET", &url("/s2s/api/v1.0/acme/accounts/sid/annabelsmith")), sid);
        assert_eq!(shown(0, "GET", &url("/api/v1.0/account/annabelsmith")), "/api/v1.0/account/{service_id}");
        assert_eq!(shown(0, "GET", &url("/api/v1.0/account/lookup?email=a@b.c")), "/api/v1.0/account/lookup");
    }

    #[test]
    fn a_path_that_begins_like_one_of_the_plan_has_its_identifiers_masked() {
        for (shipped, path, expected) in [
            (1, "/s2s/api/v1.0/acme/accounts/eid/annabelsmith/", "/s2s/api/v1.0/acme/accounts/eid/***/"),
            (1, "/base/s2s/api/v1.0/acme/accounts/eid/annabelsmith/x", "/base/s2s/api/v1.0/acme/accounts/eid/***/x"),
            (1, "/s2s/api/v1.0/acme/accounts/email/ann@example.com", "/s2s/api/v1.0/acme/accounts/email/***"),
            (1, "/s2s/api/v1.0/acme/accounts/eid/%ff", "/s2s/api/v1.0/{service}/accounts/eid/{eid}"),
            (0, "/api/v1.0/account/annabelsmith/photo", "/api/v1.0/account/***/photo"),
            (0, "/api/v1.0/account/check/phone", "/api/v1.0/account/check/phone"),
            (0, "/unknown", "/unknown"),
            (0, "", "/"),
        ] {
            assert_eq!(shown(shipped, "POST", &format!("https://a.example{path}")), expected, "{path}");
        }
        assert_eq!(shown(0, "POST", "annabelsmith"), "");
    }
}
