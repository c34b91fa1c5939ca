//! What an entry means under a plan.

use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::compare::Form;
use super::file::{AlreadyThere, Effect as EffectPlan, EffectKind, Key, Operation};
use super::parts::{Path, identifier, normalise};
use super::row::{Row, cell};
use super::template::{Template, Vars, single_slashes};
use super::values::{compared, find, set_probes};
use super::{Plan, query, strict};
use crate::clock::{Moment, Span};
use crate::evidence::{Class, Effect, Facts, KeyDigest, Kind, Window};
use crate::ids;
use crate::mask;
use crate::words::{Direction, Failure};

/// What was read: the facts that are stored, and the raw keys that lookups need and nothing stores.
#[derive(Clone, Debug)]
pub struct Reading {
    pub facts: Facts,
    /// Per effect, also of an entry of another environment; `None` where nothing can be looked up.
    pub probes: Vec<Option<Probe>>,
    /// Whom it is about, unmasked.
    pub subject: Option<String>,
    /// The same as the plan normalises it: what pseudonyms are made of.
    pub normalised_subject: Option<String>,
}

/// What one effect is looked up by, and what its record is compared with.
#[derive(Clone, Debug)]
pub struct Probe {
    pub lookup: String,
    /// The key as the entry spells it.
    pub raw: String,
    /// The key as the plan normalises it.
    pub normalised: String,
    /// Per compared field: its value; `None` when the body does not have it.
    pub compare: Vec<(String, Option<Value>)>,
    pub sets: Vec<SetProbe>,
}

/// One field of an update.
#[derive(Clone, Debug)]
pub struct SetProbe {
    pub field: String,
    pub record: Path,
    pub form: Form,
    pub sent: Value,
    pub before: Vec<String>,
}

/// Reads entries under one plan, one server and one ledger's salt.
pub struct Reader<'a> {
    pub plan: &'a Plan,
    /// The configured server; its host and port are the environment.
    pub server: &'a Url,
    /// The ledger's salt.
    pub salt: &'a [u8],
    /// Earlier addresses of the same server: what was sent there is its as well.
    pub also: &'a [Url],
}

/// The job's own clock may be set back by so much when it reads a row. A row that is dated further ahead is not waited
/// for; one that is dated less far ahead may be right.
const SET_BACK: Span = Span::seconds(2 * 3600);

/// A longer key fits into no URL that servers take (8 KiB, three of them for each byte), in bytes.
pub(super) const LONGEST_KEY: usize = 2048;

/// Another number whenever a row is read otherwise than before: then all are read anew.
const READING: u32 = 5;

/// Why a row cannot be read: names the column or field, never its value.
pub(super) type Bad = String;

/// The digest of a value of one kind (`operation`, a lookup) under the ledger's salt.
pub fn link(salt: &[u8], scope: &str, value: &str) -> KeyDigest {
    let mut digest = Sha256::new_with_prefix(salt);
    digest.update(scope);
    digest.update([0]);
    digest.update(value);
    let mut link = [0; 16];
    link.copy_from_slice(&digest.finalize()[..16]);
    KeyDigest(link)
}

impl Reader<'_> {
    /// Digest of what an entry is read under: the plan, the server and this reading of them.
    pub fn fingerprint(&self) -> String {
        let server = self.server.origin().ascii_serialization();
        let also: String = self.also.iter().map(|url| format!(" {}", url.origin().ascii_serialization())).collect();
        let digest = Sha256::digest(format!("{READING} {} {server}{also}", self.plan.meaning));
        super::hex(&digest[..16])
    }

    /// Whether a URL has the host and port of the server, or of an address that it had before.
    pub(super) fn is_the_servers(&self, url: &Url) -> bool {
        let place = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
        std::iter::once(self.server).chain(self.also).any(|one| place(one) == place(url))
    }

    /// Reads a row. `read_at` is when the job reads it: the row is there, so whatever it tells of has ended by then.
    pub fn read(&self, row: &Row, read_at: Moment) -> Reading {
        let mut facts = self.outset(row, read_at);
        facts.identity = self.link("operation", row.operation());
        let mut reading = self
            .understand(row, &facts)
            .unwrap_or_else(|why| Understood { class: Class::BadRow { why }, ..Understood::nothing() });
        if let Some(event) = &reading.event {
            facts.identity = self.link("event", event);
        }
        facts.class = reading.class;
        facts.operation = reading.operation;
        let shown = || cell(&row.url).map(|url| self.path_shown(&facts, url)).unwrap_or_default();
        facts.path = reading.path.unwrap_or_else(shown);
        facts.subject = reading.subject.as_deref().map(mask::subject);
        let (mut effects, probes): (Vec<Effect>, Vec<Option<Probe>>) = reading.effects.drain(..).unzip();
        if facts.class == Class::OtherEnvironment {
            // It did nothing here, and what is here says nothing of it.
            effects.clear();
        }
        facts.repeat_blocked = reading.repeat_blocked && !effects.is_empty();
        facts.effects = effects;
        facts.key_is_there = self.says_that_its_key_is_there(&facts);
        let normalised_subject = probes.iter().flatten().next().map(|probe| probe.normalised.clone());
        Reading { facts, probes, subject: reading.subject, normalised_subject }
    }

    /// The answer says that a record with the one unique key of the request is there, by the plan's word for this operation.
    fn says_that_its_key_is_there(&self, facts: &Facts) -> bool {
        let mut keys: Vec<KeyDigest> = facts.effects.iter().flat_map(Effect::keys).collect();
        keys.dedup();
        let operation = facts.operation.as_ref().filter(|_| facts.already_there && keys.len() == 1);
        let operation = self.plan.operations.iter().find(|one| Some(one.name.as_ref()) == operation);
        let says = |there: &AlreadyThere| {
            let of_its_key = |effect: &Effect| effect.lookup.as_ref() == Some(there.lookup.as_ref());
            facts.http_status == Some(there.status) && facts.effects.iter().any(of_its_key)
        };
        operation.is_some_and(|operation| operation.already_there.iter().any(says))
    }

    /// Reads what a row's effects are looked up by, and nothing else of it.
    pub fn probes(&self, row: &Row, read_at: Moment) -> Vec<(Effect, Option<Probe>)> {
        let understood = self.understand(row, &self.outset(row, read_at));
        let here = understood.ok().filter(|understood| understood.class != Class::OtherEnvironment);
        here.map(|understood| understood.effects).unwrap_or_default()
    }

    /// What is known of a row before the plan is asked.
    fn outset(&self, row: &Row, read_at: Moment) -> Facts {
        let failure = cell(&row.failure).and_then(|text| text.parse::<Failure>().ok());
        let http_status = cell(&row.http_status).and_then(|text| text.trim().parse().ok());
        let sent = cell(&row.sent_at).and_then(Moment::parse);
        let ended =
            cell(&row.ended_at).and_then(Moment::parse).or(sent).unwrap_or(read_at).max(sent.unwrap_or(read_at));
        let method = cell(&row.method).unwrap_or_default().trim().to_ascii_uppercase();
        Facts {
            class: Class::NoPlan,
            operation: None,
            path: String::new(),
            method: if method.len() <= 16 && method.bytes().all(|b| b.is_ascii_alphabetic()) {
                method
            } else {
                String::new()
            },
            subject: None,
            direction: cell(&row.direction).and_then(|text| text.parse().ok()).unwrap_or(Direction::Outbound),
            failure,
            http_status,
            already_there: failure == Some(Failure::Answered)
                && http_status.is_some_and(|status| self.plan.statuses.already_there.contains(&status)),
            sent,
            sent_ahead: sent.is_some_and(|sent| sent > read_at),
            key_is_there: false,
            overtaken: false,
            sealed: None,
            ended: ended.min(read_at + SET_BACK),
            arrived: row.arrived,
            clock_error: row.clock_error,
            window: match failure {
                // A browser's export does not tell how long it hung, so it waits as an intent does. (A writer that leaves
                // out `ended_at` says that it is `sent_at`.)
                Some(Failure::Timeout | Failure::Network)
                    if cell(&row.ended_at).is_none() && ids::is_made_by_import(&row.request_id) =>
                {
                    Window::Intent
                }
                _ => self.window(failure, http_status),
            },
            identity: KeyDigest([0; 16]),
            repeat_blocked: false,
            effects: Vec::new(),
        }
    }

    fn understand(&self, row: &Row, facts: &Facts) -> Result<Understood, Bad> {
        check_cells(row, facts)?;
        self.check_status(facts)?;
        let body = match cell(&row.body).filter(|text| !text.trim().is_empty()) {
            Some(text) => Some(
                strict::parse(text.as_bytes()).map_err(|_| "`body` is not JSON, or says a name twice".to_owned())?,
            ),
            None => None,
        };
        let body = body.unwrap_or(Value::Null);
        let url_text = cell(&row.url).unwrap_or_default();
        let read = matches!(facts.method.as_str(), "GET" | "HEAD");
        if facts.direction == Direction::Inbound {
            if read && body.is_null() {
                // A probe whether the partner's endpoint is there, and no event.
                return Ok(Understood { class: Class::Read, ..Understood::nothing() });
            }
            return Ok(self.understand_inbound(&body));
        }
        let parsed;
        let (here, path, query) = match self.plain_path(url_text.trim()) {
            Some(path) => (true, path, None),
            None => {
                parsed = Url::parse(url_text.trim()).map_err(|_| "`url` is not an absolute URL".to_owned())?;
                if parsed.host_str().is_none() {
                    return Err("`url` has no host".to_owned());
                }
                (self.is_the_servers(&parsed), parsed.path(), Some(&parsed))
            }
        };
        let matched = self.outbound_operation(&facts.method, path, &body);
        // A GET changes nothing, unless the plan names it: one of PRIVO's sends a mail each time.
        let Some((operation, template, vars)) = matched else {
            let class = match (here, read) {
                (false, _) => Class::OtherEnvironment,
                (true, true) => Class::Read,
                (true, false) => Class::NoPlan,
            };
            return Ok(Understood { class, ..Understood::nothing() });
        };
        let path = Some(template.shown(&Vars::new()));
        if operation.changes_nothing {
            let class = if here { Class::Read } else { Class::OtherEnvironment };
            return Ok(Understood {
                class,
                path,
                operation: Some(operation.name.as_ref().clone()),
                ..Understood::nothing()
            });
        }
        check_needs(operation, &body)?;
        let query = query.and_then(Url::query).unwrap_or_default();
        let readings = query::readings(operation, query)?.into_iter().map(|values| {
            let mut vars = vars.clone();
            for (name, value) in values {
                vars.entry(name).or_insert(value);
            }
            self.effects(operation, &body, &vars)
        });
        let understood = query::merged(readings.collect::<Result<_, Bad>>()?)?;
        Ok(Understood { class: if here { Class::Planned } else { Class::OtherEnvironment }, path, ..understood })
    }

    fn understand_inbound(&self, body: &Value) -> Understood {
        let Some(operation) = self.inbound_operation(body) else {
            return Understood { class: Class::NoPlan, ..Understood::nothing() };
        };
        let parts: Result<Option<Vec<String>>, _> = operation.event.iter().map(|path| path.identifier(body)).collect();
        let event = parts.map(|parts| parts.map(|parts| parts.join("\0")));
        let event = event.map_err(|what| format!("the event's id is {what}"));
        let understood = event.and_then(|event| Ok((event, self.effects(operation, body, self.plan.params())?)));
        match understood {
            Ok((event, understood)) => Understood { class: Class::Planned, event, ..understood },
            Err(why) => Understood { class: Class::BadRow { why }, ..Understood::nothing() },
        }
    }

    /// The path of a URL that is spelled as the server's own is and that parsing would leave as it is: most are, and
    /// parsing is dear.
    fn plain_path<'t>(&self, url: &'t str) -> Option<&'t str> {
        let place = &self.server[..url::Position::BeforePath];
        let path = url.strip_prefix(place).filter(|path| path.starts_with('/'))?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
        (path.bytes().all(plain) && !path.contains("/.")).then_some(path)
    }

    /// The plan's operation of a request, by its URL's path, with the path's template and its variables.
    pub(super) fn outbound_operation(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Option<(&Operation, &Template, Vars)> {
        let matches = self.outbound_operations(method, path);
        matches.into_iter().find(|(operation, ..)| operation.conditions.iter().all(|one| one.holds(body, None)))
    }

    /// The operations that a request may be, whatever its body is.
    pub(super) fn outbound_operations(&self, method: &str, path: &str) -> Vec<(&Operation, &Template, Vars)> {
        let prefix = self.server.path().trim_end_matches('/');
        let path = &*single_slashes(path);
        let path = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let outbound = self.plan.operations.iter().filter(|o| o.direction == Direction::Outbound && o.method == method);
        let matching = outbound.filter_map(|operation| {
            operation.paths.iter().find_map(|template| {
                let vars = template.as_ref().captures(path, self.plan.params())?;
                Some((operation, template.as_ref(), vars))
            })
        });
        matching.collect()
    }

    fn inbound_operation(&self, body: &Value) -> Option<&Operation> {
        let mut inbound = self.plan.operations.iter().filter(|o| o.direction == Direction::Inbound);
        inbound.find(|operation| {
            operation.conditions.iter().all(|one| one.holds(body, None)) && check_needs(operation, body).is_ok()
        })
    }

    /// The plan's operation of a request or a webhook.
    pub(super) fn operation_of(
        &self,
        direction: Direction,
        method: &str,
        url: &str,
        body: &Value,
    ) -> Option<&Operation> {
        match direction {
            Direction::Inbound => self.inbound_operation(body),
            Direction::Outbound => {
                let url = Url::parse(url.trim()).ok()?;
                Some(self.outbound_operation(&method.trim().to_ascii_uppercase(), url.path(), body)?.0)
            }
        }
    }

    fn effects(&self, operation: &Operation, body: &Value, vars: &Vars) -> Result<Understood, Bad> {
        let mut understood = Understood {
            operation: Some(operation.name.as_ref().clone()),
            repeat_blocked: true,
            ..Understood::nothing()
        };
        for effect in &operation.effects {
            let elements: Vec<&Value> = match &effect.each {
                Some(each) => each.all(body),
                None => vec![body],
            };
            let elements =
                elements.into_iter().filter(|e| effect.when.as_ref().is_none_or(|when| when.first(e).is_some()));
            for (number, element) in elements.enumerate() {
                let name = match effect.each {
                    Some(_) => format!("{} {}", effect.name, number + 1),
                    None => effect.name.clone(),
                };
                let mut vars = vars.clone();
                if effect.each.is_some()
                    && let Ok(Some(text)) = identifier(element)
                {
                    vars.insert("element".to_owned(), text);
                }
                let (effect, probe, repeat_blocked) = self.effect(effect, name, body, element, &vars)?;
                understood.repeat_blocked &= repeat_blocked;
                understood.effects.push((effect, probe));
            }
        }
        understood.subject = understood.effects.iter().find_map(|(_, probe)| Some(probe.as_ref()?.raw.clone()));
        if understood.effects.is_empty() {
            return Err(format!("the body names nothing that operation `{}` should do", operation.name.as_ref()));
        }
        Ok(understood)
    }

    fn effect(
        &self,
        plan: &EffectPlan,
        name: String,
        body: &Value,
        element: &Value,
        vars: &Vars,
    ) -> Result<(Effect, Option<Probe>, bool), Bad> {
        let found = |key, element| find(key, element, vars).map(|raw| raw.map(|raw| (key, raw)));
        let keys: Vec<(&Key, String)> =
            plan.keys.iter().filter_map(|key| found(key, element).transpose()).collect::<Result<_, Bad>>()?;
        let mut keys = keys.into_iter();
        let own = keys.next();
        let also = match plan.kind {
            EffectKind::Create | EffectKind::Delete => keys.filter_map(|(key, raw)| self.key_link(key, &raw)).collect(),
            EffectKind::Update | EffectKind::Upsert | EffectKind::Inbound => Vec::new(),
        };
        let owner = plan.owner.as_ref().map_or(Ok(None), |key| found(key, body))?;
        let owner_record = owner.as_ref().and_then(|(key, raw)| self.owner_record(key, raw));
        let listed = owner.as_ref().filter(|_| own.is_some()).and_then(|(key, raw)| self.key_link(key, raw));
        let (kind, chosen) = match (plan.kind, own) {
            (EffectKind::Create, Some(own)) => (Kind::Create, Some(own)),
            (EffectKind::Create, None) => match owner {
                Some(owner) => (Kind::Member, Some(owner)),
                None => (Kind::Blind, None),
            },
            (EffectKind::Delete, own) => (Kind::Delete, own),
            (EffectKind::Update, own) => (Kind::Update, own),
            (EffectKind::Upsert, own) => (Kind::Upsert, own),
            (EffectKind::Inbound, own) => (Kind::Inbound, own),
        };
        let Some((key, raw)) = chosen else {
            return match kind {
                Kind::Blind => Ok((blind(name), None, false)),
                Kind::Inbound if plan.keys.is_empty() => Ok((Effect { kind, ..blind(name) }, None, false)),
                _ => Err(format!("the key of `{name}` is missing")),
            };
        };
        let lookup = &self.plan.lookups[key.lookup.as_ref()];
        let normalised = normalise(&lookup.normalise, &raw);
        if normalised.is_empty() {
            return Err(format!("the {} of `{name}` is empty", lookup.by.as_ref()));
        }
        // No request can be made of it, and one that failed for it would count against the server.
        if raw.len().max(normalised.len()) > LONGEST_KEY {
            return Err(format!("the {} of `{name}` is longer than {LONGEST_KEY} bytes", lookup.by.as_ref()));
        }
        let sets = set_probes(plan, element, vars)?;
        let compare = compared(plan, element);
        let values = self.values_of(plan, (body, element, vars), &sets, &compare)?;
        let lookup_name = key.lookup.as_ref().clone();
        let link = self.link(&lookup_name, &normalised);
        let target = |set: &SetProbe| {
            self.link(
                "field",
                &format!(
                    "{normalised}\0{}\0{}",
                    set.field,
                    vars.get("element").or(vars.get("attribute")).map_or("", String::as_str)
                ),
            )
        };
        let effect = Effect {
            name,
            kind,
            lookup: Some(lookup_name.clone()),
            key: Some(link),
            also,
            owner: listed.filter(|_| kind == Kind::Create),
            owner_record,
            does_more: plan.does_more,
            values,
            found_by: Some(lookup.by.as_ref().clone()),
            own_key: lookup.own_key,
            comparable: compare.iter().any(|(_, value)| value.is_some()),
            targets: sets.iter().map(target).collect(),
            alternative: false,
        };
        let repeat_blocked = kind == Kind::Create && key.blocks_repeat;
        Ok((effect, Some(Probe { lookup: lookup_name, raw, normalised, compare, sets }), repeat_blocked))
    }

    /// Which window follows an attempt that ended so.
    fn window(&self, failure: Option<Failure>, http_status: Option<u16>) -> Window {
        let statuses = &self.plan.statuses;
        match (failure, http_status) {
            (Some(Failure::NotSent | Failure::Answered), _) => Window::None,
            (Some(Failure::Timeout | Failure::Network), _) => Window::Network,
            (Some(Failure::Intent), _) => Window::Intent,
            (Some(Failure::Http), Some(status)) if statuses.turned_away.contains(&status) => Window::None,
            (Some(Failure::Http), Some(status)) if statuses.as_network.contains(&status) => Window::Network,
            (Some(Failure::Http) | None, _) => Window::ServerError,
        }
    }

    fn check_status(&self, facts: &Facts) -> Result<(), Bad> {
        match (facts.failure, facts.http_status) {
            (Some(Failure::Http), Some(status)) if facts.direction == Direction::Inbound => {
                if (300..600).contains(&status) { Ok(()) } else { Err("`http_status` is no failed answer".to_owned()) }
            }
            (Some(Failure::Http), Some(status)) if self.plan.statuses.in_doubt(status) => Ok(()),
            (Some(Failure::Http), Some(_)) => Err("`http_status` is not in doubt (5xx, or a status that the plan lists); a definite answer is recorded as `answered`".to_owned()),
            (Some(Failure::Answered), Some(status)) if (200..500).contains(&status) => Ok(()),
            (Some(Failure::Http | Failure::Answered), _) => Err("`http_status` is missing or out of range for this `failure`".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn link(&self, scope: &str, value: &str) -> KeyDigest {
        link(self.salt, scope, value)
    }

    /// Digest of a record's values, to see whether they ever change.
    pub fn values(&self, values: &str) -> KeyDigest {
        self.link("values", values)
    }
}

fn blind(name: String) -> Effect {
    Effect {
        name,
        kind: Kind::Blind,
        lookup: None,
        key: None,
        also: Vec::new(),
        owner: None,
        owner_record: None,
        found_by: None,
        own_key: false,
        comparable: false,
        does_more: false,
        targets: Vec::new(),
        values: Vec::new(),
        alternative: false,
    }
}

/// What a row means, before its facts are put together.
pub(super) struct Understood {
    class: Class,
    operation: Option<String>,
    path: Option<String>,
    event: Option<String>,
    subject: Option<String>,
    pub(super) repeat_blocked: bool,
    pub(super) effects: Vec<(Effect, Option<Probe>)>,
}

impl Understood {
    pub(super) fn nothing() -> Understood {
        Understood {
            class: Class::NoPlan,
            operation: None,
            path: None,
            event: None,
            subject: None,
            repeat_blocked: false,
            effects: Vec::new(),
        }
    }
}

fn check_cells(row: &Row, facts: &Facts) -> Result<(), Bad> {
    let columns = [
        ("operation_id", &row.operation_id),
        ("direction", &row.direction),
        ("method", &row.method),
        ("url", &row.url),
        ("body", &row.body),
        ("sent_at", &row.sent_at),
        ("ended_at", &row.ended_at),
        ("failure", &row.failure),
        ("http_status", &row.http_status),
    ];
    if let Some((name, _)) = columns.iter().find(|(_, cell)| cell.is_err()) {
        return Err(format!("`{name}` is not UTF-8 text of at most 1 MiB"));
    }
    if !row.id_is_text {
        return Err("`request_id` is not UTF-8 text".to_owned());
    }
    if row.request_id.trim().is_empty() {
        return Err("`request_id` is empty".to_owned());
    }
    if cell(&row.direction).is_some_and(|text| text.parse::<Direction>().is_err()) {
        return Err("`direction` is neither outbound nor inbound".to_owned());
    }
    if facts.method.is_empty() {
        return Err("`method` is not an HTTP method".to_owned());
    }
    if facts.failure.is_none() {
        let words = Failure::ALL.iter().map(|word| word.text()).collect::<Vec<_>>().join(", ");
        return Err(format!("`failure` is none of {words}"));
    }
    if facts.sent.is_none() {
        return Err("`sent_at` is not an RFC 3339 time with an offset".to_owned());
    }
    if cell(&row.ended_at).is_some_and(|text| Moment::parse(text).is_none()) {
        return Err("`ended_at` is not an RFC 3339 time with an offset".to_owned());
    }
    Ok(())
}

fn check_needs(operation: &Operation, body: &Value) -> Result<(), Bad> {
    let lacking =
        operation.needs.iter().enumerate().find(|(_, paths)| paths.iter().all(|path| path.first(body).is_none()));
    match lacking {
        None => Ok(()),
        Some((_, _)) if body.is_null() => {
            Err(format!("`body` is missing, and operation `{}` needs it", operation.name.as_ref()))
        }
        Some((number, _)) => Err(format!(
            "`body` lacks what operation `{}` needs (number {} of `needs` in the plan)",
            operation.name.as_ref(),
            number + 1
        )),
    }
}
