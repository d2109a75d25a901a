//! A bundle's task is run again, in a folder that is gone afterwards: no node, no network, nothing signed.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zerostate::api::ApiError;
use zerostate::config::Config;
use zerostate::document::{AnyEnvelope, Attestation};
use zerostate::identity::PassphraseSource;
use zerostate::node::Home;
use zerostate::proof::Bundle;
use zerostate::storage::Write;

use super::{Failure, output};
use crate::signals::Signals;

/// What a witness would say of the receipt.
pub async fn rerun(bundle: &Bundle) -> Result<Attestation, Failure> {
    if !bundle.can_be_run() {
        return Err(Failure::failed("what is to be run again is not in the bundle")
            .hint("`zerostate receipt export RECEIPT --bundle --with-artifact` puts it in"));
    }
    let mut name = [0; 8];
    getrandom::fill(&mut name)
        .map_err(|error| Failure::failed(format!("the system gave no randomness: {error}")))?;
    let folder = Folder(std::env::temp_dir().join(format!("zerostate-verify-{}", hex::encode(name))));
    output::note("running the task again …");
    let mut signals = Signals::listen()?;
    // Whoever is stopped leaves nothing behind either: there is a key in the folder.
    tokio::select! {
        biased;
        found = run_in(&folder.0, bundle) => found,
        _ = signals.next() => Err(Failure::failed("stopped before the task was run again")),
    }
}

async fn run_in(folder: &Path, bundle: &Bundle) -> Result<Attestation, Failure> {
    let home = Home::open(folder, &PassphraseSource::None)?;
    let config = Config::default();
    let blocks = home.storage.blocks();
    for (cid, bytes) in &bundle.blocks {
        blocks.put_checked(cid, bytes.clone()).await.map_err(ApiError::from)?;
    }
    let manifest = Write::Document(AnyEnvelope::Manifest(bundle.manifest.clone()));
    home.storage.write(&[manifest]).await.map_err(ApiError::from)?;
    let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let tasks = home.tasks_alone(&home.artifacts(&config)?, &config, &tracker, shutdown.clone())?;
    let examined = tasks.examine(bundle.receipt.clone()).await;
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(examined.map_err(ApiError::from)?.attestation)
}

/// Removed when it is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            output::note(&format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}
