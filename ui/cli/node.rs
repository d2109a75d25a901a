//! `zerostate node`: the node without a console, for services and scripts.

use std::io::Read as _;
use std::net::SocketAddr;

use serde_json::json;
use zerostate::config::Config;
use zerostate::node::{Home, Node};
use zerostate::telemetry::{self, RecentLog};

use super::{Failure, Globals, Outcome, home, output};
use crate::signals::Signals;

#[derive(clap::Args, Clone, Default, PartialEq)]
pub struct NodeArgs {
    /// Listen on this multiaddress instead of the configured ones (may be repeated)
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Dial this multiaddress at the start, besides the configured ones (may be repeated)
    #[arg(long, value_name = "ADDR")]
    bootstrap: Vec<String>,
    /// Do not look for peers on the local network
    #[arg(long)]
    no_mdns: bool,
    /// Answer Prometheus at this address, like 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

#[derive(clap::Args)]
pub struct NodeVerb {
    #[command(flatten)]
    node: NodeArgs,
    /// Stop when standard input ends, so that the node never outlives what started it
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

impl NodeArgs {
    fn apply(self, config: &mut Config) {
        if !self.listen.is_empty() {
            config.network.listen = self.listen;
        }
        config.network.bootstrap.extend(self.bootstrap);
        config.network.mdns &= !self.no_mdns;
        config.metrics.listen = self.metrics.or(config.metrics.listen);
    }
}

/// Opens the data directory and starts the node and its log.
pub async fn start(globals: &Globals, args: NodeArgs) -> Result<Node, Failure> {
    let (home, config, log) = prepare(globals, args)?;
    Ok(Node::start(home, config, log).await?)
}

/// Everything before the node itself: the configuration, the locked data directory, the key, the log.
pub fn prepare(globals: &Globals, args: NodeArgs) -> Result<(Home, Config, RecentLog), Failure> {
    zerostate::node::watch_panics();
    let mut config = globals.load_config()?;
    args.apply(&mut config);
    let data_dir = globals.data_dir()?;
    let home = home::with_passphrase(|passphrase| Home::open(&data_dir, passphrase))??;
    let log =
        telemetry::start(&data_dir.join("zerostate.log"), &config.log.filter).map_err(Failure::usage)?;
    Ok((home, config, log))
}

pub async fn run(globals: &Globals, verb: NodeVerb) -> Outcome {
    // Before the first line of output: whoever reads it may send a signal at once.
    let mut signals = Signals::listen()?;
    let node = start(globals, verb.node).await?;
    announce(globals, &node)?;
    let stopping = node.stopping();
    let parent_gone = async {
        if !verb.until_stdin_ends {
            return std::future::pending().await;
        }
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).map(drop));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "standard input broke");
        }
    };
    tokio::select! {
        _ = signals.next() => {}
        () = stopping.cancelled() => {}
        () = parent_gone => {}
    }
    let failure = node.failure();
    node.stop().await;
    match failure {
        Some(failure) => Err(Failure::failed(format!("the node stopped: {failure}"))),
        None => Ok(0),
    }
}

fn announce(globals: &Globals, node: &Node) -> Result<(), Failure> {
    let me = node.identity();
    if globals.json {
        let mut ready = json!({
            "event": "ready",
            "peer_id": me.peer_id(),
            "did": me.did(),
            "addrs": node.addresses(),
            "api": node.socket(),
        });
        if let (Some(address), Some(fields)) = (node.metrics(), ready.as_object_mut()) {
            fields.insert("metrics".into(), json!(address));
        }
        return output::json(&ready);
    }
    output::line(&format!("zerostate {} is ready", env!("CARGO_PKG_VERSION")))?;
    let mut pairs = vec![("did", me.did().to_string()), ("peer id", me.peer_id())];
    pairs.extend(node.addresses().into_iter().map(|address| ("listening", address)));
    pairs.push(("socket", node.socket().display().to_string()));
    pairs.extend(node.metrics().map(|address| ("metrics", format!("http://{address}/metrics"))));
    output::pairs(&pairs)
}
