//! The signals that end a program, heard from the first moment, so that no way out leaves nodes, keys or a spoilt terminal behind.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// They are waited for beside all else: once the line of a terminal is cut, its keys never come again.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    /// # Errors
    /// When the system does not let them be heard.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: hear(SignalKind::hangup())?,
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
            quit: hear(SignalKind::quit())?,
        })
    }

    /// The number of the next one that comes.
    pub async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
        };
        kind.as_raw_value()
    }

    /// Those that end it whatever it does; ^C and ^\ are meant for the program that has the terminal.
    pub async fn ended(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        kind.as_raw_value()
    }

    /// Forgets what was typed meanwhile for the program that had the terminal: ^C and ^\.
    ///
    /// # Errors
    /// When the system does not let it be heard again.
    pub fn forget_typed(&mut self) -> anyhow::Result<()> {
        self.interrupt = hear(SignalKind::interrupt())?;
        self.quit = hear(SignalKind::quit())?;
        Ok(())
    }
}

fn hear(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot listen for signals")
}
