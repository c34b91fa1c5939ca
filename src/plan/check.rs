//! What a plan may not say, found when it is loaded: each mistake with its place and what to write instead.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, anyhow, bail};
use toml::Spanned;

use super::file::{Effect, EffectKind, Key, Lookup, Operation, Pages, PlanFile, Source, Step};
use super::parts::{Path, header_name, is_header_value};
use super::template::{Template, Vars};
use super::{known_lookup, or_none};
use crate::words::Direction;

/// Puts shared steps and records where they are used.
///
/// # Errors
/// When one is not there, is shared itself, or is used beside what it would overwrite.
pub fn shared(file: &mut PlanFile) -> Result<(), Mistake> {
    let nested = file.steps.values().filter_map(|step| step.shared.as_ref());
    let nested = nested.chain(file.records.values().filter_map(|record| record.shared.as_ref())).next();
    if let Some(name) = nested {
        return Err(Mistake::new(name, "a shared step or record uses no other one (write it out here)".to_owned()));
    }
    for lookup in file.lookups.values_mut() {
        for step in &mut lookup.steps {
            let Some(name) = &step.shared else { continue };
            let shared = one_of(&file.steps, name, "step")?;
            if !step.says_nothing() {
                return Err(Mistake::new(name, "a step with `use` says nothing else (take the rest out)".to_owned()));
            }
            *step = shared.clone();
        }
        if let Some(name) = &lookup.record.shared {
            let shared = one_of(&file.records, name, "record")?;
            lookup.record = std::mem::take(&mut lookup.record).or(shared);
        }
    }
    Ok(())
}

fn one_of<'a, T>(known: &'a BTreeMap<String, T>, name: &Spanned<String>, what: &str) -> Result<&'a T, Mistake> {
    known.get(name.as_ref()).ok_or_else(|| {
        let names = or_none(&known.keys().cloned().collect::<Vec<_>>());
        Mistake::new(name, format!("unknown {what} `{}` (the plan has: {names})", name.as_ref()))
    })
}

/// A mistake and where it is.
#[derive(Debug)]
pub struct Mistake {
    span: Range<usize>,
    why: String,
}

impl Mistake {
    fn new(place: &Spanned<String>, why: String) -> Mistake {
        Mistake { span: place.span(), why }
    }

    /// With its file and line, as `at` says them.
    pub fn shown(self, at: &dyn Fn(Range<usize>) -> String) -> anyhow::Error {
        anyhow!("{}: {}", at(self.span), self.why)
    }
}

/// Checks a whole plan. `at` says file and line of a place.
///
/// # Errors
/// The first mistake found.
pub fn plan(file: &PlanFile, params: &Vars, at: &dyn Fn(Range<usize>) -> String) -> Result<()> {
    for (name, lookup) in &file.lookups {
        check_lookup(lookup, params).with_context(|| format!("{}, lookup `{name}`", at(lookup.by.span())))?;
        if let Some(owner) = &lookup.owner {
            let of = known_lookup(&file.lookups, owner.as_ref()).with_context(|| at(owner.span()))?;
            if of.record.list.is_some() {
                bail!("{}: `owner` names a lookup that finds one record, not a list", at(owner.span()));
            }
        }
    }
    for assumption in &file.assumptions {
        if let Some(lookup) = &assumption.lookup {
            known_lookup(&file.lookups, lookup).with_context(|| at(assumption.says.span()))?;
        } else if !assumption.shows.is_empty() {
            bail!("{}: `shows` needs the `lookup` whose answer is meant", at(assumption.says.span()));
        }
    }
    for (number, operation) in file.operations.iter().enumerate() {
        let here = || format!("{}, operation `{}`", at(operation.name.span()), operation.name.as_ref());
        check_operation(operation, params).with_context(here)?;
        never_reached(operation, &file.operations[..number]).with_context(here)?;
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
            check_effect(effect, operation, &file.lookups, params)
                .with_context(|| format!("{}, effect `{}`", here(), effect.name))?;
        }
    }
    Ok(())
}

/// Of two operations with one method and path the first is taken, so that the second is none unless the first has
/// conditions.
fn never_reached(operation: &Operation, earlier: &[Operation]) -> Result<()> {
    if operation.direction == Direction::Inbound {
        return Ok(());
    }
    let shape = |path: &Spanned<Template>| {
        let text = path.as_ref().shown(&Vars::new());
        let word = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
        text.split('/').filter(|segment| !segment.is_empty()).map(word).collect::<Vec<_>>()
    };
    let takes_all = |other: &&Operation| {
        other.direction == operation.direction && other.method == operation.method && other.conditions.is_empty()
    };
    for path in &operation.paths {
        let same = |other: &&Operation| other.paths.iter().any(|theirs| shape(theirs) == shape(path));
        if let Some(other) = earlier.iter().filter(takes_all).find(same) {
            bail!(
                "`{}` is a path of operation `{}` already, which comes first and takes every request (tell them apart by \
                 `where`, or take one out)",
                path.as_ref().shown(&Vars::new()),
                other.name.as_ref()
            );
        }
    }
    Ok(())
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

fn no_escape(template: &Template) -> Result<()> {
    match template.escaped() {
        Some(name) => bail!("`{{{name}|…}}`: an escape belongs to a lookup's step (leave it out here)"),
        None => Ok(()),
    }
}

fn check_lookup(lookup: &Lookup, params: &Vars) -> Result<()> {
    if lookup.steps.is_empty() {
        bail!("has no step (add [[lookup.NAME.step]] with `get`)");
    }
    no_escape(&lookup.random)?;
    let random = ["random", "random_digits", "random_uuid"];
    known_variables(&lookup.random, params, &random)?;
    if !lookup.random.variables().any(|name| random.contains(&name)) {
        bail!("`random` is always the same key (write {{random}}, {{random_digits}} or {{random_uuid}} into it)");
    }
    for (number, step) in lookup.steps.iter().enumerate() {
        check_step(step, number == 0, params).with_context(|| format!("step {}", number + 1))?;
        let shape = &step.present;
        if number + 1 < lookup.steps.len() && (shape.id.is_none() || !shape.any.is_empty()) {
            bail!("step {}: `present.id` must be there, without `any` (the next step needs it as {{id}})", number + 1);
        }
    }
    if lookup.steps[0].absent.is_empty() {
        bail!("step 1: `absent` is missing (without a documented absent answer nothing can be found absent)");
    }
    check_list(lookup)
}

fn check_step(step: &Step, first: bool, params: &Vars) -> Result<()> {
    let path = match (&step.get, &step.post) {
        (Some(path), None) => path,
        (None, Some(path)) if step.changes_nothing => path,
        (None, Some(_)) => bail!(
            "a lookup must not change anything (if PRIVO documents that this POST does not, say `changes_nothing = true`)"
        ),
        _ => bail!("needs `get` or `post`, one of them"),
    };
    if step.present.status == 0 {
        bail!("`present` is missing (the documented answer of one who is there, like {{ status = 200 }})");
    }
    if step.json.is_some() && step.post.is_none() {
        bail!("`json` belongs to a `post`");
    }
    let shapes = std::iter::once(&step.present).chain(&step.absent);
    if shapes.flat_map(|shape| &shape.conditions).any(|condition| condition.names_the_key() == Some(false)) {
        bail!("`equals` has the key as a part of a longer text (write \"{{key}}\", the whole value)");
    }
    is_a_path(path, params)?;
    let known: &[&str] = if first { &["key"] } else { &["key", "id"] };
    let texts: Vec<&Template> = step.query.values().chain(step.json.iter().flat_map(|json| json.texts())).collect();
    for template in std::iter::once(&path).chain(&texts) {
        known_variables(template, params, known)?;
    }
    let remedy = "write {key|json} for JSON and SCIM, {key|sql} between single quotes, {key|raw} for as it is";
    if let Some(name) = path.quoted() {
        bail!("`{{{name}}}` stands between quotes and could close them ({remedy})");
    }
    if let Some(name) = texts.iter().find_map(|text| text.unescaped_part()).filter(|name| known.contains(name)) {
        bail!("`{{{name}}}` is a part of a longer text, in which it could say something else ({remedy})");
    }
    for (name, value) in &step.headers {
        header_name(name).map_err(anyhow::Error::msg)?;
        if name.eq_ignore_ascii_case("authorization") || !is_header_value(value) {
            bail!(
                "the header `{name}` cannot be given here (credentials stand in [auth]; a value is of visible ASCII)"
            );
        }
    }
    Ok(())
}

/// The host is the configuration's, and the query has a place of its own.
fn is_a_path(path: &Template, params: &Vars) -> Result<()> {
    let shown = path.shown(params);
    if !shown.starts_with('/') {
        bail!("`{shown}` is not a path (begin it with a slash; the host is the configuration's)");
    }
    if shown.contains(['?', '#']) {
        bail!("`{shown}` has a query in its path (write it as `query = {{ name = \"value\" }}`)");
    }
    Ok(())
}

/// A list says how it is known to be whole: an absence from a part of it proves nothing.
fn check_list(lookup: &Lookup) -> Result<()> {
    let Lookup { record, pages, complete, .. } = lookup;
    if record.list.is_none() {
        if pages.is_some() || complete.is_some() || record.whole || record.absent_is_empty || lookup.owner.is_some() {
            bail!(
                "`pages`, `complete`, `owner`, `record.whole` and `record.absent_is_empty` belong to a list (give the record `list`, or take them out)"
            );
        }
        return Ok(());
    }
    if record.id.is_none() {
        bail!("a list needs `record.id` (records are told apart by it)");
    }
    if pages.is_none() && complete.is_none() && !record.whole {
        bail!(
            "a list needs `pages` or `complete` in its lookup, or `whole = true` in its record: an absence from a part of a list proves nothing \
             (say how the next page is found, or what an answer shows that has all, or that every answer has all)"
        );
    }
    if let Some(Pages { next, token, param, link, most }) = pages {
        let ways = [next.is_some(), token.is_some(), *link];
        if ways.iter().filter(|way| **way).count() != 1 || token.is_some() != param.is_some() || *most == 0 {
            bail!("`pages` needs one of `next`, `token` with `param`, or `link = true`, and `most` of at least 1");
        }
    }
    if complete.as_ref().is_some_and(|complete| complete.null.is_empty() && complete.count.is_none()) {
        bail!("`complete` needs `null` or `count`");
    }
    Ok(())
}

fn check_operation(operation: &Operation, params: &Vars) -> Result<()> {
    match operation.direction {
        Direction::Inbound if operation.event.is_empty() => {
            bail!("an inbound operation needs `event` (the path of the event's id, or the paths that it consists of)")
        }
        Direction::Inbound => return Ok(()),
        Direction::Outbound => {}
    }
    if operation.method.is_empty() || operation.paths.is_empty() {
        bail!("needs `method` and `paths`");
    }
    if operation.method != operation.method.to_ascii_uppercase() {
        bail!("`{}` matches no request (methods are written in capitals)", operation.method);
    }
    if operation.conditions.iter().any(|condition| condition.names_the_key().is_some()) {
        bail!("`where` of an operation knows no {{key}} (it tells operations apart by a value of the body)");
    }
    if operation.changes_nothing != operation.effects.is_empty() {
        bail!("needs effects, or `changes_nothing = true`, one of them");
    }
    for path in &operation.paths {
        no_escape(path.as_ref())?;
        is_a_path(path.as_ref(), &Vars::new())?;
        let text = path.as_ref().shown(&Vars::new());
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
    if let Some(each) = effect.each.as_ref().filter(|each| each.names_one_place()) {
        bail!("`each = \"{each}\"` names one place (write `{each}[*]` for every element of an array)");
    }
    for key in effect.keys.iter().chain(&effect.owner) {
        check_key(key, params, &known)?;
        let compares = lookups.get(key.lookup.as_ref()).map(|lookup| &lookup.record.fields);
        let lacking = |field: &&String| compares.is_some_and(|fields| !fields.contains_key(*field));
        if let Some(field) = effect.compare.keys().find(lacking) {
            bail!(
                "compares `{field}`, which the record of lookup `{}` does not have (add it to record.fields)",
                key.lookup.as_ref()
            );
        }
    }
    check_sets(effect, params, &known)?;
    if let Some(owner) = &effect.owner
        && lookups.get(owner.lookup.as_ref()).is_some_and(|lookup| lookup.record.list.is_none())
    {
        bail!("the owner's lookup `{}` lists nothing (give it `record.list`)", owner.lookup.as_ref());
    }
    Ok(())
}

/// A constant is no key: every entry would be looked up by it.
fn check_key(key: &Key, params: &Vars, known: &[&str]) -> Result<()> {
    no_source(&key.value)?;
    for source in &key.value {
        let Source::Url(template) = source else { continue };
        known_variables(template, params, known)?;
        no_escape(template)?;
        if !template.variables().any(|name| !params.contains_key(name)) {
            let shown = template.shown(params);
            bail!(
                "the key `{shown}` is the same for every request (write a JSON path like `$.{shown}`, or a variable of the URL)"
            );
        }
    }
    Ok(())
}

fn no_source(value: &[Source]) -> Result<()> {
    if value.is_empty() {
        bail!("`value` is empty (write where the value stands: a JSON path, or a variable of the URL)");
    }
    Ok(())
}

fn check_sets(effect: &Effect, params: &Vars, known: &[&str]) -> Result<()> {
    for set in &effect.sets {
        no_source(&set.value)?;
        for source in &set.value {
            if let Source::Url(template) = source {
                known_variables(template, params, known)?;
                no_escape(template)?;
            }
        }
        known_variables(&set.record, params, known)?;
        no_escape(&set.record)?;
        let tried = set.record.variables().map(|name| (name.to_owned(), "x".to_owned())).collect();
        let path = set.record.fill(&tried, |value| value.to_owned()).unwrap_or_default();
        Path::try_from(path).map_err(anyhow::Error::msg).with_context(|| format!("field `{}`", set.field))?;
    }
    let writes = matches!(effect.kind, EffectKind::Update | EffectKind::Upsert);
    if writes == effect.sets.is_empty() {
        bail!("`sets` belongs to updates and upserts, and they need it");
    }
    Ok(())
}
