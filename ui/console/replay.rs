//! A journal that was kept, shown as it was after any of its entries. To the rest of the console it is a node like another.

use std::sync::Arc;

use tokio::sync::watch;
use zerostate::api::{Link, Recording, Snapshot};

/// A recording, and where its snapshots go.
#[derive(Debug, Clone)]
pub struct Replay {
    pub entries: usize,
    recording: Arc<Recording>,
    shown: watch::Sender<Option<Arc<Snapshot>>>,
}

impl Replay {
    /// Shows a recording at its end, by a link like that to any node.
    pub fn new(recording: Recording) -> (Self, Link) {
        let entries = recording.len();
        let (shown, snapshots) = watch::channel(Some(Arc::new(recording.snapshot(entries))));
        let recording = Arc::new(recording);
        let link = Link::new(recording.clone(), snapshots);
        (Self { entries, recording, shown }, link)
    }

    /// Shows what it was after so many entries.
    pub fn seek(&self, to: usize) {
        self.shown.send_replace(Some(Arc::new(self.recording.snapshot(to))));
    }
}
