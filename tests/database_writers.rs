//! Holds every client's writer to one contract: the programs of `fixtures/writers/` that record in PostgreSQL, each in the
//! transaction of its own row and with a writer's rights alone, leave the same rows. A client that is not installed is
//! skipped, and said so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::postgres::{FAST, in_database, psql};
use crate::util::cluster::{Cluster, program};
use crate::util::{Platform, Setup, leaks, wait};

/// Where Debian's package of the JDBC driver puts it.
const JDBC: &str = "/usr/share/java/postgresql.jar";

/// Each client that is installed, started on the server as the user `app`.
fn clients(cluster: &Cluster) -> Vec<(&'static str, Command)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/writers");
    let address = cluster.address().replace("owner@", "app@");
    let there = |name: &str, arguments: &[&str]| {
        let ran = Command::new(name).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let of = |name: &str, first: &[&str], script: &str, address: &str| {
        let mut command = Command::new(name);
        command.args(first).arg(folder.join(script)).arg(address);
        command
    };
    let psql = program("psql").unwrap().display().to_string();
    let (_, server) = address.split_once("app@").unwrap();
    let jdbc = format!("jdbc:postgresql://{server}?user=app");
    let is_java = Path::new(JDBC).exists() && there("java", &["--version"]);
    let clients = [
        ("psql", true, of(&psql, &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"], "psql/partner.sql", &address)),
        ("psycopg", there("python3", &["-c", "import psycopg"]), of("python3", &[], "python/postgres.py", &address)),
        ("pg", there("node", &["-e", "require('pg')"]), of("node", &[], "node/postgres.cjs", &address)),
        ("JDBC", is_java, of("java", &["-cp", JDBC], "java/Postgres.java", &jdbc)),
    ];
    let installed = |(name, is_there, command): (_, bool, _)| {
        if !is_there {
            eprintln!("skipped: {name} is not installed");
        }
        Some((name, command)).filter(|_| is_there)
    };
    clients.into_iter().filter_map(installed).collect()
}

#[test]
fn each_clients_writer_records_in_its_own_transaction_with_a_writers_rights() {
    let Some(cluster) = Cluster::start(FAST) else { return };
    let platform = Platform::start();
    let dir = in_database(&cluster, &Setup::of(&platform));
    assert_eq!(dir.run(&["init"]).code, 0);
    psql(&cluster, "CREATE ROLE app LOGIN; GRANT privo_reconcile_writer TO app; CREATE TABLE orders (id bigint)");
    psql(&cluster, "GRANT INSERT ON orders TO app");
    leaks::note(r#"{"email":"order-1@example.com"}"#);
    for (name, mut client) in clients(&cluster) {
        let child = client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let ran = wait(child.unwrap());
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        let rows =
            "SELECT string_agg(concat_ws(' ', request_id, operation_id, failure, http_status, body), ', ' ORDER BY id)
            FROM privo_reconcile.entries";
        let expected = r#"order-1 timeout {"email":"order-1@example.com"}, order-4 order-4 http 503 {"email":"order-4@example.com"}, order-4-again order-4 answered 201 {"email":"order-4@example.com"}"#;
        assert_eq!(psql(&cluster, rows), expected, "{name}");
        assert_eq!(psql(&cluster, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM orders"), "1 3 4", "{name}");
        // Each row is read by the job, its times too.
        let ran = dir.run(&["run"]);
        assert_eq!(ran.code, 4, "{name}: {ran:?}");
        let report = dir.report();
        assert!(
            !report.is_empty() && report.iter().all(|row| row["reason"] == "other-environment"),
            "{name}: {report:?}"
        );
        psql(
            &cluster,
            "DROP TABLE orders; CREATE TABLE orders (id bigint); GRANT INSERT ON orders TO app;
             DROP SCHEMA privo_reconcile CASCADE",
        );
        assert_eq!(dir.run(&["init"]).code, 0);
    }
}
