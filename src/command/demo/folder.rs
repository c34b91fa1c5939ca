//! The demo's folder: ours by its marker, made anew each time, and usable afterwards.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::fixtures::{CANARY, CANARY_EMAIL, CHICK, Canary, VERIFIED};
use crate::config::{Config, Database, Place};
use crate::exit::Refused;
use crate::ledger::Ledger;
use crate::sandbox::Generation;

/// Where the demo works, under the current folder.
pub const FOLDER: &str = "privo-reconcile-demo";

const MARKER: &str = ".privo-reconcile-demo";
const SECRET: &str = "client-secret";

/// The files of one job: a plan has its own configuration and ledger.
pub struct Job {
    pub generation: Generation,
    pub config: PathBuf,
    pub ledger: Place,
    pub report: PathBuf,
    /// The report as a page for people.
    pub page: PathBuf,
}

impl Job {
    /// The gateway's job has the names that the commands look for by themselves. The ledgers are files in the folder, or
    /// in a PostgreSQL.
    pub fn all(postgres: Option<&str>) -> [Job; 2] {
        let job = |generation, config, ledger, schema: &str, report| {
            let at = |name| Path::new(FOLDER).join(name);
            let report = at(report);
            let page = report.with_extension("html");
            let in_database = |address: &str| {
                let (address, schema) = (address.to_owned(), schema.to_owned());
                Place::Postgres(Database { address, schema, ca_file: None, password: None })
            };
            let ledger = postgres.map_or_else(|| Place::File(at(ledger)), in_database);
            Job { generation, config: at(config), ledger, report, page }
        };
        let schemas = ["privo_reconcile_demo", "privo_reconcile_demo_consent"];
        [
            job(Generation::Gateway, "privo-reconcile.toml", "ledger.db", schemas[0], "report.csv"),
            job(Generation::Consent, "consent.toml", "consent.db", schemas[1], "consent-report.csv"),
        ]
    }

    /// Makes the ledger.
    ///
    /// # Errors
    /// [`Refused`] when there is one already: what lies in a database is not the demo's to replace.
    pub fn make_ledger(&self) -> Result<()> {
        match &self.ledger {
            Place::Postgres(Database { schema, .. }) if !Ledger::create(&self.ledger)? => {
                bail!(Refused(format!(
                    "the ledger {} is there already (DROP SCHEMA {schema} CASCADE, if it is of an earlier demo)",
                    self.ledger
                )))
            }
            Place::Postgres(_) => Ok(()),
            Place::File(_) => Ledger::create(&self.ledger).map(drop),
        }
    }

    /// The section of the configuration.
    fn ledger_table(&self) -> String {
        let setting = match &self.ledger {
            Place::File(path) => format!("path = {:?}", path.file_name().unwrap_or_default()),
            Place::Postgres(at) => format!("postgres = {:?}\nschema = {:?}", at.address, at.schema),
        };
        format!("[ledger]\n{setting}\n")
    }

    /// What a person calls it.
    pub fn name(&self) -> &'static str {
        match self.generation {
            Generation::Gateway => "platform gateway",
            Generation::Consent => "consent service",
        }
    }

    /// Writes the configuration for a sandbox at `url`, and reads it as any command would.
    pub fn configure(&self, url: &str, client: &str, canary: &Canary) -> Result<Config> {
        let text = match self.generation {
            Generation::Gateway => gateway(&self.ledger_table(), url, client, canary),
            Generation::Consent => consent(&self.ledger_table(), url, client, canary),
        };
        write(&self.config, &text)?;
        Config::load(Some(&self.config))
    }
}

/// Makes the folder anew.
///
/// # Errors
/// [`Refused`] when there is something of that name that is not ours; it is left untouched.
pub fn make(client: &str) -> Result<()> {
    let folder = Path::new(FOLDER);
    match folder.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("failed to look at {FOLDER}")),
        Ok(found) if found.is_dir() && folder.join(MARKER).is_file() => {
            std::fs::remove_dir_all(folder).with_context(|| format!("failed to replace {FOLDER}"))?;
        }
        Ok(_) => bail!(Refused(format!(
            "{FOLDER} is there and is not the demo's (it lacks the file {MARKER}); move it away, or run `demo` in another folder"
        ))),
    }
    std::fs::create_dir(folder).with_context(|| format!("failed to make {FOLDER} (may you write here?)"))?;
    write(&folder.join(MARKER), "Made by `privo-reconcile demo`, which replaces this folder.\n")?;
    write(&folder.join(SECRET), &format!("{client}\n"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// What both configurations have: the windows are shortened so that minutes and hours become seconds.
fn common(url: &str, client: &str, token_path: &str, scope: &str) -> String {
    format!(
        r#"
[server]
base_url = "{url}"
requests_per_second = 5000             # a sandbox of our own; PRIVO's environments want 5
concurrency = 8
timeout = "5s"

[auth]
token_url = "{url}{token_path}"
client_id = {{ value = "{client}" }}
client_secret = {{ file = "{SECRET}" }}
scope = "{scope}"

[settle]
network = "2s"                         # usually 15m
server_error = "4s"                    # usually 24h
intent = "2s"                          # usually 15m
confirm_after = "1s"                   # usually 10m
webhook = "2s"                         # usually 5m
replica_lag = "0s"
"#
    )
}

fn control(lookup: &str, key: &str) -> String {
    format!("\n[[control]]\nlookup = \"{lookup}\"\nkey = \"{key}\"\n")
}

fn gateway(ledger: &str, url: &str, client: &str, canary: &Canary) -> String {
    let mut text = format!("plan = \"privo-gateway\"\n\n{ledger}");
    text += &common(url, client, "/oauth/token", "PRIVOLOCK TRUST");
    // PRIVO's hub shows what became of a verification; the sandbox is both.
    text += &format!("\n[hosts.hub]\nbase_url = \"{url}\"\n");
    for (lookup, key) in [
        ("account-by-email", CANARY_EMAIL),
        ("account-by-user-name", CANARY),
        ("account-by-display-name", CANARY),
        ("account-by-external-id", CANARY),
        ("account-by-service-id", &canary.service_id),
        ("verification", VERIFIED),
        ("children-of-parent", CANARY_EMAIL),
    ] {
        text += &control(lookup, key);
    }
    // What the child shows proves every comparison: without it, a sibling of the same name might be the child.
    let (name, birth) = CHICK;
    let fields = format!("{{ given_name = \"{name}\", birth_date = \"{birth}\" }}");
    text + &format!("member = \"{}\"\nfields = {fields}\n", canary.child)
}

fn consent(ledger: &str, url: &str, client: &str, canary: &Canary) -> String {
    let mut text = "plan = \"privo-consent\"\n".to_owned();
    text += &format!("params = {{ service = \"{client}\" }}\n\n{ledger}");
    text += &common(url, client, "/token", "openid");
    for (lookup, key) in
        [("account-by-eid", CANARY), ("account-by-sid", canary.sid.as_str()), ("consent", canary.consent.as_str())]
    {
        text += &control(lookup, key);
    }
    text
}
