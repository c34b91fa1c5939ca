//! The operations of one world, drawn: who asks for what, with twins, repeats under a new id, and foreign rivals.

use fastrand::Rng;

use super::ops::{Kind, Op, Person};
use super::story::Story;

/// Accounts that are there from the beginning, for deletes, updates and webhooks.
#[derive(Clone, Debug)]
pub struct Seeded {
    pub sid: String,
    pub eid: Option<String>,
    pub granter: Option<String>,
    pub consent: Option<String>,
}

/// Draws operations one after the other.
pub struct Fixtures<'a> {
    pub rng: &'a mut Rng,
    pub seeded: &'a mut Vec<Seeded>,
    pub parents: &'a [String],
    pub ops: Vec<Op>,
}

const NAMES: [&str; 12] = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ida", "Jon", "Kim", "Leo"];

impl Fixtures<'_> {
    /// The next operation.
    pub fn draw(&mut self, story: &Story) -> Op {
        let number = self.ops.len();
        let kind = if story.consent { self.consent_kind() } else { self.gateway_kind() };
        let mut op = Op::new(kind, format!("op-{number}"));
        self.fill(&mut op, number);
        // A client that crashed and forgot its operation asks for the same under a new id; twins look the same.
        if self.rng.u8(..100) < 8
            && let Some(other) = self.ops.iter().rev().find(|other| other.kind == kind && kind.creates())
        {
            (op.persons, op.owner) = (other.persons.clone(), other.owner.clone());
        }
        op
    }

    fn gateway_kind(&mut self) -> Kind {
        match self.rng.u8(..100) {
            0..34 => Kind::Email,
            34..44 => Kind::UserName,
            44..49 => Kind::External,
            49..53 => Kind::Display,
            53..69 => Kind::Child,
            69..81 => Kind::Family,
            81..84 => Kind::Shadow,
            84..86 => Kind::ResendMail,
            86..91 => Kind::DeleteById,
            91..94 => Kind::DeleteByQuery,
            94..96 => Kind::Read,
            96..98 => Kind::OtherEnvironment,
            98 => Kind::BadRow,
            _ => Kind::NoPlan,
        }
    }

    fn consent_kind(&mut self) -> Kind {
        match self.rng.u8(..100) {
            0..40 => Kind::Consent,
            40..46 => Kind::ConsentBlind,
            46..56 => Kind::Ial,
            56..72 => Kind::Revoke,
            72..82 => Kind::DeleteEid,
            82..96 => Kind::Webhook,
            _ => Kind::Read,
        }
    }

    fn fill(&mut self, op: &mut Op, number: usize) {
        let person = self.person(number, "");
        match op.kind {
            Kind::Email | Kind::OtherEnvironment | Kind::BadRow => {
                op.persons.push(Person { email: Some(format!("p{number}@x.example")), ..person });
            }
            Kind::UserName => {
                op.persons.push(Person { user_name: Some(format!("user{number}")), ..person });
                if self.rng.bool() {
                    op.owner = Some(self.parent());
                }
            }
            Kind::External => op.persons.push(Person { external: Some(format!("ext-{number}")), ..person }),
            Kind::Display => op.persons.push(Person { display: Some(format!("Disp{number}")), ..person }),
            Kind::Child => {
                op.persons.push(person);
                op.owner = Some(self.parent());
            }
            Kind::Family => {
                let email = Some(format!("par{number}@x.example"));
                op.persons.push(Person { email: email.clone(), birth_date: "19800101".to_owned(), ..person });
                for child in 0..1 + self.rng.usize(..3) {
                    let mut drawn = self.person(number, &format!("{child}"));
                    match self.rng.u8(..10) {
                        0..3 => drawn.email = Some(format!("kid{number}.{child}@x.example")),
                        3 => drawn.user_name = Some(format!("kid{number}x{child}")),
                        4 if child > 0 && !op.persons[child].keyed() => drawn = op.persons[child].clone(),
                        _ => {}
                    }
                    op.persons.push(drawn);
                }
                op.owner = email;
            }
            Kind::Shadow | Kind::NoPlan => {}
            Kind::Consent | Kind::ConsentBlind => {
                let eid = (op.kind == Kind::Consent).then(|| format!("eid-{number}"));
                op.persons.push(Person { eid, ..person });
                op.owner = Some(format!("granter{}@x.example", self.rng.usize(..20)));
            }
            Kind::ResendMail | Kind::Read => op.target = Some(self.seeded[0].sid.clone()),
            Kind::DeleteById | Kind::DeleteByQuery | Kind::DeleteEid | Kind::Ial | Kind::Revoke | Kind::Webhook => {
                self.aim(op);
            }
            // Only a twist deletes by an email.
            Kind::DeleteByEmail => {}
        }
    }

    /// Takes an account that is there; mostly each only once.
    fn aim(&mut self, op: &mut Op) {
        let last = self.seeded.len() - 1;
        let chosen = if last > 3 { self.seeded[last].clone() } else { self.seeded[self.rng.usize(..=last)].clone() };
        if last > 3 && self.rng.u8(..10) < 8 {
            self.seeded.pop();
        }
        op.granter = chosen.granter;
        op.target = match op.kind {
            Kind::DeleteEid => chosen.eid,
            Kind::Webhook => chosen.consent,
            _ => Some(chosen.sid),
        };
        op.features = match (op.kind, self.rng.u8(..3)) {
            (Kind::Ial, draw) => vec![format!("IAL{}", 2 + draw)],
            (_, 0) => vec!["chat".to_owned()],
            (_, 1) => vec!["photos".to_owned()],
            _ => vec!["chat".to_owned(), "photos".to_owned()],
        };
    }

    fn parent(&mut self) -> String {
        self.parents[self.rng.usize(..self.parents.len())].clone()
    }

    fn person(&mut self, number: usize, suffix: &str) -> Person {
        let name = NAMES[self.rng.usize(..NAMES.len())];
        Person {
            given_name: format!("{name}{number}{suffix}"),
            birth_date: format!("2016{:02}{:02}", self.rng.u8(1..13), self.rng.u8(1..29)),
            ..Person::default()
        }
    }
}
