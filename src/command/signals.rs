//! The signals that a command listens to.

use anyhow::{Context, Result};

use crate::exit;
use crate::run::halt::Halt;

/// From now on SIGINT and SIGTERM ask to stop; the second of them, at once.
///
/// # Errors
/// When the system lets no signal be listened to.
pub fn halt() -> Result<Halt> {
    let (lever, halt) = Halt::new();
    let mut stops = Stops::listen()?;
    tokio::spawn(async move {
        loop {
            let code = stops.next().await;
            lever.pull(code);
        }
    });
    Ok(halt)
}

/// From now on a file that grows beyond the process's limit (RLIMIT_FSIZE) is an error of its writing, with its remedy. The
/// signal that comes with it would end the process without a word.
///
/// # Errors
/// When the system lets no signal be listened to.
pub fn outlive_file_limits() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // The handler stays when this is dropped.
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        let _ = signal(kind).context("failed to listen to signals")?;
    }
    Ok(())
}

/// SIGINT and SIGTERM.
struct Stops {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stops {
    #[cfg(unix)]
    fn listen() -> Result<Stops> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("failed to listen to signals");
        Ok(Stops { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn listen() -> Result<Stops> {
        Ok(Stops {})
    }

    /// The exit code of the next one.
    async fn next(&mut self) -> u8 {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => exit::INTERRUPTED,
            _ = self.terminate.recv() => exit::TERMINATED,
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            exit::INTERRUPTED
        }
    }
}

/// SIGHUP: the configuration is to be read again.
pub struct Reloads {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Reloads {
    /// From now on SIGHUP does not end the process.
    ///
    /// # Errors
    /// When the system lets no signal be listened to.
    pub fn listen() -> Result<Reloads> {
        Ok(Reloads {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .context("failed to listen to signals")?,
        })
    }

    /// Resolves at the next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
