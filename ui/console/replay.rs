//! A journal that was kept, shown as it was after any of its entries. To the rest of the console it is a node like another.

use std::sync::Arc;

use tokio::sync::watch;
use zerostate::api::{Link, Recording};

/// A recording, and the place that is wanted.
#[derive(Debug, Clone)]
pub struct Replay {
    pub entries: usize,
    wanted: watch::Sender<usize>,
}

impl Replay {
    /// Shows a recording at its end, by a link like that to any node. What it was at an entry is worked out beside the console, the
    /// place that was wanted last first.
    pub fn new(recording: Recording) -> (Self, Link) {
        let entries = recording.len();
        let (shown, snapshots) = watch::channel(Some(Arc::new(recording.snapshot(entries))));
        let (wanted, mut places) = watch::channel(entries);
        let recording = Arc::new(recording);
        let link = Link::new(recording.clone(), snapshots);
        tokio::spawn(async move {
            while places.changed().await.is_ok() {
                let (to, recording) = (*places.borrow_and_update(), Arc::clone(&recording));
                match tokio::task::spawn_blocking(move || recording.snapshot(to)).await {
                    Ok(snapshot) => shown.send_replace(Some(Arc::new(snapshot))),
                    Err(error) => return tracing::error!(%error, "the journal cannot be shown there"),
                };
            }
        });
        (Self { entries, wanted }, link)
    }

    /// Shows what it was after so many entries.
    pub fn seek(&self, to: usize) {
        self.wanted.send_replace(to);
    }
}
