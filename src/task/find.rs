//! Where a manifest, a receipt, a module or an input is: here, or with others.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use cid::Cid;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::{Context, TaskError};
use crate::artifact::{ArtifactError, ArtifactRecord, Artifacts, Lease, Order};
use crate::document::{ARTIFACT_MAX, AnyEnvelope, Envelope, Manifest, Receipt, Stdin};
use crate::execution::{MAX_STDIN_BYTES, Module, ModuleSource};
use crate::storage::Write;

/// Peers that are asked for a document before it counts as missing.
const ASKED: usize = 8;
/// All of them together have so long.
const DOCUMENT_WITHIN: Duration = Duration::from_secs(20);

/// A module in the store.
struct StoredModule {
    artifacts: Artifacts,
    cid: Cid,
}

impl fmt::Debug for StoredModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stored module {}", self.cid)
    }
}

impl ModuleSource for StoredModule {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.artifacts.bytes_blocking(&self.cid, ARTIFACT_MAX)?)
    }
}

fn missing(what: &'static str, id: &Cid) -> TaskError {
    let tried = "no connected peer that was asked has it, nor the DHT".to_owned();
    TaskError::Missing { what, id: id.to_string(), tried }
}

impl Context {
    /// An artifact, in the store afterwards, where it stays while the lease is held. The last value says from whom it came.
    pub(super) async fn find_artifact(
        &self,
        what: &'static str,
        order: Order,
    ) -> Result<(ArtifactRecord, Lease, Option<String>), TaskError> {
        let lease = self.artifacts.hold(&order.cid);
        let got = self.artifacts.get(&order).await;
        let (record, sources) = got.map_err(|error| match error {
            ArtifactError::Missing { tried, .. } => {
                TaskError::Missing { what, id: order.cid.to_string(), tried }
            }
            error => TaskError::Artifact(error),
        })?;
        let most = sources.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(source, _)| source);
        Ok((record, lease, most))
    }

    /// A manifest's module; its bytes are read only where it has to be compiled.
    pub(super) async fn find_module(
        &self,
        terms: &Manifest,
        likely: &[String],
    ) -> Result<(Module, Lease, Option<String>), TaskError> {
        let order = Order {
            likely: likely.to_vec(),
            hints: terms.providers.clone(),
            sha256: Some(terms.artifact.sha256),
            ..Order::new(terms.artifact.cid, ARTIFACT_MAX)
        };
        let (record, lease, from) = self.find_artifact("artifact", order).await?;
        if record.size != terms.artifact.size {
            return Err(TaskError::Refused(format!(
                "the artifact {} has {} bytes, where the manifest says {}",
                record.cid, record.size, terms.artifact.size
            )));
        }
        let source = StoredModule { artifacts: self.artifacts.clone(), cid: record.cid };
        Ok((Module::stored(record.sha256, Arc::new(source)), lease, from))
    }

    /// The bytes a task reads on stdin, and for large ones a place in memory, to be held as long as they are.
    pub(super) async fn find_stdin(
        &self,
        manifest: &Manifest,
        likely: &[String],
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), TaskError> {
        match manifest.stdin() {
            Stdin::Inline(bytes) => Ok((bytes, None)),
            Stdin::Blob(cid) => {
                let hold = Arc::clone(&self.inputs).acquire_owned().await.map_err(|_| TaskError::Stopping)?;
                let order = Order {
                    likely: likely.to_vec(),
                    hints: manifest.providers.clone(),
                    ..Order::new(cid, MAX_STDIN_BYTES)
                };
                let (record, _lease, _) = self.find_artifact("input", order).await?;
                Ok((self.artifacts.bytes(&record.cid, MAX_STDIN_BYTES).await?, Some(hold)))
            }
        }
    }

    /// A manifest by its id.
    pub(super) async fn find_manifest(
        &self,
        id: &Cid,
        likely: &[String],
    ) -> Result<Envelope<Manifest>, TaskError> {
        let found = self.find_document(id, likely).await?.ok_or_else(|| missing("manifest", id))?;
        found.manifest().map_err(|_| missing("manifest", id))
    }

    /// A receipt by its id.
    pub(super) async fn find_receipt(
        &self,
        id: &Cid,
        likely: &[String],
    ) -> Result<Envelope<Receipt>, TaskError> {
        let found = self.find_document(id, likely).await?.ok_or_else(|| missing("receipt", id))?;
        found.receipt().map_err(|_| missing("receipt", id))
    }

    async fn find_document(&self, id: &Cid, likely: &[String]) -> Result<Option<AnyEnvelope>, TaskError> {
        if let Some(known) = self.storage.document(id).await? {
            return Ok(Some(known));
        }
        let deadline = Instant::now() + DOCUMENT_WITHIN;
        for peer in self.peers_to_ask(likely) {
            let Some(network) = &self.network else { break };
            let Ok(fetched) = timeout_at(deadline, network.document(&peer, id)).await else { break };
            match fetched {
                Ok(document) => {
                    self.write(vec![Write::Document(document.clone())]).await?;
                    return Ok(Some(document));
                }
                Err(error) => tracing::debug!(%id, %peer, %error, "document not fetched from this peer"),
            }
        }
        let Some(network) = &self.network else { return Ok(None) };
        match timeout_at(deadline, network.search(id)).await {
            Ok(Ok(document)) => {
                self.write(vec![Write::Document(document.clone())]).await?;
                return Ok(Some(document));
            }
            Ok(Err(error)) => tracing::debug!(%id, %error, "document not in the DHT"),
            Err(_) => {}
        }
        // It may have come by itself meanwhile.
        Ok(self.storage.document(id).await?)
    }

    /// Connected peers, the likely ones first.
    pub(super) fn peers_to_ask(&self, likely: &[String]) -> Vec<String> {
        let Some(network) = &self.network else { return Vec::new() };
        let state = network.state();
        let state = state.borrow();
        let peers: Vec<String> = state.nodes().map(|peer| peer.peer_id.clone()).collect();
        let first: Vec<String> = likely.iter().filter(|peer| peers.contains(peer)).cloned().collect();
        let others = peers.into_iter().filter(|peer| !first.contains(peer));
        first.clone().into_iter().chain(others).take(ASKED).collect()
    }
}
