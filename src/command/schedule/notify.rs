//! What the service manager is told (`sd_notify`), if there is one: ready, reloading, stopping, how it goes, and that the
//! service is alive. The watchdog's sign of life comes from the same task as the runs, so a run that hangs ends it.

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior};

/// The service manager's ear.
pub struct Notify {
    /// `None`: it wants no signs of life.
    alive: Option<Interval>,
    /// What it was told last of how it goes.
    status: String,
    stopping: bool,
    /// That it does not hear was said.
    deaf: bool,
}

impl Notify {
    /// Finds out what the service manager wants to be told.
    pub fn begin() -> Notify {
        let alive = sd_notify::watchdog_enabled().map(|timeout| timeout / 2).filter(|half| !half.is_zero());
        let alive = alive.map(|half| {
            let mut alive = tokio::time::interval(half);
            alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
            alive
        });
        Notify { alive, status: String::new(), stopping: false, deaf: false }
    }

    pub fn ready(&mut self) {
        self.send(&[NotifyState::Ready]);
    }

    /// The configuration is being read again; `ready` ends it.
    pub fn reloading(&mut self) {
        // systemd takes the one only with the other.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(&[NotifyState::Reloading, now]);
        }
    }

    pub fn stopping(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.send(&[NotifyState::Stopping]);
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// How it goes, for `systemctl status`.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            self.send(&[NotifyState::Status(status)]);
            status.clone_into(&mut self.status);
        }
    }

    /// Resolves when a sign of life has been given. May be dropped and called again.
    pub async fn watchdog(&mut self) {
        match &mut self.alive {
            Some(alive) => {
                alive.tick().await;
                self.send(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }

    fn send(&mut self, states: &[NotifyState]) {
        if let Err(error) = sd_notify::notify(states)
            && !self.deaf
        {
            self.deaf = true;
            super::say("notify", &format!("failed to notify the service manager: {error} (is NOTIFY_SOCKET right?)"));
        }
    }
}
