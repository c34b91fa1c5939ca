//! A plan as it is written: TOML, checked when it is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::compare::Form;
use super::parts::{Normalisation, Path, Template, Vars};
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
    #[serde(rename = "lookup", default)]
    pub lookups: BTreeMap<String, Lookup>,
    #[serde(rename = "operation", default)]
    pub operations: Vec<Operation>,
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
    pub by: String,
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
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub record: RecordShape,
}

impl Lookup {
    /// It finds a single record, by the same first request by which the other lookup finds the owner of its list.
    pub fn finds_owner_of(&self, list: &Lookup) -> bool {
        let (Some(own), Some(others)) = (self.steps.first(), list.steps.first()) else { return false };
        let same =
            own.get == others.get && own.post == others.post && own.query == others.query && own.json == others.json;
        same && self.record.list.is_none() && list.record.list.is_some()
    }

    /// Its key is the server's own id of a record: it begins with the request by which another lookup goes on from an id.
    pub fn is_by_server_id(&self, others: &BTreeMap<String, Lookup>) -> bool {
        let Some(own) = self.steps.first() else { return false };
        let shown = |template: &Option<Template>| template.as_ref().map(|template| template.shown(&Vars::new()));
        let goes_on = |step: &Step| {
            let key = |text: String| text.replace("{id}", "{key}");
            let query = |step: &Step| -> Vec<(String, String)> {
                step.query.iter().map(|(name, value)| (name.clone(), key(value.shown(&Vars::new())))).collect()
            };
            shown(&step.get).map(key) == shown(&own.get) && step.get.is_some() && query(step) == query(own)
        };
        let later = |lookup: &&Lookup| lookup.steps.iter().skip(1).any(goes_on);
        self.record.list.is_none() && others.values().any(|lookup| later(&lookup))
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
    pub get: Option<Template>,
    pub post: Option<Template>,
    /// Required with `post`: PRIVO documents that it changes nothing.
    #[serde(default)]
    pub changes_nothing: bool,
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// The JSON of a `post`: an object of texts.
    #[serde(default)]
    pub json: BTreeMap<String, Template>,
    pub present: Shape,
    pub absent: Option<Shape>,
}

/// A documented answer. Only JSON is ever one.
#[derive(Clone, Debug, Deserialize)]
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
    pub equals: serde_json::Value,
}

/// Where things stand in the last step's answer, or in each element of its list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordShape {
    /// The array that lists the owner's records.
    pub list: Option<Path>,
    pub id: Option<Path>,
    /// Where the whole answer shows the key that it was looked up by.
    pub key: Option<Path>,
    pub made: Option<Path>,
    pub changed: Option<Path>,
    /// How far the clock of these may be from that of the `Date` header.
    #[serde(default)]
    pub made_error: MadeError,
    #[serde(default)]
    pub fields: BTreeMap<String, Field>,
    /// What a webhook's state consists of.
    #[serde(default)]
    pub state: BTreeMap<String, StatePart>,
    /// What shows that a request that `does_more` did all of it: one of these stands there.
    #[serde(default)]
    pub shows_more: Option<ShowsMore>,
}

/// A place in a record whose values show that more was done than that the record was made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowsMore {
    pub path: Path,
    pub values: Vec<String>,
}

/// `made` often comes from a database, `Date` from a gateway: two clocks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(from = "Length")]
pub struct MadeError(pub Span);

impl Default for MadeError {
    fn default() -> MadeError {
        MadeError(Span::seconds(2))
    }
}

impl From<Length> for MadeError {
    fn from(length: Length) -> MadeError {
        MadeError(length.0)
    }
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

/// A path, or a list of them.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Path>, D::Error> {
    struct Paths;
    impl<'de> serde::de::Visitor<'de> for Paths {
        type Value = Vec<Path>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON path or a list of JSON paths")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<Path>, E> {
            Path::try_from(text.to_owned()).map(|path| vec![path]).map_err(E::custom)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Path>, A::Error> {
            std::iter::from_fn(|| items.next_element().transpose()).collect()
        }
    }
    deserializer.deserialize_any(Paths)
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
    /// Updates: the fields that are written.
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
