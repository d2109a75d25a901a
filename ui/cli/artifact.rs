//! `zerostate artifact add|get|list|pin|unpin|gc`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;
use zerostate::api::{Answer, Answering as _, ArtifactInfo, Client, Command, Download, SourceView, Upload};
use zerostate::dag::canonical;
use zerostate::document::{Untrusted, bytes_text};

use super::progress::{Progress, rate_text};
use super::{Failure, Globals, Outcome, output};
use crate::files::Whole;

/// How much of a file is read at once.
const PIECE: usize = 256 * 1024;

#[derive(clap::Subcommand)]
pub enum ArtifactVerb {
    /// Put a file into the node's store
    Add {
        /// The file, or stdin (-)
        file: PathBuf,
        /// Keep it until it is unpinned, however full the store is
        #[arg(long)]
        pin: bool,
    },
    /// Get an artifact into the store, from peers, IPFS nodes or gateways
    Get {
        /// Its CID, of version 1 or 0
        cid: String,
        /// Write it to this file, or to stdout (-)
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Ask this node first: a multiaddress that ends in /p2p/…
        #[arg(long, value_name = "ADDR")]
        from: Vec<String>,
    },
    /// List what is stored
    List,
    /// Keep an artifact until it is unpinned
    Pin { cid: String },
    /// Let a pinned artifact go when room is needed
    Unpin { cid: String },
    /// Remove what is neither pinned nor needed
    Gc,
}

pub async fn run(globals: &Globals, verb: ArtifactVerb) -> Outcome {
    let client = globals.client().await?;
    match verb {
        ArtifactVerb::Add { file, pin } => add(globals, &client, &file, pin).await,
        ArtifactVerb::Get { cid, output, from } => get(globals, &client, cid, output, from).await,
        ArtifactVerb::List => list(globals, &client).await,
        ArtifactVerb::Pin { cid } => set_pin(globals, &client, cid, true).await,
        ArtifactVerb::Unpin { cid } => set_pin(globals, &client, cid, false).await,
        ArtifactVerb::Gc => collect_garbage(globals, &client).await,
    }
}

async fn add(globals: &Globals, client: &Client, path: &Path, pin: bool) -> Outcome {
    let shown = path.display();
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {shown}: {error}"));
    let (file, size): (Box<dyn AsyncRead + Send + Unpin>, _) = if path == Path::new("-") {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let file = tokio::fs::File::open(path).await.map_err(cannot)?;
        let meta = file.metadata().await.map_err(cannot)?;
        if meta.is_dir() {
            return Err(Failure::usage(format!("cannot read {shown}: it is a folder")));
        }
        // A pipe does not know its size, nor do the files of /proc.
        let size = Some(meta.len()).filter(|size| meta.is_file() && *size > 0);
        (Box::new(file), size)
    };
    let progress = Arc::new(Mutex::new((Progress::new("adding"), 0_u64)));
    let told = Arc::clone(&progress);
    let bytes = ReaderStream::with_capacity(file, PIECE).inspect_ok(move |piece| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.1 = told.1.saturating_add(u64::try_from(piece.len()).unwrap_or(0));
        let done = told.1;
        told.0.at(done, size, &[]);
    });
    let added = client.add_artifact(Upload { bytes: bytes.boxed(), size, pin }).await;
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    progress.0.clear();
    let info = added?;
    let took = progress.0.elapsed();
    output::note(&format!("added {} at {}", bytes_text(info.size), rate_text(info.size, took)));
    if globals.json {
        output::json(&json!({ "cid": info.cid, "sha256": info.sha256, "size": info.size }))?;
        return Ok(0);
    }
    if !info.pinned {
        output::note(
            "not pinned: it goes when the store is full and others were used later (artifact pin CID)",
        );
    }
    show(&info)
}

fn show(info: &ArtifactInfo) -> Outcome {
    output::pairs(&[
        ("cid", info.cid.clone()),
        ("sha256", info.sha256.clone()),
        ("size", bytes_text(info.size)),
        ("pinned", if info.pinned { "yes" } else { "no" }.to_owned()),
    ])?;
    Ok(0)
}

async fn get(
    globals: &Globals,
    client: &Client,
    cid: String,
    output: Option<PathBuf>,
    from: Vec<String>,
) -> Outcome {
    let parsed = cid
        .parse()
        .map_err(|_| Failure::usage(format!("\"{}\" is not a CID, like bafkrei…", Untrusted::new(&cid))))?;
    let mut progress = Progress::new("getting");
    let answer = followed(client, canonical(&parsed).to_string(), from, &mut progress).await;
    progress.clear();
    let Answer::Got { artifact: info, sources } = answer? else { return Err(output::unexpected()) };
    let took = progress.elapsed();
    output::note(&match sources.as_slice() {
        [] => "it was here already".to_owned(),
        sources => {
            let from: Vec<String> =
                sources.iter().map(|s| format!("{} from {}", bytes_text(s.bytes), s.from)).collect();
            format!("got {} at {}", from.join(", "), rate_text(info.size, took))
        }
    });
    if let Some(path) = &output {
        write_out(client, &info, path).await?;
        if path == Path::new("-") {
            return Ok(0);
        }
    }
    if globals.json {
        output::json(&json!({
            "cid": info.cid, "sha256": info.sha256, "size": info.size, "file": output, "sources": sources,
        }))?;
        return Ok(0);
    }
    output::line(&format!("{} ({})", info.cid, bytes_text(info.size)))?;
    Ok(0)
}

/// Has an artifact got, and shows how far it is meanwhile.
async fn followed(
    client: &Client,
    cid: String,
    from: Vec<String>,
    progress: &mut Progress,
) -> Result<Answer, Failure> {
    let mut link = client.link().await?;
    let answer = client.execute(Command::ArtifactGet { cid: cid.clone(), from });
    tokio::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return Ok(answer?),
            changed = link.snapshots.changed() => {
                if changed.is_err() {
                    // The node has gone; the answer will say so.
                    return Ok(answer.await?);
                }
                let snapshot = link.snapshots.borrow_and_update().clone();
                let transfers = snapshot.iter().flat_map(|snapshot| snapshot.transfers.iter());
                if let Some(transfer) = transfers.into_iter().find(|t| t.cid.as_ref() == Some(&cid)) {
                    let from: Vec<String> = transfer.sources.iter().map(name).collect();
                    progress.at(transfer.done, transfer.size, &from);
                }
            }
        }
    }
}

/// A peer's id by its end, anything else as it is.
fn name(source: &SourceView) -> String {
    let name = source.from.to_string();
    match name.strip_prefix("12D3KooW") {
        Some(rest) => format!("…{}", rest.get(rest.len().saturating_sub(6)..).unwrap_or(rest)),
        None => name,
    }
}

/// Writes a stored artifact to a file, whole or not at all.
async fn write_out(client: &Client, info: &ArtifactInfo, path: &Path) -> Result<(), Failure> {
    let Download { mut bytes, .. } = client.read_artifact(info.cid.clone()).await?;
    if path == Path::new("-") {
        let terminal = std::io::stdout().is_terminal();
        while let Some(piece) = bytes.next().await {
            output::bytes(&output::for_people(&piece?, terminal))?;
        }
        return Ok(());
    }
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    let mut file = Whole::create(path).map_err(cannot)?;
    while let Some(piece) = bytes.next().await {
        file.write_all(&piece?).map_err(cannot)?;
    }
    file.finish().map_err(cannot)
}

async fn list(globals: &Globals, client: &Client) -> Outcome {
    let Answer::Artifacts { items, used, quota } = client.execute(Command::Artifacts).await? else {
        return Err(output::unexpected());
    };
    if globals.json {
        output::json(&items)?;
        return Ok(0);
    }
    let pin = |info: &ArtifactInfo| if info.pinned { "pinned" } else { "" }.to_owned();
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|info| vec![info.cid.clone(), bytes_text(info.size), pin(info), output::ago(info.added_at)])
        .collect();
    output::table(
        &["cid", "size", "", "added"],
        &rows,
        "nothing is stored; `zerostate artifact add FILE` adds something",
    )?;
    output::note(&format!("{} of {} are taken", bytes_text(used), bytes_text(quota)));
    Ok(0)
}

async fn set_pin(globals: &Globals, client: &Client, cid: String, pinned: bool) -> Outcome {
    let Answer::Artifact(info) = client.execute(Command::ArtifactPin { cid, pinned }).await? else {
        return Err(output::unexpected());
    };
    if globals.json {
        output::json(&info)?;
        return Ok(0);
    }
    show(&info)
}

async fn collect_garbage(globals: &Globals, client: &Client) -> Outcome {
    let Answer::Freed { artifacts, blocks, bytes } = client.execute(Command::ArtifactGc).await? else {
        return Err(output::unexpected());
    };
    if globals.json {
        output::json(&json!({ "artifacts": artifacts, "blocks": blocks, "bytes": bytes }))?;
        return Ok(0);
    }
    output::line(&format!("removed {artifacts} artifacts and {blocks} blocks, {}", bytes_text(bytes)))?;
    Ok(0)
}
