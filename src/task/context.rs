//! What every life of a task needs of the node around it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::TaskError;
use crate::artifact::Artifacts;
use crate::document::AnyEnvelope;
use crate::execution::Runners;
use crate::identity::Identity;
use crate::network::Network;
use crate::storage::{Storage, StorageError, Write};

/// Inputs of up to 64 MiB each that are in memory while their tasks wait and run.
const INPUTS_AT_ONCE: usize = 8;
/// How long a write waits between tries while the disk is full.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(2);

/// What the node does unasked.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Attest every receipt that is announced.
    pub attest_always: bool,
    /// Run own tasks here.
    pub self_execute: bool,
}

/// The engines below, and who this node is.
pub struct Context {
    pub identity: Arc<Identity>,
    pub storage: Storage,
    pub artifacts: Artifacts,
    pub runners: Runners,
    /// Absent when something is run without a node.
    pub network: Option<Network>,
    pub policy: Policy,
    /// Held while attestations are counted, so that a quorum is reached once. Of each task that waits for its quorum, what
    /// ends the waiting.
    pub(super) waiting: Mutex<HashMap<String, CancellationToken>>,
    /// Ids of announced documents that are being taken in.
    pub(super) in_hand: Mutex<HashSet<Cid>>,
    /// Held from looking for an own attestation of a receipt until one is stored: a witness signs once.
    pub(super) signing: Mutex<()>,
    /// Places for large inputs.
    pub(super) inputs: Arc<Semaphore>,
}

impl Context {
    /// A context; see the fields.
    pub fn new(
        identity: Arc<Identity>,
        storage: Storage,
        artifacts: Artifacts,
        runners: Runners,
        network: Option<Network>,
        policy: Policy,
    ) -> Self {
        Self {
            identity,
            storage,
            artifacts,
            runners,
            network,
            policy,
            waiting: Mutex::default(),
            in_hand: Mutex::default(),
            signing: Mutex::default(),
            inputs: Arc::new(Semaphore::new(INPUTS_AT_ONCE)),
        }
    }

    /// Writes what must not be lost: a full disk is waited out, anything else is an error.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), StorageError> {
        loop {
            match self.storage.write(&writes).await {
                Err(StorageError::Full(why)) => {
                    tracing::error!(%why, "the disk is full; the work waits until there is room");
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// Tells the peers; what cannot be told now is in the network's outbox or in its catch-up, so it is only logged.
    pub(super) async fn announce(&self, document: &AnyEnvelope) {
        let Some(network) = &self.network else { return };
        if let Err(error) = network.publish(Arc::clone(document.bytes())).await {
            tracing::debug!(id = %document.id(), %error, "not announced now");
        }
    }

    pub(super) fn random(&self) -> Result<[u8; 32], TaskError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| TaskError::Refused(format!("the system gave no randomness: {error}")))?;
        Ok(bytes)
    }
}
