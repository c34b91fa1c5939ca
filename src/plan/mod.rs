//! The partner's error-handling plan: per operation its effects, what the server keeps unique, and which lookup observes
//! each.
//!
//! PRIVO's APIs differ for each partnership, so nothing about them is in the code. Two plans are shipped in `plans/` and
//! embedded; a partner can load its own. [`Plan::load`] checks one, [`Reader`] says what an entry means under it,
//! [`search::Search`] makes the requests of a lookup and reads its answers, and [`observe`] turns what was found into
//! looks. No I/O happens here.

mod check;
pub mod compare;
pub mod faithful;
mod file;
mod links;
mod minimal;
pub mod observe;
mod pages;
pub mod parts;
pub mod personal;
mod query;
mod read;
mod row;
pub mod search;
mod shown;
pub mod strict;
pub mod subject;
pub mod template;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use sha2::{Digest, Sha256};

pub use file::{Assumption, Lookup, Operation, Statuses};
pub use read::{Probe, Reader, Reading, link};
pub use row::{Cell, NoText, Row, operation, text_cell};

use file::{EffectKind, PlanFile};
use template::Vars;

/// The plans that come with the binary, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("privo-gateway", include_str!("../../plans/privo-gateway.toml")),
    ("privo-consent", include_str!("../../plans/privo-consent.toml")),
];

/// A checked plan with its parameters.
#[derive(Debug)]
pub struct Plan {
    pub name: String,
    /// SHA-256 of the plan's text and its parameters, in hexadecimal.
    pub digest: String,
    /// The same of what the text says: comments and layout change nothing.
    meaning: String,
    pub lookups: BTreeMap<String, Lookup>,
    pub operations: Vec<Operation>,
    pub statuses: Statuses,
    pub assumptions: Vec<Assumption>,
    params: Vars,
}

impl Plan {
    /// Checks a plan. `place` is the file's name for messages; `params` come from the configuration.
    ///
    /// # Errors
    /// One message with file, line and remedy for the first mistake found.
    pub fn load(place: &str, text: &str, params: &Vars) -> Result<Plan> {
        let deserializer =
            toml::Deserializer::parse(text).map_err(|error| crate::mistake::toml_error(place, text, "", &error))?;
        let file: PlanFile = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| crate::mistake::toml_error(place, text, &error.path().to_string(), error.inner()))?;
        let at = |span: std::ops::Range<usize>| format!("{place}, line {}", crate::mistake::line_of(text, span.start));
        if let Some(unknown) = params.keys().find(|param| !file.params.contains(param)) {
            let known = or_none(&file.params);
            bail!(UnknownParam { place: place.to_owned(), name: unknown.clone(), known });
        }
        for param in &file.params {
            if !params.contains_key(param) {
                bail!(
                    "{place} needs the parameter `{param}` (set it in the configuration: params = {{ {param} = \"…\" }})"
                );
            }
        }
        let mut file = file;
        check::shared(&mut file).map_err(|mistake| mistake.shown(&at))?;
        check::plan(&file, params, &at)?;
        let said: toml::Table =
            toml::from_str(text).map_err(|error| crate::mistake::toml_error(place, text, "", &error))?;
        let digest = |text: &str| {
            let mut digest = Sha256::new_with_prefix(text);
            for (name, value) in params {
                digest.update(format!("\n{name}={value}"));
            }
            hex(&digest.finalize())
        };
        Ok(Plan {
            name: file.name,
            digest: digest(text),
            meaning: digest(&serde_json::to_string(&said)?),
            lookups: file.lookups,
            operations: file.operations,
            statuses: file.statuses,
            assumptions: file.assumptions,
            params: params.clone(),
        })
    }

    /// The lookup of this name, with a message that lists those there are.
    ///
    /// # Errors
    /// When the plan has none of this name.
    pub fn lookup(&self, name: &str) -> Result<&Lookup> {
        known_lookup(&self.lookups, name)
    }

    fn effects(&self) -> impl Iterator<Item = &file::Effect> {
        self.operations.iter().flat_map(|operation| &operation.effects)
    }

    /// Whether anything that an operation does is looked up by this.
    pub fn looks_up_by(&self, lookup: &str) -> bool {
        self.effects()
            .flat_map(|effect| effect.keys.iter().chain(&effect.owner))
            .any(|key| key.lookup.as_ref() == lookup)
    }

    /// Whether anything is made that is looked up by this, as its own record: not as the owner of a list.
    pub fn makes_by(&self, lookup: &str) -> bool {
        let makes = self.effects().filter(|effect| matches!(effect.kind, EffectKind::Create | EffectKind::Upsert));
        makes.flat_map(|effect| &effect.keys).any(|key| key.lookup.as_ref() == lookup)
    }

    /// The other hosts than the server that lookups are asked at, by the plan's names for them.
    pub fn hosts(&self) -> BTreeSet<&str> {
        self.lookups.values().filter_map(|lookup| lookup.host.as_deref()).collect()
    }

    /// The variables that every template of the plan knows.
    pub fn params(&self) -> &Vars {
        &self.params
    }
}

/// A parameter that the configuration gives and the plan does not have. The configuration knows its line.
#[derive(Debug)]
pub struct UnknownParam {
    place: String,
    /// As the configuration spells it.
    pub name: String,
    known: String,
}

impl std::fmt::Display for UnknownParam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UnknownParam { place, name, known } = self;
        write!(f, "{place} has no parameter `{name}` (take it out of `params`, or correct its name; it has: {known})")
    }
}

impl std::error::Error for UnknownParam {}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn known_lookup<'a>(lookups: &'a BTreeMap<String, Lookup>, name: &str) -> Result<&'a Lookup> {
    lookups.get(name).ok_or_else(|| {
        let names = lookups.keys().cloned().collect::<Vec<_>>();
        anyhow!("unknown lookup `{name}` (the plan has: {})", or_none(&names))
    })
}

/// Names in a list for people.
pub fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_a_path_is_a_whole_segment() {
        let (name, text) = SHIPPED[0];
        for segment in ["{service_id}x", "x{service_id}", "{service_id}{{", "{service_id}{service_id}"] {
            let text = text.replacen("account/{service_id}\"]", &format!("account/{segment}\"]"), 1);
            let said = format!("{:#}", Plan::load(name, &text, &Vars::new()).unwrap_err());
            assert!(said.contains("must be a whole segment"), "{said}");
        }
    }

    /// Of two keys a "there already" does not say which is taken, and of a user name nobody has said that it is answered so.
    #[test]
    fn there_already_is_said_of_the_one_key_that_the_plan_names() {
        use crate::clock::Moment;
        use crate::words::Failure;
        let plan = Plan::load(SHIPPED[0].0, SHIPPED[0].1, &Vars::new()).unwrap();
        let server = url::Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let facts = |path: &str, body: &str, status: u16| {
            let mut row = Row::lost("r1", "POST", &format!("http://127.0.0.1:1{path}"), body);
            row.failure = row::text_cell("answered");
            row.http_status = row::text_cell(&status.to_string());
            let facts = reader.read(&row, Moment(1_800_000_000_000)).facts;
            assert_eq!((&facts.class, facts.failure), (&crate::evidence::Class::Planned, Some(Failure::Answered)));
            (facts.already_there, facts.key_is_there)
        };
        let account = "/api/account/";
        assert_eq!(facts(account, r#"{"email":"a@x.com"}"#, 412), (true, true));
        assert_eq!(facts(account, r#"{"email":"a@x.com","firstName":"Ann"}"#, 412), (true, true));
        assert_eq!(facts(account, r#"{"email":"a@x.com"}"#, 208), (true, false));
        assert_eq!(facts(account, r#"{"email":"a@x.com"}"#, 409), (true, false));
        assert_eq!(facts(account, r#"{"email":"a@x.com"}"#, 400), (false, false));
        assert_eq!(facts(account, r#"{"userName":"ann"}"#, 412), (true, false));
        assert_eq!(facts(account, r#"{"email":"a@x.com","userName":"ann"}"#, 412), (true, false));
        assert_eq!(facts(account, r#"{"parentEmail":"a@x.com","firstName":"Kim"}"#, 412), (true, false));
        let family = r#"{"email":"a@x.com","minorRegistrations":[{"firstName":"Kim","email":"k@x.com"}]}"#;
        assert_eq!(facts("/api/account/parent", family, 412), (true, false));
    }

    #[test]
    fn an_answer_that_speaks_of_a_key_names_a_key_of_its_operation() {
        let (name, text) = SHIPPED[0];
        let said = |there: &str| {
            let text = text.replacen("already_there = [{ status = 412, lookup = \"account-by-email\" }]", there, 1);
            format!("{:#}", Plan::load(name, &text, &Vars::new()).unwrap_err())
        };
        let other = said("already_there = [{ status = 412, lookup = \"account-by-phone\" }]");
        assert!(other.contains("line ") && other.contains("no key of operation `register-account`"), "{other}");
        let status = said("already_there = [{ status = 410, lookup = \"account-by-email\" }]");
        assert!(status.contains("add it there"), "{status}");
    }

    #[test]
    fn both_forms_of_a_revocation_are_read_and_nothing_else() {
        let params = Vars::from([("service".into(), "acme".into())]);
        let plan = Plan::load(SHIPPED[1].0, SHIPPED[1].1, &params).unwrap();
        let server = url::Url::parse("http://127.0.0.1:1").unwrap();
        let reader = Reader { plan: &plan, server: &server, salt: b"salt", also: &[] };
        let url = "http://127.0.0.1:1/s2s/api/v1.0/acme/accounts/sid/1/2/features/revoke";
        let read = |body: &str| {
            reader.read(&Row::lost("r1", "POST", url, body), crate::clock::Moment(1_800_000_000_000)).facts
        };
        let (bare, within) = (read(r#"["chat","photos"]"#), read(r#"{"features":["chat","photos"],"why":"moved"}"#));
        assert_eq!((bare.effects.len(), &bare.effects), (2, &within.effects));
        for nothing in ["[]", "{}", r#"{"features":[]}"#, "\"chat\"", r#"{"why":"moved"}"#] {
            assert!(matches!(read(nothing).class, crate::evidence::Class::BadRow { .. }), "{nothing}");
        }
    }

    #[test]
    fn the_error_of_a_records_times_is_a_duration() {
        let (name, text) = SHIPPED[0];
        let with = |made_error: &str| {
            let text = text.replacen("made = ", &format!("made_error = {made_error}\nmade = "), 1);
            Plan::load(name, &text, &Vars::new()).map_err(|error| format!("{error:#}"))
        };
        let error = |plan: Plan| plan.lookups["account-by-email"].record.made_error();
        assert_eq!(error(with("\"0s\"").unwrap()), crate::clock::Span::ZERO);
        assert_eq!(error(with("\"1m\"").unwrap()), crate::clock::Span::seconds(60));
        assert_eq!(error(Plan::load(name, text, &Vars::new()).unwrap()), crate::clock::Span::seconds(2));
        for wrong in ["\"2 s\"", "\"-2s\"", "\"\"", "2"] {
            let said = with(wrong).unwrap_err();
            assert!(said.contains("line ") && said.contains("made_error"), "{said}");
        }
    }

    #[test]
    fn a_lookup_asks_a_path_and_no_host() {
        let (name, text) = SHIPPED[0];
        assert!(Plan::load(name, text, &Vars::new()).is_ok());
        for address in ["userinfo", "@evil.example/userinfo", "https://evil.example/userinfo", ""] {
            let text = text.replacen("get = \"/userinfo\"", &format!("get = \"{address}\""), 1);
            let said = format!("{:#}", Plan::load(name, &text, &Vars::new()).unwrap_err());
            assert!(said.contains("step 2") && said.contains("is not a path (begin it with a slash"), "{said}");
        }
    }
}
