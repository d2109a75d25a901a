//! The agent card: what a node says of itself to the peers it meets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::Payment;
use super::strict::{self, MAX_DOCUMENT_BYTES};
use super::{Document, DocumentError, Faults};
use crate::identity::Did;

const NAME_MAX: usize = 64;
const LIST_MAX: usize = 32;
const ITEM_MAX: usize = 256;

/// A node's name, what it can do, what it asks and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentCard {
    pub did: Did,
    pub name: String,
    /// Version of the program, `0.1.0`.
    pub version: String,
    pub capabilities: Vec<String>,
    /// What it asks for its work.
    pub prices: Payment,
    /// Multiaddresses.
    pub addresses: Vec<String>,
    /// The newest card counts.
    pub issued_at: Timestamp,
}

impl AgentCard {
    /// A card with a name and nothing else.
    pub fn new(did: Did, name: &str, issued_at: Timestamp) -> Self {
        Self {
            did,
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Vec::new(),
            prices: Payment::default(),
            addresses: Vec::new(),
            issued_at,
        }
    }
}

impl Document for AgentCard {
    const PAYLOAD_TYPE: &'static str = "application/vnd.zerostate.agent-card.v1+json";

    fn encode(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(DocumentError::json)
    }

    fn decode(payload: &[u8]) -> Result<Self, DocumentError> {
        let card: Self = strict::from_slice(payload, MAX_DOCUMENT_BYTES)?;
        card.faults().into_result().map_err(DocumentError::Faults)?;
        Ok(card)
    }

    fn author(&self) -> &Did {
        &self.did
    }

    fn faults(&self) -> Faults {
        let mut f = Faults::default();
        let short = |text: &str, max: usize| (1..=max).contains(&text.len());
        f.check(short(&self.name, NAME_MAX), "name", &self.name, "1 to 64 bytes");
        f.check(short(&self.version, NAME_MAX), "version", &self.version, "1 to 64 bytes");
        for (field, list) in [("capabilities", &self.capabilities), ("addresses", &self.addresses)] {
            f.check(list.len() <= LIST_MAX, field, list.len(), "at most 32 items");
            f.check(
                list.iter().all(|item| short(item, ITEM_MAX)),
                field,
                "an item",
                "items of 1 to 256 bytes",
            );
        }
        f
    }
}
