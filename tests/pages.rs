//! Proves that man pages, completions and help tell every command and flag, that colours keep out where they are not
//! wanted, and that a reader who has seen enough is no failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use privo_reconcile::cli::Cli;

/// A command with those below it: its name with dashes, how it is called, and itself.
fn commands() -> Vec<(String, Vec<String>, clap::Command)> {
    fn add(all: &mut Vec<(String, Vec<String>, clap::Command)>, words: &[String], command: &clap::Command) {
        let name = std::iter::once("privo-reconcile").chain(words.iter().map(String::as_str)).collect::<Vec<_>>();
        all.push((name.join("-"), words.to_vec(), command.clone()));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            add(all, &[words, &[below.get_name().to_owned()]].concat(), below);
        }
    }
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut all = Vec::new();
    add(&mut all, &[], &root);
    assert!(all.len() > 12, "{}", all.len());
    all
}

/// Every flag and operand of a command that is shown.
fn shown(command: &clap::Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown
        .map(|argument| match argument.get_long() {
            Some(long) => format!("--{long}"),
            None => argument.get_value_names().map_or_else(String::new, |names| names.concat()),
        })
        .collect()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privo-reconcile"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("skipped: there is no {program}");
    }
    found.is_ok()
}

fn man_pages(folder: &Path) {
    let ran = run(&["man", folder.to_str().unwrap()], &[]);
    assert!(ran.status.success() && ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn every_command_has_a_man_page_that_tells_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    man_pages(folder.path());
    for (name, _, command) in commands() {
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        assert!(page.is_ascii(), "{name}");
        let page = page.replace('\\', "");
        for word in shown(&command) {
            assert!(page.contains(&word), "{name} lacks {word}");
        }
        let section = if name == "privo-reconcile" { ".SH \"EXIT STATUS\"" } else { ".SH EXAMPLES" };
        assert!(page.contains(section), "{name} lacks {section}");
    }
    let pages = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(pages, commands().len(), "hidden commands have no page");
}

#[test]
fn no_man_page_makes_its_formatter_complain() {
    if !there("groff") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    man_pages(folder.path());
    for (name, _, _) in commands() {
        let page = folder.path().join(format!("{name}.1"));
        let ran =
            Command::new("groff").args(["-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=120n"]).arg(page).output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{name}: {}", text(ran.stderr));
        assert!(text(ran.stdout).contains("NAME"));
    }
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let ran = run(&["man", "/nonexistent/folder"], &[]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(text(ran.stderr).contains("/nonexistent/folder"));
}

#[test]
fn completions_know_every_command_and_their_shells_can_read_them() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let ran = run(&["completions", shell], &[]);
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        let script = text(ran.stdout);
        for (name, words, command) in commands() {
            assert!(words.iter().all(|word| script.contains(word)), "{shell}: {name}");
            for word in shown(&command).iter().filter_map(|word| word.strip_prefix("--")) {
                assert!(script.contains(word), "{shell}: {name} --{word}");
            }
        }
        let file = folder.path().join(shell);
        std::fs::write(&file, script).unwrap();
        if there(shell) {
            let ran = Command::new(shell).arg(check).arg(&file).output().unwrap();
            assert!(ran.status.success() && ran.stderr.is_empty(), "{shell}: {ran:?}");
        }
    }
}

#[test]
fn every_commands_help_has_an_example() {
    for (name, words, _) in commands().into_iter().skip(1) {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = text(run(&arguments, &[]).stdout);
        let examples = help.split_once("\nExample").unwrap_or_else(|| panic!("{name} has no example")).1;
        assert!(examples.contains(&format!("privo-reconcile {}", words[0])), "{name}: {examples}");
    }
}

#[test]
fn no_color_keeps_colours_out() {
    let escape = |variables: &[(&str, &str)]| run(&["--help"], variables).stdout.contains(&0x1b);
    assert!(escape(&[("CLICOLOR_FORCE", "1")]), "colours can be had");
    assert!(!escape(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!escape(&[]), "and are not for a pipe");
    let refused = |variables: &[(&str, &str)]| run(&["frobnicate"], variables).stderr.contains(&0x1b);
    assert!(refused(&[("CLICOLOR_FORCE", "1")]) && !refused(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    for arguments in [&["completions", "bash"][..], &["completions", "zsh"], &["--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_privo-reconcile"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = child.wait_with_output().unwrap();
        assert_eq!((ran.status.code(), text(ran.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
}
