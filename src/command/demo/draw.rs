//! The errands of the story, drawn from the seed: registrations of every kind, and what else a partner sends.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::fixtures::Fixtures;
use super::task::{Key, Person, Series, Task, Want, typed};
use crate::sandbox::Generation;

const NAMES: [&str; 23] = [
    "Ada", "Ben", "Chloé", "Dario", "Emil", "Fatima", "Goran", "Hana", "Iris", "José", "Kaia", "Łukasz", "Mia", "Noah",
    "Olga", "Priya", "Quinn", "Rosa", "Søren", "Tara", "Uma", "Zoë", "Xin",
];

/// How often somebody sends the same again as another operation when the first one seemed to fail, in percent.
const AGAIN: u32 = 8;

/// The errands before, in and after the outage.
pub struct Script {
    pub before: Vec<Series>,
    pub outage: Vec<Series>,
    pub after: Vec<Series>,
}

/// Draws the whole story.
pub fn script(registrations: u32, fixtures: &Fixtures, service: &str, rng: &mut Rng) -> Script {
    let mut draw = Draw { fixtures, service: format!("/s2s/api/v1.0/{service}"), rng, count: 0 };
    let third = registrations / 3;
    let before = (0..third).map(|_| draw.registration()).collect();
    let mut outage: Vec<Series> = (third..registrations - third).map(|_| draw.registration()).collect();
    outage.extend(draw.other_requests());
    draw.rng.shuffle(&mut outage);
    let after = (0..third).map(|_| draw.registration()).collect();
    Script { before, outage, after }
}

struct Draw<'a> {
    fixtures: &'a Fixtures,
    service: String,
    rng: &'a mut Rng,
    count: usize,
}

impl Draw<'_> {
    fn registration(&mut self) -> Series {
        self.count += 1;
        match self.rng.u8(..100) {
            0..48 => self.adult(Key::Email),
            48..52 => self.adult(Key::UserName),
            52..56 => self.adult(Key::ExternalId),
            56..59 => self.returning(true),
            59..61 => self.returning(false),
            61..72 => self.family(),
            72..82 => self.child(None),
            82..85 => self.child(Some(Key::UserName)),
            85..87 => self.child(Some(Key::Email)),
            87..90 => self.shadow(),
            90..98 => self.consent(true),
            _ => self.consent(false),
        }
    }

    /// What a partner sends that registers nobody.
    fn other_requests(&mut self) -> Vec<Series> {
        let fixtures = self.fixtures;
        let mut all_series: Vec<Series> = fixtures.leaving.iter().map(|(id, email)| self.delete(id, email)).collect();
        for (n, member) in fixtures.members.iter().enumerate() {
            all_series.push(match n % 3 {
                0 => self.revoke(&member.sid, &member.granter),
                1 => self.assure(&member.sid),
                _ => self.delete_member(&member.eid, &member.sid),
            });
        }
        for n in 0..fixtures.leaving.len() {
            all_series.push(self.read(n));
        }
        for _ in 0..fixtures.leaving.len() / 4 + 1 {
            let child = &fixtures.canary.child;
            all_series.push(self.mail());
            all_series.push(self.unseen(
                "GET",
                &format!("/api/consent/resend?requesterServiceId={child}"),
                "mail sent",
            ));
            all_series.push(self.unseen("PUT", &format!("/api/consent/{child}/"), "consent granted"));
            all_series.push(self.unseen("DELETE", &format!("/api/consent/{child}"), "consent revoked"));
            all_series.push(self.session());
        }
        all_series
    }

    fn task(&mut self, method: &'static str, path: &str, body: Option<Value>, wants: Vec<Want>) -> Task {
        self.count += 1;
        let unique = |want: &Want| !matches!(want, Want::Unseen(_) | Want::There(Person { key: None, .. }));
        Task {
            operation: format!("op-{}", self.count),
            method,
            path: path.to_owned(),
            body: body.map(|body| body.to_string()),
            repeatable: wants.iter().all(unique),
            wants,
            generation: Generation::Gateway,
            seed: self.rng.u64(..),
        }
    }

    fn once(first: Task) -> Series {
        Series { first, again: None }
    }

    /// Now and then the person will send it again as another operation.
    fn maybe_again(&mut self, first: Task) -> Series {
        let again = (self.rng.u32(..100) < AGAIN).then(|| {
            self.count += 1;
            Task { operation: format!("op-{}", self.count), seed: self.rng.u64(..), ..first.clone() }
        });
        Series { first, again }
    }

    fn birth(&self, first_year: usize) -> String {
        let n = self.count;
        format!("{}{:02}{:02}", first_year + n / 336 % 6, n % 12 + 1, n / 12 % 28 + 1)
    }

    fn person(&mut self, key: Option<Key>, first_year: usize) -> Person {
        let n = self.count;
        let text = |key| match key {
            Key::Email => format!("person{n}@mail.example"),
            Key::UserName => format!("user{n}"),
            Key::ExternalId | Key::Eid => format!("ext-{n}"),
        };
        Person {
            generation: Generation::Gateway,
            key: key.map(|key| (key, text(key))),
            under: None,
            name: NAMES[n % NAMES.len()].to_owned(),
            birth: self.birth(first_year),
        }
    }

    fn adult(&mut self, key: Key) -> Series {
        let person = self.person(Some(key), 1970);
        let body = self.body_of(&person, "adult");
        let task = self.task("POST", "/api/v1.0/account", Some(body), vec![Want::There(person)]);
        self.maybe_again(task)
    }

    /// A customer registers anew, as the same person or as another one with the same email.
    fn returning(&mut self, same: bool) -> Series {
        let customer = &self.fixtures.customers[self.rng.usize(..self.fixtures.customers.len())];
        let mut person = customer.clone();
        if !same {
            person.name = "Someone".to_owned();
        }
        let body = self.body_of(&person, "adult");
        Draw::once(self.task("POST", "/api/v1.0/account", Some(body), vec![Want::There(person)]))
    }

    fn child(&mut self, key: Option<Key>) -> Series {
        let under = self.fixtures.parents[self.rng.usize(..self.fixtures.parents.len())].clone();
        let person = Person { under: Some(under.clone()), ..self.person(key, 2012) };
        let mut body = self.body_of(&person, "child");
        body["parentEmail"] = typed(&under, self.rng).into();
        let path = if self.rng.bool() { "/api/account" } else { "/api/account/" };
        let task = self.task("POST", path, Some(body), vec![Want::There(person)]);
        self.maybe_again(task)
    }

    fn family(&mut self) -> Series {
        let parent = self.person(Some(Key::Email), 1970);
        let under = parent.key.as_ref().map(|(_, email)| email.clone());
        let mut body = self.body_of(&parent, "parent");
        let mut wants = vec![Want::There(parent)];
        let mut children = Vec::new();
        for _ in 0..self.rng.usize(1..=3) {
            self.count += 1;
            let key = [None, None, Some(Key::Email), Some(Key::UserName)][self.rng.usize(..4)];
            let child = Person { under: under.clone(), ..self.person(key, 2012) };
            children.push(self.body_of(&child, "child"));
            wants.push(Want::There(child));
        }
        body["minor_registrations"] = children.into();
        let task = self.task("POST", "/api/v1.0/account/parent", Some(body), wants);
        self.maybe_again(task)
    }

    fn shadow(&mut self) -> Series {
        let body = json!({ "roleIdentifier": "shadow" });
        Draw::once(self.task("POST", "/api/account/shadow", Some(body), vec![Want::Unseen("account made")]))
    }

    fn consent(&mut self, with_eid: bool) -> Series {
        let person = Person { generation: Generation::Consent, ..self.person(with_eid.then_some(Key::Eid), 2012) };
        let body = json!({
            "locale": "en_US",
            "granter": { "email": format!("granter{}@mail.example", self.count), "notifications": [] },
            "principal": {
                "given_name": person.name,
                "birthdate": person.birth,
                "birthdate_precision": "yyyymmdd",
                "eid": person.key.as_ref().map(|(_, eid)| eid.as_str()),
            },
        });
        let want = if with_eid { Want::There(person) } else { Want::Unseen("consent requested") };
        let path = format!("{}/requests", self.service);
        let task = self.task("POST", &path, Some(body), vec![want]);
        // A repeat mails the parent again.
        Draw::once(Task { generation: Generation::Consent, repeatable: false, ..task })
    }

    /// By its email: of a delete by an id nothing in the ledger would tell whose it was.
    fn delete(&mut self, id: &str, email: &str) -> Series {
        let path = format!("/api/v1.0/account?email={email}");
        Draw::once(self.task("DELETE", &path, None, vec![Want::Gone(id.to_owned())]))
    }

    fn delete_member(&mut self, eid: &str, sid: &str) -> Series {
        let path = format!("{}/accounts/eid/{eid}", self.service);
        let task = self.task("DELETE", &path, None, vec![Want::Gone(sid.to_owned())]);
        Draw::once(Task { generation: Generation::Consent, ..task })
    }

    fn revoke(&mut self, sid: &str, granter: &str) -> Series {
        let features: &[&str] = if self.rng.bool() { &["chat"] } else { &["chat", "photos"] };
        let off = |feature: &&str| Want::Off { sid: sid.to_owned(), feature: (*feature).to_owned() };
        let wants = features.iter().map(off).collect();
        let path = format!("{}/accounts/sid/{sid}/{granter}/features/revoke", self.service);
        // A bare array; an earlier version of partners' code sent it within an object.
        let body = if self.rng.bool() { json!(features) } else { json!({ "features": features }) };
        let task = self.task("POST", &path, Some(body), wants);
        Draw::once(Task { generation: Generation::Consent, ..task })
    }

    fn assure(&mut self, sid: &str) -> Series {
        let path = format!("{}/accounts/sid/{sid}/attributes/nick/ial", self.service);
        let want = Want::Assured { sid: sid.to_owned(), attribute: "nick".to_owned(), ial: "2".to_owned() };
        let task = self.task("PATCH", &path, Some(json!({ "ial": 2 })), vec![want]);
        Draw::once(Task { generation: Generation::Consent, ..task })
    }

    fn read(&mut self, n: usize) -> Series {
        if n.is_multiple_of(3) {
            let body = json!({ "email": format!("person{n}@mail.example") });
            return Draw::once(self.task("POST", "/api/v1.0/account/check/email", Some(body), vec![Want::Nothing]));
        }
        let path = format!("/api/v1.0/account/lookup?email=person{n}%40mail.example");
        Draw::once(self.task("GET", &path, None, vec![Want::Nothing]))
    }

    fn mail(&mut self) -> Series {
        let body = json!({
            "requester_service_id": self.fixtures.canary.child,
            "approver_service_id": self.fixtures.canary.service_id,
        });
        Draw::once(self.task("POST", "/api/v1.0/consent/resend", Some(body), vec![Want::Unseen("mail sent")]))
    }

    /// What no answer shows.
    fn unseen(&mut self, method: &'static str, path: &str, what: &'static str) -> Series {
        Draw::once(self.task(method, path, None, vec![Want::Unseen(what)]))
    }

    /// A link to the verification of a consent.
    fn session(&mut self) -> Series {
        let path = format!("{}/consents/{}/verification/session", self.service, self.fixtures.canary.consent);
        let task = self.task("POST", &path, None, vec![Want::Unseen("session opened")]);
        Draw::once(Task { generation: Generation::Consent, ..task })
    }

    /// A registration's body, now and then in the spelling of older partners.
    fn body_of(&mut self, person: &Person, role: &str) -> Value {
        let older = self.rng.u8(..5) == 0;
        let names = if older {
            ["roleIdentifier", "firstName", "birthDate_YYYYMMDD", "userName", "externalUserIdentifier"]
        } else {
            ["role_identifier", "first_name", "birth_date_yyyymmdd", "user_name", "external_user_identifier"]
        };
        let mut body = Map::new();
        body.insert(names[0].to_owned(), role.into());
        body.insert(names[1].to_owned(), person.name.as_str().into());
        body.insert(names[2].to_owned(), person.birth.as_str().into());
        match &person.key {
            Some((Key::Email, email)) => body.insert("email".to_owned(), typed(email, self.rng).into()),
            Some((Key::UserName, name)) => body.insert(names[3].to_owned(), name.as_str().into()),
            Some((Key::ExternalId | Key::Eid, id)) => body.insert(names[4].to_owned(), id.as_str().into()),
            None => None,
        };
        body.into()
    }
}
