//! The configuration: one TOML file, told apart from every mistake with file, line and remedy.

mod schedule;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;
use url::Url;

use crate::clock::Span;
use crate::evidence::Windows;
use crate::import::Mapping;
use crate::log;
use crate::mistake::{line_of, toml_error};
use crate::notice::{AlertFile, HookFile, MetricsFile, Notices, PingFile, Sections};
use crate::plan::{Plan, SHIPPED};

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

/// Where a credential comes from. It is read when it is needed: `status` and `report` need none.
#[derive(Clone, Debug)]
pub struct Credential {
    source: CredentialSource,
    /// File and line that name it, for messages.
    place: String,
}

#[derive(Clone, Debug)]
enum CredentialSource {
    Environment(String),
    File(PathBuf),
    /// An identifier only, never a secret.
    Written(SecretString),
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

/// Where a credential comes from: one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    env: Option<String>,
    file: Option<PathBuf>,
    value: Option<SecretString>,
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

/// Where a configuration is looked for when none is named, in this order.
pub fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("privo-reconcile.toml")];
    let home = || environment("HOME").map(|home| PathBuf::from(home).join(".config"));
    places.extend(
        environment("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(home)
            .map(|dir| dir.join("privo-reconcile/config.toml")),
    );
    places.push(PathBuf::from("/etc/privo-reconcile/config.toml"));
    places
}

#[expect(clippy::disallowed_methods, reason = "this is the edge")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    /// Reads the named configuration, or the first of the usual places that exists.
    ///
    /// # Errors
    /// One message with file, line and remedy. It never holds a secret.
    pub fn load(named: Option<&Path>) -> Result<Config> {
        let file = match named {
            Some(file) => file.to_owned(),
            None => {
                let places = usual_places();
                let listed = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
                places.into_iter().find(|place| place.exists()).ok_or_else(|| anyhow!("no configuration found (looked for {listed}; name one with --config, or run `demo` to see one at work)"))?
            }
        };
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("failed to read the configuration {} (is the path right?)", file.display()))?;
        Config::parse(&file, &text)
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
            schedule,
        })
    }

    /// The environment variables that hold credentials: no program that the job starts gets to see them.
    pub fn secret_variables(&self) -> Vec<&str> {
        let auth = self.auth.iter().flat_map(|auth| [&auth.client_id, &auth.client_secret]);
        let ping = self.notices.ping.iter().map(|ping| &ping.url);
        auth.chain(ping).filter_map(Credential::variable).collect()
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

impl Secret {
    /// One that stands in the configuration itself.
    pub(crate) fn written(text: String) -> Secret {
        Secret { env: None, file: None, value: Some(SecretString::from(text)) }
    }
}

impl Credential {
    /// Checks where a credential is to come from; `place` is the file and line that name it.
    pub(crate) fn of(secret: &Secret, folder: &Path, may_be_written: bool, place: String) -> Result<Credential> {
        let Secret { env, file, value } = secret;
        let source = match (env, file, value) {
            (Some(name), None, None) => CredentialSource::Environment(name.clone()),
            (None, Some(file), None) => CredentialSource::File(folder.join(file)),
            (None, None, Some(value)) if may_be_written => CredentialSource::Written(value.clone()),
            (None, None, Some(_)) => {
                bail!(
                    "{place}: a secret is never written into the configuration (use {{ env = \"…\" }} or {{ file = \"…\" }})"
                )
            }
            _ => bail!("{place}: a credential needs one of env, file or value"),
        };
        Ok(Credential { source, place })
    }

    /// What stands in the configuration itself.
    pub(crate) fn written(&self) -> Option<&str> {
        match &self.source {
            CredentialSource::Written(value) => Some(value.expose_secret()),
            CredentialSource::Environment(_) | CredentialSource::File(_) => None,
        }
    }

    /// The environment variable that it comes from.
    pub(crate) fn variable(&self) -> Option<&str> {
        match &self.source {
            CredentialSource::Environment(name) => Some(name),
            CredentialSource::File(_) | CredentialSource::Written(_) => None,
        }
    }

    /// Reads the credential. One from a file loses its line end.
    ///
    /// # Errors
    /// When the variable is not set, or the file is empty or cannot be read.
    pub fn read(&self) -> Result<SecretString> {
        match &self.source {
            CredentialSource::Environment(name) => environment(name).map(SecretString::from).ok_or_else(|| {
                anyhow!(
                    "{}: the environment variable {name} is not set (set it, or use {{ file = \"…\" }})",
                    self.place
                )
            }),
            CredentialSource::File(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("{}: failed to read the credential {}", self.place, file.display()))?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    bail!("{}: the credential {} is empty", self.place, file.display());
                }
                Ok(SecretString::from(text.to_owned()))
            }
            CredentialSource::Written(value) => Ok(value.clone()),
        }
    }
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
    fn a_list_is_controlled_by_owner_and_member() {
        let text = GOOD.replace("account-by-email", "children-of-parent");
        assert!(message(&text).contains("needs `member`"));
        assert_eq!(message(&format!("{text}member = \"4711\"\n")), "");
    }
}
