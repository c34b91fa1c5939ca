//! What entries are linked by, and what tells them from each other: digests of keys and values under the ledger's salt.

use serde_json::Value;

use super::compare::Form;
use super::file::{Effect, Key, Lookup};
use super::parts::normalise;
use super::read::{Bad, LONGEST_KEY, Reader, SetProbe};
use super::template::Vars;
use super::values::find;
use crate::evidence::KeyDigest;

impl Reader<'_> {
    /// What tells this request from another under the same operation id: every kind of key, and every compared or written
    /// field, with the digest of its value.
    pub(super) fn values_of(
        &self,
        plan: &Effect,
        (body, element, vars): (&Value, &Value, &Vars),
        sets: &[SetProbe],
        compare: &[(String, Option<Value>)],
    ) -> Result<Vec<(String, KeyDigest)>, Bad> {
        let mut values = Vec::new();
        let keys = plan.keys.iter().map(|key| (key, element)).chain(plan.owner.iter().map(|key| (key, body)));
        for (key, place) in keys {
            let link = find(key, place, vars)?.and_then(|raw| self.key_link(key, &raw));
            values.extend(link.map(|link| (key.lookup.as_ref().clone(), link)));
        }
        let digest = |field: &str, form: Form, value: Option<&Value>| {
            Some((field.to_owned(), self.link(field, &form.of(value?)?)))
        };
        let forms = |field: &str| {
            let lookups =
                plan.keys.iter().chain(&plan.owner).filter_map(|key| self.plan.lookups.get(key.lookup.as_ref()));
            lookups.filter_map(|lookup| lookup.record.fields.get(field)).map(|field| field.form).next()
        };
        values.extend(compare.iter().filter_map(|(field, value)| digest(field, forms(field)?, value.as_ref())));
        values.extend(sets.iter().filter_map(|set| digest(&set.field, set.form, Some(&set.sent))));
        Ok(values)
    }

    /// The link of an owner's own record, where the plan names a lookup that finds it, or has one that finds it by the same
    /// request as its list.
    pub(super) fn owner_record(&self, key: &Key, raw: &str) -> Option<KeyDigest> {
        let list = &self.plan.lookups[key.lookup.as_ref()];
        let named = |name: &String| list.owner.as_ref().is_some_and(|owner| owner.as_ref() == name);
        let finds_it = |(name, lookup): &(&String, &Lookup)| named(name) || lookup.finds_owner_of(list);
        let (name, _) = self.plan.lookups.iter().find(finds_it)?;
        self.link_in(name, raw)
    }

    /// The link of a key, if anything can be looked up by it.
    pub(super) fn key_link(&self, key: &Key, raw: &str) -> Option<KeyDigest> {
        self.link_in(key.lookup.as_ref(), raw)
    }

    fn link_in(&self, lookup: &str, raw: &str) -> Option<KeyDigest> {
        let normalised = normalise(&self.plan.lookups[lookup].normalise, raw);
        let usable = !normalised.is_empty() && normalised.len() <= LONGEST_KEY;
        usable.then(|| self.link(lookup, &normalised))
    }
}
