//! `zerostate status`: what the running node is and does.

use serde_json::json;
use zerostate::document::bytes_text;

use super::{Globals, Outcome, output};

pub async fn run(globals: &Globals) -> Outcome {
    let snapshot = globals.client().await?.snapshot().await?;
    let node = &snapshot.node;
    if globals.json {
        let mut value = serde_json::to_value(node).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("peers".into(), json!(snapshot.peers.len()));
            fields.insert("guilds".into(), json!(snapshot.guilds.total));
            fields.insert("tasks".into(), json!(snapshot.tasks.total));
            fields.insert("receipts".into(), json!(snapshot.receipts.total));
            fields.insert("attestations".into(), json!(snapshot.attestations.total));
            fields.insert("inbox".into(), json!(snapshot.inbox.len()));
            fields.insert("at".into(), json!(snapshot.at));
        }
        output::json(&value)?;
        return Ok(0);
    }
    let mut peers = format!("{} connected, {} in the DHT", snapshot.peers.len(), node.dht_peers);
    if let Some(known) = node.ipfs_dht_peers {
        peers.push_str(&format!(", {known} in that of IPFS"));
    }
    let mut pairs = vec![
        ("name", node.name.to_string()),
        ("did", node.did.to_string()),
        ("peer id", node.peer_id.clone()),
        ("version", node.version.clone()),
        ("started", output::ago(node.started_at)),
        ("data", node.data_dir.clone()),
    ];
    pairs.extend(node.listen.iter().map(|address| ("listening", address.to_string())));
    pairs.extend([
        ("peers", peers),
        ("tasks", format!("{}, {} running", snapshot.tasks.total, node.running)),
        ("receipts", snapshot.receipts.total.to_string()),
        ("attestations", snapshot.attestations.total.to_string()),
        ("traffic", format!("{} in, {} out", bytes_text(node.bytes_in), bytes_text(node.bytes_out))),
        ("store", format!("{} of {}", bytes_text(node.store_used), bytes_text(node.store_quota))),
        (
            "bitswap",
            format!(
                "{} blocks in ({}), {} out ({})",
                node.bitswap.blocks_received,
                bytes_text(node.bitswap.bytes_received),
                node.bitswap.blocks_sent,
                bytes_text(node.bitswap.bytes_sent)
            ),
        ),
        ("attests", node.attest_policy.clone()),
    ]);
    output::pairs(&pairs)?;
    Ok(0)
}
