//! `zerostate peers`: whom the running node is connected to.

use serde_json::{Value, json};
use zerostate::api::PeerView;

use super::{Globals, Outcome, output};

pub async fn run(globals: &Globals) -> Outcome {
    let snapshot = globals.client().await?.snapshot().await?;
    if globals.json {
        output::json(&snapshot.peers.iter().map(|peer| row(peer)).collect::<Vec<_>>())?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = snapshot
        .peers
        .iter()
        .map(|peer| {
            let name = peer
                .name
                .as_ref()
                .map_or_else(|| if peer.guest { "IPFS node" } else { "…" }.to_owned(), ToString::to_string);
            let did = peer.did.as_ref().map_or_else(|| peer.peer_id.clone(), ToString::to_string);
            let ping = peer
                .ping_us
                .last()
                .map_or("…".to_owned(), |us| format!("{:.1} ms", f64::from(*us) / 1000.0));
            let way = if peer.relayed { "relayed" } else { "direct" };
            vec![name, did, way.to_owned(), ping, peer.address.to_string()]
        })
        .collect();
    output::table(
        &["name", "did", "way", "ping", "address"],
        &rows,
        "no peers; `zerostate connect ADDR` dials one",
    )?;
    Ok(0)
}

/// A peer as JSON has it, with its round trips in nanoseconds like every other duration.
fn row(peer: &PeerView) -> Value {
    let mut value = serde_json::to_value(peer).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("ping_us");
        let pings: Vec<u64> = peer.ping_us.iter().map(|us| u64::from(*us).saturating_mul(1_000)).collect();
        fields.insert("ping_ns".into(), json!(pings));
    }
    value
}
