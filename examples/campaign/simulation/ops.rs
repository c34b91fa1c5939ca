//! What partners ask for: operations of every kind, their requests, and what they should make true.

use fastrand::Rng;
use serde_json::{Value, json};

/// The kinds of requests in the campaign's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Email,
    UserName,
    External,
    Display,
    Child,
    Family,
    Shadow,
    ResendMail,
    DeleteById,
    DeleteByQuery,
    DeleteByEmail,
    Consent,
    ConsentBlind,
    Ial,
    Revoke,
    DeleteEid,
    Webhook,
    Read,
    OtherEnvironment,
    BadRow,
    NoPlan,
}

impl Kind {
    /// Makes records, and which.
    pub fn creates(self) -> bool {
        use Kind::{Child, Consent, Display, Email, External, Family, UserName};
        matches!(self, Email | UserName | External | Display | Child | Family | Consent)
    }

    /// Nothing can look it up.
    pub fn blind(self) -> bool {
        matches!(self, Kind::Shadow | Kind::ResendMail | Kind::ConsentBlind)
    }

    pub fn deletes(self) -> bool {
        matches!(self, Kind::DeleteById | Kind::DeleteByQuery | Kind::DeleteByEmail | Kind::DeleteEid)
    }

    /// Its key is the server's own id, which no other record ever bears: to repeat it does no harm.
    pub fn deletes_by_id(self) -> bool {
        matches!(self, Kind::DeleteById | Kind::DeleteByQuery)
    }

    pub fn updates(self) -> bool {
        matches!(self, Kind::Ial | Kind::Revoke)
    }

    /// The plan says that the server blocks a repeat of every effect.
    pub fn repeat_blocked(self) -> bool {
        matches!(self, Kind::Email | Kind::UserName)
    }
}

/// A person (or account) that a request should make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub email: Option<String>,
    pub user_name: Option<String>,
    pub external: Option<String>,
    pub display: Option<String>,
    pub eid: Option<String>,
    pub given_name: String,
    pub birth_date: String,
}

impl Person {
    /// The same fields where a record shows them, keys aside.
    pub fn same_fields(&self, given_name: Option<&str>, birth_date: Option<&str>) -> bool {
        given_name.is_none_or(|shown| shown.trim().eq_ignore_ascii_case(self.given_name.trim()))
            && birth_date.is_none_or(|shown| shown == self.birth_date)
    }

    /// Every key of its own.
    pub fn keys(&self) -> Vec<&str> {
        let keys = [&self.email, &self.user_name, &self.external, &self.display, &self.eid];
        keys.into_iter().flatten().map(String::as_str).collect()
    }

    /// Looked up by a key of its own.
    pub fn keyed(&self) -> bool {
        !self.keys().is_empty()
    }
}

/// One thing that the partner wants done, however often it is sent.
#[derive(Clone, Debug)]
pub struct Op {
    pub kind: Kind,
    pub operation_id: String,
    pub persons: Vec<Person>,
    /// The email of the parent that a child is listed under.
    pub owner: Option<String>,
    /// The account, consent or event that it is about.
    pub target: Option<String>,
    pub granter: Option<String>,
    pub features: Vec<String>,
    pub attempts: Vec<Attempt>,
    /// The id that its rows bear, where that is not its own: others bear it, too.
    pub shared_id: Option<String>,
    /// What its writer's clock shows more than the job's.
    pub host_ms: i64,
    /// Its client records what went well at once, too.
    pub keeps_success: bool,
    /// The name that its rows' bodies say twice; an empty one: the first.
    pub doubled: Option<&'static str>,
    /// A `+` in its URL is not escaped.
    pub raw_plus: bool,
    /// Its rows hold a long number as a number.
    pub numbered: bool,
}

impl Op {
    pub fn new(kind: Kind, operation_id: String) -> Op {
        Op {
            kind,
            operation_id,
            persons: Vec::new(),
            owner: None,
            target: None,
            granter: None,
            features: Vec::new(),
            attempts: Vec::new(),
            shared_id: None,
            host_ms: 0,
            keeps_success: false,
            doubled: None,
            raw_plus: false,
            numbered: false,
        }
    }

    /// Its request is the same.
    pub fn asks_like(&self, other: &Op) -> bool {
        let all = |op: &Op| (op.kind, op.persons.clone(), op.owner.clone(), op.target.clone(), op.features.clone());
        all(self) == all(other)
    }

    /// The same wish under another id.
    pub fn again(&self, operation_id: String) -> Op {
        Op { operation_id, attempts: Vec::new(), shared_id: None, ..self.clone() }
    }
}

/// One attempt, as it really was.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub request_id: String,
    /// By the true clock.
    pub sent_ms: i64,
    /// Whether a byte of it left its sender.
    pub sent: bool,
    /// It was told a definite answer, this one.
    pub answer: Option<u16>,
    pub recorded: bool,
    /// It leaves the date of birth out.
    pub lean: bool,
    /// As its row says, it may become applied until then.
    pub open_until: i64,
    /// Its client's clock had jumped, so that nothing says when it was sent.
    pub jumped: bool,
}

/// A request as it is sent.
pub struct Sent {
    pub method: &'static str,
    pub path: String,
    pub body: Option<Value>,
}

pub const SERVICE: &str = "acme";

impl Op {
    /// The request of one attempt, `lean` without a date of birth. Emails are spelled anew each time.
    pub fn request(&self, lean: bool, rng: &mut Rng) -> Sent {
        let consent = |rest: String| format!("/s2s/api/v1.0/{SERVICE}/{rest}");
        let target = self.target.clone().unwrap_or_default();
        let post = |path: &str, body: Value| Sent { method: "POST", path: path.to_owned(), body: Some(body) };
        let bare = |method: &'static str, path: String| Sent { method, path, body: None };
        match self.kind {
            Kind::Email | Kind::UserName | Kind::External | Kind::Display | Kind::Child | Kind::BadRow => {
                let mut body = registration(&self.persons[0], rng);
                if let Some(owner) = &self.owner {
                    body["parentEmail"] = spelled(owner, rng).into();
                }
                if lean && let Some(fields) = body.as_object_mut() {
                    fields.remove("birth_date_yyyymmdd");
                }
                let old = rng.u8(..10) == 0;
                post(if old { "/api/account" } else { "/api/v1.0/account" }, body)
            }
            Kind::Family => {
                let mut body = registration(&self.persons[0], rng);
                let children: Vec<Value> = self.persons[1..].iter().map(|child| registration(child, rng)).collect();
                body["minor_registrations"] = children.into();
                post("/api/v1.0/account/parent", body)
            }
            Kind::Shadow => post("/api/v1.0/account/shadow", json!({ "role_identifier": "shadow" })),
            Kind::ResendMail => post("/api/v1.0/consent/resend", json!({ "requester_service_id": target })),
            Kind::DeleteById => bare("DELETE", format!("/api/v1.0/account/{target}")),
            Kind::DeleteByQuery => bare("DELETE", format!("/api/v1.0/account?service_id={target}")),
            Kind::DeleteByEmail => {
                let email = match self.raw_plus {
                    true => target,
                    false => target.replace('+', "%2B").replace('@', "%40"),
                };
                bare("DELETE", format!("/api/v1.0/account?email={email}"))
            }
            Kind::Consent | Kind::ConsentBlind => {
                let person = &self.persons[0];
                let principal = json!({
                    "given_name": person.given_name, "birthdate": person.birth_date, "eid": person.eid,
                    "attributes": [{ "identifier": "nick", "value": "k" }],
                });
                let granter = json!({ "email": self.owner, "notifications": [] });
                post(&consent("requests".into()), json!({ "granter": granter, "principal": principal }))
            }
            Kind::Ial => Sent {
                method: "PATCH",
                path: consent(format!("accounts/sid/{target}/attributes/nick/ial")),
                body: Some(json!({ "ial": self.features[0] })),
            },
            Kind::Revoke => {
                let granter = self.granter.clone().unwrap_or_default();
                let path = consent(format!("accounts/sid/{target}/{granter}/features/revoke"));
                post(&path, json!({ "features": self.features }))
            }
            Kind::DeleteEid => bare("DELETE", consent(format!("accounts/eid/{target}"))),
            Kind::Webhook => {
                let event = self.operation_id.clone();
                post("/hooks/privo", json!({ "id": event, "consent_identifiers": [target] }))
            }
            Kind::Read => bare("GET", format!("/userinfo?service_id={target}")),
            Kind::OtherEnvironment => post("/api/v1.0/account", registration(&self.persons[0], rng)),
            Kind::NoPlan => post("/api/v9/unknown", json!({ "x": 1 })),
        }
    }
}

fn registration(person: &Person, rng: &mut Rng) -> Value {
    let mut body = json!({ "first_name": person.given_name, "birth_date_yyyymmdd": person.birth_date });
    if let Some(email) = &person.email {
        body["email"] = spelled(email, rng).into();
    }
    if let Some(user_name) = &person.user_name {
        let upper = rng.u8(..5) == 0;
        body["user_name"] = if upper { user_name.to_uppercase() } else { user_name.clone() }.into();
    }
    if let Some(external) = &person.external {
        body["external_user_identifier"] = external.as_str().into();
    }
    if let Some(display) = &person.display {
        body["display_name"] = display.as_str().into();
    }
    body
}

/// One of the spellings that the server takes as equal.
fn spelled(email: &str, rng: &mut Rng) -> String {
    match rng.u8(..12) {
        0 => email.to_uppercase(),
        1 => format!(" {email}"),
        2 => email.chars().enumerate().map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c }).collect(),
        _ => email.to_owned(),
    }
}

impl Op {
    /// The body as its row has it: some writers say a name twice, or write a long number without quotes.
    pub fn written(&self, body: &Value) -> String {
        let mut text = body.to_string();
        if let (true, Some(number)) = (self.numbered, self.persons.first().and_then(|person| person.external.as_ref()))
        {
            text = text.replace(&format!("\"{number}\""), number);
        }
        let first = body.as_object().and_then(|fields| fields.keys().next());
        match (self.doubled, first) {
            (Some(""), Some(first)) => text.replacen('{', &format!("{{{}:\"else\",", json!(first)), 1),
            (Some(name), _) => text.replacen(&format!("\"{name}\":"), &format!("\"{name}\":\"else\",\"{name}\":"), 1),
            _ => text,
        }
    }
}
