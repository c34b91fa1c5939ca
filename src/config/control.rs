//! `[[control]]`: lookups whose answers are known beforehand.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Deserialize;
use toml::Spanned;

use super::values::NearKeys;
use crate::plan::parts::normalise;
use crate::plan::{Plan, or_none};

/// A configured control: a key that is known to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub lookup: String,
    pub key: String,
    /// Of a list: the server's id of a record that the owner is known to have.
    pub member: Option<String>,
    /// Keys that are nearly this one, and that nothing bears. `None`: this one without its first, and without its last letter.
    pub near: Option<Vec<String>>,
    /// What its record (of a list, the member) shows under the plan's comparisons, by the plan's names of fields.
    pub fields: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [[control]]")]
pub(super) struct ControlFile {
    pub(super) lookup: Spanned<String>,
    #[serde(alias = "owner")]
    key: String,
    member: Option<String>,
    #[serde(default)]
    near: NearKeys,
    #[serde(default)]
    fields: BTreeMap<String, serde_json::Value>,
}

/// A control as the plan knows its lookup.
///
/// # Errors
/// When the lookup is unknown or lists, and what the control says does not fit it.
pub(super) fn known(plan: &Plan, control: &ControlFile) -> Result<Known> {
    let lookup = plan.lookup(control.lookup.as_ref())?;
    if control.key.trim().is_empty() {
        bail!("the control's `key` is empty (give the key of an account that is known to exist)");
    }
    if let Some(unknown) = control.fields.keys().find(|field| !lookup.record.fields.contains_key(*field)) {
        let known = or_none(&lookup.record.fields.keys().cloned().collect::<Vec<_>>());
        bail!(
            "the control's `fields` names `{unknown}`, which the record of this lookup does not have (it has: {known})"
        );
    }
    if lookup.record.list.is_some() && control.member.is_none() {
        bail!("a control of a list needs `member` (the server's id of a record that the owner `key` is known to have)");
    }
    let normal = |key: &str| normalise(&lookup.normalise, key);
    let near = control.near.0.clone();
    if near.iter().flatten().any(|near| near.trim().is_empty() || normal(near) == normal(&control.key)) {
        bail!(
            "the control's `near` names an empty key or the known key itself (name keys that nothing bears, or write `near = false`)"
        );
    }
    let (lookup, key) = (control.lookup.as_ref().clone(), control.key.clone());
    Ok(Known { lookup, key, member: control.member.clone(), near, fields: control.fields.clone() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const GOOD: &str =
        "plan = \"privo-gateway\"\n[ledger]\npath = \"ledger.db\"\n[server]\nbase_url = \"http://127.0.0.1:1\"\n";

    #[test]
    fn a_control_s_fields_are_the_lookup_s() {
        let control = |field: &str| {
            format!(
                "{GOOD}\n[[control]]\nlookup = \"account-by-email\"\nkey = \"canary@partner.example\"\nfields = {{ {field} = \"Kim\" }}\n"
            )
        };
        let config = Config::parse(Path::new("c.toml"), &control("given_name")).unwrap();
        assert_eq!(config.controls.last().unwrap().fields["given_name"], "Kim");
        let said = format!("{:#}", Config::parse(Path::new("c.toml"), &control("shoe")).err().unwrap());
        assert!(said.contains("`shoe`") && said.contains("birth_date, given_name"), "{said}");
    }
}
