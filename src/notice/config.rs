//! The sections of the configuration: `[ping]`, `[metrics]`, `[hook]` and `[[alert]]`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;
use url::Url;

use super::alert::{Condition, Rule};
use super::{Hook, Notices, On, Ping, ping};
use crate::clock::Span;
use crate::config::{Credential, Length, Secret};

/// A hook's timeout without one.
const HOOK_TIMEOUT: Span = Span::seconds(30);

/// A name of an alert is no longer, in characters.
const LONGEST_NAME: usize = 64;

/// The sections as they are written.
#[derive(Default)]
pub struct Sections {
    pub ping: Option<PingFile>,
    pub metrics: Option<Spanned<MetricsFile>>,
    pub hook: Option<Spanned<HookFile>>,
    pub alert: Vec<Spanned<AlertFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PingFile {
    url: Spanned<Address>,
    #[serde(default)]
    success: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsFile {
    file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookFile {
    command: Vec<String>,
    #[serde(default = "always")]
    on: On,
    timeout: Option<Length>,
}

fn always() -> On {
    On::Always
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertFile {
    name: Option<String>,
    pending_older_than: Option<Length>,
    pending_more_than: Option<u64>,
    duplicate_risk_more_than: Option<u64>,
    no_success_for: Option<Length>,
}

/// A URL as it is, or where it comes from.
struct Address(Secret);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Address;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a URL, { env = \"…\" } or { file = \"…\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
                Ok(Address(Secret::written(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Address, A::Error> {
                Secret::deserialize(MapAccessDeserializer::new(map)).map(Address)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Sections {
    /// Checks them. `folder` is where relative paths start; `at` tells file and line.
    ///
    /// # Errors
    /// With file, line and remedy, and without the ping's URL.
    pub fn check(self, folder: &Path, at: &dyn Fn(Range<usize>) -> String) -> Result<Notices> {
        let ping = self.ping.map(|ping| check_ping(ping, folder, at)).transpose()?;
        let metrics = self.metrics.map(|metrics| check_metrics(&metrics, folder, at)).transpose()?;
        let hook = self.hook.map(|hook| {
            let place = at(hook.span());
            check_hook(hook.into_inner(), folder).context(place)
        });
        let mut rules: Vec<Rule> = Vec::new();
        for alert in self.alert {
            let place = at(alert.span());
            let rule = check_alert(alert.into_inner()).with_context(|| place.clone())?;
            if rules.iter().any(|other| other.name == rule.name) {
                bail!("{place}: two alerts are named `{}` (give each a `name` of its own)", rule.name);
            }
            rules.push(rule);
        }
        Ok(Notices { ping, metrics, hook: hook.transpose()?, rules })
    }
}

fn check_ping(file: PingFile, folder: &Path, at: &dyn Fn(Range<usize>) -> String) -> Result<Ping> {
    let place = at(file.url.span());
    let url = Credential::of(&file.url.as_ref().0, folder, true, place.clone())?;
    if let Some(written) = url.written() {
        ping::parse(written).with_context(|| format!("{place}, `ping.url`"))?;
    }
    Ok(Ping { url, success: file.success })
}

fn check_metrics(file: &Spanned<MetricsFile>, folder: &Path, at: &dyn Fn(Range<usize>) -> String) -> Result<PathBuf> {
    let path = folder.join(&file.as_ref().file);
    if path.extension().is_none_or(|extension| extension != "prom") {
        bail!("{}: metrics.file must end in .prom (node_exporter reads no other)", at(file.span()));
    }
    Ok(path)
}

fn check_hook(file: HookFile, folder: &Path) -> Result<Hook> {
    let mut command = file.command;
    let Some(program) = command.first_mut().filter(|program| !program.is_empty()) else {
        bail!("hook.command is empty (write [\"program\", \"argument\", …])");
    };
    if program.contains('/') {
        // A bare name is looked for on the PATH; a path is relative to the configuration as every other.
        *program = folder.join(&program).to_string_lossy().into_owned();
    }
    let timeout = file.timeout.map_or(HOOK_TIMEOUT, |length| length.0);
    if timeout <= Span::ZERO {
        bail!("hook.timeout must be more than 0s");
    }
    Ok(Hook { command, on: file.on, timeout })
}

fn check_alert(file: AlertFile) -> Result<Rule> {
    let conditions = [
        file.pending_older_than.map(|length| Condition::PendingOlderThan(length.0)),
        file.pending_more_than.map(Condition::PendingMoreThan),
        file.duplicate_risk_more_than.map(Condition::DuplicateRiskMoreThan),
        file.no_success_for.map(|length| Condition::NoSuccessFor(length.0)),
    ];
    let mut conditions = conditions.into_iter().flatten();
    let (Some(condition), None) = (conditions.next(), conditions.next()) else {
        bail!(
            "an alert needs one condition, and one only: pending_older_than, pending_more_than, duplicate_risk_more_than or no_success_for"
        );
    };
    let name = file.name.unwrap_or_else(|| format!("{} {}", condition.key(), condition.limit()));
    if name.trim().is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        bail!("an alert's name must be 1 to {LONGEST_NAME} characters on one line");
    }
    Ok(Rule { name, condition })
}

/// An http or https URL. What is wrong is said without it, for it is a secret.
///
/// # Errors
/// When it is none.
pub(super) fn http_url(text: &str) -> Result<Url> {
    match Url::parse(text.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host_str().is_some() => Ok(url),
        _ => bail!("not an http or https URL (write it like \"https://host.example/path\")"),
    }
}
