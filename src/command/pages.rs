//! `man` and `completions`: what a package brings beside the binary, made of the very command line it parses.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::Cli;
use crate::exit::{self, Refused};
use crate::outputs;

/// Writes a page for every command that is not hidden: `privo-reconcile.1`, `privo-reconcile-run.1`, ….
pub fn man(folder: &Path) -> Result<u8> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, None, folder)?;
    Ok(exit::DONE)
}

pub fn completions(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "privo-reconcile", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(exit::DONE)
}

fn write_pages(command: &clap::Command, parent: Option<&str>, folder: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, Some(name), folder)?;
    }
    let file = folder.join(format!("{name}.1"));
    if file.is_symlink() {
        // What it leads to may be anything, and here no configuration says what must be kept.
        bail!(Refused(format!("{} is a link (remove it, or name another folder)", file.display())));
    }
    outputs::refuse_foreign(&file)?;
    let page = page(command, parent).with_context(|| format!("failed to make the page {}", file.display()))?;
    outputs::write_whole(&file, |output| Ok(output.write_all(page.as_bytes())?))
}

fn page(command: &clap::Command, parent: Option<&str>) -> Result<String> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let version = concat!("privo-reconcile ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).source(version).manual("privo-reconcile");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::default();
    for (heading, lines) in sections(&command.get_after_help().map(ToString::to_string).unwrap_or_default()) {
        as_it_stands(&mut roff, &heading, &lines);
    }
    match parent {
        Some(parent) => as_it_stands(&mut roff, "SEE ALSO", &[format!("{parent}(1)")]),
        None => as_it_stands(&mut roff, "FILES", &files()),
    }
    roff.to_writer(&mut page)?;
    Ok(ascii(&String::from_utf8(page)?))
}

/// Letters that not every formatter takes, by their number.
fn ascii(text: &str) -> String {
    let one = |letter: char| match letter.is_ascii() {
        true => letter.to_string(),
        false => format!("\\[u{:04X}]", u32::from(letter)),
    };
    text.chars().map(one).collect()
}

/// Where a configuration is looked for, without what this user's environment makes of it.
fn files() -> Vec<String> {
    [
        "./privo-reconcile.toml",
        "$XDG_CONFIG_HOME/privo-reconcile/config.toml (default ~/.config)",
        "/etc/privo-reconcile/config.toml",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The text below a command's options by its headings: a line of its own that ends with a colon is one.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut lines: Vec<String> = paragraph.lines().map(str::to_owned).collect();
        let heading = match lines.first().and_then(|first| first.strip_suffix(':')) {
            Some("Exit codes") => "EXIT STATUS".to_owned(),
            Some("Example") => "EXAMPLES".to_owned(),
            Some(heading) => heading.to_uppercase(),
            None => "NOTES".to_owned(),
        };
        if heading != "NOTES" {
            lines.remove(0);
        }
        match sections.last_mut().filter(|(last, _)| *last == heading) {
            Some((_, before)) => before.extend(std::iter::once(String::new()).chain(lines)),
            None if lines.is_empty() => {}
            None => sections.push((heading, lines)),
        }
    }
    sections
}

fn as_it_stands(roff: &mut Roff, heading: &str, lines: &[String]) {
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.as_str())]);
    }
    roff.control("fi", []);
}
