//! `zerostate chain`: the chains of what nodes have signed, as far as their heads are known here.

use zerostate::api::{Answer, Answering as _, Command};

use super::{Globals, Outcome, output};

pub async fn run(globals: &Globals) -> Outcome {
    let Answer::Chains(chains) = globals.client().await?.execute(Command::Chains).await? else {
        return Err(output::unexpected());
    };
    if globals.json {
        output::json(&chains)?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = chains
        .iter()
        .map(|chain| {
            let who = if chain.own { "this node" } else { "" };
            let state = match &chain.equivocation {
                None => "one chain".to_owned(),
                Some(found) => format!("TWO CHAINS, which part at {}: {}", found.position, found.proof),
            };
            vec![
                chain.did.to_string(),
                who.to_owned(),
                chain.length.to_string(),
                output::ago(chain.at),
                state,
            ]
        })
        .collect();
    let empty = "no heads yet; a node signs one when it has made a receipt or an attestation";
    output::table(&["did", "", "entries", "signed", "state"], &rows, empty)?;
    if chains.iter().any(|chain| chain.equivocation.is_some()) {
        output::note("`zerostate verify FILE` checks the proof anywhere");
    }
    Ok(0)
}
