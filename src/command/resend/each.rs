//! `resend -- COMMAND`: a program of the partner's, run once for each permit.

use std::ffi::OsString;
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::permits::{Given, Handing};
use crate::clock::{Moment, Tick, tick};
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused, Stopped};
use crate::run::halt::Halt;
use crate::run::permit::Permit;

/// So long after its end what a command said is waited for: it is all in the pipe by then.
const LINGERS: Duration = Duration::from_secs(1);

/// More of what a command says is no `end` line, in bytes.
const LONGEST_OUTPUT: u64 = 1024 * 1024;

/// Runs the command for each permit until there is none, or `halt` asks it to stop: then the one that is under way is heard
/// out, and killed when it is asked again.
///
/// # Errors
/// [`Refused`] when nobody approved the list; when the ledger cannot be read or written; when another run holds it for too
/// long.
pub async fn each(
    handing: &mut Handing<'_>,
    config: &Config,
    command: &[OsString],
    json: bool,
    mut halt: Halt,
) -> Result<u8> {
    let why = loop {
        let given = tokio::select! {
            biased;
            _ = halt.asked() => break String::new(),
            given = handing.next() => given?,
        };
        let permit = match given {
            Given::Permit(permit) => permit,
            Given::None(why) => break why,
        };
        if Moment::now() > permit.deadline {
            handing.left_in_doubt(
                "the permit was too late when it was written (was the ledger busy?), and the command was not run",
            );
            continue;
        }
        match heard(config, command, &permit, &mut halt).await {
            Ok(line) => {
                if let Err(wrong) = handing.end(&line) {
                    handing.left_in_doubt(&format!("the command's last line was no `end` line: {wrong}"));
                }
            }
            Err(error) => handing.left_in_doubt(&format!("{error:#}")),
        }
    };
    let code = handing.close().await?;
    if let Some(code) = halt.code() {
        return Err(anyhow::Error::new(Stopped(code)));
    }
    if code == exit::REFUSED {
        bail!(Refused(why));
    }
    if json {
        let shown = json!({
            "ledger": handing.identity,
            "run": handing.run_id(),
            "permitted": handing.given,
            "succeeded": handing.succeeded,
            "stopped": handing.stopped(),
            "why": why,
        });
        document::print("resend", code, &shown)?;
    } else {
        let (given, succeeded) = (handing.given, handing.succeeded);
        // What it stopped for was said when it did.
        let why = if handing.stopped().is_some() { "stopped" } else { &why };
        // It is done, whether anybody reads this or not.
        let _ = writeln!(std::io::stderr(), "{given} permitted, {succeeded} succeeded; {why}");
    }
    Ok(code)
}

/// The last line of what the command says about a permit.
async fn heard(config: &Config, command: &[OsString], permit: &Permit, halt: &mut Halt) -> Result<String> {
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    // A signal from the terminal is for us: what it sends is heard out.
    #[cfg(unix)]
    command.process_group(0);
    let name = program.to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
    // Who has not ended by then counts as if it had: whatever it still sent would come too late.
    let longest = tokio::time::sleep(config.windows.intent.duration());
    let said = tokio::select! {
        said = talk(&mut child, permit) => said,
        () = longest => Err(anyhow::anyhow!("{name} took longer than settle.intent and was killed")),
        _ = halt.insisted() => Err(anyhow::anyhow!("{name} was killed")),
    };
    let (said, succeeded) = match said {
        Ok(said) => said,
        Err(error) => {
            kill(&mut child).await;
            return Err(error);
        }
    };
    if !succeeded {
        bail!("{name} failed");
    }
    let text = String::from_utf8(said).ok().with_context(|| format!("{name} said what is no text"))?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map(str::to_owned).with_context(|| format!("{name} said nothing"))
}

/// Gives the permit and hears it out; says whether it ended well.
async fn talk(child: &mut Child, permit: &Permit) -> Result<(Vec<u8>, bool)> {
    let stdin = child.stdin.take();
    let line = format!("{}\n", serde_json::to_string(permit)?);
    let feed = async {
        if let Some(mut stdin) = stdin {
            // It may know all that it needs already.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
    };
    let ((), heard) = tokio::join!(feed, hear_out(child));
    let (said, status) = heard?;
    Ok((said, status.success()))
}

/// What a command says until it ends. What it left behind may hold its output open; that is not waited for.
async fn hear_out(child: &mut Child) -> std::io::Result<(Vec<u8>, ExitStatus)> {
    let (mut said, mut ended) = (Vec::new(), None);
    let mut stdout = child.stdout.take().map(|stdout| stdout.take(LONGEST_OUTPUT));
    while let Some(open) = &mut stdout {
        tokio::select! {
            biased;
            read = open.read_buf(&mut said) => if read? == 0 {
                stdout = None;
            },
            status = child.wait(), if ended.is_none() => ended = Some((status?, tick() + LINGERS)),
            () = lingered(ended.map(|(_, until)| until)) => stdout = None,
        }
    }
    match ended {
        Some((status, _)) => Ok((said, status)),
        None => Ok((said, child.wait().await?)),
    }
}

/// Until then, if the command has ended.
async fn lingered(until: Option<Tick>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Ends it with all that it started.
async fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    let _ = child.kill().await;
}
