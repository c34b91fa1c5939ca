//! A plan as it is written: TOML, checked when it is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::compare::Form;
use super::parts::{Normalisation, Path, is_whole, scalar};
use super::template::{Json, Template};
use crate::clock::{Length, Span};
use crate::words::{Compared, Direction};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    pub name: String,
    /// Variables that the configuration must give (`params`).
    #[serde(default)]
    pub params: Vec<String>,
    #[serde(default)]
    pub statuses: Statuses,
    /// Steps that several lookups share, by name.
    #[serde(rename = "step", default)]
    pub steps: BTreeMap<String, Step>,
    /// What several lookups' records share, by name.
    #[serde(rename = "record", default)]
    pub records: BTreeMap<String, RecordShape>,
    #[serde(rename = "lookup", default)]
    pub lookups: BTreeMap<String, Lookup>,
    #[serde(rename = "operation", default)]
    pub operations: Vec<Operation>,
    #[serde(rename = "assumption", default)]
    pub assumptions: Vec<Assumption>,
}

/// What the plan rests on and no document says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumption {
    /// A sentence.
    pub says: Spanned<String>,
    /// The lookup whose controls can show whether it is so; without one nothing can.
    pub lookup: Option<String>,
    /// One of these stands in the answer about the known key. Without any, that a random key is absent shows it.
    #[serde(default, deserialize_with = "one_or_more")]
    pub shows: Vec<Path>,
    /// What to ask those who run the server.
    pub ask: String,
}

/// Answers below 500 that do not settle what became of the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statuses {
    /// In doubt like a network failure: the server may or may not have gone on (408, 499).
    #[serde(default)]
    pub as_network: Vec<u16>,
    /// In doubt like a server error.
    #[serde(default)]
    pub as_server_error: Vec<u16>,
    /// Turned away before anything was done (425, 429): as good as never applied.
    #[serde(default)]
    pub turned_away: Vec<u16>,
    /// Answers that may say that something is there already (208, 409, 412), and are no success. Of which key, an operation's
    /// `already_there` says.
    #[serde(default)]
    pub already_there: Vec<u16>,
}

impl Statuses {
    /// Whether an answer does not say what became of the request: a 5xx, or one of the lists.
    pub fn in_doubt(&self, status: u16) -> bool {
        let lists = [&self.as_network, &self.as_server_error, &self.turned_away];
        (500..600).contains(&status) || lists.iter().any(|list| list.contains(&status))
    }
}

/// How one kind of record is found.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// What the record is found by, in the report's words.
    pub by: Spanned<String>,
    /// Where it is asked, when that is another host than the plan's server: a name that the configuration knows.
    pub host: Option<String>,
    /// What the server takes as equal keys.
    #[serde(default)]
    pub normalise: Vec<Normalisation>,
    /// Whether the key is also looked up as the plan normalises it.
    #[serde(default = "yes")]
    pub try_normalised: bool,
    /// The key is the partner's own id of the person.
    #[serde(default)]
    pub own_key: bool,
    /// A key that no account bears, with `{random}`.
    #[serde(default = "random_key")]
    pub random: Template,
    /// Of a list: the lookup that finds the owner's own record, by the same key.
    pub owner: Option<Spanned<String>>,
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub record: RecordShape,
    /// How the rest of the record's list is fetched, that comes in pages.
    pub pages: Option<Pages>,
    /// What an answer shows that has the whole list.
    pub complete: Option<Complete>,
}

impl Lookup {
    /// It finds a single record, by the same first request by which the other lookup finds the owner of its list.
    pub fn finds_owner_of(&self, list: &Lookup) -> bool {
        let (Some(own), Some(others)) = (self.steps.first(), list.steps.first()) else { return false };
        let same =
            own.get == others.get && own.post == others.post && own.query == others.query && own.json == others.json;
        same && self.record.list.is_none() && list.record.list.is_some()
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::expect_used, reason = "a constant")]
fn random_key() -> Template {
    Template::try_from("privo-reconcile-{random}".to_owned()).expect("a template")
}

/// One request of a lookup. Knows `{key}`, the plan's parameters and what earlier steps captured as `{id}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// It is the plan's shared step of this name; nothing else stands here then.
    #[serde(rename = "use")]
    pub shared: Option<Spanned<String>>,
    pub get: Option<Template>,
    pub post: Option<Template>,
    /// Required with `post`: PRIVO documents that it changes nothing.
    #[serde(default)]
    pub changes_nothing: bool,
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// The JSON of a `post`.
    pub json: Option<Json>,
    /// Headers of this request; no secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The documented answer of one who is there. It is in every step that is not shared.
    #[serde(default)]
    pub present: Shape,
    /// The documented answers of one who is not.
    #[serde(default, deserialize_with = "one_or_more")]
    pub absent: Vec<Shape>,
}

impl Step {
    /// Nothing stands here beside `use`.
    pub fn says_nothing(&self) -> bool {
        let Step { get, post, query, json, headers, present, absent, changes_nothing, .. } = self;
        get.is_none()
            && post.is_none()
            && json.is_none()
            && query.is_empty()
            && headers.is_empty()
            && present.status == 0
            && absent.is_empty()
            && !changes_nothing
    }
}

/// A documented answer. Only JSON is ever one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub status: u16,
    /// Where the server's id stands; it becomes `{id}`.
    pub id: Option<Path>,
    /// One of these must be there; the answer need not bear the id then.
    #[serde(default)]
    pub any: Vec<Path>,
    /// Values that must be there and equal.
    #[serde(default, rename = "where")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub path: Path,
    /// `"{key}"` is the key that is looked up, compared as text.
    pub equals: serde_json::Value,
}

impl Condition {
    /// Whether it names the key: as the whole of it, or in a way that has no meaning.
    pub fn names_the_key(&self) -> Option<bool> {
        let text = self.equals.as_str().filter(|text| text.contains("{key"))?;
        Some(text == KEY)
    }

    /// Whether the document has this value. Nothing equals the key where none is looked up.
    pub fn holds(&self, document: &serde_json::Value, key: Option<&str>) -> bool {
        let Some(there) = self.path.first(document) else { return false };
        match self.equals.as_str() {
            Some(KEY) => key.is_some_and(|key| scalar(there).as_deref() == Some(key)),
            _ => same(there, &self.equals),
        }
    }
}

/// How a condition names the key that is looked up.
const KEY: &str = "{key}";

/// Whether two values are the same, numbers by their value: 0 and 0.0 are.
pub(super) fn same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if !(is_whole(one) && is_whole(other)) => {
            one.as_f64().is_some_and(|value| Some(value) == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// Where things stand in the last step's answer, or in each element of its list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordShape {
    /// What is not said here is as in the plan's shared record of this name.
    #[serde(rename = "use")]
    pub shared: Option<Spanned<String>>,
    /// The array that lists the owner's records.
    pub list: Option<Path>,
    /// PRIVO documents that every answer has the whole list.
    #[serde(default)]
    pub whole: bool,
    /// The absent answer says that the list is empty, and not that its owner is not there: it is a search.
    #[serde(default)]
    pub absent_is_empty: bool,
    pub id: Option<Path>,
    /// Where the whole answer shows the key that it was looked up by.
    pub key: Option<Path>,
    pub made: Option<Path>,
    pub changed: Option<Path>,
    /// How far the clock of these may be from that of the `Date` header.
    pub made_error: Option<Length>,
    #[serde(default)]
    pub fields: BTreeMap<String, Field>,
    /// What a webhook's state consists of.
    #[serde(default)]
    pub state: BTreeMap<String, StatePart>,
    /// What shows that a request that `does_more` did all of it: one of these stands there.
    pub shows_more: Option<ShowsMore>,
}

impl RecordShape {
    /// How far the clock of `made` and `changed` may be from that of the `Date` header: `made` often comes from a database,
    /// `Date` from a gateway.
    pub fn made_error(&self) -> Span {
        self.made_error.map_or(Span::seconds(2), |length| length.0)
    }

    /// With what another one says where this one says nothing.
    pub fn or(self, shared: &RecordShape) -> RecordShape {
        let maps = |own: BTreeMap<_, _>, shared: &BTreeMap<_, _>| shared.clone().into_iter().chain(own).collect();
        RecordShape {
            shared: None,
            list: self.list.or_else(|| shared.list.clone()),
            whole: self.whole || shared.whole,
            absent_is_empty: self.absent_is_empty || shared.absent_is_empty,
            id: self.id.or_else(|| shared.id.clone()),
            key: self.key.or_else(|| shared.key.clone()),
            made: self.made.or_else(|| shared.made.clone()),
            changed: self.changed.or_else(|| shared.changed.clone()),
            made_error: self.made_error.or(shared.made_error),
            fields: maps(self.fields, &shared.fields),
            state: shared.state.clone().into_iter().chain(self.state).collect(),
            shows_more: self.shows_more.or_else(|| shared.shows_more.clone()),
        }
    }
}

/// How the next page of a list is found: by one of three ways.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// Where the answer has the next page's URL, of the same server, or its path.
    pub next: Option<Path>,
    /// Where the answer has a token for the next page, which goes as the query's `param`.
    pub token: Option<Path>,
    pub param: Option<String>,
    /// The `Link` header names it (RFC 8288), as `rel="next"`.
    #[serde(default)]
    pub link: bool,
    /// A list of more pages is not walked to its end.
    #[serde(default = "fifty")]
    pub most: usize,
}

fn fifty() -> usize {
    50
}

/// What shows that an answer has the whole list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// Nothing stands at these places, or null.
    #[serde(default)]
    pub null: Vec<Path>,
    /// The number that stands here is that of the elements.
    pub count: Option<Path>,
}

/// A place in a record whose values show that more was done than that the record was made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowsMore {
    pub path: Path,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub path: Path,
    #[serde(default, rename = "as")]
    pub form: Form,
    /// Where else it may stand, when nothing that can be read stands at `path`.
    pub or: Option<Box<Field>>,
}

impl Field {
    /// How what was sent compares with what a record shows.
    pub fn compare(&self, sent: Option<&serde_json::Value>, record: &serde_json::Value) -> Compared {
        match (self.form.compare(sent, self.path.first(record)), &self.or) {
            (Compared::NotShown, Some(or)) => or.compare(sent, record),
            (compared, _) => compared,
        }
    }
}

/// One part of a fetched state: a value, or a list of names and values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatePart {
    pub path: Path,
    /// Within each element of a list.
    pub name: Option<Path>,
    pub value: Option<Path>,
}

/// One call of the API (or one kind of webhook).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    pub name: Spanned<String>,
    #[serde(default = "outbound")]
    pub direction: Direction,
    #[serde(default)]
    pub method: String,
    /// Every path under which it is called; inbound entries are matched by their body alone.
    #[serde(default)]
    pub paths: Vec<Spanned<Template>>,
    /// Of several operations with one path, the first whose conditions the body fulfils.
    #[serde(default, rename = "where")]
    pub conditions: Vec<Condition>,
    /// Each list needs one of its paths in the body: without it the row is bad.
    #[serde(default)]
    pub needs: Vec<Vec<Path>>,
    /// PRIVO documents that it changes nothing, although it is no GET.
    #[serde(default)]
    pub changes_nothing: bool,
    /// Inbound: what the event's id consists of; deliveries with the same one are one operation.
    #[serde(default, deserialize_with = "one_or_more")]
    pub event: Vec<Path>,
    /// Answers that say of a key that a record bears it already. They are believed where the request has that key alone.
    #[serde(default)]
    pub already_there: Vec<AlreadyThere>,
    #[serde(rename = "effect", default)]
    pub effects: Vec<Effect>,
}

/// What an answer of an operation says to be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlreadyThere {
    /// One of the plan's `statuses.already_there`.
    pub status: u16,
    /// The lookup of the key that it speaks of.
    pub lookup: Spanned<String>,
}

/// One thing, or a list of them.
fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    use serde::de::value::{MapAccessDeserializer, StrDeserializer};

    struct Things<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Things<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("one, or a list of them")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|thing| vec![thing])
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|thing| vec![thing])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            std::iter::from_fn(|| items.next_element().transpose()).collect()
        }
    }
    deserializer.deserialize_any(Things(std::marker::PhantomData))
}

fn outbound() -> Direction {
    Direction::Outbound
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    Create,
    Delete,
    Update,
    /// Makes a record under a key of the sender's, or replaces what is there.
    Upsert,
    Inbound,
}

/// One thing that the operation should make true.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    pub name: String,
    pub kind: EffectKind,
    /// One effect for each element of an array in the body; its paths start at the element, `{element}` is a plain one.
    pub each: Option<Path>,
    /// Only where this is in the body (of an element).
    pub when: Option<Path>,
    /// Unique keys, the first that the body holds is looked up.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// Where the record is listed when it has none of the keys. Its paths start at the whole body.
    pub owner: Option<Key>,
    /// Creates: the request does more than make the record, and a record from before does not show the rest.
    #[serde(default)]
    pub does_more: bool,
    /// Deletes: the partner deletes by the server's id only what it was told the making of, so that such a delete removed
    /// nothing whose making is in doubt.
    #[serde(default)]
    pub only_known: bool,
    /// Per field of the lookup's record: where the body has it.
    #[serde(default)]
    pub compare: BTreeMap<String, Vec<Path>>,
    /// Updates and upserts: the fields that are written. One that the body lacks is left out of the comparison.
    #[serde(default)]
    pub sets: Vec<Set>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub lookup: Spanned<String>,
    /// Paths in the body or templates of the URL's variables, the first that is there counts.
    pub value: Vec<Source>,
    /// The server refuses a repeat with the same key and changes nothing, not even a mail.
    #[serde(default)]
    pub blocks_repeat: bool,
}

/// Where a value comes from: `$…` is a path in the body, anything else a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    Body(Path),
    Url(Template),
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Source, String> {
        if text.starts_with('$') {
            Path::try_from(text).map(Source::Body)
        } else {
            Template::try_from(text).map(Source::Url)
        }
    }
}

/// One field that an update writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    pub field: String,
    /// Where the record shows it: a JSON path whose quoted literals may hold `{variables}`.
    pub record: Template,
    pub value: Vec<Source>,
    #[serde(default, rename = "as")]
    pub form: Form,
    /// Values that the field can only have had before.
    #[serde(default)]
    pub before: Vec<String>,
}
