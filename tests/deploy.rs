//! Proves that what is in `deploy/` agrees with itself and with the binary: the units, the user and folders they need, the
//! example configuration.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use privo_reconcile::config::Config;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn deployed(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// Every unit of a kind, by name.
fn units(extension: &str) -> Vec<(String, String)> {
    let files = std::fs::read_dir(root().join("deploy")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> =
        names.filter(|name| name.ends_with(extension)).map(|name| (name.clone(), deployed(&name))).collect();
    found.sort();
    assert!(found.len() >= 2, "{found:?}");
    found
}

fn failure() -> (String, String) {
    let name = "privo-reconcile-failure@.service";
    (name.to_owned(), deployed(name))
}

/// The settings that harden a service.
fn hardening(unit: &str) -> BTreeSet<&str> {
    unit.split_once("# Hardening\n").map_or("", |(_, rest)| rest).lines().filter(|line| line.contains('=')).collect()
}

#[test]
fn every_service_is_hardened_like_the_first() {
    let first = deployed("privo-reconcile.service");
    let settings = hardening(&first);
    assert!(settings.len() > 20, "{settings:?}");
    for (name, unit) in units(".service") {
        let has: BTreeSet<&str> = unit.lines().collect();
        let lacks: Vec<_> = settings.difference(&has).collect();
        assert!(lacks.is_empty(), "{name} lacks {lacks:?}");
    }
}

#[test]
fn the_failure_of_every_service_is_told() {
    for (name, unit) in units(".service").into_iter().filter(|(name, _)| *name != failure().0) {
        assert!(unit.contains("OnFailure=privo-reconcile-failure@%n.service\n"), "{name}");
        if !unit.contains("Type=oneshot\n") {
            continue;
        }
        let codes = unit.lines().find_map(|line| line.strip_prefix("SuccessExitStatus=")).unwrap_or_default();
        assert!(["3", "4", "11"].iter().all(|code| codes.split(' ').any(|word| word == *code)), "{name}: {codes}");
    }
    assert!(!failure().1.contains("OnFailure="), "that of the failure itself would start over and over");
}

#[test]
fn the_units_find_the_command_where_a_package_or_a_person_put_it() {
    for (name, unit) in units(".service") {
        let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let expected = if name == failure().0 { "/bin/sh " } else { "privo-reconcile " };
        assert!(command.starts_with(expected), "{name}: {command}");
    }
}

#[test]
fn every_timer_has_its_service() {
    for (name, _) in units(".timer") {
        let service = name.replace(".timer", ".service");
        assert!(root().join("deploy").join(&service).exists(), "{service}");
    }
}

#[test]
fn user_group_and_folders_are_those_of_the_service() {
    let service = deployed("privo-reconcile.service");
    let users = deployed("sysusers.conf");
    let folders = deployed("tmpfiles.conf");
    let words = |text: &str, first: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter(|line| line.starts_with(first));
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    assert!(service.contains("User=privo-reconcile\nGroup=privo-ledger\nUMask=0007\n"));
    assert_eq!(words(&users, "g ")[0][1], "privo-ledger");
    assert_eq!(words(&users, "u ")[0][1..3], ["privo-reconcile", "-:privo-ledger"]);
    let folders = words(&folders, "d ");
    let folder = folders.iter().find(|words| words[1] == "/var/lib/privo-reconcile").unwrap();
    assert_eq!(folder[2..5], ["2770", "privo-reconcile", "privo-ledger"]);
    assert!(service.contains("ReadWritePaths=/var/lib/privo-reconcile\n"));
}

/// What a field of a crontab line names, of so many.
fn named(field: &str, of: u32) -> Vec<u32> {
    match field.strip_prefix("*/").map(|step| step.parse::<usize>().unwrap()) {
        Some(step) => (0..of).step_by(step).collect(),
        None if field == "*" => (0..of).collect(),
        None => vec![field.parse().unwrap()],
    }
}

#[test]
fn no_two_lines_of_the_crontab_start_in_the_same_minute() {
    let crontab = deployed("crontab.example");
    let lines = crontab.lines().filter(|line| line.starts_with(|first: char| first == '*' || first.is_ascii_digit()));
    let mut starts = BTreeSet::new();
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields[2..5], ["*"; 3], "{line}");
        for hour in named(fields[1], 24) {
            for minute in named(fields[0], 60) {
                assert!(starts.insert((hour, minute)), "{hour}:{minute} {line}");
            }
        }
        assert!(!line.contains(" prune") || line.contains("--wait-lock"), "{line}");
    }
    assert!(starts.len() > 90, "{starts:?}");
}

#[test]
fn the_example_is_a_configuration() {
    let example = root().join("deploy/config.example.toml");
    let config = Config::parse(&example, &std::fs::read_to_string(&example).unwrap()).unwrap();
    assert_eq!(config.ledger.file(), Some(Path::new("/var/lib/privo-reconcile/ledger.db")));
    // And with what is commented out to show a default.
    let mut section = String::new();
    let mut all = String::new();
    for line in std::fs::read_to_string(&example).unwrap().lines() {
        if line.starts_with('[') {
            section = line.split(']').next().unwrap().to_owned();
        }
        let shown = line.strip_prefix("# ").filter(|_| ["[server", "[settle"].contains(&section.as_str()));
        all.push_str(shown.filter(|setting| setting.contains(" = ")).unwrap_or(line));
        all.push('\n');
    }
    assert!(all.contains("\nconcurrency = 4") && all.contains("\nwatch = \"7d\""), "{all}");
    Config::parse(&example, &all).unwrap();
}

#[test]
fn crontab_runs_the_command_with_the_groups_umask() {
    let crontab = deployed("crontab.example");
    let lines: Vec<&str> = crontab.lines().filter(|line| line.contains("* * *")).collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let command = line.splitn(6, ' ').nth(5).unwrap();
        assert!(command.starts_with("umask 0007; privo-reconcile --config /etc/"), "{command}");
        let ran = Command::new("sh").args(["-n", "-c", command]).status().unwrap();
        assert!(ran.success(), "{command}");
    }
}

#[test]
fn a_failure_is_told_with_its_last_words() {
    let unit = failure().1;
    let script = unit.split_once("ExecStart=/bin/sh -c '").unwrap().1.split_once("' sh %i\n").unwrap().0;
    // As systemd reads it: continued lines are joined, and a doubled dollar is one.
    let script = script.replace("\\\n", " ").replace("$$", "$");
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journalctl");
    std::fs::write(&journal, "#!/bin/sh\necho \"of $1:\"\necho 'privo-reconcile: \"no\" $ledger'\n").unwrap();
    std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tell = |command: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-c", r#"PATH=$0:$PATH exec sh -c "$1" sh "$2""#]).arg(folder.path()).arg(&script);
        sh.arg("privo-reconcile.service").env("TELL", command);
        let ran = sh.env("MONITOR_SERVICE_RESULT", "exit-code").env("MONITOR_EXIT_STATUS", "2").output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let plain = "\
privo-reconcile.service failed: exit-code, exit code 2 (see: systemctl status privo-reconcile.service)
  of --unit=privo-reconcile.service:
  privo-reconcile: \"no\" $ledger
";
    let urgent: String = plain.lines().map(|line| format!("<3>{line}\n")).collect();
    assert_eq!(tell(""), urgent);
    let also: String = plain.lines().map(|line| format!("told: {line}\n")).collect();
    assert_eq!(tell("sed 's/^/told: /'"), format!("{urgent}{also}"));
}

#[test]
fn systemd_takes_the_units_and_finds_them_tight() {
    let files = [units(".service"), units(".timer")].concat();
    let ran = Command::new(root().join("scripts/check-units"))
        .arg(env!("CARGO_BIN_EXE_privo-reconcile"))
        .args(files.iter().map(|(name, _)| root().join("deploy").join(name)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let services = units(".service").len();
    assert!(said.contains("skipped") || said.matches("exposure of").count() == services, "{said}");
}

/// What a pod has: its configuration can be read, and its manifests ask for as little as they can.
#[test]
fn pods_are_restricted_and_their_configuration_is_one() {
    let config =
        Config::parse(Path::new("/etc/privo-reconcile/config.toml"), &deployed("kubernetes/config.toml")).unwrap();
    assert!(config.ledger.file().is_none(), "a pod's disk goes with it");
    for name in ["kubernetes/cronjob.yaml", "kubernetes/schedule.yaml"] {
        let text = deployed(name);
        for wanted in [
            "runAsNonRoot: true",
            "readOnlyRootFilesystem: true",
            "allowPrivilegeEscalation: false",
            "capabilities: {drop: [ALL]}",
            "seccompProfile: {type: RuntimeDefault}",
            "automountServiceAccountToken: false",
            "secret: {secretName: privo-reconcile",
        ] {
            assert!(text.contains(wanted), "{name} lacks {wanted}");
        }
    }
    let cronjob = deployed("kubernetes/cronjob.yaml");
    for wanted in ["concurrencyPolicy: Forbid", "backoffLimit: 0", "timeZone: Etc/UTC", "--success, \"3,4,11\""] {
        assert!(cronjob.contains(wanted), "{wanted}");
    }
}

/// The root of the image has all that the binary needs, for a user who owns nothing but the ledger's folder.
#[test]
fn the_images_root_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let mut make = Command::new("sh");
    let made =
        make.arg(root().join("deploy/image-root")).arg(env!("CARGO_BIN_EXE_privo-reconcile")).arg(&image).output();
    let Ok(true) = made.as_ref().map(|made| made.status.success()) else {
        eprintln!("skipped: no root for an image can be made here");
        return;
    };
    let config = "plan = \"privo-gateway\"\n[ledger]\npath = \"/var/lib/privo-reconcile/ledger.db\"\n\
                  [server]\nbase_url = \"http://127.0.0.1:9\"\n";
    std::fs::write(image.join("etc/privo-reconcile/config.toml"), config).unwrap();
    let data = image.join("var/lib/privo-reconcile");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    for (arguments, code) in [(&["init"][..], 0), (&["status"], 0), (&["verify"], 0)] {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]).arg(&image).arg("/usr/bin/privo-reconcile");
        command.args(["--config", "/etc/privo-reconcile/config.toml"]).args(arguments);
        let Ok(ran) = command.output() else { return };
        let said = String::from_utf8_lossy(&ran.stderr);
        if said.contains("unshare") || said.contains("chroot:") {
            eprintln!("skipped: nobody may change the root here: {said}");
            return;
        }
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {said}");
    }
}
