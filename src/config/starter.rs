//! A configuration to begin with: every key, with what it means and its default. It is the example of `deploy/`, for the
//! current folder instead of a host under systemd.

use crate::plan::SHIPPED;

const EXAMPLE: &str = include_str!("../../deploy/config.example.toml");

/// What is other than on a host where a service manager hands out credentials.
const HERE: &[(&str, &str)] = &[
    (
        "# /etc/privo-reconcile/config.toml: the job under systemd, against PRIVO's integration environment.\n",
        "# The configuration of privo-reconcile, against PRIVO's integration environment.\n",
    ),
    ("\"/var/lib/privo-reconcile/ledger.db\"", "\"ledger.db\""),
    (
        "# The folder is systemd's (LoadCredential= in the units); under cron set the variable yourself. Or { env = \"NAME\" }, or the\n\
         # client id (never the secret) as { value = \"…\" }.\n",
        "# Or { file = \"PATH\" }, also of a file in $CREDENTIALS_DIRECTORY; or the client id (never the secret) as { value = \"…\" }.\n",
    ),
    ("{ file = \"$CREDENTIALS_DIRECTORY/client_id\" }", "{ env = \"PRIVO_CLIENT_ID\" }"),
    ("{ file = \"$CREDENTIALS_DIRECTORY/client_secret\" }", "{ env = \"PRIVO_CLIENT_SECRET\" }"),
    ("\ndir = \"/var/lib/privo-reconcile/reports\"    #", "\n# dir = \"reports\"                      #"),
    ("; needs LoadCredential=pseudonym_key in the service", ""),
    ("{ file = \"/run/credentials/privo-reconcile.service/pseudonym_key\" }", "{ file = \"pseudonym_key\" }"),
    ("{ file = \"/run/credentials/privo-reconcile.service/ping_url\" }", "{ env = \"PING_URL\" }"),
    ("; the unit needs ReadWritePaths= for the folder", ""),
];

/// What is other for the consent service.
const CONSENT: &[(&str, &str)] = &[
    ("plan = \"privo-gateway\"", "plan = \"privo-consent\""),
    ("# privo-consent needs your service identifier:\n# params", "# Your service identifier:\nparams"),
    ("\nbase_url = \"https://api-gw-svc-int.privo.com\"", "\nbase_url = \"https://consent-svc-int.privo.com\""),
    ("https://privohub-int.privo.com/oauth/token", "https://consent-svc-int.privo.com/token"),
    ("scope = \"PRIVOLOCK TRUST\"", "scope = \"openid\""),
    (
        "\n[[control]]\nlookup = \"account-by-email\"\nkey = \"canary@partner.example\"",
        "\n[[control]]\nlookup = \"account-by-eid\"\nkey = \"canary\"",
    ),
];

/// The control of the shipped plan, which another plan need not know.
const CONTROL: &str = "[[control]]\nlookup = \"account-by-email\"\nkey = \"canary@partner.example\"";

/// The configuration for a plan: a shipped one, or the path of one's own.
pub fn commented(plan: &str) -> String {
    let here = changed(EXAMPLE.to_owned(), HERE);
    match plan {
        "privo-consent" => changed(here, CONSENT),
        shipped if SHIPPED.iter().any(|(name, _)| *name == shipped) => here,
        own => {
            // A text in JSON is one in TOML.
            let plan = format!("plan = {}", serde_json::Value::from(own));
            let control = CONTROL.replace('\n', "\n# ");
            here.replacen("plan = \"privo-gateway\"", &plan, 1).replacen(CONTROL, &format!("# {control}"), 1)
        }
    }
}

fn changed(text: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text, |text, (from, to)| text.replacen(from, to, 1))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_change_finds_what_it_changes() {
        for (from, _) in HERE.iter().chain(CONSENT).chain(&[(CONTROL, "")]) {
            assert_eq!(EXAMPLE.matches(from).count(), 1, "{from}");
        }
    }

    #[test]
    fn it_is_a_configuration_of_the_shipped_plans() {
        for (name, _) in SHIPPED {
            let config = Config::parse(Path::new("here/privo-reconcile.toml"), &commented(name)).unwrap();
            assert_eq!((config.plan.name.as_str(), config.ledger.file()), (*name, Some(Path::new("here/ledger.db"))));
            assert_eq!(config.controls.len(), 1, "{name}");
            assert!(!commented(name).contains("systemd's") && !commented(name).contains("/var/lib/privo-reconcile"));
        }
        let own = commented("a \"plan\".toml");
        assert!(own.contains("plan = \"a \\\"plan\\\".toml\"") && own.contains("\n# [[control]]\n# lookup"), "{own}");
    }
}
