//! Where the bytes of a manifest or an artifact are: here, or with a connected peer.

use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::{Context, TaskError};
use crate::document::{
    ARTIFACT_MAX, AnyEnvelope, Envelope, Manifest, RAW_CODEC, Receipt, Sha256Digest, Stdin,
};
use crate::execution::Module;
use crate::storage::{Happening, Write};

/// Peers that are asked for something before it counts as missing.
const ASKED: usize = 8;
/// All of them together have so long: an artifact over a slow line, and a document.
const BLOCK_WITHIN: Duration = Duration::from_secs(90);
const DOCUMENT_WITHIN: Duration = Duration::from_secs(20);

impl Context {
    /// The bytes of a raw block, stored here afterwards. `likely` are peers to ask first. The second value says from whom.
    pub(super) async fn find_block(
        &self,
        what: &'static str,
        cid: &Cid,
        likely: &[String],
    ) -> Result<(Vec<u8>, Option<String>), TaskError> {
        if cid.codec() != RAW_CODEC || Sha256Digest::from_cid(cid).is_none() {
            return Err(TaskError::UnsupportedCid(cid.to_string()));
        }
        match self.storage.blocks().get(cid).await {
            Ok(Some(bytes)) => return Ok((bytes, None)),
            Ok(None) => {}
            // A damaged block has been removed and can be fetched like a missing one.
            Err(error) => tracing::warn!(%cid, %error, "a stored block cannot be used"),
        }
        let deadline = Instant::now() + BLOCK_WITHIN;
        for peer in self.peers_to_ask(likely) {
            let Some(network) = &self.network else { break };
            let Ok(fetched) = timeout_at(deadline, network.fetch(&peer, cid, ARTIFACT_MAX)).await else {
                break;
            };
            match fetched {
                Ok(bytes) => {
                    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    self.storage.blocks().put(bytes.clone()).await?;
                    self.write(vec![self.event(Happening::Artifact { cid: cid.to_string(), size })]).await?;
                    return Ok((bytes, Some(peer)));
                }
                Err(error) => tracing::debug!(%cid, %peer, %error, "not fetched from this peer"),
            }
        }
        Err(TaskError::Missing { what, id: cid.to_string() })
    }

    /// A module, in the file of its block; its bytes are read only where it has to be compiled.
    pub(super) async fn find_module(
        &self,
        terms: &Manifest,
        likely: &[String],
    ) -> Result<(Module, Option<String>), TaskError> {
        let cid = &terms.artifact.cid;
        let here = |path| Module::in_file(terms.artifact.sha256, path);
        if let Some(path) = self.storage.blocks().locate(cid).await {
            return Ok((here(path), None));
        }
        let (_, from) = self.find_block("artifact", cid, likely).await?;
        let path = self.storage.blocks().locate(cid).await;
        let path = path.ok_or_else(|| TaskError::Missing { what: "artifact", id: cid.to_string() })?;
        Ok((here(path), from))
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
                let (bytes, _) = self.find_block("input", &cid, likely).await?;
                Ok((bytes, Some(hold)))
            }
        }
    }

    /// A manifest by its id.
    pub(super) async fn find_manifest(
        &self,
        id: &Cid,
        likely: &[String],
    ) -> Result<Envelope<Manifest>, TaskError> {
        match self.find_document(id, likely).await? {
            Some(AnyEnvelope::Manifest(manifest)) => Ok(manifest),
            _ => Err(TaskError::Missing { what: "manifest", id: id.to_string() }),
        }
    }

    /// A receipt by its id.
    pub(super) async fn find_receipt(
        &self,
        id: &Cid,
        likely: &[String],
    ) -> Result<Envelope<Receipt>, TaskError> {
        match self.find_document(id, likely).await? {
            Some(AnyEnvelope::Receipt(receipt)) => Ok(receipt),
            _ => Err(TaskError::Missing { what: "receipt", id: id.to_string() }),
        }
    }

    async fn find_document(&self, id: &Cid, likely: &[String]) -> Result<Option<AnyEnvelope>, TaskError> {
        if let Some(known) = self.storage.document(id).await? {
            return Ok(Some(known));
        }
        let deadline = Instant::now() + DOCUMENT_WITHIN;
        for peer in self.peers_to_ask(likely) {
            let Some(network) = &self.network else { break };
            let Ok(fetched) = timeout_at(deadline, network.fetch_document(&peer, id)).await else { break };
            match fetched {
                Ok(document) => {
                    self.write(vec![Write::Document(document.clone())]).await?;
                    return Ok(Some(document));
                }
                Err(error) => tracing::debug!(%id, %peer, %error, "document not fetched from this peer"),
            }
        }
        Ok(None)
    }

    /// Connected peers, the likely ones first.
    fn peers_to_ask(&self, likely: &[String]) -> Vec<String> {
        let Some(network) = &self.network else { return Vec::new() };
        let state = network.state();
        let state = state.borrow();
        let connected = |peer: &&String| state.peers.iter().any(|known| known.peer_id == **peer);
        let first: Vec<String> = likely.iter().filter(connected).cloned().collect();
        let others = state.peers.iter().map(|peer| peer.peer_id.clone()).filter(|peer| !first.contains(peer));
        first.clone().into_iter().chain(others).take(ASKED).collect()
    }
}
