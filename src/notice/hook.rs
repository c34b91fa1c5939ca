//! Hooks: a command that is given a run's summary as JSON on standard input.
//!
//! It runs in a process group of its own, so that whatever it started is killed with it when its time is over. It gets
//! the job's environment without the variables that hold credentials. What it says is only shown when it fails.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::{FusedFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Hook, Summary};
use crate::document;

/// More than this of what a hook says is not kept, in bytes.
const SAID_LIMIT: usize = 8 * 1024;

/// What it started may hold its output open; nobody waits longer than this for its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Calls the hook.
///
/// # Errors
/// When it cannot be started, ends with another code than 0, or takes too long; then with what it said.
pub async fn call(hook: &Hook, summary: &Summary, secrets: &[&str]) -> Result<()> {
    let document = document::text("run", summary.exit, summary)?;
    let (program, arguments) = hook.command.split_first().context("hook.command is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in secrets {
        command.env_remove(name);
    }
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn().with_context(|| format!("failed to start {program} (is hook.command right?)"))?;
    let mut group = Group::of(&child);
    let mut said = [Vec::new(), Vec::new()];
    let ended = listen(child, document, &mut said, hook).await;
    if matches!(ended, Ok(Some(_))) {
        group.leave();
    }
    drop(group);
    let said = shown(&said);
    match ended.with_context(|| format!("failed to wait for {program}"))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{program} ended with {status}{said}"),
        None => bail!("{program} took longer than hook.timeout ({}) and was killed{said}", hook.timeout),
    }
}

/// Feeds it and hears it out. `None`: its time was over.
async fn listen(
    mut child: Child,
    document: String,
    said: &mut [Vec<u8>; 2],
    hook: &Hook,
) -> std::io::Result<Option<ExitStatus>> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A hook need not read it.
            let _ = stdin.write_all(document.as_bytes()).await;
        }
    };
    let [out, err] = said;
    let talk = async { tokio::join!(feed, hear(stdout, out), hear(stderr, err)) }.fuse();
    let mut talk = std::pin::pin!(talk);
    let ends = async {
        tokio::select! {
            status = child.wait() => status,
            _ = talk.as_mut() => child.wait().await,
        }
    };
    let ended = timeout(hook.timeout.duration(), ends).await;
    if ended.is_ok() && !talk.is_terminated() {
        let _ = timeout(LAST_WORDS, talk).await;
    }
    match ended {
        Ok(status) => status.map(Some),
        Err(_) => Ok(None),
    }
}

/// Reads to the end, so that the hook never waits for us, and keeps the beginning.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut part = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut part).await {
        let room = SAID_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..read.min(room)]);
    }
}

/// What it said, errors first, without what a terminal would take for a command.
fn shown([out, err]: &[Vec<u8>; 2]) -> String {
    let text = [err, out].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned()).join("\n");
    let text = text.trim().replace(|letter: char| letter.is_control() && letter != '\n', "·");
    if text.is_empty() { text } else { format!("; it said:\n{text}") }
}

/// The hook's process group: killed when dropped, unless it was left.
struct Group {
    id: Option<u32>,
}

impl Group {
    fn of(child: &Child) -> Group {
        Group { id: child.id() }
    }

    /// It ended by itself; what it left running is its own affair.
    fn leave(&mut self) {
        self.id = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process_group};
            let group = self.id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(group) = group {
                // Gone already is as good.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }
}
