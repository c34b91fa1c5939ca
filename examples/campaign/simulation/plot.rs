//! What the twists add to the operations of a world: more of them, other ones, and what happens to them.

use std::collections::BTreeMap;

use fastrand::Rng;
use privo_reconcile::sandbox::{Account, Feature, NewAccount};

use super::fixtures::Seeded;
use super::ops::{Kind, Op, Person};
use super::partner::{How, Removal};
use super::stage::{Event, Stage};
use super::story::{DAY, HOUR, MINUTE, SECOND};
use super::time;
use super::twist::Twist;

/// One operation of the cast while the twists change it: which it is, and when it is first sent.
struct Turn<'a> {
    stage: &'a mut Stage,
    rng: &'a mut Rng,
    op: usize,
    sent: i64,
}

/// Lets the twists of a world have their way with its operations. `sent` says when each is first sent.
pub fn thicken(stage: &mut Stage, sent: &[i64], seeded: &[Seeded]) {
    let twists: Vec<Twist> = stage.story.twists.iter().copied().collect();
    let mut rng = stage.wide.fork();
    if !twists.is_empty() && rng.u8(..4) > 0 {
        by_email(stage);
    }
    for twist in twists {
        for (op, sent) in sent.iter().enumerate() {
            let turn = Turn { stage, rng: &mut rng, op, sent: *sent };
            turn.take(twist, seeded);
        }
    }
    if stage.story.has(Twist::Rebuilt) {
        for _ in 0..rng.u8(1..4) {
            let at = time::BEGINNING + if rng.bool() { rng.i64(MINUTE..2 * HOUR) } else { rng.i64(HOUR..3 * DAY) };
            stage.at(at, Event::Rebuild(rng.usize(..TABLES.len())));
        }
    }
}

/// How migration tools make the table anew: as it was with a column more, without AUTOINCREMENT and without a word about
/// conflicts, and without any unique key.
pub const TABLES: [&str; 3] = [
    "id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE ON CONFLICT IGNORE, operation_id TEXT,
     direction TEXT DEFAULT 'outbound', method TEXT NOT NULL, url TEXT NOT NULL, body TEXT, sent_at TEXT NOT NULL,
     ended_at TEXT, failure TEXT, http_status INTEGER, error TEXT, tenant TEXT DEFAULT 'a'",
    "id INTEGER NOT NULL, request_id TEXT NOT NULL, operation_id TEXT, direction TEXT DEFAULT 'outbound',
     method TEXT NOT NULL, url TEXT NOT NULL, body TEXT, sent_at TEXT NOT NULL, ended_at TEXT, failure TEXT,
     http_status INTEGER, error TEXT, tenant VARCHAR(20) DEFAULT 'a, (b' NOT NULL, PRIMARY KEY (id),
     CONSTRAINT uq_request UNIQUE (request_id), CHECK (tenant <> '')",
    "id INTEGER PRIMARY KEY, request_id TEXT, operation_id TEXT, direction TEXT, method TEXT, url TEXT, body TEXT,
     sent_at TEXT, ended_at TEXT, failure TEXT, http_status INTEGER, error TEXT, tenant TEXT",
];

/// Lets deletes name accounts by their email. By a server's own id they may be of any record, which hides what else would
/// be said of one that is absent.
fn by_email(stage: &mut Stage) {
    let emails: BTreeMap<String, Option<String>> = {
        let world = stage.server.world.borrow();
        let pair = |account: &Account| (account.service_id.clone(), account.details.email.clone());
        world.accounts().iter().map(pair).collect()
    };
    for op in stage.ops.iter_mut().filter(|op| op.kind.deletes_by_id()) {
        let email = op.target.as_ref().and_then(|id| emails.get(id)).cloned().flatten();
        if let Some(email) = email {
            (op.kind, op.target) = (Kind::DeleteByEmail, Some(email));
        }
    }
}

impl Turn<'_> {
    fn take(self, twist: Twist, seeded: &[Seeded]) {
        match twist {
            Twist::Joins => self.joins(),
            Twist::Deletes => self.deletes(seeded),
            Twist::Bodies => self.corrected(),
            Twist::KnownPrincipals => self.known_principal(),
            Twist::Hosts => {
                let hosts = &self.stage.story.hosts;
                self.stage.ops[self.op].host_ms = hosts[self.rng.usize(..hosts.len())];
                self.just_before(4 * SECOND);
            }
            Twist::SlowLooks => self.just_before(20 * SECOND),
            Twist::TwoClocks => self.just_before(4 * SECOND),
            Twist::NoDate => self.just_before(5 * MINUTE),
            Twist::ServerHour => self.just_before(4 * SECOND),
            Twist::SharedIds => self.shared_id(),
            Twist::OddKeys => self.odd_key(seeded),
            Twist::DoubledNames => {
                let op = &mut self.stage.ops[self.op];
                let name = if self.stage.story.consent { "given_name" } else { "first_name" };
                let doubled = op.kind.creates() && self.rng.u8(..8) == 0;
                op.doubled = doubled.then(|| if self.rng.bool() { name } else { "" });
            }
            Twist::NearLists => self.near_list(),
            Twist::Shown => self.named_for_show(),
            Twist::Search => self.longer_key(),
            Twist::FoldedKeys => self.folded_key(),
            Twist::SoftDeleted => self.soft_deleted(),
            Twist::Replaced => self.replaced(),
            Twist::Refusals => self.second_key(),
            Twist::Vanishing => self.owner_vanishes(),
            // These show in the course of the world, or are habits of its server alone.
            Twist::LateRows | Twist::Advice | Twist::DeletedIntents => {}
            Twist::Permits | Twist::Rebuilt | Twist::NoTriggers | Twist::ClockSteps => {}
        }
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(..count) == 0
    }

    fn kind(&self) -> Kind {
        self.stage.ops[self.op].kind
    }

    fn creates(&self) -> bool {
        self.kind().creates()
    }

    /// The first person of the operation.
    fn person(&mut self) -> &mut Person {
        &mut self.stage.ops[self.op].persons[0]
    }

    /// Hours and days after the verdict it is sent again, or asked for under another id.
    fn joins(mut self) {
        let kind = self.kind();
        if !(kind.creates() || kind.deletes() || kind.updates()) || !self.one_in(4) {
            return;
        }
        let at = self.sent + self.rng.i64(HOUR..self.stage.story.windows.watch.min(5 * DAY));
        let how = match self.rng.u8(..6) {
            0 | 1 => How::Drawn,
            2 => How::OtherId,
            3 => How::Late,
            4 => How::Answered,
            _ => How::IntentStays,
        };
        self.stage.at(at, Event::Resend(self.op, how));
    }

    fn deletes(mut self, seeded: &[Seeded]) {
        let op = &self.stage.ops[self.op];
        if !op.kind.creates() || op.kind == Kind::Display {
            return;
        }
        let (keyed, owned, consent) = (op.persons[0].email.is_some(), op.owner.is_some(), self.stage.story.consent);
        if !self.one_in(5) || seeded.is_empty() {
            return;
        }
        if owned && !consent && self.one_in(4) {
            let at = self.sent + self.rng.i64(SECOND..HOUR);
            return self.stage.at(at, Event::RemoveOwner(self.op));
        }
        let removal = match (self.rng.u8(..4), keyed || consent, owned && !consent) {
            (0 | 1, _, true) => [Removal::OwnerById, Removal::OwnerByKey][self.rng.usize(..2)],
            (0..3, true, _) => Removal::RecordByKey,
            _ => Removal::RecordById,
        };
        let gap = if self.rng.bool() { self.rng.i64(SECOND..HOUR) } else { self.rng.i64(HOUR..2 * DAY) };
        self.stage.at(self.sent + gap, Event::Delete(self.op, removal));
    }

    /// Others remove an owner so soon that no look has seen what was listed under it.
    fn owner_vanishes(mut self) {
        if self.kind() == Kind::Child && self.one_in(12) {
            let at = self.sent + self.rng.i64(SECOND..5 * MINUTE);
            self.stage.at(at, Event::RemoveOwner(self.op));
        }
    }

    /// A retry under the same id bears a corrected name or another key.
    fn corrected(mut self) {
        if !self.creates() || self.kind() == Kind::Family || !self.one_in(4) {
            return;
        }
        let number = self.stage.ops.len();
        let shared = format!("wish-{}", self.op);
        let mut again = self.stage.ops[self.op].again(format!("op-{number}"));
        let person = &mut again.persons[0];
        match (&mut person.email, self.rng.bool()) {
            (Some(email), true) => *email = format!("right.{email}"),
            _ => person.given_name.push('x'),
        }
        again.shared_id = Some(shared.clone());
        again.keeps_success = self.rng.bool();
        self.stage.ops[self.op].shared_id = Some(shared);
        self.stage.ops.push(again);
        let at = self.sent + self.rng.i64(11 * SECOND..2 * HOUR);
        self.stage.at(at, Event::Send(number, 1));
    }

    /// The child has an account, which shows what became of an earlier request for consent, or nothing.
    fn known_principal(mut self) {
        if self.kind() != Kind::Consent || !self.one_in(3) {
            return;
        }
        let features = match self.rng.u8(..4) {
            0 => Vec::new(),
            draw => {
                let state = ["off", "pending", "on"][usize::from(draw) - 1];
                vec![Feature { identifier: "chat".to_owned(), state: state.to_owned() }]
            }
        };
        let other = self.one_in(5);
        let person = self.person().clone();
        let account = NewAccount {
            eid: person.eid,
            given_name: Some(if other { "Somebody".to_owned() } else { person.given_name }),
            birth_date_yyyymmdd: Some(person.birth_date),
            features: Some(features),
            made_ms: Some(time::BEGINNING - self.rng.i64(HOUR..100 * DAY)),
            ..NewAccount::default()
        };
        self.stage.at(time::BEGINNING + SECOND, Event::Foreign(Box::new(account)));
    }

    /// It shares its id with one or more of those before it, or with another child of the same parent.
    fn shared_id(mut self) {
        let kind = self.kind();
        if !(kind.creates() || kind.deletes() || kind.updates()) || !self.one_in(3) {
            return;
        }
        let shared = format!("trace-{}", self.op / 8);
        let own = &self.stage.ops[self.op];
        // The same request under the same id is another attempt of the same operation.
        let same = |other: &&Op| other.shared_id.as_ref() == Some(&shared) && other.asks_like(own);
        if self.stage.ops.iter().any(|other| same(&other)) {
            return;
        }
        self.stage.ops[self.op].shared_id = Some(shared.clone());
        if kind == Kind::Child && self.rng.bool() {
            let number = self.stage.ops.len();
            let mut sibling = self.stage.ops[self.op].again(format!("op-{number}"));
            sibling.persons[0].given_name.push('y');
            sibling.shared_id = Some(shared);
            sibling.keeps_success = self.rng.bool();
            self.stage.ops.push(sibling);
            let at = self.sent + self.rng.i64(0..MINUTE);
            self.stage.at(at, Event::Send(number, 1));
        }
    }

    /// Others make the same record just before it is asked for.
    fn just_before(mut self, most: i64) {
        if !self.creates() || self.kind() == Kind::Family || !self.one_in(4) {
            return;
        }
        let (person, owner) = (self.person().clone(), self.stage.ops[self.op].owner.clone());
        let account = NewAccount {
            email: person.email,
            user_name: person.user_name,
            external_user_identifier: person.external,
            display_name: person.display,
            eid: person.eid,
            given_name: Some(person.given_name),
            birth_date_yyyymmdd: Some(person.birth_date),
            parent_email: owner,
            ..NewAccount::default()
        };
        let at = self.sent - self.rng.i64(50..most);
        self.stage.at(at.max(time::BEGINNING + SECOND), Event::Foreign(Box::new(account)));
    }

    fn odd_key(mut self, seeded: &[Seeded]) {
        let op = self.op;
        match self.kind() {
            Kind::Email if self.rng.bool() => self.person().email = Some(format!("p{op}+kid@x.example")),
            Kind::UserName if self.rng.bool() => self.person().user_name = Some(format!("9007199254740993{op}")),
            Kind::External if self.one_in(4) => {}
            Kind::External => {
                // Neighbours that are one number to whoever keeps 53 bits of it; some are beyond 64 bits.
                let long = 9_007_199_254_740_992_u64 + u64::try_from(op).unwrap_or_default();
                let zeros = if self.one_in(3) { "0000000" } else { "" };
                self.person().external = Some(format!("{long}{zeros}"));
                self.stage.ops[self.op].numbered = true;
            }
            Kind::DeleteByQuery | Kind::DeleteByEmail if !seeded.is_empty() && self.rng.bool() => {
                let email = format!("old{op}+kid@x.example");
                let account = NewAccount { email: Some(email.clone()), ..NewAccount::default() };
                self.stage.at(time::BEGINNING + SECOND, Event::Foreign(Box::new(account)));
                let raw_plus = self.rng.bool();
                let task = &mut self.stage.ops[self.op];
                (task.kind, task.target, task.raw_plus) = (Kind::DeleteByEmail, Some(email), raw_plus);
            }
            _ => {}
        }
    }

    /// Others make nearly the same child under the same parent; or another operation asks for a twin.
    fn near_list(mut self) {
        if self.kind() != Kind::Child || !self.rng.bool() {
            return;
        }
        if self.one_in(4) {
            let twin = self.stage.add(self.op);
            let at = self.sent + self.rng.i64(0..HOUR);
            return self.stage.at(at, Event::Send(twin, 1));
        }
        let (person, owner) = (self.person().clone(), self.stage.ops[self.op].owner.clone());
        let (name, date) = (person.given_name, person.birth_date);
        let other_day = || {
            let last = if date.ends_with('1') { '2' } else { '1' };
            format!("{}{last}", &date[..date.len() - 1])
        };
        let (name, date) = match self.rng.u8(..5) {
            0 => (name.to_uppercase(), date.clone()),
            1 => (format!(" {name} "), date.clone()),
            2 => (format!("{name}u"), date.clone()),
            _ => (name, other_day()),
        };
        let account = NewAccount {
            given_name: Some(name),
            birth_date_yyyymmdd: Some(date),
            parent_email: owner,
            ..NewAccount::default()
        };
        let at =
            if self.one_in(4) { time::BEGINNING + SECOND } else { self.sent + self.rng.i64(-MINUTE / 2..2 * HOUR) };
        self.stage.at(at, Event::Foreign(Box::new(account)));
    }

    /// Names that can be shown otherwise than they were sent.
    fn named_for_show(self) {
        let odd = ["O'Hara", "Mary Ann", "Zoé", "Jörg", "Kim & Co"];
        let op = self.op;
        for person in 0..self.stage.ops[op].persons.len() {
            if self.rng.u8(..4) > 0 {
                let name = odd[self.rng.usize(..odd.len())];
                self.stage.ops[op].persons[person].given_name = format!("{name}{op}.{person}");
            }
        }
    }

    /// Somebody else bears a key of which this one is a part.
    fn longer_key(mut self) {
        if !self.creates() || !self.one_in(3) {
            return;
        }
        let longer = |key: &Option<String>, before: bool| {
            key.as_ref().map(|key| if before { format!("z{key}") } else { format!("{key}.z") })
        };
        let before = self.rng.bool();
        let same = self.rng.bool();
        let person = self.person().clone();
        let account = NewAccount {
            email: longer(&person.email, before),
            user_name: longer(&person.user_name, before),
            external_user_identifier: longer(&person.external, before),
            display_name: longer(&person.display, before),
            eid: longer(&person.eid, before),
            given_name: Some(if same { person.given_name } else { "Somebody".to_owned() }),
            birth_date_yyyymmdd: Some(person.birth_date),
            ..NewAccount::default()
        };
        let at = self.sent + self.rng.i64(-MINUTE / 2..HOUR);
        self.stage.at(at, Event::Foreign(Box::new(account)));
    }

    /// Another operation, or somebody else, writes the key in capitals.
    fn folded_key(self) {
        let person = self.stage.ops[self.op].persons.first().cloned().unwrap_or_default();
        if !self.creates() || (person.external.is_none() && person.display.is_none() && person.eid.is_none()) {
            return;
        }
        let capitals = |key: &Option<String>| key.as_ref().map(|key| key.to_uppercase());
        let (external, display, eid) = (capitals(&person.external), capitals(&person.display), capitals(&person.eid));
        match self.rng.u8(..4) {
            0 => {
                let other = self.stage.add(self.op);
                let task = &mut self.stage.ops[other].persons[0];
                (task.external, task.display, task.eid) = (external, display, eid);
                let at = self.sent + self.rng.i64(0..HOUR);
                self.stage.at(at, Event::Send(other, 1));
            }
            1 => {
                let account = NewAccount {
                    external_user_identifier: external,
                    display_name: display,
                    eid,
                    given_name: Some("Somebody".to_owned()),
                    ..NewAccount::default()
                };
                let at = self.sent + self.rng.i64(-MINUTE / 2..HOUR);
                self.stage.at(at, Event::Foreign(Box::new(account)));
            }
            _ => {}
        }
    }

    /// An account with its key was there once and was deleted.
    fn soft_deleted(mut self) {
        if !self.creates() || !self.one_in(4) {
            return;
        }
        let person = self.person().clone();
        if !person.keyed() {
            return;
        }
        let account = NewAccount {
            email: person.email,
            user_name: person.user_name,
            external_user_identifier: person.external,
            display_name: person.display,
            eid: person.eid,
            given_name: Some(person.given_name),
            cause: Some(format!("gone-{}", self.op)),
            ..NewAccount::default()
        };
        self.stage.at(time::BEGINNING + SECOND, Event::Foreign(Box::new(account)));
        let at =
            if self.rng.bool() { time::BEGINNING + 2 * SECOND } else { self.sent + self.rng.i64(-MINUTE / 2..HOUR) };
        self.stage.at(at, Event::RemoveCausedBy(format!("gone-{}", self.op)));
    }

    /// The record under the key of a delete is replaced: before it is sent, or after it was applied; by others or by a
    /// request for consent of the partner's own.
    fn replaced(self) {
        let Some(eid) = self.stage.ops[self.op].target.clone().filter(|_| self.kind() == Kind::DeleteEid) else {
            return;
        };
        let number = self.stage.ops.len();
        let person = Person { eid: Some(eid.clone()), given_name: "Kim".to_owned(), ..Person::default() };
        let asks = Op {
            persons: vec![person],
            owner: Some("granter0@x.example".to_owned()),
            ..Op::new(Kind::Consent, format!("op-{number}"))
        };
        let other =
            || NewAccount { eid: Some(eid.clone()), given_name: Some("Kim".to_owned()), ..NewAccount::default() };
        match self.rng.u8(..7) {
            // Asked for before, so that its record was seen; then others replace it, and only then the delete is sent.
            0 | 3 => {
                self.stage.ops.push(asks);
                self.stage.at(time::BEGINNING + 10 * SECOND, Event::Send(number, 0));
                self.stage.at(self.sent - 20 * SECOND, Event::RemoveUnder(eid.clone()));
                self.stage.at(self.sent - 10 * SECOND, Event::Foreign(Box::new(other())));
            }
            1 => {
                let at = self.sent + self.rng.i64(MINUTE..6 * HOUR);
                self.stage.at(at, Event::Foreign(Box::new(other())));
            }
            2 => {
                self.stage.ops.push(asks);
                let at = self.sent + self.rng.i64(-MINUTE / 2..6 * HOUR);
                self.stage.at(at, Event::Send(number, 1));
            }
            // While a request that may make it is in doubt, nobody is under the key, and then another one.
            4 | 5 => {
                self.stage.ops.push(asks);
                self.stage.at(self.sent + self.rng.i64(SECOND..MINUTE), Event::Send(number, 0));
                let gone = self.sent + self.rng.i64(MINUTE..20 * MINUTE);
                self.stage.at(gone, Event::RemoveUnder(eid.clone()));
                let back = gone + self.rng.i64(10 * MINUTE..self.stage.story.windows.server_error.max(HOUR));
                self.stage.at(back, Event::Foreign(Box::new(other())));
            }
            _ => {}
        }
    }

    /// It bears two keys, and somebody else has one of them.
    fn second_key(mut self) {
        let op = self.op;
        if self.kind() == Kind::Child {
            self.stage.ops[op].keeps_success = self.rng.bool();
        }
        if self.kind() != Kind::Email || !self.rng.bool() {
            return;
        }
        self.person().user_name = Some(format!("second{op}"));
        let account = NewAccount {
            user_name: Some(format!("second{op}")),
            given_name: Some("Somebody".to_owned()),
            ..NewAccount::default()
        };
        let at = self.sent + if self.rng.bool() { -MINUTE / 2 } else { self.rng.i64(-MINUTE / 2..HOUR) };
        self.stage.at(at, Event::Foreign(Box::new(account)));
    }
}
