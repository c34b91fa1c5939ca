//! Where the server is: `postgres://user@host:port/database?sslmode=…`, with what makes it safe.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Tls;
use crate::exit::Refused;

/// What belongs to an address and does not stand in it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The user's password.
    pub password: Option<SecretString>,
    /// The schema that the ledger lives in.
    pub schema: String,
    /// Certificates that the server's may be signed by, in PEM; else those that the system trusts.
    pub ca_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { password: None, schema: "privo_reconcile".to_owned(), ca_file: None }
    }
}

/// An address that was understood.
pub(super) struct Address {
    pub config: Config,
    /// `None`: the connection leaves this host not at all.
    pub tls: Option<Tls>,
    pub place: String,
    pub schema: String,
}

impl Address {
    /// Understands an address. What is said of it never shows the address itself, which may hold a password.
    ///
    /// # Errors
    /// [`Refused`] with what is wrong about it.
    pub fn parse(dsn: &str, options: &Options) -> Result<Address> {
        let refused = |why: String| anyhow!(Refused(format!("[ledger] postgres: {why}")));
        if !["postgres://", "postgresql://"].iter().any(|scheme| dsn.starts_with(scheme)) {
            return Err(refused("not an address (write postgres://user@host/database)".to_owned()));
        }
        let (base, query) = dsn.split_once('?').unwrap_or((dsn, ""));
        let (mut mode, mut ca_file, mut kept) = (None, options.ca_file.clone(), Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => ca_file = ca_file.or_else(|| Some(PathBuf::from(value))),
                _ => kept.push(pair),
            }
        }
        let parsed: Result<Config, _> = format!("{base}?{}", kept.join("&")).parse();
        // Without the driver's own words: they show parts of the address.
        let unread = |_| refused("the address cannot be read (write postgres://user@host/database)".to_owned());
        let mut config = parsed.map_err(unread)?;
        if config.get_password().is_some() {
            return Err(refused("it holds a password (say `password = { env|file }` instead)".to_owned()));
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refused("it names no host (write postgres://user@host/database)".to_owned()));
        }
        if let Some(password) = &options.password {
            config.password(password.expose_secret());
        }
        let schema = options.schema.clone();
        let is_name = |text: &str| {
            text.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_')
                && text.starts_with(|first: char| first.is_ascii_lowercase())
                && text.len() < 64
        };
        if !is_name(&schema) {
            let why = "[ledger] schema is not a name (small letters, digits and `_`, not more than 63)";
            return Err(anyhow!(Refused(why.to_owned())));
        }
        let tls = encrypted(&config, mode).map_err(refused)?;
        config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        config.application_name("privo-reconcile").connect_timeout(Duration::from_secs(10));
        config.keepalives_idle(Duration::from_secs(15)).tcp_user_timeout(Duration::from_secs(30));
        let tls = if tls { Some(Tls::trusting(ca_file.as_deref())?) } else { None };
        Ok(Address { place: place(&config, &schema), config, tls, schema })
    }
}

/// Whether the connection is to be encrypted, and then verified in full: whatever is asked for, never less than that leaves
/// this host.
fn encrypted(config: &Config, mode: Option<&str>) -> Result<bool, String> {
    match mode {
        None | Some("disable" | "allow" | "prefer") if is_local(config) => Ok(false),
        None | Some("require" | "verify-ca" | "verify-full") => Ok(true),
        Some("disable" | "allow" | "prefer") => {
            Err("sslmode would let the ledger cross the network in the open (write sslmode=verify-full)".to_owned())
        }
        Some(_) => Err("sslmode is not one (write sslmode=verify-full)".to_owned()),
    }
}

/// It leads to a socket or to the loopback, and nowhere else.
fn is_local(config: &Config) -> bool {
    let local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    };
    config.get_hosts().iter().all(local) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

/// For people: without user, without parameters.
fn place(config: &Config, schema: &str) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("PostgreSQL {host}:{port}/{} (schema {schema})", config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(dsn: &str) -> Result<Address> {
        Address::parse(dsn, &Options::default())
    }

    #[test]
    fn a_ledger_crosses_the_network_under_tls_alone() {
        for local in ["postgres://a@localhost/d", "postgres://a@127.0.0.1:9/d?sslmode=prefer", "postgres://a@%2Ftmp/d"]
        {
            assert!(parse(local).unwrap().tls.is_none(), "{local}");
        }
        for remote in [
            "postgres://a@db.internal/d",
            "postgres://a@db/d?sslmode=require",
            "postgres://a@localhost/d?sslmode=verify-full",
        ] {
            assert!(parse(remote).unwrap().tls.is_some(), "{remote}");
        }
        for open in [
            "postgres://a@db.internal/d?sslmode=disable",
            "postgres://a@localhost,db/d?sslmode=prefer",
            "postgres://a@localhost/d?hostaddr=10.0.0.1&sslmode=disable",
        ] {
            assert!(parse(open).err().unwrap().to_string().contains("in the open"), "{open}");
        }
    }

    #[test]
    fn what_is_wrong_about_an_address_is_said_without_it() {
        for (dsn, why) in [
            ("postgres://a:hush@db/d", "it holds a password"),
            ("postgres://a@db:hush/d", "cannot be read"),
            ("postgres://a@db/d?hush=1", "cannot be read"),
            ("hush", "not an address"),
            ("postgres://a@db/d?sslmode=hush", "sslmode is not one"),
            ("postgres:///d", "it names no host"),
        ] {
            let error = parse(dsn).err().unwrap();
            assert!(error.is::<Refused>() && error.to_string().contains(why), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        let named = Options { schema: "a\"b".to_owned(), ..Options::default() };
        assert!(Address::parse("postgres://a@localhost/d", &named).err().unwrap().to_string().contains("schema"));
    }
}
