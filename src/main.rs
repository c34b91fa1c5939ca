//! The command: parse, run, map the error to an exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use privo_reconcile::cli::Cli;
use privo_reconcile::{command, document, exit, log};

/// A sixth of a run's time goes into allocations with the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    log::start();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return told_usage(&error),
    };
    let (name, json) = (cli.command.name(), cli.json);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "privo-reconcile: failed to start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(command::execute(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(exit::DONE),
        Err(error) => {
            let code = exit::of_error(&error);
            command::say_error(&error);
            if json {
                // A reader that went away has no need of it.
                let _ = document::print_error(name, code, &format!("{error:#}"));
            }
            ExitCode::from(code)
        }
    }
}

/// Help and version, or a mistake in the usage.
fn told_usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::from(exit::DONE);
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let _ = document::print_error("privo-reconcile", exit::REFUSED, message);
    }
    ExitCode::from(exit::REFUSED)
}

/// The reader of our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(broken)
            || matches!(cause.downcast_ref::<csv::Error>().map(csv::Error::kind), Some(csv::ErrorKind::Io(error)) if broken(error))
    })
}
