//! `plan try`: what a plan makes of one request, for whoever writes one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use url::Url;

use crate::cli::{Cli, PlanArgs, PlanCommand, TryArgs};
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::evidence::{Class, Effect};
use crate::exit::{self, Refused};
use crate::inputs;
use crate::lookup::{Lookups, Shared, Stop};
use crate::plan::observe::{self, Sighting};
use crate::plan::search::{Found, Search};
use crate::plan::{Plan, Probe, Reader, Row, text_cell};
use crate::words::{Compared, Direction};

/// Does what is asked; gives the exit code.
///
/// # Errors
/// When the plan or the configuration cannot be read.
pub async fn plan(cli: &Cli, args: &PlanArgs, json: bool) -> Result<u8> {
    let PlanCommand::Try(args) = &args.command;
    let shown = tried(cli, args).await.map_err(|error| match error.downcast_ref::<Refused>() {
        Some(_) => error,
        None => anyhow::Error::new(Refused(format!("{error:#}"))),
    })?;
    // For scripts: what the plan can make something of.
    let code = if shown["operation"].is_null() && shown["read"] != true { exit::FAILED } else { exit::DONE };
    if json {
        document::print("plan", code, &shown)?;
    } else {
        print(&shown)?;
    }
    Ok(code)
}

async fn tried(cli: &Cli, args: &TryArgs) -> Result<Value> {
    let mut config = if args.plan.is_none() || args.send { Some(super::load(cli)?) } else { None };
    let mut own = args.plan.as_deref().map(|file| load(file, &args.params)).transpose()?;
    // The configuration's server, with the plan that is tried.
    if let Some(config) = &mut config
        && let Some(plan) = own.take()
    {
        config.plan = plan;
    }
    let Some(plan) = own.as_ref().or(config.as_ref().map(|config| &config.plan)) else { bail!("no plan to try") };
    let base = base(args, config.as_ref())?;
    let row = row(args)?;
    let also = config.as_ref().map_or(&[][..], |config| &config.server.also);
    let reader = Reader { plan, server: &base, salt: b"", also };
    let reading = reader.read(&row, Moment::now());
    let facts = &reading.facts;
    let mut effects = Vec::new();
    for (effect, probe) in facts.effects.iter().zip(&reading.probes) {
        let mut shown = described(effect, probe.as_ref());
        if let Some(probe) = probe {
            shown["requests"] = requests(plan, probe, config.as_ref(), &base).into();
        }
        effects.push(shown);
    }
    let mut shown = json!({
        "class": class(&facts.class), "operation": facts.operation, "path": facts.path, "effects": effects,
        "repeat_blocked": facts.repeat_blocked, "read": facts.class == Class::Read, "base_url": base.as_str(),
    });
    if args.send {
        let config = config.as_ref().context("--send needs a configuration (see `init`)")?;
        shown["answers"] = sent(config, &reading.probes, &facts.effects, &base).await?;
    }
    Ok(shown)
}

fn load(file: &Path, params: &[String]) -> Result<Plan> {
    let mut given = BTreeMap::new();
    for param in params {
        let (name, value) = param.split_once('=').context("a parameter is written NAME=VALUE")?;
        given.insert(name.to_owned(), value.to_owned());
    }
    let text = inputs::read_text(file, inputs::LARGEST)
        .with_context(|| format!("failed to read the plan {} (is the path right?)", file.display()))?;
    Plan::load(&file.display().to_string(), &text, &given)
}

/// The server: the configuration's, else that of the request.
fn base(args: &TryArgs, config: Option<&Config>) -> Result<Url> {
    if let Some(config) = config {
        return Ok(config.server.base_url.clone());
    }
    if args.inbound {
        return Ok(Url::parse("https://server.invalid")?);
    }
    let url = Url::parse(&args.url).ok().filter(|url| url.has_host());
    let url = url.context("--url is not an absolute URL (write it like https://api.example/users)")?;
    Ok(url.join("/")?)
}

fn row(args: &TryArgs) -> Result<Row> {
    let body = match args.body.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("failed to read the body from standard input")?;
            Some(text)
        }
        body => body.map(str::to_owned),
    };
    let direction = if args.inbound { Direction::Inbound } else { Direction::Outbound };
    Ok(Row {
        direction: text_cell(direction.text()),
        method: text_cell(&args.method),
        url: text_cell(&args.url),
        body: Ok(body),
        sent_at: text_cell(&Moment::now().to_string()),
        failure: text_cell("timeout"),
        ..Row::blank(0, "tried")
    })
}

fn class(class: &Class) -> String {
    match class {
        Class::Planned => "an operation of the plan".to_owned(),
        Class::Read => "a read: nothing to find out".to_owned(),
        Class::NoPlan => {
            "no operation of the plan matches (method and path of an operation, and its `where`)".to_owned()
        }
        Class::OtherEnvironment => "another host or port than the server's".to_owned(),
        Class::BadRow { why } => format!("bad-row: {why}"),
    }
}

fn described(effect: &Effect, probe: Option<&Probe>) -> Value {
    let compared = probe.map(|probe| {
        let sent = probe.compare.iter().map(|(field, value)| (field.clone(), value.clone().unwrap_or(Value::Null)));
        let written = probe.sets.iter().map(|set| (set.field.clone(), set.sent.clone()));
        sent.chain(written).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "effect": effect.name, "kind": effect.kind, "lookup": effect.lookup,
        "key": probe.map(|probe| &probe.raw), "compares": compared,
    })
}

/// The requests that the lookup of a key would make; what an earlier step names is written `{id}`.
fn requests(plan: &Plan, probe: &Probe, config: Option<&Config>, base: &Url) -> Vec<String> {
    let lookup = &plan.lookups[&probe.lookup];
    let base = config.and_then(|config| config.base_of(lookup.host.as_deref())).unwrap_or(base);
    let host = lookup.host.as_ref().map(|host| format!(" (at the host `{host}`)")).unwrap_or_default();
    let mut all = Vec::new();
    for spelling in observe::spellings(lookup, std::iter::once(probe)) {
        for request in Search::start(lookup, plan.params(), &spelling, base).every_request() {
            all.push(match request {
                Ok(request) => format!(
                    "{} {}{}{host}",
                    request.method,
                    request.path_and_query,
                    request.json.map(|json| format!(" {json}")).unwrap_or_default()
                ),
                Err(why) => format!("none: {why}"),
            });
        }
    }
    all
}

/// Makes the lookups, controls first, and says how the answers were read.
async fn sent(config: &Config, probes: &[Option<Probe>], effects: &[Effect], base: &Url) -> Result<Value> {
    let lookups = Lookups::new(config, Moment::now)?;
    let reader = Reader { plan: &config.plan, server: base, salt: b"", also: &config.server.also };
    let mut answers = Vec::new();
    for (place, (effect, probe)) in effects.iter().zip(probes).enumerate() {
        let Some(probe) = probe else { continue };
        let controls = heard(lookups.controls(&probe.lookup).await)?;
        let shared = Shared::default();
        let lookup = &config.plan.lookups[&probe.lookup];
        let mut sightings: Vec<(String, Sighting)> = Vec::new();
        for spelling in observe::spellings(lookup, std::iter::once(probe)) {
            let sighting = heard(lookups.look_up(&probe.lookup, &spelling, &shared).await)?;
            sightings.push((spelling, sighting));
        }
        let seen: Vec<(&str, &Sighting)> = sightings.iter().map(|(key, seen)| (key.as_str(), seen)).collect();
        let of = [controls.known, controls.random, controls.near, controls.fields];
        let look = observe::look(&reader, place, effect.kind, probe, &seen, of);
        let read: Vec<String> = sightings.iter().map(|(_, sighting)| said(&sighting.found)).collect();
        let compared = |(field, compared): &(String, Compared)| format!("{field} {}", compared.text());
        let records: Vec<Value> = look
            .records
            .iter()
            .map(|record| {
                json!({ "id": record.id, "made": record.made.map(|made| made.to_string()),
                        "changed": record.changed.map(|changed| changed.to_string()),
                    "compared": record.fields.iter().map(compared).collect::<Vec<_>>() })
            })
            .collect();
        answers.push(json!({
            "effect": effect.name, "controls": controls, "answers": read, "seen": look.seen, "why": look.cause, "records": records,
        }));
    }
    Ok(answers.into())
}

fn heard<T>(result: Result<T, Stop>) -> Result<T> {
    result.map_err(|stop| match stop {
        Stop::Fatal(error) => error,
        Stop::Alone(why) | Stop::Failed(why) => anyhow::anyhow!("no answer: {why}"),
    })
}

fn said(found: &Found) -> String {
    match found {
        Found::Absent => "absent, as the plan documents it".to_owned(),
        Found::Record { id: Some(id), .. } => format!("present, with the id {id}"),
        Found::Record { id: None, .. } => "present, without an id".to_owned(),
        Found::Inconclusive(why) => format!("inconclusive: {why}"),
    }
}

/// The same for people: one fact a line.
fn print(shown: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    writeln!(out, "{}", text(&shown["class"]))?;
    writeln!(out, "server     {} (paths of the plan stand below it)", text(&shown["base_url"]))?;
    if !shown["operation"].is_null() {
        writeln!(out, "operation  {} ({})", text(&shown["operation"]), text(&shown["path"]))?;
    }
    for effect in shown["effects"].as_array().into_iter().flatten() {
        let key = match (&effect["lookup"], &effect["key"]) {
            (Value::Null, _) => "nothing to look it up by: unobservable".to_owned(),
            (lookup, key) => format!("looked up by {} with {}", text(lookup), text(key)),
        };
        writeln!(out, "effect     {}: {}, {key}", text(&effect["effect"]), text(&effect["kind"]))?;
        for (field, value) in effect["compares"].as_object().into_iter().flatten() {
            let value = if value.is_null() { "(the body does not have it)".to_owned() } else { text(value) };
            writeln!(out, "           compares {field}: {value}")?;
        }
        for request in effect["requests"].as_array().into_iter().flatten() {
            writeln!(out, "           asks {}", text(request))?;
        }
    }
    if shown["repeat_blocked"] == true {
        writeln!(out, "repeat     the plan says that the server blocks it")?;
    }
    for answer in shown["answers"].as_array().into_iter().flatten() {
        writeln!(out, "answered   {}: {}", text(&answer["effect"]), text(&answer["seen"]))?;
        let controls = &answer["controls"];
        let control = |name: &str| match (name, text(&controls[name]).as_str()) {
            ("near", "missing") => "near not asked (the record shows its key, or no control is long enough)".to_owned(),
            (name, "missing") => format!("{name} not configured"),
            (name, how) => format!("{name} {how}"),
        };
        writeln!(out, "           controls: {}", ["known", "random", "near", "fields"].map(control).join(", "))?;
        if let Some(cause) = controls["cause"].as_str() {
            writeln!(out, "           a control got no answer to rely on: {cause}")?;
        }
        for read in answer["answers"].as_array().into_iter().flatten() {
            writeln!(out, "           {}", text(read))?;
        }
        for record in answer["records"].as_array().into_iter().flatten() {
            let compared: Vec<String> = record["compared"].as_array().into_iter().flatten().map(text).collect();
            let shown = |name: &str| if record[name].is_null() { "not shown".to_owned() } else { text(&record[name]) };
            writeln!(
                out,
                "           record: id {}, made {}, changed {}; {}",
                shown("id"),
                shown("made"),
                shown("changed"),
                compared.join(", ")
            )?;
        }
    }
    Ok(())
}
