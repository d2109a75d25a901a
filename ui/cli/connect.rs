//! `zerostate connect`: dial a peer.

use serde_json::json;
use zerostate::api::{Answer, Answering as _, Command};

use super::{Globals, Outcome, output};

#[derive(clap::Args)]
pub struct ConnectVerb {
    /// A multiaddress, like /ip4/192.0.2.7/tcp/4001 or with /p2p/12D3KooW… at its end
    address: String,
}

pub async fn run(globals: &Globals, verb: ConnectVerb) -> Outcome {
    let answer = globals.client().await?.execute(Command::Connect { address: verb.address }).await?;
    let Answer::Connected { peer_id } = answer else { return Err(super::output::unexpected()) };
    if globals.json {
        output::json(&json!({ "peer_id": peer_id }))?;
    } else {
        output::line(&format!("connected to {peer_id}"))?;
    }
    Ok(0)
}
