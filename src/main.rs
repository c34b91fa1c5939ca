//! The command: parse, run, map the error to an exit code.

use std::process::ExitCode;

use clap::Parser;
use privo_reconcile::cli::Cli;
use privo_reconcile::{command, exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("privo-reconcile: failed to start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    match runtime.block_on(command::execute(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("privo-reconcile: {error:#}");
            ExitCode::from(exit::of_error(&error))
        }
    }
}

/// The reader of our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(broken)
            || matches!(cause.downcast_ref::<csv::Error>().map(csv::Error::kind), Some(csv::ErrorKind::Io(error)) if broken(error))
    })
}
