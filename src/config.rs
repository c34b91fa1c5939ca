//! The configuration: one TOML file, told apart from every mistake with file, line and remedy.

pub mod auth;
mod control;
mod credential;
mod files;
mod ledger;
pub mod places;
mod run;
mod schedule;
mod server;
pub mod starter;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

pub(crate) use crate::clock::Length;
use crate::clock::Span;
use crate::evidence::Windows;
use crate::exit::Refused;
use crate::import::Mapping;
use crate::inputs;
use crate::log;
use crate::mistake::{line_of, toml_error};
use crate::notice::{AlertFile, HookFile, MetricsFile, Notices, PingFile, Sections};
use crate::plan::{Plan, Reader, SHIPPED, UnknownParam, or_none};
use crate::pseudonym::{Key, Keys, SHORTEST_KEY};
use crate::retention::Retention;
pub use auth::Auth;
use auth::AuthFile;
pub use control::Known;
use control::{ControlFile, known};
pub use credential::Credential;
pub(crate) use credential::Secret;
use ledger::LedgerFile;
pub use ledger::{Database, Place};
use places::Places;
pub use server::{Host, Server};
use server::{HostFile, ServerFile};
use values::Zone;

pub use schedule::{STOP_TIMEOUT, Scheduled};
pub use values::zone;

/// A checked configuration: paths are absolute or relative to where the program runs, secrets are read.
#[derive(Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The plan with its parameters.
    pub plan: Plan,
    /// The plan's file; `None`: it is a shipped one.
    pub plan_file: Option<PathBuf>,
    /// Where the ledger is.
    pub ledger: Place,
    /// The server that is asked.
    pub server: Server,
    /// `None`: the server lets everybody in.
    pub auth: Option<Auth>,
    /// The plan's other hosts, by the names that it has for them.
    pub hosts: BTreeMap<String, Host>,
    /// The settle windows.
    pub windows: Windows,
    /// The known keys.
    pub controls: Vec<Known>,
    /// Where `run` leaves a dated report of what changed.
    pub report_dir: Option<PathBuf>,
    /// The partner's name, for PRIVO support.
    pub partner: Option<String>,
    /// Times that people read are told in this zone too.
    pub time_zone: Option<chrono_tz::Tz>,
    /// The exit codes that `run` gives as 0.
    pub success: Vec<u8>,
    /// Where columns stand in imported files, by the mapping's name.
    pub imports: BTreeMap<String, Mapping>,
    /// Who is told of runs.
    pub notices: Notices,
    /// What logs look like.
    pub log: log::Settings,
    /// When the job runs by its own clock; `None`: something else starts it.
    pub schedule: Option<Scheduled>,
    /// So long after the verdict personal fields stay; `None`: nothing says so.
    pub retention: Option<Span>,
    /// `None`: entries have no pseudonyms.
    pub pseudonym: Option<PseudonymKeys>,
}

/// Where the keys of pseudonyms come from.
#[derive(Clone, Debug)]
pub struct PseudonymKeys {
    key: Credential,
    previous: Vec<Credential>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plan: Spanned<String>,
    #[serde(default)]
    params: BTreeMap<Spanned<String>, String>,
    ledger: Spanned<LedgerFile>,
    server: ServerFile,
    auth: Option<Spanned<AuthFile>>,
    #[serde(default)]
    hosts: BTreeMap<Spanned<String>, HostFile>,
    #[serde(default)]
    settle: SettleFile,
    #[serde(default)]
    control: Vec<ControlFile>,
    report: Option<ReportFile>,
    #[serde(default)]
    run: run::RunFile,
    #[serde(default)]
    import: BTreeMap<String, Spanned<Mapping>>,
    ping: Option<PingFile>,
    metrics: Option<Spanned<MetricsFile>>,
    hook: Option<Spanned<HookFile>>,
    #[serde(default)]
    alert: Vec<Spanned<AlertFile>>,
    #[serde(default)]
    log: log::Settings,
    pseudonym: Option<PseudonymFile>,
    retention: Option<Retention>,
    schedule: Option<schedule::ScheduleFile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [settle]")]
struct SettleFile {
    network: Option<Length>,
    server_error: Option<Length>,
    intent: Option<Length>,
    replica_lag: Option<Length>,
    confirm_after: Option<Length>,
    expire_after: Option<Length>,
    webhook: Option<Length>,
    watch: Option<Length>,
    writer_error: Option<Length>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [report]")]
struct ReportFile {
    dir: Option<PathBuf>,
    partner: Option<String>,
    time_zone: Option<Zone>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, [pseudonym]")]
struct PseudonymFile {
    key: Spanned<Secret>,
    #[serde(default)]
    previous: Vec<Spanned<Secret>>,
}

#[expect(clippy::disallowed_methods, reason = "this is the edge")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the environment has nothing against colours on a terminal (<https://no-color.org>).
pub fn colours_wanted() -> bool {
    environment("NO_COLOR").is_none() && environment("TERM").is_none_or(|terminal| terminal != "dumb")
}

impl Config {
    /// Reads the named configuration, or the first of the usual places that exists.
    ///
    /// # Errors
    /// One message with file, line and remedy. It never holds a secret.
    pub fn load(named: Option<&Path>) -> Result<Config> {
        Config::load_from(&Places::look(named))
    }

    /// As [`Config::load`], from places that were looked at already.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from(places: &Places) -> Result<Config> {
        let remedy = "`init` writes one; or name one with --config, or run `demo` to see one at work";
        let file = places
            .chosen()
            .ok_or_else(|| anyhow!("no configuration found (looked for one: {}; {remedy})", places.shown()))?;
        let text = inputs::read_text(file, inputs::LARGEST).with_context(|| {
            format!(
                "failed to read the configuration {} (is the path right, and may this user read it?)",
                file.display()
            )
        })?;
        let config = Config::parse(file, &text)?;
        config.refuse_ledger_as_input()?;
        Ok(config)
    }

    /// Reads entries under this configuration, with the digests of one ledger.
    pub fn reader<'a>(&'a self, salt: &'a [u8]) -> Reader<'a> {
        Reader { plan: &self.plan, server: &self.server.base_url, salt, also: &self.server.also }
    }

    /// Checks a configuration's text. Relative paths in it start at the file's folder.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &Path, text: &str) -> Result<Config> {
        let place = file.display().to_string();
        let deserializer = toml::Deserializer::parse(text).map_err(|error| toml_error(&place, text, "", &error))?;
        let read: File = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| toml_error(&place, text, &error.path().to_string(), error.inner()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let at = |span: std::ops::Range<usize>| format!("{place}, line {}", line_of(text, span.start));
        let params = read.params.iter().map(|(name, value)| (name.as_ref().clone(), value.clone())).collect();
        let plan = load_plan(folder, read.plan.as_ref(), &params).map_err(|error| {
            let unknown = error.downcast_ref::<UnknownParam>();
            let param = unknown.and_then(|unknown| read.params.keys().find(|name| *name.as_ref() == unknown.name));
            error.context(at(param.map_or(read.plan.span(), Spanned::span)))
        })?;
        let controls =
            read.control.iter().map(|control| known(&plan, control).with_context(|| at(control.lookup.span())));
        let controls = controls.collect::<Result<Vec<_>>>()?;
        let auth = |auth: Option<Spanned<AuthFile>>| {
            auth.map(|auth| {
                let span = auth.span();
                auth.into_inner().check(folder, &at, span)
            })
            .transpose()
        };
        let mut hosts = BTreeMap::new();
        for (name, host) in read.hosts {
            let (place, name) = (at(name.span()), name.into_inner());
            if !plan.hosts().contains(name.as_str()) {
                let known: Vec<String> = plan.hosts().into_iter().map(str::to_owned).collect();
                bail!("{place}: the plan names no host `{name}` (it names: {})", or_none(&known));
            }
            hosts.insert(name, Host { base_url: host.base_url.0, auth: auth(host.auth)? });
        }
        let pseudonym = match read.pseudonym {
            None => None,
            Some(keys) => {
                let key = |key: &Spanned<Secret>| Credential::of(key.as_ref(), folder, false, at(key.span()));
                let previous = keys.previous.iter().map(key).collect::<Result<_>>()?;
                Some(PseudonymKeys { key: key(&keys.key)?, previous })
            }
        };
        for (name, mapping) in &read.import {
            let check = mapping.as_ref().check().map_err(|why| anyhow!("`import.{name}`: {why}"));
            check.with_context(|| at(mapping.span()))?;
        }
        let span = read.ledger.span();
        let ledger = read.ledger.into_inner().checked(folder, &at, span)?;
        let notices = Sections { ping: read.ping, metrics: read.metrics, hook: read.hook, alert: read.alert };
        let notices = notices.check(folder, &at)?;
        let schedule = read.schedule.map(|schedule| schedule.check(&at)).transpose()?;
        let report = read.report.unwrap_or_default();
        Ok(Config {
            file: file.to_owned(),
            plan,
            plan_file: plan_file(folder, read.plan.as_ref()),
            ledger,
            server: read.server.checked(folder, &at)?,
            auth: auth(read.auth)?,
            hosts,
            windows: read.settle.windows(),
            controls,
            time_zone: report.time_zone.map(|zone| zone.0),
            partner: report.partner,
            report_dir: report.dir.map(|dir| folder.join(dir)),
            success: read.run.success(),
            imports: read.import.into_iter().map(|(name, mapping)| (name, mapping.into_inner())).collect(),
            notices,
            log: read.log,
            pseudonym,
            retention: read.retention.map(Retention::settled),
            schedule,
        })
    }

    /// The environment variables that hold credentials: no program that the job starts gets to see them.
    pub fn secret_variables(&self) -> Vec<&str> {
        self.credentials().filter_map(Credential::variable).collect()
    }

    fn credentials(&self) -> impl Iterator<Item = &Credential> {
        let ping = self.notices.ping.iter().map(|ping| &ping.url);
        let pseudonym = self.pseudonym.iter().flat_map(|keys| std::iter::once(&keys.key).chain(&keys.previous));
        self.auths().flat_map(Auth::credentials).chain(ping).chain(pseudonym).chain(self.ledger.credential())
    }

    /// How each server lets the job in.
    pub fn auths(&self) -> impl Iterator<Item = &Auth> {
        self.auth.iter().chain(self.hosts.values().filter_map(|host| host.auth.as_ref()))
    }

    /// Where the lookups of one of the plan's hosts go; `None` is the server itself. `None` comes back for a host that the
    /// configuration does not name.
    pub fn base_of(&self, host: Option<&str>) -> Option<&Url> {
        match host {
            None => Some(&self.server.base_url),
            Some(name) => self.hosts.get(name).map(|host| &host.base_url),
        }
    }

    /// The keys of pseudonyms, read now. `None` when none are configured.
    ///
    /// # Errors
    /// [`Refused`] when one cannot be read, or is too short to keep a subject from being guessed.
    pub fn pseudonym_keys(&self) -> Result<Option<Keys>> {
        let key = |credential: &Credential| {
            let secret = credential.read().map_err(|error| Refused(format!("{error:#}")))?;
            Key::new(secret).ok_or_else(|| {
                let remedy = "make one with `openssl rand -base64 32`";
                Refused(format!("{}: the key has fewer than {SHORTEST_KEY} bytes ({remedy})", credential.place()))
            })
        };
        let Some(keys) = &self.pseudonym else { return Ok(None) };
        let previous = keys.previous.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Some(Keys { current: key(&keys.key)?, previous }))
    }

    /// How long a stop waits for what is in flight.
    pub fn stop_timeout(&self) -> Span {
        self.schedule.as_ref().map_or(STOP_TIMEOUT, |schedule| schedule.stop_timeout)
    }
}

/// Where a plan is read from; `None`: it is a shipped one.
fn plan_file(folder: &Path, name: &str) -> Option<PathBuf> {
    (!SHIPPED.iter().any(|(shipped, _)| *shipped == name)).then(|| folder.join(name))
}

fn load_plan(folder: &Path, name: &str, params: &BTreeMap<String, String>) -> Result<Plan> {
    if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        return Plan::load(&format!("the plan {name}"), text, params);
    }
    let file = folder.join(name);
    let shipped = SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = inputs::read_text(&file, inputs::LARGEST).with_context(|| {
        format!("failed to read the plan {} (shipped plans: {shipped}; anything else is a path)", file.display())
    })?;
    Plan::load(&file.display().to_string(), &text, params)
}

impl SettleFile {
    fn windows(&self) -> Windows {
        let usual = Windows::default();
        let or = |length: Option<Length>, usual: Span| length.map_or(usual, |length| length.0);
        Windows {
            network: or(self.network, usual.network),
            server_error: or(self.server_error, usual.server_error),
            intent: or(self.intent, usual.intent),
            replica_lag: or(self.replica_lag, usual.replica_lag),
            confirm_after: or(self.confirm_after, usual.confirm_after),
            expire_after: or(self.expire_after, usual.expire_after),
            webhook: or(self.webhook, usual.webhook),
            watch: or(self.watch, usual.watch),
            writer_error: or(self.writer_error, usual.writer_error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
plan = "privo-gateway"
[ledger]
path = "ledger.db"
[server]
base_url = "http://127.0.0.1:1"
[auth]
token_url = "http://127.0.0.1:1/oauth/token"
client_id = { value = "partner" }
client_secret = { file = "secret" }
[settle]
network = "1s"
[[control]]
lookup = "account-by-email"
key = "canary@partner.example"
"#;

    fn message(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "hush\n").unwrap();
        let config = Config::parse(&folder.path().join("privo-reconcile.toml"), text);
        let read = |config: Config| config.auths().flat_map(Auth::credentials).try_for_each(|one| one.read().map(drop));
        match config.and_then(read) {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_good_one_is_taken() {
        assert_eq!(message(GOOD), "");
    }

    #[test]
    fn mistakes_are_told_with_line_and_remedy_and_without_secrets() {
        for (from, to, expected) in [
            ("network = \"1s\"", "network = \"1 week\"", "line 12, `settle.network`: not a duration"),
            ("network = \"1s\"", "netwrk = \"1s\"", "line 12, `settle.netwrk`: unknown field"),
            (
                "lookup = \"account-by-email\"",
                "lookup = \"account-by-mail\"",
                "line 14: unknown lookup `account-by-mail` (the plan has: account-by-display-name",
            ),
            ("plan = \"privo-gateway\"", "plan = \"privo-consent\"", "needs the parameter `service`"),
            ("plan = \"privo-gateway\"", "plan = \"mine.toml\"", "failed to read the plan"),
            ("{ file = \"secret\" }", "{ value = \"hush\" }", "line 10: a secret is never written"),
            ("{ file = \"secret\" }", "{ env = \"PRIVO_RECONCILE_UNSET\" }", "PRIVO_RECONCILE_UNSET is not set"),
            ("client_secret = { file = \"secret\" }", "client_secret = \"hush\"", "line 10"),
            (
                "client_secret = { file = \"secret\" }",
                "client_secret = 271828",
                "`auth.client_secret`: invalid type: integer,",
            ),
            (
                "client_secret = { file = \"secret\" }",
                "client_secret = \"hush\"",
                "line 10, `auth.client_secret`: invalid type: string, expected where it comes from, like { env = \"…\" }",
            ),
            (
                "{ file = \"secret\" }",
                "{ file = \"hidden\" }",
                "hidden (is the path right, and may this user read it?)",
            ),
            (
                "\"1s\"",
                "15",
                "line 12, `settle.network`: invalid type: integer, expected a duration (write <integer>s,",
            ),
            (
                "\"ledger.db\"",
                "5",
                "line 4, `ledger.path`: invalid type: integer, expected a path (write it in quotes)",
            ),
            (
                "\"partner\"",
                "5",
                "line 9, `auth.client_id.value`: invalid type: integer, expected a string (write it in",
            ),
            ("[ledger]\npath =", "ledger =", "line 3, `ledger`: invalid type: string, expected a table, [ledger]"),
            ("http://127.0.0.1:1\"", "127.0.0.1\"", "line 6, `server.base_url`: not a URL"),
            ("[ledger]", "[ledger", "line 3"),
            (
                "key = \"canary@partner.example\"",
                "key = \"canary@partner.example\"\nnear = \"canary\"",
                "line 16, `control[0].near`: invalid type: string, expected keys that nothing bears",
            ),
            (
                "key = \"canary@partner.example\"",
                "key = \"canary@partner.example\"\nnear = [\"x\", \" Canary@partner.example\"]",
                "line 14: the control's `near` names an empty key or the known key itself",
            ),
            (
                "key = \"canary@partner.example\"",
                "key = \"canary@partner.example\"\nnear = [\"\"]",
                "line 14: the control's `near` names an empty key",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let said = message(&GOOD.replacen(from, to, 1));
            assert!(said.contains(expected), "{to}: {said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn limits_are_told_with_their_line() {
        for (setting, expected) in [
            ("requests_per_second = 0", "must be a number of more than 0 and at most"),
            ("requests_per_second = nan", "must be a number of more than 0"),
            (
                "requests_per_second = \"5\"",
                "invalid type: string, expected a number of more than 0 and at most 1000000",
            ),
            ("concurrency = 0", "must be a whole number from 1 to 1024"),
            ("concurrency = 1025", "must be a whole number from 1 to 1024"),
            ("concurrency = -1", "must be a whole number from 1 to 1024"),
            ("timeout = \"0s\"", "must be more than 0s"),
        ] {
            let said = message(&GOOD.replacen("[auth]", &format!("{setting}\n[auth]"), 1));
            let key = setting.split(' ').next().unwrap_or_default();
            assert!(
                said.contains(&format!("line 7, `server.{key}`: ")) && said.contains(expected),
                "{setting}: {said}"
            );
        }
        assert_eq!(message(&GOOD.replacen("[auth]", "requests_per_second = 0.5\nconcurrency = 1024\n[auth]", 1)), "");
    }

    #[test]
    fn parameters_are_told_with_their_line() {
        let text =
            |params: &str| GOOD.replacen("plan = \"privo-gateway\"", &format!("plan = \"privo-consent\"\n{params}"), 1);
        for (params, expected) in [
            ("params = { servce = \"acme\" }", "line 3: the plan privo-consent has no parameter `servce` (take it out"),
            ("[params]\nservice = \"acme\"\nother = \"x\"", "line 5: the plan privo-consent has no parameter `other`"),
            ("params = {}", "line 2: the plan privo-consent needs the parameter `service` (set it in"),
            ("params = { service = 5 }", "line 3, `params`: invalid type: integer, expected a string (write it in"),
        ] {
            let said = message(&text(params));
            assert!(said.contains(expected), "{params}: {said}");
        }
    }

    #[test]
    fn keys_of_pseudonyms_are_read_when_needed_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("long"), "a key of more than 16 bytes\n").unwrap();
        std::fs::write(folder.path().join("short"), "hush\n").unwrap();
        let keys = |section: &str| {
            let text = format!("{GOOD}[pseudonym]\n{section}\n");
            let config = Config::parse(&folder.path().join("privo-reconcile.toml"), &text)?;
            config.pseudonym_keys()
        };
        assert_eq!(keys("key = { file = \"long\" }").unwrap().unwrap().previous.len(), 0);
        assert_eq!(
            keys("key = { file = \"long\" }\nprevious = [{ file = \"long\" }]").unwrap().unwrap().previous.len(),
            1
        );
        for (section, expected) in [
            ("key = { file = \"short\" }", "line 17: the key has fewer than 16 bytes"),
            ("key = { file = \"missing\" }", "line 17: failed to read the credential"),
            ("key = { value = \"hush-hush-hush-hush\" }", "line 17: a secret is never written"),
            ("key = { file = \"long\" }\nprevious = [{ file = \"short\" }]", "line 18: the key has fewer"),
            ("", "`pseudonym`: missing field `key`"),
        ] {
            let said = format!("{:#}", keys(section).unwrap_err());
            assert!(said.contains(expected) && !said.contains("hush"), "{section}: {said}");
        }
    }

    #[test]
    fn a_list_is_controlled_by_owner_and_member() {
        let text = GOOD.replace("account-by-email", "children-of-parent");
        assert!(message(&text).contains("needs `member`"));
        assert_eq!(message(&format!("{text}member = \"4711\"\n")), "");
    }
}
