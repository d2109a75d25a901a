//! The state of a node for Prometheus, in the OpenMetrics text format: what the [`Snapshot`] says, under names that stay.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::snapshot::{LedgerView, Snapshot};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Snapshots = watch::Receiver<Option<Arc<Snapshot>>>;

/// Serves `GET /metrics`, and nothing else, until `shutdown`.
///
/// # Errors
/// Those of accepting connections.
pub async fn serve_metrics(
    listener: TcpListener,
    snapshots: Snapshots,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(snapshots)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

pub(super) fn router(snapshots: Snapshots) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(snapshots)
}

async fn metrics(State(snapshots): State<Snapshots>) -> Response {
    let snapshot = snapshots.borrow().clone();
    match snapshot.map(text) {
        Some(Ok(text)) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the node is starting").into_response(),
    }
}

/// What a scrape gets.
fn text(snapshot: Arc<Snapshot>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("zerostate");
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape(Arc<Snapshot>);

type Label = (&'static str, String);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let (snapshot, node) = (&self.0, &self.0.node);
        let mut out = Out(encoder);
        let about = vec![("version", node.version.clone()), ("peer_id", node.peer_id.clone())];
        out.gauges("build", "Which program this is, and which node", [(about, 1)])?;
        out.gauge("start_time_seconds", "When it started, since 1970", node.started_at.as_second())?;
        out.gauge("peers", "Connected peers, IPFS nodes among them", len(&snapshot.peers))?;
        let dhts = [("own", Some(node.dht_peers)), ("ipfs", node.ipfs_dht_peers)];
        let dhts = dhts.into_iter().filter_map(|(dht, known)| Some((vec![("dht", dht.to_owned())], known?)));
        out.gauges("dht_peers", "Nodes in the routing table", dhts.map(|(dht, known)| (dht, signed(known))))?;
        out.counters("network_bytes", "Bytes of all protocols", ways(node.bytes_in, node.bytes_out))?;

        let total = &node.bitswap;
        let blocks = ways(total.blocks_received, total.blocks_sent);
        out.counters("bitswap_blocks", "Blocks exchanged over Bitswap", blocks)?;
        let bytes = ways(total.bytes_received, total.bytes_sent);
        out.counters("bitswap_bytes", "Bytes of blocks exchanged over Bitswap", bytes)?;
        let again = [(vec![], total.duplicates)];
        out.counters("bitswap_duplicate_blocks", "Blocks that had come already", again)?;
        out.gauge("bitswap_wants", "Blocks that others wait for", signed(total.wants))?;
        let of_peers = |value: fn(&LedgerView) -> (u64, u64)| {
            snapshot.peers.iter().flat_map(move |peer| {
                let (received, sent) = value(&peer.bitswap);
                ways(received, sent).map(|(mut labels, count)| {
                    labels.push(("peer_id", peer.peer_id.clone()));
                    (labels, count)
                })
            })
        };
        out.counters(
            "bitswap_peer_blocks",
            "Blocks exchanged with a connected peer",
            of_peers(|ledger| (ledger.blocks_received, ledger.blocks_sent)),
        )?;
        out.counters(
            "bitswap_peer_bytes",
            "Bytes of blocks exchanged with a connected peer",
            of_peers(|ledger| (ledger.bytes_received, ledger.bytes_sent)),
        )?;
        let faults = snapshot.peers.iter().map(|peer| (vec![("peer_id", peer.peer_id.clone())], peer.faults));
        let faults = faults.map(|(labels, faults)| (labels, i64::from(faults)));
        out.gauges("peer_faults", "Faults of a connected peer that are not forgiven yet", faults)?;

        out.gauge("store_bytes", "What stored blocks take on the disk", signed(node.store_used))?;
        out.gauge("store_quota_bytes", "What they may take", signed(node.store_quota))?;
        out.gauge("transfers", "Artifacts being added or got", len(&snapshot.transfers))?;
        out.gauge("tasks", "Tasks known", signed(snapshot.tasks.total))?;
        out.gauge("tasks_running", "Tasks running here, re-runs among them", signed(node.running))?;
        out.gauge("receipts", "Receipts stored", signed(snapshot.receipts.total))?;
        out.gauge("attestations", "Attestations stored", signed(snapshot.attestations.total))?;
        out.gauge("guilds", "Guilds this node is in", signed(snapshot.guilds.total))?;
        out.gauge("guild_secrets", "Secrets of guilds in memory", signed(snapshot.node.guild_secrets))?;
        out.gauge("inbox", "What waits for the operator", len(&snapshot.inbox))
    }
}

fn len<T>(list: &[T]) -> i64 {
    signed(list.len() as u64)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn ways(received: u64, sent: u64) -> [(Vec<Label>, u64); 2] {
    [("received", received), ("sent", sent)].map(|(way, count)| (vec![("direction", way.to_owned())], count))
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        self.gauges(name, help, [(vec![], value)])
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<Label>, i64)>,
    ) -> fmt::Result {
        self.family(name, help, values.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value))))
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<Label>, u64)>,
    ) -> fmt::Result {
        self.family(name, help, values.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value))))
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Vec<Label>, M)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        let Some((_, first)) = values.peek() else { return Ok(()) };
        let mut encoder = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (labels, value) in values {
            if labels.is_empty() {
                // A family of one: nothing more can be said of it.
                return value.encode(encoder);
            }
            value.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
