//! All that speaks for a receipt or against it, as a bundle has it.

use cid::Cid;

use super::TaskError;
use crate::document::{AnyEnvelope, Envelope, Receipt};
use crate::network::Network;
use crate::storage::Storage;

/// The manifest first, then the receipt, what was agreed to and committed to, the votes, and the cards of those who have signed
/// any of it.
///
/// # Errors
/// [`TaskError::Missing`] where the manifest is not here: without it, it would prove nothing.
pub async fn evidence(
    storage: &Storage,
    network: Option<&Network>,
    receipt: &Envelope<Receipt>,
) -> Result<Vec<AnyEnvelope>, TaskError> {
    let claim = receipt.document();
    let mut parties = vec![claim.executor.clone(), claim.requester.clone()];
    let manifest = storage.document(&claim.manifest).await?.ok_or_else(|| TaskError::Missing {
        what: "manifest",
        id: claim.manifest.to_string(),
        tried: "without it a receipt's bundle proves nothing; `zerostate attest RECEIPT` gets it".to_owned(),
    })?;
    let mut documents = vec![manifest, AnyEnvelope::Receipt(receipt.clone())];
    if let Some(agreement) = &claim.agreement {
        documents.extend(storage.document(agreement).await?);
    }
    for id in storage.evidence_of(receipt.id()).await?.iter().filter_map(|id| id.parse::<Cid>().ok()) {
        let document = storage.document(&id).await?;
        documents.extend(
            document.into_iter().filter(|document| !documents.contains(document)).collect::<Vec<_>>(),
        );
    }
    for vote in storage.attestations_of(&receipt.id().to_string()).await? {
        let Ok(id) = vote.attestation_id.parse::<Cid>() else { continue };
        documents.extend(storage.document(&id).await?);
    }
    parties.extend(documents.iter().map(|document| document.signer().clone()));
    parties.sort_unstable();
    parties.dedup();
    if let Some(network) = network {
        let state = network.state().borrow().clone();
        let cards = parties.iter().filter_map(|party| state.peer_of(party)?.card.as_deref().cloned());
        documents.extend(cards.map(AnyEnvelope::AgentCard));
    }
    Ok(documents)
}
