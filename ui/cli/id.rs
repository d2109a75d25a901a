//! `zerostate id`: the names of this node's key.

use serde_json::json;
use zerostate::identity::load_or_create;

use super::{Failure, Globals, Outcome, home, output};

pub fn run(globals: &Globals) -> Outcome {
    let path = globals.data_dir()?.join("keys").join("node.pem");
    let identity = home::with_passphrase(|passphrase| load_or_create(&path, passphrase))?;
    let identity = identity.map_err(|error| Failure::failed(error.to_string()))?;
    let (did, peer_id, key) =
        (identity.did().to_string(), identity.peer_id(), hex::encode(identity.public_key()));
    if globals.json {
        output::json(&json!({ "did": did, "peer_id": peer_id, "public_key": key }))?;
    } else {
        output::pairs(&[("did", did), ("peer id", peer_id), ("public key", key)])?;
    }
    Ok(0)
}
