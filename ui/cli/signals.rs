//! The signals that end a program, heard from the first moment, so that no way out leaves nodes or keys behind.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

pub struct Signals([Signal; 3]);

impl Signals {
    /// # Errors
    /// When the system does not let them be heard.
    pub fn listen() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
        };
        Ok(Self([on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?]))
    }

    /// The first of them that comes.
    pub async fn any(&mut self) {
        let [term, int, hup] = &mut self.0;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {}
        }
    }
}
