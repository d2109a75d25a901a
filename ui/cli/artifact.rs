//! `zerostate artifact add|get|list`.

use std::path::PathBuf;

use serde_json::json;
use zerostate::api::{Answer, Answering as _, Command};
use zerostate::document::{ARTIFACT_MAX, bytes_text};

use super::{Failure, Globals, Outcome, draft, output};

#[derive(clap::Subcommand)]
pub enum ArtifactVerb {
    /// Put a file into the node's store
    Add { file: PathBuf },
    /// Fetch an artifact from the store or from peers
    Get {
        cid: String,
        /// Write it to this file
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List what is stored
    List,
}

pub async fn run(globals: &Globals, verb: ArtifactVerb) -> Outcome {
    let client = globals.client().await?;
    match verb {
        ArtifactVerb::Add { file } => {
            let info = client.add_artifact(draft::read_bounded(&file, ARTIFACT_MAX)?).await?;
            if globals.json {
                output::json(&info)?;
            } else {
                output::pairs(&[
                    ("cid", info.cid),
                    ("sha256", info.sha256),
                    ("size", bytes_text(info.size)),
                ])?;
            }
        }
        ArtifactVerb::Get { cid, output: file } => {
            let Answer::Artifact(info) = client.execute(Command::ArtifactGet { cid }).await? else {
                return Err(output::unexpected());
            };
            if let Some(path) = &file {
                let bytes = client.read_artifact(info.cid.clone()).await?;
                let written = std::fs::write(path, bytes);
                written
                    .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
            }
            if globals.json {
                output::json(
                    &json!({ "cid": info.cid, "sha256": info.sha256, "size": info.size, "file": file }),
                )?;
            } else {
                output::line(&format!("{} ({})", info.cid, bytes_text(info.size)))?;
            }
        }
        ArtifactVerb::List => {
            let Answer::Artifacts(artifacts) = client.execute(Command::Artifacts).await? else {
                return Err(output::unexpected());
            };
            if globals.json {
                output::json(&artifacts)?;
            } else {
                let rows: Vec<Vec<String>> =
                    artifacts.into_iter().map(|info| vec![info.cid, bytes_text(info.size)]).collect();
                output::table(
                    &["cid", "size"],
                    &rows,
                    "nothing is stored; `zerostate artifact add FILE` adds something",
                )?;
            }
        }
    }
    Ok(0)
}
