//! The configuration: one TOML file, told apart from every mistake with file, line and remedy.

mod credential;
pub mod places;
mod schedule;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;
use url::Url;

use crate::clock::Span;
use crate::evidence::Windows;
use crate::exit::Refused;
use crate::import::Mapping;
use crate::log;
use crate::mistake::{line_of, toml_error};
use crate::notice::{AlertFile, HookFile, MetricsFile, Notices, PingFile, Sections};
use crate::plan::{Plan, SHIPPED};
use crate::pseudonym::{Key, Keys, SHORTEST_KEY};
use crate::retention::Retention;
pub use credential::Credential;
pub(crate) use credential::Secret;
use places::Places;

pub use schedule::{STOP_TIMEOUT, Scheduled};

/// A checked configuration: paths are absolute or relative to where the program runs, secrets are read.
#[derive(Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The plan with its parameters.
    pub plan: Plan,
    /// Where the ledger is.
    pub ledger: PathBuf,
    /// The server that is asked.
    pub server: Server,
    /// `None`: the server asks for no token.
    pub auth: Option<Auth>,
    /// The settle windows.
    pub windows: Windows,
    /// The known keys.
    pub controls: Vec<Known>,
    /// Where `run` leaves a dated report of what changed.
    pub report_dir: Option<PathBuf>,
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

/// The server that is asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// Scheme, host and port name the environment; a path is put before every lookup.
    pub base_url: Url,
    /// Never more than this.
    pub requests_per_second: f64,
    /// Requests in flight, at the most.
    pub concurrency: usize,
    /// For one request, from the connection to the answer's last byte.
    pub timeout: Span,
    /// A certificate authority (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// OAuth 2.0 client credentials.
#[derive(Clone, Debug)]
pub struct Auth {
    pub token_url: Url,
    pub client_id: Credential,
    pub client_secret: Credential,
    pub scope: Option<String>,
}

/// A configured control: a key that is known to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub lookup: String,
    pub key: String,
    /// Of a list: the server's id of a record that the owner is known to have.
    pub member: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plan: Spanned<String>,
    #[serde(default)]
    params: BTreeMap<String, String>,
    ledger: LedgerFile,
    server: ServerFile,
    auth: Option<AuthFile>,
    #[serde(default)]
    settle: SettleFile,
    #[serde(default)]
    control: Vec<ControlFile>,
    report: Option<ReportFile>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerFile {
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerFile {
    base_url: WebAddress,
    #[serde(default = "five")]
    requests_per_second: f64,
    #[serde(default = "four")]
    concurrency: usize,
    #[serde(default = "ten_seconds")]
    timeout: Length,
    ca_file: Option<PathBuf>,
}

fn five() -> f64 {
    5.0
}

fn four() -> usize {
    4
}

fn ten_seconds() -> Length {
    Length(Span::seconds(10))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthFile {
    token_url: WebAddress,
    client_id: Spanned<Secret>,
    client_secret: Spanned<Secret>,
    scope: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleFile {
    network: Option<Length>,
    server_error: Option<Length>,
    intent: Option<Length>,
    replica_lag: Option<Length>,
    confirm_after: Option<Length>,
    expire_after: Option<Length>,
    webhook: Option<Length>,
    watch: Option<Length>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlFile {
    lookup: Spanned<String>,
    #[serde(alias = "owner")]
    key: String,
    member: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportFile {
    dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PseudonymFile {
    key: Spanned<Secret>,
    #[serde(default)]
    previous: Vec<Spanned<Secret>>,
}

/// A duration, `<integer>s|m|h|d`.
#[derive(Clone, Copy)]
pub(crate) struct Length(pub(crate) Span);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Length, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text)
            .map(Length)
            .ok_or_else(|| D::Error::custom("not a duration (write <integer>s, m, h or d, like \"15m\")"))
    }
}

/// An http or https URL without credentials in it.
struct WebAddress(Url);

impl<'de> Deserialize<'de> for WebAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<WebAddress, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url =
            Url::parse(&text).map_err(|_| D::Error::custom("not a URL (write it like \"https://host.example\")"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(D::Error::custom("not an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(D::Error::custom("a URL must not hold credentials (use [auth])"));
        }
        Ok(WebAddress(url))
    }
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
        let remedy = "name one with --config, or run `demo` to see one at work";
        let file = places
            .chosen()
            .ok_or_else(|| anyhow!("no configuration found (looked for one: {}; {remedy})", places.told()))?;
        let text = std::fs::read_to_string(file).with_context(|| {
            format!(
                "failed to read the configuration {} (is the path right, and may this user read it?)",
                file.display()
            )
        })?;
        Config::parse(file, &text)
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
        let plan = load_plan(folder, read.plan.as_ref(), &read.params).with_context(|| at(read.plan.span()))?;
        let controls =
            read.control.iter().map(|control| known(&plan, control).with_context(|| at(control.lookup.span())));
        let controls = controls.collect::<Result<Vec<_>>>()?;
        let server = check_server(read.server, folder).with_context(|| place.clone())?;
        let auth = match read.auth {
            None => None,
            Some(auth) => Some(Auth {
                token_url: auth.token_url.0,
                client_id: Credential::of(auth.client_id.as_ref(), folder, true, at(auth.client_id.span()))?,
                client_secret: Credential::of(
                    auth.client_secret.as_ref(),
                    folder,
                    false,
                    at(auth.client_secret.span()),
                )?,
                scope: auth.scope,
            }),
        };
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
        let notices = Sections { ping: read.ping, metrics: read.metrics, hook: read.hook, alert: read.alert };
        let notices = notices.check(folder, &at)?;
        let schedule = read.schedule.map(|schedule| schedule.check(&at)).transpose()?;
        Ok(Config {
            file: file.to_owned(),
            plan,
            ledger: folder.join(read.ledger.path),
            server,
            auth,
            windows: read.settle.windows(),
            controls,
            report_dir: read.report.map(|report| folder.join(report.dir)),
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
        let auth = self.auth.iter().flat_map(|auth| [&auth.client_id, &auth.client_secret]);
        let ping = self.notices.ping.iter().map(|ping| &ping.url);
        let pseudonym = self.pseudonym.iter().flat_map(|keys| std::iter::once(&keys.key).chain(&keys.previous));
        auth.chain(ping).chain(pseudonym).filter_map(Credential::variable).collect()
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

fn load_plan(folder: &Path, name: &str, params: &BTreeMap<String, String>) -> Result<Plan> {
    if let Some((name, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        return Plan::load(&format!("the plan {name}"), text, params);
    }
    let file = folder.join(name);
    let shipped = SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("failed to read the plan {} (shipped plans: {shipped}; anything else is a path)", file.display())
    })?;
    Plan::load(&file.display().to_string(), &text, params)
}

fn known(plan: &Plan, control: &ControlFile) -> Result<Known> {
    let lookup = plan.lookup(control.lookup.as_ref())?;
    if control.key.trim().is_empty() {
        bail!("the control's `key` is empty (give the key of an account that is known to exist)");
    }
    if lookup.record.list.is_some() && control.member.is_none() {
        bail!("a control of a list needs `member` (the server's id of a record that the owner `key` is known to have)");
    }
    Ok(Known { lookup: control.lookup.as_ref().clone(), key: control.key.clone(), member: control.member.clone() })
}

fn check_server(server: ServerFile, folder: &Path) -> Result<Server> {
    if !(server.requests_per_second > 0.0 && server.requests_per_second <= 1_000_000.0) {
        bail!("server.requests_per_second must be more than 0 and at most 1000000");
    }
    if !(1..=1024).contains(&server.concurrency) {
        bail!("server.concurrency must be 1 to 1024");
    }
    if server.timeout.0 <= Span::ZERO {
        bail!("server.timeout must be more than 0s");
    }
    Ok(Server {
        base_url: server.base_url.0,
        requests_per_second: server.requests_per_second,
        concurrency: server.concurrency,
        timeout: server.timeout.0,
        ca_file: server.ca_file.map(|file| folder.join(file)),
    })
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
        match config.and_then(|config| config.auth.map_or(Ok(None), |auth| auth.client_secret.read().map(Some))) {
            Ok(_) => String::new(),
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
            ("http://127.0.0.1:1\"", "127.0.0.1\"", "line 6, `server.base_url`: not a URL"),
            ("[ledger]", "[ledger", "line 3"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let said = message(&GOOD.replacen(from, to, 1));
            assert!(said.contains(expected), "{to}: {said}");
            assert!(!said.contains("hush"), "{said}");
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
