//! `zerostate inbox list|accept|refuse`: what waits for the operator.

use serde_json::json;
use zerostate::api::{Answering as _, Command};

use super::{Globals, Outcome, output};

#[derive(clap::Subcommand)]
pub enum InboxVerb {
    /// List what waits for your yes or no
    List,
    /// Say yes
    Accept { inbox_id: String },
    /// Say no
    Refuse { inbox_id: String },
}

pub async fn run(globals: &Globals, verb: InboxVerb) -> Outcome {
    let client = globals.client().await?;
    let (inbox_id, accept) = match verb {
        InboxVerb::Accept { inbox_id } => (inbox_id, true),
        InboxVerb::Refuse { inbox_id } => (inbox_id, false),
        InboxVerb::List => {
            let inbox = client.snapshot().await?.inbox;
            if globals.json {
                output::json(&inbox)?;
                return Ok(0);
            }
            let rows: Vec<Vec<String>> = inbox
                .iter()
                .map(|item| {
                    let (from, text) = (item.from.short(), item.text.to_string());
                    vec![item.inbox_id.clone(), item.kind.clone(), from, text, output::ago(item.at)]
                })
                .collect();
            output::table(&["id", "kind", "from", "what", "since"], &rows, "nothing waits for you")?;
            return Ok(0);
        }
    };
    client.execute(Command::Inbox { inbox_id: inbox_id.clone(), accept }).await?;
    if globals.json {
        output::json(&json!({ "inbox_id": inbox_id, "accepted": accept }))?;
    } else {
        output::line(if accept { "accepted" } else { "refused" })?;
    }
    Ok(0)
}
