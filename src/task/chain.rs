//! The chain of what this node has signed, and those of others: its head is told with what is new in it, and two heads that do not go
//! together are kept as a proof.

use std::sync::PoisonError;
use std::time::Duration;

use cid::Cid;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{Context, TaskError};
use crate::document::{AnyEnvelope, Entry, Envelope, Head, Relation, Untrusted};
use crate::identity::Did;
use crate::proof::Equivocation;
use crate::storage::{Happening, Write};

/// Heads that are followed back to where two chains meet: each names up to 64 entries.
const STEPS: usize = 32;
/// The folder of the proofs that somebody keeps two chains.
pub const EQUIVOCATIONS: &str = "equivocations";
/// How long following one may take altogether.
const COMPARE_WITHIN: Duration = Duration::from_secs(20);
/// Nodes of which it has been told that their chains cannot be followed.
const GAPS: usize = 1024;
/// How long a peer has to give one.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// What two heads of one node come to.
enum Compared {
    Extends,
    Forks(Box<Equivocation>),
    /// What is between is not to be had.
    Apart,
}

impl Context {
    /// Signs what is new in this node's chain and tells everybody.
    pub(super) async fn tell_head(&self) -> Result<(), TaskError> {
        let mut last = None;
        loop {
            let links = self.storage.new_links(self.identity.did(), Head::ENTRIES).await?;
            // Nothing is new, or the last head was not kept.
            if links.entries.is_empty() || last == Some(links.start) {
                return Ok(());
            }
            last = Some(links.start);
            let grown = u64::try_from(links.entries.len()).unwrap_or(u64::MAX);
            let head = Head {
                node: self.identity.did().clone(),
                length: links.start.saturating_add(grown),
                base: links.base,
                entries: links.entries.iter().copied().map(Entry).collect(),
                before: links.before,
                at: Timestamp::now(),
            };
            let envelope = Envelope::sign(&self.identity, &head)?;
            let document = AnyEnvelope::Head(envelope.clone());
            self.write(vec![Write::Document(document.clone()), Write::OwnHead(envelope)]).await?;
            if grown < u64::try_from(Head::ENTRIES).unwrap_or(u64::MAX) {
                if let Some(network) = &self.network
                    && let Err(error) = network.publish(&document).await
                {
                    tracing::debug!(%error, "the chain's head is not announced now");
                }
                return Ok(());
            }
        }
    }

    /// Holds a head against the last one that is known of its node.
    pub(super) async fn take_in_head(&self, from: &str, head: Envelope<Head>) -> Result<(), TaskError> {
        let node = &head.signer().clone();
        let _comparing = self.chains.lock(node.as_str()).await;
        if node == self.identity.did() || self.storage.equivocates(node).await? {
            return Ok(());
        }
        let Some(known) = self.storage.head(node).await? else {
            let near = self.is_connected(node);
            return Ok(self.write(vec![Write::Head { head, near }]).await?);
        };
        if known.id() == head.id() {
            return Ok(());
        }
        let longer = known.document().length < head.document().length;
        let (late, early) = if longer { (&head, &known) } else { (&known, &head) };
        let likely = [from.to_owned(), node.peer_id()];
        match timeout(COMPARE_WITHIN, self.compare(late, early, &likely)).await.unwrap_or(Compared::Apart) {
            Compared::Forks(found) => self.keep_equivocation(&found).await,
            Compared::Extends if longer => Ok(self.write(vec![Write::Head { head, near: true }]).await?),
            Compared::Extends => Ok(()),
            // The earlier one is kept, so that whatever comes later is held against it.
            Compared::Apart if longer => self.note_gap(node, known.document().length).await,
            Compared::Apart => Ok(()),
        }
    }

    /// Follows the later head back to the earlier one, as far as the heads between are to be had.
    async fn compare(&self, late: &Envelope<Head>, early: &Envelope<Head>, likely: &[String]) -> Compared {
        let mut at = late.clone();
        for _ in 0..STEPS {
            if at.document().to(early.document()) != Relation::Apart {
                let forks = Equivocation::of(early.clone(), at);
                return forks.map_or(Compared::Extends, |found| Compared::Forks(Box::new(found)));
            }
            let Some(before) = at.document().before else { break };
            let Some(found) = self.find_head(&before, likely).await else { break };
            if found.signer() != at.signer() {
                break;
            }
            if let Some(found) = Equivocation::of(found.clone(), at.clone()) {
                return Compared::Forks(Box::new(found));
            }
            // It has to lead back, or it would lead in a circle.
            if found.document().length >= at.document().length {
                break;
            }
            at = found;
        }
        Compared::Apart
    }

    /// Tells the operator, once, that somebody's chain cannot be followed.
    async fn note_gap(&self, node: &Did, length: u64) -> Result<(), TaskError> {
        {
            let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
            if gaps.len() >= GAPS || !gaps.insert(node.clone()) {
                return Ok(());
            }
        }
        let text = format!(
            "the chain of {node} cannot be followed beyond entry {length}: the heads between are not to be had"
        );
        let warning = Happening::Warning { text: Untrusted::new(&text) };
        Ok(self.write(vec![Write::Event(Timestamp::now(), warning)]).await?)
    }

    /// A head by its id, from those who may have it. Only its own node keeps those before the last one.
    async fn find_head(&self, id: &Cid, likely: &[String]) -> Option<Envelope<Head>> {
        let network = self.network.as_ref()?;
        for peer in self.peers_to_ask(likely) {
            match timeout(HEAD_WITHIN, network.document(&peer, id)).await {
                Ok(Ok(AnyEnvelope::Head(head))) => return Some(head),
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => {
                    tracing::debug!(%id, %peer, %error, "a head is not to be had from this peer")
                }
                Err(_) => {}
            }
        }
        None
    }

    async fn keep_equivocation(&self, found: &Equivocation) -> Result<(), TaskError> {
        let node = found.node();
        let path = self.storage.keep_proof(EQUIVOCATIONS, &proof_name(node), found.text()).await?;
        tracing::warn!(%node, position = found.position, "a node keeps two chains");
        let event = Happening::Equivocation {
            node: node.clone(),
            position: found.position,
            proof: Untrusted::new(&path.display().to_string()),
        };
        let (first, second) = (found.first.clone(), found.second.clone());
        let proof = Write::Equivocation { first, second };
        Ok(self.write(vec![proof, Write::Event(Timestamp::now(), event)]).await?)
    }
}

/// What the proof of a node's two chains is called.
pub fn proof_name(node: &Did) -> String {
    node.as_str().replace(':', "-")
}
