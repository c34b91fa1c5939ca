//! What a test or an engineer does to the platform without a request of the partner's.

use fastrand::Rng;
use serde::Deserialize;

use super::consent;
use super::mutation::Mutation;
use super::records::{Attribute, Details, Doing, Draft, Feature, Generation, Key, Kind, Verified, Way};
use super::world::World;

/// The cause of accounts that are put in without naming one.
pub const BY_HAND: &str = "by-hand";

/// An account to put in by hand. What is left out is not known of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewAccount {
    /// When left out: the consent service if there is an `eid`, else the gateway.
    pub generation: Option<Generation>,
    pub email: Option<String>,
    pub user_name: Option<String>,
    pub display_name: Option<String>,
    pub external_user_identifier: Option<String>,
    pub phone: Option<String>,
    pub eid: Option<String>,
    pub given_name: Option<String>,
    /// Any text: a record may hold a date that registration would refuse.
    pub birth_date_yyyymmdd: Option<String>,
    pub role_identifier: Option<String>,
    /// Puts the account under the one with this email. On the gateway it must exist;
    /// on the consent service a granter is made where there is none.
    pub parent_email: Option<String>,
    /// Puts the account under the one with this id.
    pub parent_sid: Option<String>,
    /// When left out: none on the gateway, `chat` and `photos` pending on the consent service.
    pub features: Option<Vec<Feature>>,
    pub attributes: Vec<Attribute>,
    /// When it was made, in milliseconds since the epoch; now when left out.
    pub made_ms: Option<i64>,
    /// The cause in the truth; [`BY_HAND`] when left out.
    pub cause: Option<String>,
}

/// What came of a repair by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Mutations that were applied now.
    pub applied: usize,
    /// Mutations that the server refused, see [`super::Truth::blocked`].
    pub blocked: usize,
}

impl World {
    /// Puts in an account and says its id; the error says what it is in conflict with.
    pub fn add_account(&mut self, now_ms: i64, account: NewAccount) -> Result<String, String> {
        self.apply_due(now_ms);
        let cause = account.cause.clone().unwrap_or_else(|| BY_HAND.to_owned());
        let mut rng = self.draws_by_hand();
        let mut doing =
            Doing { at_ms: account.made_ms.unwrap_or(now_ms), cause: &cause, way: Way::ByHand, rng: &mut rng };
        let by_eid = match account.eid {
            Some(_) => Generation::Consent,
            None => Generation::Gateway,
        };
        let generation = account.generation.unwrap_or(by_eid);
        let parent = self.parent_by_hand(now_ms, &mut doing, generation, &account)?;
        let draft = draft(generation, account, parent.is_some());
        if generation == Generation::Gateway
            && let Some(message) = self.records.conflict(generation, &[&draft])
        {
            return Err(message.to_owned());
        }
        if let Some(eid) = &draft.details.eid
            && self.records.by_key(generation, Key::Eid, eid, now_ms).is_some()
        {
            return Err("eid exists".to_owned());
        }
        Ok(self.records.insert(&mut doing, generation, &draft, parent.as_deref()))
    }

    fn parent_by_hand(
        &mut self,
        now_ms: i64,
        doing: &mut Doing,
        generation: Generation,
        account: &NewAccount,
    ) -> Result<Option<String>, String> {
        if let Some(sid) = &account.parent_sid {
            let parent = self.records.by_id(generation, sid, now_ms);
            parent.ok_or("parent not found")?;
            return Ok(Some(sid.clone()));
        }
        let Some(email) = &account.parent_email else {
            return Ok(None);
        };
        if generation == Generation::Consent {
            let granter = consent::granter_draft(Some(email.clone()));
            return Ok(Some(consent::granter_of(&mut self.records, doing, &granter)));
        }
        let parent = self.records.by_key(generation, Key::Email, email, now_ms);
        Ok(Some(parent.ok_or("parent not found")?.service_id.clone()))
    }

    /// Puts in an adult on the gateway that is known by its email alone, for controls.
    pub fn seed_canary(&mut self, now_ms: i64, email: &str) -> Result<String, String> {
        let canary = NewAccount { email: Some(email.to_owned()), ..NewAccount::default() };
        self.add_account(now_ms, canary)
    }

    /// Takes an account out, of either generation; says whether there was one.
    pub fn remove(&mut self, now_ms: i64, sid: &str) -> bool {
        self.apply_due(now_ms);
        let mut rng = self.draws_by_hand();
        let doing = Doing { at_ms: now_ms, cause: BY_HAND, way: Way::ByHand, rng: &mut rng };
        self.records.delete(&doing, sid)
    }

    /// Applies now what a request asked for and did not get: what was lost or refused with
    /// an error before it was applied, the rest of a family, and what is still scheduled.
    pub fn repair(&mut self, now_ms: i64, cause: &str) -> Repair {
        self.apply_due(now_ms);
        let mut mutations: Vec<Mutation> = self.unapplied.remove(cause).unwrap_or_default();
        let upcoming = self.scheduled.iter();
        let upcoming = upcoming.filter(|(_, scheduled)| scheduled.cause == cause);
        mutations.extend(upcoming.map(|(_, scheduled)| scheduled.mutation.clone()));
        self.scheduled.retain(|_, scheduled| scheduled.cause != cause);
        let mut repair = Repair::default();
        for mutation in mutations {
            let mut rng = self.draws_by_hand();
            let mut doing = Doing { at_ms: now_ms, cause, way: Way::Repaired, rng: &mut rng };
            match mutation.apply(&mut self.records, &mut doing) {
                Ok(_) => repair.applied += 1,
                Err(_) => repair.blocked += 1,
            }
        }
        repair
    }

    /// The granter decides: sets a consent's state (for example `granted` or `denied`) and
    /// turns the account's pending features on or off. Says whether there is such a consent.
    pub fn decide_consent(&mut self, now_ms: i64, identifier: &str, state: &str) -> bool {
        self.apply_due(now_ms);
        let mut rng = self.draws_by_hand();
        let doing = Doing { at_ms: now_ms, cause: BY_HAND, way: Way::ByHand, rng: &mut rng };
        let Some(sid) = self.records.set_consent(&doing, identifier, state) else {
            return false;
        };
        let turned = if state == "granted" { "on" } else { "off" };
        self.records.change(&doing, &sid, "features set", |state| {
            let pending = state.features.iter_mut().filter(|feature| feature.state == "pending");
            for feature in pending {
                feature.state = turned.to_owned();
            }
        })
    }
}

impl World {
    /// Somebody tries to be verified for this request, with this outcome; the attempt's id.
    pub fn verify(&mut self, now_ms: i64, request: &str, outcome: &str) -> String {
        self.apply_due(now_ms);
        let attempts = self.records.verifications.entry(request.to_owned()).or_default();
        let attempt_id = format!("{request}-{}", attempts.len() + 1);
        attempts.push(Verified { at_ms: now_ms, attempt_id: attempt_id.clone(), outcome: outcome.to_owned() });
        attempt_id
    }
}

fn draft(generation: Generation, account: NewAccount, has_parent: bool) -> Draft {
    let kind = match (generation, has_parent) {
        (Generation::Gateway, false) => Kind::Adult,
        (Generation::Gateway, true) => Kind::Child,
        (Generation::Consent, _) => Kind::Principal,
    };
    let features = account.features.unwrap_or_else(|| match generation {
        Generation::Gateway => Vec::new(),
        Generation::Consent => consent::default_features(),
    });
    Draft {
        details: Details {
            kind,
            email: account.email,
            user_name: account.user_name,
            display_name: account.display_name,
            external_user_identifier: account.external_user_identifier,
            phone: account.phone,
            eid: account.eid,
            given_name: account.given_name,
            birth_date: account.birth_date_yyyymmdd,
            role_identifier: account.role_identifier,
        },
        features,
        attributes: account.attributes,
    }
}

impl World {
    /// Draws for what no request asked for; they depend on the order of such acts alone.
    fn draws_by_hand(&mut self) -> Rng {
        self.acts_by_hand += 1;
        self.draws(0x6861_6e64, self.acts_by_hand)
    }
}
