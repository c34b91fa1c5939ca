//! Who is there before the story begins: the accounts that controls name, customers of long ago, and consents that were
//! asked for in good time. All but the consents is put in by hand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use fastrand::Rng;
use serde_json::{Value, json};

use super::partner::Partner;
use super::task::{Key, Person};
use crate::clock::{Moment, Span};
use crate::sandbox::{Attribute, Feature, Generation, NewAccount, World};

/// How long ago the customers came.
const LONG_AGO: Span = Span::seconds(30 * 86_400);

/// The email, user name and external id of the account that is known to be there.
pub const CANARY_EMAIL: &str = "canary@partner.example";
pub const CANARY: &str = "canary";
/// A verification that is known to be there.
pub const VERIFIED: &str = "verified-canary";
/// The name and birth date of the canary's child.
pub const CHICK: (&str, &str) = ("Chick", "20150401");

/// Everybody who is there before the story begins.
pub struct Fixtures {
    pub canary: Canary,
    /// Emails of parents, under whom children are registered.
    pub parents: Vec<String>,
    /// Adults who will come again.
    pub customers: Vec<Person>,
    /// Ids and emails of adults who will be deleted.
    pub leaving: Vec<(String, String)>,
    /// Users of the consent service who will be changed or deleted, each in one way.
    pub members: Vec<Member>,
    /// Consents that were asked for and will be decided while the partner's webhook is down.
    pub asked: Vec<Asked>,
}

/// What the controls of the configuration name.
pub struct Canary {
    pub service_id: String,
    /// The canary's child.
    pub child: String,
    pub sid: String,
    pub consent: String,
}

/// A user of the consent service.
pub struct Member {
    pub sid: String,
    pub granter: String,
    pub eid: String,
}

/// A consent request that was answered.
#[derive(Clone)]
pub struct Asked {
    pub consent: String,
    pub sid: String,
    pub granter: String,
}

/// The sandbox's world; a panic elsewhere does not make it unreadable.
pub fn locked(world: &Arc<Mutex<World>>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fixtures {
    /// Puts everybody in. `scale` is the number of registrations to come.
    pub async fn assemble(world: &Arc<Mutex<World>>, partner: &Partner, scale: u32, rng: &mut Rng) -> Result<Fixtures> {
        let asked = ask(partner, scale / 50 + 2).await?;
        let canary_asks = ask_one(partner, CANARY).await?;
        let mut stage = Stage { world: locked(world), now: Moment::now(), rng };
        Ok(Fixtures {
            canary: stage.canary(canary_asks)?,
            parents: (0..scale / 25 + 2).map(|n| stage.parent(n)).collect::<Result<_>>()?,
            customers: (0..scale / 50 + 2).map(|n| stage.customer(n)).collect::<Result<_>>()?,
            leaving: (0..scale / 50 + 2).map(|n| stage.leaving(n)).collect::<Result<_>>()?,
            members: (0..scale / 25 + 6).map(|n| stage.member(n)).collect::<Result<_>>()?,
            asked,
        })
    }
}

struct Stage<'a> {
    world: MutexGuard<'a, World>,
    now: Moment,
    rng: &'a mut Rng,
}

impl Stage<'_> {
    fn add(&mut self, account: NewAccount) -> Result<String> {
        let made_ms = Some((self.now - LONG_AGO).0);
        let added = self.world.add_account(self.now.0, NewAccount { made_ms, ..account });
        added.map_err(|why| anyhow!("the demo's sandbox refuses an account: {why}"))
    }

    fn canary(&mut self, asked: Asked) -> Result<Canary> {
        let service_id = self.add(NewAccount {
            email: Some(CANARY_EMAIL.to_owned()),
            user_name: Some(CANARY.to_owned()),
            display_name: Some(CANARY.to_owned()),
            external_user_identifier: Some(CANARY.to_owned()),
            ..NewAccount::default()
        })?;
        let child = self.add(NewAccount {
            given_name: Some(CHICK.0.to_owned()),
            birth_date_yyyymmdd: Some(CHICK.1.to_owned()),
            parent_email: Some(CANARY_EMAIL.to_owned()),
            ..NewAccount::default()
        })?;
        self.world.verify(self.now.0, VERIFIED, "Pass");
        Ok(Canary { service_id, child, sid: asked.sid, consent: asked.consent })
    }

    fn parent(&mut self, n: u32) -> Result<String> {
        let email = format!("parent{n}@family.example");
        self.add(NewAccount { email: Some(email.clone()), ..NewAccount::default() })?;
        Ok(email)
    }

    fn customer(&mut self, n: u32) -> Result<Person> {
        let email = format!("customer{n}@known.example");
        let person = Person {
            generation: Generation::Gateway,
            key: Some((Key::Email, email.clone())),
            under: None,
            name: "Robin".to_owned(),
            birth: "19800229".to_owned(),
        };
        self.add(NewAccount {
            email: Some(email),
            given_name: Some(person.name.clone()),
            birth_date_yyyymmdd: Some(person.birth.clone()),
            ..NewAccount::default()
        })?;
        Ok(person)
    }

    fn leaving(&mut self, n: u32) -> Result<(String, String)> {
        let email = format!("leaving{n}@known.example");
        let id = self.add(NewAccount { email: Some(email.clone()), ..NewAccount::default() })?;
        Ok((id, email))
    }

    fn member(&mut self, n: u32) -> Result<Member> {
        let eid = format!("member-{n}");
        let feature = |name: &str| Feature { identifier: name.to_owned(), state: "on".to_owned() };
        let ial = self.rng.bool().then(|| "1".to_owned());
        let sid = self.add(NewAccount {
            eid: Some(eid.clone()),
            parent_email: Some(format!("granter{}@family.example", n / 2)),
            features: Some(vec![feature("chat"), feature("photos")]),
            attributes: vec![Attribute { identifier: "nick".to_owned(), value: json!("kim"), ial }],
            ..NewAccount::default()
        })?;
        let accounts = self.world.accounts().iter();
        let granter = accounts.rev().find(|account| account.service_id == sid).and_then(|a| a.parent.clone());
        Ok(Member { sid, granter: granter.context("a member without a granter")?, eid })
    }
}

async fn ask(partner: &Partner, count: u32) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for n in 0..count {
        asked.push(ask_one(partner, &format!("asked-{n}")).await?);
    }
    Ok(asked)
}

/// A consent request in good time, with its answer.
async fn ask_one(partner: &Partner, eid: &str) -> Result<Asked> {
    let body = json!({
        "locale": "en_US",
        "granter": { "email": format!("{eid}@granter.example"), "notifications": [] },
        "principal": { "given_name": "Kim", "birthdate": "20160504", "birthdate_precision": "yyyymmdd", "eid": eid },
    });
    let answer = partner.post(&partner.service_path("requests"), &body).await?;
    let text = |place: &str| answer.pointer(place).and_then(Value::as_str).map(str::to_owned);
    let asked = || {
        Some(Asked {
            consent: text("/consent_identifier")?,
            sid: text("/principal_identifiers/sid")?,
            granter: text("/granter_identifiers/sid")?,
        })
    };
    asked().context("the sandbox answered a consent request without its ids")
}
