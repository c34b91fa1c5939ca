//! How a run is asked to stop: first to finish what is in flight, and then at once.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Sleep;

use crate::clock::Span;

/// What a run listens to. Its clones all hear the same.
#[derive(Clone, Debug)]
pub struct Halt(watch::Receiver<Asked>);

/// How long the runtime looks for signals.
const TO_HEAR: Duration = Duration::from_millis(1);

/// What asks a run to stop.
#[derive(Debug)]
pub struct Lever(watch::Sender<Asked>);

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    times: u32,
    /// The exit code of the first.
    code: u8,
}

impl Halt {
    /// One that is asked by its lever.
    pub fn new() -> (Lever, Halt) {
        let (lever, halt) = watch::channel(Asked::default());
        (Lever(lever), Halt(halt))
    }

    /// One that nobody asks.
    pub fn never() -> Halt {
        Halt::new().1
    }

    /// The exit code, if it was asked already.
    pub fn code(&self) -> Option<u8> {
        let asked = *self.0.borrow();
        (asked.times > 0).then_some(asked.code)
    }

    /// Resolves to the exit code when the run is asked to stop: it begins nothing new.
    pub async fn asked(&mut self) -> u8 {
        self.times(1).await
    }

    /// The exit code, if it was asked while the caller kept this thread busy.
    pub async fn asked_meanwhile(&mut self) -> Option<u8> {
        // In the first wait the runtime sees the signal, which may be only when the wait is over; before the second one is,
        // the task that listens to signals has had its turn.
        for _ in 0..2 {
            let _ = tokio::time::timeout(TO_HEAR, self.asked()).await;
        }
        self.code()
    }

    /// Resolves to the exit code when the run is asked again: it stops at once.
    pub async fn insisted(&mut self) -> u8 {
        self.times(2).await
    }

    async fn times(&mut self, times: u32) -> u8 {
        match self.0.wait_for(|asked| asked.times >= times).await {
            Ok(asked) => asked.code,
            // Without its lever nobody can ask any more.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Lever {
    /// Asks to stop with an exit code. Asked again, the run stops at once; the first code stays.
    pub fn pull(&self, code: u8) {
        self.0.send_modify(|asked| {
            asked.code = if asked.times == 0 { code } else { asked.code };
            asked.times += 1;
        });
    }
}

/// How a pass comes to its end when it is asked to stop.
pub struct Ending<'a> {
    halt: &'a mut Halt,
    /// How long what is in flight may take then.
    timeout: Duration,
    /// Asked to stop: the exit code, and how long it is waited still.
    begun: Option<(u8, Pin<Box<Sleep>>)>,
}

impl<'a> Ending<'a> {
    pub fn new(halt: &'a mut Halt, timeout: Span) -> Ending<'a> {
        Ending { halt, timeout: timeout.duration(), begun: None }
    }

    /// Asked to stop: the exit code. Nothing new is begun then.
    pub fn begun(&self) -> Option<u8> {
        self.begun.as_ref().map(|(code, _)| *code)
    }

    /// Resolves when what is in flight is waited for no longer. It may be dropped and called again.
    pub async fn at_once(&mut self) {
        if self.begun.is_none() {
            let code = self.halt.asked().await;
            self.begun = Some((code, Box::pin(tokio::time::sleep(self.timeout))));
        }
        let Some((_, patience)) = &mut self.begun else { return };
        tokio::select! {
            _ = self.halt.insisted() => {}
            () = patience => {}
        }
    }
}
