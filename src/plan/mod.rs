//! The partner's error-handling plan: per operation its effects, what the server keeps unique, and which lookup observes
//! each.
//!
//! PRIVO's APIs differ for each partnership, so nothing about them is in the code. Two plans are shipped in `plans/` and
//! embedded; a partner can load its own. [`Plan::load`] checks one, [`Reader`] says what an entry means under it,
//! [`search::Search`] makes the requests of a lookup and reads its answers, and [`observe`] turns what was found into
//! looks. No I/O happens here.

pub mod compare;
pub mod faithful;
mod file;
mod links;
mod minimal;
pub mod observe;
pub mod parts;
pub mod personal;
mod query;
mod read;
mod row;
pub mod search;
mod shown;
pub mod strict;
mod values;

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use toml::Spanned;

pub use file::{Lookup, Operation, Statuses};
pub use read::{Probe, Reader, Reading};
pub use row::{Cell, NoText, Row, operation, text_cell};

use file::{Effect, EffectKind, Key, PlanFile, Source};
use parts::{Path, Template, Vars};

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
    pub lookups: BTreeMap<String, Lookup>,
    pub operations: Vec<Operation>,
    pub statuses: Statuses,
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
        for (name, lookup) in &file.lookups {
            check_lookup(lookup, params).with_context(|| format!("{place}, lookup `{name}`"))?;
        }
        for operation in &file.operations {
            let here = || at(operation.name.span());
            check_operation(operation, params)
                .with_context(|| format!("{}, operation `{}`", here(), operation.name.as_ref()))?;
            for there in &operation.already_there {
                let of_a_key = |key: &Key| key.lookup.as_ref() == there.lookup.as_ref();
                if !operation.effects.iter().any(|effect| effect.keys.iter().any(of_a_key)) {
                    bail!(
                        "{}: no key of operation `{}` is looked up by `{}` (`already_there` names the lookup of the key that the answer speaks of)",
                        at(there.lookup.span()),
                        operation.name.as_ref(),
                        there.lookup.as_ref()
                    );
                }
                if !file.statuses.already_there.contains(&there.status) {
                    bail!(
                        "{}: status {} is not one of `statuses.already_there` (add it there)",
                        at(there.lookup.span()),
                        there.status
                    );
                }
            }
            for key in operation.effects.iter().flat_map(|effect| effect.keys.iter().chain(&effect.owner)) {
                known_lookup(&file.lookups, key.lookup.as_ref()).with_context(|| at(key.lookup.span()))?;
            }
            for effect in &operation.effects {
                check_effect(effect, operation, &file.lookups, params).with_context(|| {
                    format!("{}, operation `{}`, effect `{}`", here(), operation.name.as_ref(), effect.name)
                })?;
            }
        }
        let mut digest = Sha256::new_with_prefix(text);
        for (name, value) in params {
            digest.update(format!("\n{name}={value}"));
        }
        Ok(Plan {
            name: file.name,
            digest: hex(&digest.finalize()),
            lookups: file.lookups,
            operations: file.operations,
            statuses: file.statuses,
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

    /// Whether anything that an operation does is looked up by this.
    pub fn looks_up_by(&self, lookup: &str) -> bool {
        let effects = self.operations.iter().flat_map(|operation| &operation.effects);
        effects.flat_map(|effect| effect.keys.iter().chain(&effect.owner)).any(|key| key.lookup.as_ref() == lookup)
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
        write!(f, "{place} has no parameter `{name}` (take it out of `params`, or mend its name; it has: {known})")
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

fn known_variables(template: &Template, params: &Vars, others: &[&str]) -> Result<()> {
    let known = |name: &&str| {
        params.contains_key(*name)
            || others.contains(name)
            || (name.starts_with("query_") && others.contains(&"element"))
    };
    match template.variables().find(|name| !known(name)) {
        Some(unknown) => bail!("unknown variable `{{{unknown}}}` (known here: {})", {
            let known: Vec<String> = others.iter().map(|o| (*o).to_owned()).chain(params.keys().cloned()).collect();
            or_none(&known)
        }),
        None => Ok(()),
    }
}

fn check_lookup(lookup: &Lookup, params: &Vars) -> Result<()> {
    if lookup.steps.is_empty() {
        bail!("has no step (add [[lookup.NAME.step]] with `get`)");
    }
    known_variables(&lookup.random, params, &["random", "random_digits"])?;
    for (number, step) in lookup.steps.iter().enumerate() {
        let here = || format!("step {}", number + 1);
        let path = match (&step.get, &step.post) {
            (Some(path), None) => path,
            (None, Some(path)) if step.changes_nothing => path,
            (None, Some(_)) => bail!(
                "{}: a lookup must not change anything (if PRIVO documents that this POST does not, say `changes_nothing = true`)",
                here()
            ),
            _ => bail!("{}: needs `get` or `post`, one of them", here()),
        };
        let shown = path.shown(params);
        if !shown.starts_with('/') {
            bail!("{}: `{shown}` is not a path (begin it with a slash; the host is the configuration's)", here());
        }
        let known: &[&str] = if number == 0 { &["key"] } else { &["key", "id"] };
        for template in std::iter::once(path).chain(step.query.values()).chain(step.json.values()) {
            known_variables(template, params, known).with_context(here)?;
        }
        let shape = &step.present;
        if number + 1 < lookup.steps.len() && (shape.id.is_none() || !shape.any.is_empty()) {
            bail!("{}: `present.id` must be there, without `any` (the next step needs it as {{id}})", here());
        }
    }
    if lookup.steps[0].absent.is_none() {
        bail!("step 1: `absent` is missing (without a documented absent answer nothing can be found absent)");
    }
    if lookup.record.list.is_some() && lookup.record.id.is_none() {
        bail!("a list needs `record.id` (records are told apart by it)");
    }
    Ok(())
}

fn check_operation(operation: &Operation, params: &Vars) -> Result<()> {
    match operation.direction {
        crate::words::Direction::Inbound if operation.event.is_empty() => {
            bail!("an inbound operation needs `event` (the path of the event's id, or the paths that it consists of)")
        }
        crate::words::Direction::Inbound => return Ok(()),
        crate::words::Direction::Outbound => {}
    }
    if operation.method.is_empty() || operation.paths.is_empty() {
        bail!("needs `method` and `paths`");
    }
    if operation.changes_nothing != operation.effects.is_empty() {
        bail!("needs effects, or `changes_nothing = true`, one of them");
    }
    for path in &operation.paths {
        let text = path.as_ref().shown(&Vars::new());
        if !text.starts_with('/') {
            bail!("`{text}` is not a path (begin it with a slash; the host is the configuration's)");
        }
        for segment in text.split('/').filter(|s| s.contains('{')) {
            let whole = segment.starts_with('{') && segment.ends_with('}') && segment.matches(['{', '}']).count() == 2;
            if !whole && !params.keys().any(|param| segment.contains(&format!("{{{param}}}"))) {
                bail!("`{segment}`: a variable must be a whole segment of the path");
            }
        }
    }
    Ok(())
}

fn check_effect(
    effect: &Effect,
    operation: &Operation,
    lookups: &BTreeMap<String, Lookup>,
    params: &Vars,
) -> Result<()> {
    let captured: Vec<&str> = operation.paths.iter().flat_map(|path| path.as_ref().variables()).collect();
    let known: Vec<&str> = captured.iter().copied().chain(["element"]).collect();
    let sources = effect
        .keys
        .iter()
        .chain(&effect.owner)
        .flat_map(|key| &key.value)
        .chain(effect.sets.iter().flat_map(|set| &set.value));
    for source in sources {
        if let Source::Url(template) = source {
            known_variables(template, params, &known)?;
        }
    }
    for set in &effect.sets {
        known_variables(&set.record, params, &known)?;
        let tried = set.record.variables().map(|name| (name.to_owned(), "x".to_owned())).collect();
        let path = set.record.fill(&tried, |value| value.to_owned()).unwrap_or_default();
        Path::try_from(path).map_err(anyhow::Error::msg).with_context(|| format!("field `{}`", set.field))?;
    }
    if (effect.kind == EffectKind::Update) == effect.sets.is_empty() {
        bail!("`sets` belongs to updates, and an update needs it");
    }
    if let Some(owner) = &effect.owner
        && lookups.get(owner.lookup.as_ref()).is_some_and(|lookup| lookup.record.list.is_none())
    {
        bail!("the owner's lookup `{}` lists nothing (give it `record.list`)", owner.lookup.as_ref());
    }
    for key in effect.keys.iter().chain(&effect.owner) {
        let shown = lookups.get(key.lookup.as_ref()).map(|lookup| &lookup.record.fields);
        for field in effect.compare.keys() {
            if shown.is_some_and(|shown| !shown.contains_key(field)) {
                bail!(
                    "compares `{field}`, which the record of lookup `{}` does not have (add it to record.fields)",
                    key_name(key)
                );
            }
        }
    }
    Ok(())
}

fn key_name(key: &Key) -> &str {
    let name: &Spanned<String> = &key.lookup;
    name.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_a_path_is_a_whole_segment() {
        let (name, text) = SHIPPED[0];
        for segment in ["{service_id}x", "x{service_id}", "{service_id}x}", "{service_id}{service_id}"] {
            let text = text.replacen("account/{service_id}", &format!("account/{segment}"), 1);
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
        let reader = Reader { plan: &plan, server: &server, salt: b"salt" };
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
        let reader = Reader { plan: &plan, server: &server, salt: b"salt" };
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
        let error = |plan: Plan| plan.lookups["account-by-email"].record.made_error.0;
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
